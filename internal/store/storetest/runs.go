package storetest

import (
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

func created(k *kit) {
	r := fresh("r_a", 25, 10, 2, money.Limit{Tokens: 500, Pico: 7, Retries: 3})
	r.Queue = "high"
	k.ok(k.st.CreateRun(k.ctx, r))
	bells := k.rung()
	want := []batch.Bell{{Kind: batch.BellWork, Run: "r_a", N: 0, Queue: "high"}, {Kind: batch.BellWork, Run: "r_a", N: 1, Queue: "high"}}
	if !slices.Equal(bells, want) {
		k.t.Fatalf("bells are %+v, want %+v", bells, want)
	}
	got := k.run("r_a")
	same(k, "opened", got.Opened, 2)
	same(k, "limit", got.Budget.Limit, r.Budget.Limit)
	same(k, "committed", got.Budget.Committed(), money.Amount{})
	got.Opened, got.Budget = 0, r.Budget
	if string(got.Spec) != string(r.Spec) || string(got.Price) != string(r.Price) || string(got.Plan) != string(r.Plan) {
		k.t.Fatal("the frozen documents changed")
	}
	got.Spec, got.Price, got.Plan = r.Spec, r.Price, r.Plan
	if a, b := got, r; a.ID != b.ID || a.Job != b.Job || a.State != b.State || a.SpecDigest != b.SpecDigest || a.WorkDigest != b.WorkDigest ||
		a.InputKey != b.InputKey || a.ManifestDigest != b.ManifestDigest || a.ManifestDir != b.ManifestDir || a.OutputURI != b.OutputURI ||
		a.Queue != b.Queue || a.Items != b.Items || a.ShardSize != b.ShardSize || a.Window != b.Window || a.PriceVersion != b.PriceVersion ||
		a.ItemTokens != b.ItemTokens || a.CreatedAt != b.CreatedAt || a.StartedAt != b.StartedAt || a.Counts != (store.Counts{}) {
		k.t.Fatalf("stored is %+v, want %+v", a, b)
	}
	for no, n := range []int{10, 10} {
		s := k.shard("r_a", batch.ShardNo(no))
		same(k, "items", s.Book.N, n)
		same(k, "first", int(s.First), no*10)
		same(k, "state", s.State, batch.ShardOpen)
	}
	_, err := k.st.Shard(k.ctx, "r_a", 2)
	k.kind(err, batch.NotFound)
	_, err = k.st.Run(k.ctx, "r_none")
	k.kind(err, batch.NotFound)
	_, err = k.st.Shard(k.ctx, "r_none", 0)
	k.kind(err, batch.NotFound)
	if k.st.CreateRun(k.ctx, r) == nil {
		k.t.Fatal("one id was created twice")
	}
	if len(k.rung()) > 0 {
		k.t.Fatal("a refused run rang")
	}
	q := fresh("r_q", 25, 10, 2, money.NoLimit)
	q.State = batch.RunQueued
	k.ok(k.st.CreateRun(k.ctx, q))
	if len(k.rung()) > 0 {
		k.t.Fatal("a queued run rang")
	}
}

func keyTaken(k *kit) {
	a, b := fresh("r_a", 1, 1, 1, money.NoLimit), fresh("r_b", 1, 1, 1, money.NoLimit)
	a.Key, b.Key = "nightly", "nightly"
	k.start(a)
	k.kind(k.st.CreateRun(k.ctx, b), batch.Conflict)
	_, err := k.st.Run(k.ctx, "r_b")
	k.kind(err, batch.NotFound)
	if len(k.rung()) > 0 {
		k.t.Fatal("a refused run rang")
	}
	found, err := k.st.List(k.ctx, store.Filter{Key: "nightly"})
	k.ok(err)
	if len(found) != 1 || found[0].ID != "r_a" {
		k.t.Fatalf("found %+v", found)
	}
	b.Key = ""
	k.start(b)
	b.ID = "r_c" // no key is not a key
	k.start(b)
}

func listed(k *kit) {
	for i, id := range []string{"r_1", "r_2", "r_3", "r_4"} {
		r := fresh(id, 4, 2, 1, money.NoLimit)
		r.CreatedAt, r.Job = int64(i), "even"
		if i%2 == 1 {
			r.Job = "odd"
		}
		if i == 3 {
			r.State = batch.RunQueued
		}
		k.start(r)
	}
	l := k.claim("r_2", 0, "w")
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 7}, 0)
	for _, c := range []struct {
		f    store.Filter
		want []string
	}{
		{store.Filter{}, []string{"r_4", "r_3", "r_2", "r_1"}},
		{store.Filter{Limit: 2}, []string{"r_4", "r_3"}},
		{store.Filter{Job: "odd"}, []string{"r_4", "r_2"}},
		{store.Filter{Job: "none"}, nil},
		{store.Filter{States: []batch.RunState{batch.RunQueued, batch.RunFailed}}, []string{"r_4"}},
		{store.Filter{Job: "odd", States: []batch.RunState{batch.RunRunning}}, []string{"r_2"}},
	} {
		got, err := k.st.List(k.ctx, c.f)
		k.ok(err)
		var ids []string
		for _, r := range got {
			ids = append(ids, string(r.ID))
			one := k.run(r.ID)
			same(k, "counts in the list", r.Counts, one.Counts)
			same(k, "spent in the list", r.Budget.Spent, one.Budget.Spent)
		}
		if !slices.Equal(ids, c.want) {
			k.t.Fatalf("%+v lists %v, want %v", c.f, ids, c.want)
		}
	}
}

