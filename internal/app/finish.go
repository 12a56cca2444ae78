package app

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/sink"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
)

// Finish brings a run to its end: it seals what is not sealed, writes the
// outputs and the report, and moves the run to the state it earned or was
// stopped with. It is idempotent; a bell too early is a no-op.
func (a *App) Finish(ctx context.Context, id batch.RunID) error {
	if err := a.dir.Present(); err != nil {
		return err
	}
	r, err := a.store.Run(ctx, id)
	if err != nil || (r.State.Ended() && r.Target == "") {
		return err
	}
	if r.Target == "" && r.Closed < r.Shards() && r.State != batch.RunDelivering {
		return nil
	}
	open, err := a.store.Open(ctx, id)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(open, func(s store.Shard) bool { return s.State == batch.ShardLeased }) {
		return nil // its release rings again
	}
	sp, err := thaw(r)
	if err != nil {
		return err
	}
	if r.State.Ended() { // a cancel of a run that had stopped resumable: its outputs say so, too
		if err := a.deliver(ctx, r, sp, r.Target); err != nil {
			return err
		}
		return a.store.Transition(ctx, id, []batch.RunState{r.State}, r.Target, r.Reason)
	}
	failpoint.Hit("finish.begin")
	final := verdict(r, sp)
	from := []batch.RunState{batch.RunQueued, batch.RunRunning, batch.RunPaused, batch.RunDelivering}
	if r.State != batch.RunQueued { // nothing of a queued run was done: it has nothing to deliver
		if err := a.store.Transition(ctx, id, from, batch.RunDelivering, r.Reason); err != nil {
			return err
		}
		if err := a.deliver(ctx, r, sp, final); err != nil {
			a.log.Error("delivery failed; it is tried again", "run", id, "err", err.Error())
			return err
		}
		failpoint.Hit("finish.delivered")
		from = []batch.RunState{batch.RunDelivering}
	}
	return a.store.Transition(ctx, id, from, final, r.Reason)
}

// verdict is the state a run ends in.
func verdict(r store.Run, sp *spec.Spec) batch.RunState {
	if r.Target != "" {
		return r.Target
	}
	c := r.Counts
	return batch.Progress{Total: r.Items, OK: c.OK, Failed: c.Failed, Skipped: c.Skipped}.Verdict(sp.FailureThresholdPPM)
}

// deliver seals every stretch and writes the outputs from segments alone.
func (a *App) deliver(ctx context.Context, r store.Run, sp *spec.Spec, final batch.RunState) error {
	if err := a.sealAll(ctx, r); err != nil {
		return err
	}
	failpoint.Hit("finish.sealed")
	dest, done, err := a.destination(ctx, r)
	if err != nil {
		return err
	}
	b, err := a.newReport(ctx, r, sp)
	if err == nil {
		_, err = sink.Write(ctx, dest, tee{rows{app: a, ctx: ctx, run: r, still: true}, b}, sink.Options{Run: r.ID, Job: r.Job, State: final, SpecDigest: r.SpecDigest,
			ManifestDigest: r.ManifestDigest, Formats: sp.Output.Format, Schema: sp.Task.Schema, Documents: a.documents(b, r, sp, final)})
	}
	if cerr := done(); err == nil {
		err = cerr
	}
	return err
}

// sealAll seals what is not sealed of every stretch.
func (a *App) sealAll(ctx context.Context, r store.Run) error {
	defer a.onlySealer(r.ID)()
	segs, err := a.segments(ctx, r.ID)
	if err != nil {
		return err
	}
	per := r.StretchShards()
	for k := int64(0); k*per < r.Opened; k++ {
		if err := a.seal(ctx, r, k, segs[k]); err != nil {
			return err
		}
	}
	return nil
}

// documents are the files that are made from more than the rows. They are
// rendered after the rows were written, and so after b has seen them all.
func (a *App) documents(b *reportBuilder, r store.Run, sp *spec.Spec, final batch.RunState) []sink.Document {
	var rep *report.Run
	with := func(files []sink.Written) report.Run {
		if rep == nil {
			whole := b.finish(a.meta(r, sp, final))
			whole.EndedAt = a.cfg.Now().UTC()
			rep = &whole
		}
		rep.Outputs = outputs(r, files)
		return *rep
	}
	return []sink.Document{
		{Name: sink.Report, Format: "html", Write: func(w io.Writer, files []sink.Written) error { return report.WriteHTML(w, with(files)) }},
		{Name: sink.Summary, Format: "json", Write: func(w io.Writer, files []sink.Written) error { return report.WriteSummary(w, with(files)) }},
	}
}

func outputs(r store.Run, files []sink.Written) []report.Output {
	out := make([]report.Output, len(files))
	for i, f := range files {
		out[i] = report.Output{Name: f.Name, URI: join(r.OutputURI, f.Name), Format: f.Format, Rows: f.Rows, Bytes: f.Bytes, SHA256: f.SHA256}
	}
	return out
}

