package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

func tokens(n int64) money.Limit { return money.Limit{Tokens: n, Pico: -1, Retries: -1} }

// share puts two nested budgets in force, a day's per job and a month's.
func (k *kit) share(day, month int64) {
	k.t.Helper()
	k.ok(k.st.SetBudgets(k.ctx, []batch.Budget{
		{Name: "day", PerJob: true, Period: batch.PeriodDay, Zone: "Europe/Berlin", Limit: tokens(day)},
		{Name: "month", Period: batch.PeriodMonth, Zone: "Europe/Berlin", Limit: tokens(month)}}, nil))
}

// drawing starts a run that draws on both.
func (k *kit) drawing(id, job string, items int64, size int, own int64) batch.RunID {
	k.t.Helper()
	r := fresh(id, items, size, 4, tokens(own))
	r.Job, r.Draws = job, []string{"day", "month"}
	return k.start(r)
}

// level is a row by its id.
func (k *kit) level(id string) store.Level {
	k.t.Helper()
	rows, err := k.st.Rows(k.ctx)
	k.ok(err)
	i := slices.IndexFunc(rows, func(l store.Level) bool { return l.ID == id })
	if i < 0 {
		k.t.Fatalf("there is no row %s in %+v", id, rows)
	}
	return rows[i]
}

func (k *kit) refused(id batch.RunID, no batch.ShardNo) {
	k.t.Helper()
	s := k.shard(id, no)
	_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: s.Ref, Worker: "w", Costs: costs(s.Book.N)})
	k.ok(err)
	same(k, "status", status, store.Parked)
}

// The clock of these tests begins on 23 November at 03:00 in Berlin.
const (
	dayRow, nextDayRow = "budget:day/day/2026-11-23/j", "budget:day/day/2026-11-24/j"
	monthRow           = "budget:month/month/2026-11"
)

func nestedLevels(k *kit) {
	k.share(250, 1000)
	id := k.drawing("r_a", "j", 6, 3, 900)
	l := k.claim(id, 0, "w")
	same(k, "the day lets two of three start", l.Book.Reserved.Tokens, 200)
	for _, row := range []string{dayRow, monthRow} {
		same(k, row+": reserved", k.level(row).Reserved.Tokens, 200)
		same(k, row+": held", k.level(row).Held.Tokens, 200)
	}
	hit, err := k.st.TopUp(k.ctx, l.Ref, money.Amount{Tokens: 51})
	k.ok(err)
	same(k, "a top-up past the day is refused by", hit, money.DimTokens)
	same(k, "nothing of it was taken of the run", k.run(id).Budget.Reserved.Tokens, 200)
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 30}, 0, 1)
	// A reader sees what leases have charged as spent.
	bs, err := k.st.Budgets(k.ctx)
	k.ok(err)
	ls, err := k.st.Levels(k.ctx, bs, "j")
	k.ok(err)
	same(k, "rows in order", ls[0].ID+" "+ls[1].ID, dayRow+" "+monthRow)
	same(k, "spent for a reader", ls[0].Spent.Tokens, 60)
	same(k, "reserved for a reader", ls[0].Reserved.Tokens, 140)
	ls, err = k.st.Levels(k.ctx, bs, "other")
	k.ok(err)
	same(k, "another job has a day of its own", ls[0].ID, "budget:day/day/2026-11-23/other")
	same(k, "and nothing on it", ls[0].Committed(), money.Amount{})
	same(k, "and the same month", ls[1].Spent.Tokens, 60)
	l.release()
	same(k, "spent of the day", k.level(dayRow).Spent.Tokens, 60)
	same(k, "spent of the month", k.level(monthRow).Spent.Tokens, 60)
	same(k, "reserved of the month", k.level(monthRow).Reserved.Tokens, 0)
	shares, err := k.st.Shares(k.ctx, id)
	k.ok(err)
	same(k, "shares", len(shares), 2)
	same(k, "share of the day", shares[0], store.Share{Run: id, Budget: dayRow, Spent: money.Amount{Tokens: 60}})
}

func nestedRollOver(k *kit) {
	k.share(500, 1000)
	id := k.drawing("r_a", "j", 6, 3, 5000)
	l := k.claim(id, 0, "dead")
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 10}, 0)
	k.clock.pass(24 * time.Hour)
	// The lease goes on with the money of the day it was claimed on.
	hit, err := k.st.TopUp(k.ctx, l.Ref, money.Amount{Tokens: 200})
	k.ok(err)
	same(k, "hit", hit, money.DimNone)
	same(k, "reserved of yesterday", k.level(dayRow).Reserved.Tokens, 500)
	next := k.claim(id, 1, "alive")
	same(k, "reserved of today", k.level(nextDayRow).Reserved.Tokens, 300)
	same(k, "reserved of the month", k.level(monthRow).Reserved.Tokens, 800)
	next.release()
	k.clock.pass(24 * time.Hour)
	k.reap("alive")
	y := k.level(dayRow)
	same(k, "taken over where it was claimed", y.Level, batch.Level{ID: dayRow, Limit: tokens(500), Spent: money.Amount{Tokens: 10}, AtRisk: call})
	same(k, "today is not touched", k.level(nextDayRow).Committed(), money.Amount{})
	// Days later its holder tells the truth.
	k.clock.pass(72 * time.Hour)
	kept, err := l.late(1, money.Amount{Tokens: 40}, batch.ItemOK)
	k.ok(err)
	same(k, "kept", kept, true)
	y = k.level(dayRow)
	same(k, "spent of the day of the claim", y.Spent.Tokens, 50)
	same(k, "at risk of it", y.AtRisk, money.Amount{})
	same(k, "spent of the month", k.level(monthRow).Spent.Tokens, 50)
	same(k, "runs' shares", k.level(dayRow).Settled, y.Spent)
}

