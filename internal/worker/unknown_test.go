package worker_test

import (
	"context"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// TestUnknownCallsUseUpAttempts: a call whose fate is not known is perhaps paid.
// It is an attempt and a retry like any other, so an item that always ends like
// that is called as often as the spec allows, and no oftener.
func TestUnknownCallsUseUpAttempts(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 2, 2)
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		if o == 0 && try <= 5 { // an end, so that a test that fails comes to one
			return provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "cut"}
		}
		return answer
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	as := b.of(0)
	if len(as) != j.policy.MaxAttempts || b.run.Counts.Failed != 1 || b.run.Counts.OK != 1 {
		t.Fatalf("%d attempts of %d, %d failed, %d ok", len(as), j.policy.MaxAttempts, b.run.Counts.Failed, b.run.Counts.OK)
	}
	want := int64(100*len(as)) + 15
	if b.run.Budget.Spent.Tokens != want || b.run.Budget.Spent.Retries != int64(len(as)-1) {
		t.Fatalf("spent %+v; %d tokens, %d retries were had", b.run.Budget.Spent, want, len(as)-1)
	}
}
