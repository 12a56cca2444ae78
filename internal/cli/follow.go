package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/plan"
)

// follower shows a run until it stands still.
type follower struct {
	inv      *invocation
	show     progress
	meter    meter
	status   func(ctx context.Context) (app.Status, error)
	still    func(app.Status) bool // the run stands still: stop following
	snapshot <-chan os.Signal      // SIGUSR1
}

// stands reports that nothing goes on and nothing will without a person.
func stands(s app.Status) bool {
	return s.State.Ended() && s.Target == "" || s.State == batch.RunPaused
}

// follow returns the run's last status, or the error of ctx.
func (f *follower) follow(ctx context.Context, p *plan.Plan, note string) (app.Status, error) {
	s, err := f.status(ctx)
	if err != nil {
		return s, err
	}
	fr := f.meter.frame(f.inv.sys.Now(), s)
	f.show.begin(fr, p, note)
	defer func() { f.show.end(fr) }()
	// Short runs are looked at often, long ones four times a second.
	for wait := 10 * time.Millisecond; !f.still(s); wait = min(wait*3/2, 250*time.Millisecond) {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return s, ctx.Err()
		case <-f.snapshot:
			t.Stop()
			f.show.snapshot(fr)
		case <-t.C:
		}
		next, err := f.status(ctx)
		if err != nil {
			return s, err
		}
		s = next
		fr = f.meter.frame(f.inv.sys.Now(), s)
		f.show.look(fr)
	}
	return s, nil
}

// stopper turns signals into a wish to stop. The first one drains; a second
// one abandons what is on the wire.
type stopper struct {
	ctx      context.Context  // ends at the first signal
	abort    context.Context  // ends at the second, or when draining took too long
	code     Code             // of the first signal; read it after ctx ended
	snapshot <-chan os.Signal // SIGUSR1, which ends a process that does not listen
	cancel   func()           // stops listening; can be called again
}

// drainTime is how long SIGTERM waits for calls on the wire: whoever sends it
// kills some 30 s later.
const drainTime = 25 * time.Second

// stopOnSignals listens until cancel. said is called at every signal, in a
// goroutine of its own.
func (inv *invocation) stopOnSignals(said func(n int, s os.Signal)) *stopper {
	first, stop := context.WithCancel(inv.ctx)
	second, abort := context.WithCancel(context.WithoutCancel(inv.ctx))
	ch, release := inv.sys.Signals(os.Interrupt, syscall.SIGTERM)
	usr, deaf := inv.sys.Signals(syscall.SIGUSR1)
	s := &stopper{ctx: first, abort: second, snapshot: usr}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var late <-chan time.Time
		for n := 0; ; {
			select {
			case <-second.Done():
				return
			case <-late:
				abort()
			case sig := <-ch:
				n++
				if n == 1 {
					s.code = CodeInterrupted
					if sig == syscall.SIGTERM {
						s.code = CodeDrained
						late = time.After(drainTime)
					}
				}
				said(n, sig)
				stop()
				if n > 1 {
					abort()
				}
			}
		}
	}()
	s.cancel = func() { release(); deaf(); abort(); <-done; stop() }
	return s
}

// work follows a run that this process works, through Ctrl-C, pauses and its
// end, until nothing of it is on the wire.
func (inv *invocation) work(a *app.App, st app.Started, stop *stopper) (app.Status, Code, error) {
	f := &follower{inv: inv, show: inv.newProgress(), snapshot: stop.snapshot, still: stands,
		status: func(ctx context.Context) (app.Status, error) { return a.Status(ctx, string(st.Run)) }}
	s, err := f.follow(stop.ctx, st.Plan, st.Note)
	settle := context.WithoutCancel(inv.ctx)
	switch {
	case stop.ctx.Err() != nil: // a signal, or the caller gave up
		err = a.Interrupt(stop.abort, st.Run, "interrupted")
	case err == nil && s.State == batch.RunPaused:
		// Paused by a person or a refused key: what is on the wire is still to
		// be kept.
		if x := s.Pacing; x != nil && x.InFlight > 0 {
			inv.p.note("paused; waiting for %s on the wire", countOf(int64(x.InFlight), "call"))
		}
		err = a.Interrupt(stop.abort, st.Run, s.Reason)
	}
	if err != nil {
		return s, ErrorCode(err), err
	}
	s, err = a.Status(settle, string(st.Run))
	code := codeOf(s)
	if stop.ctx.Err() != nil && !s.State.Ended() {
		code = stop.code
		if inv.ctx.Err() != nil {
			code = CodeInterrupted
		}
	}
	return s, code, err
}

// saidStop tells what a signal does.
func (inv *invocation) saidStop(n int, _ os.Signal) {
	switch n {
	case 1:
		inv.p.warn("stopping: no new call is started, answers on the wire are waited for; once more to abandon them (they may be paid for)")
	case 2:
		inv.p.warn("abandoning what is on the wire; it is charged at its worst case")
	}
}

// resumeHint is how to go on with a run.
func (inv *invocation) resumeHint(id batch.RunID) string {
	return fmt.Sprintf("batchwright%s resume %s", inv.dataFlag(), id)
}

// dataFlag is the flag that finds this data directory again from here.
func (inv *invocation) dataFlag() string { return dataFlag(inv.sys, *inv.g) }

func dataFlag(sys System, g Globals) string {
	if g.DataDir == "" || g.DataDir == "./.batchwright" || sys.Getenv("BATCHWRIGHT_DATA") == g.DataDir {
		return ""
	}
	return " --data-dir " + shellWord(g.DataDir)
}
