package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
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
	<-ended
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

// verdict says what came of it, and proves it.
func (d *demonstration) verdict(run batch.RunID, items int, took time.Duration) error {
	p := d.inv.p
	return d.inv.reading("demo", func(a *app.App) error {
		s, err := a.Status(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		rep, err := a.Report(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		v, err := a.Verify(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		results, page := where(rep)
		lines, err := countLines(results)
		if err != nil {
			return &batch.Error{Kind: batch.Internal, Op: "demo", Ref: results, Err: err}
		}
		whole := v.OK && s.Items.OK+s.Items.Failed == int64(items) && lines == s.Items.OK && s.State == batch.RunSucceeded
		p.note("%s", p.plain(fmt.Sprintf("done   %s: %d ok · %d failed as they must (%s) · %s of %s · %s", s.State, s.Items.OK, s.Items.Failed,
			classesOf(rep), report.USD(s.Cost.Pico), shownBudget(s), report.Duration(took))))
		p.note("%s lost   0 results: %d of %d reviews have one outcome, results.jsonl has %d lines", p.sign(good(whole)), s.Items.OK+s.Items.Failed, items, lines)
		twice := paidTwice(rep)
		whole = whole && twice == 0
		p.note("%s twice  %d calls may have been on the wire when the process died, are charged at their worst case and were made again; %d others", p.sign(good(twice == 0)), s.Unknown, twice)
		p.note("%s verify %d outcomes, %d attempts and every token and dollar agree with each other and with the input", p.sign(good(v.OK)), v.Outcomes, v.Attempts)
		for _, f := range v.Findings {
			p.warn("%s %s: %s", f.Invariant, oneLine(f.Ref, 100), oneLine(f.Message, 300))
		}
		if d.inv.g.JSON {
			err = p.json(map[string]any{"run_id": s.RunID, "state": s.State, "ok": whole, "verified": v.OK, "items": s.Items, "unknown_calls": s.Unknown,
				"report": page, "results": results})
		} else {
			fmt.Fprintln(p.out, page)
		}
		flag := " --data-dir " + shellWord(d.inv.g.DataDir)
		p.note("next   batchwright%s items --state failed      the failures, then: item ID", flag)
		p.note("       batchwright%s report                    the numbers, as text", flag)
		p.note("       batchwright init --template summarize       your own data; then name a provider and a key")
		if err == nil && !whole {
			err = &batch.Error{Kind: batch.Internal, Op: "demo", Ref: string(run), Msg: "the run is not as it must be", Hint: "batchwright" + flag + " verify"}
		}
		return err
	})
}

// paidTwice counts answers that were paid for and are no item's outcome,
// beyond those whose fate a dead process took with it.
func paidTwice(rep report.Run) int64 {
	answered := rep.Attempts
	for _, b := range rep.Series {
		for _, c := range b.ByClass {
			answered -= c.Count
		}
	}
	return answered - (rep.Items.OK - rep.Items.Copies - rep.Items.Cached)
}

func good(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

func classesOf(rep report.Run) string {
	var parts []string
	for _, g := range rep.Errors {
		parts = append(parts, fmt.Sprintf("%d %s", g.Count, g.Class))
	}
	return strings.Join(parts, ", ")
}

func shownBudget(s app.Status) string {
	if s.Budget.PicoUSD == nil {
		return "no budget"
	}
	return "a budget of " + report.USD(picoUSD(*s.Budget.PicoUSD))
}

func countLines(path string) (int64, error) {
	b, err := os.ReadFile(path)
	return int64(bytes.Count(b, []byte{'\n'})), err
}

// demoJob is the demo's spec. The simulator's settings stand in options.
const demoJob = `# The job of batchwright demo. It can be run again and changed:
#   batchwright run job.yaml
version: 1

job:
  id: demo
  batch_size: 20
  max_attempts: 4
  token_budget: 200000
  timeout_ms: 10000

input:
  uri: reviews.jsonl
  id: id

task:
  provider: sim
  model: sim-1               # built in: no key, no network, nothing to pay
  prompt: |
    Is this review positive, negative or mixed?

    {{ text }}
  max_output_tokens: 80
  schema:
    type: object
    additionalProperties: false
    required: [sentiment]
    properties:
      sentiment: {enum: [positive, negative, mixed]}
  options:
    latency: "lognormal:280ms:0.3"
    faults: "429:0.04,500:0.01,badjson:0.01,poison=POISON"

budget:
  usd: 0.05

pacing:
  concurrency: 8

failure_threshold: 5%

output:
  uri: out
`

// reviews are made from a few words; one of them the provider never accepts.
func reviews(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for i := range n {
		text := fmt.Sprintf("%s %s %s. %s", pick("The", "My new", "This", "Our second"),
			pick("kettle", "backpack", "desk lamp", "keyboard", "coffee grinder", "bike light", "rain jacket", "headset"),
			pick("works as described", "stopped working after a week", "is louder than I hoped", "arrived with a scratch", "is the best I have owned",
				"does what it should", "feels cheap but holds", "was delivered a day early"),
			pick("Would buy it again.", "Sending it back.", "Three stars.", "The manual could be better.", "Support was friendly.", "My sister wants one, too.", "Not for this price."))
		text += fmt.Sprintf(" Order %05d.", 10_000+i*7)
		if i == n*21/100 {
			text = "POISON: a text that the provider refuses every time."
		}
		// A map of two strings always encodes, and its keys come out sorted.
		_ = e.Encode(map[string]string{"id": fmt.Sprintf("rev-%04d", i+1), "text": text})
	}
	return out.Bytes()
}
