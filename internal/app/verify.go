package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/spec"
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
	Bill     *BillCheck     `json:"bill,omitempty"` // only when a bill was given
}

// maxFindings is how many are told of one invariant, so that one that is broken
// everywhere does not hide another.
const maxFindings = 25

type verifier struct {
	a   *App
	ctx context.Context
	r   store.Run
	v   Verification

	open     map[batch.ShardNo]store.Shard // rows that are not sealed away
	failures map[batch.Ordinal]batch.Class // failed items as they can be asked for
	found    map[string]int                // by invariant

	usage     money.Usage
	charged   money.Amount
	unknown   int64 // attempts whose fate is not known
	corrected int64 // attempts that may only correct one of these (T4)
	ok        int64
	failed    int64
	replaced  int64        // failed items that wait for their retry
	risk      money.Amount // of the calls that a lost lease hid and nobody has told the truth of

	spec *spec.Spec       // nil when it cannot be read
	card *money.PriceCard // nil when the run has no price
	bill *bill            // nil when none was given
}

// Verify checks the invariants a run's own records can show: every outcome is
// there once and unchanged, and is where the shards say (I1, I2), paid calls
// are accounted for (I3), the ledger sums to the budget's row to the last
// pico-USD and inside its limit (I4), every outcome names an attempt that made
// it (I8), segments and delivered files are whole (I9), the frozen spec is the
// one that was digested (I5) and items are what the manifest hashed (I10). It
// changes nothing. A run that goes on meanwhile cannot be judged: StillRunning.
func (a *App) Verify(ctx context.Context, ref string) (Verification, error) {
	return a.VerifyAgainst(ctx, ref, nil)
}

// VerifyAgainst is Verify with a witness beside the run's own records: the
// provider's bill, one JSON line per billed call. It judges I3 and I4 by it: a
// call that was billed and is in no attempt is named by its request's digest,
// and the bill may be above neither the ledger nor the budget. Kind Invalid when
// the bill is none, Unavailable when it does not come whole.
func (a *App) VerifyAgainst(ctx context.Context, ref string, witness io.Reader) (Verification, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return Verification{}, err
	}
	x := &verifier{a: a, ctx: ctx, r: r, found: map[string]int{}, v: Verification{RunID: r.ID, State: r.State, Findings: []Finding{}, Items: r.Items}}
	if err := x.price(); err != nil {
		x.find("I4", string(r.ID), "the run's price cannot be read: %v", err)
	}
	if witness != nil {
		if err := x.readBill(witness); err != nil {
			return x.v, err
		}
	}
	for _, step := range []func() error{x.rows, x.frozenSpec, x.items, x.results, x.counts, x.ledger, x.shared, x.witness, x.delivered} {
		if err := step(); err != nil {
			return x.v, err
		}
	}
	if err := x.stood(); err != nil {
		return x.v, err
	}
	for _, inv := range slices.Sorted(maps.Keys(x.found)) {
		if more := x.found[inv] - maxFindings; more > 0 {
			x.v.Findings = append(x.v.Findings, Finding{inv, string(r.ID), fmt.Sprintf("%d more like these", more)})
		}
	}
	x.v.OK = len(x.v.Findings) == 0
	return x.v, nil
}

// stood makes sure that the run stood still: its parts were read one after the
// other.
func (x *verifier) stood() error {
	now, err := x.a.store.Run(x.ctx, x.r.ID)
	if err != nil {
		return err
	}
	if now.State == x.r.State && now.Counts == x.r.Counts && now.Budget == x.r.Budget && now.Opened == x.r.Opened && now.Closed == x.r.Closed {
		return nil
	}
	return &batch.Error{Kind: batch.StillRunning, Op: "verify", Ref: string(x.r.ID), Msg: "the run went on while it was checked",
		Hint: "batchwright wait " + string(x.r.ID) + ", or pause it, and verify again"}
}

func (x *verifier) find(inv, ref, format string, args ...any) {
	if x.found[inv]++; x.found[inv] <= maxFindings {
		x.v.Findings = append(x.v.Findings, Finding{inv, ref, fmt.Sprintf(format, args...)})
	}
}

func (x *verifier) did(format string, args ...any) {
	x.v.Checked = append(x.v.Checked, fmt.Sprintf(format, args...))
}

