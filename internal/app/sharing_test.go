package app_test

import (
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
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
	for _, id := range []batch.RunID{one.Run, two.Run} {
		s := b.until(id, "its end", ended)
		left += s.Items.Pending
		if s.State == batch.RunStoppedBudget && s.StoppedBy == "" {
			t.Errorf("%s stopped for %q", id, s.Reason)
		}
		b.verify(id)
	}
	if tot := b.sim.Totals(); left == 0 || tot.BilledInputTokens+tot.BilledOutputTokens > 7000 {
		t.Fatalf("%d items are left and %d tokens were billed of 7000", left, tot.BilledInputTokens+tot.BilledOutputTokens)
	}
	if _, err := b.app().Resume(t.Context(), string(one.Run), app.Raise{}); batch.KindOf(err) != batch.BudgetExceeded {
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
}
