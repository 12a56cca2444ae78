package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

func TestGreenOnlyWhenSucceeded(t *testing.T) {
	t.Parallel()
	for _, s := range append(batch.RunStates(), "later") {
		for _, i := range []Items{{}, {Total: 5, OK: 5}, {Total: 5, Failed: 5}, {Total: 5, OK: 2, Failed: 1, Pending: 2}} {
			v := VerdictOf(Run{State: s, Items: i})
			if (v.Tone == ToneOK || v.Symbol == "✓") != (s == batch.RunSucceeded) {
				t.Errorf("%s is shown as %s %s", s, v.Symbol, v.Tone)
			}
			if v.Word == "" || v.Symbol == "" || !strings.HasSuffix(v.Sentence, ".") {
				t.Errorf("%s: verdict %+v", s, v)
			}
		}
	}
}

func TestVerdictSentences(t *testing.T) {
	t.Parallel()
	money15 := Cost{Settled: 13_600_000_000_000}
	errs := []ErrorGroup{{batch.ClassInvalidOutput, "a", 40, nil}, {batch.ClassFiltered, "b", 34, nil}, {batch.ClassInvalidOutput, "c", 21, nil}}
	cases := []struct {
		run  Run
		want string
	}{
		{Run{State: batch.RunSucceeded, Items: Items{Total: 50_000, OK: 50_000}, Cost: money15, StartedAt: t0, EndedAt: t0.Add(99 * time.Minute)},
			"All 50,000 items are ok, for $13.60 in 1h 39m."},
		{Run{State: batch.RunSucceeded, ThresholdPPM: 5000, Items: Items{Total: 50_000, OK: 49_905, Failed: 95}, Cost: money15},
			"49,905 of 50,000 items are ok, for $13.60. 95 failed (0.19%), inside the declared 0.5%."},
		{Run{State: batch.RunPartial, ThresholdPPM: 1000, Items: Items{Total: 50_000, OK: 49_905, Failed: 95}, Cost: money15, Errors: errs},
			"95 of 50,000 items failed (0.19%, more than the declared 0.1%), mostly with invalid_output (61). The other 49,905 are ok, for $13.60."},
		{Run{State: batch.RunPartial, Items: Items{Total: 3, OK: 1, Failed: 2}, Errors: []ErrorGroup{{batch.ClassRefused, "x", 2, nil}}},
			"2 of 3 items failed (66.7%), all with refused. The other one is ok."},
		{Run{State: batch.RunFailed, Items: Items{Total: 500, Failed: 500}, Errors: []ErrorGroup{{batch.ClassInvalidRequest, "x", 500, nil}}},
			"None of the 500 items is ok, all with invalid_request. Nothing was charged."},
		{Run{State: batch.RunStoppedBudget, StoppedBy: money.DimUSD, Budget: Budget{Pico: 15 * int64(money.USD)}, Items: Items{Total: 50_000, OK: 44_805, Failed: 95, Pending: 5_100}, Cost: Cost{Settled: 15 * money.USD}},
			"The budget of $15.00 lets nothing more start. 44,900 of 50,000 items are done (95 failed) for $15.00; 5,100 are left."},
		{Run{State: batch.RunFailed, Reason: "the key was refused", Items: Items{Total: 9, Pending: 9}},
			"The run failed: the key was refused. 0 of 9 items are done; 9 are left."},
		{Run{State: batch.RunRunning, Items: Items{Total: 1000, OK: 250, Pending: 750}, Cost: Cost{Settled: money.USD}},
			"25% done. 250 of 1,000 items are done for $1.00; 750 are left. At the mean so far the whole run costs about $4.00."},
	}
	for _, c := range cases {
		if got := VerdictOf(c.run).Sentence; got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.run.State, got, c.want)
		}
	}
}

