package storetest

import (
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

const second = int64(time.Second / time.Microsecond)

// reap makes worker the only one alive.
func (k *kit) reap(worker string, scope ...batch.RunID) int {
	k.t.Helper()
	n, err := k.st.Reap(k.ctx, batch.WorkerID(worker), 0, scope)
	k.ok(err)
	return n
}

// lost is a lease of shard 0 whose holder died with items 0 and 1 on the wire
// and item 2 committed.
func (k *kit) lost(id batch.RunID) *lease {
	k.t.Helper()
	l := k.claim(id, 0, "dead")
	l.begin(0, 1, 2)
	l.end(money.Amount{Tokens: 11, Pico: 17}, 2)
	k.rung()
	same(k, "taken over", k.reap("alive"), 1)
	return l
}

func takenOver(k *kit) {
	id := k.start(fresh("r_a", 6, 3, 2, money.Limit{Tokens: 1000, Pico: -1, Retries: -1}))
	l := k.lost(id)
	got := k.run(id)
	same(k, "spent", got.Budget.Spent, money.Amount{Tokens: 11, Pico: 17})
	same(k, "reserved", got.Budget.Reserved, money.Amount{})
	same(k, "at risk", got.Budget.AtRisk, call.Plus(call))
	same(k, "unknown", got.Counts.Unknown, 2)
	same(k, "calls", got.Counts.Calls, 3)
	s := k.shard(id, 0)
	same(k, "state", s.State, batch.ShardOpen)
	same(k, "epoch", s.Ref.Epoch, l.Ref.Epoch+1)
	same(k, "owner", s.Owner, "")
	for i := range 2 {
		same(k, "started", s.Book.Started.Get(i), false)
		same(k, "attempts that count", s.Book.Attempts[i], 0)
		same(k, "lost", s.Book.Lost[i], 1)
	}
	same(k, "done", s.Book.Done.Get(2), true)
	per, lost := k.committed(id)
	same(k, "outcomes", len(per), 1)
	same(k, "records", len(lost), 2)
	var charged money.Amount
	for i, a := range lost {
		same(k, "record's item", int(a.Ordinal), i)
		same(k, "record's class", a.Class, batch.ClassUnknown)
		same(k, "record's epoch", a.Epoch, l.Ref.Epoch)
		charged = charged.Plus(a.Charged)
	}
	same(k, "charged for all of them", charged, call.Plus(call))
	same(k, "taken over again", k.reap("alive"), 0)

	// The next holder dies too, with nothing committed.
	next := k.claim(id, 0, "alive")
	same(k, "epoch of the next claim", next.Ref.Epoch, l.Ref.Epoch+2)
	next.begin(0)
	same(k, "taken over", k.reap("third"), 1)
	same(k, "lost", k.shard(id, 0).Book.Lost[0], 2)
	same(k, "at risk", k.run(id).Budget.AtRisk.Tokens, 300)
	last := k.claim(id, 0, "third")
	last.finish(money.Amount{Tokens: 10})
	same(k, "closed", k.run(id).Closed, 1)

	// A run that was told to stop ends when its last holder is dead.
	b := k.start(fresh("r_b", 2, 2, 1, money.NoLimit))
	k.claim(b, 0, "dead2")
	k.ok(k.st.SetTarget(k.ctx, b, batch.RunCancelled, ""))
	k.rung()
	k.reap("alive")
	k.hears(batch.BellFinish, 0)
}

// What a dead holder had not put on the wire comes back. Its own next item may
// be too dear for that while another shard's is not: a run that stopped then
// would leave work undone that its budget pays for.
func takeOverUnparks(k *kit) {
	id := k.start(fresh("r_a", 6, 3, 2, money.Limit{Tokens: 120, Pico: -1, Retries: -1}))
	tokens := func(ns ...int64) (as []money.Amount) {
		for _, n := range ns {
			as = append(as, money.Amount{Tokens: n})
		}
		return as
	}
	claim := func(no batch.ShardNo, costs []money.Amount) (store.Shard, store.ClaimStatus) {
		k.t.Helper()
		s, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: k.shard(id, no).Ref, Worker: "dead", Costs: costs})
		k.ok(err)
		return s, status
	}
	dear, cheap := tokens(10, 60, 30), tokens(25, 25, 25)
	row, status := claim(0, dear)
	same(k, "the dear shard", status, store.Claimed)
	l := &lease{k: k, Shard: row}
	_, status = claim(1, cheap)
	same(k, "the cheap shard", status, store.Parked)
	k.ok(l.Book.Start(0, dear[0]))
	k.ok(l.write(l.delta(true, "")))
	l.Book.Finish(0, batch.End{Worst: dear[0], Charge: dear[0], State: batch.ItemOK})
	k.ok(l.write(l.delta(false, outcomes(0, 0))))
	k.ok(l.Book.Start(1, dear[1]))
	k.ok(l.write(l.delta(true, "")))
	k.rung()
	same(k, "taken over", k.reap("alive"), 1)
	same(k, "the cheap shard after the take-over", k.shard(id, 1).State, batch.ShardOpen)
	k.hears(batch.BellWork, 1)
	_, status = claim(0, dear)
	same(k, "the dear shard", status, store.Parked)
	same(k, "where the run will end", k.run(id).Target, "")
	_, status = claim(1, cheap)
	same(k, "the cheap shard", status, store.Claimed)
}

