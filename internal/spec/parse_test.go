package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/google/go-cmp/cmp"
)

const least = "job:\n  id: j\ninput: {uri: items.jsonl}\ntask: {provider: sim, prompt: \"{{ text }}\"}\n"

func mustParse(t *testing.T, src string) *Spec {
	t.Helper()
	s, ds := Parse("job.yaml", []byte(src), corpusOptions())
	if s == nil {
		t.Fatalf("refused:\n%s\n%s", src, dump(ds))
	}
	return s
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := &Spec{
		Version: 1, Job: "j", Queue: "best-effort", BatchSize: 50, MaxAttempts: 3, Timeout: 2 * time.Minute,
		Input:  Input{URI: "items.jsonl", Format: "auto", OnBadItem: "fail"},
		Task:   Task{Provider: "sim", Model: "sim-1", Lane: "sync", Prompt: "{{ text }}", MaxOutputTokens: 1024, OnTruncated: "fail"},
		Output: Output{Format: []string{"jsonl"}}, Budget: Budget{-1, -1, -1, -1},
		Pacing: Pacing{MinConcurrency: 1, MaxConcurrency: 16}, Dedupe: true, Cache: "off", File: "job.yaml",
	}
	if diff := cmp.Diff(want, mustParse(t, least)); diff != "" {
		t.Error(diff)
	}
}

func TestValuesAreExact(t *testing.T) {
	t.Parallel()
	s := mustParse(t, least+`
budget: {usd: 12.345678901234, tokens: 9007199254740991}
failure_threshold: 2.5%
deadline: 1h30m
`)
	if s.Budget.Pico != 12_345_678_901_234 || s.Budget.Tokens != 9007199254740991 || s.FailureThresholdPPM != 25_000 || s.Deadline.After != 90*time.Minute {
		t.Errorf("%+v %d %+v", s.Budget, s.FailureThresholdPPM, s.Deadline)
	}
	s = mustParse(t, strings.Replace(least, "provider: sim,", "provider: sim, model: m, price: {input_usd_per_mtok: 0.0025, output_usd_per_mtok: 1.6, cached_usd_per_mtok: 0.000001},", 1))
	want := money.PriceCard{Provider: "sim", Model: "m", In: 2500, Out: 1_600_000, CacheRead: 1, Source: "spec"}
	if diff := cmp.Diff(want, *s.Task.Price); diff != "" {
		t.Error(diff)
	}
	s = mustParse(t, least+"pacing: {concurrency: 7}\n")
	if s.Pacing.MinConcurrency != 1 || s.Pacing.MaxConcurrency != 7 {
		t.Errorf("%+v", s.Pacing)
	}
}

func TestLineEndsDoNotMatter(t *testing.T) {
	t.Parallel()
	want := mustParse(t, least).Digest()
	for _, src := range []string{strings.ReplaceAll(least, "\n", "\r\n"), strings.TrimSuffix(least, "\n"), least + "\n\n", "\n" + least} {
		if got := mustParse(t, src).Digest(); got != want {
			t.Errorf("%q has another digest", src)
		}
	}
	_, ds := Parse("job.yaml", []byte(strings.ReplaceAll(least, "\n", "\r\n")+"foo: 1\r\n"), Options{})
	if len(ds) != 1 || ds[0].Line != 5 || ds[0].excerpt != "foo: 1" {
		t.Errorf("%s", dump(ds))
	}
}

