package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// plan returns the planned number of a row, 0 without one.
func (r Run) plan(key string) int64 {
	for _, p := range r.Plan {
		if p.Key == key {
			return p.Planned
		}
	}
	return 0
}

// costScale is what the cost chart is drawn against.
type costScale struct {
	axes
	settled, worst []point // cumulative, one more than buckets
	doneMS         int64   // where the series ends
	total, charged int64
	projected      int64 // at the right edge; 0 for none
	planned        int64 // at the right edge or where the plan ends
	planEndMS      int64
	budget         int64 // 0 when there is none or it lies far above
	budgetFar      bool
}

// costChart draws cumulative money over time with everything it is judged by.
func costChart(r Run) (Chart, bool) {
	if len(r.Series) == 0 || r.Cost.Total() <= 0 {
		return Chart{}, false
	}
	s := newCostScale(r)
	c := Chart{ID: "cost", Title: "Cost over time", Head: []string{"Until", "Settled", "At risk", "Settled so far"}}
	c.Note = costNote(r, s)
	d := newDrawing("cost", c.Title, c.Note, halfW, halfH)
	s.grid(d, r.Series[0].Start, usdTick)
	d.area("fill", s.settled, plotBottom)
	if r.Cost.AtRisk > 0 {
		d.poly("thin", s.worst)
		c.Key = append(c.Key, KeyEntry{"k-thin", "with calls of unknown fate at their worst case"})
	}
	if s.planned > 0 {
		c.Key = append(c.Key, KeyEntry{"k-plan", "plan"})
	}
	end := point{s.x(s.doneMS), s.y(s.charged)}
	if s.projected > 0 {
		d.line("project", end.x, end.y, plotR, s.y(s.projected))
		c.Key = append(c.Key, KeyEntry{"k-project", "projection at the mean so far"})
	}
	if s.budget > 0 {
		d.line("budget", plotL, s.y(s.budget), plotR, s.y(s.budget))
		d.text("mark-budget e", plotR, s.y(s.budget)-50, "budget "+USD(money.PicoUSD(s.budget)))
	}
	d.poly("main", s.settled)
	last := s.settled[len(s.settled)-1]
	d.circle("dot", last.x, last.y, 40)
	if s.planned > 0 {
		d.line("plan", plotL, plotBottom, s.x(s.planEndMS), s.y(s.planned))
	}
	c.SVG = d.done()
	if len(c.Key) > 0 {
		c.Key = append([]KeyEntry{{"k-main", "settled"}}, c.Key...)
	}
	sum := money.PicoUSD(0)
	for _, b := range r.Series {
		sum += b.Cost
		c.Rows = append(c.Rows, []string{stamp(b.End()), USD(b.Cost), USD(b.AtRisk), USD(sum)})
	}
	return c, true
}

// usdTick is money on an axis: no digits that say nothing.
func usdTick(v int64) string {
	s := USD(money.PicoUSD(v))
	for i := strings.IndexByte(s, '.'); len(s) > i+3 && s[len(s)-1] == '0'; {
		s = s[:len(s)-1]
	}
	return s
}

func newCostScale(r Run) costScale {
	s := costScale{doneMS: span(r.Series)}
	s.spanMS = max(s.doneMS, 1)
	settled, worst := int64(0), int64(0)
	for _, b := range r.Series {
		settled = plus(settled, int64(b.Cost))
		worst = plus(worst, plus(int64(b.Cost), int64(b.AtRisk)))
	}
	s.total, s.charged = settled, worst
	if p, ok := Projection(r); ok {
		paid := max(r.Items.Done()-r.Items.Copies-r.Items.Cached, 1)
		whole := plus(s.doneMS, scale(s.doneMS, r.Items.Pending, paid))
		s.spanMS = max(min(whole, 2*s.doneMS), 1)
		s.projected = plus(worst, scale(max(int64(p)-worst, 0), s.spanMS-s.doneMS, max(whole-s.doneMS, 1)))
	}
	if cost, dur := r.plan(PlanCost), r.plan(PlanDuration); cost > 0 && dur > 0 {
		s.spanMS = max(s.spanMS, min(dur, s.doneMS*3/2))
		s.planEndMS = min(dur, s.spanMS)
		s.planned = scale(cost, s.planEndMS, dur)
	}
	high := max(worst, s.projected, s.planned)
	if b := r.Budget.Pico; b > 0 {
		if b <= high || b/3 <= high {
			s.budget, high = b, max(high, b)
		} else {
			s.budgetFar = true
		}
	}
	s.top = roundTop(plus(high, high/20))
	s.settled, s.worst = []point{{s.x(0), s.y(0)}}, []point{{s.x(0), s.y(0)}}
	settled, worst = 0, 0
	for _, b := range r.Series {
		settled = plus(settled, int64(b.Cost))
		worst = plus(worst, plus(int64(b.Cost), int64(b.AtRisk)))
		x := s.x(b.End().Sub(r.Series[0].Start).Milliseconds())
		s.settled = append(s.settled, point{x, s.y(settled)})
		s.worst = append(s.worst, point{x, s.y(worst)})
	}
	return s
}

