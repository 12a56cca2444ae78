package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// Flip is an item whose outcome differs between two runs: its state or class,
// or with both ok, "output" for another answer.
type Flip struct {
	ID     string `json:"id"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Change is something the two runs were made from that differs.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// DiffRow is one number of both runs.
type DiffRow struct {
	Name   string `json:"name"`
	Unit   Unit   `json:"unit"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// FlipCount counts flips of one kind.
type FlipCount struct {
	Before   string   `json:"before"`
	After    string   `json:"after"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples"` // item ids, at most three
}

// Difference is how two runs compare: b against a.
type Difference struct {
	Before  batch.RunID `json:"before"`
	After   batch.RunID `json:"after"`
	Changes []Change    `json:"changes"`
	Rows    []DiffRow   `json:"rows"`
	Errors  []DiffRow   `json:"errors"` // failed items by class
	Flips   []FlipCount `json:"flips"`  // largest first
}

// Diff compares b with a. flips are the items whose outcome differs and spec
// the changed fields of the spec, as far as the caller knows them.
func Diff(a, b Run, flips []Flip, spec []Change) Difference {
	d := Difference{Before: a.ID, After: b.ID, Flips: countFlips(flips), Errors: errorRows(a, b)}
	for _, c := range []Change{
		{"job", a.Job, b.Job}, {"provider", a.Provider, b.Provider}, {"model", a.Model, b.Model}, {"prices", a.PriceVersion, b.PriceVersion},
		{"spec", a.SpecDigest, b.SpecDigest}, {"manifest", a.ManifestDigest, b.ManifestDigest},
	} {
		if c.Before != c.After {
			d.Changes = append(d.Changes, c)
		}
	}
	d.Changes = append(d.Changes, spec...)
	perItem := func(r Run) int64 {
		if r.Items.OK == 0 {
			return 0
		}
		return int64(r.Cost.Total()) / r.Items.OK
	}
	d.Rows = []DiffRow{
		{"items", UnitCount, a.Items.Total, b.Items.Total}, {"ok", UnitCount, a.Items.OK, b.Items.OK},
		{"failed", UnitCount, a.Items.Failed, b.Items.Failed}, {"not done", UnitCount, a.Items.Pending + a.Items.Skipped, b.Items.Pending + b.Items.Skipped},
		{"cost", UnitPicoUSD, int64(a.Cost.Total()), int64(b.Cost.Total())}, {"cost an ok item", UnitPicoUSD, perItem(a), perItem(b)},
		{"tokens in", UnitTokens, a.Tokens.Input, b.Tokens.Input}, {"tokens out", UnitTokens, a.Tokens.Output, b.Tokens.Output},
		{"calls", UnitCount, a.Attempts, b.Attempts}, {"retries", UnitCount, a.Retries, b.Retries},
		{"time", UnitMillis, a.elapsed().Milliseconds(), b.elapsed().Milliseconds()},
		{"latency p50", UnitMicros, a.Latency.Quantile(500), b.Latency.Quantile(500)},
		{"latency p95", UnitMicros, a.Latency.Quantile(950), b.Latency.Quantile(950)},
		{"latency p99", UnitMicros, a.Latency.Quantile(990), b.Latency.Quantile(990)},
	}
	if a.Evaluation != nil && b.Evaluation != nil {
		d.Rows = append(d.Rows, DiffRow{"right", UnitPPM, accuracy(a), accuracy(b)})
	}
	return d
}

func accuracy(r Run) int64 {
	return scale(r.Evaluation.Right, 1_000_000, r.Evaluation.Compared)
}

func errorRows(a, b Run) []DiffRow {
	sums := map[batch.Class][2]int64{}
	for i, r := range []Run{a, b} {
		for _, g := range r.Errors {
			s := sums[g.Class]
			s[i] += g.Count
			sums[g.Class] = s
		}
	}
	var out []DiffRow
	for c, s := range sums {
		out = append(out, DiffRow{className(c), UnitCount, s[0], s[1]})
	}
	slices.SortFunc(out, func(x, y DiffRow) int {
		return cmp.Or(compareDesc(max(x.Before, x.After), max(y.Before, y.After)), cmp.Compare(x.Name, y.Name))
	})
	return out
}

func countFlips(flips []Flip) []FlipCount {
	place := map[[2]string]int{}
	var out []FlipCount
	for _, f := range flips {
		k := [2]string{f.Before, f.After}
		i, known := place[k]
		if !known {
			i = len(out)
			place[k] = i
			out = append(out, FlipCount{Before: f.Before, After: f.After})
		}
		out[i].Count++
		if len(out[i].Examples) < maxExamples {
			out[i].Examples = append(out[i].Examples, oneLine(f.ID, 128))
		}
	}
	slices.SortFunc(out, func(x, y FlipCount) int {
		return cmp.Or(compareDesc(x.Count, y.Count), cmp.Compare(x.Before, y.Before), cmp.Compare(x.After, y.After))
	})
	return out
}

// WriteDiffText writes a Difference for a terminal.
func WriteDiffText(w io.Writer, d Difference) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s → %s\n", oneLine(string(d.Before), 40), oneLine(string(d.After), 40))
	if len(d.Changes) == 0 {
		b.WriteString("same job, spec, manifest, model and prices\n")
	}
	for _, c := range d.Changes {
		fmt.Fprintf(b, "  %-16s %s → %s\n", oneLine(c.What, 60), shown(c.Before), shown(c.After))
	}
	b.WriteString("\n")
	writeRows(b, d.Rows)
	if len(d.Errors) > 0 {
		b.WriteString("\nfailed items by class\n")
		writeRows(b, d.Errors)
	}
	if len(d.Flips) == 0 {
		b.WriteString("\nno item changed its outcome\n")
		return b.Flush()
	}
	b.WriteString("\nitems that changed their outcome\n")
	const most = 12
	for i, f := range d.Flips {
		if i == most {
			fmt.Fprintf(b, "  and %d more kinds\n", len(d.Flips)-most)
			break
		}
		fmt.Fprintf(b, "  %8s  %s → %s  (", Count(f.Count), oneLine(f.Before, 40), oneLine(f.After, 40))
		for k, id := range f.Examples {
			if k > 0 {
				b.WriteString(", ")
			}
			b.WriteString(id)
		}
		if f.Count > int64(len(f.Examples)) {
			b.WriteString(", …")
		}
		b.WriteString(")\n")
	}
	return b.Flush()
}

func shown(s string) string {
	if s == "" {
		return "–"
	}
	return oneLine(shortDigest(s), 80)
}

func writeRows(b *bufio.Writer, rows []DiffRow) {
	for _, r := range rows {
		fmt.Fprintf(b, "  %s %s → %s  %s\n", pad(oneLine(r.Name, 30), -16), pad(quantity(r.Before, r.Unit), 12), pad(quantity(r.After, r.Unit), 12), Variance(r.Before, r.After))
	}
}

// pad fills with blanks to n characters, on the right when n is negative.
func pad(s string, n int) string {
	fill := max(n, -n) - utf8.RuneCountInString(s)
	blanks := fmt.Sprintf("%*s", max(fill, 0), "")
	if n < 0 {
		return s + blanks
	}
	return blanks + s
}
