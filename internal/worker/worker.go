// Package worker claims shards, calls, and commits. It holds no truth: the
// store does, and every write of a worker is fenced by its lease.
//
// One goroutine drives one shard's machine (package lease), which decides; the
// goroutine does what is ordered: each call runs in a goroutine of its own, and
// starts and ends go together to the committer, which writes the groups of all
// shards in one transaction.
package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

// Config is what a worker is made of.
type Config struct {
	ID    batch.WorkerID
	Store store.Store
	Codec *segment.Codec
	Now   func() time.Time
	Rand  func() float64 // uniform in [0,1), safe for concurrent use
	Log   *slog.Logger
	// Seal and Finish do what their bells ask for, once; both are idempotent.
	Seal   func(ctx context.Context, run batch.RunID, stretch int64) error
	Finish func(ctx context.Context, run batch.RunID) error
	// TTL is how long a worker may be silent before it counts as dead.
	TTL time.Duration
	// UnreachableAfter is how long nothing may get through to a provider
	// before its runs are paused.
	UnreachableAfter time.Duration
}

// Worker works the runs it was given. Make one with New.
type Worker struct {
	cfg    Config
	commit *committer

	mu       sync.Mutex
	runs     map[batch.RunID]*Run
	draining bool

	held   held
	pulse  pulse
	loops  sync.WaitGroup // committer and heart
	shards sync.WaitGroup
	cancel context.CancelFunc
}

// New returns a worker that hears nothing until Start.
func New(cfg Config) *Worker {
	if cfg.TTL == 0 {
		cfg.TTL = 15 * time.Second
	}
	if cfg.UnreachableAfter == 0 {
		cfg.UnreachableAfter = 30 * time.Second
	}
	w := &Worker{cfg: cfg, runs: map[batch.RunID]*Run{}, held: held{refs: map[batch.LeaseRef]bool{}}}
	w.commit = &committer{leases: cfg.Store, in: make(chan write, 1024), now: cfg.Now, fault: w.fault}
	return w
}

// Start begins to commit and to beat. Every earlier worker of the store is
// taken over at once when alone says that none can be alive.
func (w *Worker) Start(ctx context.Context, alone bool) error {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	stale := w.cfg.TTL
	if alone {
		stale = 0
	}
	w.pulse.begin(w.cfg.Now(), w.cfg.TTL)
	if _, err := w.cfg.Store.Reap(ctx, w.cfg.ID, stale.Microseconds(), nil); err != nil {
		return err
	}
	w.loops.Go(func() { w.commit.run(ctx) })
	w.loops.Go(func() { w.beat(ctx) })
	return nil
}

// Add lets the worker work a run that is running already; a heartbeat in
// between would stop one that is not. The caller calls Rouse after it, since
// bells may have rung before the worker knew of the run.
func (w *Worker) Add(r *Run) {
	r.stopping = make(chan struct{})
	r.calls, r.abort = context.WithCancel(context.Background())
	r.waits, r.halt = context.WithCancel(r.calls)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[r.ID] = r
}

// Rouse rings at once for everything a run has ready, whatever was rung before.
func (w *Worker) Rouse(ctx context.Context, id batch.RunID) error {
	_, err := w.cfg.Store.Reap(ctx, w.cfg.ID, 0, []batch.RunID{id})
	return err
}

func (w *Worker) run(id batch.RunID) *Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs[id]
}

func (w *Worker) all() []*Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	rs := make([]*Run, 0, len(w.runs))
	for _, r := range w.runs {
		rs = append(rs, r)
	}
	return rs
}

// Halt stops starting calls of a run; with now, answers on the wire are not
// waited for and count as unknown. It returns at once.
func (w *Worker) Halt(id batch.RunID, now bool) {
	if r := w.run(id); r != nil {
		r.stop()
		if now {
			r.abort()
		}
	}
}

// Drain stops starting calls of every run and waits until all leases are
// handed back, or until ctx ends; then answers are not waited for.
func (w *Worker) Drain(ctx context.Context) {
	failpoint.Hit("drain.begin")
	w.mu.Lock()
	w.draining = true // no shard is begun after this
	w.mu.Unlock()
	for _, r := range w.all() {
		r.stop()
	}
	done := make(chan struct{})
	go func() { w.shards.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	for _, r := range w.all() {
		r.abort()
	}
	<-done
}

// Stop ends the loops; call Drain first. Shards that were left count as lost.
func (w *Worker) Stop() {
	close(w.commit.in)
	w.cancel()
	w.loops.Wait()
}

// Hear answers a bell.
func (w *Worker) Hear(ctx context.Context, b batch.Bell) error {
	r := w.run(b.Run)
	if r == nil {
		return nil // not a run of this process
	}
	switch b.Kind {
	case batch.BellWork:
		if r.stopped() || !w.enter() {
			return nil
		}
		defer w.shards.Done()
		return w.told(w.work(ctx, r, b))
	case batch.BellSeal:
		failpoint.Hit("seal.bell")
		r.finish.Lock()
		defer r.finish.Unlock()
		return w.told(w.cfg.Seal(ctx, b.Run, b.N))
	case batch.BellFinish:
		failpoint.Hit("finish.bell")
		r.finish.Lock()
		defer r.finish.Unlock()
		return w.finish(ctx, r)
	}
	return nil
}

// told says why a bell will be rung again, since the queue keeps it to itself.
func (w *Worker) told(err error) error {
	if err != nil {
		w.fault(err)
	}
	return err
}

// deliverTries is how often outputs are tried before a person is asked; the
// audit rings again every few seconds.
const deliverTries = 3

// finish ends a run. Outputs that cannot be written leave the run paused with
// everything kept, so that whoever waits learns why.
func (w *Worker) finish(ctx context.Context, r *Run) error {
	err := w.cfg.Finish(ctx, r.ID)
	if err == nil {
		r.finishFailed = 0
		return nil
	}
	if batch.DiskFull(err) {
		w.fault(err) // it goes on by itself once there is room
		return nil
	}
	if r.finishFailed++; r.finishFailed >= deliverTries {
		w.pause(ctx, r, "delivery: "+err.Error())
	}
	return nil
}

// enter counts a shard that is worked; false when the worker drains.
func (w *Worker) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.draining {
		return false
	}
	w.shards.Add(1)
	return true
}

