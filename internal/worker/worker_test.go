package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/worker"
)

func TestEveryItemIsCalledOnceAndCommitted(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 107, 10)
	c.begin(j)
	b := c.all(j)
	if n := j.fake.seen(); n != 107 {
		t.Fatalf("%d calls for 107 items", n)
	}
	o := b.outcomes[42]
	if string(o.Output) != `"fine 42"` || o.ID != "item-42" || o.Usage != usage || o.Model != "m-1" || o.Finish != "stop" || o.Attempt != 1 {
		t.Fatalf("outcome is %+v", o)
	}
	a := b.of(42)[0]
	if a.Class != batch.ClassOK || a.Status != 200 || a.RequestID != "rq" || a.Estimated || a.StartedAt == 0 ||
		a.Charged != (money.Amount{Tokens: 15, Pico: 10*1000 + 5*3000}) || a.Reserved != (money.Amount{Tokens: 100, Pico: 60*1000 + 40*3000}) {
		t.Fatalf("attempt is %+v", a)
	}
	if got := b.run.Budget.Spent; got != (money.Amount{Tokens: 107 * 15, Pico: 107 * 25_000}) {
		t.Fatalf("spent is %+v", got)
	}
}

// T2: when a byte can go out, the store knows of the call, and holds its worst
// case: what the provider has billed is never more than what is committed.
func TestNoCallGoesOutBeforeItsStartIsDurable(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := h.hire(nil)
	j := newJob("r_a", 60, 7)
	j.limit = money.Limit{Tokens: 60*15 + 400, Pico: -1, Retries: 30}
	var checked atomic.Int64
	j.fake.see = func(o int64) {
		s, err := h.db.Shard(h.ctx, j.id, batch.ShardNo(o/7))
		if err != nil || !s.Book.Started.Get(int(o%7)) || s.Book.Done.Get(int(o%7)) {
			t.Errorf("item %d is on the wire and its shard says %+v, %v", o, s, err)
		}
		j.fake.mu.Lock()
		billed := j.fake.billed
		j.fake.mu.Unlock()
		r, err := h.db.Run(h.ctx, j.id)
		if err != nil || r.Budget.Committed().Tokens < billed+worstTokens || r.Budget.Committed().Tokens > j.limit.Tokens {
			t.Errorf("billed are %d and a call is on the wire; committed are %+v, %v", billed, r.Budget, err)
		}
		checked.Add(1)
	}
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		if o%5 == 0 && try == 1 {
			return refusal(batch.ClassTransient, 500)
		}
		return answer
	}
	c.begin(j)
	c.all(j)
	if checked.Load() != 72 {
		t.Fatalf("%d calls were looked at, want 72", checked.Load())
	}
}

func TestRetryableFailuresUseUpAttempts(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 4, 4)
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		switch {
		case o == 0 && try < 3:
			return refusal(batch.ClassTransient, 503)
		case o == 1:
			return refusal(batch.ClassCapacity, 529)
		case o == 2:
			return refusal(batch.ClassInvalidRequest, 400)
		}
		return answer
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	for o, want := range map[batch.Ordinal]struct {
		state batch.ItemState
		class batch.Class
		calls int
	}{0: {batch.ItemOK, batch.ClassOK, 3}, 1: {batch.ItemFailed, batch.ClassCapacity, 3}, 2: {batch.ItemFailed, batch.ClassInvalidRequest, 1}, 3: {batch.ItemOK, batch.ClassOK, 1}} {
		if x := b.outcomes[o]; x.State != want.state || x.Class != want.class || len(b.of(o)) != want.calls {
			t.Errorf("item %d: %+v after %d calls, want %+v", o, x, len(b.of(o)), want)
		}
	}
	if got := b.run.Budget.Spent; got.Retries != 4 || got.Tokens != 30 {
		t.Errorf("spent %+v, want 4 retries and 30 tokens", got)
	}
	fs, err := c.db.Failures(c.ctx, j.id, batch.ClassCapacity, -1, 0)
	c.ok(err)
	if len(fs) != 1 || fs[0].ID != "item-1" || fs[0].Attempts != 3 || fs[0].Message != "said no" {
		t.Errorf("failures are %+v", fs)
	}
}

