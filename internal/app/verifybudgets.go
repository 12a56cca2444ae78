package app

import (
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// shared is I4 for the budgets that the run shares with others: what each row
// has reserved is what leases hold of it, what it has spent and at risk is what
// runs have left on it, it is inside its limit, and no more of this run stands
// on it than on the run's own budget.
func (x *verifier) shared() error {
	mine, err := x.a.store.Shares(x.ctx, x.r.ID)
	if err != nil || len(mine) == 0 {
		return err
	}
	rows, err := x.a.store.Rows(x.ctx)
	if err != nil {
		return err
	}
	byID := make(map[string]store.Level, len(rows))
	for _, l := range rows {
		byID[l.ID] = l
	}
	left := map[string]money.Amount{} // by name, over all periods
	for _, s := range mine {
		l, ok := byID[s.Budget]
		if !ok {
			x.find("I4", s.Budget, "the run drew on a budget that is not there")
			continue
		}
		x.row(l)
		left[l.Name] = left[l.Name].Plus(s.Spent).Plus(s.AtRisk)
	}
	own := x.r.Budget.Spent.Plus(x.r.Budget.AtRisk)
	for name, sum := range left {
		if !sum.Within(own) {
			x.find("I4", string(x.r.ID), "the run left %+v on the budget %s and only %+v on its own", sum, name, own)
		}
	}
	x.did("%s that the run shares: leases, runs' shares and limits (I4)", fmtCount(int64(len(mine)), "row")+" of budgets")
	return nil
}

// row checks one row against what draws on it. The limit may have been passed
// when it was lowered, and by a bill above its reservation: by that and no more.
func (x *verifier) row(l store.Level) {
	for _, c := range []struct {
		what      string
		have, sum money.Amount
	}{{"reserved; leases hold", l.Reserved, l.Held}, {"spent; runs left", l.Spent, l.Settled}, {"at risk; runs left", l.AtRisk, l.Risked}} {
		if c.have != c.sum {
			x.find("I4", l.ID, "the budget has %+v %s %+v", c.have, c.what, c.sum)
		}
	}
	over := l.Committed().Minus(l.Excess)
	if d := l.Limit.Exceeded(money.Amount{}, over); d != money.DimNone {
		x.find("I4", l.ID, "spent, reserved and at risk are above the %s limit", d)
	}
}