func living(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.NoLimit))
	beat := func(worker string, stale int64) int {
		k.t.Helper()
		n, err := k.st.Reap(k.ctx, batch.WorkerID(worker), stale, nil)
		k.ok(err)
		return n
	}
	beat("w1", second)
	k.claim(id, 0, "w1")
	k.clock.pass(900 * time.Millisecond)
	same(k, "taken over before its time", beat("w2", second), 0)
	k.claim(id, 1, "w2")
	beat("w1", second)
	k.clock.pass(999 * time.Millisecond)
	same(k, "taken over before its time", beat("w2", second), 0)
	k.clock.pass(2 * time.Millisecond)
	same(k, "taken over in time", beat("w2", second), 1)
	same(k, "state", k.shard(id, 0).State, batch.ShardOpen)
	same(k, "owner of the other", k.shard(id, 1).Owner, "w2")
	k.clock.pass(time.Hour)
	same(k, "a worker judges itself", beat("w2", second), 0)
	same(k, "one that never beat is dead", func() int { k.claim(id, 0, "w9"); return beat("w2", second) }(), 1)
}

func audits(k *kit) {
	r := fresh("r_a", 6, 2, 2, money.NoLimit)
	id := k.start(r)
	other := fresh("r_b", 6, 2, 2, money.NoLimit)
	k.start(other)
	hour := int64(time.Hour / time.Microsecond)
	beat := func(stale int64) {
		k.t.Helper()
		_, err := k.st.Reap(k.ctx, "w", stale, []batch.RunID{id})
		k.ok(err)
	}
	beat(hour)
	k.hears(batch.BellWork)
	k.clock.pass(time.Minute)
	beat(hour)
	bells := k.rung()
	same(k, "bells rung again", len(bells), 2) // of the run in scope
	same(k, "run", bells[0].Run, id)
	beat(hour)
	k.hears(batch.BellWork)
	beat(0) // every bell is known to be lost
	k.hears(batch.BellWork, 0, 1)
	l := k.claim(id, 0, "w")
	beat(0)
	k.hears(batch.BellWork, 1)
	k.ok(k.st.SetTarget(k.ctx, id, batch.RunCancelled, ""))
	l.release()
	k.rung()
	beat(hour)
	k.hears(batch.BellFinish)
	k.clock.pass(time.Minute)
	beat(hour)
	k.hears(batch.BellFinish, 0)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunDelivering, ""))
	k.clock.pass(time.Minute)
	beat(hour)
	k.hears(batch.BellFinish, 0)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunDelivering}, batch.RunCancelled, ""))
	k.clock.pass(time.Minute)
	beat(0)
	same(k, "bells of an ended run", len(k.rung()), 0)
	_, err := k.st.Reap(k.ctx, "w", hour, []batch.RunID{"r_none"})
	k.kind(err, batch.NotFound)
}

// late tells the truth about item i of a lost lease.
func (l *lease) late(i int, charge money.Amount, state batch.ItemState) (bool, error) {
	d := &store.Delta{Chunk: []byte(outcomes(l.First, i)), Late: []byte("L")}
	return l.k.st.Late(l.k.ctx, store.Late{Ref: l.Ref, Index: i, Worst: call, Charge: charge, Outcome: d, State: state,
		Usage: money.Usage{Input: charge.Tokens}})
}

func lateOnce(k *kit) {
	id := k.start(fresh("r_a", 6, 3, 2, money.NoLimit))
	l := k.lost(id)
	want := func(spent, risk money.Amount) {
		k.t.Helper()
		got := k.run(id)
		same(k, "spent", got.Budget.Spent, spent)
		same(k, "at risk", got.Budget.AtRisk, risk)
	}
	base, truth := money.Amount{Tokens: 11, Pico: 17}, money.Amount{Tokens: 40, Pico: 41}
	kept, err := l.late(0, truth, batch.ItemPending)
	k.ok(err)
	same(k, "kept", kept, false)
	want(base.Plus(truth), call)
	same(k, "usage", k.run(id).Counts.Usage.Input, 51)
	for range 2 {
		kept, err = l.late(0, truth, batch.ItemOK)
		k.ok(err)
		same(k, "kept", kept, false)
		want(base.Plus(truth), call)
	}
	// It costs nothing when it was not billed, and needs no record.
	_, err = k.st.Late(k.ctx, store.Late{Ref: l.Ref, Index: 1, Worst: call, State: batch.ItemPending})
	k.ok(err)
	want(base.Plus(truth), money.Amount{})
	current := k.claim(id, 0, "alive")
	if _, err := current.late(0, truth, batch.ItemOK); err == nil {
		k.t.Fatal("a late answer of a lease that is current was taken")
	}
	want(base.Plus(truth), money.Amount{})
}

