package spec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDigests(t *testing.T) {
	t.Parallel()
	base := mustParse(t, least)
	withTask := func(line string) string {
		return strings.Replace(least, "provider: sim", "provider: sim, "+line, 1)
	}
	inJob := func(line string) string { return strings.Replace(least, "id: j\n", "id: j\n  "+line+"\n", 1) }
	inInput := func(line string) string { return strings.Replace(least, "items.jsonl", "items.jsonl, "+line, 1) }
	for _, c := range []struct {
		name, src  string
		same, work bool // same: nothing changes at all; work: the work changes
	}{
		{"comment", "# hello\n" + least, true, false},
		{"default written out", inJob("batch_size: 50"), true, false},
		{"other spelling", strings.Replace(least, "input: {uri: items.jsonl}\n", "", 1) + "", false, false},
		{"section in job", strings.Replace(strings.Replace(least, "input: {uri: items.jsonl}\n", "", 1), "id: j\n", "id: j\n  input: {uri: items.jsonl}\n", 1), true, false},
		{"id", strings.Replace(least, "id: j", "id: k", 1), false, true},
		{"batch_size", inJob("batch_size: 49"), false, true},
		{"uri", strings.Replace(least, "items.jsonl", "other.jsonl", 1), false, true},
		{"limit", inInput("limit: 5"), false, true},
		{"item id", inInput("id: x"), false, true},
		{"on_bad_item", least + "on_bad_item: quarantine\n", false, true},
		{"prompt", strings.Replace(least, "{{ text }}", "{{ text }}!", 1), false, true},
		{"model", withTask("model: m"), false, true},
		{"params", withTask("params: {a: 1}"), false, true},
		{"schema", withTask("schema: {type: object}"), false, true},
		{"on_truncated", withTask("on_truncated: accept"), false, true},
		{"max_output_tokens", withTask("max_output_tokens: 5"), false, true},
		{"headers", withTask("headers: {a: b}"), false, true},
		{"dedupe", least + "dedupe: false\n", false, true},
		{"key reference", withTask("api_key: env:K"), false, false},
		{"price", withTask("price: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}"), false, false},
		{"budget", least + "budget: {tokens: 5000, usd: 1, retries: 1}\n", false, false},
		{"pacing", least + "pacing: {rpm: 5, concurrency: 5}\n", false, false},
		{"timeout", inJob("timeout_ms: 5000"), false, false},
		{"attempts", inJob("max_attempts: 5"), false, false},
		{"deadline", least + "deadline: 5h\n", false, false},
		{"schedule", inJob(`schedule: "@daily"`) + "timezone: UTC\n", false, false},
		{"labels", least + "labels: {a: b}\nowners: a\nalerts: {a: 1}\n", false, false},
		{"output", least + "output: {uri: x, format: csv}\n", false, false},
		{"threshold", least + "failure_threshold: 0.1\n", false, false},
		{"evaluate", least + "evaluate: {expected: label}\n", false, false},
		{"queue", least + "queue: high\ncache: reuse\n", false, false},
		{"tests", least + "tests: [{name: a, item: {text: x}, answer: y}]\n", false, false},
	} {
		if c.name == "other spelling" {
			c.src, c.same = strings.Replace(c.src, "id: j\n", "id: j\n  input_manifest_s3_uri: items.jsonl\n", 1), true
		}
		s := mustParse(t, c.src)
		if got := s.Digest() == base.Digest(); got != c.same {
			t.Errorf("%s: the digest stays: %v", c.name, got)
		}
		if got := s.WorkDigest() != base.WorkDigest(); got != c.work {
			t.Errorf("%s: the work digest changes: %v", c.name, got)
		}
		diff, work := Diff(base, s), false
		for _, d := range diff {
			work = work || d.Work
		}
		if (len(diff) == 0) != c.same || work != c.work {
			t.Errorf("%s: %+v", c.name, diff)
		}
	}
	if len(base.Digest()) != 64 || base.Digest() == base.WorkDigest() {
		t.Error("digests are 64 hex digits and differ")
	}
}

func TestDiffSaysWhatChanged(t *testing.T) {
	t.Parallel()
	a := mustParse(t, least+"budget: {usd: 5}\n")
	b := mustParse(t, strings.Replace(least, "{{ text }}", "secret words {{ text }}", 1)+"budget: {tokens: 5000}\nlabels: {a: b}\n")
	got := Diff(a, b)
	want := []Change{
		{"labels", "", `{"a":"b"}`, false},
		{"task.prompt", "sha256:", "sha256:", true},
		{"budget.tokens", "", "5000", false},
		{"budget.usd", "5.00", "", false},
	}
	for i := range got {
		if strings.Contains(got[i].New, "secret") {
			t.Error("a prompt is shown")
		}
		if strings.HasPrefix(got[i].New, "sha256:") {
			if got[i].Old == got[i].New {
				t.Error("two prompts have one digest")
			}
			got[i].Old, got[i].New = "sha256:", "sha256:"
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
