package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/store/sqlite"
)

// TestTwoRunsShareOneBudget that lets neither finish alone beside the other:
// both go on at once, both end, and what the provider billed for both is within
// the budget. Raised while they stand, both go on to their end.
func TestTwoRunsShareOneBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, "latency=2ms")
	b.write("in.jsonl", items(120))
	config := func(tokens string) {
		b.write("data/config.yaml", "budgets:\n  - {name: both, period: total, tokens: "+tokens+"}\n  - {name: each, per: job, period: month, timezone: UTC, tokens: "+tokens+"}\n")
	}
	config("7000")
	if _, err := b.app().Budgets(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(usual(""), "uri: out", "uri: other", 1)
	one := b.start(usual(""), app.StartRequest{New: true, AllowPartial: true})
	two := b.start(other, app.StartRequest{New: true, AllowPartial: true})
	ended := func(s app.Status) bool { return s.State.Ended() }
	var left int64
	var short batch.RunID // one that the other took the money from; they may both be
	for _, id := range []batch.RunID{one.Run, two.Run} {
		s := b.until(id, "its end", ended)
		if left += s.Items.Pending; s.Items.Pending > 0 {
			short = id
		}
		if s.State == batch.RunStoppedBudget && s.StoppedBy == "" {
			t.Errorf("%s stopped for %q", id, s.Reason)
		}
		b.verify(id)
	}
	if tot := b.sim.Totals(); left == 0 || tot.BilledInputTokens+tot.BilledOutputTokens > 7000 {
		t.Fatalf("%d items are left and %d tokens were billed of 7000", left, tot.BilledInputTokens+tot.BilledOutputTokens)
	}
	if _, err := b.app().Resume(t.Context(), string(short), app.Raise{}); batch.KindOf(err) != batch.BudgetExceeded {
		t.Errorf("a run that is still short was resumed: %v", err)
	}
	config("1000000")
	if _, err := b.app().Budgets(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, id := range []batch.RunID{one.Run, two.Run} {
		if _, err := b.app().Resume(t.Context(), string(id), app.Raise{}); err != nil && batch.KindOf(err) != batch.Conflict {
			t.Fatal(err)
		}
		b.in(b.until(id, "its end", func(s app.Status) bool { return s.State == batch.RunSucceeded }), batch.RunSucceeded)
		b.verify(id)
	}
	bs, err := b.app().Budgets(t.Context(), false)
	if err != nil || len(bs) == 0 {
		t.Fatalf("%+v, %v", bs, err)
	}
	tot := b.sim.Totals()
	for _, x := range bs {
		if x.Name == "both" && x.Spent.Tokens != tot.BilledInputTokens+tot.BilledOutputTokens {
			t.Errorf("the budget has %d tokens spent, the provider billed %d", x.Spent.Tokens, tot.BilledInputTokens+tot.BilledOutputTokens)
		}
	}
	b.plantShared(one.Run)
}

// plantShared damages the sums of shared budgets in ways that no other check
// could see, one at a time; verify names each.
func (b *bench) plantShared(run batch.RunID) {
	b.t.Helper()
	db, err := sqlite.Handle(filepath.Join(b.data, "batchwright.db"), 1, false)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // a test's handle
	for _, plant := range [][2]string{
		{"UPDATE budget SET spent_tok=spent_tok+1 WHERE name='both'", "UPDATE budget SET spent_tok=spent_tok-1 WHERE name='both'"},
		{"UPDATE budget SET spent_pico=spent_pico-1 WHERE name='each'", "UPDATE budget SET spent_pico=spent_pico+1 WHERE name='each'"},
		{"UPDATE budget SET res_tok=res_tok+1 WHERE name='both'", "UPDATE budget SET res_tok=res_tok-1 WHERE name='both'"},
		{"UPDATE budget SET risk_retry=risk_retry+1 WHERE name='each'", "UPDATE budget SET risk_retry=risk_retry-1 WHERE name='each'"},
		{"UPDATE share SET spent_tok=spent_tok-1", "UPDATE share SET spent_tok=spent_tok+1"},
	} {
		for k, q := range plant {
			if _, err := db.Exec(q); err != nil {
				b.t.Fatal(err)
			}
			v, err := b.app().Verify(b.t.Context(), string(run))
			if err != nil || v.OK != (k == 1) {
				b.t.Errorf("after %s verify says ok: %v, %+v, %v", q, v.OK, v.Findings, err)
			}
		}
	}
}
