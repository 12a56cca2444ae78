package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/report"
)

// verdict says what came of it, and proves it.
func (d *demonstration) verdict(run batch.RunID, items int, took time.Duration) error {
	p := d.inv.p
	return d.inv.reading("demo", func(a *app.App) error {
		s, err := a.Status(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		rep, err := a.Report(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		v, err := a.Verify(d.inv.ctx, string(run))
		if err != nil {
			return err
		}
		results, page := where(rep)
		lines, err := countLines(results)
		if err != nil {
			return &batch.Error{Kind: batch.Internal, Op: "demo", Ref: results, Err: err}
		}
		whole := v.OK && s.Items.OK+s.Items.Failed == int64(items) && lines == s.Items.OK && s.State == batch.RunSucceeded
		p.note("%s", p.plain(fmt.Sprintf("done   %s: %d ok · %d failed as they must (%s) · %s of %s · %s", s.State, s.Items.OK, s.Items.Failed,
			classesOf(rep), report.USD(s.Cost.Pico), shownBudget(s), report.Duration(took))))
		p.note("%s lost   0 results: %d of %d reviews have one outcome, results.jsonl has %d lines", p.sign(good(whole)), s.Items.OK+s.Items.Failed, items, lines)
		twice := paidTwice(rep)
		whole = whole && twice == 0
		p.note("%s twice  %d calls may have been on the wire when the process died, are charged at their worst case and were made again; %d others", p.sign(good(twice == 0)), s.Unknown, twice)
		p.note("%s verify %d outcomes, %d attempts and every token and dollar agree with each other and with the input", p.sign(good(v.OK)), v.Outcomes, v.Attempts)
		for _, f := range v.Findings {
			p.warn("%s %s: %s", f.Invariant, oneLine(f.Ref, 100), oneLine(f.Message, 300))
		}
		if d.inv.g.JSON {
			err = p.json(map[string]any{"run_id": s.RunID, "state": s.State, "ok": whole, "verified": v.OK, "items": s.Items, "unknown_calls": s.Unknown,
				"report": page, "results": results})
		} else {
			fmt.Fprintln(p.out, page)
		}
		flag := " --data-dir " + shellWord(d.inv.g.DataDir)
		p.note("next   batchwright%s items --state failed      the failures, then: item ID", flag)
		p.note("       batchwright%s report                    the numbers, as text", flag)
		p.note("       batchwright init --template summarize       your own data; then name a provider and a key")
		if err == nil && !whole {
			err = &batch.Error{Kind: batch.Internal, Op: "demo", Ref: string(run), Msg: "the run is not as it must be", Hint: "batchwright" + flag + " verify"}
		}
		return err
	})
}

// paidTwice counts answers that were paid for and are no item's outcome,
// beyond those whose fate a dead process took with it.
func paidTwice(rep report.Run) int64 {
	answered := rep.Attempts
	for _, b := range rep.Series {
		for _, c := range b.ByClass {
			answered -= c.Count
		}
	}
	return answered - (rep.Items.OK - rep.Items.Copies - rep.Items.Cached)
}

func good(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

func classesOf(rep report.Run) string {
	var parts []string
	for _, g := range rep.Errors {
		parts = append(parts, fmt.Sprintf("%d %s", g.Count, g.Class))
	}
	return strings.Join(parts, ", ")
}

func shownBudget(s app.Status) string {
	if s.Budget.PicoUSD == nil {
		return "no budget"
	}
	return "a budget of " + report.USD(picoUSD(*s.Budget.PicoUSD))
}

func countLines(path string) (int64, error) {
	b, err := os.ReadFile(path)
	return int64(bytes.Count(b, []byte{'\n'})), err
}
