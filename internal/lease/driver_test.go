package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/store"
)

// ttl is how long a process may be silent before it counts as dead.
const ttl = 15 * time.Second

var errAway = &batch.Error{Kind: batch.Unavailable, Op: "store", Msg: "away"}

// process is a worker: what it knows is gone when it dies. It does by events
// what package worker does by goroutines.
type process struct {
	w       *world
	id      batch.WorkerID
	store   store.Store // as this process sees it
	dead    bool
	frozen  time.Time
	runs    []*work
	held    map[batch.LeaseRef]bool
	queue   []queued
	writing bool
	pulse   lease.Pulse
}

// work is a run as one process knows it.
type work struct {
	job     *job
	stopped bool
	answers map[batch.Ordinal]batch.Outcome
	places  int // calls started and not ended
	waiting []*driver
}

type queued struct {
	d *driver
	x store.Delta
}

// driver drives one machine.
type driver struct {
	p    *process
	r    *work
	m    *lease.Machine
	gen  int
	lost bool
	over bool
	bell batch.Bell
}

func (p *process) Hold(ref batch.LeaseRef) bool {
	if p.held[ref] {
		return false
	}
	p.held[ref] = true
	return true
}
func (p *process) LetGo(ref batch.LeaseRef) { delete(p.held, ref) }

func (r *work) Known(o batch.Ordinal) (batch.Outcome, bool) { a, ok := r.answers[o]; return a, ok }
func (r *work) Tell(o batch.Outcome)                        { r.answers[o.Ordinal] = o }

// ahead bounds the starts of a run in a process.
const ahead = 6

func (d *driver) Take(n int) int {
	got := max(0, min(n, ahead-d.r.places))
	d.r.places += got
	if got < n && !slices.Contains(d.r.waiting, d) {
		d.r.waiting = append(d.r.waiting, d)
	}
	return got
}

func (d *driver) Put(n int) {
	d.r.places -= n
	wake := d.r.waiting
	d.r.waiting = nil
	for _, x := range wake {
		d.p.w.after(d.p, 0, "place", func() { x.pump() })
	}
}

func (d *driver) Unreached(time.Time) (int, time.Duration) { return 1, 0 }

// born starts a process, as the worker starts.
func (w *world) spawn() {
	w.born++
	p := &process{w: w, id: batch.WorkerID(fmt.Sprintf("w%d-%d", w.seed, w.born)), held: map[batch.LeaseRef]bool{}}
	p.store = &flaky{Store: w.h.db, p: p}
	w.procs = append(w.procs, p)
	w.note("born %s", p.id)
	w.after(p, w.soon(200*time.Millisecond), "start", p.start)
}

func (p *process) start() {
	p.pulse = lease.NewPulse(p.w.now, ttl)
	stale := ttl
	if p.w.plan.alone {
		stale = 0
	}
	if _, err := p.store.Reap(bg, p.id, stale.Microseconds(), nil); err != nil {
		p.w.after(p, 100*time.Millisecond, "start", p.start)
		return
	}
	var ids []batch.RunID
	for _, j := range p.w.jobs {
		p.runs = append(p.runs, &work{job: j, answers: map[batch.Ordinal]batch.Outcome{}})
		ids = append(ids, j.id)
	}
	if p.w.plan.alone {
		p.insist("rouse", func() error { _, err := p.store.Reap(bg, p.id, 0, ids); return err })
	}
	p.w.after(p, time.Second, "beat", p.beat)
}

func (p *process) die() {
	p.w.note("died %s", p.id)
	p.w.faults++
	p.dead = true
	p.w.procs = slices.DeleteFunc(p.w.procs, func(x *process) bool { return x == p })
	p.w.after(nil, p.w.soon(3*time.Second), "respawn", p.w.spawn)
}

// insist repeats what must reach the store.
func (p *process) insist(what string, f func() error) {
	p.w.after(p, p.w.soon(2*time.Millisecond), what, func() {
		if err := f(); batch.KindOf(err) == batch.Unavailable && err != nil {
			p.w.after(p, 50*time.Millisecond, what, func() { p.insist(what, f) })
		}
	})
}

