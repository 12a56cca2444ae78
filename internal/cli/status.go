package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/report"
)

type statusCommand struct {
	Ref   string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	All   bool   `help:"List all runs, newest first."`
	Job   string `help:"With --all: only runs of this job." placeholder:"JOB"`
	Limit int    `help:"With --all: at most N runs." default:"50" placeholder:"N"`
}

func (c *statusCommand) Run(inv *invocation) error {
	if c.All && c.Ref != "" {
		return &batch.Error{Kind: batch.Usage, Msg: "--all and a run contradict each other"}
	}
	return inv.looking("status", func(ctl Control) error {
		if c.All || c.Job != "" {
			return c.list(inv, ctl)
		}
		s, err := ctl.Status(inv.ctx, c.Ref)
		if err != nil {
			return err
		}
		if inv.g.JSON {
			return inv.p.json(s)
		}
		inv.printStatus(s)
		return nil
	})
}

func (c *statusCommand) list(inv *invocation, ctl Control) error {
	ss, err := ctl.List(inv.ctx, c.Job, c.Limit)
	if err != nil {
		return err
	}
	if inv.g.JSON {
		if ss == nil {
			ss = []app.Status{}
		}
		return inv.p.json(map[string][]app.Status{"runs": ss})
	}
	if len(ss) == 0 {
		inv.p.note("there are no runs yet")
		return nil
	}
	fmt.Fprintf(inv.p.out, "%-16s %-17s %-24s %9s %9s %9s %10s  %s\n", "run", "state", "job", "items", "ok", "failed", "cost", "started")
	for _, s := range ss {
		fmt.Fprintf(inv.p.out, "%-16s %-17s %-24s %9d %9d %9d %10s  %s\n", s.RunID, s.State, oneLine(s.Job, 24), s.Items.Total, s.Items.OK,
			s.Items.Failed, shownCost(s), shownTime(s.StartedAt))
	}
	return nil
}

// printStatus prints where a run stands as data.
func (inv *invocation) printStatus(s app.Status) {
	p := inv.p
	fmt.Fprintf(p.out, "%s %s  %s\n", p.sign(stateSign(s.State)), s.RunID, s.Job)
	state := string(s.State)
	if s.Target != "" && !s.State.Ended() {
		state += ", ending as " + string(s.Target)
	}
	if s.Reason != "" {
		state += " (" + oneLine(s.Reason, 200) + ")"
	}
	p.row("state", "%s", state)
	p.row("items", "%s", p.plain(fmt.Sprintf("%s of %s done · ok %s · failed %s · skipped %s · left %s", report.Count(s.Items.Total-s.Items.Pending),
		report.Count(s.Items.Total), report.Count(s.Items.OK), report.Count(s.Items.Failed), report.Count(s.Items.Skipped), report.Count(s.Items.Pending))))
	p.row("cost", "%s", p.plain(statusCost(s)))
	p.row("tokens", "%s", p.plain(statusTokens(s)))
	for _, b := range s.Budgets {
		p.row("shares", "%s", p.plain(b.Name+" · "+budgetLine(b)))
	}
	calls := fmt.Sprintf("%s · %s retries", report.Count(s.Attempts), report.Count(s.Retries))
	if s.Unknown > 0 {
		calls += fmt.Sprintf(" · %s of unknown fate", report.Count(s.Unknown))
	}
	p.row("calls", "%s", p.plain(calls))
	if x := s.Pacing; x != nil {
		line := fmt.Sprintf("%d in flight · %d waiting · limit %d of %d", x.InFlight, x.Waiting, x.Limit, x.Max)
		if x.Why != "" {
			line += " · " + oneLine(x.Why, 60)
		}
		p.row("pace", "%s", p.plain(line))
	}
	p.row("started", "%s", shownTime(s.StartedAt))
	if s.EndedAt != nil {
		p.row("ended", "%s", shownTime(s.EndedAt))
	}
	if s.ActiveMS > 0 {
		p.row("active", "%s", report.Duration(time.Duration(s.ActiveMS)*time.Millisecond))
	}
	if s.Deadline != nil {
		p.row("deadline", "%s", shownTime(s.Deadline))
	}
	p.row("output", "%s", s.Output)
	inv.hint(s)
}

// hint says what can be done with a run that stands still.
func (inv *invocation) hint(s app.Status) {
	f := inv.dataFlag()
	switch {
	case s.State == batch.RunStoppedBudget && s.StoppedBy != "":
		inv.p.note("raise budget %s in %s, or wait until it renews, and go on: batchwright%s resume %s", s.StoppedBy, inv.configFile(), f, s.RunID)
	case s.State == batch.RunStoppedBudget:
		inv.p.note("go on with a larger budget: batchwright%s resume %s --token-budget N", f, s.RunID)
	case s.State == batch.RunPartial || s.State == batch.RunFailed && s.Items.Failed > 0:
		inv.p.note("see the failed items: batchwright%s items %s --state failed", f, s.RunID)
	case s.State.Resumable() && !s.Live:
		inv.p.note("nobody works on it now; go on: batchwright%s resume %s", f, s.RunID)
	}
}

func stateSign(s batch.RunState) string {
	switch s {
	case batch.RunSucceeded:
		return "✓"
	case batch.RunFailed, batch.RunCancelled, batch.RunRejected:
		return "✗"
	case batch.RunPartial, batch.RunStoppedBudget, batch.RunDeadlineExceeded, batch.RunPaused:
		return "!"
	}
	return "→"
}

func statusCost(s app.Status) string {
	if !s.Cost.Known {
		return "no price is known for this model"
	}
	line := report.USD(s.Cost.Pico)
	if b := s.Budget.PicoUSD; b != nil {
		line += " of " + report.USD(money.PicoUSD(*b))
	}
	if s.Cost.AtRisk > 0 {
		line += " · " + report.USD(s.Cost.AtRisk) + " of it at risk"
	}
	return line
}

func statusTokens(s app.Status) string {
	parts := []string{report.Count(s.Tokens.Total), report.Count(s.Tokens.Input) + " in", report.Count(s.Tokens.Output) + " out"}
	if b := s.Budget.Tokens; b != nil {
		parts = append(parts, fmt.Sprintf("charged %s of %s", report.Count(s.Budget.Spent.Tokens+s.Budget.AtRisk.Tokens), report.Count(*b)))
	}
	return strings.Join(parts, " · ")
}

func shownCost(s app.Status) string {
	if !s.Cost.Known {
		return "-"
	}
	return report.USD(s.Cost.Pico)
}

// shownTime is a time in the zone of whoever looks, which is named.
func shownTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}