func TestRateLimitsUseUpNoAttempt(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 3, 3)
	j.policy.MaxAttempts = 1
	j.limit.Retries = 0
	j.lane = 1
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		if o == 1 && try <= 2 {
			r := refusal(batch.ClassRateLimited, 429)
			r.RetryAfter = time.Millisecond
			return r
		}
		return answer
	}
	c.begin(j)
	b := c.all(j)
	if n := len(b.of(1)); n != 3 || b.run.Budget.Spent != (money.Amount{Tokens: 45, Pico: 75_000}) {
		t.Fatalf("%d calls, spent %+v", n, b.run.Budget.Spent)
	}
}

func TestTheRetryBudgetEndsRetries(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 6, 3)
	j.limit.Retries, j.policy.MaxAttempts = 4, 10
	j.fake.say = func(context.Context, int64, int) provider.Result { return refusal(batch.ClassTransient, 500) }
	c.begin(j)
	c.comes(j.id, batch.RunFailed)
	b := c.audit(j.id)
	if n := j.fake.seen(); n != 10 || b.run.Budget.Spent.Retries != 4 {
		t.Fatalf("%d calls and %d retries, want 10 and 4", n, b.run.Budget.Spent.Retries)
	}
	for o, x := range b.outcomes {
		if x.Class != batch.ClassRetryBudget || !strings.Contains(x.Message, "transient") {
			t.Errorf("item %d ended as %+v", o, x)
		}
	}
}

func TestATokenBudgetStopsAndARaisedOneGoesOn(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 40, 5)
	j.limit = money.Limit{Tokens: 400, Pico: -1, Retries: -1}
	c.begin(j)
	r := c.comes(j.id, batch.RunStoppedBudget)
	if !strings.Contains(r.Reason, "tokens") {
		t.Fatalf("the reason is %q", r.Reason)
	}
	b := c.audit(j.id)
	if b.run.Budget.Spent.Tokens > 400 || b.run.Budget.Spent.Tokens <= 300 {
		t.Fatalf("stopped at %d of 400 tokens: the last call that fits was not made, or one too many", b.run.Budget.Spent.Tokens)
	}
	was := j.fake.seen()
	c.ok(c.db.SetLimit(c.ctx, j.id, money.Limit{Tokens: 40*15 + 100, Pico: -1, Retries: -1}, 0))
	c.goOn(j)
	b = c.all(j)
	if was*15 != int(b.run.Budget.Spent.Tokens)-(40-was)*15 || j.fake.seen() != 40 {
		t.Fatalf("%d calls, spent %+v", j.fake.seen(), b.run.Budget.Spent)
	}
}

func TestAnItemBudgetEndsItsItemAlone(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 3, 3)
	j.policy.ItemBudgets, j.policy.MaxAttempts = true, 10
	j.work = func(o int64, w *lease.Work) { w.Budget = []int64{99, 150, -1}[o] }
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		if try < 6 {
			r := answer
			r.Text = "bad"
			return r
		}
		return answer
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	for o, calls := range []int{0, 4, 6} { // 15 tokens a call: after four, 60 + 100 > 150
		if x := b.outcomes[batch.Ordinal(o)]; len(b.of(batch.Ordinal(o))) != calls || (x.Class == batch.ClassItemBudget) != (o < 2) {
			t.Errorf("item %d: %d calls, %+v", o, len(b.of(batch.Ordinal(o))), x)
		}
	}
}

func TestTruncatedAnswers(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		policy string
		until  int64 // the output limit that suffices
		state  batch.RunState
		calls  int
		class  batch.Class
	}{
		{"accept", math.MaxInt64, batch.RunSucceeded, 1, batch.ClassTruncated},
		{"fail", 80, batch.RunFailed, 1, batch.ClassTruncated},
		{"raise", 160, batch.RunSucceeded, 3, batch.ClassOK},
		{"raise", math.MaxInt64, batch.RunFailed, 5, batch.ClassTruncated}, // 40, 80, 160, 320, 640 and no further
	} {
		t.Run(fmt.Sprint(x.policy, x.until), func(t *testing.T) {
			t.Parallel()
			c := newHouse(t).hire(nil)
			j := newJob("r_a", 1, 1)
			j.policy.OnTruncated, j.policy.MaxAttempts = x.policy, 9
			var limit atomic.Int64
			limit.Store(outputBound)
			j.work = func(o int64, w *lease.Work) {
				call := w.Call
				w.Raise = func(most int64) (provider.Call, error) {
					limit.Store(most)
					call.OutputBound = most
					return call, nil
				}
			}
			j.fake.say = func(context.Context, int64, int) provider.Result {
				if limit.Load() >= x.until {
					return answer
				}
				r := answer
				r.Class, r.Text = batch.ClassTruncated, "half"
				r.Usage.Output = limit.Load()
				return r
			}
			c.begin(j)
			c.comes(j.id, x.state)
			b := c.audit(j.id)
			if o := b.outcomes[0]; o.Class != x.class || j.fake.seen() != x.calls {
				t.Fatalf("%d calls, %+v", j.fake.seen(), o)
			}
		})
	}
}

