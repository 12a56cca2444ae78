package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// TestDuplicatesAreCalledOnce and are given back in their places; with dedupe
// off every item is called.
func TestDuplicatesAreCalledOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var in strings.Builder
	for i := range 60 {
		fmt.Fprintf(&in, `{"id":"i%d","text":"one of %d","note":"%d"}`+"\n", i, i%7, i)
	}
	b.write("in.jsonl", in.String())
	s := b.runTo(batch.RunSucceeded, usual(""))
	if tot := b.sim.Totals(); tot.TotalCalls != 7 || tot.BilledCalls != 7 || s.Items.OK != 60 {
		t.Errorf("%d calls, %d billed, for %+v", tot.TotalCalls, tot.BilledCalls, s.Items)
	}
	rs := b.lines(b.read("out/results.jsonl"))
	for i, r := range rs {
		if r.text("output") != rs[i%7].text("output") {
			t.Errorf("item %d has another answer than its leader", i)
		}
		if want := fmt.Sprintf("i%d", i%7); i >= 7 && r.text("copy_of") != want {
			t.Errorf("item %d is a copy of %q, want %q", i, r.text("copy_of"), want)
		}
	}
	b.sim.Reset()
	b.runTo(batch.RunSucceeded, usual("dedupe: false\n"))
	if tot := b.sim.Totals(); tot.BilledCalls != 60 {
		t.Errorf("with dedupe off %d calls for 60 items", tot.BilledCalls)
	}
}

// TestTheCachePaysOnlyForWhatChanged over two runs of one job.
func TestTheCachePaysOnlyForWhatChanged(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(50))
	b.runTo(batch.RunSucceeded, usual("cache: reuse\n"))
	first := b.lines(b.read("out/results.jsonl"))
	b.sim.Reset()
	b.write("in.jsonl", strings.Replace(items(55), "ticket 7 has", "TICKET 7 HAS", 1))
	p, err := b.app().Plan(t.Context(), b.spec(usual("cache: reuse\n")))
	if err != nil || p.ToCall.N != 6 {
		t.Errorf("the plan would call %d: %v", p.ToCall.N, err)
	}
	s := b.runTo(batch.RunSucceeded, usual("cache: reuse\n"))
	tot := b.sim.Totals()
	if tot.BilledCalls != 6 || s.Items.OK != 55 || s.Tokens.Total != tot.BilledInputTokens+tot.BilledOutputTokens {
		t.Errorf("%d calls were billed, for 5 new items and 1 changed; %+v", tot.BilledCalls, s.Items)
	}
	cached := 0
	for i, r := range b.lines(b.read("out/results.jsonl")) {
		if r.text("cached") == "true" {
			cached++
			if r.text("output") != first[i].text("output") {
				t.Errorf("item %d has another answer than in the run before", i)
			}
		}
	}
	if cached != 49 {
		t.Errorf("%d answers are marked as cached", cached)
	}
}

// calm is what the outputs of a run are when nothing stops it.
func calm(t *testing.T, input, text string) (map[string]string, app.Status) {
	t.Helper()
	b := newBench(t, "")
	b.write("in.jsonl", input)
	s := b.runTo(batch.RunSucceeded, text)
	return b.outputs("out"), s
}