// beat keeps the leases, hears what the store says of the runs, and audits.
func (w *Worker) beat(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.fault(err)
		}
	}
}

// look is one beat. Calls may be sent for a while after one that the store
// answered.
func (w *Worker) look(ctx context.Context) error {
	began := w.cfg.Now()
	ids := []batch.RunID{}
	for _, r := range w.all() {
		ids = append(ids, r.ID)
		if err := w.follow(ctx, r); err != nil {
			return err
		}
	}
	if _, err := w.cfg.Store.Reap(ctx, w.cfg.ID, w.cfg.TTL.Microseconds(), ids); err != nil {
		return err
	}
	w.pulse.beat(began)
	return nil
}

// follow stops a run that the store says must not start calls, and one whose
// deadline has passed.
func (w *Worker) follow(ctx context.Context, r *Run) error {
	row, err := w.cfg.Store.Run(ctx, r.ID)
	if err != nil {
		return err
	}
	if row.State == batch.RunRunning && row.Target == "" && row.DeadlineAt > 0 && w.cfg.Now().UnixMicro() >= row.DeadlineAt {
		if err := w.cfg.Store.SetTarget(ctx, r.ID, batch.RunDeadlineExceeded, "the deadline has passed"); err != nil {
			return err
		}
		row.Target = batch.RunDeadlineExceeded
	}
	if row.State != batch.RunRunning || row.Target != "" {
		r.stop()
	}
	return nil
}

// end asks the run to end as target.
func (w *Worker) end(ctx context.Context, r *Run, target batch.RunState, reason string) {
	r.stop()
	_ = w.insist(ctx, r, func() error { return w.cfg.Store.SetTarget(ctx, r.ID, target, reason) })
}

// pause sets a run aside for a person: its lane is refused or unreachable, or
// its outputs cannot be written.
func (w *Worker) pause(ctx context.Context, r *Run, reason string) {
	failpoint.Hit("pause.before")
	r.stop()
	_ = w.insist(ctx, r, func() error {
		if w.run(r.ID) != r {
			return nil // it was resumed meanwhile; this is of the time before
		}
		from := []batch.RunState{batch.RunRunning, batch.RunDelivering}
		return w.cfg.Store.Transition(ctx, r.ID, from, batch.RunPaused, reason)
	})
}

// insist repeats what must reach the store while the store does not answer,
// until nobody waits for the run's calls any more. Another error is reported
// and ends it; a conflict says that somebody was first.
func (w *Worker) insist(ctx context.Context, r *Run, f func() error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := f()
		if err == nil || batch.KindOf(err) == batch.Conflict {
			return nil
		}
		w.fault(err)
		if batch.KindOf(err) != batch.Unavailable {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		case <-r.calls.Done():
			return err
		}
	}
}

// held are the leases that some goroutine of the process works.
type held struct {
	mu   sync.Mutex
	refs map[batch.LeaseRef]bool
}

func (h *held) Hold(ref batch.LeaseRef) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refs[ref] {
		return false
	}
	h.refs[ref] = true
	return true
}

func (h *held) LetGo(ref batch.LeaseRef) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.refs, ref)
}

// pulse is a lease.Pulse that calls wait on.
type pulse struct {
	mu   sync.Mutex
	p    lease.Pulse
	next chan struct{} // closed by the next beat
}

func (p *pulse) begin(now time.Time, ttl time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p, p.next = lease.NewPulse(now, ttl), make(chan struct{})
}

func (p *pulse) beat(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.Beat(began)
	close(p.next)
	p.next = make(chan struct{})
}

func (p *pulse) age() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.p.Age()
}

// await returns once a call that was started at an age may be sent; false when
// it may not any more.
func (p *pulse) await(ctx context.Context, now func() time.Time, age int) bool {
	for {
		p.mu.Lock()
		fresh, old, next := p.p.Fresh(now()), p.p.Age() != age, p.next
		p.mu.Unlock()
		if old || ctx.Err() != nil {
			return false
		}
		if fresh {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
		}
	}
}

func (w *Worker) fault(err error) {
	if hint := batch.HintOf(err); hint != "" {
		w.cfg.Log.Error("store", "err", err.Error(), "hint", hint)
		return
	}
	w.cfg.Log.Error("store", "err", err.Error())
}
