package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
)

// detachedEnv tells a process that it is the background half of --detach; its
// value is the log file, and file descriptor 3 is the way to the parent.
const detachedEnv = "BATCHWRIGHT_DETACHED_LOG"

// hello is what the background half says once.
type hello struct {
	RunID batch.RunID    `json:"run_id"`
	State batch.RunState `json:"state"`
	Log   string         `json:"log"`
}

// detach starts this command again in the background, where it knows itself by
// detachedEnv, and returns when its run exists.
func (inv *invocation) detach() error {
	fail := func(err error) error {
		return &batch.Error{Kind: batch.Unavailable, Op: "start in the background", Err: err}
	}
	d, err := datadir.Open(inv.g.DataDir, true)
	if err != nil {
		return err
	}
	exe, err := inv.sys.Executable()
	if err != nil {
		return fail(err)
	}
	log, err := os.CreateTemp(d.Root(), "detached-*.log")
	if err != nil {
		return fail(err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close() //nolint:errcheck // read only
	c := exec.Command(exe, inv.sys.Args...)
	c.Stdout, c.Stderr, c.ExtraFiles = log, log, []*os.File{w}
	c.Env = append(inv.sys.Environ(), detachedEnv+"="+log.Name())
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(c.Start(), w.Close()); err != nil {
		return fail(errors.Join(err, os.Remove(log.Name())))
	}
	line, _ := bufio.NewReader(r).ReadBytes('\n')
	var h hello
	if json.Unmarshal(line, &h) != nil {
		return inv.stillborn(c, log.Name())
	}
	if err := c.Process.Release(); err != nil {
		return fail(err)
	}
	if inv.g.JSON {
		return inv.p.json(h)
	}
	fmt.Fprintln(inv.p.out, h.RunID)
	inv.p.note("going on in the background; log: %s", h.Log)
	inv.p.note("batchwright%s watch %s", inv.dataFlag(), h.RunID)
	return nil
}

// stillborn passes on what a background half said that ended before its run
// began.
func (inv *invocation) stillborn(c *exec.Cmd, log string) error {
	err := c.Wait()
	text, rerr := os.ReadFile(log)
	if rerr == nil {
		_, rerr = inv.p.err.Write(text)
	}
	if rerr = errors.Join(rerr, os.Remove(log)); rerr != nil {
		return rerr
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		return exitWith(Code(e.ExitCode()))
	}
	return &batch.Error{Kind: batch.Internal, Op: "start in the background", Msg: "the process ended before its run began", Err: err}
}

// detached reports whether this process is the background half already.
func (inv *invocation) detached() bool { return inv.sys.Getenv(detachedEnv) != "" }

// parent is the foreground half, for the background half; without one it does
// nothing.
type parent struct {
	to  *os.File
	log string
}

func (inv *invocation) toParent() *parent {
	log := inv.sys.Getenv(detachedEnv)
	if log == "" {
		return &parent{}
	}
	return &parent{to: os.NewFile(3, "parent"), log: log}
}

// started moves the log to the run's folder and lets the parent go.
func (p *parent) started(inv *invocation, id batch.RunID) {
	if p.to == nil {
		return
	}
	if d, err := datadir.Open(inv.g.DataDir, false); err == nil {
		to := filepath.Join(d.Run(id), "log")
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(p.log, to)); err == nil {
			p.log = to
		}
	}
	line, err := json.Marshal(hello{RunID: id, State: batch.RunRunning, Log: p.log})
	if err == nil {
		_, _ = p.to.Write(append(line, '\n')) // a parent that is gone needs no word
	}
	_ = p.to.Close()
	p.to = nil
}

// failed lets the parent go without a run: it reads the log.
func (p *parent) failed(error) {
	if p.to != nil {
		_ = p.to.Close()
		p.to = nil
	}
}
