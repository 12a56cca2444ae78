package worker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/store"
)

var errDead = errors.New("this process is dead")

// mortal is a store seen by a process that dies at its n-th write, before it
// reaches the database or right after. Nothing of it is written from then on.
type mortal struct {
	store.Store
	mu    sync.Mutex
	left  int // writes to live for; below 0 for ever
	after bool
	dead  chan struct{}
	gone  bool
}

func (m *mortal) do(write func()) (alive bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return false
	}
	if m.left--; m.left != 0 {
		write()
		return true
	}
	if m.after {
		write()
	}
	m.gone = true
	close(m.dead)
	return false
}

func (m *mortal) Advance(ctx context.Context, ds []store.Delta) (errs []error, err error) {
	if m.do(func() { errs, err = m.Store.Advance(ctx, ds) }) {
		return errs, err
	}
	errs = make([]error, len(ds))
	for i := range errs {
		errs[i] = batch.ErrFenced // so that its goroutines come to an end
	}
	return errs, nil
}

func (m *mortal) Claim(ctx context.Context, c store.Claim) (s store.Shard, st store.ClaimStatus, hit money.Dimension, err error) {
	if m.do(func() { s, st, hit, err = m.Store.Claim(ctx, c) }) {
		return s, st, hit, err
	}
	return store.Shard{}, store.Stale, "", nil
}

func (m *mortal) TopUp(ctx context.Context, ref batch.LeaseRef, x money.Amount) (hit money.Dimension, err error) {
	if m.do(func() { hit, err = m.Store.TopUp(ctx, ref, x) }) {
		return hit, err
	}
	return "", batch.ErrFenced
}

func (m *mortal) Release(ctx context.Context, ref batch.LeaseRef, notBefore int64, stuck money.Dimension) (err error) {
	if m.do(func() { err = m.Store.Release(ctx, ref, notBefore, stuck) }) {
		return err
	}
	return batch.ErrFenced
}

func (m *mortal) write(f func() error) error {
	var err error
	if m.do(func() { err = f() }) {
		return err
	}
	return errDead
}

func (m *mortal) Late(ctx context.Context, l store.Late) (kept bool, err error) {
	err = m.write(func() (err error) { kept, err = m.Store.Late(ctx, l); return err })
	return kept, err
}

func (m *mortal) Reap(ctx context.Context, w batch.WorkerID, stale int64, scope []batch.RunID) (n int, err error) {
	err = m.write(func() (err error) { n, err = m.Store.Reap(ctx, w, stale, scope); return err })
	return n, err
}

func (m *mortal) Transition(ctx context.Context, id batch.RunID, from []batch.RunState, to batch.RunState, reason string) error {
	return m.write(func() error { return m.Store.Transition(ctx, id, from, to, reason) })
}

func (m *mortal) SetTarget(ctx context.Context, id batch.RunID, target batch.RunState, reason string) error {
	return m.write(func() error { return m.Store.SetTarget(ctx, id, target, reason) })
}

// After any crashes the outcomes are those of an uninterrupted run (I6), the
// paid calls beyond them are bounded by what was on the wire (I3), and the
// provider's bill is covered by the ledger (I4).
func TestCrashesAnywhereChangeNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(16) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			crashes(t, rand.New(rand.NewPCG(seed, 7)))
		})
	}
}

func crashes(t *testing.T, chance *rand.Rand) {
	h := newHouse(t)
	j := newJob("r_a", 40, 1+chance.IntN(12))
	j.policy.MaxAttempts = 20
	j.window, j.lane = int64(1+chance.IntN(6)), 1+chance.IntN(8)
	// Items from 30 on copy others; some are refused, whoever asks.
	j.work = func(o int64, w *lease.Work) {
		w.Leads = o < 10
		if o >= 30 {
			w.Leader = batch.Ordinal(o - 30)
		}
	}
	j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
		switch {
		case o%11 == 4:
			return refusal(batch.ClassRefused, 400)
		case try%2 == 1 && o%3 == 0:
			return refusal(batch.ClassTransient, 500)
		}
		return answer
	}
	h.create(j)
	h.ok(h.db.Transition(h.ctx, j.id, []batch.RunState{batch.RunQueued}, batch.RunRunning, ""))
	died := 0
	for round := 0; ; round++ {
		m := &mortal{left: -1, dead: make(chan struct{}), after: chance.IntN(2) == 0}
		c := h.hire(func(s store.Store) store.Store { m.Store = s; return m })
		m.mu.Lock()
		m.left = 1 + chance.IntN(14)
		if round > 40 {
			m.left = -1
		}
		m.mu.Unlock()
		c.add(j)
		_ = c.w.Rouse(h.ctx, j.id)
		over := false
		h.until("a death or an end", func() bool {
			select {
			case <-m.dead:
				return true
			default:
			}
			r, err := h.db.Run(h.ctx, j.id)
			h.ok(err)
			over = r.State.Ended()
			return over
		})
		c.leave()
		if over {
			break
		}
		died++
		h.open()
	}
	b := h.audit(j.id)
	if died == 0 || len(b.outcomes) != 40 {
		t.Fatalf("%d outcomes after %d deaths", len(b.outcomes), died)
	}
	for o := range int64(40) {
		from := o
		if o >= 30 {
			from = o - 30
		}
		x, want := b.outcomes[batch.Ordinal(o)], fmt.Sprintf(`"fine %d"`, from)
		if from%11 == 4 {
			want = ""
		}
		if string(x.Output) != want || (x.State == batch.ItemOK) != (want != "") || (o >= 30) != (x.CopyOf != "") {
			t.Errorf("item %d ended as %+v, want %s", o, x, want)
		}
	}
	committed := 0
	for _, a := range b.attempts {
		if a.N > 0 {
			committed++
		}
	}
	if unknown := int(b.run.Counts.Unknown); j.fake.seen() > committed+unknown || unknown > died*3*j.lane+2*died {
		t.Errorf("I3: %d calls, %d attempts committed, %d unknown after %d deaths", j.fake.seen(), committed, unknown, died)
	}
	if got := b.run.Budget.Committed().Tokens; got < j.fake.billed {
		t.Errorf("I4: billed %d tokens, the ledger has %d", j.fake.billed, got)
	}
}