// TestABudgetStopsARunAndARaiseGoesOn: what was paid is delivered, the bill is
// inside the budget, and after a raise the outputs are those of a run that
// nothing stopped.
func TestABudgetStopsARunAndARaiseGoesOn(t *testing.T) {
	t.Parallel()
	want, undisturbed := calm(t, items(200), usual(""))
	for _, c := range []struct {
		name, budget string
		dim          string
		raise        app.Raise
	}{
		{"tokens", "budget: {tokens: 3000}\n", "tokens", app.Raise{Tokens: 10_000_000}},
		{"usd", fmt.Sprintf("budget: {usd: %s}\n", undisturbed.Cost.Pico/3), "usd", app.Raise{Pico: 1_000_000_000_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "")
			b.write("in.jsonl", items(200))
			_, err := b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(usual(c.budget))})
			b.refused(err, batch.BudgetExceeded)
			if n := b.sim.Totals().TotalCalls; n != 0 {
				t.Fatalf("%d calls of a run that was refused", n)
			}
			s := b.run(usual(c.budget), app.StartRequest{AllowPartial: true})
			b.in(s, batch.RunStoppedBudget)
			b.paid(s)
			rs := b.lines(b.read("out/results.jsonl"))
			if int64(len(rs)) != b.sim.Totals().BilledCalls || len(rs) == 0 || len(rs) >= 200 || !strings.Contains(s.Reason, c.dim) {
				t.Errorf("%d results of %d paid calls; reason %q", len(rs), b.sim.Totals().BilledCalls, s.Reason)
			}
			b.whole("out", s)
			if c.dim == "usd" && int64(s.Budget.Spent.Pico) > *s.Budget.PicoUSD {
				t.Errorf("spent %s of %s", s.Budget.Spent.Pico, money.PicoUSD(*s.Budget.PicoUSD))
			}
			// The same budget again is refused, a raise goes on, in another process.
			b.close()
			_, err = b.app().Resume(t.Context(), string(s.RunID), app.Raise{})
			b.refused(err, batch.BudgetExceeded, "still the same")
			_, err = b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(usual(c.budget)), AllowPartial: true})
			b.refused(err, batch.BudgetExceeded, "still the same")
			st, err := b.app().Resume(t.Context(), string(s.RunID), c.raise)
			if err != nil || !st.Resumed || st.Run != s.RunID {
				t.Fatalf("%+v %v", st, err)
			}
			s = b.still(st.Run)
			b.verify(st.Run)
			b.in(s, batch.RunSucceeded)
			b.paid(s)
			b.same("after a raise", b.outputs("out"), want)
			if tot := b.sim.Totals(); tot.BilledCalls != 200 || tot.ExtraPaidCalls != 0 {
				t.Errorf("%d calls, %d of them twice", tot.BilledCalls, tot.ExtraPaidCalls)
			}
		})
	}
}

// TestAnEditedBudgetInTheSpecResumes: running the spec again goes on.
func TestAnEditedBudgetInTheSpecResumes(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(100))
	first := b.run(usual("budget: {tokens: 2000}\n"), app.StartRequest{AllowPartial: true})
	b.in(first, batch.RunStoppedBudget)
	st := b.start(usual("budget: {tokens: 2000000}\n"), app.StartRequest{})
	if !st.Resumed || st.Run != first.RunID || !strings.Contains(st.Note, string(st.Run)) {
		t.Fatalf("%+v", st)
	}
	b.in(b.still(st.Run), batch.RunSucceeded)
	b.verify(st.Run)
	if n := b.sim.Totals().BilledCalls; n != 100 {
		t.Errorf("%d calls for 100 items", n)
	}
	// With another prompt it is another run, and so it is with New.
	again := b.start(usual("")+strings.Replace(usualTask, "Summarise", "Shorten", 1), app.StartRequest{})
	if again.Resumed || again.Run == st.Run {
		t.Errorf("a changed prompt went on with the old run: %+v", again)
	}
	b.in(b.still(again.Run), batch.RunSucceeded)
	if n := b.sim.Totals().BilledCalls; n != 200 {
		t.Errorf("%d calls after the second run", n)
	}
}

// TestABudgetInUSDNeedsAPrice and says which line makes one.
func TestABudgetInUSDNeedsAPrice(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(5))
	task := usualTask[:strings.Index(usualTask, "  price:")]
	_, err := b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(usual("budget: {usd: 1}\n") + task)})
	b.refused(err, batch.Invalid, "prices.yaml", "model: sim-1", "input_usd_per_mtok")
	if n := b.sim.Totals().TotalCalls; n != 0 {
		t.Errorf("%d calls", n)
	}
	// Without a budget in USD the price may be unknown, and is said to be.
	if s := b.runTo(batch.RunSucceeded, usual("")+task); s.Cost.Known || s.Cost.Pico != 0 {
		t.Errorf("cost %+v", s.Cost)
	}
}