func lateOutcome(k *kit) {
	id := k.start(fresh("r_a", 6, 3, 2, money.NoLimit))
	l := k.lost(id)
	kept, err := l.late(0, money.Amount{Tokens: 5}, batch.ItemOK)
	k.ok(err)
	same(k, "kept while the shard is open", kept, true)
	k.hears(batch.BellWork, 0)
	s := k.shard(id, 0)
	same(k, "done", s.Book.Done.Get(0), true)
	same(k, "ok", s.Book.OK, 2)
	same(k, "usage", k.run(id).Counts.Usage.Input, 16)
	held := k.claim(id, 0, "alive")
	kept, err = l.late(1, money.Amount{Tokens: 5}, batch.ItemOK)
	k.ok(err)
	same(k, "kept while another holds the shard", kept, false)
	same(k, "usage", k.run(id).Counts.Usage.Input, 21)
	same(k, "at risk", k.run(id).Budget.AtRisk, money.Amount{})
	held.finish(money.Amount{Tokens: 6})
	per, _ := k.committed(id)
	for o := range batch.Ordinal(3) {
		same(k, "outcomes of an item", per[o], 1)
	}
	got := k.run(id)
	same(k, "ok", got.Counts.OK, 3)
	same(k, "spent", got.Budget.Spent.Tokens, 27)

	// Done by another: the truth alone.
	again := k.claim(id, 1, "dead")
	again.begin(0)
	k.reap("alive")
	k.claim(id, 1, "alive").finish(money.Amount{Tokens: 1})
	kept, err = again.late(0, money.Amount{Tokens: 5}, batch.ItemOK)
	k.ok(err)
	same(k, "kept of a done item", kept, false)
	per, _ = k.committed(id)
	same(k, "outcomes", per[3], 1)
	same(k, "ok", k.run(id).Counts.OK, 6)

	// With the outcome comes what a commit carries.
	b := k.start(fresh("r_b", 3, 3, 1, money.NoLimit))
	l = k.lost(b)
	d := l.loaded(0)
	d.Late = []byte("L")
	kept, err = k.st.Late(k.ctx, store.Late{Ref: l.Ref, Index: 0, Worst: call, Charge: call, Outcome: &d, State: batch.ItemFailed})
	k.ok(err)
	same(k, "kept", kept, true)
	fs, err := k.st.Failures(k.ctx, b, "", -1, 0)
	k.ok(err)
	same(k, "failures", len(fs), 1)
	as, err := k.st.Answers(k.ctx, string(b), [][]byte{[]byte("k")})
	k.ok(err)
	same(k, "answer", string(as[0]), "b")
	same(k, "failed", k.run(b).Counts.Failed, 1)
}

func lateSealed(k *kit) {
	id := k.start(fresh("r_a", 3, 3, 1, money.NoLimit))
	l := k.lost(id)
	truth := money.Amount{Tokens: 40, Pico: 41}
	_, err := l.late(0, truth, batch.ItemPending)
	k.ok(err)
	k.claim(id, 0, "alive").finish(money.Amount{Tokens: 1})
	k.seal(id, 0)
	before := k.run(id).Budget
	same(k, "at risk", before.AtRisk, call)
	for range 2 {
		kept, err := l.late(1, truth, batch.ItemOK)
		k.ok(err)
		same(k, "kept of a sealed item", kept, false)
		got := k.run(id).Budget
		same(k, "at risk", got.AtRisk, money.Amount{})
		same(k, "spent", got.Spent, before.Spent.Plus(truth))
	}
	_, err = l.late(0, truth, batch.ItemPending) // told before the seal
	k.ok(err)
	same(k, "at risk", k.run(id).Budget.AtRisk, money.Amount{})
}

func lateCommitted(k *kit) {
	id := k.start(fresh("r_a", 3, 3, 1, money.NoLimit))
	l := k.lost(id) // item 2 was committed; its holder may not have heard that
	before := k.run(id).Budget
	kept, err := l.late(2, money.Amount{Tokens: 11, Pico: 17}, batch.ItemOK)
	k.ok(err)
	same(k, "kept", kept, false)
	same(k, "budget", k.run(id).Budget, before)
	per, _ := k.committed(id)
	same(k, "outcomes", per[2], 1)
}

func lateUnparks(k *kit) {
	id := k.start(fresh("r_a", 9, 3, 3, money.Limit{Tokens: 311, Pico: -1, Retries: -1}))
	l := k.lost(id) // 11 spent, 200 at risk
	live := k.claim(id, 1, "alive")
	same(k, "reserved", live.Book.Reserved.Tokens, 100)
	for _, no := range []batch.ShardNo{0, 2} {
		_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: k.shard(id, no).Ref, Worker: "alive", Costs: costs(3)})
		k.ok(err)
		same(k, "status", status, store.Parked)
	}
	k.rung()
	kept, err := l.late(0, money.Amount{}, batch.ItemOK)
	k.ok(err)
	same(k, "kept while parked", kept, true)
	k.hears(batch.BellWork, 0, 2)
	same(k, "state", k.shard(id, 2).State, batch.ShardOpen)
	k.claim(id, 0, "alive")
}
