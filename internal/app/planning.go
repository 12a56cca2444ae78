package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/tokens"
)

// sampleSize is how many items a plan renders and counts.
const sampleSize = 200

// Plan says what a run of the spec would call, use, cost and take. It freezes
// the input into a folder of its own, which is removed again: a plan spends
// nothing and keeps nothing.
func (a *App) Plan(ctx context.Context, sp *spec.Spec) (plan.Plan, error) {
	if err := anchor(sp); err != nil {
		return plan.Plan{}, err
	}
	id := a.cfg.NewID()
	m, err := a.freezeInput(ctx, sp, id)
	if err != nil {
		return plan.Plan{}, a.discard(id, err)
	}
	card, err := a.price(sp)
	if batch.KindOf(err) == batch.Invalid {
		card, err = nil, nil // the plan itself says that the price is missing
	}
	var p *plan.Plan
	if err == nil {
		p, err = a.plan(ctx, sp, m, card)
	}
	if cerr := m.Close(); err == nil {
		err = cerr
	}
	if err := a.discard(id, err); err != nil {
		return plan.Plan{}, err
	}
	return *p, nil
}

// plan gathers the facts of a frozen input.
func (a *App) plan(ctx context.Context, sp *spec.Spec, m *manifest.Manifest, card *money.PriceCard) (*plan.Plan, error) {
	t, err := parseTask(sp)
	if err != nil {
		return nil, err
	}
	p, err := a.provider(sp, secret.Secret{})
	if err != nil {
		return nil, err
	}
	c := m.Header().Counts
	maker := &workMaker{sp: sp, t: t, p: p, m: m, traits: p.Traits()}
	f := plan.Facts{Provider: sp.Task.Provider, Model: sp.Task.Model, Items: m.Count(), Followers: c.Followers, Bad: c.Bad,
		Bytes:           plan.Population{Items: m.Count() - c.Bad, Sum: c.InputBytes, Max: c.MaxPayload},
		MaxOutputTokens: sp.Task.MaxOutputTokens, Price: card, PriceVersion: a.cfg.Prices.Version(), Budget: sp.Budget, Pacing: sp.Pacing,
		TokensRef: name(sp), USDRef: name(sp)}
	if f.Sample, err = a.sample(ctx, maker); err != nil {
		return nil, err
	}
	if sp.Cache == "reuse" {
		if f.CacheHits, err = a.cacheHits(ctx, maker); err != nil {
			return nil, err
		}
	}
	if err := a.history(ctx, sp, &f); err != nil {
		return nil, err
	}
	if f.Shared, err = a.sharedFacts(ctx, sp); err != nil {
		return nil, err
	}
	out, err := plan.Make(f)
	return &out, err
}

// sample measures items spread evenly over the manifest.
func (a *App) sample(ctx context.Context, x *workMaker) ([]plan.SampleItem, error) {
	n := x.m.Count()
	step := max(1, n/sampleSize)
	tokenizer, exact := tokens.ForModel(x.sp.Task.Provider, x.sp.Task.Model)
	var out []plan.SampleItem
	for o := int64(0); o < n && len(out) < sampleSize; o += step {
		w, it, payload, err := x.one(ctx, batch.Ordinal(o))
		if err != nil {
			return nil, err
		}
		if w.Bad != it.Bad && x.sp.Input.OnBadItem != "quarantine" {
			// It was whole in the manifest and no call can be made of it: better
			// said now than by every item of the run.
			return nil, &batch.Error{Kind: batch.Invalid, Op: "make a call", Ref: fmt.Sprintf("item %s, line %d", it.ID, it.Line), Msg: w.Bad,
				Hint: "mend the task or the item; with on_bad_item: quarantine such items fail alone"}
		}
		if w.Bad != "" || w.Leader >= 0 {
			continue
		}
		count, whole := x.count(tokenizer, payload)
		out = append(out, plan.SampleItem{Bytes: it.Size, InputTokens: count, InputExact: exact && whole, InputBound: w.Call.InputBound})
	}
	return out, nil
}

// count is the input tokens of an item's request.
func (x *workMaker) count(tokenizer string, payload []byte) (int64, bool) {
	q, err := x.t.request(x.sp, payload)
	if err != nil {
		return 0, false
	}
	texts := []string{q.System, string(q.Schema), string(q.Body)}
	for _, m := range q.Messages {
		var s string
		if json.Unmarshal(m.Content, &s) == nil {
			texts = append(texts, s)
		}
	}
	n, exact := tokens.Overhead(len(q.Messages)+1), true
	for _, s := range texts {
		k, whole := tokens.Count(tokenizer, s)
		n, exact = n+k, exact && (whole || s == "")
	}
	return n, exact && len(q.Schema) == 0 && len(q.Body) == 0
}