// destination opens where a run's outputs go.
func (a *App) destination(ctx context.Context, r store.Run) (sink.Dest, func() error, error) {
	if blob.IsLocal(r.OutputURI) {
		f, err := sink.OpenFolder(r.OutputURI)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	b, key, err := a.cfg.Blobs.Open(ctx, folder(r.OutputURI))
	if err != nil {
		return nil, nil, err
	}
	return sink.NewBucket(objects{b}, key, a.dir.Run(r.ID)), b.Close, nil
}

// reportBuilder gathers a report from rows as they pass.
type reportBuilder struct {
	report.Builder
	eval *evaluator
}

func (a *App) newReport(ctx context.Context, r store.Run, sp *spec.Spec) (*reportBuilder, error) {
	b := &reportBuilder{}
	if sp.Evaluate != nil {
		m, err := a.manifest(r)
		if err != nil {
			return nil, err
		}
		b.eval = &evaluator{ctx: ctx, m: m, e: *sp.Evaluate, page: int64(r.ShardSize)}
	}
	return b, nil
}

func (b *reportBuilder) outcome(o batch.Outcome) error {
	b.AddOutcome(o)
	if b.eval == nil || o.State != batch.ItemOK {
		return nil
	}
	want, got, right, err := b.eval.compare(o)
	if err == nil {
		b.AddComparison(want, got, right)
	}
	return err
}

func (b *reportBuilder) finish(meta report.Run) report.Run {
	if b.eval != nil {
		meta.Evaluation = &report.Evaluation{Field: b.eval.e.Expected}
	}
	return b.Finish(meta)
}

// tee shows rows to a report while they are written: one pass over a run's
// segments serves both.
type tee struct {
	rows
	b *reportBuilder
}

// Outcomes visits every outcome in manifest order.
func (t tee) Outcomes(f func(batch.Outcome) error) error {
	return t.rows.Outcomes(func(o batch.Outcome) error {
		if err := t.b.outcome(o); err != nil {
			return err
		}
		return f(o)
	})
}

// Attempts visits every attempt by shard.
func (t tee) Attempts(f func(batch.Attempt) error) error {
	return t.rows.Attempts(func(at batch.Attempt) error {
		t.b.AddAttempt(at)
		return f(at)
	})
}

// meta is what the store knows of a run, in the report's form.
func (a *App) meta(r store.Run, sp *spec.Spec, state batch.RunState) report.Run {
	c := r.Counts
	pending := r.Items - c.OK - c.Failed - c.Skipped
	skipped := c.Skipped
	if state == batch.RunCancelled || state == batch.RunRejected {
		skipped, pending = skipped+pending, 0
	}
	m := report.Run{ID: r.ID, Job: r.Job, State: state, Provider: sp.Task.Provider, Model: sp.Task.Model, PriceVersion: r.PriceVersion,
		SpecDigest: r.SpecDigest, ManifestDigest: r.ManifestDigest, SpecFile: sp.File, ThresholdPPM: sp.FailureThresholdPPM, Reason: r.Reason,
		Items:  report.Items{Total: r.Items, OK: c.OK, Failed: c.Failed, Skipped: skipped, Pending: pending},
		Tokens: report.Tokens{Input: c.Usage.Input, Output: c.Usage.Output, Cached: c.Usage.Cached, Reasoning: c.Usage.Reasoning, Total: c.Usage.Total()},
		Cost:   report.Cost{Settled: r.Budget.Spent.Pico, AtRisk: r.Budget.AtRisk.Pico},
		Budget: report.Budget{Tokens: r.Budget.Limit.Tokens, Pico: r.Budget.Limit.Pico, Retries: r.Budget.Limit.Retries,
			Spent: report.AmountOf(r.Budget.Spent), Reserved: report.AmountOf(r.Budget.Reserved), AtRisk: report.AmountOf(r.Budget.AtRisk)},
		Attempts: c.Calls, ExtraCalls: c.Unknown, Retries: r.Budget.Spent.Retries,
		StartedAt: micros(r.StartedAt), EndedAt: micros(r.EndedAt)}
	if r.Price == nil {
		m.PriceVersion = ""
	}
	if state == batch.RunStoppedBudget {
		if m.StoppedBy = stoppedBy(r); r.Short.Shared() {
			m.StoppedBy = money.DimNone // the reason says which of the others
		}
	}
	m.Plan = planRows(r, m)
	return m
}

func micros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Report builds the report of a run as it stands.
func (a *App) Report(ctx context.Context, ref string) (report.Run, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return report.Run{}, err
	}
	sp, err := thaw(r)
	if err != nil {
		return report.Run{}, err
	}
	b, err := a.newReport(ctx, r, sp)
	if err != nil {
		return report.Run{}, err
	}
	x := rows{app: a, ctx: ctx, run: r}
	if err := x.Outcomes(b.outcome); err != nil {
		return report.Run{}, err
	}
	if err := x.Attempts(func(at batch.Attempt) error { b.AddAttempt(at); return nil }); err != nil {
		return report.Run{}, err
	}
	rep := b.finish(a.meta(r, sp, r.State))
	if rep.EndedAt.IsZero() {
		rep.EndedAt = a.cfg.Now().UTC()
	}
	if r.State.Ended() {
		rep.Outputs = outputs(r, a.written(ctx, r))
	}
	return rep, nil
}

func fmtCount(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