func history(k *kit) {
	for i, id := range []string{"r_1", "r_2", "r_3"} {
		r := fresh(id, 2, 2, 1, money.NoLimit)
		r.CreatedAt, r.Job = int64(i), "j"
		if i == 2 {
			r.WorkDigest = "other"
		}
		k.start(r)
		if i != 1 {
			k.claim(r.ID, 0, "w").finish(money.Amount{Tokens: 9})
		}
	}
	got, err := k.st.History(k.ctx, "j", "wd", 10)
	k.ok(err)
	if len(got) != 1 || got[0].ID != "r_1" || got[0].Counts.OK != 2 || got[0].Counts.Usage.Input != 18 {
		k.t.Fatalf("history is %+v", got)
	}
}

func transitions(k *kit) {
	r := fresh("r_a", 4, 2, 2, money.NoLimit)
	r.State, r.StartedAt = batch.RunQueued, 0
	id := k.start(r)
	k.kind(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunPaused, "x"), batch.Conflict)
	k.kind(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunQueued}, batch.RunSucceeded, "x"), batch.Conflict)
	k.kind(k.st.Transition(k.ctx, "r_none", []batch.RunState{batch.RunQueued}, batch.RunRunning, "x"), batch.NotFound)
	same(k, "state", k.run(id).State, batch.RunQueued)
	same(k, "reason", k.run(id).Reason, "")
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunPaused, batch.RunQueued}, batch.RunRunning, "go"))
	k.hears(batch.BellWork, 0, 1)
	got := k.run(id)
	same(k, "state", got.State, batch.RunRunning)
	same(k, "reason", got.Reason, "go")
	same(k, "started", got.StartedAt, k.clock.micros())
	k.clock.pass(time.Second)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunDelivering, ""))
	same(k, "ended", k.run(id).EndedAt, 0)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunDelivering}, batch.RunPartial, "done"))
	got = k.run(id)
	same(k, "ended", got.EndedAt, k.clock.micros())
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunPartial}, batch.RunRunning, "retry"))
	got = k.run(id)
	same(k, "ended of a run that goes on", got.EndedAt, 0)
	same(k, "first start", got.StartedAt, k.clock.micros()-1_000_000)
}

func activeTime(k *kit) {
	r := fresh("r_a", 4, 2, 2, money.NoLimit)
	id := k.start(r)
	running := []batch.RunState{batch.RunRunning}
	k.clock.pass(3 * time.Second)
	_, err := k.st.Reap(k.ctx, "w", int64(time.Hour/time.Microsecond), []batch.RunID{id})
	k.ok(err)
	same(k, "active after a beat", k.run(id).ActiveUS, 3_000_000)
	k.clock.pass(2 * time.Second)
	k.ok(k.st.Transition(k.ctx, id, running, batch.RunRunning, "resumed while it ran"))
	k.clock.pass(time.Second)
	k.ok(k.st.Transition(k.ctx, id, running, batch.RunPaused, ""))
	same(k, "active when paused", k.run(id).ActiveUS, 6_000_000)
	k.clock.pass(time.Hour)
	_, err = k.st.Reap(k.ctx, "w", int64(2*time.Hour/time.Microsecond), []batch.RunID{id})
	k.ok(err)
	same(k, "active while paused", k.run(id).ActiveUS, 6_000_000)
}

