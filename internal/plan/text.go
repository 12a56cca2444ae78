package plan

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// WriteText writes the plan for a terminal of 80 columns.
func (p Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	for _, x := range []struct {
		name string
		c    Count
	}{{"items", p.Items}, {"duplicates", p.Duplicates}, {"from cache", p.CacheHits}, {"bad", p.Bad}, {"done", p.Done}, {"to call", p.ToCall}} {
		if x.c.N > 0 || x.name == "to call" {
			line("  %-10s%9s  %s", x.name, short(x.c.N), x.c.Accuracy)
		}
	}
	if p.ToCall.N > 0 {
		line("")
		line("  %-7s%12s%12s%12s%12s", "", "p10", "p50", "p90", "worst")
		tokens := func(name string, f Figure) {
			line("  %-7s%12s%12s%12s%12s  %s", name, short(f.P10), short(f.P50), short(f.P90), short(f.Worst), f.label())
		}
		tokens("input", p.Input)
		tokens("output", p.Output)
		tokens("total", p.Total)
		if c := p.Cost; c != nil {
			line("  %-7s%12s%12s%12s%12s  %s", "cost", dollars(c.P10), dollars(c.P50), dollars(c.P90), dollars(c.Worst), c.label())
		} else {
			line("  %-7s%12s  no price is known for %s/%s", "cost", "?", p.Provider, p.Model)
		}
		line("  %-7s%12s%12s%12s%12s  %s, %s", "time", "", clock(p.Time.P50), clock(p.Time.P90), "", p.Time.Accuracy, p.Time.BoundBy)
	}
	if o := p.OverItem; o != nil && o.N > 0 {
		line("")
		line("  budget.item_tokens keeps %s items from starting (%s)", short(o.N), o.Accuracy)
	}
	for i, x := range p.Fits {
		if i == 0 {
			line("")
		}
		for _, l := range x.lines() {
			line("  %s", l)
		}
	}
	line("")
	line("  %s", p.foot())
	_, err := io.WriteString(w, b.String())
	return err
}

// label is the accuracy of a row, and of its worst where that differs.
func (f Figure) label() string {
	if f.Accuracy == f.WorstAccuracy {
		return string(f.Accuracy)
	}
	bound := map[Accuracy]string{UpperBound: "bound", Estimate: "est."}[f.WorstAccuracy]
	if bound == "" {
		bound = string(f.WorstAccuracy)
	}
	return string(f.Accuracy) + ", worst " + bound
}

func (x Fit) lines() []string {
	limit, left := short(x.Limit), short(x.Left)
	show := short
	if x.Dollars {
		limit, left, show = dollars(x.Limit), dollars(x.Left), dollars
	}
	head := x.Name + " " + limit
	if x.Shared != nil {
		head += fmt.Sprintf(": %s spent, %s reserved, %s at risk, %s left", show(x.Spent), show(x.Reserved), show(x.AtRisk), show(x.Headroom))
	} else if x.Left < x.Limit {
		head += ", " + left + " left"
	}
	switch {
	case x.FitsWorst:
		return []string{head, "  enough even at worst"}
	case x.FitsP50:
		return []string{head, "  enough at p50, not at worst (" + string(x.Accuracy) + "); the run stops before it passes"}
	}
	return []string{head, fmt.Sprintf("  enough for about %s items, crossed near item %s (%s)",
		short(roundDown(x.Items)), short(roundDown(x.Crossing)), x.Accuracy)}
}

func (p Plan) foot() string {
	s := "Estimates, not a quote."
	if p.SampleSize > 0 && p.SampleSize < p.ToCall.N {
		s += " " + group(p.SampleSize) + " items measured."
	}
	if p.Cost != nil && p.PriceVersion != "" {
		s += " Prices: " + p.PriceVersion + "."
	}
	return s
}

// group writes 1234567 as 1,234,567.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// short is group where that fits a column, and a rounded number where not.
func short(n int64) string {
	if n < 1_000_000_000 {
		return group(n)
	}
	for _, u := range []struct {
		at   float64
		name string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}} {
		if float64(n) >= u.at {
			return strconv.FormatFloat(float64(n)/u.at, 'f', 2, 64) + u.name
		}
	}
	return group(n)
}

// dollars shows money with as many decimals as it takes to see it.
func dollars(pico int64) string {
	usd := float64(pico) / float64(money.USD)
	switch {
	case pico == 0:
		return "$0.00"
	case usd < 0.0001:
		return "<$0.0001"
	case usd < 0.1:
		return fmt.Sprintf("$%.4f", usd)
	case usd < 100_000:
		return fmt.Sprintf("$%.2f", usd)
	}
	return "$" + group(int64(usd))
}

// clock shows seconds as 45s, 12m 30s, 3h 05m, 2d 04h.
func clock(seconds int64) string {
	d := time.Duration(min(seconds, 1<<33)) * time.Second
	switch {
	case d < time.Minute:
		return fmt.Sprintf("~%ds", seconds)
	case d < time.Hour:
		return fmt.Sprintf("~%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("~%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("~%dd %02dh", int(d.Hours())/24, int(d.Hours())%24)
}
