package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

func claimers(k *kit) {
	const shards, workers = 20, 6
	id := k.start(fresh("r_a", shards*2, 2, shards, money.Limit{Tokens: shards * 200, Pico: -1, Retries: -1}))
	var mu sync.Mutex
	owners := map[batch.ShardNo][]batch.WorkerID{}
	var wg sync.WaitGroup
	for w := range workers {
		me := batch.WorkerID(fmt.Sprintf("w%d", w))
		wg.Go(func() {
			for no := range batch.ShardNo(shards) {
				got, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: batch.LeaseRef{Run: id, Shard: no}, Worker: me, Costs: costs(2)})
				if err != nil {
					k.t.Error(err)
					return
				}
				if status == store.Claimed {
					mu.Lock()
					owners[no] = append(owners[no], me)
					if got.Ref.Epoch != 1 || got.Owner != me || got.State != batch.ShardLeased {
						k.t.Errorf("claimed %+v", got)
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	same(k, "shards claimed", len(owners), shards)
	for no, ws := range owners {
		if len(ws) != 1 || k.shard(id, no).Owner != ws[0] {
			k.t.Fatalf("shard %d was claimed by %v and is of %s", no, ws, k.shard(id, no).Owner)
		}
	}
	same(k, "reserved", k.run(id).Budget.Reserved, money.Amount{Tokens: shards * 200, Pico: 2 * shards * call.Pico})
}

func staleClaims(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.NoLimit))
	stale := func(ref batch.LeaseRef) {
		k.t.Helper()
		before := k.run(id).Budget
		_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: ref, Worker: "w2", Costs: costs(2)})
		k.ok(err)
		same(k, "status", status, store.Stale)
		same(k, "budget", k.run(id).Budget, before)
	}
	stale(batch.LeaseRef{Run: id, Shard: 0, Epoch: 1})
	stale(batch.LeaseRef{Run: id, Shard: 9})
	l := k.claim(id, 0, "w1")
	stale(batch.LeaseRef{Run: id, Shard: 0})
	stale(l.Ref) // a bell of this epoch while it is leased
	l.release()
	stale(batch.LeaseRef{Run: id, Shard: 0})
	again := k.claim(id, 0, "w1")
	same(k, "epoch", again.Ref.Epoch, 2)
	again.finish(call)
	stale(again.Ref) // done
	_, _, _, err := k.st.Claim(k.ctx, store.Claim{Ref: batch.LeaseRef{Run: "r_none"}, Worker: "w"})
	k.kind(err, batch.NotFound)
}

func partialFit(k *kit) {
	id := k.start(fresh("r_a", 10, 5, 2, money.Limit{Tokens: 330, Pico: -1, Retries: -1}))
	l := k.claim(id, 0, "w")
	same(k, "reserved for three of five", l.Book.Reserved, money.Amount{Tokens: 300, Pico: 3 * call.Pico})
	same(k, "budget", k.run(id).Budget.Reserved, l.Book.Reserved)
	l.begin(0, 1, 2)
	if err := l.Book.Start(3, call); err == nil {
		k.t.Fatal("a fourth call fits a lease for three")
	}
	l.end(money.Amount{Tokens: 10}, 0, 1, 2)
	l.release()
	l = k.claim(id, 0, "w")
	same(k, "reserved for what is left", l.Book.Reserved.Tokens, 200)
}

