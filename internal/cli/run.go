package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/spec"
)

type runCommand struct {
	specFlags
	RunKey       string `help:"The same key always means the same run: unfinished it goes on, finished it is printed again and nothing is paid." placeholder:"KEY"`
	New          bool   `help:"Start another run even where an unfinished one could go on."`
	AllowPartial bool   `help:"Run what fits although the estimate is above the budget."`
	Detach       bool   `short:"d" help:"Go on in the background; prints the run's id when it exists."`
	DryRun       bool   `help:"Only plan."`
}

func (c *runCommand) Help() string {
	return "Freezes the input, reserves before every call, and writes outputs and a report at the end. An unfinished run of the same job, spec and input goes on where it stopped. Ctrl-C drains and says how to go on. With --json the summary is printed last on stdout. Exit codes: batchwright help exit-codes."
}

func (c *runCommand) Run(inv *invocation) error {
	sp, err := c.spec(inv)
	if err != nil {
		return err
	}
	if c.RunKey != "" && c.New {
		return &batch.Error{Kind: batch.Usage, Msg: "--run-key and --new contradict each other: a key means one run for ever"}
	}
	if c.DryRun {
		return inv.plan(sp, false, c.AllowPartial)
	}
	if c.Detach && !inv.detached() {
		if sp.Input.URI == "-" || c.File == "-" {
			return &batch.Error{Kind: batch.Usage, Op: "--detach", Msg: "a run in the background has no stdin", Hint: "give the spec and its input as files"}
		}
		return inv.detach()
	}
	return inv.working("run "+c.File, func(ctx context.Context, a *app.App) (app.Started, error) {
		return a.Start(ctx, app.StartRequest{Spec: sp, Key: c.RunKey, New: c.New, AllowPartial: c.AllowPartial})
	}, sp)
}

// starter begins to work on a run.
type starter func(ctx context.Context, a *app.App) (app.Started, error)

// working opens the data directory, starts a run and follows it to its end.
func (inv *invocation) working(command string, start starter, sp *spec.Spec) (err error) {
	tell := inv.toParent()
	defer func() { tell.failed(err) }()
	stop := inv.stopOnSignals(inv.saidStop)
	defer stop.cancel()
	s, err := inv.open(inv.ctx, ModeWork, command)
	if err != nil {
		return stop.cause(err)
	}
	closed := context.WithoutCancel(inv.ctx)
	slow := time.AfterFunc(1500*time.Millisecond, func() { inv.p.note("freezing the input") })
	st, err := start(stop.ctx, s.App)
	slow.Stop()
	if err != nil {
		return errors.Join(stop.cause(err), s.Close(closed))
	}
	tell.started(inv, st.Run)
	inv.announce(st, sp)
	code := CodeOK
	if !st.Ended {
		_, code, err = inv.work(s.App, st, stop)
	}
	stop.cancel() // from here on nothing can be lost: Ctrl-C simply ends the process
	if err == nil {
		code, err = inv.conclude(closed, s.App, st.Run, code)
	}
	if err := errors.Join(err, s.Close(closed)); err != nil {
		return err
	}
	return exitWith(code)
}

// cause is what a command that was stopped by a signal ends with.
func (s *stopper) cause(err error) error {
	if s.ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	kind, msg := batch.Interrupted, "interrupted before the run began; nothing was spent"
	if s.code == CodeDrained {
		kind = batch.Drained
	}
	return &batch.Error{Kind: kind, Msg: msg}
}

// announce says what was frozen or what goes on.
func (inv *invocation) announce(st app.Started, sp *spec.Spec) {
	switch {
	case st.Note != "":
		inv.p.note("%s", clean(st.Note))
	case sp != nil:
		parts := []string{fmt.Sprintf("run %s of %s: %s items", st.Run, sp.Job, report.Count(st.Items))}
		if st.Followers > 0 {
			parts = append(parts, report.Count(st.Followers)+" share another's call")
		}
		if st.Bad > 0 {
			parts = append(parts, report.Count(st.Bad)+" quarantined")
		}
		if p := st.Plan; p != nil && p.Cost != nil {
			parts = append(parts, fmt.Sprintf("about %s", report.USD(picoUSD(p.Cost.P50))))
		}
		inv.p.note("%s", strings.Join(parts, ", "))
	}
}

// conclude prints where a run stands when nothing of it goes on here, and
// returns the exit code: code, or, of a run that was over before, its own.
func (inv *invocation) conclude(ctx context.Context, a *app.App, id batch.RunID, code Code) (Code, error) {
	st, err := a.Status(ctx, string(id))
	if err != nil {
		return code, err
	}
	if code == CodeOK {
		code = codeOf(st)
	}
	if inv.g.Quiet && !inv.g.JSON && inv.g.Progress != "json" {
		return code, nil // a report reads all outcomes
	}
	rep, err := a.Report(ctx, string(id))
	if err != nil {
		return code, err
	}
	inv.summarise(rep, st)
	if inv.g.JSON {
		err = report.WriteSummary(inv.p.out, rep)
	}
	return code, err
}

// summarise prints the end of a run for people, and as the last line of a log.
func (inv *invocation) summarise(rep report.Run, st app.Status) {
	show := inv.newProgress()
	fr := frame{at: inv.sys.Now(), Status: st}
	if j, ok := show.(*jsonProgress); ok {
		sum := report.Summary(rep)
		j.emit(fr, event{Type: "summary", RunID: st.RunID, eventStatus: statusOf(fr), Summary: &sum})
		return
	}
	if inv.g.Quiet {
		return
	}
	var b strings.Builder
	rep.Next = inv.nextCommands(rep)
	if err := report.WriteText(&b, rep); err == nil {
		inv.p.note("%s", strings.TrimRight(inv.p.plain(b.String()), "\n"))
	}
	results, page := where(rep)
	if page != "" {
		inv.p.note("  %-9s %s", "report", page)
	}
	if st.State == batch.RunPaused {
		why := ""
		if st.Reason != "" {
			why = " (" + oneLine(st.Reason, 200) + ")"
		}
		inv.p.note("  paused%s; everything is kept, go on with: %s", why, inv.resumeHint(st.RunID))
	}
	if _, ok := show.(*plainProgress); ok {
		line := logfmt("summary", fr)
		if results != "" {
			line += " results=" + quoted(results)
		}
		if page != "" {
			line += " report=" + quoted(page)
		}
		inv.p.note("%s", line)
	}
}

// where finds the results file and the report page among a run's outputs.
func where(rep report.Run) (results, page string) {
	for _, o := range rep.Outputs {
		switch filepath.Base(o.Name) {
		case "results.jsonl":
			results = o.URI
			page = strings.TrimSuffix(o.URI, o.Name) + "report.html"
		case "report.html":
			page = o.URI
		}
	}
	return results, page
}

// nextCommands are those of the report, for this data directory.
func (inv *invocation) nextCommands(rep report.Run) []report.Command {
	cs := report.NextCommands(rep)
	flag := inv.dataFlag()
	for i := range cs {
		cs[i].Command = strings.Replace(cs[i].Command, "batchwright ", "batchwright"+flag+" ", 1)
	}
	return cs
}