// rows reads what the store keeps beside outcomes.
func (x *verifier) rows() error {
	ss, err := x.a.store.Open(x.ctx, x.r.ID)
	if err != nil {
		return err
	}
	x.open = make(map[batch.ShardNo]store.Shard, len(ss))
	closed := x.r.Opened
	for _, s := range ss {
		x.open[s.Ref.Shard] = s
		if s.State != batch.ShardDone {
			closed--
		}
	}
	if closed != x.r.Closed {
		x.find("I2", string(x.r.ID), "the run counts %d shards as done; %d are", x.r.Closed, closed)
	}
	fs, err := x.a.store.Failures(x.ctx, x.r.ID, "", -1, 0)
	x.failures = make(map[batch.Ordinal]batch.Class, len(fs))
	for _, f := range fs {
		x.failures[f.Ordinal] = f.Class
	}
	return err
}

// items is I10: the items are what was hashed.
func (x *verifier) items() error {
	m, err := x.a.manifest(x.r)
	if err != nil {
		x.find("I10", string(x.r.ID), "the manifest cannot be opened: %v", err)
		return nil
	}
	if err := m.Verify(x.ctx); err != nil {
		x.find("I10", string(x.r.ID), "the manifest: %v", err)
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
	return x.ctx.Err()
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
		if seg := segs[k]; seg != nil && s.chunks == 0 && (int64(len(s.outcomes)) != seg.Rows || int64(len(s.attempts)) != seg.AttemptsRows) {
			x.find("I9", seg.Name, "the segment has %d outcomes and %d attempts, its pointer says %d and %d",
				len(s.outcomes), len(s.attempts), seg.Rows, seg.AttemptsRows)
		}
		for _, o := range s.twice {
			x.find("I2", o.ID, "item %d has a second outcome, of attempt %d of epoch %d", o.Ordinal, o.Attempt, o.Epoch)
		}
		made := x.attempts(s)
		x.hold(s.attempts)
		for _, o := range s.outcomes {
			if no := int64(o.Ordinal) / int64(x.r.ShardSize); o.Ordinal <= last || int64(o.Ordinal) >= x.r.Items || no < k*per || no >= (k+1)*per {
				x.find("I2", o.ID, "outcome %d is out of order or outside of its stretch, %d", o.Ordinal, k)
			}
			last = o.Ordinal
			x.outcome(o, made)
		}
		x.shards(k*per, min((k+1)*per, x.r.Opened), s.outcomes)
		if merr == nil {
			x.ids(m.Read, s.outcomes)
		}
	}
	x.did("%d outcomes and %d attempts in %s (I1, I2, I8, I9)", x.v.Outcomes, x.v.Attempts, fmtCount(int64(len(segs)), "sealed segment"))
	return nil
}

// shards compares the outcomes of a stretch with what its shards' rows say is
// done; a shard without a row was sealed away whole.
func (x *verifier) shards(from, to int64, os []batch.Outcome) {
	for no := batch.ShardNo(from); no < batch.ShardNo(to); no++ {
		first, n := x.r.Span(no)
		there := batch.NewBits(n)
		for ; len(os) > 0 && os[0].Ordinal < first+batch.Ordinal(n); os = os[1:] {
			if os[0].Ordinal >= first {
				there.Set(int(os[0].Ordinal - first))
			}
		}
		row, open := x.open[no]
		for i := range n {
			done := !open || row.Book.Done.Get(i)
			ref := fmt.Sprintf("%s/%d item %d", x.r.ID, no, int64(first)+int64(i))
			if done && !there.Get(i) {
				x.find("I1", ref, "it is done and its outcome is not there")
			}
			if !done && there.Get(i) && x.r.Retried == 0 {
				x.find("I2", ref, "it has an outcome and its shard has it as not done")
			}
		}
		if open && row.State != batch.ShardLeased && row.Book.Started.Count() > 0 {
			x.find("I3", row.Ref.String(), "nobody has the shard and %d of its items are on the wire", row.Book.Started.Count())
		}
	}
}

// waits reports that an outcome was given up for a retry that was asked for.
func (x *verifier) waits(o batch.Ordinal) bool {
	row, open := x.open[batch.ShardNo(int64(o)/int64(x.r.ShardSize))]
	return open && x.r.Retried > 0 && !row.Book.Done.Get(int(int64(o)%int64(x.r.ShardSize)))
}

// attemptRef names one call of one item.
type attemptRef struct {
	item  batch.Ordinal
	epoch batch.Epoch
	n     int
}

