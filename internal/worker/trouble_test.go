package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/worker"
)

// troubled is a store that fails for a while.
type troubled struct {
	store.Store
	fail func(method string) (before, after error)
}

func (s *troubled) Advance(ctx context.Context, ds []store.Delta) ([]error, error) {
	before, after := s.fail("advance")
	if before != nil {
		return nil, before
	}
	errs, err := s.Store.Advance(ctx, ds)
	if after != nil {
		return nil, after
	}
	return errs, err
}

func (s *troubled) Claim(ctx context.Context, c store.Claim) (store.Shard, store.ClaimStatus, money.Dimension, error) {
	before, after := s.fail("claim")
	if before != nil {
		return store.Shard{}, store.Stale, "", before
	}
	got, status, dim, err := s.Store.Claim(ctx, c)
	if after != nil {
		return store.Shard{}, store.Stale, "", after
	}
	return got, status, dim, err
}

func (s *troubled) TopUp(ctx context.Context, ref batch.LeaseRef, x money.Amount) (money.Dimension, error) {
	before, after := s.fail("topup")
	if before != nil {
		return "", before
	}
	dim, err := s.Store.TopUp(ctx, ref, x)
	return dim, errors.Join(err, after)
}

func (s *troubled) Release(ctx context.Context, ref batch.LeaseRef, notBefore int64, stuck money.Dimension) error {
	before, after := s.fail("release")
	if before != nil {
		return before
	}
	return errors.Join(s.Store.Release(ctx, ref, notBefore, stuck), after)
}

// While the store fails nothing starts and nothing is lost; a reply that was
// lost after the commit is no different.
func TestAStoreThatFailsForAWhileLosesNothing(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before the commit": false, "after the commit": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			j := newJob("r_a", 60, 6)
			j.limit.Retries = 100
			var n, down atomic.Int64
			broken := errors.New("disk full")
			c := h.hire(func(s store.Store) store.Store {
				return &troubled{s, func(method string) (error, error) {
					i := n.Add(1)
					if i%4 != 0 {
						if method == "advance" {
							down.Store(0)
						}
						return nil, nil
					}
					if method == "advance" {
						down.Store(1)
					}
					if after {
						return nil, broken
					}
					return broken, nil
				}}
			})
			j.fake.say = func(_ context.Context, o int64, try int) provider.Result {
				if o%9 == 0 && try == 1 {
					return refusal(batch.ClassTransient, 500)
				}
				return answer
			}
			c.begin(j)
			b := c.all(j)
			if j.fake.seen() != 67 || len(b.attempts) != 67 {
				t.Fatalf("%d calls, %d attempts", j.fake.seen(), len(b.attempts))
			}
		})
	}
}

func TestNothingStartsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	j := newJob("r_a", 100, 10)
	var away atomic.Bool
	tried := make(chan struct{}, 1)
	c := h.hire(func(s store.Store) store.Store {
		return &troubled{s, func(method string) (error, error) {
			if !away.Load() {
				return nil, nil
			}
			if method == "advance" {
				select {
				case tried <- struct{}{}:
				default:
				}
			}
			return errors.New("away"), nil
		}}
	})
	t.Cleanup(func() { away.Store(false) }) // a worker does not leave while the store is away
	come, wait := make(chan struct{}, 100), make(chan struct{})
	j.fake.say = func(context.Context, int64, int) provider.Result {
		come <- struct{}{}
		<-wait
		return answer
	}
	c.begin(j)
	for range j.lane {
		<-come
	}
	// What is durable may still go out: the calls that wait at the gate. Writes
	// go one after another, so when one was refused none is under way.
	away.Store(true)
	close(wait)
	for range 5 {
		<-tried
	}
	r, err := h.db.Open(h.ctx, j.id)
	h.ok(err)
	started := 0
	for _, s := range r {
		started += s.Book.Started.Count()
	}
	if n := j.fake.seen(); n > started {
		t.Fatalf("%d calls, and the store knows of %d", n, started)
	}
	away.Store(false)
	c.all(j)
	if n := j.fake.seen(); n != 100 {
		t.Fatalf("%d calls", n)
	}
}

// An answer that makes an adapter panic fails its item after its attempts, each
// charged in full, and nothing else.
func TestACallThatPanicsFailsItsItemAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	j := newJob("r_p", 20, 5)
	c := h.hire(nil)
	j.fake.say = func(_ context.Context, o int64, _ int) provider.Result {
		if o == 7 {
			panic("an answer nobody thought of")
		}
		return answer
	}
	c.begin(j)
	r := h.comes(j.id, batch.RunPartial)
	if r.Counts.OK != 19 || r.Counts.Failed != 1 || r.Counts.Unknown != 3 {
		t.Errorf("%+v", r.Counts)
	}
	if want := int64(19*15 + 3*worstTokens); r.Budget.Spent.Tokens != want {
		t.Errorf("%d tokens are spent, want %d", r.Budget.Spent.Tokens, want)
	}
}

// A process that stood still finds its run cancelled: what waited at the gate
// does not go out before it has looked.
func TestAProcessThatStoodStillSendsNothingBeforeItHasLooked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	j := newJob("r_still", 10, 10)
	j.lane = 1
	var still atomic.Int64
	c := h.hire(nil, func(cfg *worker.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(still.Load())) }
	})
	come, wait := make(chan struct{}, 10), make(chan struct{})
	j.fake.say = func(context.Context, int64, int) provider.Result {
		come <- struct{}{}
		<-wait
		return answer
	}
	c.begin(j)
	<-come
	h.until("calls wait at the gate", func() bool {
		s, err := h.db.Shard(h.ctx, j.id, 0)
		h.ok(err)
		return s.Book.Started.Count() > 1
	})
	still.Store(int64(time.Minute))
	h.ok(h.db.SetTarget(h.ctx, j.id, batch.RunCancelled, "cancelled elsewhere"))
	close(wait)
	h.comes(j.id, batch.RunCancelled)
	if n := j.fake.seen(); n != 1 {
		t.Errorf("%d calls were made", n)
	}
}
