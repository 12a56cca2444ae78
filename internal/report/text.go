package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/batchwright/batchwright/internal/money"
)

// WriteText writes the summary for a terminal: at most 25 lines, no colours, no
// control characters whatever a provider said.
func WriteText(w io.Writer, r Run) error {
	b := bufio.NewWriter(w)
	v := VerdictOf(r)
	fmt.Fprintf(b, "%s %s  %s  %s\n", v.Symbol, strings.ToUpper(v.Word), oneLine(r.Job, 60), oneLine(string(r.ID), 40))
	fmt.Fprintf(b, "%s\n\n", v.Sentence)
	for _, l := range textFacts(r) {
		fmt.Fprintf(b, "  %-9s %s\n", l.Name, l.Value)
	}
	const most = 3
	for i, g := range r.Errors {
		name := ""
		if i == 0 {
			name = "failed"
		}
		if i == most {
			rest := int64(0)
			for _, g := range r.Errors[most:] {
				rest += g.Count
			}
			fmt.Fprintf(b, "  %-9s %s for other reasons\n", name, Count(rest))
			break
		}
		fmt.Fprintf(b, "  %-9s %s × %s: %s\n", name, Count(g.Count), className(g.Class), oneLine(g.Message, 80))
	}
	for i, o := range r.Outputs[:min(len(r.Outputs), 4)] {
		name := ""
		if i == 0 {
			name = "outputs"
		}
		where := o.URI
		if where == "" {
			where = o.Name
		}
		fmt.Fprintf(b, "  %-9s %s (%s, %s)\n", name, oneLine(where, 120), plural(o.Rows, "row"), Bytes(o.Bytes))
	}
	for i, c := range NextCommands(r) {
		if i == 3 {
			break
		}
		name := ""
		if i == 0 {
			name = "next"
		}
		fmt.Fprintf(b, "  %-9s %s  # %s\n", name, oneLine(c.Command, 200), oneLine(c.Why, 80))
	}
	return b.Flush()
}

func textFacts(r Run) []fact {
	i := r.Items
	items := fmt.Sprintf("✓ %s ok · ✗ %s failed", Count(i.OK), Count(i.Failed))
	for _, part := range []struct {
		n    int64
		word string
	}{{i.Skipped, "⊘ %s skipped"}, {i.Pending, "○ %s left"}, {i.Copies + i.Cached, "%s not paid again"}} {
		if part.n > 0 {
			items += " · " + fmt.Sprintf(part.word, Count(part.n))
		}
	}
	out := []fact{{"items", items}, {"cost", textCost(r)}}
	t := r.Tokens
	tokens := fmt.Sprintf("%s · %s in · %s out", Count(t.Total), Count(t.Input), Count(t.Output))
	if t.Cached > 0 {
		tokens += fmt.Sprintf(" · %s of the input cached", Share(t.Cached, t.Input))
	}
	if b := r.Budget.Tokens; b > 0 {
		tokens += fmt.Sprintf(" · budget %s", Count(b))
	}
	calls := fmt.Sprintf("%s · %s", Count(r.Attempts), many(r.Retries, "retry", "retries"))
	if r.ExtraCalls > 0 {
		calls += fmt.Sprintf(" · %s of unknown fate", Count(r.ExtraCalls))
	}
	out = append(out, fact{"tokens", tokens}, fact{"calls", calls})
	if e := r.elapsed(); e > 0 {
		took := Duration(e)
		if ms := e.Milliseconds(); ms > 0 && i.Done() > 0 {
			took += fmt.Sprintf(" · %s items/s", rate(i.Done(), ms))
		}
		if h := r.Latency; h.Count() > 0 {
			took += fmt.Sprintf(" · p50 %s · p95 %s · p99 %s", micros(h.Quantile(500)), micros(h.Quantile(950)), micros(h.Quantile(990)))
		}
		out = append(out, fact{"time", took})
	}
	if e := r.Evaluation; e != nil && e.Compared > 0 {
		out = append(out, fact{"right", fmt.Sprintf("%s · %s of %s answers", Share(e.Right, e.Compared), Count(e.Right), Count(e.Compared))})
	}
	return out
}

func textCost(r Run) string {
	if r.unpriced() {
		return "no price is known for this model"
	}
	s := USD(r.Cost.Total())
	if b := r.Budget.Pico; b > 0 {
		s += fmt.Sprintf(" · %s of the budget of %s", Share(int64(r.Cost.Total()), b), USD(money.PicoUSD(b)))
	}
	if r.Cost.AtRisk > 0 {
		s += fmt.Sprintf(" · %s of it at risk", USD(r.Cost.AtRisk))
	}
	return s
}

func many(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + more
}