// cacheHits counts the items that an earlier run has answered.
func (a *App) cacheHits(ctx context.Context, x *workMaker) (int64, error) {
	hits := int64(0)
	for first := int64(0); first < x.m.Count(); first += 500 {
		works, err := x.prepare(ctx, batch.Ordinal(first), int(min(500, x.m.Count()-first)))
		if err != nil {
			return 0, err
		}
		var keys [][]byte
		for i := range works {
			if works[i].Bad == "" && works[i].Leader < 0 {
				keys = append(keys, works[i].Hash[:])
			}
		}
		found, err := a.store.Answers(ctx, store.CacheScope, keys)
		if err != nil {
			return 0, err
		}
		for _, b := range found {
			if b != nil {
				hits++
			}
		}
	}
	return hits, nil
}

// history is how earlier calls of this job and prompt were: those of the
// newest run with a sealed ledger.
func (a *App) history(ctx context.Context, sp *spec.Spec, f *plan.Facts) error {
	rs, err := a.store.History(ctx, sp.Job, sp.WorkDigest(), 3)
	if err != nil {
		return err
	}
	var usages []money.Usage
	var h report.Histogram
	for _, r := range rs {
		segs, err := a.segments(ctx, r.ID)
		if err != nil {
			return err
		}
		if segs[0] == nil {
			continue
		}
		s, err := a.loadStretch(ctx, r, 0, segs[0], attemptsOnly)
		if err != nil {
			a.log.Debug("a run's history is not read", "run", r.ID, "err", err.Error())
			continue
		}
		for _, at := range s.attempts {
			if at.Class == batch.ClassOK {
				usages = append(usages, at.Usage)
				h.Add(at.LatencyUS)
			}
		}
	}
	f.Answers = plan.Summarise(usages)
	f.Latency = plan.Latency{Calls: h.Count(), P50: time.Duration(h.Quantile(500)) * time.Microsecond, P90: time.Duration(h.Quantile(900)) * time.Microsecond}
	return nil
}

// planRows puts what was planned beside what came.
func planRows(r store.Run, m report.Run) []report.PlanRow {
	var p plan.Plan
	if len(r.Plan) == 0 || json.Unmarshal(r.Plan, &p) != nil {
		return nil
	}
	ms := func(t time.Time) int64 { return t.UnixMilli() }
	rs := []report.PlanRow{
		{Key: "calls", Unit: report.UnitCount, Planned: p.ToCall.N, Actual: m.Attempts},
		{Key: "input tokens", Unit: report.UnitTokens, Planned: p.Input.P50, Actual: m.Tokens.Input},
		{Key: "output tokens", Unit: report.UnitTokens, Planned: p.Output.P50, Actual: m.Tokens.Output},
	}
	if p.Cost != nil {
		rs = append(rs, report.PlanRow{Key: report.PlanCost, Unit: report.UnitPicoUSD, Planned: p.Cost.P50, Actual: int64(m.Cost.Total())})
	}
	active := r.ActiveUS / 1000
	if active == 0 && !m.EndedAt.IsZero() {
		active = ms(m.EndedAt) - ms(m.StartedAt)
	}
	return append(rs, report.PlanRow{Key: report.PlanDuration, Unit: report.UnitMillis, Planned: p.Time.P50 * 1000, Actual: active})
}

// stoppedBy is the budget that a run stopped at.
func stoppedBy(r store.Run) money.Dimension {
	for _, d := range []money.Dimension{money.DimUSD, money.DimRetries} {
		if strings.Contains(r.Reason, string(d)) {
			return d
		}
	}
	return money.DimTokens
}

// flips lists items whose outcome differs between two runs, by id; items of
// one run alone are not flips.
func (a *App) flips(ctx context.Context, ra, rb store.Run) ([]report.Flip, error) {
	type end struct{ state, output string }
	seen := map[string]end{}
	err := rows{app: a, ctx: ctx, run: ra}.Outcomes(func(o batch.Outcome) error {
		seen[o.ID] = end{flipState(o), string(o.Output)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var fs []report.Flip
	err = rows{app: a, ctx: ctx, run: rb}.Outcomes(func(o batch.Outcome) error {
		was, ok := seen[o.ID]
		now := end{flipState(o), string(o.Output)}
		switch {
		case !ok || was == now:
		case was.state == now.state:
			fs = append(fs, report.Flip{ID: o.ID, Before: was.state, After: "output"})
		default:
			fs = append(fs, report.Flip{ID: o.ID, Before: was.state, After: now.state})
		}
		return nil
	})
	return fs, err
}

func flipState(o batch.Outcome) string {
	if o.State == batch.ItemOK {
		return string(o.State)
	}
	return string(o.Class)
}
