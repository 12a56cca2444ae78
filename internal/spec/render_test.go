package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const badForRender = "job:\n  id: j\n  batchsize: 5   # übér\n  schedule: \"@daily\"\ninput: {uri: items.jsonl}\ntask: {provider: sim, api_key: hunter2hunter2, prompt: \"%\"}\n"

func renderCase(t *testing.T) Diagnostics {
	t.Helper()
	s, ds := Parse("jobs/a b.yaml", []byte(badForRender), Options{})
	if s != nil || len(ds) != 3 {
		t.Fatalf("%s", dump(ds))
	}
	return ds
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := renderCase(t).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `E1101 "batchsize": is not a key of job (jobs/a b.yaml:3:3)
    3 |   batchsize: 5   # übér
      |   ^
      did you mean batch_size?

E1401 warning: job.schedule: no timezone is given, so the times are UTC (jobs/a b.yaml:4:13)
    4 |   schedule: "@daily"
      |             ^
      add ` + "`timezone: UTC`" + ` or your zone at top level

E1215 task.api_key: the value is not a reference, so it may be the key itself; a spec holds no secrets (jobs/a b.yaml:6:32)
    6 | task: {provider: sim, api_key: ***, prompt: "%"}
      |                                ^
      withdraw the key if the file was shared, put it into the environment and write api_key: env:NAME, or api_key: file:PATH

2 errors, 1 warning
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestFramesOfLongLinesAreCut(t *testing.T) {
	t.Parallel()
	for _, pad := range []int{90, 300, 3000} {
		src := least + "labels: {" + strings.Repeat("a", pad) + ": 5, b: c}\n"
		_, ds := Parse("job.yaml", []byte(src), Options{})
		var b bytes.Buffer
		if err := ds.WriteText(&b); err != nil || len(ds) != 1 {
			t.Fatalf("%v %s", err, dump(ds))
		}
		lines := strings.Split(b.String(), "\n")
		if pad == 3000 {
			if strings.Contains(b.String(), " | ") {
				t.Error("a line of 3000 characters is shown")
			}
			continue
		}
		source, caret := []rune(lines[1]), strings.IndexByte(lines[2], '^')
		if len(source) > 8+frameWidth+2 || source[caret] != '5' {
			t.Errorf("pad %d:\n%s", pad, b.String())
		}
	}
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := renderCase(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Errors, Warnings int
		Diagnostics      []Diagnostic
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Errors != 2 || got.Warnings != 1 || got.Diagnostics[0].Code != codeUnknownKey || got.Diagnostics[0].Line != 3 {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	if err := Diagnostics(nil).WriteJSON(&b); err != nil || !strings.Contains(b.String(), `"diagnostics": []`) {
		t.Errorf("%v %s", err, b.String())
	}
}

func TestWriteGitHub(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := renderCase(t).WriteGitHub(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || lines[0] != `::error file=jobs/a b.yaml,line=3,col=3,title=E1101 unknown-key::"batchsize": is not a key of job%0Adid you mean batch_size?` ||
		!strings.HasPrefix(lines[1], "::warning file=") {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	_ = Diagnostics{{File: "a,b:c%.yaml", Line: 1, Col: 1, Code: codeType, Severity: Error, Message: "50%\nx"}}.WriteGitHub(&b)
	if b.String() != "::error file=a%2Cb%3Ac%25.yaml,line=1,col=1,title=E1201 wrong-type::50%25%0Ax\n" {
		t.Errorf("%q", b.String())
	}
}

func TestWriteSARIF(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := renderCase(t).WriteSARIF(&b); err != nil {
		t.Fatal(err)
	}
	var got sarifLog
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	run := got.Runs[0]
	if got.Version != "2.1.0" || len(run.Results) != 3 || len(run.Tool.Driver.Rules) != len(Codes()) {
		t.Errorf("%+v", got)
	}
	for _, r := range run.Results {
		at := r.Locations[0].Physical
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID || at.Artifact.URI != "jobs/a%20b.yaml" || at.Region.StartLine < 1 {
			t.Errorf("%+v", r)
		}
	}
	if run.Results[1].Level != "warning" || run.Results[0].Level != "error" {
		t.Errorf("%+v", run.Results)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestWritersReportFailures(t *testing.T) {
	t.Parallel()
	ds := renderCase(t)
	for name, err := range map[string]error{"text": ds.WriteText(fullDisk{}), "json": ds.WriteJSON(fullDisk{}), "sarif": ds.WriteSARIF(fullDisk{}), "github": ds.WriteGitHub(fullDisk{})} {
		if err == nil {
			t.Errorf("%s: a failed write is not reported", name)
		}
	}
}

// Whatever is wrong with a spec, no form of its findings shows a key.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	parts := []string{"Zx91QwLm77", "Qw81LmZx77", "hunter2", "hunter22", "3f2504e0", "123456789012", "abcdefgh12345678", "Z7QWERTYUIOP"}
	met := map[string]bool{}
	for _, bad := range badCorpus(t) {
		_, ds := Parse("job.yaml", bad.src, corpusOptions())
		var b bytes.Buffer
		for _, err := range []error{ds.WriteText(&b), ds.WriteJSON(&b), ds.WriteSARIF(&b), ds.WriteGitHub(&b)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := ds.Err(); err != nil {
			b.WriteString(err.Error())
		}
		for _, part := range parts {
			if bytes.Contains(bad.src, []byte(part)) {
				met[part] = true
			}
			if strings.Contains(b.String(), part) {
				t.Errorf("%s: %s is shown:\n%s", bad.name, part, b.String())
			}
		}
	}
	if len(met) != len(parts) {
		t.Errorf("the corpus no longer holds all of %q", parts)
	}
}