func targets(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.NoLimit))
	l := k.claim(id, 0, "w")
	k.ok(k.st.SetTarget(k.ctx, id, batch.RunCancelled, "asked"))
	k.hears(batch.BellFinish)
	got := k.run(id)
	same(k, "target", got.Target, batch.RunCancelled)
	same(k, "reason", got.Reason, "asked")
	s := k.shard(id, 1)
	_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: s.Ref, Worker: "w", Costs: costs(2)})
	k.ok(err)
	same(k, "a claim of a run that stops", status, store.Stale)
	l.begin(0)
	l.end(call, 0)
	l.release()
	k.hears(batch.BellFinish, 0)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunDelivering, "asked"))
	same(k, "target while delivering", k.run(id).Target, batch.RunCancelled)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunDelivering}, batch.RunCancelled, "asked"))
	same(k, "target of an ended run", k.run(id).Target, "")
	k.kind(k.st.SetTarget(k.ctx, id, batch.RunCancelled, "again"), batch.Conflict)

	idle := k.start(fresh("r_b", 4, 2, 2, money.NoLimit))
	k.ok(k.st.SetTarget(k.ctx, idle, batch.RunDeadlineExceeded, "late"))
	k.hears(batch.BellFinish, 0)
	k.ok(k.st.SetTarget(k.ctx, idle, "", "not yet"))
	same(k, "a target that was taken back", k.run(idle).Target, "")
	k.hears(batch.BellWork, 0, 1)
	k.claim(idle, 0, "w")
	k.kind(k.st.SetTarget(k.ctx, "r_none", batch.RunCancelled, ""), batch.NotFound)
	// A run that stopped resumable can still be cancelled, and nothing else.
	stopped := fresh("r_c", 4, 2, 2, money.NoLimit)
	stopped.State = batch.RunStoppedBudget
	k.start(stopped)
	k.kind(k.st.SetTarget(k.ctx, "r_c", batch.RunFailed, ""), batch.Conflict)
	k.ok(k.st.SetTarget(k.ctx, "r_c", batch.RunCancelled, ""))
	k.hears(batch.BellFinish, 0)
	k.clock.pass(time.Minute) // that bell is lost
	_, err = k.st.Reap(k.ctx, "w", int64(time.Hour/time.Microsecond), []batch.RunID{"r_c"})
	k.ok(err)
	k.hears(batch.BellFinish, 0)
}

func limits(k *kit) {
	id := k.start(fresh("r_a", 4, 2, 2, money.Limit{Tokens: 200, Pico: -1, Retries: -1}))
	l := k.claim(id, 0, "w")
	s := k.shard(id, 1)
	_, status, hit, err := k.st.Claim(k.ctx, store.Claim{Ref: s.Ref, Worker: "w", Costs: costs(2)})
	k.ok(err)
	same(k, "status", status, store.Parked)
	same(k, "dimension", hit, money.DimTokens)
	same(k, "state", k.shard(id, 1).State, batch.ShardParked)
	k.rung()
	k.ok(k.st.SetLimit(k.ctx, id, money.Limit{Tokens: 300, Pico: 5, Retries: 6}, 77))
	k.hears(batch.BellWork, 1)
	got := k.run(id)
	same(k, "limit", got.Budget.Limit, money.Limit{Tokens: 300, Pico: 5, Retries: 6})
	same(k, "deadline", got.DeadlineAt, 77)
	same(k, "state", k.shard(id, 1).State, batch.ShardOpen)
	same(k, "reserved", got.Budget.Reserved.Tokens, l.Book.Reserved.Tokens)
	// Lowered below what is held: what is held stays, nothing more is.
	k.ok(k.st.SetLimit(k.ctx, id, money.Limit{Tokens: 50, Pico: -1, Retries: -1}, 0))
	dim, err := k.st.TopUp(k.ctx, l.Ref, money.Amount{Tokens: 1})
	k.ok(err)
	same(k, "refused by", dim, money.DimTokens)
	l.begin(0)
	k.kind(k.st.SetLimit(k.ctx, "r_none", money.NoLimit, 0), batch.NotFound)
}

func windows(k *kit) {
	id := k.start(fresh("r_a", 7, 2, 2, money.NoLimit))
	k.claim(id, 1, "w").finish(money.Amount{Tokens: 3})
	k.hears(batch.BellWork, 2)
	got := k.run(id)
	same(k, "opened", got.Opened, 3)
	same(k, "closed", got.Closed, 1)
	l := k.claim(id, 0, "w") // handed back unfinished: no further shard
	l.release()
	k.hears(batch.BellWork, 0)
	same(k, "opened", k.run(id).Opened, 3)
	k.claim(id, 0, "w").finish(money.Amount{Tokens: 3})
	k.hears(batch.BellWork, 3)
	same(k, "items of the last shard", k.shard(id, 3).Book.N, 1)
	k.claim(id, 2, "w").finish(money.Amount{Tokens: 3})
	k.hears(batch.BellWork)
	same(k, "opened", k.run(id).Opened, 4)
}

func pausedWindow(k *kit) {
	id := k.start(fresh("r_a", 20, 2, 3, money.NoLimit))
	a, b := k.claim(id, 0, "w"), k.claim(id, 1, "w")
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunPaused, "p"))
	a.finish(call)
	b.finish(call)
	if n := len(k.heard()[batch.BellWork]); n > 0 {
		k.t.Fatalf("a paused run rang %d times", n)
	}
	same(k, "opened while paused", k.run(id).Opened, 3)
	s := k.shard(id, 2)
	_, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: s.Ref, Worker: "w", Costs: costs(2)})
	k.ok(err)
	same(k, "a claim of a paused run", status, store.Stale)
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunPaused}, batch.RunRunning, ""))
	k.hears(batch.BellWork, 2, 3, 4)
}