func parked(k *kit) {
	id := k.start(fresh("r_a", 6, 2, 3, money.Limit{Tokens: 250, Pico: -1, Retries: -1}))
	l := k.claim(id, 0, "w")
	for no := range batch.ShardNo(2) {
		ref := k.shard(id, no+1).Ref
		_, status, hit, err := k.st.Claim(k.ctx, store.Claim{Ref: ref, Worker: "w", Costs: costs(2)})
		k.ok(err)
		same(k, "status", status, store.Parked)
		same(k, "hit", hit, money.DimTokens)
		_, status, _, err = k.st.Claim(k.ctx, store.Claim{Ref: ref, Worker: "w", Costs: costs(2)})
		k.ok(err)
		same(k, "a claim of what is parked", status, store.Stale)
	}
	k.hears(batch.BellFinish)
	same(k, "target while a lease can free money", k.run(id).Target, "")
	l.begin(0, 1)
	l.end(call, 0, 1) // the whole worst case: 50 are left
	l.release()
	k.hears(batch.BellWork, 1, 2)
	for no := range batch.ShardNo(2) {
		_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: k.shard(id, no+1).Ref, Worker: "w", Costs: costs(2)})
		k.ok(err)
		same(k, "status", status, store.Parked)
	}
	got := k.run(id)
	same(k, "target", got.Target, batch.RunStoppedBudget)
	same(k, "reason", got.Reason, "the tokens budget lets no further call start")
	k.hears(batch.BellFinish, 0)

	// A lease that is handed back stuck stops the run as well.
	id = k.start(fresh("r_b", 2, 2, 1, money.Limit{Tokens: 250, Pico: -1, Retries: -1}))
	l = k.claim(id, 0, "w")
	k.ok(k.st.Release(k.ctx, l.Ref, 0, money.DimUSD))
	got = k.run(id)
	same(k, "target", got.Target, batch.RunStoppedBudget)
	same(k, "reason", got.Reason, "the usd budget lets no further call start")
	same(k, "reserved", got.Budget.Reserved, money.Amount{})

	// What is stuck for another reason than money is not said to be money.
	id = k.start(fresh("r_c", 2, 2, 1, money.Limit{Tokens: 250, Pico: -1, Retries: -1}))
	l = k.claim(id, 0, "w")
	k.ok(k.st.Release(k.ctx, l.Ref, 0, "leader"))
	same(k, "reason", k.run(id).Reason, "the budget lets no further call start")
}

func dimensions(k *kit) {
	for _, c := range []struct {
		l    money.Limit
		want money.Dimension
	}{
		{money.Limit{Tokens: 99, Pico: -1, Retries: -1}, money.DimTokens},
		{money.Limit{Tokens: -1, Pico: int64(call.Pico) - 1, Retries: -1}, money.DimUSD},
		{money.Limit{Tokens: 0, Pico: 0, Retries: 0}, money.DimTokens},
	} {
		id := k.start(fresh("r_"+string(c.want)+fmt.Sprint(c.l.Tokens), 1, 1, 1, c.l))
		_, status, hit, err := k.st.Claim(k.ctx, store.Claim{Ref: k.shard(id, 0).Ref, Worker: "w", Costs: costs(1)})
		k.ok(err)
		same(k, "status", status, store.Parked)
		same(k, "hit", hit, c.want)
	}
	// Retries alone park nobody: an item without a retry left fails.
	id := k.start(fresh("r_retries", 1, 1, 1, money.Limit{Tokens: -1, Pico: -1, Retries: 0}))
	l := k.claim(id, 0, "w")
	hit, err := k.st.TopUp(k.ctx, l.Ref, money.Amount{Retries: 1})
	k.ok(err)
	same(k, "hit", hit, money.DimRetries)
}

func topUps(k *kit) {
	id := k.start(fresh("r_a", 2, 1, 2, money.Limit{Tokens: 350, Pico: 4 * int64(call.Pico), Retries: 1}))
	l := k.claim(id, 0, "w")
	more := money.Amount{Tokens: 150, Pico: 5, Retries: 1}
	hit, err := k.st.TopUp(k.ctx, l.Ref, more)
	k.ok(err)
	same(k, "hit", hit, money.DimNone)
	same(k, "lease", k.shard(id, 0).Book.Reserved, call.Plus(more))
	same(k, "budget", k.run(id).Budget.Reserved, call.Plus(more))
	for _, c := range []struct {
		x    money.Amount
		want money.Dimension
	}{
		{money.Amount{Tokens: 101}, money.DimTokens},
		{money.Amount{Tokens: 1, Pico: 4 * call.Pico}, money.DimUSD},
		{money.Amount{Tokens: 1, Pico: 1, Retries: 1}, money.DimRetries},
	} {
		hit, err := k.st.TopUp(k.ctx, l.Ref, c.x)
		k.ok(err)
		same(k, "hit", hit, c.want)
		same(k, "lease", k.shard(id, 0).Book.Reserved, call.Plus(more))
		same(k, "budget", k.run(id).Budget.Reserved, call.Plus(more))
	}
	stale := l.Ref
	stale.Epoch--
	_, err = k.st.TopUp(k.ctx, stale, money.Amount{Tokens: 1})
	k.is(err, batch.ErrFenced)
	same(k, "budget", k.run(id).Budget.Reserved, call.Plus(more))
	l.release()
	_, err = k.st.TopUp(k.ctx, l.Ref, money.Amount{Tokens: 1})
	k.is(err, batch.ErrFenced)
	same(k, "budget", k.run(id).Budget.Reserved, money.Amount{})
}

