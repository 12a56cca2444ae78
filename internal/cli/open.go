package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/httpapi"
)

// open opens the data directory for command.
func (inv *invocation) open(ctx context.Context, mode Mode, command string) (*Session, error) {
	return inv.openAt(ctx, inv.g.DataDir, mode, command)
}

func (inv *invocation) openAt(ctx context.Context, dir string, mode Mode, command string) (*Session, error) {
	const patience = 5 * time.Second
	for until := inv.sys.Now().Add(patience); ; {
		s, err := inv.sys.Open(ctx, OpenOptions{DataDir: dir, Mode: mode, Command: command, Log: inv.p.err, Verbose: inv.g.Verbose})
		if batch.KindOf(err) != batch.Conflict || err == nil || !inv.letsGo(ctx, dir) || inv.sys.Now().After(until) {
			return s, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// letsGo reports whether the process that holds a data directory is about to
// give it up: it does not answer any more, or nothing it could work on goes on.
// So one command can follow another's end at once.
func (inv *invocation) letsGo(ctx context.Context, dir string) bool {
	d, err := datadir.Open(dir, false)
	if err != nil {
		return false
	}
	c := httpapi.Dial(d.Socket())
	defer c.Close()                                        //nolint:errcheck // idle connections only
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // a process that was stopped takes the question and never answers
	defer cancel()
	runs, err := c.List(ctx, "", 50)
	return err != nil || !slices.ContainsFunc(runs, func(s app.Status) bool { return !stands(s) })
}

// reading runs f on a session that only reads.
func (inv *invocation) reading(command string, f func(*app.App) error) error {
	s, err := inv.open(inv.ctx, ModeRead, command)
	if err != nil {
		return err
	}
	return errors.Join(f(s.App), s.Close(inv.ctx))
}

// Control is what a run is watched and steered through: the application
// itself, or the process that holds the data directory.
type Control = httpapi.API

// live returns the process that works in the data directory, or nil when there
// is none. One that has just begun or is about to end may not answer yet.
func (inv *invocation) live(ctx context.Context, patience time.Duration) (*httpapi.Client, error) {
	d, err := datadir.Open(inv.g.DataDir, false)
	if err != nil {
		return nil, err
	}
	until := inv.sys.Now().Add(patience)
	for d.Held() {
		c := httpapi.Dial(d.Socket())
		if err = c.Ping(ctx); err == nil {
			return c, nil
		}
		if !inv.sys.Now().Before(until) {
			h, _ := d.Holder()
			return nil, &batch.Error{Kind: batch.Conflict, Op: "reach the process that works here", Ref: d.Root(),
				Msg: fmt.Sprintf("process %d (%s) holds the data directory and does not answer", h.PID, h.Command), Err: err,
				Hint: "try again in a moment; batchwright status reads the store without it"}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// pause waits, or ends early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// errNobody says that no process works in the data directory.
var errNobody = errors.New("nobody works here")

// asking runs f on the process that works here, or returns errNobody. One that
// ended before it heard the question was not asked: whoever follows it is.
func (inv *invocation) asking(f func(Control) error) error {
	for range 3 {
		c, err := inv.live(inv.ctx, 2*time.Second)
		if err != nil {
			return err
		}
		if c == nil {
			return errNobody
		}
		if err := f(c); !gone(err) {
			return err
		}
	}
	return errNobody
}

// gone reports whether a question never left: nobody listened.
func gone(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// looking runs f on whatever tells best where runs stand: the process that
// works here, or else the store.
func (inv *invocation) looking(command string, f func(Control) error) error {
	c, err := inv.live(inv.ctx, 0)
	if batch.KindOf(err) == batch.NotFound && err != nil {
		return err
	}
	if err == nil && c != nil {
		if err := f(c); !gone(err) {
			return err
		}
	}
	return inv.reading(command, func(a *app.App) error { return f(a) })
}

// steering runs f on what may change a run's state: the process that works
// here, or else the store under its lock.
func (inv *invocation) steering(command string, f func(Control) error) error {
	err := inv.asking(f)
	if !errors.Is(err, errNobody) {
		return err
	}
	s, err := inv.open(inv.ctx, ModeWrite, command)
	if err != nil {
		return err
	}
	return errors.Join(f(s.App), s.Close(inv.ctx))
}
