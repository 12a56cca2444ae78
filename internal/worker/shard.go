package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/store"
)

// idleWait bounds how long a shard waits with nothing to wake it.
const idleWait = time.Minute

// shard drives one machine. Everything in it belongs to the loop's goroutine.
type shard struct {
	w     *Worker
	r     *Run
	m     *lease.Machine
	reply chan error // of the committer
	ends  chan lease.Landing
	wake  chan struct{}
	waits context.Context // ends when no call of the lease may start any more
	lose  context.CancelFunc
}

// work works a shard from its bell to the end of its lease. After an error the
// bell rings again.
func (w *Worker) work(ctx context.Context, r *Run, b batch.Bell) error {
	s := &shard{w: w, r: r, reply: make(chan error, 1), wake: make(chan struct{}, 1)}
	s.waits, s.lose = context.WithCancel(r.waits)
	defer s.lose()
	s.m = lease.New(lease.Config{Bell: b, Worker: w.cfg.ID, Policy: r.Policy, Price: r.Price, Check: r.Check, Codec: w.cfg.Codec,
		Lane: place{r.Lane, s.wake}, Answers: &r.answers, Held: &w.held, Rand: w.cfg.Rand, UnreachableAfter: w.cfg.UnreachableAfter})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := w.cfg.Now()
		o := s.m.Next(now)
		replied := s.obey(ctx, o)
		if o.Over {
			return o.Err
		}
		if replied {
			continue
		}
		wait := idleWait
		if !o.Wake.IsZero() {
			wait = min(wait, o.Wake.Sub(now))
		}
		timer.Reset(max(wait, 0))
		s.await(timer)
	}
}

// await tells the machine what happens next.
func (s *shard) await(timer *time.Timer) {
	stopping := s.r.stopping
	if s.r.stopped() {
		s.m.Stop()
		stopping = nil // wait for what is in the air
	}
	select {
	case f := <-s.ends:
		s.m.Landed(s.w.cfg.Now(), f)
		for more := true; more; {
			select {
			case f := <-s.ends:
				s.m.Landed(s.w.cfg.Now(), f)
			default:
				more = false
			}
		}
	case err := <-s.reply:
		s.m.Written(s.w.cfg.Now(), err)
		failpoint.Hit("advance.acknowledged")
	case <-s.wake:
	case <-stopping:
		s.m.Stop()
	case <-timer.C:
	}
}

// obey does what is ordered, and reports whether the machine was told a reply.
func (s *shard) obey(ctx context.Context, o lease.Orders) (replied bool) {
	st := s.w.cfg.Store
	if o.Lose {
		failpoint.Hit("fenced.before")
		s.lose()
	}
	if o.Write != nil {
		failpoint.Hit("advance.queued")
		s.w.commit.in <- write{o.Write.Delta, o.Write.Items, s.reply}
	}
	if len(o.Fly) > 0 {
		age := s.w.pulse.age()
		for _, f := range o.Fly {
			go s.fly(f, age)
		}
	}
	if o.End != "" {
		s.w.end(ctx, s.r, batch.RunFailed, o.End)
	}
	if o.Pause != "" {
		s.w.pause(ctx, s.r, o.Pause)
	}
	if o.Read != nil {
		row, err := st.Shard(ctx, s.r.ID, batch.ShardNo(o.Read.N))
		s.m.RowRead(row, err)
	}
	if o.Prepare != nil {
		works, err := s.r.Prepare(ctx, o.Prepare.First, o.Prepare.N)
		s.ends = make(chan lease.Landing, len(works))
		s.m.Prepared(works, err)
	}
	if o.Claim != nil {
		row, status, _, err := st.Claim(ctx, *o.Claim)
		s.m.Claimed(row, status, err)
	}
	if o.TopUp != nil {
		hit, err := st.TopUp(ctx, s.m.Ref(), *o.TopUp)
		s.m.ToppedUp(s.w.cfg.Now(), hit, err)
	}
	if o.Ask != nil {
		bodies, err := st.Answers(ctx, o.Ask.Scope, o.Ask.Keys)
		s.m.Answered(s.w.cfg.Now(), bodies, err)
	}
	if o.Release != nil {
		s.m.Released(s.release(ctx, *o.Release))
	}
	if len(o.Late) > 0 {
		s.tell(ctx, o.Late)
		s.m.Told()
	}
	return o.Read != nil || o.Prepare != nil || o.Claim != nil || o.TopUp != nil || o.Ask != nil || o.Release != nil || len(o.Late) > 0
}

