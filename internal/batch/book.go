package batch

import (
	"errors"
	"math"

	"github.com/batchwright/batchwright/internal/money"
)

// ErrOverdrawn reports that a start does not fit what the lease still holds.
// Ask for a top-up, or finish what is open and release.
var ErrOverdrawn = errors.New("the lease's reservation is used up")

// Book is a shard's account: the columns of its row that work and money move
// in. The lease holder is the only one who writes it, so it keeps the truth in
// memory and writes absolute values; writing the same book twice is harmless.
type Book struct {
	N        int
	Done     Bits
	Started  Bits
	Attempts []byte // per item: attempts that count against max_attempts
	Lost     []byte // per item: attempts whose fate a lost lease hid
	// ItemTokens is what each item has been charged, in tokens; nil unless an
	// item budget applies.
	ItemTokens []int64

	Reserved money.Amount // held for this lease
	Open     money.Amount // worst case of the calls that may be on the wire
	Spent    money.Amount // charged in this lease, not yet on the run's budget

	// Since the shard was opened; added to the run when it closes.
	OK, Failed, Skipped int64
	Calls, Unknown      int64
	Usage               money.Usage
}

// NewBook is the account of a shard of n items that nobody has worked.
func NewBook(n int) *Book {
	return &Book{N: n, Done: NewBits(n), Started: NewBits(n), Attempts: make([]byte, n), Lost: make([]byte, n)}
}

// Pending counts the items without an outcome.
func (b *Book) Pending() int { return b.N - b.Done.Count() }

// Free is what the lease can still put on the wire.
func (b *Book) Free() money.Amount { return b.Reserved.Minus(b.Open).Minus(b.Spent) }

// Start takes item i onto the wire at its worst case (T2). The caller writes
// the book before it sends a byte.
func (b *Book) Start(i int, worst money.Amount) error {
	if b.Done.Get(i) || b.Started.Get(i) {
		panic("batch: start of an item that is done or on the wire")
	}
	if !worst.Within(b.Free()) { // guard: WITHIN_LEASE
		return ErrOverdrawn
	}
	b.Started.Set(i)
	b.Open = b.Open.Plus(worst)
	if b.Attempts[i] < math.MaxUint8 {
		b.Attempts[i]++
	}
	return nil
}

// End is how an attempt ended.
type End struct {
	Worst  money.Amount // what Start held
	Charge money.Amount // what it cost; the worst case when nobody knows
	Usage  money.Usage
	Free   bool      // does not consume the item's attempts
	State  ItemState // pending: try again later; else the item's outcome
	Lost   bool      // charged without usage: its fate is not known
}

// Finish ends the attempt of item i (T3): what was held goes, what it cost is
// spent. It reports a breach: the provider billed more than was reserved.
func (b *Book) Finish(i int, e End) (breach bool) {
	b.take(i, e.Worst)
	b.Spent = b.Spent.Plus(e.Charge)
	b.Calls++
	b.Usage = b.Usage.Plus(e.Usage)
	if e.Lost {
		b.Unknown++
	}
	if e.Free {
		b.Attempts[i]--
	}
	b.charge(i, e.Charge.Tokens)
	b.Close(i, e.State)
	return !e.Charge.Within(e.Worst)
}

// Close gives item i its outcome without a call of its own: a copy, a cached
// answer, a quarantined row, or the end of its attempts. Pending does nothing.
func (b *Book) Close(i int, s ItemState) {
	switch s {
	case ItemPending:
		return
	case ItemOK:
		b.OK++
	case ItemFailed:
		b.Failed++
	case ItemSkipped:
		b.Skipped++
	}
	if b.Done.Get(i) {
		panic("batch: a second outcome for one item")
	}
	b.Done.Set(i)
}

// Unsend takes a start back (T5): surely no byte of the request was written.
func (b *Book) Unsend(i int, worst money.Amount) {
	b.take(i, worst)
	b.Attempts[i]--
}

func (b *Book) take(i int, worst money.Amount) {
	if !b.Started.Get(i) {
		panic("batch: end of an attempt that was not started")
	}
	b.Started.Clear(i)
	b.Open = b.Open.Minus(worst)
}

func (b *Book) charge(i int, tokens int64) {
	if b.ItemTokens != nil {
		b.ItemTokens[i] += tokens
	}
}

// Settlement is what leaves a lease for the run's budgets.
type Settlement struct {
	Release money.Amount // reserved goes down by this
	Spent   money.Amount // spent goes up by this
	AtRisk  money.Amount // at risk goes up by this
	Unknown []int        // items whose attempt's fate is not known
}

// Settle ends the lease in order: nothing is on the wire.
func (b *Book) Settle() Settlement {
	if !b.Open.IsZero() {
		panic("batch: settle with calls on the wire")
	}
	s := Settlement{Release: b.Reserved, Spent: b.Spent}
	b.Reserved, b.Spent = money.Amount{}, money.Amount{}
	return s
}

// TakeOver ends a dead holder's lease: what it had committed is settled, the
// worst case of what it had on the wire is at risk until the truth is known,
// and every item that was started and is not done counts one lost attempt.
// Such an attempt is not charged to the item's max_attempts: it is our crash,
// not the item's failure (MaxLost bounds it).
func (b *Book) TakeOver() Settlement {
	s := Settlement{Release: b.Reserved, Spent: b.Spent, AtRisk: b.Open}
	for i := range b.N {
		if !b.Started.Get(i) {
			continue
		}
		b.Started.Clear(i)
		b.Unknown++
		b.Calls++
		s.Unknown = append(s.Unknown, i)
		if b.Attempts[i] > 0 {
			b.Attempts[i]--
		}
		if b.Lost[i] < math.MaxUint8 {
			b.Lost[i]++
		}
	}
	b.Reserved, b.Open, b.Spent = money.Amount{}, money.Amount{}, money.Amount{}
	return s
}

// MaxLost bounds how often one item may be on the wire when its worker dies:
// past it the item fails, so that an item that kills its worker cannot do so
// for ever.
const MaxLost = 20
