// Package budget reads config.yaml of a data directory: the budgets that runs
// share. It is strict as the job spec is, and pure.
//
//	budgets:
//	  - name: support-team
//	    match: {labels: {team: support}}
//	    period: month
//	    timezone: Europe/Berlin
//	    usd: 250
//	  - name: each-job
//	    per: job
//	    period: day
//	    timezone: Europe/Berlin
//	    tokens: 5000000
package budget

import (
	"path"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
)

// Config is one config.yaml. The zero value shares no budget.
type Config struct {
	File    string
	Budgets []Budget
}

// Budget is one that runs share, and which runs those are: of each condition
// that is given one must hold, and all conditions together.
type Budget struct {
	batch.Budget
	Jobs   []string          // patterns of job ids: * any text, ? one character, [a-z] one of these
	Labels map[string]string // patterns of labels
	Owners []string
	Ref    string // file:line:col
}

// Matches reports whether runs of a job draw on the budget.
func (b Budget) Matches(job string, labels map[string]string, owners []string) bool {
	if len(b.Jobs) > 0 && !slices.ContainsFunc(b.Jobs, func(p string) bool { return fits(p, job) }) {
		return false
	}
	if len(b.Owners) > 0 && !slices.ContainsFunc(b.Owners, func(o string) bool { return slices.Contains(owners, o) }) {
		return false
	}
	for k, p := range b.Labels {
		if v, ok := labels[k]; !ok || !fits(p, v) {
			return false
		}
	}
	return true
}

// fits matches a pattern that was checked when it was read. A slash is a
// character like any other here.
func fits(pattern, s string) bool {
	ok, err := path.Match(flat(pattern), flat(s))
	return err == nil && ok
}

func flat(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c == '/' {
			out[i] = 0
		}
	}
	return string(out)
}

// Of returns the budgets that runs of a job draw on.
func (c Config) Of(job string, labels map[string]string, owners []string) []Budget {
	var out []Budget
	for _, b := range c.Budgets {
		if b.Matches(job, labels, owners) {
			out = append(out, b)
		}
	}
	return out
}

// Names are the names of budgets.
func Names(bs []Budget) []string {
	var ns []string
	for _, b := range bs {
		ns = append(ns, b.Name)
	}
	slices.Sort(ns)
	return ns
}

// Limits are budgets as the store takes them, in the order of their names.
func Limits(bs []Budget) []batch.Budget {
	out := make([]batch.Budget, 0, len(bs))
	for _, b := range bs {
		out = append(out, b.Budget)
	}
	slices.SortFunc(out, func(a, b batch.Budget) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}