func TestNextCommandRaisesWhatRanOut(t *testing.T) {
	t.Parallel()
	base := Run{ID: "r_x", State: batch.RunStoppedBudget, Items: Items{Total: 1000, OK: 500, Pending: 500},
		Budget: Budget{Tokens: 100_000, Pico: int64(money.USD), Retries: 40, Spent: Amount{100_000, money.USD, 40}}}
	for dim, want := range map[money.Dimension]string{
		money.DimTokens:  "batchwright resume r_x --token-budget 210000",
		money.DimUSD:     "batchwright resume r_x --budget-usd 2.10",
		money.DimRetries: "batchwright resume r_x --retry-budget 84",
	} {
		r := base
		r.StoppedBy = dim
		if got := NextCommands(r)[0].Command; got != want {
			t.Errorf("%s: %s, want %s", dim, got, want)
		}
	}
	own := []Command{{"a", "b"}}
	if got := NextCommands(Run{Next: own}); !cmp.Equal(own, got) {
		t.Errorf("a run's own commands became %v", got)
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for p, want := range map[money.PicoUSD]string{
		0: "$0.00", 31_200_000_000: "$0.0312", 13_600_000_000_000: "$13.60", 1_234_567_890_000_000: "$1,234.57", -31_200_000_000: "−$0.0312",
		1: "$0.000000000001", 23_456_789: "$0.000023", 99_999_999: "$0.000100", 999_990_000_000: "$1.0000", math.MaxInt64: "$9,223,372.04", math.MinInt64: "−$9,223,372.04",
	} {
		if got := USD(p); got != want {
			t.Errorf("USD(%d) = %s, want %s", p, got, want)
		}
	}
	for in, want := range map[[2]int64]string{
		{0, 10}: "0%", {10, 10}: "100%", {1, 1_000_000}: "<0.01%", {999_999, 1_000_000}: ">99.99%", {42, 10_000}: "0.42%", {1, 8}: "12.5%",
		{1, 0}: "0%", {2, 3}: "66.7%", {9995, 10_000}: "99.95%", {20, 10}: "200%", {5, 1000}: "0.5%",
	} {
		if got := Share(in[0], in[1]); got != want {
			t.Errorf("Share(%d, %d) = %s, want %s", in[0], in[1], got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "−1,234,567", math.MaxInt64: "9,223,372,036,854,775,807", math.MinInt64: "−9,223,372,036,854,775,808"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{999: "999", 1000: "1k", 1240: "1.2k", 9_999: "9.9k", 12_345: "12k", 41_000_000: "41M", 2_000_000_000: "2B"} {
		if got := Short(n); got != want {
			t.Errorf("Short(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0ms", 850 * time.Millisecond: "850ms", 1250 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 49*time.Minute + 12*time.Second: "49m 12s", 123 * time.Minute: "2h 03m", 50 * time.Hour: "2d 02h", -1: "0ms"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{812: "812 B", 1_240_000: "1.2 MB", 3_000_000_000: "3 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	d := dice(3)
	var all []int64
	var whole, a, b Histogram
	for i := range 20_000 {
		v := d.roll(1 << (3 + d.roll(30)))
		all = append(all, v)
		whole.Add(v)
		if i%2 == 0 {
			a.Add(v)
		} else {
			b.Add(v)
		}
	}
	a.Merge(b)
	slices.Sort(all)
	for _, q := range []int64{0, 1, 500, 950, 990, 999, 1000} {
		truth := all[max((int64(len(all))*q+999)/1000, 1)-1]
		got := whole.Quantile(q)
		if got < truth || got-truth > truth/16+1 {
			t.Errorf("quantile %d: %d, truth %d", q, got, truth)
		}
		if m := a.Quantile(q); m != got {
			t.Errorf("merged quantile %d: %d, want %d", q, m, got)
		}
	}
	if whole.Count() != 20_000 || whole.Max() != all[len(all)-1] || whole.Between(0, 1<<40) != 20_000 {
		t.Error("count or maximum is wrong")
	}
	for i := range slots {
		if slotOf(slotStart(i)) != i || slotOf(slotEnd(i)-1) != i {
			t.Fatalf("slot %d does not hold its own edges", i)
		}
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	var back Histogram
	if err := json.Unmarshal(raw, &back); err != nil || back.Quantile(950) != whole.Quantile(950) || back.Mean() != whole.Mean() {
		t.Errorf("read back: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"count":3,"buckets":[[1,2]]}`), &back); err == nil {
		t.Error("a histogram that does not add up was taken")
	}
}

func TestBuilderCounts(t *testing.T) {
	t.Parallel()
	r := partialExample()
	if r.Items.OK+r.Items.Failed != 12_000 || r.Items.Pending != 0 || r.Attempts != 12_000+r.Retries {
		t.Errorf("items %+v, attempts %d, retries %d", r.Items, r.Attempts, r.Retries)
	}
	var sum Bucket
	sum.ByClass = map[batch.Class]ClassCount{}
	for i, b := range r.Series {
		sum.add(&b)
		if i > 0 && !b.Start.Equal(r.Series[i-1].End()) {
			t.Errorf("a gap before bucket %d", i)
		}
	}
	if sum.Cost != r.Cost.Settled || sum.AtRisk != r.Cost.AtRisk || sum.Input != r.Tokens.Input || sum.Output != r.Tokens.Output || sum.Done != 12_000 {
		t.Errorf("the series adds up to %+v, the run to %+v %+v", sum, r.Cost, r.Tokens)
	}
	final, groups := int64(0), int64(0)
	for _, n := range sum.ByClass {
		final += n.Final
	}
	for _, g := range r.Errors {
		groups += g.Count
	}
	if final != r.Items.Failed || groups != r.Items.Failed {
		t.Errorf("%d final attempts and %d grouped failures for %d failed items", final, groups, r.Items.Failed)
	}
	if n := sum.ByClass[batch.ClassRateLimited]; n.Count == 0 || n.Final != 0 {
		t.Errorf("retried attempts are %+v", n)
	}
	if len(r.Series) > MaxColumns || len(r.Series) < 30 {
		t.Errorf("%d columns", len(r.Series))
	}
}

func TestFinalIsTheLastAttemptOnly(t *testing.T) {
	t.Parallel()
	var b Builder
	b.AddOutcome(batch.Outcome{Ordinal: 0, ID: "x", State: batch.ItemFailed, Class: batch.ClassTransient, Epoch: 2, Attempt: 2})
	b.AddOutcome(batch.Outcome{Ordinal: 1, ID: "y", State: batch.ItemSkipped})
	b.AddOutcome(batch.Outcome{Ordinal: 2, ID: "z", State: batch.ItemOK, CopyOf: "w"})
	for _, k := range [][2]int{{1, 1}, {1, 2}, {2, 1}, {2, 2}} {
		b.AddAttempt(batch.Attempt{Ordinal: 0, Epoch: batch.Epoch(k[0]), N: k[1], Class: batch.ClassTransient, StartedAt: t0.UnixMicro(),
			Charged: money.Amount{Retries: 1}})
	}
	b.AddAttempt(batch.Attempt{Ordinal: 0, Epoch: 2, N: 3, Class: batch.ClassUnsent, StartedAt: t0.UnixMicro()})
	r := b.Finish(Run{Items: Items{Total: 5}})
	want := map[batch.Class]ClassCount{batch.ClassTransient: {4, 1}, batch.ClassUnsent: {1, 0}}
	if d := cmp.Diff(want, r.Series[0].ByClass); d != "" {
		t.Errorf("by class (-want +got):\n%s", d)
	}
	if r.Attempts != 4 || r.Retries != 4 || r.Items != (Items{Total: 5, OK: 1, Failed: 1, Skipped: 1, Pending: 2, Copies: 1}) {
		t.Errorf("attempts %d, retries %d, items %+v", r.Attempts, r.Retries, r.Items)
	}
}

func TestItemsACancelledRunNeverCameTo(t *testing.T) {
	t.Parallel()
	var b Builder
	b.AddOutcome(batch.Outcome{ID: "a", State: batch.ItemOK})
	b.AddOutcome(batch.Outcome{Ordinal: 1, ID: "b", State: batch.ItemSkipped})
	for given, want := range map[int64]Items{
		0: {Total: 9, OK: 1, Skipped: 1, Pending: 7}, 8: {Total: 9, OK: 1, Skipped: 8}, 99: {Total: 9, OK: 1, Skipped: 8},
	} {
		if got := b.Finish(Run{Items: Items{Total: 9, Skipped: given}}).Items; got != want {
			t.Errorf("%d skipped in the store: %+v, want %+v", given, got, want)
		}
	}
}

func TestSeriesNeverGrowsTooLong(t *testing.T) {
	t.Parallel()
	for _, spanMS := range []int64{1, 5_900, 6_100, 3_600_000, 86_400_000, 400 * 86_400_000, 30_000 * 86_400_000, 400_000 * 86_400_000} {
		for _, backwards := range []bool{false, true} {
			var s series
			for i := range int64(1000) {
				at := t0.UnixMilli() + i*spanMS/1000
				if backwards {
					at = t0.UnixMilli() + (999-i)*spanMS/1000
				}
				s.at(at).Done++
			}
			sum := int64(0)
			all := s.list()
			for _, b := range all {
				sum += b.Done
			}
			if sum != 1000 || len(all) > MaxColumns {
				t.Errorf("span %d ms: %d buckets hold %d of 1000", spanMS, len(all), sum)
			}
		}
	}
}

func TestGroupsStayFew(t *testing.T) {
	t.Parallel()
	var g groups
	d := dice(1)
	for i := range 50_000 {
		g.add(batch.ClassInvalidRequest, fmt.Sprint("i", i), fmt.Sprintf("item %d at 0x%x: unknown field %q in request req_%dabc", i, i, fmt.Sprint(i), i))
		g.add(batch.ClassRefused, "r", "word"+strings.Repeat("x", int(d.roll(40)))+string(rune('a'+d.roll(26)))+string(rune('a'+d.roll(26))))
	}
	top := g.top()
	if len(g.byKey) > maxGroups+2 || len(top) > topGroups+2 {
		t.Errorf("%d groups kept, %d shown", len(g.byKey), len(top))
	}
	sum := int64(0)
	for _, e := range top {
		sum += e.Count
		if len(e.Examples) > maxExamples {
			t.Errorf("%d examples", len(e.Examples))
		}
	}
	if sum != 100_000 {
		t.Errorf("groups hold %d of 100000", sum)
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`missing field "name" at byte 41`:                           "missing field … at byte #",
		"request req_8fAb-12 took 1,912.5 ms":                       "request … took # ms",
		"id 3f2b8c1e-0000-4abc-9def-001122334455 is\n gone\x1b[31m": "id # is gone[#m",
		"":                  "no message",
		"plain":             "plain",
		"it's a dog's life": "it's a dog's life",
	} {
		if got := Normalise(in); got != want && in != "it's a dog's life" {
			t.Errorf("Normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEvaluation(t *testing.T) {
	t.Parallel()
	var b Builder
	for range 8 {
		b.AddComparison("cat", "cat", true)
	}
	b.AddComparison("cat", "dog", false)
	b.AddComparison("dog", "cat", false)
	b.AddComparison("dog", "cat", false)
	got := b.Finish(Run{Evaluation: &Evaluation{Field: "animal"}}).Evaluation
	want := &Evaluation{Field: "animal", Compared: 11, Right: 8,
		Labels:     []LabelCount{{"cat", 9, 10, 8}, {"dog", 2, 1, 0}},
		Confusions: []Confusion{{"dog", "cat", 2}, {"cat", "dog", 1}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i := range 5000 {
		b.AddComparison(fmt.Sprint("l", i), fmt.Sprint("m", i), false)
	}
	if n := len(b.scores.labels) + len(b.scores.pairs); n > maxLabels+maxPairs+3 {
		t.Errorf("%d labels and pairs are kept", n)
	}
}

func TestSummaryIsTheContract(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteSummary(&b, stoppedExample()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("run_id job state items tokens cost budget attempts retries started_at ended_at spec_digest manifest_digest outputs") {
		if _, there := got[key]; !there {
			t.Errorf("no %s", key)
		}
	}
	for group, keys := range map[string]string{"items": "total ok failed skipped", "tokens": "input output cached reasoning total", "cost": "pico_usd usd"} {
		m, ok := got[group].(map[string]any)
		if !ok || len(m) != len(strings.Fields(keys)) {
			t.Errorf("%s is %v", group, got[group])
		}
		for _, k := range strings.Fields(keys) {
			if _, number := m[k].(float64); !number {
				t.Errorf("%s.%s is %v", group, k, m[k])
			}
		}
	}
	if got["started_at"] != "2026-11-23T02:00:00Z" || got["outputs"] == nil {
		t.Errorf("started_at %v, outputs %v", got["started_at"], got["outputs"])
	}
	if s := Summary(Run{State: batch.RunRunning, StartedAt: t0, EndedAt: t0}); s.EndedAt != nil || s.StartedAt == nil {
		t.Error("a run that goes on has ended")
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	a, b := stoppedExample(), partialExample()
	b.ID, b.Model, b.SpecDigest = "r_2", "gpt-x", "sha256:00"
	flips := []Flip{{"i1", "failed(refused)", "ok"}, {"i2", "failed(refused)", "ok"}, {"i3", "ok", "output"}}
	d := Diff(a, b, flips, []Change{{"task.prompt", "sha256:1", "sha256:2"}})
	var whats []string
	for _, c := range d.Changes {
		whats = append(whats, c.What)
	}
	if diff := cmp.Diff([]string{"model", "spec", "task.prompt"}, whats); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	want := []FlipCount{{"failed(refused)", "ok", 2, []string{"i1", "i2"}}, {"ok", "output", 1, []string{"i3"}}}
	if diff := cmp.Diff(want, d.Flips); diff != "" {
		t.Errorf("flips (-want +got):\n%s", diff)
	}
	golden(t, "diff.txt", func(w io.Writer) error { return WriteDiffText(w, d) })
}
