package app

import (
	"context"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/store"
)

// Status is where a run stands, for people and machines.
type Status struct {
	RunID     batch.RunID    `json:"run_id"`
	Job       string         `json:"job"`
	State     batch.RunState `json:"state"`
	Target    batch.RunState `json:"target,omitempty"` // where a stop that was asked for ends
	Reason    string         `json:"reason,omitempty"`
	Live      bool           `json:"live"` // a process works on it now
	Items     ItemCounts     `json:"items"`
	Tokens    TokenCounts    `json:"tokens"`
	Cost      CostCounts     `json:"cost"`
	Budget    BudgetCounts   `json:"budget"`
	Budgets   []BudgetStatus `json:"budgets,omitempty"`    // that it shares with other runs
	StoppedBy string         `json:"stopped_by,omitempty"` // the shared budget that it stopped at
	Attempts  int64          `json:"attempts"`
	Retries   int64          `json:"retries"`
	Unknown   int64          `json:"unknown"` // calls whose fate is not known, charged at their worst case
	StartedAt *time.Time     `json:"started_at"`
	EndedAt   *time.Time     `json:"ended_at"`
	ActiveMS  int64          `json:"active_ms"` // time spent running, over all processes
	Deadline  *time.Time     `json:"deadline,omitempty"`
	Output    string         `json:"output"`
	Spec      string         `json:"spec_digest"`
	Manifest  string         `json:"manifest_digest"`
	Pacing    *Pacing        `json:"pacing,omitempty"`
}

// ItemCounts counts items.
type ItemCounts struct {
	Total   int64 `json:"total"`
	OK      int64 `json:"ok"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped"`
	Pending int64 `json:"pending"`
}

// TokenCounts is what providers reported for all attempts.
type TokenCounts struct {
	Input     int64 `json:"input"`
	Output    int64 `json:"output"`
	Cached    int64 `json:"cached"`
	Reasoning int64 `json:"reasoning"`
	Total     int64 `json:"total"`
}

// CostCounts is money: settled, and charged at its worst case.
type CostCounts struct {
	Pico   money.PicoUSD `json:"pico_usd"`
	USD    string        `json:"usd"`
	AtRisk money.PicoUSD `json:"at_risk_pico_usd"`
	Known  bool          `json:"price_known"`
}

// BudgetCounts is the run's budget: null is no limit.
type BudgetCounts struct {
	Tokens   *int64        `json:"tokens"`
	PicoUSD  *int64        `json:"pico_usd"`
	Retries  *int64        `json:"retries"`
	Spent    report.Amount `json:"spent"`
	Reserved report.Amount `json:"reserved"`
	AtRisk   report.Amount `json:"at_risk"`
}

// Pacing is the pace of the run's lane, while a process works on it.
type Pacing struct {
	Limit    int        `json:"concurrency_limit"`
	Max      int        `json:"concurrency_max"`
	InFlight int        `json:"in_flight"`
	Waiting  int        `json:"waiting"`
	Why      string     `json:"why,omitempty"`
	Cooldown *time.Time `json:"cooldown_until,omitempty"`
}

// Status returns where a run stands; "" is the newest.
func (a *App) Status(ctx context.Context, ref string) (Status, error) {
	if err := a.dir.Present(); err != nil {
		return Status{}, err
	}
	r, err := a.find(ctx, ref)
	if err != nil {
		return Status{}, err
	}
	s := a.status(r)
	s.Budgets, err = a.drawn(ctx, r)
	return s, err
}

// List returns the newest runs.
func (a *App) List(ctx context.Context, job string, limit int) ([]Status, error) {
	rs, err := a.store.List(ctx, store.Filter{Job: job, Limit: limit})
	if err != nil {
		return nil, err
	}
	out := make([]Status, len(rs))
	for i, r := range rs {
		out[i] = a.status(r)
	}
	return out, nil
}