func TestAnAnswerThatDoesNotFitIsAskedAgain(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 2, 2)
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		r := answer
		if o == 1 || try == 1 {
			r.Text = "bad"
		}
		return r
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	if b.outcomes[0].State != batch.ItemOK || b.outcomes[1].Class != batch.ClassInvalidOutput || j.fake.seen() != 5 {
		t.Fatalf("%d calls, %+v", j.fake.seen(), b.outcomes)
	}
	if b.run.Budget.Spent.Tokens != 75 {
		t.Fatalf("bad answers are billed too: %+v", b.run.Budget.Spent)
	}
}

func TestARefusedLanePausesTheRun(t *testing.T) {
	t.Parallel()
	for _, class := range []batch.Class{batch.ClassQuotaMoney, batch.ClassAuth} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			c := newHouse(t).hire(nil)
			j := newJob("r_a", 50, 10)
			j.policy.MaxAttempts = 1
			broke := atomic.Bool{}
			broke.Store(true)
			j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
				if broke.Load() {
					return refusal(class, 402)
				}
				return answer
			}
			c.begin(j)
			r := c.comes(j.id, batch.RunPaused)
			if !strings.HasPrefix(r.Reason, string(class)) {
				t.Fatalf("the reason is %q", r.Reason)
			}
			c.until("all leases handed back", func() bool { return c.leased(j.id) == 0 })
			if n := j.fake.seen(); n > 2*j.lane+2 {
				t.Fatalf("%d calls to a lane that refuses", n)
			}
			broke.Store(false)
			c.goOn(j)
			c.all(j)
		})
	}
}

func (h *house) leased(id batch.RunID) (n int) {
	h.t.Helper()
	ss, err := h.db.Open(h.ctx, id)
	h.ok(err)
	for _, s := range ss {
		if s.State == batch.ShardLeased {
			n++
		}
	}
	return n
}

func TestUnsentCallsAreTakenBack(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil, func(cfg *worker.Config) { cfg.UnreachableAfter = time.Hour })
	j := newJob("r_a", 5, 5)
	j.policy.MaxAttempts = 1
	j.limit = money.Limit{Tokens: 500, Pico: -1, Retries: 0}
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		if try < 4 {
			return provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "refused"}
		}
		return answer
	}
	c.begin(j)
	b := c.all(j)
	if len(b.attempts) != 5 || b.run.Counts.Calls != 5 || b.run.Budget.Spent != (money.Amount{Tokens: 75, Pico: 125_000}) {
		t.Fatalf("%d attempts, %+v, spent %+v", len(b.attempts), b.run.Counts, b.run.Budget.Spent)
	}
}

func TestAnUnreachableProviderPausesTheRun(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil, func(cfg *worker.Config) { cfg.UnreachableAfter = time.Millisecond })
	j := newJob("r_a", 5, 5)
	j.fake.say = func(context.Context, int64, int) provider.Result {
		return provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "no route"}
	}
	c.begin(j)
	r := c.comes(j.id, batch.RunPaused)
	if r.Reason != "unreachable: no route" {
		t.Fatalf("the reason is %q", r.Reason)
	}
	c.until("all leases handed back", func() bool { return c.leased(j.id) == 0 })
	b := c.audit(j.id)
	if len(b.attempts) != 0 || !b.run.Budget.Committed().IsZero() {
		t.Fatalf("%+v", b.run.Budget)
	}
}

