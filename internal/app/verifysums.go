package app

import (
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// counts compares the store's sums with what is there.
func (x *verifier) counts() error {
	c, ref := x.r.Counts, string(x.r.ID)
	if x.ok != c.OK || x.failed != c.Failed {
		x.find("I2", ref, "the store counts %d ok and %d failed; %d and %d are there", c.OK, c.Failed, x.ok, x.failed)
	}
	if n := int64(len(x.failures)); n != x.failed+x.replaced {
		x.find("I2", ref, "%d failed items can be asked for; %d failed", n, x.failed+x.replaced)
	}
	switch x.r.State {
	case batch.RunSucceeded, batch.RunPartial:
		if x.v.Outcomes+c.Skipped != x.r.Items {
			x.find("I2", ref, "the run is %s with %d outcomes of %d items", x.r.State, x.v.Outcomes, x.r.Items)
		}
	}
	// A late answer adds a line that corrects the one of a lost call: it is no
	// call of its own.
	if c.Calls > x.v.Attempts || c.Calls < x.v.Attempts-x.corrected {
		x.find("I3", ref, "the store counts %d calls; the ledger has %d attempts, %d of them corrections at most", c.Calls, x.v.Attempts, x.corrected)
	}
	if c.Unknown > x.unknown || c.Unknown < x.unknown-x.corrected {
		x.find("I3", ref, "the store counts %d calls whose fate is not known; the ledger has %d", c.Unknown, x.unknown)
	}
	if c.Usage != x.usage {
		x.find("I4", ref, "the store sums usage to %+v; the attempts sum to %+v", c.Usage, x.usage)
	}
	x.did("counts, calls and usage of the store against outcomes and attempts (I2, I3)")
	return nil
}

// ledger is I4: the money.
func (x *verifier) ledger() error {
	b, ref := x.r.Budget, string(x.r.ID)
	var held money.Amount
	for _, s := range x.open {
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
		x.find("I4", ref, "the budget has %+v reserved; leases hold %+v", b.Reserved, held)
	}
	if sum := b.Spent.Plus(b.AtRisk); sum != x.charged {
		x.find("I4", ref, "spent and at risk are %+v; the ledger's attempts sum to %+v", sum, x.charged)
	}
	if b.AtRisk != x.risk {
		x.find("I4", ref, "at risk are %+v; the calls that lost leases hid were charged %+v", b.AtRisk, x.risk)
	}
	if d := b.Limit.Exceeded(money.Amount{}, b.Committed()); d != money.DimNone && x.r.State != batch.RunFailed {
		x.find("I4", ref, "spent, reserved and at risk are above the %s budget", d)
	}
	x.did("the ledger: spent %d tokens and %s USD, at risk %d tokens and %s USD (I3, I4)",
		b.Spent.Tokens, b.Spent.Pico, b.AtRisk.Tokens, b.AtRisk.Pico)
	return nil
}