func (p *process) beat() {
	w := p.w
	w.after(p, time.Second, "beat", p.beat)
	if w.chance(w.plan.freeze) {
		p.frozen = w.now.Add(time.Duration(1+w.rng.IntN(40)) * time.Second)
		w.faults++
		w.note("frozen %s until %v", p.id, p.frozen.Sub(epoch))
		return
	}
	began := w.now
	var ids []batch.RunID
	for _, r := range p.runs {
		if r.job.ended {
			continue
		}
		ids = append(ids, r.job.id)
		row, err := p.store.Run(bg, r.job.id)
		if err != nil {
			return
		}
		p.follow(r, row)
	}
	if _, err := p.store.Reap(bg, p.id, ttl.Microseconds(), ids); err == nil {
		p.pulse.Beat(began)
	}
}

// follow stops a run that may start nothing, and takes one up again that goes
// on: a run resumed is a new one to a worker.
func (p *process) follow(r *work, row store.Run) {
	goes := row.State == batch.RunRunning && row.Target == ""
	switch {
	case goes && r.stopped:
		k := slices.Index(p.runs, r)
		p.runs[k] = &work{job: r.job, answers: map[batch.Ordinal]batch.Outcome{}}
	case !goes && !r.stopped:
		r.stopped = true
	}
}

func (p *process) hear(b batch.Bell) {
	k := slices.IndexFunc(p.runs, func(r *work) bool { return r.job.id == b.Run })
	if k < 0 {
		return
	}
	r := p.runs[k]
	switch b.Kind {
	case batch.BellWork:
		if r.stopped {
			return
		}
		d := &driver{p: p, r: r, bell: b}
		d.m = lease.New(lease.Config{Bell: b, Worker: p.id, Policy: r.job.policy, Price: &card, Check: check, Codec: p.w.h.codec,
			Lane: d, Answers: r, Held: p, Rand: p.w.rng.Float64, UnreachableAfter: time.Minute})
		d.pump()
	case batch.BellSeal:
		if err := p.w.sealer(p.store).Seal(bg, b.Run, b.N); err != nil {
			p.w.after(p, 100*time.Millisecond, "heard", func() { p.hear(b) })
		}
	case batch.BellFinish:
		if err := p.finish(r.job); err != nil {
			p.w.after(p, 100*time.Millisecond, "heard", func() { p.hear(b) })
		}
	}
}

// finish ends a run as the application does, with nothing to deliver.
func (p *process) finish(j *job) error {
	r, err := p.store.Run(bg, j.id)
	if err != nil || r.State.Ended() || (r.Target == "" && r.Closed < r.Shards() && r.State != batch.RunDelivering) {
		return err
	}
	open, err := p.store.Open(bg, j.id)
	if err != nil || slices.ContainsFunc(open, func(s store.Shard) bool { return s.State == batch.ShardLeased }) {
		return err
	}
	for k := int64(0); k*r.StretchShards() < r.Opened; k++ {
		if err := p.w.sealer(p.store).Seal(bg, j.id, k); err != nil {
			return err
		}
	}
	final := r.Target
	if final == "" {
		final = batch.Progress{Total: r.Items, OK: r.Counts.OK, Failed: r.Counts.Failed, Skipped: r.Counts.Skipped}.Verdict(0)
	}
	from := []batch.RunState{batch.RunRunning, batch.RunPaused, batch.RunDelivering}
	if err := p.store.Transition(bg, j.id, from, batch.RunDelivering, r.Reason); err != nil {
		return errIfAway(err)
	}
	return errIfAway(p.store.Transition(bg, j.id, []batch.RunState{batch.RunDelivering}, final, r.Reason))
}

func errIfAway(err error) error {
	if batch.KindOf(err) == batch.Conflict {
		return nil
	}
	return err
}

// pump lets the machine decide and sees to its orders.
func (d *driver) pump() {
	if d.over {
		return
	}
	d.gen++
	gen, p, w := d.gen, d.p, d.p.w
	if d.r.stopped {
		d.m.Stop()
	}
	o := d.m.Next(w.now)
	if o.Lose {
		d.lost = true
	}
	if o.Write != nil {
		p.queue = append(p.queue, queued{d, o.Write.Delta})
		p.commit()
	}
	for _, f := range o.Fly {
		d.fly(f)
	}
	if o.End != "" {
		d.r.stopped = true
		p.insist("end", func() error { return p.store.SetTarget(bg, d.r.job.id, batch.RunFailed, o.End) })
	}
	if o.Pause != "" {
		d.r.stopped = true
		p.insist("pause", func() error {
			return p.store.Transition(bg, d.r.job.id, []batch.RunState{batch.RunRunning, batch.RunDelivering}, batch.RunPaused, o.Pause)
		})
	}
	if o.Over {
		d.over = true
		if o.Err != nil {
			w.after(p, 100*time.Millisecond, "heard", func() { p.hear(d.bell) })
		}
		return
	}
	d.ask(o)
	if !o.Wake.IsZero() {
		w.at(p, o.Wake, "wake", func() {
			if d.gen == gen {
				d.pump()
			}
		})
	}
}

