package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/httpapi"
	"github.com/batchwright/batchwright/internal/report"
)

type watchCommand struct {
	Ref        string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	ExitStatus bool   `help:"Exit with the run's own code instead of 0."`
}

func (c *watchCommand) Help() string {
	return "Watching changes nothing: Ctrl-C ends the watching, not the run. A run that nobody works on does not move; watch says so and ends."
}

func (c *watchCommand) Run(inv *invocation) error {
	return inv.watch(inv.ctx, c.Ref, c.ExitStatus, inv.newProgress())
}

type waitCommand struct {
	Ref        string        `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Timeout    time.Duration `help:"Give up after this time with exit code 8." placeholder:"6h"`
	ExitStatus bool          `help:"Exit with the run's own code instead of 0."`
}

func (c *waitCommand) Run(inv *invocation) error {
	ctx := inv.ctx
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	err := inv.watch(ctx, c.Ref, c.ExitStatus, noProgress{})
	if errors.Is(err, context.DeadlineExceeded) && inv.ctx.Err() == nil {
		ref := c.Ref
		if ref == "" {
			ref = "the latest run"
		}
		return &batch.Error{Kind: batch.StillRunning, Op: "wait", Ref: ref, Msg: fmt.Sprintf("still going on after %s", c.Timeout),
			Hint: "batchwright" + inv.dataFlag() + " status " + c.Ref}
	}
	return err
}

// watch follows a run from outside until it stands still or nobody works on
// it.
func (inv *invocation) watch(ctx context.Context, ref string, exitStatus bool, show progress) error {
	usr, release := inv.sys.Signals(syscall.SIGUSR1)
	defer release()
	w := &watcher{inv: inv, ref: ref}
	defer w.close()
	f := &follower{inv: inv, show: show, snapshot: usr, status: w.status,
		still: func(s app.Status) bool { return stands(s) || w.alone(s) }}
	s, err := f.follow(ctx, nil, "")
	if err != nil {
		return err
	}
	if inv.g.JSON {
		if err := inv.p.json(s); err != nil {
			return err
		}
	} else {
		inv.printStatus(s)
	}
	if !stands(s) { // nobody works on it: it will not move
		return &batch.Error{Kind: batch.StillRunning, Op: "watch", Ref: string(s.RunID), Msg: fmt.Sprintf("the run is %s and no process works on it", s.State),
			Hint: inv.resumeHint(s.RunID)}
	}
	if exitStatus {
		return exitWith(codeOf(s))
	}
	return nil
}

// watcher reads a run's status from the process that works here, and from the
// store when there is none; it changes over as processes come and go.
type watcher struct {
	inv    *invocation
	ref    string
	client *httpapi.Client
	store  *Session
	idle   int // looks in a row without anybody working here
}

func (w *watcher) status(ctx context.Context) (app.Status, error) {
	if w.client != nil {
		s, err := w.client.Status(ctx, w.ref)
		if err == nil || batch.KindOf(err) != batch.Unavailable {
			return w.named(s), err
		}
		w.client = nil
	}
	c, err := w.inv.live(ctx, 0)
	if err != nil && batch.KindOf(err) == batch.NotFound {
		return app.Status{}, err
	}
	if c != nil {
		w.client, w.idle = c, 0
		return w.status(ctx)
	}
	if err == nil {
		w.idle++ // held by nobody
	}
	if w.store == nil {
		if w.store, err = w.inv.open(ctx, ModeRead, "watch"); err != nil {
			return app.Status{}, err
		}
	}
	s, err := w.store.App.Status(ctx, w.ref)
	return w.named(s), err
}

// named keeps to the run that was the latest at first.
func (w *watcher) named(s app.Status) app.Status {
	if w.ref == "" || w.ref == "latest" {
		w.ref = string(s.RunID)
	}
	return s
}

// alone reports that no process works here, and that it is not just between
// two.
func (w *watcher) alone(app.Status) bool { return w.client == nil && w.idle >= 8 }

func (w *watcher) close() {
	if w.store != nil {
		_ = w.store.Close(context.WithoutCancel(w.inv.ctx)) // read only
	}
}

type pauseCommand struct {
	Ref    string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Reason string `help:"Why, kept with the run." default:"paused by a person"`
}

func (c *pauseCommand) Run(inv *invocation) error {
	return inv.steering("pause", func(ctl Control) error {
		s, err := ctl.Pause(inv.ctx, c.Ref, oneLine(c.Reason, 300))
		if err != nil {
			return err
		}
		return inv.changed(s, inv.resumeHint(s.RunID))
	})
}

type cancelCommand struct {
	Ref    string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Now    bool   `help:"Do not wait for answers on the wire; they may be paid for and are lost."`
	Reason string `help:"Why, kept with the run." default:"cancelled by a person"`
}

func (c *cancelCommand) Run(inv *invocation) error {
	return inv.steering("cancel", func(ctl Control) error {
		s, err := ctl.Cancel(inv.ctx, c.Ref, c.Now, oneLine(c.Reason, 300))
		if err != nil {
			return err
		}
		return inv.changed(s, "batchwright"+inv.dataFlag()+" results "+string(s.RunID))
	})
}

// changed prints where a run stands after a person changed it.
func (inv *invocation) changed(s app.Status, next string) error {
	if inv.g.JSON {
		return inv.p.json(s)
	}
	state := string(s.State)
	if s.Target != "" && !s.State.Ended() {
		state += ", ending as " + string(s.Target)
	}
	fmt.Fprintln(inv.p.out, strings.Join([]string{string(s.RunID), state, report.Count(s.Items.Total-s.Items.Pending) + " of " + report.Count(s.Items.Total) + " done"}, "  "))
	inv.p.note("%s", next)
	return nil
}
