package budget

import (
	"errors"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

const sample = `keys: {}
budgets:
  - name: support-team
    match: {jobs: ["support-*", nightly], labels: {team: support}, owners: [ana, bo]}
    period: month
    timezone: Europe/Berlin
    usd: 250.5
  - name: each-job
    per: job
    period: day
    timezone: UTC
    tokens: 5000000
  - name: for-ever
    period: total
    tokens: 0
`

func TestRead(t *testing.T) {
	t.Parallel()
	c, err := Read("config.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := []batch.Budget{
		{Name: "each-job", PerJob: true, Period: batch.PeriodDay, Zone: "UTC", Limit: money.Limit{Tokens: 5_000_000, Pico: -1, Retries: -1}},
		{Name: "for-ever", Period: batch.PeriodTotal, Limit: money.Limit{Tokens: 0, Pico: -1, Retries: -1}},
		{Name: "support-team", Period: batch.PeriodMonth, Zone: "Europe/Berlin", Limit: money.Limit{Tokens: -1, Pico: int64(250*money.USD + money.USD/2), Retries: -1}},
	}
	for i, b := range Limits(c.Budgets) {
		if b != want[i] {
			t.Errorf("budget %d is %+v, want %+v", i, b, want[i])
		}
	}
	for _, x := range []struct {
		job    string
		labels map[string]string
		owners []string
		want   string
	}{
		{"support-x", map[string]string{"team": "support"}, []string{"bo"}, "each-job for-ever support-team"},
		{"nightly", map[string]string{"team": "support", "x": "y"}, []string{"cy", "ana"}, "each-job for-ever support-team"},
		{"nightly-2", map[string]string{"team": "support"}, []string{"ana"}, "each-job for-ever"},
		{"nightly", map[string]string{"team": "other"}, []string{"ana"}, "each-job for-ever"},
		{"nightly", nil, []string{"ana"}, "each-job for-ever"},
		{"nightly", map[string]string{"team": "support"}, nil, "each-job for-ever"},
	} {
		if got := strings.Join(Names(c.Of(x.job, x.labels, x.owners)), " "); got != x.want {
			t.Errorf("%s %v %v draws on %s, want %s", x.job, x.labels, x.owners, got, x.want)
		}
	}
	for _, empty := range []string{"", "# nothing\n", "keys: {}\n"} {
		if c, err := Read("f", []byte(empty)); err != nil || len(c.Budgets) != 0 {
			t.Errorf("%q reads %+v, %v", empty, c, err)
		}
	}
}

// TestMistakes holds every mistake to its place: a limit that is read wrong is
// money.
func TestMistakes(t *testing.T) {
	t.Parallel()
	with := func(line string) string {
		return "budgets:\n  - name: a\n    period: day\n    timezone: UTC\n    tokens: 5\n    " + line + "\n"
	}
	for src, want := range map[string]string{
		"- a\n":                           "f:1:1 config.yaml must be a mapping",
		"budget: 1\n":                     `f:1:1 config.yaml has no key "budget"`,
		"budgets: 1\n":                    "f:1:10 budgets must be a list",
		"budgets:\n":                      "f:1:1 budgets has no value",
		"budgets:\n  - 1\n":               "f:2:5 a budget must be a mapping",
		"a: 1\n---\nb: 2\n":               "f:2:1 a second YAML document",
		"budgets: [\n":                    "f:",
		"budgets: &x []\nkeys: {}\n":      "f:1:10 a YAML anchor",
		"budgets: !!seq []\n":             "f:1:10 a YAML tag",
		with("token: 5"):                  `f:6:5 a budget has no key "token"`,
		with("tokens: 6"):                 `f:6:5 the key "tokens" is there twice`,
		with("usd: -1"):                   "f:6:10 usd is not an amount",
		with("usd: .inf"):                 "f:6:10 usd is not an amount",
		with(`usd: "5"`):                  "f:6:10 usd is not an amount",
		with("usd: 0.0000000000001"):      "f:6:10 usd is not an amount",
		with("usd:"):                      "f:6:5 usd has no value",
		with("per: owner"):                `f:6:10 per "owner"`,
		with("match: {}"):                 "",
		with("match: {job: x}"):           `f:6:13 match has no key "job"`,
		with("match: {jobs: []}"):         "f:6:19 jobs is an empty list",
		with(`match: {jobs: "[a"}`):       `f:6:19 "[a" is not a pattern`,
		with("match: {labels: {team: }}"): "f:6:28 the label team has no text",
		with("match: {labels: [team]}"):   "f:6:21 labels must be a mapping",
		with("match: [a]"):                "f:6:12 match must be a mapping",
		with("") + "  - name: a\n    period: total\n    tokens: 1\n":             "f:7:11 two budgets are named a",
		"budgets:\n  - {name: A, period: total, tokens: 1}\n":                    `f:2:12 "A" cannot name a budget`,
		"budgets:\n  - {period: total, tokens: 1}\n":                             "f:2:5 a budget has no name",
		"budgets:\n  - {name: a, tokens: 1}\n":                                   "f:2:5 budget a has no period",
		"budgets:\n  - {name: a, period: run, tokens: 1}\n":                      `f:2:23 the period "run"`,
		"budgets:\n  - {name: a, period: day, tokens: 1}\n":                      "f:2:23 budget a counts by day",
		"budgets:\n  - {name: a, period: total, timezone: UTC, tokens: 1}\n":     "f:2:40 budget a never begins anew",
		"budgets:\n  - {name: a, period: day, timezone: Local, tokens: 1}\n":     `f:2:38 "Local" is not a timezone`,
		"budgets:\n  - {name: a, period: day, timezone: Mars/X, tokens: 1}\n":    `f:2:38 "Mars/X" is not a timezone`,
		"budgets:\n  - {name: a, period: total}\n":                               "f:2:5 budget a limits nothing",
		"budgets:\n  - {name: a, period: total, tokens: 1.5}\n":                  "f:2:38 tokens is not a number",
		"budgets:\n  - {name: a, period: total, tokens: 5k}\n":                   "f:2:38 tokens is not a number",
		"budgets:\n  - {name: a, period: total, tokens: 0x10}\n":                 "f:2:38 tokens is not a number",
		"budgets:\n  - {name: a, period: total, tokens: 99999999999999999999}\n": "f:2:38 tokens is not a number",
	} {
		_, err := Read("f", []byte(src))
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", src, err)
			}
			continue
		}
		e, ok := errors.AsType[*batch.Error](err)
		if !ok || e.Kind != batch.Config || !strings.HasPrefix(e.Ref+" "+e.Msg, want) {
			t.Errorf("%q: %v, want %s", src, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("budgets: [{name: a, period: total, tokens: 1}]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Read("f", src)
		if err != nil {
			if batch.KindOf(err) != batch.Config {
				t.Fatalf("%v is no mistake of a config", err)
			}
			return
		}
		for _, b := range c.Budgets {
			if b.Name == "" || b.Period == "" || b.Limit.Tokens < 0 && b.Limit.Pico < 0 || (b.Zone == "") != (b.Period == batch.PeriodTotal) {
				t.Fatalf("%+v was read", b)
			}
		}
	})
}