// release hands the lease back, until the store takes it or the bell's context
// ends.
func (s *shard) release(ctx context.Context, r lease.Release) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := s.w.cfg.Store.Release(ctx, s.m.Ref(), r.NotBefore, r.Stuck)
		if err == nil || errors.Is(err, batch.ErrFenced) {
			failpoint.Hit("release.sent")
			return err
		}
		s.w.fault(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// tell hands the truth of lost calls to the store.
func (s *shard) tell(ctx context.Context, late []store.Late) {
	for _, l := range late {
		err := s.w.insist(ctx, s.r, func() error {
			_, err := s.w.cfg.Store.Late(ctx, l)
			return err
		})
		failpoint.Hit("late.sent")
		if err != nil {
			s.w.fault(err)
		}
	}
}

// fly makes one call: it waits at the gate, calls, and reports. age is that of
// the worker's pulse when the call was started.
func (s *shard) fly(f lease.Flight, age int) {
	l := s.r.Lane
	est := l.estimate(f.Call)
	stopped := provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "stopped before it was sent"}
	if err := l.Gate.Acquire(s.waits, est); err != nil {
		l.put(1)
		s.ends <- lease.Landing{Item: f.Item, Result: stopped}
		return
	}
	if !s.w.pulse.await(s.waits, s.w.cfg.Now, age) {
		l.Gate.Release(observe(stopped, est))
		l.put(1)
		s.ends <- lease.Landing{Item: f.Item, Result: stopped}
		return
	}
	start := s.w.cfg.Now()
	ctx, stop := context.WithTimeout(s.r.calls, s.r.Policy.Timeout)
	failpoint.Hit("call.before")
	res := s.call(ctx, f)
	failpoint.Hit("call.after")
	stop()
	res.Latency = s.w.cfg.Now().Sub(start)
	l.Gate.Release(observe(res, est))
	l.put(1)
	l.learn(f.Call, res)
	s.ends <- lease.Landing{Item: f.Item, Result: res, Start: start}
}

// call makes the call. An answer that makes our own code panic must not end the
// process, and every process after it: the call's fate is unknown, so it is
// charged in full, and tried again within the item's attempts.
func (s *shard) call(ctx context.Context, f lease.Flight) (res provider.Result) {
	defer func() {
		if r := recover(); r != nil {
			// Not the panic's value: it may hold what was answered.
			s.w.cfg.Log.Error("a call made batchwright panic", "attempt", f.ID, "type", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))
			res = provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "a fault of batchwright in reading the answer"}
		}
	}()
	return s.r.Call(ctx, f.Call, f.ID)
}

// observe is what the gate learns of a call.
func observe(r provider.Result, est int64) pacing.Observation {
	return pacing.Observation{Class: r.Class, RetryAfter: r.RetryAfter, Estimated: est, Actual: r.Usage.Total(),
		Latency: r.Latency, Sent: r.Sent != provider.NotSent}
}

// place is a lane as one shard sees it.
type place struct {
	lane *Lane
	wake chan struct{}
}

func (p place) Take(n int) int { return p.lane.take(n, p.wake) }
func (p place) Put(n int)      { p.lane.put(n) }

func (p place) Unreached(time.Time) (int, time.Duration) { return p.lane.unreachable() }
