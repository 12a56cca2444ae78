package batch

import (
	"testing"

	"github.com/batchwright/batchwright/internal/money"
)

var worstCall = money.Amount{Tokens: 100, Pico: 1000, Retries: 1}

// started is a book of two items that holds enough for four calls, with item 0
// on the wire for the nth time.
func started(t *testing.T, n int) *Book {
	t.Helper()
	b := NewBook(2)
	b.Reserved = worstCall.Plus(worstCall).Plus(worstCall).Plus(worstCall)
	for i := range n {
		if err := b.Start(0, worstCall); err != nil {
			t.Fatal(err)
		}
		if i < n-1 {
			b.Finish(0, End{Worst: worstCall, Charge: money.Amount{Tokens: 1}, State: ItemPending})
		}
	}
	return b
}

// Whatever became of a call, what it was charged is spent and what it held is
// not held any more.
func TestBookEnds(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]End{
		"an answer":         {Charge: money.Amount{Tokens: 7, Pico: 70}, State: ItemOK},
		"not known":         {Charge: worstCall, Lost: true, State: ItemPending},
		"not known, at end": {Charge: worstCall, Lost: true, State: ItemFailed},
		"for nothing":       {Free: true, State: ItemPending},
		"billed and free":   {Charge: money.Amount{Tokens: 3}, Free: true, State: ItemPending},
	} {
		b := started(t, 1)
		e.Worst = worstCall
		if b.Finish(0, e) {
			t.Errorf("%s: it is a breach", name)
		}
		if b.Spent != e.Charge || !b.Open.IsZero() || b.Free() != b.Reserved.Minus(e.Charge) {
			t.Errorf("%s: spent is %+v, open %+v, free %+v", name, b.Spent, b.Open, b.Free())
		}
		if s := b.Settle(); s.Spent != e.Charge || !s.AtRisk.IsZero() {
			t.Errorf("%s: it settles as %+v", name, s)
		}
	}
}

// A crash is not the item's failure, and gives it no attempt back either.
func TestBookKeepsAttemptsOverATakeOver(t *testing.T) {
	t.Parallel()
	b := started(t, 3)
	if s := b.TakeOver(); len(s.Unknown) != 1 || s.Unknown[0] != 0 || s.AtRisk != worstCall || s.Spent.Tokens != 2 {
		t.Fatalf("it settles as %+v", s)
	}
	if b.Attempts[0] != 2 || b.Lost[0] != 1 || b.Attempts[1] != 0 || b.Lost[1] != 0 {
		t.Fatalf("attempts are %v, lost are %v; two had ended and one was lost", b.Attempts, b.Lost)
	}
}

// What is at risk is as good as spent until the truth is known.
func TestFitCountsWhatIsHeldSpentAndAtRisk(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]Level{
		"spent":    {Spent: money.Amount{Tokens: 30}},
		"reserved": {Reserved: money.Amount{Tokens: 30}},
		"at risk":  {AtRisk: money.Amount{Tokens: 30}},
		"all":      {Spent: money.Amount{Tokens: 10}, Reserved: money.Amount{Tokens: 10}, AtRisk: money.Amount{Tokens: 10}},
	} {
		l.Limit = money.Limit{Tokens: 50, Pico: -1, Retries: -1}
		if l.Committed() != (money.Amount{Tokens: 30}) {
			t.Errorf("%s: %+v is committed", name, l.Committed())
		}
		sum, n, hit := Fit([]Level{l}, []money.Amount{{Tokens: 10}, {Tokens: 10}, {Tokens: 10}})
		if n != 2 || sum.Tokens != 20 || hit != money.DimTokens {
			t.Errorf("%s: %d fit, %+v, %q refuses", name, n, sum, hit)
		}
	}
}
