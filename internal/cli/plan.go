package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/spec"
)

type planCommand struct {
	specFlags
	DetailedExitcode bool `help:"Exit 20 when there is something to call, 0 when there is nothing."`
}

func (c *planCommand) Help() string {
	return "Reads the input, measures up to 200 items and says how many calls, tokens, dollars and minutes a run takes, with how far each figure can be trusted. Spends nothing and keeps nothing. Exit code 5 when the budget does not allow the run."
}

func (c *planCommand) Run(inv *invocation) error {
	sp, err := c.spec(inv)
	if err != nil {
		return err
	}
	return inv.plan(sp, c.DetailedExitcode, false)
}

func (inv *invocation) plan(sp *spec.Spec, detailed, allowPartial bool) error {
	p, err := inv.makePlan(sp)
	if err != nil {
		return err
	}
	refusal := plan.Decide(p, allowPartial)
	if inv.g.JSON {
		err = inv.p.json(planJSON{Job: sp.Job, Plan: p, Allowed: refusal == nil, Refusal: batch.HintOf(refusal)})
	} else {
		fmt.Fprintf(inv.p.out, "plan of %s (%s/%s)\n", sp.Job, sp.Task.Provider, sp.Task.Model)
		err = p.WriteText(inv.p.out)
	}
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return refusal
	case detailed && p.ToCall.N > 0:
		return exitWith(CodeChanges)
	}
	return nil
}

type planJSON struct {
	Job string `json:"job"`
	plan.Plan
	Allowed bool   `json:"allowed"`           // the budget lets the run start
	Refusal string `json:"refusal,omitempty"` // what to do when it does not
}

// makePlan plans with the history of the data directory; where there is none
// yet, in a folder that is removed again.
func (inv *invocation) makePlan(sp *spec.Spec) (p plan.Plan, err error) {
	if err := inv.checkKey(sp); err != nil {
		return p, err
	}
	d, derr := datadir.Open(inv.g.DataDir, false)
	mode, dir := ModeRead, inv.g.DataDir
	if derr != nil || !d.HasStore() {
		if derr != nil && batch.KindOf(derr) != batch.NotFound {
			return p, derr
		}
		if dir, err = os.MkdirTemp("", "batchwright-plan-"); err != nil {
			return p, &batch.Error{Kind: batch.Unavailable, Op: "plan", Err: err}
		}
		mode = ModeWrite
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, err := inv.sys.Open(inv.ctx, OpenOptions{DataDir: dir, Mode: mode, Command: "plan", Log: inv.p.err, Verbose: inv.g.Verbose, Config: inv.configFile()})
	if err != nil {
		return p, err
	}
	p, err = s.App.Plan(inv.ctx, sp)
	return p, errors.Join(err, s.Close(context.WithoutCancel(inv.ctx)))
}