func nestedStop(k *kit) {
	k.share(150, 1000)
	id := k.drawing("r_a", "j", 4, 2, 5000)
	l := k.claim(id, 0, "w")
	l.begin(0)
	l.end(call, 0)
	l.release()
	k.refused(id, 0)
	k.refused(id, 1)
	got := k.run(id)
	same(k, "target", got.Target, batch.RunStoppedBudget)
	same(k, "reason", got.Reason, `the tokens budget "day" of job j of the day 2026-11-23 lets no further call start; it renews at 2026-11-24 00:00 CET`)
	same(k, "short of", got.Short, batch.Shortage{Budget: dayRow, Dim: money.DimTokens, Need: 100})
	// The next day it goes on.
	k.clock.pass(24 * time.Hour)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunRunning, ""))
	same(k, "short of", k.run(id).Short, batch.Shortage{})
	same(k, "reserved", k.claim(id, 0, "w").Book.Reserved.Tokens, 100)
}

func nestedWaits(k *kit) {
	k.share(5000, 250)
	a, b := k.drawing("r_a", "j", 4, 2, 5000), k.drawing("r_b", "j", 4, 2, 5000)
	l := k.claim(a, 0, "w")
	k.refused(b, 0)
	k.refused(b, 1)
	same(k, "target while another run's lease holds money", k.run(b).Target, "")
	k.rung()
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 20}, 0, 1)
	l.release()
	if got := k.rungFor(b); !slices.Equal(got, []int64{0, 1}) {
		k.t.Fatalf("the other run's bells are %v", got)
	}
	// The last lease ends and leaves nothing: who waited is told to end.
	l = k.claim(a, 1, "w")
	k.refused(b, 0)
	k.refused(b, 1)
	l.begin(0, 1)
	l.end(call, 0, 1)
	k.rung()
	l.release()
	got := k.run(b)
	same(k, "target", got.Target, batch.RunStoppedBudget)
	if !strings.Contains(got.Reason, `"month" of the month 2026-11 `) {
		k.t.Fatalf("the reason is %q", got.Reason)
	}
}

func (k *kit) rungFor(id batch.RunID) (ns []int64) {
	for _, b := range k.rung() {
		if b.Run == id && b.Kind == batch.BellWork {
			ns = append(ns, b.N)
		}
	}
	slices.Sort(ns)
	return ns
}

func nestedWaitsForTheDead(k *kit) {
	k.share(5000, 250)
	a, b := k.drawing("r_a", "j", 4, 2, 5000), k.drawing("r_b", "j", 2, 1, 5000)
	l := k.claim(a, 0, "dead")
	l.begin(0)
	k.refused(b, 0)
	k.refused(b, 1)
	k.rung()
	k.reap("alive") // 100 at risk, 100 freed
	if got := k.rungFor(b); !slices.Equal(got, []int64{0, 1}) {
		k.t.Fatalf("the other run's bells are %v", got)
	}
	k.claim(b, 0, "alive").finish(money.Amount{Tokens: 60})
	k.refused(b, 1)
	same(k, "target", k.run(b).Target, batch.RunStoppedBudget)
}

func nestedPeriodEnds(k *kit) {
	k.share(150, 5000)
	a, b := k.drawing("r_a", "j", 4, 2, 5000), k.drawing("r_b", "j", 1, 1, 5000)
	l := k.claim(a, 0, "w")
	k.refused(b, 0)
	k.rung()
	k.clock.pass(24 * time.Hour)
	// The lease of yesterday goes on; the audit sees that a day has begun.
	_, err := k.st.Reap(k.ctx, "w", int64(48*time.Hour/time.Microsecond), []batch.RunID{b})
	k.ok(err)
	if got := k.rungFor(b); !slices.Equal(got, []int64{0}) {
		k.t.Fatalf("bells after midnight are %v", got)
	}
	k.claim(b, 0, "w").finish(call)
	same(k, "spent of today", k.level(nextDayRow).Spent.Tokens, 100)
	l.release()
}

func nestedLimits(k *kit) {
	k.share(150, 1000)
	id := k.drawing("r_a", "j", 4, 2, 5000)
	l := k.claim(id, 0, "w")
	k.refused(id, 1)
	k.rung()
	k.share(500, 1000)
	k.hears(batch.BellWork, 1)
	other := k.claim(id, 1, "w")
	same(k, "reserved after a raise", k.level(dayRow).Reserved.Tokens, 300)
	k.share(50, 1000)
	same(k, "passed by", k.level(dayRow).Excess.Tokens, 250)
	hit, err := k.st.TopUp(k.ctx, l.Ref, money.Amount{Tokens: 1})
	k.ok(err)
	same(k, "hit after a lower", hit, money.DimTokens)
	l.begin(0) // what is reserved can be spent
	l.end(call, 0)
	l.release()
	other.release()
	same(k, "spent", k.level(dayRow).Spent.Tokens, 100)
	k.refused(id, 0)

	// A budget that is gone limits nothing; what it counted is kept.
	k.ok(k.st.SetBudgets(k.ctx, nil, nil))
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunRunning, ""))
	k.claim(id, 0, "w").release()
	same(k, "spent of what is gone", k.level(dayRow).Spent.Tokens, 100)
	same(k, "limit of what is gone", k.level(dayRow).Limit, money.NoLimit)
	k.share(150, 1000)
	k.ok(k.st.SetDraws(k.ctx, id, []string{"month"}))
	k.claim(id, 0, "w")
	same(k, "a run draws on what it was told to", k.level(dayRow).Reserved.Tokens, 0)
	k.kind(k.st.SetDraws(k.ctx, "r_none", nil), batch.NotFound)
}
