package batch

import "github.com/batchwright/batchwright/internal/money"

// Level is one budget a run draws on, as a transaction sees it.
type Level struct {
	ID                      string
	Limit                   money.Limit
	Spent, Reserved, AtRisk money.Amount
}

// Committed is what the limit is compared with.
func (l Level) Committed() money.Amount { return l.Spent.Plus(l.Reserved).Plus(l.AtRisk) }

// Fit decides T1: how much of costs (the worst case of one call of each
// pending item, in order) every level can still hold. It takes items in order
// until one does not fit; hit names the dimension that refused it, and is
// empty when all fit.
func Fit(levels []Level, costs []money.Amount) (sum money.Amount, n int, hit money.Dimension) {
	sum, n, _, hit = FitLevel(levels, costs)
	return sum, n, hit
}

// FitLevel is Fit, and says which level refused; -1 when all fit.
func FitLevel(levels []Level, costs []money.Amount) (sum money.Amount, n, level int, hit money.Dimension) {
	for _, c := range costs {
		next := sum.Plus(c)
		for i, l := range levels {
			if d := l.Limit.Exceeded(l.Committed(), next); d != money.DimNone { // guard: WITHIN_BUDGET
				return sum, n, i, d
			}
		}
		sum = next
		n++
	}
	return sum, n, -1, money.DimNone
}