// later lets the machine decide when a little time has passed: no clock stands
// still between two looks at it.
func (d *driver) later() {
	d.p.w.after(d.p, d.p.w.soon(50*time.Microsecond), "decide", d.pump)
}

// call does f in a moment and its reply a moment later: the process may die in
// between.
func (d *driver) call(what string, f func() (reply func())) {
	w := d.p.w
	w.after(d.p, w.soon(3*time.Millisecond), what, func() {
		reply := f()
		w.after(d.p, w.soon(2*time.Millisecond), what+" reply", func() { reply(); d.later() })
	})
}

func (d *driver) ask(o lease.Orders) {
	st, m := d.p.store, d.m
	if o.Read != nil {
		d.call("read", func() func() {
			row, err := st.Shard(bg, o.Read.Run, batch.ShardNo(o.Read.N))
			return func() { m.RowRead(row, err) }
		})
	}
	if o.Prepare != nil {
		d.call("prepare", func() func() {
			ws := d.r.job.prepare(o.Prepare.First, o.Prepare.N)
			return func() { m.Prepared(ws, nil) }
		})
	}
	if o.Claim != nil {
		d.call("claim", func() func() {
			row, status, _, err := st.Claim(bg, *o.Claim)
			return func() { m.Claimed(row, status, err) }
		})
	}
	if o.TopUp != nil {
		x := *o.TopUp
		d.call("topup", func() func() {
			hit, err := st.TopUp(bg, m.Ref(), x)
			return func() { m.ToppedUp(d.p.w.now, hit, err) }
		})
	}
	if o.Ask != nil {
		d.call("answers", func() func() {
			bodies, err := st.Answers(bg, o.Ask.Scope, o.Ask.Keys)
			return func() { m.Answered(d.p.w.now, bodies, err) }
		})
	}
	if o.Release != nil {
		d.release(*o.Release)
	}
	if len(o.Late) > 0 {
		d.tell(o.Late)
	}
}

func (d *driver) release(x lease.Release) {
	d.call("release", func() func() {
		err := d.p.store.Release(bg, d.m.Ref(), x.NotBefore, x.Stuck)
		if err != nil && !errors.Is(err, batch.ErrFenced) {
			return func() { d.release(x) }
		}
		return func() { d.m.Released(err) }
	})
}

func (d *driver) tell(late []store.Late) {
	d.call("late", func() func() {
		if _, err := d.p.store.Late(bg, late[0]); batch.KindOf(err) == batch.Unavailable && err != nil {
			return func() { d.tell(late) }
		} else if err != nil {
			d.p.w.bad("late answer of %s: %v", late[0].Ref, err)
		}
		if len(late) > 1 {
			return func() { d.tell(late[1:]) }
		}
		return func() { d.m.Told() }
	})
}

// commit writes the queue in one transaction, as the committer does: again and
// again until the store answers.
func (p *process) commit() {
	if p.writing {
		return
	}
	p.writing = true
	p.w.after(p, p.w.soon(8*time.Millisecond), "commit", func() { group := p.queue; p.queue = nil; p.write(group) })
}

func (p *process) write(group []queued) {
	ds := make([]store.Delta, len(group))
	for i, q := range group {
		ds[i] = q.x
	}
	errs, err := p.store.Advance(bg, ds)
	if err != nil {
		p.w.after(p, 50*time.Millisecond, "commit", func() { p.write(group) })
		return
	}
	p.w.after(p, p.w.soon(2*time.Millisecond), "committed", func() {
		p.writing = false
		for i, q := range group {
			q.d.m.Written(p.w.now, errs[i])
			q.d.later()
		}
		if len(p.queue) > 0 {
			p.commit()
		}
	})
}