func costNote(r Run, s costScale) string {
	n := USD(r.Cost.Settled) + " settled"
	if r.Cost.AtRisk > 0 {
		n += fmt.Sprintf(" and at most %s for calls of unknown fate", USD(r.Cost.AtRisk))
	}
	if b := money.PicoUSD(r.Budget.Pico); b > 0 {
		n += fmt.Sprintf(", %s of the budget of %s", Share(int64(r.Cost.Total()), int64(b)), USD(b))
		if s.budgetFar {
			n += " (above the chart)"
		}
	}
	if p, ok := Projection(r); ok {
		n += fmt.Sprintf("; the whole run costs about %s at the mean so far", USD(p))
		if b := r.Budget.Pico; b > 0 && int64(p) > b {
			n += ", more than the budget"
		}
	}
	return n + "."
}

// tokenChart draws the token budget burning down or, without one, tokens used.
func tokenChart(r Run) (Chart, bool) {
	if len(r.Series) == 0 || r.Tokens.Total <= 0 {
		return Chart{}, false
	}
	budget := r.Budget.Tokens
	c := Chart{ID: "tokens", Title: "Tokens used", Head: []string{"Until", "Input", "of it cached", "Output", "Charged so far"}}
	if budget > 0 {
		c.Title = "Token budget left"
		c.Head = append(c.Head, "Left")
	}
	c.Note = tokenNote(r)
	used := int64(0)
	for _, b := range r.Series {
		used = plus(used, b.Charged)
	}
	a := axes{spanMS: max(span(r.Series), 1), top: roundTop(max(used, budget))}
	if budget > 0 {
		a.top = max(budget, 2)
	}
	d := newDrawing("tokens", c.Title, c.Note, halfW, halfH)
	a.grid(d, r.Series[0].Start, Short)
	value := func(u int64) int64 {
		if budget > 0 {
			return max(budget-u, 0)
		}
		return u
	}
	pts, sum := []point{{a.x(0), a.y(value(0))}}, int64(0)
	for _, b := range r.Series {
		sum = plus(sum, b.Charged)
		pts = append(pts, point{a.x(b.End().Sub(r.Series[0].Start).Milliseconds()), a.y(value(sum))})
		row := []string{stamp(b.End()), Count(b.Input), Count(b.Cached), Count(b.Output), Count(sum)}
		if budget > 0 {
			row = append(row, Count(budget-sum))
		}
		c.Rows = append(c.Rows, row)
	}
	d.area("fill", pts, plotBottom)
	d.poly("main", pts)
	last := pts[len(pts)-1]
	d.circle("dot", last.x, last.y, 40)
	c.SVG = d.done()
	return c, true
}

func tokenNote(r Run) string {
	t := r.Tokens
	n := ""
	if b := r.Budget.Tokens; b > 0 {
		used := r.Budget.Spent.Tokens + r.Budget.AtRisk.Tokens
		n = fmt.Sprintf("%s of %s tokens used, %s left. ", Count(used), Count(b), Share(max(b-used, 0), b))
	} else {
		n = fmt.Sprintf("%s tokens used. ", Count(t.Total))
	}
	n += fmt.Sprintf("Input %s (%s of it cached), output %s", Share(t.Input, t.Total), Share(t.Cached, t.Input), Share(t.Output, t.Total))
	if t.Reasoning > 0 {
		n += fmt.Sprintf(" (%s of it reasoning)", Share(t.Reasoning, t.Output))
	}
	return n + "."
}

// bucketWidth names the span of one column: "1m", "5s".
func bucketWidth(s []Bucket) string {
	if len(s) == 0 {
		return ""
	}
	d := time.Duration(s[0].WidthMS) * time.Millisecond
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
