package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/report"
)

type retryCommand struct {
	Ref       string   `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Failed    bool     `help:"All failed items."`
	ErrorCode string   `help:"Failed items of one class, such as refused or invalid_output." placeholder:"CLASS"`
	Item      []string `help:"One item; can be given more than once." placeholder:"ID" sep:"none"`
	Plan      bool     `help:"Only say how many items and what they cost."`
	Detach    bool     `short:"d" help:"Go on in the background."`
}

func (c *retryCommand) Help() string {
	return "Failures stay until a new outcome replaces them, and their attempts stay in the ledger. Needs --yes where there is nobody to ask."
}

func (c *retryCommand) request() (app.RetryRequest, error) {
	if !c.Failed && c.ErrorCode == "" && len(c.Item) == 0 {
		return app.RetryRequest{}, &batch.Error{Kind: batch.Usage, Op: "retry", Msg: "say which items: --failed, --error-code CLASS or --item ID"}
	}
	q := app.RetryRequest{Class: batch.Class(c.ErrorCode), Items: c.Item}
	if c.ErrorCode != "" && !q.Class.Known() {
		return q, unknownClass("--error-code", c.ErrorCode)
	}
	return q, nil
}

func (c *retryCommand) Run(inv *invocation) error {
	q, err := c.request()
	if err != nil {
		return err
	}
	var p app.RetryPlan
	err = inv.reading("retry", func(a *app.App) error {
		count := q
		count.DryRun = true
		p, _, err = a.Retry(inv.ctx, c.Ref, count)
		return err
	})
	if err != nil {
		return err
	}
	if c.Plan || p.Items == 0 {
		return c.printPlan(inv, p)
	}
	if err := inv.confirm(fmt.Sprintf("try %s again, about %s", countOf(p.Items, "item"), report.USD(p.Cost))); err != nil {
		return err
	}
	if c.Detach && !inv.detached() {
		return inv.detach()
	}
	return inv.working("retry "+string(p.RunID), func(ctx context.Context, a *app.App) (app.Started, error) {
		_, st, err := a.Retry(ctx, string(p.RunID), q)
		return st, err
	}, nil)
}

func (c *retryCommand) printPlan(inv *invocation, p app.RetryPlan) error {
	if inv.g.JSON {
		return inv.p.json(p)
	}
	fmt.Fprintf(inv.p.out, "%s  %s to try again, about %s\n", p.RunID, countOf(p.Items, "item"), report.USD(p.Cost))
	return nil
}

// confirm asks before money is spent. Where there is nobody to ask, --yes is
// the answer or the command is refused.
func (inv *invocation) confirm(what string) error {
	if inv.g.Yes || inv.detached() { // the foreground half has asked
		inv.p.note("%s", what)
		return nil
	}
	if !inv.sys.StdinTTY || !inv.sys.StderrTTY {
		return &batch.Error{Kind: batch.Usage, Msg: "would " + what + ", and there is nobody to ask", Hint: "add --yes"}
	}
	fmt.Fprintf(inv.p.err, "%s? [y/N] ", what)
	line, err := bufio.NewReader(inv.sys.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(line)); err == nil && (a == "y" || a == "yes") {
		return nil
	}
	return &batch.Error{Kind: batch.Cancelled, Msg: "nothing was done"}
}

func unknownClass(flag, value string) error {
	names := make([]string, 0, len(batch.Classes()))
	for _, c := range batch.Classes() {
		names = append(names, string(c))
	}
	return &batch.Error{Kind: batch.Usage, Op: flag, Ref: value, Msg: "is no class of failure", Hint: "one of " + strings.Join(names, " ")}
}

func countOf(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return report.Count(n) + " " + noun + "s"
}
