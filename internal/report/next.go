package report

import (
	"fmt"
	"math"
	"math/big"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// NextCommands are what a person can do now, the most useful first. A Run that
// brings its own keeps them.
func NextCommands(r Run) []Command {
	if len(r.Next) > 0 {
		return r.Next
	}
	id := oneLine(string(r.ID), 64)
	var out []Command
	add := func(why, format string, a ...any) { out = append(out, Command{why, fmt.Sprintf(format, a...)}) }
	switch {
	case r.State == batch.RunStoppedBudget:
		add("go on with a larger budget", "batchwright resume %s%s", id, raise(r))
	case r.State == batch.RunAwaitingApproval:
		add("approve it", "batchwright approve %s", id)
	case r.State == batch.RunRunning || r.State == batch.RunDelivering || r.State == batch.RunQueued:
		add("watch it", "batchwright watch %s", id)
	case r.State.Resumable():
		add("go on where it stopped", "batchwright resume %s", id)
	}
	if r.Items.Failed > 0 {
		add("see the failed items", "batchwright items %s --state failed", id)
		if r.State.Ended() {
			add("try the failed items again", "batchwright retry %s --failed", id)
		}
	}
	if r.State.Ended() && r.Items.OK > 0 {
		add("print the results", "batchwright results %s", id)
		add("check every promise about this run", "batchwright verify %s", id)
	}
	return out
}

// raise is the flag that lifts the budget far enough for what is left, by the
// mean of what is done and a tenth more.
func raise(r Run) string {
	b := r.Budget
	switch r.StoppedBy {
	case money.DimTokens:
		used := b.Spent.Tokens + b.Reserved.Tokens + b.AtRisk.Tokens
		return fmt.Sprintf(" --token-budget %d", enough(r, used, b.Tokens))
	case money.DimUSD:
		used := int64(b.Spent.Pico + b.Reserved.Pico + b.AtRisk.Pico)
		cents := (enough(r, used, b.Pico)-1)/int64(money.USD/100) + 1
		return fmt.Sprintf(" --budget-usd %d.%02d", cents/100, cents%100)
	case money.DimRetries:
		return fmt.Sprintf(" --retry-budget %d", enough(r, b.Spent.Retries, b.Retries))
	case money.DimNone:
	}
	return ""
}

func enough(r Run, used, limit int64) int64 {
	need := scale(used, r.Items.Pending, max(r.Items.Done(), 1))
	need, err := money.Add(need, need/10)
	if err == nil {
		need, err = money.Add(used, need)
	}
	if err != nil {
		need = math.MaxInt64
	}
	return roundUp(max(need, plus(limit, limit/10+1)))
}

// roundUp keeps two digits: 340123 becomes 350000.
func roundUp(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	if up := (n + unit - 1) / unit; up <= math.MaxInt64/unit {
		return up * unit
	}
	return n
}

// scale is a*b/c without overflow on the way, cut at the largest int64.
func scale(a, b, c int64) int64 {
	if c == 0 {
		return 0
	}
	v := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	v.Quo(v, big.NewInt(c))
	if !v.IsInt64() {
		return math.MaxInt64
	}
	return v.Int64()
}

// plus is a+b, cut at the largest int64: what is drawn need not be exact.
func plus(a, b int64) int64 {
	if c, err := money.Add(a, b); err == nil {
		return c
	}
	return math.MaxInt64
}
