package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

type resumeCommand struct {
	Ref         string        `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	TokenBudget int64         `help:"New token budget of the whole run." placeholder:"N"`
	BudgetUSD   string        `name:"budget-usd" aliases:"usd" help:"New budget of the whole run in US dollars." placeholder:"5.00"`
	RetryBudget int64         `aliases:"retries" help:"New budget of retries of the whole run." placeholder:"N"`
	Deadline    time.Duration `help:"New deadline, from now." placeholder:"2h"`
	Detach      bool          `short:"d" help:"Go on in the background."`
}

func (c *resumeCommand) Help() string {
	return "Goes on with the run's own frozen spec and items; nothing that was paid for is paid again. A run that another process works on only takes the new limits."
}

func (c *resumeCommand) Run(inv *invocation) error {
	up := app.Raise{Tokens: c.TokenBudget, Retries: c.RetryBudget, Deadline: c.Deadline}
	if c.TokenBudget < 0 || c.RetryBudget < 0 || c.Deadline < 0 {
		return &batch.Error{Kind: batch.Usage, Op: "resume", Msg: "limits are above 0"}
	}
	if c.BudgetUSD != "" {
		pico, err := money.ParseUSD(c.BudgetUSD)
		if err != nil || pico == 0 {
			return &batch.Error{Kind: batch.Usage, Op: "--budget-usd", Ref: c.BudgetUSD, Msg: "is not an amount of US dollars", Hint: "write it as 5 or 0.25"}
		}
		up.Pico = pico
	}
	err := inv.asking(func(live Control) error {
		st, err := live.Resume(inv.ctx, c.Ref, up)
		if err != nil {
			return err
		}
		s, err := live.Status(inv.ctx, string(st.Run))
		if err != nil {
			return err
		}
		return inv.changed(s, fmt.Sprintf("batchwright%s watch %s", inv.dataFlag(), s.RunID))
	})
	if !errors.Is(err, errNobody) {
		return err
	}
	if c.Detach && !inv.detached() {
		return inv.detach()
	}
	return inv.working("resume "+c.Ref, func(ctx context.Context, a *app.App) (app.Started, error) { return a.Resume(ctx, c.Ref, up) }, nil)
}
