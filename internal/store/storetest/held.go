package storetest

import (
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// An item that was done meanwhile keeps its outcome, in a shard that is open for
// others too; the truth about the money is taken all the same.
func lateOnDone(k *kit) {
	id := k.start(fresh("r_a", 3, 3, 1, money.Limit{Tokens: 1000, Pico: -1, Retries: -1}))
	dead := k.claim(id, 0, "dead")
	dead.begin(0, 1)
	same(k, "taken over", k.reap("alive"), 1)
	next := k.claim(id, 0, "alive")
	next.begin(0)
	next.end(money.Amount{Tokens: 9}, 0)
	next.release()
	same(k, "state", k.shard(id, 0).State, batch.ShardOpen)
	kept, err := dead.late(0, money.Amount{Tokens: 40}, batch.ItemOK)
	k.ok(err)
	same(k, "kept of what is done", kept, false)
	kept, err = dead.late(1, money.Amount{Tokens: 30}, batch.ItemOK)
	k.ok(err)
	same(k, "kept of what nobody has", kept, true)
	got := k.run(id)
	same(k, "ok", got.Counts.OK, 2)
	same(k, "spent", got.Budget.Spent.Tokens, 79)
	same(k, "at risk", got.Budget.AtRisk, money.Amount{})
	per, _ := k.committed(id)
	same(k, "outcomes of the first", per[0], 1)
	same(k, "outcomes of the second", per[1], 1)
}

// A lease that is handed back after midnight leaves its money on the day on
// which it was claimed, although the run draws on the next one by then.
func releaseRollOver(k *kit) {
	k.share(500, 1000)
	id := k.drawing("r_a", "j", 6, 3, 5000)
	l := k.claim(id, 0, "w")
	l.begin(0)
	l.end(money.Amount{Tokens: 10}, 0)
	k.clock.pass(24 * time.Hour)
	k.claim(id, 1, "w").release()
	l.release()
	y := k.level(dayRow)
	same(k, "spent of the day of the claim", y.Spent.Tokens, 10)
	same(k, "reserved of it", y.Reserved, money.Amount{})
	same(k, "the next day is not touched", k.level(nextDayRow).Committed(), money.Amount{})
	same(k, "spent of the month", k.level(monthRow).Spent.Tokens, 10)
	same(k, "spent of the run", k.run(id).Budget.Spent.Tokens, 10)
}