// fly makes one call: it waits for its place, calls, and reports.
func (d *driver) fly(f lease.Flight) {
	w := d.p.w
	land := func(r provider.Result, start time.Time) {
		d.Put(1)
		d.m.Landed(w.now, lease.Landing{Item: f.Item, Result: r, Start: start})
		d.later()
	}
	age := d.p.pulse.Age()
	var gate func()
	gate = func() {
		if !d.lost && !d.r.stopped && d.p.pulse.Age() == age && !d.p.pulse.Fresh(w.now) {
			w.after(d.p, 100*time.Millisecond, "gate", gate)
			return
		}
		if d.lost || d.r.stopped || d.p.pulse.Age() != age {
			land(provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "stopped before it was sent"}, time.Time{})
			return
		}
		start := w.now
		res, latency := w.serve(d.r.job, f)
		w.after(d.p, latency, "landing", func() { land(res, start) })
	}
	w.after(d.p, w.soon(20*time.Millisecond), "gate", gate)
}

// flaky is the store as a process sees it: a call may fail before it reaches
// the database, its reply may be lost after it was committed, and the process
// may die at either point.
type flaky struct {
	store.Store
	p *process
}

// fate does a write, or not. It reports what its caller sees.
func (s *flaky) fate(name string, do func() error) error {
	w := s.p.w
	w.wrote = true
	switch {
	case w.chance(w.plan.crash):
		if w.rng.IntN(2) == 0 {
			w.note("%s dies before %s", s.p.id, name)
			panic(died{})
		}
		err := do()
		w.note("%s dies after %s: %v", s.p.id, name, err)
		panic(died{})
	case w.chance(w.plan.fail):
		w.faults++
		if w.rng.IntN(2) == 0 {
			w.note("%s %s: refused", s.p.id, name)
			return errAway
		}
		err := do()
		w.note("%s %s: reply lost (%v)", s.p.id, name, err)
		return errAway
	}
	err := do()
	w.note("%s %s: %v", s.p.id, name, err)
	return err
}

func (s *flaky) Claim(ctx context.Context, c store.Claim) (row store.Shard, st store.ClaimStatus, hit money.Dimension, err error) {
	err = s.fate(fmt.Sprintf("claim %s/%d e%d", c.Ref.Run, c.Ref.Shard, c.Ref.Epoch), func() (err error) { row, st, hit, err = s.Store.Claim(ctx, c); return err })
	return row, st, hit, err
}

func (s *flaky) TopUp(ctx context.Context, ref batch.LeaseRef, x money.Amount) (hit money.Dimension, err error) {
	err = s.fate("topup "+ref.String(), func() (err error) { hit, err = s.Store.TopUp(ctx, ref, x); return err })
	return hit, err
}

func (s *flaky) Advance(ctx context.Context, ds []store.Delta) (errs []error, err error) {
	err = s.fate(fmt.Sprintf("advance %d", len(ds)), func() (err error) {
		errs, err = s.Store.Advance(ctx, ds)
		if err == nil {
			s.p.w.committed(ds, errs)
		}
		return err
	})
	return errs, err
}

func (s *flaky) Release(ctx context.Context, ref batch.LeaseRef, notBefore int64, stuck money.Dimension) error {
	return s.fate(fmt.Sprintf("release %s %d %s", ref, notBefore, stuck), func() error { return s.Store.Release(ctx, ref, notBefore, stuck) })
}

func (s *flaky) Late(ctx context.Context, l store.Late) (kept bool, err error) {
	err = s.fate(fmt.Sprintf("late %s %d", l.Ref, l.Index), func() (err error) {
		kept, err = s.Store.Late(ctx, l)
		if err == nil && kept {
			s.p.w.keptLate(l)
		}
		return err
	})
	return kept, err
}

func (s *flaky) Reap(ctx context.Context, id batch.WorkerID, stale int64, scope []batch.RunID) (n int, err error) {
	err = s.fate("reap", func() (err error) { n, err = s.Store.Reap(ctx, id, stale, scope); return err })
	return n, err
}

func (s *flaky) Transition(ctx context.Context, id batch.RunID, from []batch.RunState, to batch.RunState, reason string) error {
	return s.fate(fmt.Sprintf("transition %s %s", id, to), func() error { return s.Store.Transition(ctx, id, from, to, reason) })
}

func (s *flaky) SetTarget(ctx context.Context, id batch.RunID, target batch.RunState, reason string) error {
	return s.fate(fmt.Sprintf("target %s %s", id, target), func() error { return s.Store.SetTarget(ctx, id, target, reason) })
}

func (s *flaky) Seal(ctx context.Context, seg store.Segment, through int64) error {
	return s.fate(fmt.Sprintf("seal %s %d", seg.Run, seg.Stretch), func() error { return s.Store.Seal(ctx, seg, through) })
}

var bg = context.Background()