// loaded is a delta with everything that a commit can carry.
func (l *lease) loaded(items ...int) store.Delta {
	d := l.delta(false, outcomes(l.First, items...))
	d.Failed = []store.Failure{{Run: l.Ref.Run, Ordinal: l.First, ID: "x", Class: batch.ClassRefused, Message: "m", Attempts: 2}}
	d.Answers = []store.Answer{{Scope: string(l.Ref.Run), Key: []byte("k"), Body: []byte("b"), At: 1}}
	return d
}

// nothing fails unless nothing was kept of the loaded delta.
func (k *kit) nothing(id batch.RunID) {
	k.t.Helper()
	per, _ := k.committed(id)
	same(k, "outcomes", len(per), 0)
	fs, err := k.st.Failures(k.ctx, id, "", -1, 0)
	k.ok(err)
	same(k, "failures", len(fs), 0)
	as, err := k.st.Answers(k.ctx, string(id), [][]byte{[]byte("k")})
	k.ok(err)
	if as[0] != nil {
		k.t.Fatal("an answer was kept")
	}
}

func fences(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.NoLimit))
	old := k.claim(id, 0, "w1")
	old.begin(0)
	k.clock.pass(time.Minute)
	_, err := k.st.Reap(k.ctx, "w2", 1_000_000, nil)
	k.ok(err)
	before := k.shard(id, 0)
	try := func() {
		k.t.Helper()
		old.Book = copyBook(old.Book)
		k.is(old.write(old.loaded(0)), batch.ErrFenced)
		k.nothing(id)
		after := k.shard(id, 0)
		same(k, "epoch", after.Ref.Epoch, before.Ref.Epoch)
		same(k, "seq", after.Seq, before.Seq)
		same(k, "state", after.State, before.State)
		if string(after.Book.Done) != string(before.Book.Done) || string(after.Book.Started) != string(before.Book.Started) || after.Book.Spent != before.Book.Spent {
			k.t.Fatalf("the book is %+v, was %+v", after.Book, before.Book)
		}
		k.is(k.st.Release(k.ctx, old.Ref, 0, money.DimNone), batch.ErrFenced)
	}
	old.Book.Finish(0, batch.End{Worst: call, Charge: call, State: batch.ItemOK})
	try()
	k.claim(id, 0, "w2")
	before = k.shard(id, 0)
	try()
	errs, err := k.st.Advance(k.ctx, []store.Delta{{Ref: batch.LeaseRef{Run: id, Shard: 7, Epoch: 1}, Book: batch.NewBook(2)}})
	k.ok(err)
	k.is(errs[0], batch.ErrFenced)
}

func guards(k *kit) {
	id := k.start(fresh("r_a", 2, 2, 1, money.NoLimit))
	l := k.claim(id, 0, "w")
	for _, over := range []money.Amount{{Tokens: 201}, {Pico: 2*call.Pico + 1}, {Retries: 1}} {
		d := l.loaded(0)
		d.Starts = true
		d.Book.Open = over
		k.is(l.write(d), batch.ErrOverdrawn)
		k.nothing(id)
		d.Book.Open, d.Book.Spent = money.Amount{}, over
		k.is(l.write(d), batch.ErrOverdrawn)
		k.nothing(id)
	}
	same(k, "open", k.shard(id, 0).Book.Open, money.Amount{})
	l.begin(0, 1) // exactly what is reserved
	// A commit is kept although the provider billed too much: it was paid.
	l.end(call.Plus(call).Plus(call), 0)
	same(k, "spent", k.shard(id, 0).Book.Spent.Tokens, 300)
	d := l.delta(true, "")
	k.is(l.write(d), batch.ErrOverdrawn)
}

