package pacing

import (
	"context"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// Config is what the owner of the key allows.
type Config struct {
	// RPM and TPM are requests and tokens per minute; 0 means no limit.
	RPM, TPM int64
	// MinConcurrency is the floor that no cut goes below (at least 1);
	// MaxConcurrency the ceiling that growth stops at (64 where 0).
	MinConcurrency, MaxConcurrency int
	// KeepEstimate says that the provider charges the estimate of a call to the
	// rate when the call arrives and gives nothing back. Without it the
	// difference to the actual usage is given back when the call ends.
	KeepEstimate bool
	// Now is the clock. Its pace must be that of the runtime's timers.
	Now func() time.Time
	// Rand is uniform in [0,1) and safe for concurrent use.
	Rand func() float64
}

// Observation is what a caller saw of a call it was let to make.
type Observation struct {
	Class      batch.Class
	RetryAfter time.Duration // the provider's hint, 0 without one; nobody starts sooner
	// Estimated is what Acquire was given; Actual the tokens the provider
	// counted, 0 where it did not say.
	Estimated, Actual int64
	// Latency tells when the call began, and so whether it can know of the
	// newest cooldown.
	Latency time.Duration
	// Sent is false when surely no byte was sent: its rate is given back.
	Sent bool
}

// Snapshot is the state of a gate for people and metrics.
type Snapshot struct {
	Limit, Max    int // open calls allowed now and at most
	InFlight      int
	Waiting       int
	CooldownUntil time.Time // zero when there is none
	RPM, TPM      int64     // configured
	RPMUsed       int64     // started in the last minute
	TPMUsed       int64     // tokens of those, corrected where they are known
	Why           string    // what the first in the queue waits for; "" when nobody waits
	Cuts, Grows   int64
}

// Gate lets calls through in the order they asked. It is safe for concurrent
// use and starts no goroutine.
type Gate struct {
	now    func() time.Time
	rand   func() float64
	origin time.Time

	mu    sync.Mutex
	s     *state
	queue waiters
	timer *time.Timer
	armed time.Duration // when the timer fires; 0 when it does not
}

// NewGate returns a gate with nothing in flight. It panics when Now or Rand is
// missing: that is a mistake of the program.
func NewGate(c Config) *Gate {
	if c.Now == nil || c.Rand == nil {
		panic("pacing: a gate needs a clock and a source of chance")
	}
	return &Gate{now: c.Now, rand: c.Rand, origin: c.Now(), s: newState(c, 0)}
}

func (g *Gate) clock() time.Duration { return g.now().Sub(g.origin) }

// Acquire blocks until a call of that many tokens (an estimate, charged to TPM)
// may start, or ctx ends. Callers go in the order they came. After nil the
// caller owes exactly one Release; after an error none.
func (g *Gate) Acquire(ctx context.Context, tokens int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tokens = max(tokens, 0)
	g.mu.Lock()
	now := g.clock()
	if g.queue.n == 0 {
		if wait, _ := g.s.decide(now, tokens); wait == 0 {
			g.s.start(now, tokens)
			g.mu.Unlock()
			return nil
		}
	}
	w := &waiter{tokens: tokens, ready: make(chan struct{})}
	g.queue.push(w)
	if g.queue.n == 1 {
		g.dispatch(now)
	}
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		return g.giveUp(ctx, w)
	}
}

// giveUp leaves the queue, or hands on a turn that came too late.
func (g *Gate) giveUp(ctx context.Context, w *waiter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	if w.queued {
		g.queue.remove(w)
	} else {
		g.s.undo(now, w.tokens)
	}
	g.dispatch(now)
	return ctx.Err()
}

// Release ends one call that Acquire let through, and tells everybody what was
// learnt from it.
func (g *Gate) Release(o Observation) {
	var rnd float64
	if o.Class.Traits().Cooldown {
		rnd = g.rand()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	g.s.observe(now, o, rnd)
	g.dispatch(now)
}

// Reconfigure sets new limits from now on; what was learnt is kept. The clock
// and the source of chance stay.
func (g *Gate) Reconfigure(c Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	g.s.setBounds(c)
	if c.RPM != g.s.rpm.perMinute {
		g.s.rpm.setRate(c.RPM, now)
	}
	if c.TPM != g.s.tpm.perMinute {
		g.s.tpm.setRate(c.TPM, now)
	}
	g.dispatch(now)
}

// dispatch lets the head of the queue go as long as it may, and sets the one
// timer for when time alone will help the next. The lock is held.
func (g *Gate) dispatch(now time.Duration) {
	for w := g.queue.head; w != nil; w = g.queue.head {
		wait, _ := g.s.decide(now, w.tokens)
		if wait > 0 {
			g.arm(now, wait)
			return
		}
		g.s.start(now, w.tokens)
		g.queue.remove(w)
		close(w.ready)
	}
}

func (g *Gate) arm(now, wait time.Duration) {
	if wait == never {
		return
	}
	// Below a millisecond a timer costs more than it gains; the bucket's burst
	// makes up for it.
	at := now + max(wait, time.Millisecond)
	if g.armed != 0 && g.armed <= at && g.armed > now {
		return // it fires sooner, and looks again
	}
	g.armed = at
	if g.timer == nil {
		g.timer = time.AfterFunc(at-now, g.tick)
		return
	}
	g.timer.Reset(at - now)
}

func (g *Gate) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = 0
	g.dispatch(g.clock())
}

// Snapshot returns the present state.
func (g *Gate) Snapshot() Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, s := g.clock(), g.s
	snap := Snapshot{
		Limit: int(s.limit), Max: s.max, InFlight: s.inflight, Waiting: g.queue.n,
		RPM: s.rpm.perMinute, TPM: s.tpm.perMinute,
		RPMUsed: s.sentN.total(now), TPMUsed: s.sentT.total(now),
		Cuts: s.cuts, Grows: s.grows,
	}
	if now < s.cooldownUntil {
		snap.CooldownUntil = g.origin.Add(s.cooldownUntil)
	}
	if w := g.queue.head; w != nil {
		_, snap.Why = s.decide(now, w.tokens)
	}
	return snap
}

// Limit is Snapshot().Limit, for callers that ask often.
func (g *Gate) Limit() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.s.limit)
}

// waiter is one caller in the queue.
type waiter struct {
	tokens     int64
	ready      chan struct{}
	prev, next *waiter
	queued     bool
}

// waiters is a first-in first-out queue that can be left from the middle.
type waiters struct {
	head, tail *waiter
	n          int
}

func (q *waiters) push(w *waiter) {
	w.queued, w.prev = true, q.tail
	if q.tail != nil {
		q.tail.next = w
	} else {
		q.head = w
	}
	q.tail = w
	q.n++
}

func (q *waiters) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.tail = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.n--
}
