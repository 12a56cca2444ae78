package report

import (
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// Builder gathers a Run from the rows of a run while they stream by. All
// outcomes are added first, then all attempts: only so can an attempt be told
// to be its item's last. Memory does not grow with the run, but for a bit an
// item and eight bytes a failed item, up to maxFinals of those. The zero value
// is ready.
type Builder struct {
	items    Items
	tokens   money.Usage
	settled  money.Amount
	atRisk   money.Amount
	attempts int64
	extra    int64
	series   series
	latency  Histogram
	groups   groups
	scores   scores
	finals   []uint64 // attempts that ended a failed item, packed, sorted before the first look-up
	sorted   bool
}

const maxFinals = 4 << 20

// AddOutcome counts one outcome.
func (b *Builder) AddOutcome(o batch.Outcome) {
	switch o.State {
	case batch.ItemOK:
		b.items.OK++
		if o.CopyOf != "" {
			b.items.Copies++
		}
		if o.Cached {
			b.items.Cached++
		}
	case batch.ItemFailed:
		b.items.Failed++
		b.groups.add(o.Class, o.ID, o.Message)
		if len(b.finals) < maxFinals {
			b.finals = append(b.finals, packed(o.Ordinal, o.Epoch, o.Attempt))
			b.sorted = false
		}
	case batch.ItemSkipped:
		b.items.Skipped++
	case batch.ItemPending:
	}
}

// AddComparison counts one answer that was compared with its label.
func (b *Builder) AddComparison(expected, got string, right bool) { b.scores.add(expected, got, right) }

// AddAttempt counts one call. A call that surely never left (ClassUnsent) is
// shown among the errors and is not counted as a call.
func (b *Builder) AddAttempt(a batch.Attempt) {
	class := a.Class.Traits()
	if a.Class != batch.ClassUnsent {
		b.attempts++
	}
	if a.Class == batch.ClassUnknown {
		b.extra++
	}
	b.tokens = b.tokens.Plus(a.Usage)
	if a.Estimated {
		b.atRisk = b.atRisk.Plus(a.Charged)
	} else {
		b.settled = b.settled.Plus(a.Charged)
	}
	if class.Accepted && a.LatencyUS > 0 {
		b.latency.Add(a.LatencyUS)
	}
	if a.StartedAt > 0 {
		b.addTo(b.series.at((a.StartedAt+a.LatencyUS)/1000), a)
	}
}

func (b *Builder) addTo(k *Bucket, a batch.Attempt) {
	final := b.final(a)
	if a.Estimated {
		k.AtRisk += a.Charged.Pico
	} else {
		k.Cost += a.Charged.Pico
	}
	k.Input += a.Usage.Input
	k.Output += a.Usage.Output
	k.Cached += a.Usage.Cached
	k.Charged += a.Charged.Tokens
	if final || a.Class == batch.ClassOK || (a.Class == batch.ClassTruncated) {
		k.Done++
	}
	if a.Class == batch.ClassOK {
		return
	}
	n := ClassCount{Count: 1}
	if final {
		n.Final = 1
	}
	if a.Class == batch.ClassTruncated && !final {
		return // accepted as the answer: no error
	}
	k.count(a.Class, n)
}

// final reports whether the attempt ended its item as failed.
func (b *Builder) final(a batch.Attempt) bool {
	if !b.sorted {
		slices.Sort(b.finals)
		b.sorted = true
	}
	_, found := slices.BinarySearch(b.finals, packed(a.Ordinal, a.Epoch, a.N))
	return found
}

// packed names an attempt in eight bytes: 40 bits of ordinal, the low 16 of
// epoch, the low 8 of its number.
func packed(o batch.Ordinal, e batch.Epoch, n int) uint64 {
	return uint64(o)<<24 | uint64(e)&0xffff<<8 | uint64(n)&0xff
}

// Finish returns meta with everything counted put in. meta gives what rows do
// not know: identity, state, the total of items, limits, times, timeline, plan,
// outputs, and the field of an evaluation. A Cost or Budget.Spent in meta that
// is not zero stands: it is the ledger's own. So does a larger Items.Skipped:
// the items a cancelled run never came to have no row.
func (b *Builder) Finish(meta Run) Run {
	r := meta
	r.Schema = Schema
	total := meta.Items.Total
	r.Items = b.items
	r.Items.Total = max(total, b.items.Done())
	r.Items.Skipped = max(r.Items.Skipped, min(meta.Items.Skipped, r.Items.Total-r.Items.OK-r.Items.Failed))
	r.Items.Pending = r.Items.Total - r.Items.Done()
	u := b.tokens
	r.Tokens = Tokens{u.Input, u.Output, u.Cached, u.Reasoning, u.Total()}
	if meta.Cost == (Cost{}) {
		r.Cost = Cost{b.settled.Pico, b.atRisk.Pico}
	}
	if meta.Budget.Spent == (Amount{}) {
		r.Budget.Spent, r.Budget.AtRisk = AmountOf(b.settled), AmountOf(b.atRisk)
	}
	r.Attempts, r.Retries, r.ExtraCalls = b.attempts, b.settled.Plus(b.atRisk).Retries, b.extra
	r.Series, r.Latency, r.Errors = b.series.list(), b.latency, b.groups.top()
	field := ""
	if meta.Evaluation != nil {
		field = meta.Evaluation.Field
	}
	if e := b.scores.result(field); e != nil {
		r.Evaluation = e
	}
	return r
}
