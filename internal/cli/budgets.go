package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/report"
)

type budgetsCommand struct {
	Apply bool `help:"Read config.yaml again and put it in force, for runs that go on as well."`
}

func (c *budgetsCommand) Help() string {
	return "Budgets that runs share stand in config.yaml of the data directory. It is read when a process begins to work there; --apply makes the one that works now read it again. A higher limit opens what waits for it; a lower one, even below what is spent, only keeps calls from starting."
}

func (c *budgetsCommand) Run(inv *invocation) error {
	f := func(ctl Control) error {
		bs, err := ctl.Budgets(inv.ctx, c.Apply)
		if err != nil {
			return err
		}
		return inv.printBudgets(bs)
	}
	if c.Apply {
		return inv.steering("budgets", f)
	}
	return inv.looking("budgets", f)
}

func (inv *invocation) printBudgets(bs []app.BudgetStatus) error {
	if inv.g.JSON {
		return inv.p.json(map[string][]app.BudgetStatus{"budgets": bs})
	}
	if len(bs) == 0 {
		inv.p.note("no budget is shared; they stand in %s", inv.configFile())
		return nil
	}
	for _, b := range bs {
		name := b.Name
		if b.Job != "" {
			name += " of " + oneLine(b.Job, 40)
		}
		fmt.Fprintf(inv.p.out, "%s\n", name)
		inv.p.row("now", "%s", inv.p.plain(budgetLine(b)))
	}
	return nil
}

func (inv *invocation) configFile() string { return filepath.Join(inv.g.DataDir, "config.yaml") }

// budgetLine is how a shared budget stands.
func budgetLine(b app.BudgetStatus) string {
	parts := []string{string(b.Period)}
	if b.Label != "" && b.Period != batch.PeriodTotal {
		parts[0] += " " + b.Label
	}
	if b.Unused {
		parts = append(parts, "not drawn on yet")
	}
	add := func(limit, left *int64, spent, reserved, risk int64, show func(int64) string) {
		if limit == nil {
			return
		}
		s := fmt.Sprintf("%s of %s spent", show(spent), show(*limit))
		if reserved > 0 {
			s += ", " + show(reserved) + " reserved"
		}
		if risk > 0 {
			s += ", " + show(risk) + " at risk"
		}
		parts = append(parts, s+", "+show(*left)+" left")
	}
	add(b.PicoUSD, b.HeadroomPico, int64(b.Spent.Pico), int64(b.Reserved.Pico), int64(b.AtRisk.Pico),
		func(n int64) string { return report.USD(money.PicoUSD(n)) })
	add(b.Tokens, b.HeadroomTokens, b.Spent.Tokens, b.Reserved.Tokens, b.AtRisk.Tokens,
		func(n int64) string { return report.Count(n) + " tokens" })
	if b.Renews != nil {
		parts = append(parts, "renews "+b.Renews.Format("2006-01-02 15:04 MST"))
	}
	return strings.Join(parts, " · ")
}
