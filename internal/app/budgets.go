package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/budget"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
)

// BudgetStatus is one row of a budget that runs share: null is no limit.
type BudgetStatus struct {
	Name     string       `json:"name"`
	Job      string       `json:"job,omitempty"` // of a counter per job
	Period   batch.Period `json:"period"`
	Label    string       `json:"current"` // 2026-11-23, 2026-W48, 2026-11 or total
	Timezone string       `json:"timezone,omitempty"`
	Renews   *time.Time   `json:"renews_at,omitempty"`

	Tokens   *int64        `json:"tokens"`
	PicoUSD  *int64        `json:"pico_usd"`
	Spent    report.Amount `json:"spent"`
	Reserved report.Amount `json:"reserved"`
	AtRisk   report.Amount `json:"at_risk"`
	// What calls can still take; never below 0.
	HeadroomTokens *int64 `json:"headroom_tokens"`
	HeadroomPico   *int64 `json:"headroom_pico_usd"`
	Unused         bool   `json:"unused,omitempty"` // no run has drawn on it yet
}

// readBudgets reads config.yaml of the data directory; there may be none.
func (a *App) readBudgets() (budget.Config, error) {
	path := a.dir.ConfigFile()
	if a.cfg.Config != "" {
		path = a.cfg.Config
	}
	src, err := a.cfg.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return budget.Config{File: path}, nil
	}
	if err != nil {
		return budget.Config{}, &batch.Error{Kind: batch.Config, Op: "read config", Ref: path, Err: err}
	}
	return budget.Read(path, src)
}

// ApplyBudgets reads config.yaml and puts its budgets in force, for runs that go
// on as well: a higher limit opens what waits for it, a lower one keeps calls
// from starting.
func (a *App) ApplyBudgets(ctx context.Context) error {
	c, err := a.readBudgets()
	if err != nil {
		return err
	}
	a.setConfig(c)
	had, err := a.store.Budgets(ctx)
	if err != nil {
		return err
	}
	live, err := a.store.List(ctx, store.Filter{States: []batch.RunState{batch.RunQueued, batch.RunRunning, batch.RunPaused}})
	if err != nil {
		return err
	}
	draws, changed := map[batch.RunID][]string{}, false
	for _, r := range live {
		sp, err := thaw(r)
		if err != nil {
			return err
		}
		bs := c.Of(sp.Job, sp.Labels, sp.Owners)
		if err := priced(bs, len(r.Price) > 0, sp); err != nil && r.State != batch.RunPaused {
			return err
		}
		draws[r.ID] = budget.Names(bs)
		changed = changed || !slices.Equal(draws[r.ID], r.Draws)
	}
	now := budget.Limits(c.Budgets)
	if !changed && slices.Equal(now, had) {
		return nil
	}
	return a.store.SetBudgets(ctx, now, draws)
}

func (a *App) setConfig(c budget.Config) {
	a.runs.mu.Lock()
	defer a.runs.mu.Unlock()
	a.budgets = &c
}

// config is what was read last; a process that only looks reads it when asked.
func (a *App) config() (budget.Config, error) {
	a.runs.mu.Lock()
	c := a.budgets
	a.runs.mu.Unlock()
	if c != nil {
		return *c, nil
	}
	return a.readBudgets()
}

// sharedBy are the shared budgets that runs of a spec draw on.
func (a *App) sharedBy(sp *spec.Spec) ([]budget.Budget, error) {
	c, err := a.config()
	return c.Of(sp.Job, sp.Labels, sp.Owners), err
}

// priced refuses a budget in US dollars for a run without a price: its calls
// would count for nothing.
func priced(bs []budget.Budget, known bool, sp *spec.Spec) error {
	i := slices.IndexFunc(bs, func(b budget.Budget) bool { return b.Limit.Pico >= 0 })
	if known || i < 0 {
		return nil
	}
	return &batch.Error{Kind: batch.Invalid, Op: "budget " + bs[i].Name, Ref: bs[i].Ref,
		Msg:  fmt.Sprintf("the price of %s/%s is not known, so a budget in USD cannot be kept for job %s", sp.Task.Provider, sp.Task.Model, sp.Job),
		Hint: "give task.price, or add the model to prices.yaml"}
}

// enrol tells the store which shared budgets a run draws on.
func (a *App) enrol(ctx context.Context, r store.Run, sp *spec.Spec) error {
	bs, err := a.sharedBy(sp)
	if err != nil {
		return err
	}
	if err := priced(bs, len(r.Price) > 0, sp); err != nil {
		return err
	}
	if slices.Equal(budget.Names(bs), r.Draws) {
		return nil
	}
	return a.store.SetDraws(ctx, r.ID, budget.Names(bs))
}

