package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// Finding is one way in which a run is not what it must be.
type Finding struct {
	Invariant string `json:"invariant"` // I1, I2, ...
	Ref       string `json:"ref"`       // run, shard, item or file
	Message   string `json:"message"`
}

// Verification is what verify found. OK means nothing was found.
type Verification struct {
	RunID    batch.RunID    `json:"run_id"`
	State    batch.RunState `json:"state"`
	OK       bool           `json:"ok"`
	Checked  []string       `json:"checked"` // what was compared, in words
	Findings []Finding      `json:"findings"`
	Items    int64          `json:"items"`
	Outcomes int64          `json:"outcomes"`
	Attempts int64          `json:"attempts"`
}

const maxFindings = 100

type verifier struct {
	a   *App
	ctx context.Context
	r   store.Run
	v   Verification

	usage   money.Usage
	charged money.Amount
	unknown int64
	ok      int64
	failed  int64
}

// Verify checks the invariants a run's own records can show: every outcome is
// there once and unchanged (I1, I2), paid calls are accounted for (I3), the
// ledger sums to the budget's row to the last pico-USD and inside its limit
// (I4), every outcome names an attempt that was made (I8), segments are whole
// (I9) and items are what the manifest hashed (I10). It changes nothing.
func (a *App) Verify(ctx context.Context, ref string) (Verification, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return Verification{}, err
	}
	x := &verifier{a: a, ctx: ctx, r: r, v: Verification{RunID: r.ID, State: r.State, Findings: []Finding{}, Items: r.Items}}
	for _, step := range []func() error{x.items, x.results, x.counts, x.ledger} {
		if err := step(); err != nil {
			return x.v, err
		}
	}
	x.v.OK = len(x.v.Findings) == 0
	return x.v, nil
}

func (x *verifier) find(inv, ref, format string, args ...any) {
	if len(x.v.Findings) < maxFindings {
		x.v.Findings = append(x.v.Findings, Finding{inv, ref, fmt.Sprintf(format, args...)})
	}
}

func (x *verifier) did(format string, args ...any) {
	x.v.Checked = append(x.v.Checked, fmt.Sprintf(format, args...))
}

// manifest is I10: the items are what was hashed.
func (x *verifier) items() error {
	m, err := x.a.manifest(x.r)
	if err != nil {
		x.find("I10", string(x.r.ID), "the manifest cannot be opened: %v", err)
		return nil
	}
	if m.Count() != x.r.Items {
		x.find("I2", string(x.r.ID), "the manifest has %d items, the run %d", m.Count(), x.r.Items)
	}
	for first := int64(0); first < m.Count(); first += 1000 {
		n := int(min(1000, m.Count()-first))
		_, err := m.Items(x.ctx, batch.Ordinal(first), n)
		if errors.Is(err, batch.ErrInputChanged) {
			x.find("I10", fmt.Sprintf("%s items %d to %d", x.r.ID, first, first+int64(n)-1), "%v", err)
			break
		}
		if err != nil {
			x.find("I10", string(x.r.ID), "items %d to %d cannot be read: %v", first, first+int64(n)-1, err)
			break
		}
	}
	x.did("%d items against the hashes of the manifest (I10)", m.Count())
	return nil
}

// results is I1, I2, I8 and I9.
func (x *verifier) results() error {
	m, merr := x.a.manifest(x.r)
	segs, err := x.a.segments(x.ctx, x.r.ID)
	if err != nil {
		return err
	}
	per := x.r.StretchShards()
	last := batch.Ordinal(-1)
	for k := int64(0); k*per < x.r.Opened; k++ {
		s, err := x.a.loadStretch(x.ctx, x.r, k, segs[k], both)
		if err != nil {
			x.find("I9", fmt.Sprintf("%s stretch %d", x.r.ID, k), "%v", err)
			continue
		}
		if seg := segs[k]; seg != nil && s.chunks == 0 && int64(len(s.outcomes)) != seg.Rows {
			x.find("I9", seg.Name, "the segment has %d outcomes, its pointer says %d", len(s.outcomes), seg.Rows)
		}
		made := x.attempts(s)
		for _, o := range s.outcomes {
			if o.Ordinal <= last || int64(o.Ordinal) >= x.r.Items {
				x.find("I2", o.ID, "outcome %d is out of order or outside of the manifest", o.Ordinal)
			}
			last = o.Ordinal
			x.outcome(o, made)
		}
		if merr == nil {
			x.ids(m.Read, s.outcomes)
		}
	}
	x.did("%d outcomes and %d attempts in %s (I1, I2, I8, I9)", x.v.Outcomes, x.v.Attempts, fmtCount(int64(len(segs)), "sealed segment"))
	return nil
}

// attempts sums a stretch's ledger and returns who made which attempt.
func (x *verifier) attempts(s stretch) map[[3]int64]bool {
	made := make(map[[3]int64]bool, len(s.attempts))
	for _, at := range s.attempts {
		x.v.Attempts++
		x.usage = x.usage.Plus(at.Usage)
		x.charged = x.charged.Plus(at.Charged)
		if !at.Class.Known() {
			x.find("I8", at.ID, "attempt %d of epoch %d has the unknown class %q", at.N, at.Epoch, at.Class)
		}
		if made[[3]int64{int64(at.Ordinal), int64(at.Epoch), int64(at.N)}] && at.N > 0 {
			x.find("I3", at.ID, "attempt %d of epoch %d stands twice in the ledger", at.N, at.Epoch)
		}
		made[[3]int64{int64(at.Ordinal), int64(at.Epoch), int64(at.N)}] = true
		if at.Class == batch.ClassUnknown && at.N == 0 {
			x.unknown++
		}
	}
	return made
}

