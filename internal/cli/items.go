package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/report"
)

type itemsCommand struct {
	Ref   string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	State string `help:"Only items in this state: ${enum}." enum:",pending,ok,failed,skipped" default:"" placeholder:"STATE"`
	Code  string `help:"Only items that ended with this class, such as refused." placeholder:"CLASS"`
	Limit int    `help:"At most N items; 0 is all." default:"100" placeholder:"N"`
}

func (c *itemsCommand) Help() string {
	return "With --json one line per item. Inputs and outputs are not shown; see item --payload."
}

func (c *itemsCommand) Run(inv *invocation) error {
	if c.Code != "" && !batch.Class(c.Code).Known() {
		return unknownClass("--code", c.Code)
	}
	q := app.ItemQuery{State: batch.ItemState(c.State), Class: batch.Class(c.Code), Limit: c.Limit}
	return inv.reading("items", func(a *app.App) error {
		w := bufio.NewWriter(inv.p.out)
		n := 0
		err := a.Items(inv.ctx, c.Ref, q, func(it app.ItemRow) error {
			n++
			if inv.g.JSON {
				line, err := json.Marshal(it)
				if err != nil {
					return err
				}
				_, err = w.Write(append(line, '\n'))
				return err
			}
			if n == 1 {
				fmt.Fprintf(w, "%-8s %-24s %-16s %8s  %s\n", "state", "item", "class", "tokens", "message")
			}
			_, err := fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-8s %-24s %-16s %8d  %s", it.State, oneLine(it.ID, 60), it.Class, it.Tokens, oneLine(it.Message, 120)), " "))
			return err
		})
		if err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if n == 0 {
			inv.p.note("no item matches")
		}
		if c.Limit > 0 && n == c.Limit {
			inv.p.note("the first %s; --limit 0 lists all", countOf(int64(n), "item"))
		}
		return nil
	})
}

type itemCommand struct {
	Target  string `arg:"" name:"run/item" help:"RUN/ITEM; or RUN ITEM; or ITEM of the latest run."`
	ID      string `arg:"" optional:"" name:"item" help:"Item id."`
	Payload bool   `help:"Show the item's input and output too."`
}

func (c *itemCommand) Run(inv *invocation) error {
	ref, id := c.Target, c.ID
	if id == "" {
		var ok bool
		if ref, id, ok = strings.Cut(c.Target, "/"); !ok || !strings.HasPrefix(ref, "r_") && ref != "latest" {
			ref, id = "", c.Target
		}
	}
	return inv.reading("item", func(a *app.App) error {
		d, err := a.Item(inv.ctx, ref, id, c.Payload)
		if err != nil {
			return err
		}
		if inv.g.JSON {
			return inv.p.json(d)
		}
		inv.printItem(d)
		return nil
	})
}

func (inv *invocation) printItem(d app.ItemDetail) {
	p := inv.p
	sign := map[batch.ItemState]string{batch.ItemOK: "✓", batch.ItemFailed: "✗"}[d.Item.State]
	if sign == "" {
		sign = "→"
	}
	fmt.Fprintf(p.out, "%s %s/%s\n", p.sign(sign), d.Run, oneLine(d.Item.ID, 200))
	state := string(d.Item.State)
	if d.Item.Class != "" {
		state += " (" + string(d.Item.Class) + ")"
	}
	p.row("state", "%s", state)
	if d.Item.Message != "" {
		p.row("message", "%s", oneLine(d.Item.Message, 500))
	}
	if d.Item.CopyOf != "" {
		p.row("copy of", "%s, whose request is the same", oneLine(d.Item.CopyOf, 200))
	}
	if d.Item.Cached {
		p.row("cached", "%s", "an earlier run's answer to the same request")
	}
	source := fmt.Sprintf("item %d", d.Item.Ordinal+1)
	if d.Source != "" {
		source += fmt.Sprintf(", %s:%d", clean(d.Source), d.Line)
	}
	p.row("source", "%s", source)
	p.row("sha256", "%s", d.Payload)
	fmt.Fprintf(p.out, "  %-9s %s\n", "attempts", countOf(int64(len(d.Attempts)), "call"))
	for i, at := range d.Attempts {
		line := fmt.Sprintf("    %2d  %s  %-16s %8s", i+1, time.UnixMicro(at.StartedAt).Local().Format("2006-01-02 15:04:05.000 MST"), at.Class, report.Duration(time.Duration(at.LatencyUS)*time.Microsecond))
		if at.Usage.Total() > 0 {
			line += fmt.Sprintf("  %d in %d out", at.Usage.Input, at.Usage.Output)
		}
		if at.Charged.Pico > 0 {
			line += "  " + report.USD(at.Charged.Pico)
		}
		if at.Status > 0 {
			line += fmt.Sprintf("  http %d", at.Status)
		}
		if at.RequestID != "" {
			line += "  " + oneLine(at.RequestID, 60)
		}
		fmt.Fprintln(p.out, line)
	}
	for _, part := range []struct {
		name string
		body json.RawMessage
	}{{"input", d.Input}, {"output", d.Output}} {
		if part.body != nil {
			p.row(part.name, "%s", clean(string(part.body)))
		}
	}
}