func (a *App) status(r store.Run) Status {
	c, b := r.Counts, r.Budget
	s := Status{RunID: r.ID, Job: r.Job, State: r.State, Target: r.Target, Reason: r.Reason, Live: a.cfg.Worker != nil && !r.State.Ended(),
		Items:    ItemCounts{Total: r.Items, OK: c.OK, Failed: c.Failed, Skipped: c.Skipped, Pending: r.Items - c.OK - c.Failed - c.Skipped},
		Tokens:   TokenCounts{c.Usage.Input, c.Usage.Output, c.Usage.Cached, c.Usage.Reasoning, c.Usage.Total()},
		Cost:     CostCounts{Pico: b.Spent.Pico + b.AtRisk.Pico, USD: (b.Spent.Pico + b.AtRisk.Pico).String(), AtRisk: b.AtRisk.Pico, Known: len(r.Price) > 0},
		Budget:   BudgetCounts{limit(b.Limit.Tokens), limit(b.Limit.Pico), limit(b.Limit.Retries), report.AmountOf(b.Spent), report.AmountOf(b.Reserved), report.AmountOf(b.AtRisk)},
		Attempts: c.Calls, Retries: b.Spent.Plus(b.AtRisk).Retries, Unknown: c.Unknown,
		StartedAt: when(r.StartedAt), EndedAt: when(r.EndedAt), Deadline: when(r.DeadlineAt), ActiveMS: r.ActiveUS / 1000,
		Output: r.OutputURI, Spec: r.SpecDigest, Manifest: r.ManifestDigest}
	if r.State == batch.RunCancelled || r.State == batch.RunRejected {
		s.Items.Skipped, s.Items.Pending = s.Items.Skipped+s.Items.Pending, 0
	}
	if r.State == batch.RunStoppedBudget {
		s.StoppedBy = r.Short.Name()
	}
	if s.Live {
		s.Pacing = a.pacing(r)
	}
	return s
}

// pacing finds the gate of a live run by its model.
func (a *App) pacing(r store.Run) *Pacing {
	sp, err := thaw(r)
	if err != nil {
		return nil
	}
	var p *Pacing
	a.cfg.Gates.Each(func(k pacing.Key, s pacing.Snapshot) {
		if k.Model != sp.Task.Model {
			return
		}
		p = &Pacing{Limit: s.Limit, Max: s.Max, InFlight: s.InFlight, Waiting: s.Waiting, Why: s.Why}
		if !s.CooldownUntil.IsZero() {
			p.Cooldown = &s.CooldownUntil
		}
	})
	return p
}

func limit(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func when(us int64) *time.Time {
	if us == 0 {
		return nil
	}
	t := micros(us)
	return &t
}

// Pause stops starting calls; what is on the wire is kept. The run can be
// resumed. Pausing a paused run is a no-op.
func (a *App) Pause(ctx context.Context, ref, reason string) (Status, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return Status{}, err
	}
	if r.State != batch.RunPaused {
		if err := a.store.Transition(ctx, r.ID, []batch.RunState{batch.RunQueued, batch.RunRunning}, batch.RunPaused, reason); err != nil {
			// Another may have paused it since it was read.
			if now, rerr := a.store.Run(ctx, r.ID); rerr != nil || now.State != batch.RunPaused {
				return Status{}, notNow(err, r, "only a run that is going on can be paused")
			}
		}
	}
	failpoint.Hit("pause.stored")
	a.halt(r.ID, false)
	return a.Status(ctx, string(r.ID))
}

// Cancel ends a run for good: nothing more is called, what was paid for is
// kept and written to the outputs, items without an outcome are skipped. With
// now, answers on the wire are not waited for and count as unknown.
// Cancelling a cancelled run is a no-op.
func (a *App) Cancel(ctx context.Context, ref string, now bool, reason string) (Status, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return Status{}, err
	}
	if r.State == batch.RunCancelled {
		return a.status(r), nil
	}
	if err := a.store.SetTarget(ctx, r.ID, batch.RunCancelled, reason); err != nil {
		return Status{}, notNow(err, r, "it has ended")
	}
	failpoint.Hit("cancel.stored")
	a.halt(r.ID, now)
	if a.cfg.Worker == nil { // nobody hears the bell: end it here
		if err := a.Finish(ctx, r.ID); err != nil {
			return Status{}, err
		}
	}
	return a.Status(ctx, string(r.ID))
}

func (a *App) halt(id batch.RunID, now bool) {
	if a.cfg.Worker != nil {
		a.cfg.Worker.Halt(id, now)
	}
}

func notNow(err error, r store.Run, why string) error {
	if batch.KindOf(err) != batch.Conflict {
		return err
	}
	return &batch.Error{Kind: batch.Conflict, Op: "change run", Ref: string(r.ID), Msg: fmt.Sprintf("the run is %s; %s", r.State, why),
		Hint: "batchwright status " + string(r.ID)}
}

// Raise is a change of what a run may use. Zero fields change nothing.
type Raise struct {
	Tokens   int64         // the new token budget
	Pico     money.PicoUSD // the new budget in USD
	Retries  int64
	Deadline time.Duration // from now
}

