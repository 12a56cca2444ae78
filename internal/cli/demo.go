package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/report"
)

type demoCommand struct {
	Dir   string `arg:"" optional:"" default:"batchwright-demo" help:"Folder to write to; an earlier demo in it is replaced."`
	Items int    `help:"Number of reviews." default:"200" placeholder:"N"`
	Seed  uint64 `help:"The same seed gives the same reviews." default:"1" placeholder:"N"`
}

func (c *demoCommand) Help() string {
	return "Labels 200 product reviews on a simulated provider that is slow and makes mistakes, kills the process half way with SIGKILL, goes on, and checks that nothing was lost. Needs no key and no network, and takes about 15 seconds."
}

// demonstration is one demo under way.
type demonstration struct {
	inv *invocation // of the demo's own data directory
	dir string
	job string // path of its job.yaml
}

func (c *demoCommand) Run(inv *invocation) error {
	if c.Items < 20 || c.Items > 5000 {
		return &batch.Error{Kind: batch.Usage, Op: "--items", Msg: "is not between 20 and 5000"}
	}
	g := *inv.g
	g.DataDir = filepath.Join(c.Dir, ".batchwright")
	own := *inv
	own.g = &g
	d := &demonstration{inv: &own, dir: c.Dir, job: filepath.Join(c.Dir, "job.yaml")}
	if err := d.prepare(c); err != nil {
		return err
	}
	p := inv.p
	p.note("%s", p.plain(fmt.Sprintf("%d product reviews, a simulated provider (no key, no network): 4%% 429, 1%% 500, 1%% bad JSON, 1 poison item", c.Items)))
	if err := d.plan(); err != nil {
		return err
	}
	began := inv.sys.Now()
	run, err := d.killHalfWay()
	if err != nil {
		return err
	}
	if err := d.goOn(run); err != nil {
		return err
	}
	return d.verdict(run, c.Items, inv.sys.Now().Sub(began))
}

// prepare writes the job and its items, and takes an earlier demo away.
func (d *demonstration) prepare(c *demoCommand) error {
	fail := func(err error) error {
		return &batch.Error{Kind: batch.Unavailable, Op: "prepare the demo", Ref: c.Dir, Err: err, Hint: "run it in a folder that you can write to"}
	}
	if old, err := datadir.Open(d.inv.g.DataDir, false); err == nil && old.Held() {
		return &batch.Error{Kind: batch.Conflict, Op: "demo", Ref: c.Dir, Msg: "another demo goes on there", Hint: "wait for it, or name another folder"}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fail(err)
	}
	for _, name := range []string{".batchwright", "out"} {
		if err := os.RemoveAll(filepath.Join(c.Dir, name)); err != nil {
			return fail(err)
		}
	}
	for name, body := range map[string][]byte{"job.yaml": []byte(demoJob), "reviews.jsonl": reviews(c.Items, c.Seed)} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), body, 0o644); err != nil {
			return fail(err)
		}
	}
	return nil
}

func (d *demonstration) plan() error {
	sp, err := (&specFlags{File: d.job}).spec(d.inv)
	if err != nil {
		return err
	}
	p, err := d.inv.makePlan(sp)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("plan   %s calls · about %s tokens in and %s out", report.Count(p.ToCall.N), report.Short(p.Input.P50), report.Short(p.Output.P50))
	if p.Cost != nil {
		line += fmt.Sprintf(" · about %s, %s at worst (priced as gpt-4o-mini)", report.USD(picoUSD(p.Cost.P50)), report.USD(picoUSD(p.Cost.Worst)))
	}
	d.inv.p.note("%s", d.inv.p.plain(line))
	return nil
}

// child starts `batchwright run job.yaml` as a process of its own.
func (d *demonstration) child() (*exec.Cmd, *bytes.Buffer, error) {
	exe, err := d.inv.sys.Executable()
	if err != nil {
		return nil, nil, &batch.Error{Kind: batch.Unavailable, Op: "start the demo's run", Err: err}
	}
	var said bytes.Buffer
	c := exec.Command(exe, "--data-dir", d.inv.g.DataDir, "--progress", "none", "run", d.job)
	c.Stdout, c.Stderr, c.Env = &said, &said, withoutTwins(d.inv.sys.Environ())
	if err := c.Start(); err != nil {
		return nil, nil, &batch.Error{Kind: batch.Unavailable, Op: "start the demo's run", Ref: exe, Err: err}
	}
	return c, &said, nil
}

// withoutTwins keeps settings of the demo's caller from its runs.
func withoutTwins(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		for _, twin := range twins {
			if name == twin {
				return true
			}
		}
		return false
	})
}

// killHalfWay runs the job in a child process and kills it when half of the
// items are done.
func (d *demonstration) killHalfWay() (batch.RunID, error) {
	c, said, err := d.child()
	if err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	d.inv.p.note("run    batchwright run %s   (process %d)", d.job, c.Process.Pid)
	s, err := d.watch(ended, func(s app.Status) bool { return s.Items.Pending*2 <= s.Items.Total })
	if err == nil && stands(s) {
		err = errors.New("the run ended before it could be killed")
	}
	if kerr := c.Process.Kill(); kerr != nil && err == nil {
		err = kerr
	}
	<-ended //nolint:errcheck // it was killed: that is how it ended
	if err != nil {
		return "", d.failed(err, said)
	}
	d.inv.p.note("%s", d.inv.p.paint(yellow, fmt.Sprintf("kill   -9 %d: the process is gone, with %d of %d items done", c.Process.Pid, s.Items.Total-s.Items.Pending, s.Items.Total)))
	return s.RunID, nil
}

// goOn runs the same command again and waits for its end.
func (d *demonstration) goOn(run batch.RunID) error {
	var before app.Status
	err := d.inv.reading("demo", func(a *app.App) (err error) { before, err = a.Status(d.inv.ctx, string(run)); return err })
	if err != nil {
		return err
	}
	c, said, err := d.child()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	d.inv.p.note("again  batchwright run %s   (process %d): goes on, %d items are not asked again", d.job, c.Process.Pid, before.Items.OK+before.Items.Failed)
	_, err = d.watch(ended, stands)
	if err != nil {
		_ = c.Process.Kill()
	}
	if werr := <-ended; err == nil {
		err = werr
	}
	if err != nil {
		return d.failed(err, said)
	}
	return nil
}

// watch shows the run until it is as wanted. It ends with an error when the
// child ended and the run does not stand still.
func (d *demonstration) watch(ended chan error, until func(app.Status) bool) (app.Status, error) {
	ctx, cancel := context.WithTimeoutCause(d.inv.ctx, 2*time.Minute, errors.New("the run does not come to an end"))
	defer cancel()
	w := &watcher{inv: d.inv}
	defer w.close()
	f := &follower{inv: d.inv, show: d.inv.newProgress(), still: func(s app.Status) bool { return until(s) || stands(s) }}
	f.status = func(ctx context.Context) (app.Status, error) {
		for {
			s, err := w.status(ctx)
			if batch.KindOf(err) != batch.NotFound || err == nil {
				return s, err
			}
			select { // the child has not made its run yet
			case err := <-ended:
				ended <- err
				return s, errors.New("the run did not begin")
			default:
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return s, context.Cause(ctx)
			}
		}
	}
	return f.follow(ctx, nil, "")
}

func (d *demonstration) failed(err error, said *bytes.Buffer) error {
	if text := strings.TrimSpace(clean(said.String())); text != "" {
		d.inv.p.warn("the run said:\n%s", text)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &batch.Error{Kind: batch.Internal, Op: "demo", Err: err, Hint: "batchwright doctor"}
}