func TestLoadReadsBesideTheSpec(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"jobs/job.yaml":       strings.Replace(least, `"{{ text }}"`, "file:prompts/p.md", 1),
		"jobs/prompts/p.md":   "Say {{ text }}",
		"elsewhere/bad.yaml":  "job: [",
		"jobs/prompts/p2.txt": "",
	}
	read := func(path string) ([]byte, error) {
		if body, ok := files[path]; ok {
			return []byte(body), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	s, ds := Load(read, "jobs/job.yaml")
	if s == nil || s.Task.Prompt != "Say {{ text }}" || s.Dir != "jobs" || s.File != "jobs/job.yaml" {
		t.Errorf("%+v %s", s, dump(ds))
	}
	s, ds = Load(read, "nowhere.yaml")
	if s != nil || len(ds) != 1 || ds[0].Code != codeUnreadable || ds[0].Ref() != "nowhere.yaml:1:1" {
		t.Errorf("%+v %s", s, dump(ds))
	}
	_, ds = Parse("job.yaml", []byte(files["jobs/job.yaml"]), Options{})
	if len(ds) != 1 || ds[0].Code != codeFileRef {
		t.Errorf("without a reader: %s", dump(ds))
	}
}

func TestProvidersOfTheProgramAreTaken(t *testing.T) {
	t.Parallel()
	src := []byte(strings.Replace(least, "sim", "my_provider", 1))
	src = bytes.Replace(src, []byte("prompt:"), []byte("model: m, prompt:"), 1)
	if s, ds := Parse("job.yaml", src, Options{Providers: []string{"my_provider"}}); s == nil {
		t.Error(dump(ds))
	}
	if s, _ := Parse("job.yaml", src, Options{}); s != nil {
		t.Error("an unknown provider was taken")
	}
}

func TestSizeAndNumberOfFindingsAreBounded(t *testing.T) {
	t.Parallel()
	pad := strings.Repeat("#", maxBytes-len(least)-1) + "\n"
	mustParse(t, pad+least)
	_, ds := Parse("job.yaml", []byte("#"+pad+least), Options{})
	if len(ds) != 1 || ds[0].Code != codeTooLarge {
		t.Errorf("%s", dump(ds))
	}
	var b strings.Builder
	b.WriteString(least)
	for i := range 50_000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	_, ds = Parse("job.yaml", []byte(b.String()), Options{})
	if len(ds) != maxFindings+1 || ds[maxFindings].Code != codeTooMany || !strings.Contains(ds[maxFindings].Message, "49800 more") {
		t.Errorf("%d findings, the last: %s", len(ds), dump(ds[len(ds)-1:]))
	}
}

func TestErrNamesTheFirstError(t *testing.T) {
	t.Parallel()
	_, ds := Parse("job.yaml", []byte("job:\n  id: j\n  schedule: \"@daily\"\n  batch_size: 0\n  max_attempts: 0\n"+strings.TrimPrefix(least, "job:\n  id: j\n")), Options{})
	err := ds.Err()
	var be *batch.Error
	if !errors.As(err, &be) || be.Kind != batch.Invalid || be.Ref != "job.yaml:4:15" || be.Hint == "" || !strings.Contains(be.Msg, "E1203 job.batch_size") || !strings.Contains(be.Msg, "and 1 more") {
		t.Errorf("%v", err)
	}
	if ds[:1].Err() != nil {
		t.Error("a warning is not an error")
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, kind := range TemplateKinds() {
		b, err := Template(kind)
		if err != nil {
			t.Fatal(err)
		}
		s := mustParse(t, string(b))
		if s.Input.URI != "items.jsonl" || s.Task.Provider != "sim" || s.Task.APIKey != "" {
			t.Errorf("%s: a starter spec must run without a key on items.jsonl", kind)
		}
		if real := uncommentProvider(string(b)); real == string(b) {
			t.Errorf("%s: shows no real provider", kind)
		} else {
			mustParse(t, real)
		}
	}
	for _, kind := range []string{"", "nope", "../spec", "label.yaml"} {
		if _, err := Template(kind); batch.KindOf(err) != batch.Usage {
			t.Errorf("Template(%q): %v", kind, err)
		}
	}
}

// uncommentProvider does what a starter spec's comment tells to do.
func uncommentProvider(src string) string {
	var out []string
	for _, line := range strings.Split(src, "\n") {
		for _, k := range []string{"provider", "api_key", "model", "base_url"} {
			if strings.HasPrefix(line, "  # "+k+":") {
				line = "  " + strings.TrimPrefix(line, "  # ")
			}
		}
		if line != "  provider: sim" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