// Resume goes on with a run under its own frozen spec, and under new limits
// where they are given. A live run only takes the limits.
func (a *App) Resume(ctx context.Context, ref string, up Raise) (Started, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return Started{}, err
	}
	if !r.State.Resumable() {
		hint := "batchwright status " + string(r.ID)
		if r.State == batch.RunPartial || r.State == batch.RunFailed {
			hint = "batchwright retry " + string(r.ID) + " --failed"
		}
		return Started{}, &batch.Error{Kind: batch.Conflict, Op: "resume", Ref: string(r.ID), Msg: "the run is " + string(r.State), Hint: hint}
	}
	sp, err := thaw(r)
	if err != nil {
		return Started{}, err
	}
	l := r.Budget.Limit
	if up.Tokens > 0 {
		l.Tokens = up.Tokens
	}
	if up.Pico > 0 {
		l.Pico = int64(up.Pico)
	}
	if up.Retries > 0 {
		l.Retries = up.Retries
	}
	if r.State == batch.RunStoppedBudget && r.Short.Shared() {
		if err := a.stillShort(ctx, r, sp); err != nil {
			return Started{}, err
		}
	} else if r.State == batch.RunStoppedBudget && l == r.Budget.Limit {
		return Started{}, &batch.Error{Kind: batch.BudgetExceeded, Op: "resume", Ref: string(r.ID),
			Msg:  "the run stopped at its budget, which is still the same",
			Hint: fmt.Sprintf("batchwright resume %s --token-budget N (now %d; spent or at risk %d)", r.ID, l.Tokens, r.Budget.Committed().Tokens)}
	}
	sp.Budget.Tokens, sp.Budget.Pico, sp.Budget.Retries = l.Tokens, l.Pico, l.Retries
	if up.Deadline > 0 {
		sp.Deadline.After, sp.Deadline.At = up.Deadline, ""
	}
	return a.goOn(ctx, r, sp)
}

// RetryRequest selects failed items.
type RetryRequest struct {
	Class    batch.Class
	Items    []string // ids; empty: all that match
	DryRun   bool     // only count and price
	Attempts int
}

// RetryPlan is what a retry will do.
type RetryPlan struct {
	RunID batch.RunID   `json:"run_id"`
	Items int64         `json:"items"`
	Cost  money.PicoUSD `json:"estimated_pico_usd"` // by what the run's items have cost so far
	USD   string        `json:"estimated_usd"`
}

// Retry makes failed items pending again and goes on with the run. Their
// failures stay until a new outcome replaces them; their attempts stay in the
// ledger for ever.
func (a *App) Retry(ctx context.Context, ref string, q RetryRequest) (RetryPlan, Started, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return RetryPlan{}, Started{}, err
	}
	fs, err := a.store.Failures(ctx, r.ID, q.Class, -1, 0)
	if err != nil {
		return RetryPlan{}, Started{}, err
	}
	want := map[string]bool{}
	for _, id := range q.Items {
		want[id] = true
	}
	var ords []batch.Ordinal
	for _, f := range fs {
		if f.Class != batch.ClassBadItem && (len(want) == 0 || want[f.ID]) {
			ords = append(ords, f.Ordinal)
		}
	}
	p := RetryPlan{RunID: r.ID, Items: int64(len(ords))}
	if done := r.Counts.OK + r.Counts.Failed; done > 0 {
		p.Cost = r.Budget.Spent.Pico / money.PicoUSD(done) * money.PicoUSD(len(ords))
	}
	p.USD = p.Cost.String()
	if q.DryRun || len(ords) == 0 {
		return p, Started{Run: r.ID}, nil
	}
	sp, err := thaw(r)
	if err != nil {
		return p, Started{}, err
	}
	if err := a.store.Reopen(ctx, r.ID, ords); err != nil {
		return p, Started{}, err
	}
	failpoint.Hit("retry.reopened")
	if r, err = a.store.Run(ctx, r.ID); err != nil {
		return p, Started{}, err
	}
	return p, Started{Run: r.ID, Resumed: true, Items: r.Items}, a.launch(ctx, r, sp)
}

// Interrupt sets the runs this process works aside, so that they can be
// resumed: it stops starting calls, waits for what is on the wire until ctx
// ends, and hands every lease back.
func (a *App) Interrupt(ctx context.Context, id batch.RunID, reason string) error {
	if a.cfg.Worker == nil {
		return nil
	}
	err := a.store.Transition(ctx, id, []batch.RunState{batch.RunQueued, batch.RunRunning}, batch.RunPaused, reason)
	if batch.KindOf(err) == batch.Conflict {
		err = nil // it ended, or was paused or cancelled, meanwhile
	}
	failpoint.Hit("interrupt.stored")
	a.cfg.Worker.Drain(ctx)
	return err
}