func TestWhatIsPerhapsPaidIsChargedInFull(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 4, 4)
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		switch {
		case try > 1:
			return answer
		case o == 0: // cut
			return provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "cut"}
		case o == 1: // a fault after bytes were written
			return provider.Result{Class: batch.ClassTransient, Sent: provider.MaybeRun, Message: "reset"}
		case o == 2: // an answer that does not say what it used
			r := answer
			r.Usage, r.HasUsage = money.Usage{}, false
			return r
		}
		return answer
	}
	c.begin(j)
	b := c.all(j)
	for o, want := range []int64{100, 100, 100, 15} {
		a := b.of(batch.Ordinal(o))[0]
		if a.Charged.Tokens != want || a.Estimated != (want == 100) {
			t.Errorf("item %d: charged %+v, estimated %v", o, a.Charged, a.Estimated)
		}
	}
	if b.run.Budget.Spent.Tokens != 300+45 || b.run.Counts.Unknown != 1 {
		t.Fatalf("spent %+v, unknown %d", b.run.Budget.Spent, b.run.Counts.Unknown)
	}
}

func TestATimeoutIsUnknownAndTriedAgain(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 1, 1)
	j.policy.Timeout = 5 * time.Millisecond
	j.fake.say = func(ctx context.Context, _ int64, try int) provider.Result {
		if try == 1 {
			<-ctx.Done()
			return provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "timed out"}
		}
		return answer
	}
	c.begin(j)
	b := c.all(j)
	if b.run.Budget.Spent.Tokens != 115 {
		t.Fatalf("spent %+v", b.run.Budget.Spent)
	}
}

// A bill above the reservation is recorded as it is, and stops the run.
func TestABreachStopsTheRun(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]money.Usage{
		"above the reservation": {Input: inputBound + 1, Output: outputBound},
		"beyond all arithmetic": {Input: 1 << 40, Output: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			c := h.hire(nil)
			j := newJob("r_a", 400, 20)
			dear := money.PriceCard{Provider: "fake", Model: "m", In: 1 << 30, Out: 1 << 30}
			j.fake.say = func(_ context.Context, o int64, _ int) provider.Result {
				r := answer
				if o == 7 {
					r.Usage = lie
				}
				return r
			}
			c.create(j)
			c.goOn(j, func(r *worker.Run) { r.Price = &dear })
			r := c.comes(j.id, batch.RunFailed)
			if !strings.HasPrefix(r.Reason, "reserve_breach: item item-7 ") {
				t.Fatalf("the reason is %q", r.Reason)
			}
			b := c.audit(j.id)
			if a := b.of(7)[0]; a.Charged.Tokens != lie.Total() || a.Charged.Pico < a.Reserved.Pico {
				t.Fatalf("the breach is recorded as %+v", a)
			}
			if n := j.fake.seen(); n > 200 {
				t.Fatalf("%d calls although the seventh was a breach", n)
			}
		})
	}
}

func TestCopiesAreNotCalled(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 60, 4)
	// Every item after the first ten is a copy of one of them; the fifth fails.
	j.work = func(o int64, w *lease.Work) {
		w.Leads = o < 10
		if o >= 10 {
			w.Leader = batch.Ordinal(o % 10)
		}
	}
	j.fake.say = func(_ context.Context, o int64, _ int) provider.Result {
		if o == 5 {
			return refusal(batch.ClassRefused, 400)
		}
		return answer
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	if n := j.fake.seen(); n != 10 || len(b.outcomes) != 60 {
		t.Fatalf("%d calls, %d outcomes", n, len(b.outcomes))
	}
	for o := batch.Ordinal(10); o < 60; o++ {
		x, l := b.outcomes[o], b.outcomes[o%10]
		if x.CopyOf != l.ID || string(x.Output) != string(l.Output) || x.State != l.State || x.Usage != (money.Usage{}) || x.ID == l.ID {
			t.Errorf("item %d is %+v, a copy of %+v", o, x, l)
		}
	}
}

// Copies hold no money and wait for no budget: a shard of them never keeps
// another from it.
func TestCopiesNeedNoBudget(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 4, 2)
	j.limit = money.Limit{Tokens: 165, Pico: -1, Retries: -1}
	// Shard 0 leads with an item that is too dear; shard 1 waits for it with a
	// copy, and has an item of its own which does not fit any more either.
	j.work = func(o int64, w *lease.Work) {
		switch o {
		case 1:
			w.Leads = true
			w.Call.InputBound = 1000
		case 2:
			w.Leader = 1
		case 3:
			w.Call.InputBound = 200
		}
	}
	c.begin(j)
	r := c.comes(j.id, batch.RunStoppedBudget)
	if j.fake.seen() != 1 || !strings.Contains(r.Reason, "budget") {
		t.Fatalf("%d calls; %s", j.fake.seen(), r.Reason)
	}
	c.audit(j.id)
	c.ok(c.db.SetLimit(c.ctx, j.id, money.Limit{Tokens: 5000, Pico: -1, Retries: -1}, 0))
	c.goOn(j)
	c.all(j)
}