// A worker whose lease was taken tells the truth about each of its calls once,
// and its answers are kept where nobody else has the item.
func TestAFencedWorkerTellsTheTruth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.hire(nil)
	j := newJob("r_a", 30, 10)
	j.lane = 6
	// Copies wait in the last shard for leaders in the first.
	j.work = func(o int64, w *lease.Work) {
		w.Leads = o < 10
		if o >= 20 {
			w.Leader = batch.Ordinal(o - 20)
		}
	}
	come, wait := make(chan struct{}, 100), make(chan struct{})
	j.fake.say = func(_ context.Context, o int64, _ int) provider.Result {
		come <- struct{}{}
		<-wait
		if o == 1 {
			return refusal(batch.ClassRefused, 400)
		}
		return answer
	}
	a.begin(j)
	for range j.lane {
		<-come
	}
	taken, err := h.db.Reap(h.ctx, "thief", 0, nil)
	h.ok(err)
	r, err := h.db.Run(h.ctx, j.id)
	h.ok(err)
	if taken == 0 || r.Budget.AtRisk.Tokens < int64(j.lane)*worstTokens {
		t.Fatalf("%d leases taken, at risk %+v", taken, r.Budget.AtRisk)
	}
	a.w.Halt(j.id, false) // the old worker begins nothing more
	close(wait)
	a.leave()
	b := h.audit(j.id)
	if !b.run.Budget.AtRisk.IsZero() {
		t.Fatalf("at risk are %+v when the whole truth is told", b.run.Budget.AtRisk)
	}
	if n := j.fake.seen(); n != j.lane || len(b.outcomes) != n || b.run.Budget.Spent.Tokens != j.fake.billed {
		t.Fatalf("%d calls, %d outcomes, spent %+v of %d billed", n, len(b.outcomes), b.run.Budget.Spent, j.fake.billed)
	}
	// Another process goes on: the leaders' answers are there for the copies.
	c := h.hire(nil)
	c.add(j)
	h.ok(c.w.Rouse(h.ctx, j.id))
	h.comes(j.id, batch.RunPartial)
	b = h.audit(j.id)
	if n := j.fake.seen(); n != 20 || len(b.outcomes) != 30 || b.run.Counts.Failed != 2 {
		t.Fatalf("%d calls, %d outcomes, %+v", n, len(b.outcomes), b.run.Counts)
	}
}

// A second worker takes over a living one by mistake, again and again.
func TestStolenLeasesLoseNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.hire(nil), h.hire(nil)
	j := newJob("r_a", 120, 8)
	h.create(j)
	h.ok(h.db.Transition(h.ctx, j.id, []batch.RunState{batch.RunQueued}, batch.RunRunning, ""))
	a.add(j)
	b.add(j)
	h.ringAgain(j.id)
	for i := range 15 {
		was := j.fake.seen()
		h.until("calls go on", func() bool {
			r, err := h.db.Run(h.ctx, j.id)
			h.ok(err)
			return j.fake.seen() > was+3 || r.State.Ended()
		})
		h.ok([]*crew{a, b}[i%2].w.Rouse(h.ctx, j.id))
	}
	h.comes(j.id, batch.RunSucceeded)
	a.leave()
	b.leave()
	x := h.all(j)
	if !x.run.Budget.AtRisk.IsZero() {
		t.Errorf("at risk are %+v although nobody died", x.run.Budget.AtRisk)
	}
	if x.run.Budget.Spent.Tokens != j.fake.billed {
		t.Errorf("spent %d tokens, billed are %d", x.run.Budget.Spent.Tokens, j.fake.billed)
	}
	if int64(j.fake.seen()) > j.items+x.run.Counts.Unknown {
		t.Errorf("I3: %d calls, %d unknown", j.fake.seen(), x.run.Counts.Unknown)
	}
}