func mixedGroup(k *kit) {
	id := k.start(fresh("r_a", 6, 2, 3, money.NoLimit))
	a, b, c := k.claim(id, 0, "w1"), k.claim(id, 1, "w1"), k.claim(id, 2, "w1")
	fencedRef := b.Ref
	b.release()
	b = k.claim(id, 1, "w2")
	for _, l := range []*lease{a, b, c} {
		l.begin(0)
		l.Book.Finish(0, batch.End{Worst: call, Charge: call, State: batch.ItemOK})
	}
	db := b.delta(false, outcomes(b.First, 0))
	db.Ref = fencedRef
	dc := c.delta(true, outcomes(c.First, 0))
	dc.Book.Open = money.Amount{Tokens: 1000}
	errs, err := k.st.Advance(k.ctx, []store.Delta{a.delta(false, outcomes(a.First, 0)), db, dc})
	k.ok(err)
	k.is(errs[0], nil)
	k.is(errs[1], batch.ErrFenced)
	k.is(errs[2], batch.ErrOverdrawn)
	per, _ := k.committed(id)
	if len(per) != 1 || per[0] != 1 {
		k.t.Fatalf("outcomes are %v", per)
	}
	same(k, "done", k.shard(id, 0).Book.Done.Count(), 1)
	same(k, "done", k.shard(id, 1).Book.Done.Count(), 0)
	same(k, "done", k.shard(id, 2).Book.Done.Count(), 0)
	errs, err = k.st.Advance(k.ctx, nil)
	k.ok(err)
	same(k, "errors", len(errs), 0)
}

func twice(k *kit) {
	id := k.start(fresh("r_a", 2, 2, 1, money.NoLimit))
	l := k.claim(id, 0, "w")
	l.begin(0, 1)
	l.Book.Finish(0, batch.End{Worst: call, Charge: money.Amount{Tokens: 7}, State: batch.ItemOK})
	l.Book.Finish(1, batch.End{Worst: call, Charge: money.Amount{Tokens: 8}, State: batch.ItemFailed})
	d := l.loaded(0, 1)
	for range 3 {
		errs, err := k.st.Advance(k.ctx, []store.Delta{d})
		k.ok(err)
		k.ok(errs[0])
	}
	per, _ := k.committed(id)
	if len(per) != 2 || per[0] != 1 || per[1] != 1 {
		k.t.Fatalf("outcomes are %v", per)
	}
	s := k.shard(id, 0)
	same(k, "seq", s.Seq, 1)
	same(k, "spent", s.Book.Spent.Tokens, 15)
	fs, err := k.st.Failures(k.ctx, id, "", -1, 0)
	k.ok(err)
	same(k, "failures", len(fs), 1)
	got := k.run(id)
	same(k, "ok", got.Counts.OK, 1)
	same(k, "failed", got.Counts.Failed, 1)
	same(k, "calls", got.Counts.Calls, 2)
}

func releases(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.Limit{Tokens: 1000, Pico: 1 << 40, Retries: 5}))
	l := k.claim(id, 0, "w")
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 31, Pico: 123_457}, 0)
	got := k.run(id)
	same(k, "spent as a reader sees it", got.Budget.Spent, money.Amount{Tokens: 31, Pico: 123_457})
	same(k, "reserved as a reader sees it", got.Budget.Reserved, money.Amount{Tokens: 169, Pico: 2*call.Pico - 123_457})
	l.Book.Unsend(1, call)
	k.ok(l.write(l.delta(false, "")))
	k.ok(k.st.Release(k.ctx, l.Ref, 0, money.DimNone))
	k.hears(batch.BellWork, 0)
	got = k.run(id)
	same(k, "spent", got.Budget.Spent, money.Amount{Tokens: 31, Pico: 123_457})
	same(k, "reserved", got.Budget.Reserved, money.Amount{})
	same(k, "at risk", got.Budget.AtRisk, money.Amount{})
	s := k.shard(id, 0)
	same(k, "state", s.State, batch.ShardOpen)
	same(k, "owner", s.Owner, "")
	same(k, "lease spent", s.Book.Spent, money.Amount{})
	same(k, "counts of an open shard", got.Counts.OK, 1)
	k.is(k.st.Release(k.ctx, l.Ref, 0, money.DimNone), batch.ErrFenced)
	same(k, "spent after a second release", k.run(id).Budget.Spent.Tokens, 31)
	l = k.claim(id, 0, "w")
	l.finish(money.Amount{Tokens: 2, Pico: 1})
	got = k.run(id)
	same(k, "spent", got.Budget.Spent, money.Amount{Tokens: 33, Pico: 123_458})
	same(k, "state", k.shard(id, 0).State, batch.ShardDone)
	same(k, "counts of a closed shard", got.Counts, store.Counts{OK: 2, Calls: 2, Usage: money.Usage{Input: 33}})
	k.is(k.st.Release(k.ctx, batch.LeaseRef{Run: id, Shard: 0, Epoch: 1}, 0, money.DimNone), batch.ErrFenced)

	// Nothing can be handed back while a call may be on the wire.
	l = k.claim(id, 1, "w")
	l.begin(0)
	if k.st.Release(k.ctx, l.Ref, 0, money.DimNone) == nil {
		k.t.Fatal("a lease was handed back with a call on the wire")
	}
	l.end(call, 0)
	l.release()
}