func (x *verifier) outcome(o batch.Outcome, made map[[3]int64]bool) {
	x.v.Outcomes++
	switch o.State {
	case batch.ItemOK:
		x.ok++
		if len(o.Output) == 0 {
			x.find("I1", o.ID, "its outcome is ok and has no output")
		}
	case batch.ItemFailed:
		x.failed++
	default:
		x.find("I2", o.ID, "its outcome has the state %q", o.State)
	}
	called := o.CopyOf == "" && !o.Cached && o.Attempt > 0
	if called && !made[[3]int64{int64(o.Ordinal), int64(o.Epoch), int64(o.Attempt)}] {
		x.find("I8", o.ID, "its outcome names attempt %d of epoch %d, which is not in the ledger", o.Attempt, o.Epoch)
	}
}

// ids is the other half of I2: outcomes carry the ids of the manifest's items.
func (x *verifier) ids(read func(batch.Ordinal, int) ([]manifest.Entry, error), os []batch.Outcome) {
	for i := 0; i < len(os); {
		first := os[i].Ordinal
		n := int(min(int64(os[len(os)-1].Ordinal-first)+1, 2000, x.r.Items-int64(first)))
		es, err := read(first, max(n, 0))
		if err != nil || len(es) == 0 {
			x.find("I10", string(x.r.ID), "entries from %d cannot be read: %v", first, err)
			return
		}
		for ; i < len(os) && int(os[i].Ordinal-first) < len(es); i++ {
			if e := es[os[i].Ordinal-first]; e.ID != os[i].ID {
				x.find("I2", os[i].ID, "outcome %d is for item %q in the manifest", os[i].Ordinal, e.ID)
			}
		}
	}
}

// counts compares the store's sums with what is there.
func (x *verifier) counts() error {
	c := x.r.Counts
	if x.ok != c.OK || x.failed != c.Failed {
		x.find("I2", string(x.r.ID), "the store counts %d ok and %d failed; %d and %d are there", c.OK, c.Failed, x.ok, x.failed)
	}
	fs, err := x.a.store.Failures(x.ctx, x.r.ID, "", -1, 0)
	if err != nil {
		return err
	}
	if x.r.Retried == 0 && int64(len(fs)) != x.failed {
		x.find("I2", string(x.r.ID), "%d failed items can be asked for; %d failed", len(fs), x.failed)
	}
	switch x.r.State {
	case batch.RunSucceeded, batch.RunPartial:
		if x.v.Outcomes+c.Skipped != x.r.Items {
			x.find("I2", string(x.r.ID), "the run is %s with %d outcomes of %d items", x.r.State, x.v.Outcomes, x.r.Items)
		}
	}
	if c.Usage != x.usage {
		x.find("I4", string(x.r.ID), "the store sums usage to %+v; the attempts sum to %+v", c.Usage, x.usage)
	}
	x.did("counts and usage of the store against outcomes and attempts (I2)")
	return nil
}

// ledger is I3 and I4: the money.
func (x *verifier) ledger() error {
	b := x.r.Budget
	open, err := x.a.store.Open(x.ctx, x.r.ID)
	if err != nil {
		return err
	}
	var held money.Amount
	for _, s := range open {
		k := s.Book
		if !k.Open.Plus(k.Spent).Within(k.Reserved) && x.r.Target != batch.RunFailed && x.r.State != batch.RunFailed {
			x.find("I4", s.Ref.String(), "open %+v plus spent %+v is above the %+v reserved", k.Open, k.Spent, k.Reserved)
		}
		if s.State != batch.ShardLeased && !(k.Reserved.IsZero() && k.Open.IsZero() && k.Spent.IsZero()) {
			x.find("I4", s.Ref.String(), "the shard is %s and still holds money", s.State)
		}
		if s.State == batch.ShardLeased {
			held = held.Plus(k.Reserved).Minus(k.Spent)
		}
	}
	if b.Reserved != held {
		x.find("I4", string(x.r.ID), "the budget has %+v reserved; leases hold %+v", b.Reserved, held)
	}
	if sum := b.Spent.Plus(b.AtRisk); sum != x.charged {
		x.find("I4", string(x.r.ID), "spent and at risk are %+v; the ledger's attempts sum to %+v", sum, x.charged)
	}
	if d := b.Limit.Exceeded(money.Amount{}, b.Committed()); d != money.DimNone && x.r.State != batch.RunFailed {
		x.find("I4", string(x.r.ID), "spent, reserved and at risk are above the %s budget", d)
	}
	x.did("the ledger: spent %d tokens and %s USD, at risk %d tokens and %s USD (I3, I4)",
		b.Spent.Tokens, b.Spent.Pico, b.AtRisk.Tokens, b.AtRisk.Pico)
	return nil
}