func TestCachedAnswersAreReused(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	a, b := newJob("r_a", 12, 5), newJob("r_b", 12, 5)
	a.policy.Cache, b.policy.Cache = true, true
	a.fake.say = func(_ context.Context, o int64, _ int) provider.Result {
		if o == 3 {
			return refusal(batch.ClassRefused, 400)
		}
		return answer
	}
	b.fake.say = a.fake.say
	c.begin(a)
	c.comes(a.id, batch.RunPartial)
	c.begin(b)
	c.comes(b.id, batch.RunPartial)
	if n := b.fake.seen(); n != 1 {
		t.Fatalf("%d calls, want the failed one alone", n)
	}
	x, y := c.audit(a.id), c.audit(b.id)
	for o, was := range x.outcomes {
		if is := y.outcomes[o]; string(is.Output) != string(was.Output) || is.Cached == (o == 3) || is.State != was.State {
			t.Errorf("item %d is %+v, was %+v", o, is, was)
		}
	}
	if spent := y.run.Budget.Spent; !spent.IsZero() {
		t.Errorf("spent %+v", spent)
	}
}

func TestQuarantinedItemsFailWithoutACall(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 5, 5)
	j.limit = money.Limit{Tokens: 400, Pico: -1, Retries: -1}
	j.work = func(o int64, w *lease.Work) {
		if o == 2 {
			w.Bad, w.Call = "line 3: not JSON", provider.Call{}
		}
	}
	c.begin(j)
	c.comes(j.id, batch.RunPartial)
	b := c.audit(j.id)
	if x := b.outcomes[2]; j.fake.seen() != 4 || x.Class != batch.ClassBadItem || x.Message != "line 3: not JSON" || x.Attempt != 0 {
		t.Fatalf("%d calls, %+v", j.fake.seen(), x)
	}
}

func TestAChangedInputStopsTheRun(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 40, 5)
	j.window = 1
	c.create(j)
	c.goOn(j, func(r *worker.Run) {
		r.Prepare = func(ctx context.Context, first batch.Ordinal, n int) ([]lease.Work, error) {
			if first >= 10 {
				return nil, fmt.Errorf("block 2: %w", batch.ErrInputChanged)
			}
			return j.prepare(ctx, first, n)
		}
	})
	r := c.comes(j.id, batch.RunFailed)
	if !strings.Contains(r.Reason, "input_changed") || j.fake.seen() != 10 {
		t.Fatalf("%d calls, %q", j.fake.seen(), r.Reason)
	}
}

func TestHaltStartsNothingMoreAndKeepsWhatIsOnTheWire(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 200, 20)
	wait, come := make(chan struct{}), make(chan struct{}, 200)
	j.fake.say = func(context.Context, int64, int) provider.Result {
		come <- struct{}{}
		<-wait
		return answer
	}
	c.begin(j)
	for range j.lane {
		<-come
	}
	c.w.Halt(j.id, false)
	c.ok(c.db.Transition(c.ctx, j.id, []batch.RunState{batch.RunRunning}, batch.RunPaused, "asked"))
	was := j.fake.seen()
	close(wait)
	c.until("all leases handed back", func() bool { return c.leased(j.id) == 0 })
	if is := j.fake.seen(); is != was || was != j.lane {
		t.Fatalf("%d calls when it was halted, %d after it", was, is)
	}
	b := c.audit(j.id)
	if len(b.outcomes) != was || b.run.Budget.Spent.Tokens != int64(was)*15 {
		t.Fatalf("%d outcomes of %d calls, spent %+v", len(b.outcomes), was, b.run.Budget.Spent)
	}
	j.fake.say = nil
	c.goOn(j)
	c.all(j)
	if j.fake.seen() != 200 {
		t.Fatalf("%d calls", j.fake.seen())
	}
}