func unparks(k *kit) {
	id := k.start(fresh("r_a", 6, 2, 3, money.Limit{Tokens: 350, Pico: -1, Retries: -1}))
	l := k.claim(id, 0, "w")
	small := k.claim(id, 1, "w")
	same(k, "partly reserved", small.Book.Reserved.Tokens, 100)
	_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: k.shard(id, 2).Ref, Worker: "w", Costs: costs(2)})
	k.ok(err)
	same(k, "status", status, store.Parked)
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 20}, 0)
	l.end(money.Amount{Tokens: 20}, 1)
	k.rung()
	l.release()
	k.hears(batch.BellWork, 2)
	same(k, "state", k.shard(id, 2).State, batch.ShardOpen)
	same(k, "reserved", k.claim(id, 2, "w").Book.Reserved.Tokens, 200)
}

func delayed(k *kit) {
	id := k.start(fresh("r_a", 2, 2, 1, money.NoLimit))
	l := k.claim(id, 0, "w")
	due := k.clock.now().Add(time.Minute).UnixMicro()
	k.ok(k.st.Release(k.ctx, l.Ref, due, money.DimNone))
	beat := func() {
		_, err := k.st.Reap(k.ctx, "w", int64(time.Hour/time.Microsecond), []batch.RunID{id})
		k.ok(err)
	}
	beat()
	k.clock.pass(59 * time.Second)
	beat()
	k.hears(batch.BellWork)
	k.clock.pass(time.Second)
	beat()
	k.hears(batch.BellWork, 0)
	beat() // it was rung just now
	k.hears(batch.BellWork)
	k.claim(id, 0, "w")
}

func sealBells(k *kit) {
	// 2000 items make a stretch: two shards of 1000 each.
	id := k.start(fresh("r_a", 5000, 1000, 5, money.NoLimit))
	same(k, "shards of a stretch", k.run(id).StretchShards(), 2)
	for _, c := range []struct {
		shard batch.ShardNo
		seals []int64
	}{{1, nil}, {2, nil}, {0, []int64{0}}, {4, []int64{2}}, {3, []int64{1}}} {
		l := k.claim(id, c.shard, "w")
		for i := range l.Book.N {
			l.Book.Close(i, batch.ItemOK)
		}
		k.ok(l.write(l.delta(false, outcomes(l.First, 0))))
		k.rung()
		l.release()
		if got := k.heard()[batch.BellSeal]; !slices.Equal(got, c.seals) {
			k.t.Fatalf("shard %d rang to seal %v, want %v", c.shard, got, c.seals)
		}
	}
}

func finishBells(k *kit) {
	id := k.start(fresh("r_a", 5, 2, 2, money.NoLimit))
	for no := range batch.ShardNo(3) {
		k.rung()
		k.claim(id, no, "w").finish(call)
	}
	k.hears(batch.BellFinish, 0)
	got := k.run(id)
	same(k, "closed", got.Closed, 3)
	same(k, "ok", got.Counts.OK, 5)
	same(k, "state", got.State, batch.RunRunning)
}