// attempts sums a stretch's ledger and returns who made which attempt.
func (x *verifier) attempts(s stretch) map[attemptRef]batch.Attempt {
	made := make(map[attemptRef]batch.Attempt, len(s.attempts))
	lost := map[attemptRef]bool{}
	for _, at := range s.attempts {
		if at.N == 0 {
			lost[attemptRef{at.Ordinal, at.Epoch, 0}] = true
			x.risk = x.risk.Plus(at.Charged)
		}
	}
	for _, at := range s.attempts {
		ref := attemptRef{at.Ordinal, at.Epoch, at.N}
		x.v.Attempts++
		x.usage = x.usage.Plus(at.Usage)
		x.charged = x.charged.Plus(at.Charged)
		if !at.Class.Known() {
			x.find("I8", at.ID, "attempt %d of epoch %d has the unknown class %q", at.N, at.Epoch, at.Class)
		}
		if _, again := made[ref]; again {
			x.find("I3", at.ID, "attempt %d of item %d in epoch %d stands twice in the ledger", at.N, at.Ordinal, at.Epoch)
		}
		made[ref] = at
		if at.Estimated && at.Class.Traits().PerhapsPaid {
			x.unknown++
		}
		if one := (attemptRef{at.Ordinal, at.Epoch, 0}); at.N > 0 && lost[one] {
			x.corrected++
			delete(lost, one)
		}
		if corrects(at) {
			x.risk = x.risk.Minus(at.Reserved)
		}
		x.priced(at)
	}
	return made
}

// priced is the part of I4 that one record shows: what it charged is what its
// usage costs at the run's price, or the worst case where nobody told.
func (x *verifier) priced(at batch.Attempt) {
	truth := at.Reserved
	switch {
	case at.Usage.Total() > 0:
		pico, err := cost(x.card, at.Usage)
		if err != nil {
			return // beyond arithmetic: a breach, which stopped the run
		}
		truth = money.Amount{Tokens: at.Usage.Total(), Pico: pico}
	case !at.Estimated:
		truth = money.Amount{}
	}
	if corrects(at) {
		truth = truth.Minus(at.Reserved)
	}
	if at.Charged.Tokens != truth.Tokens || at.Charged.Pico != truth.Pico {
		x.find("I4", at.ID, "attempt %d of epoch %d charged %d tokens and %s USD; it comes to %d and %s", at.N, at.Epoch,
			at.Charged.Tokens, at.Charged.Pico, truth.Tokens, truth.Pico)
	}
}

// corrects reports that a record is a late answer's (T4): its charge is the
// truth less the worst case that its take-over had charged.
func corrects(at batch.Attempt) bool {
	truth := at.Usage.Total()
	if truth == 0 && at.Estimated {
		truth = at.Reserved.Tokens
	}
	return at.N > 0 && at.Reserved.Tokens > 0 && at.Charged.Tokens == truth-at.Reserved.Tokens
}

func (x *verifier) outcome(o batch.Outcome, made map[attemptRef]batch.Attempt) {
	x.v.Outcomes++
	switch o.State {
	case batch.ItemOK:
		x.ok++
		if len(o.Output) == 0 {
			x.find("I1", o.ID, "its outcome is ok and has no output")
		}
	case batch.ItemFailed:
		if class := x.failures[o.Ordinal]; class != o.Class {
			x.find("I2", o.ID, "it failed as %q and can be asked for as %q", o.Class, class)
		}
		if x.waits(o.Ordinal) {
			x.replaced++
		} else {
			x.failed++
		}
	default:
		x.find("I2", o.ID, "its outcome has the state %q", o.State)
	}
	if o.CopyOf != "" || o.Cached || o.Attempt == 0 {
		return
	}
	at, ok := made[attemptRef{o.Ordinal, o.Epoch, o.Attempt}]
	switch {
	case !ok:
		x.find("I8", o.ID, "its outcome names attempt %d of epoch %d, which is not in the ledger", o.Attempt, o.Epoch)
	case o.State == batch.ItemOK && (at.Class != o.Class || at.Usage != o.Usage):
		x.find("I8", o.ID, "its outcome is %s and used %+v; attempt %d of epoch %d ended as %s and used %+v",
			o.Class, o.Usage, o.Attempt, o.Epoch, at.Class, at.Usage)
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