// TestTheRetryBudgetBoundsRetries of the whole run.
func TestTheRetryBudgetBoundsRetries(t *testing.T) {
	t.Parallel()
	b := newBench(t, "seen:1-20=500")
	b.write("in.jsonl", items(20))
	s := b.runTo(batch.RunFailed, usual("budget: {retries: 5}\n"))
	if tot := b.sim.Totals(); tot.TotalCalls != 25 || s.Retries != 5 || s.Items.Failed != 20 {
		t.Errorf("%d calls, %d retries, %+v", tot.TotalCalls, s.Retries, s.Items)
	}
	classes := map[string]int{}
	for _, f := range b.lines(b.read("out/failed.jsonl")) {
		classes[f.text("class")]++
	}
	if classes["retry_budget"] == 0 {
		t.Errorf("failed as %v", classes)
	}
	// None at all is a budget, too.
	b2 := newBench(t, "seen:1=500")
	b2.write("in.jsonl", items(4))
	b2.runTo(batch.RunFailed, usual("budget: {retries: 0}\n"))
	if n := b2.sim.Totals().TotalCalls; n != 4 {
		t.Errorf("%d calls of 4 items that may not be retried", n)
	}
}

// TestItemBudgetsEndItemsAlone: the spec's for all, an item's own for itself;
// the lower one counts.
func TestItemBudgetsEndItemsAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, "seen:1-99=badjson")
	b.write("in.jsonl", `{"id":"a","text":"free"}
{"id":"b","text":"own budget of nearly nothing","token_budget":10}
{"id":"c","text":"own budget above the one of all","token_budget":1000000}
`)
	task := strings.Replace(usualTask, "  max_output_tokens: 64\n",
		"  max_output_tokens: 64\n  schema: {type: object, properties: {a: {type: string}}, required: [a], additionalProperties: false}\n", 1)
	text := strings.Replace(usual("budget: {item_tokens: 2000}\n")+task, "batch_size: 10", "max_attempts: 99", 1)
	s := b.run(text, app.StartRequest{})
	fs := b.lines(b.read("out/failed.jsonl"))
	if s.State != batch.RunFailed || len(fs) != 3 || !strings.Contains(fs[1].text("message"), "budget of 10 ") {
		t.Fatalf("%s: %v", s.State, fs)
	}
	for _, f := range fs {
		if f.text("class") != "item_budget" {
			t.Errorf("%s failed as %s", f.text("id"), f.text("class"))
		}
	}
	used := map[string]int64{}
	for _, a := range b.lines(b.read("out/ledger.jsonl")) {
		var c struct{ Tokens int64 }
		unmarshal(t, a["charged"], &c)
		used[a.text("id")] += c.Tokens
	}
	if used["b"] != 0 || used["a"] == 0 || used["a"] > 2000 || used["c"] == 0 || used["c"] > 2000 {
		t.Errorf("used %v", used)
	}
}

// TestADeadlineStopsWhatHasNotBegun and a later one goes on.
func TestADeadlineStopsWhatHasNotBegun(t *testing.T) {
	t.Parallel()
	want, _ := calm(t, items(60), usual(""))
	b := newBench(t, "latency=150ms")
	b.write("in.jsonl", items(60))
	s := b.runTo(batch.RunDeadlineExceeded, usual("deadline: 1s\npacing: {concurrency: 2}\n"))
	if s.Items.OK == 0 || s.Items.Pending == 0 {
		t.Errorf("%+v", s.Items)
	}
	if n := b.sim.CallsAfter(s.Deadline.Add(2 * time.Second)); n != 0 {
		t.Errorf("%d calls later than 2 s after the deadline", n)
	}
	b.whole("out", s)
	b.paid(s)
	b.knobs("")
	st, err := b.app().Resume(t.Context(), string(s.RunID), app.Raise{Deadline: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.in(b.still(st.Run), batch.RunSucceeded)
	b.same("after the deadline", b.outputs("out"), want)
	if n := b.sim.Totals().ExtraPaidCalls; n != 0 {
		t.Errorf("%d calls were paid twice", n)
	}
}
