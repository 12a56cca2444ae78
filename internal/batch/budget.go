package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// Period is how long a shared budget counts before it begins anew.
type Period string

// The periods. A day, a week (from Monday) and a month are those of a zone's
// calendar.
const (
	PeriodDay   Period = "day"
	PeriodWeek  Period = "week"
	PeriodMonth Period = "month"
	PeriodTotal Period = "total" // never begins anew
)

// Periods lists every period, shortest first.
func Periods() []Period { return []Period{PeriodDay, PeriodWeek, PeriodMonth, PeriodTotal} }

// Budget is a limit that runs share, beside the one that each has of its own.
type Budget struct {
	Name   string
	PerJob bool // each job has a counter of its own
	Period Period
	Zone   string // IANA name; "" for PeriodTotal
	Limit  money.Limit
}

// Window is one period of one counter of a budget: what a row of the store
// counts.
type Window struct {
	ID    string // unique among all rows
	Label string // for people: 2026-11-23, 2026-W48, 2026-11, or total
	// From and Until bound it; Until is outside. Zero: no bound.
	From, Until time.Time
}

// Window is the one that a run of job draws on at t. zone is b.Zone, loaded;
// it is not used for PeriodTotal.
func (b Budget) Window(job string, t time.Time, zone *time.Location) Window {
	var w Window
	if b.Period == PeriodTotal {
		w.Label = string(PeriodTotal)
	} else {
		first, after := b.Period.days(t, zone)
		w.Label = b.Period.label(first)
		w.From, w.Until = dayBegins(first, zone), dayBegins(after, zone)
	}
	w.ID = "budget:" + b.Name + "/" + string(b.Period) + "/" + w.Label
	if b.PerJob {
		w.ID += "/" + job
	}
	return w
}

// days is the first day of the period that holds t and the first after it, as
// midnights in UTC, which has no gaps.
func (p Period) days(t time.Time, zone *time.Location) (first, after time.Time) {
	y, m, d := t.In(zone).Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	// A clock that is set back over midnight shows the old date again; the new
	// day has begun all the same.
	if next := day.AddDate(0, 0, 1); !dayBegins(next, zone).After(t) {
		day = next
	}
	switch p {
	case PeriodMonth:
		first = day.AddDate(0, 0, 1-day.Day())
		return first, first.AddDate(0, 1, 0)
	case PeriodWeek:
		first = day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
		return first, first.AddDate(0, 0, 7)
	}
	return day, day.AddDate(0, 0, 1)
}

func (p Period) label(first time.Time) string {
	switch p {
	case PeriodMonth:
		return first.Format("2006-01")
	case PeriodWeek:
		y, w := first.ISOWeek()
		return fmt.Sprintf("%d-W%02d", y, w)
	}
	return first.Format("2006-01-02")
}

// dayBegins is the first instant at which the zone's calendar shows the date of
// day (a midnight in UTC) or a later one: midnight, or, where clocks jump over
// midnight, the jump.
func dayBegins(day time.Time, zone *time.Location) time.Time {
	t := day.Add(-30 * time.Hour).In(zone) // no zone is that far away
	for {
		_, offset := t.Zone()
		_, end := t.ZoneBounds()
		midnight := day.Add(-time.Duration(offset) * time.Second)
		if midnight.Before(t) {
			midnight = t // the clock jumped over it
		}
		if end.IsZero() || midnight.Before(end) || !end.After(t) { // the last: bounds of no use, far in the future
			return midnight.In(zone)
		}
		t = end.In(zone)
	}
}

// Shortage is what refused a run money the last time: what keeps it from going
// on when it stops. The zero value is none.
type Shortage struct {
	Budget string // the row's id; RunBudget of the run's own
	Dim    money.Dimension
	Need   int64 // tokens, pico-USD or retries that did not fit
}

// Name is the shared budget's name, or "".
func (s Shortage) Name() string {
	name, _, _ := strings.Cut(strings.TrimPrefix(s.Budget, "budget:"), "/")
	if !s.Shared() {
		return ""
	}
	return name
}

// RunBudget is the id of a run's own budget.
func RunBudget(id RunID) string { return "run:" + string(id) }

// Shared reports that a budget which runs share was short, not the run's own.
func (s Shortage) Shared() bool { return strings.HasPrefix(s.Budget, "budget:") }

// StopReason says for people why a run stopped at a shared budget: which, its
// period, and when it renews. until is zero for one that does not.
func StopReason(dim money.Dimension, name, job string, p Period, label string, until time.Time) string {
	what := fmt.Sprintf("the %s budget %q", dim, name)
	if job != "" {
		what += " of job " + job
	}
	if p == PeriodTotal || until.IsZero() {
		return what + " lets no further call start; it does not renew"
	}
	return fmt.Sprintf("%s of the %s %s lets no further call start; it renews at %s", what, p, label, until.Format("2006-01-02 15:04 MST"))
}
