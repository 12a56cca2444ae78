package prices

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

func load(t testing.TB, override string) *Table {
	t.Helper()
	tab, err := Load(strings.NewReader(override))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestTableIsSane catches the slips that price tables are known for: a price in
// the wrong column, a factor of 1000, a tier below its base.
func TestTableIsSane(t *testing.T) {
	t.Parallel()
	r := csv.NewReader(bytes.NewReader(builtin))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows = rows[1:]
	if len(rows) < 100 {
		t.Errorf("only %d models", len(rows))
	}
	if !slices.IsSortedFunc(rows, func(a, b []string) int { return slices.Compare(a[:2], b[:2]) }) {
		t.Error("the table is not sorted")
	}
	outBelowIn, perProvider := 0, map[string]int{}
	for _, row := range rows {
		e, err := fromRow(row)
		if err != nil {
			t.Fatal(row, err)
		}
		c := e.card
		perProvider[c.Provider]++
		name := c.Provider + "/" + c.Model
		if c.In <= 0 || c.Out <= 0 {
			t.Errorf("%s has a zero price", name)
		}
		if c.In < 10_000 || c.In > 200*1_000_000 || c.Out > 700*1_000_000 {
			t.Errorf("%s: %d / %d pUSD per token is out of all bounds", name, c.In, c.Out)
		}
		if c.CacheRead > c.In || c.CacheRead != 0 && c.CacheRead*20 < c.In {
			t.Errorf("%s: cached %d against input %d", name, c.CacheRead, c.In)
		}
		if c.CacheWrite != 0 && (c.CacheWrite < c.In || c.CacheWrite > 2*c.In) {
			t.Errorf("%s: cache write %d against input %d", name, c.CacheWrite, c.In)
		}
		if c.Out < c.In {
			outBelowIn++
		}
		if c.Out > 10*c.In {
			t.Errorf("%s: output is more than 10 times input", name)
		}
		if (c.TierAt > 0) != (c.TierIn > 0) || (c.TierAt > 0) != (c.TierOut > 0) {
			t.Errorf("%s: half a tier", name)
		}
		if c.TierAt > 0 && (c.TierIn <= c.In || c.TierIn > 4*c.In || c.TierOut <= c.Out || c.TierOut > 4*c.Out || c.TierAt < 100_000) {
			t.Errorf("%s: tier %d %d %d", name, c.TierAt, c.TierIn, c.TierOut)
		}
		if e.submissionPct < 40 || e.submissionPct > 100 {
			t.Errorf("%s: submission lane at %d %%", name, e.submissionPct)
		}
		if c.Source == "" || !date.MatchString(c.Checked) || c.Checked > strings.TrimPrefix(strings.SplitN(string(builtin), "\n", 2)[0], "# version ") {
			t.Errorf("%s: source %q checked %q", name, c.Source, c.Checked)
		}
	}
	if outBelowIn > 0 {
		t.Errorf("%d models have output below input", outBelowIn)
	}
	for _, p := range []string{"openai", "anthropic", "gemini", "mistral", "groq", "sim"} {
		if perProvider[p] == 0 {
			t.Errorf("no models of %s", p)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	tab := load(t, "")
	for _, x := range []struct {
		provider, model string
		in, out         money.PicoUSD
	}{
		{"openai", "gpt-4o-mini", 150_000, 600_000},
		{"openai", "gpt-4o-mini-2024-07-18", 150_000, 600_000},
		{"openai", "gpt-4o", 2_500_000, 10_000_000},
		{"openai", "gpt-4o-2024-08-06", 2_500_000, 10_000_000},
		{"openai", "gpt-4o-2024-05-13", 5_000_000, 15_000_000}, // a snapshot with its own price
		{"openai", "gpt-3.5-turbo-0125", 500_000, 1_500_000},
		{"openai", "gpt-3.5-turbo-0613", 1_500_000, 2_000_000},
		{"openai", "gpt-5-nano-2025-08-07", 50_000, 400_000},
		{"openai", "o3-mini-2025-01-31", 1_100_000, 4_400_000},
		{"anthropic", "claude-3-5-haiku-latest", 800_000, 4_000_000},
		{"anthropic", "claude-sonnet-4-20250514", 3_000_000, 15_000_000},
		{"anthropic", "claude-opus-4@20250514", 15_000_000, 75_000_000},
		{"anthropic", "claude-opus-4-5-20251101", 5_000_000, 25_000_000},
		{"anthropic", "claude-haiku-4-5-20251001", 1_000_000, 5_000_000},
		{"gemini", "gemini-2.0-flash-001", 100_000, 400_000},
		{"gemini", "gemini-2.0-flash-lite", 75_000, 300_000},
		{"gemini", "gemini-2.5-pro-preview-06-05", 1_250_000, 10_000_000},
		{"mistral", "mistral-large-2512", 500_000, 1_500_000},
		{"groq", "llama-3.3-70b-versatile", 590_000, 790_000},
		{"sim", "sim-1", 150_000, 600_000},
		{"sim", "anything", 150_000, 600_000},
		{"azure", "gpt-35-turbo", 500_000, 1_500_000},
		{"azure", "gpt-4o-mini", 150_000, 600_000},
		{"openai_compatible", "openai/gpt-4o-mini", 150_000, 600_000},
		{"openai_compatible", "claude-sonnet-4-5", 3_000_000, 15_000_000},
	} {
		c, ok := tab.Lookup(x.provider, x.model)
		if !ok || c.In != x.in || c.Out != x.out {
			t.Errorf("%s/%s: %+v %v", x.provider, x.model, c, ok)
		}
	}
	for _, x := range [][2]string{{"openai", "gpt-9"}, {"openai", "gpt-4o-mini-tts"}, {"openai", ""}, {"", "gpt-4o"},
		{"nobody", "gpt-4o"}, {"openai_compatible", "my-llama"}, {"openai", "claude-3-haiku"}, {"openai", "-latest"}} {
		if c, ok := tab.Lookup(x[0], x[1]); ok {
			t.Errorf("%v has a price: %+v", x, c)
		}
	}
	if c, _ := tab.Lookup("azure", "gpt-4o"); c.Provider != "azure" || !strings.Contains(c.Source, "openai") {
		t.Errorf("a borrowed price does not say so: %+v", c)
	}
}

func TestSubmissionLane(t *testing.T) {
	t.Parallel()
	tab := load(t, "")
	c, _ := tab.Submission("openai", "gpt-4o-mini")
	if c.In != 75_000 || c.Out != 300_000 || c.CacheRead != 75_000 { // cached has no price of its own there
		t.Errorf("gpt-4o-mini: %+v", c)
	}
	if c, _ = tab.Submission("openai", "gpt-5-mini"); c.CacheRead != 12_500 {
		t.Errorf("gpt-5-mini: %+v", c)
	}
	if c, _ = tab.Submission("openai", "gpt-3.5-turbo-0613"); c.In != 1_500_000 {
		t.Errorf("gpt-3.5-turbo-0613 has no discount: %+v", c)
	}
	if c, _ = tab.Submission("gemini", "gemini-2.5-pro"); c.TierIn != 1_250_000 || c.TierAt != 200_000 {
		t.Errorf("gemini-2.5-pro: %+v", c)
	}
	if _, ok := tab.Submission("openai", "gpt-9"); ok {
		t.Error("an unknown model has a price")
	}
}

func TestOverride(t *testing.T) {
	t.Parallel()
	tab := load(t, `
# ours
- provider: openai
  model: gpt-4o-mini
  input_usd_per_mtok: 0.10
  output_usd_per_mtok: 0.4
  cached_usd_per_mtok: 0.0025
  checked: 2026-11-01
- {provider: openai_compatible, model: "llama*", input_usd_per_mtok: 0, output_usd_per_mtok: 0}
- provider: openai
  model: gpt-9*
  input_usd_per_mtok: "1"
  output_usd_per_mtok: 2
  tier_above_tokens: 1000
  tier_input_usd_per_mtok: 2
  tier_output_usd_per_mtok: 4
  submission_percent: 50
`)
	if c, _ := tab.Lookup("openai", "gpt-4o-mini-2024-07-18"); c.In != 100_000 || c.CacheRead != 2_500 || c.Checked != "2026-11-01" {
		t.Errorf("the user's price does not win: %+v", c)
	}
	if c, ok := tab.Lookup("openai_compatible", "llama-4"); !ok || c.In != 0 || c.Out != 0 {
		t.Errorf("a free model: %+v %v", c, ok)
	}
	if c, ok := tab.Lookup("openai", "gpt-9-turbo"); !ok || c.TierAt != 1000 || c.TierOut != 4_000_000 {
		t.Errorf("prefix: %+v %v", c, ok)
	}
	if c, _ := tab.Submission("openai", "gpt-9-turbo"); c.In != 500_000 {
		t.Errorf("submission: %+v", c)
	}
	if c, _ := tab.Lookup("openai", "gpt-4o"); c.In != 2_500_000 {
		t.Errorf("another model changed: %+v", c)
	}
	if load(t, "").Version() == tab.Version() || !strings.HasPrefix(tab.Version(), load(t, "# nothing\n").Version()) {
		t.Errorf("version %q", tab.Version())
	}
}

func TestOverrideMistakes(t *testing.T) {
	t.Parallel()
	const ok = "- provider: a\n  model: b\n  input_usd_per_mtok: 1\n  output_usd_per_mtok: 2\n"
	for in, want := range map[string]string{
		"provider: a":                           "prices.yaml:1:1: the file must be a list",
		"- a":                                   "prices.yaml:1:3: an entry must be a mapping",
		"- provider: a\n  modell: b":            `prices.yaml:2:3: unknown key "modell"`,
		"- provider: a\n  provider: b":          "there twice",
		"- provider: a\n  model: b":             "prices.yaml:1:3: input_usd_per_mtok is missing",
		ok + ok:                                 "prices.yaml:5:3: a/b is there twice",
		ok + "  cached_usd_per_mtok: 3":         "prices.yaml:5:24: cached input is dearer",
		ok + "  cached_usd_per_mtok: 0":         "cannot be free",
		ok + "  cached_usd_per_mtok: -1":        "not a price",
		ok + "  cached_usd_per_mtok: 1e-3":      "not a price",
		ok + "  cached_usd_per_mtok: 0.0000001": "more than 6 decimals",
		ok + "  cached_usd_per_mtok: 1000000":   "more than 100000",
		ok + "  cached_usd_per_mtok: [1]":       "plain value",
		ok + "  cached_usd_per_mtok:":           "plain value",
		ok + "  cached_usd_per_mtok: &x 1":      "plain value",
		ok + "  tier_above_tokens: 10":          "tier is not complete",
		ok + "  tier_above_tokens: x":           "whole number",
		ok + "  submission_percent: 0":          "between 1 and 100",
		ok + "  checked: yesterday":             "must be a date",
		ok + "  tier_above_tokens: 10\n  tier_input_usd_per_mtok: 0.5\n  tier_output_usd_per_mtok: 4": "cheaper",
		"- provider: a\n  model: b*c\n  input_usd_per_mtok: 1\n  output_usd_per_mtok: 2":              "prices.yaml:2:10: a star",
		"- [":  "not YAML",
		"- *x": "",
	} {
		_, err := Load(strings.NewReader(in))
		if err == nil || !strings.Contains(err.Error(), want) || batch.KindOf(err) != batch.Invalid {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// TestMissingHint loads what the hint tells a person to add.
func TestMissingHint(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"gpt-9", "my model: large", "org/llama", "true", "1.5", "*"} {
		_, lines, _ := strings.Cut(MissingHint("openai_compatible", model), "\n")
		if _, ok := load(t, lines).Lookup("openai_compatible", model); !ok {
			t.Errorf("the hint does not work for %q:\n%s", model, lines)
		}
	}
}

func FuzzOverride(f *testing.F) {
	f.Add("- provider: a\n  model: b\n  input_usd_per_mtok: 1\n  output_usd_per_mtok: 2\n")
	f.Fuzz(func(t *testing.T, s string) {
		tab, err := Load(strings.NewReader(s))
		if err != nil {
			if batch.KindOf(err) != batch.Invalid {
				t.Fatalf("%v", err)
			}
			return
		}
		c, ok := tab.Lookup("a", "b")
		if ok && (c.In < 0 || c.Out < 0 || c.CacheRead > c.In) {
			t.Fatalf("%+v", c)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(nil); err != nil {
			b.Fatal(err)
		}
	}
}