func TestHaltNowChargesWhatItCuts(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 20, 20)
	come := make(chan struct{}, 200)
	j.fake.say = func(ctx context.Context, _ int64, _ int) provider.Result {
		come <- struct{}{}
		<-ctx.Done()
		return provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "cut"}
	}
	c.begin(j)
	for range j.lane {
		<-come
	}
	c.ok(c.db.Transition(c.ctx, j.id, []batch.RunState{batch.RunRunning}, batch.RunPaused, "asked"))
	c.w.Halt(j.id, true)
	c.until("all leases handed back", func() bool { return c.leased(j.id) == 0 })
	b := c.audit(j.id)
	if b.run.Budget.Spent.Tokens != int64(j.lane)*worstTokens || int(b.run.Counts.Unknown) != j.lane {
		t.Fatalf("spent %+v, unknown %d", b.run.Budget.Spent, b.run.Counts.Unknown)
	}
}

func TestADeadlineEndsTheRun(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 200, 20)
	come, wait := make(chan struct{}, 200), make(chan struct{})
	j.fake.say = func(context.Context, int64, int) provider.Result {
		come <- struct{}{}
		<-wait
		return answer
	}
	c.begin(j)
	for range j.lane {
		<-come
	}
	c.ok(c.db.SetLimit(c.ctx, j.id, money.NoLimit, time.Now().UnixMicro()))
	c.until("the deadline is seen", func() bool {
		r, err := c.db.Run(c.ctx, j.id)
		c.ok(err)
		return r.Target == batch.RunDeadlineExceeded
	})
	close(wait)
	c.comes(j.id, batch.RunDeadlineExceeded)
	if b := c.audit(j.id); len(b.outcomes) == 200 || len(b.outcomes) < j.lane {
		t.Fatalf("%d outcomes: what was on the wire is kept and nothing more starts", len(b.outcomes))
	}
}

// Outputs that cannot be written leave the run to a person, with everything kept.
func TestDeliveryThatFailsPausesTheRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var c *crew
	var full atomic.Bool
	full.Store(true)
	c = h.hire(nil, func(cfg *worker.Config) {
		cfg.Finish = func(ctx context.Context, id batch.RunID) error {
			if !full.Load() {
				return c.finish(ctx, id)
			}
			running := []batch.RunState{batch.RunRunning, batch.RunDelivering}
			return errors.Join(h.db.Transition(ctx, id, running, batch.RunDelivering, ""), errors.New("the bucket is gone"))
		}
	})
	j := newJob("r_a", 3, 3)
	c.begin(j)
	c.comes(j.id, batch.RunDelivering)
	bell := batch.Bell{Kind: batch.BellFinish, Run: j.id}
	for range 3 {
		_ = c.w.Hear(c.ctx, bell)
	}
	if r := c.comes(j.id, batch.RunPaused); r.Reason != "delivery: the bucket is gone" {
		t.Fatalf("the reason is %q", r.Reason)
	}
	full.Store(false)
	c.goOn(j)
	c.all(j)
}

// A full disk is nobody's decision: the run waits for room, and ends by itself.
func TestDeliveryWaitsForRoomOnAFullDisk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var c *crew
	var full atomic.Bool
	full.Store(true)
	c = h.hire(nil, func(cfg *worker.Config) {
		cfg.Finish = func(ctx context.Context, id batch.RunID) error {
			if !full.Load() {
				return c.finish(ctx, id)
			}
			running := []batch.RunState{batch.RunRunning, batch.RunDelivering}
			return errors.Join(h.db.Transition(ctx, id, running, batch.RunDelivering, ""), fmt.Errorf("write results.jsonl: %w", syscall.ENOSPC))
		}
	})
	j := newJob("r_a", 3, 3)
	c.begin(j)
	c.comes(j.id, batch.RunDelivering)
	bell := batch.Bell{Kind: batch.BellFinish, Run: j.id}
	for range 5 {
		c.ok(c.w.Hear(c.ctx, bell))
	}
	if r, err := h.db.Run(h.ctx, j.id); err != nil || r.State != batch.RunDelivering {
		t.Fatalf("%s (%s), %v", r.State, r.Reason, err)
	}
	full.Store(false)
	c.ok(c.w.Hear(c.ctx, bell))
	c.all(j)
}

func TestALargeShard(t *testing.T) {
	t.Parallel()
	c := newHouse(t).hire(nil)
	j := newJob("r_a", 10_000, 10_000)
	j.lane = 256
	c.begin(j)
	c.all(j)
	if n := j.fake.seen(); n != 10_000 {
		t.Fatalf("%d calls", n)
	}
}