// stillShort refuses to go on with a run that stopped at a shared budget which
// has no more room now than its next call needs.
func (a *App) stillShort(ctx context.Context, r store.Run, sp *spec.Spec) error {
	bs, err := a.sharedBy(sp)
	if err != nil {
		return err
	}
	ls, err := a.store.Levels(ctx, budget.Limits(bs), r.Job)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(ls, func(l store.Level) bool { return l.ID == r.Short.Budget })
	if i < 0 {
		return nil // another period, or the budget is gone
	}
	l, dim := ls[i], r.Short.Dim
	limit := l.Limit.In(dim)
	if limit < 0 || l.Committed().In(dim)+r.Short.Need <= limit {
		return nil
	}
	until := "it does not renew"
	if l.Until > 0 {
		until = "it renews at " + zoned(l).Format("2006-01-02 15:04 MST")
	}
	return &batch.Error{Kind: batch.BudgetExceeded, Op: "resume", Ref: string(r.ID),
		Msg: fmt.Sprintf("the run stopped at the %s budget %q (%s %s), where its next call needs %s and %s is left; %s",
			dim, l.Name, l.Period, l.Label, amount(dim, r.Short.Need), amount(dim, max(limit-l.Committed().In(dim), 0)), until),
		Hint: "raise it in " + a.dir.ConfigFile() + ", or go on when it renews: batchwright resume " + string(r.ID)}
}

func amount(dim money.Dimension, n int64) string {
	if dim == money.DimUSD {
		return report.USD(money.PicoUSD(n))
	}
	return fmtCount(n, strings.TrimSuffix(string(dim), "s"))
}

func zoned(l store.Level) time.Time {
	t := time.UnixMicro(l.Until).UTC()
	if z, err := time.LoadLocation(l.Zone); err == nil { // it was loaded when the config was read
		t = t.In(z)
	}
	return t
}

// sharedFacts is what a plan needs to know of the budgets a run would share.
func (a *App) sharedFacts(ctx context.Context, sp *spec.Spec) ([]plan.Shared, error) {
	bs, err := a.sharedBy(sp)
	if err != nil {
		return nil, err
	}
	ls, err := a.store.Levels(ctx, budget.Limits(bs), sp.Job)
	if err != nil {
		return nil, err
	}
	var out []plan.Shared
	for _, l := range ls {
		s := plan.Shared{Name: l.Name, Job: l.Job, Period: l.Period, Label: l.Label, Limit: l.Limit, Spent: l.Spent, Reserved: l.Reserved, AtRisk: l.AtRisk}
		for _, b := range bs {
			if b.Name == l.Name {
				s.Ref = b.Ref
			}
		}
		if l.Until > 0 {
			at := zoned(l)
			s.Renews = &at
		}
		out = append(out, s)
	}
	return out, nil
}

// Budgets lists the budgets that runs share, as they stand now, and with apply
// puts config.yaml in force first.
func (a *App) Budgets(ctx context.Context, apply bool) ([]BudgetStatus, error) {
	if apply {
		if err := a.ApplyBudgets(ctx); err != nil {
			return nil, err
		}
	}
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Rows(ctx)
	if err != nil {
		return nil, err
	}
	out := []BudgetStatus{}
	for _, b := range budget.Limits(c.Budgets) {
		jobs := []string{""}
		if b.PerJob {
			jobs = nil
			for _, l := range rows {
				if l.Name == b.Name && l.Job != "" && !slices.Contains(jobs, l.Job) {
					jobs = append(jobs, l.Job)
				}
			}
			slices.Sort(jobs)
		}
		for _, job := range jobs {
			ls, err := a.store.Levels(ctx, []batch.Budget{b}, job)
			if err != nil {
				return nil, err
			}
			out = append(out, statusOfLevel(ls[0]))
		}
		if len(jobs) == 0 {
			out = append(out, BudgetStatus{Name: b.Name, Period: b.Period, Timezone: b.Zone, Tokens: limit(b.Limit.Tokens), PicoUSD: limit(b.Limit.Pico),
				HeadroomTokens: limit(b.Limit.Tokens), HeadroomPico: limit(b.Limit.Pico), Unused: true})
		}
	}
	return out, nil
}

// drawn is how the shared budgets of a run stand now.
func (a *App) drawn(ctx context.Context, r store.Run) ([]BudgetStatus, error) {
	if len(r.Draws) == 0 {
		return nil, nil
	}
	bs, err := a.store.Budgets(ctx)
	if err != nil {
		return nil, err
	}
	bs = slices.DeleteFunc(bs, func(b batch.Budget) bool { return !slices.Contains(r.Draws, b.Name) })
	ls, err := a.store.Levels(ctx, bs, r.Job)
	if err != nil {
		return nil, err
	}
	var out []BudgetStatus
	for _, l := range ls {
		out = append(out, statusOfLevel(l))
	}
	slices.SortFunc(out, func(a, b BudgetStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func statusOfLevel(l store.Level) BudgetStatus {
	s := BudgetStatus{Name: l.Name, Job: l.Job, Period: l.Period, Label: l.Label, Timezone: l.Zone,
		Tokens: limit(l.Limit.Tokens), PicoUSD: limit(l.Limit.Pico),
		Spent: report.AmountOf(l.Spent), Reserved: report.AmountOf(l.Reserved), AtRisk: report.AmountOf(l.AtRisk)}
	if l.Until > 0 {
		t := zoned(l)
		s.Renews = &t
	}
	c := l.Committed()
	left := func(limit, committed int64) *int64 {
		if limit < 0 {
			return nil
		}
		n := max(limit-committed, 0)
		return &n
	}
	s.HeadroomTokens, s.HeadroomPico = left(l.Limit.Tokens, c.Tokens), left(l.Limit.Pico, int64(c.Pico))
	return s
}
