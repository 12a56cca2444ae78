package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

func failures(k *kit) {
	id := k.start(fresh("r_a", 6, 3, 2, money.NoLimit))
	fail := func(l *lease, i int, c batch.Class, attempts int) store.Delta {
		l.begin(i)
		l.Book.Finish(i, batch.End{Worst: call, Charge: call, State: batch.ItemFailed})
		d := l.delta(false, outcomes(l.First, i))
		d.Failed = []store.Failure{{Run: id, Ordinal: l.First + batch.Ordinal(i), ID: fmt.Sprint("i", int(l.First)+i), Class: c, Message: "m", Attempts: attempts}}
		return d
	}
	b, a := k.claim(id, 1, "w"), k.claim(id, 0, "w")
	k.ok(b.write(fail(b, 2, batch.ClassRefused, 1)))
	k.ok(b.write(fail(b, 0, batch.ClassUnknown, 3)))
	k.ok(a.write(fail(a, 1, batch.ClassRefused, 2)))
	for _, c := range []struct {
		class batch.Class
		after batch.Ordinal
		limit int
		want  []batch.Ordinal
	}{
		{"", -1, 0, []batch.Ordinal{1, 3, 5}}, {"", -1, 2, []batch.Ordinal{1, 3}}, {"", 1, 0, []batch.Ordinal{3, 5}},
		{batch.ClassRefused, -1, 0, []batch.Ordinal{1, 5}}, {batch.ClassRefused, 1, 1, []batch.Ordinal{5}}, {batch.ClassAuth, -1, 0, nil},
	} {
		fs, err := k.st.Failures(k.ctx, id, c.class, c.after, c.limit)
		k.ok(err)
		var got []batch.Ordinal
		for _, f := range fs {
			got = append(got, f.Ordinal)
		}
		if !slices.Equal(got, c.want) {
			k.t.Fatalf("failures of %q after %d: %v, want %v", c.class, c.after, got, c.want)
		}
	}
	fs, err := k.st.Failures(k.ctx, id, batch.ClassUnknown, -1, 0)
	k.ok(err)
	same(k, "failure", fs[0], store.Failure{Run: id, Ordinal: 3, ID: "i3", Class: batch.ClassUnknown, Message: "m", Attempts: 3})
}

// failed is a run that ended with its first item of two failed.
func (k *kit) failed(name string) batch.RunID {
	k.t.Helper()
	id := k.start(fresh(name, 2, 2, 1, money.NoLimit))
	l := k.claim(id, 0, "w")
	l.begin(0, 1)
	l.Book.Finish(0, batch.End{Worst: call, Charge: call, State: batch.ItemFailed})
	l.Book.Finish(1, batch.End{Worst: call, Charge: call, State: batch.ItemOK})
	d := l.delta(false, outcomes(0, 0, 1))
	d.Failed = []store.Failure{{Run: id, Ordinal: 0, ID: "i0", Class: batch.ClassRefused, Message: "m", Attempts: 1}}
	k.ok(l.write(d))
	l.release()
	k.end(id)
	return id
}

func (k *kit) end(id batch.RunID) {
	k.t.Helper()
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunDelivering, ""))
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunDelivering}, batch.RunPartial, ""))
	k.rung()
}

// again works a reopened item to an ok outcome that heals its failure.
func (k *kit) again(id batch.RunID) {
	k.t.Helper()
	k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunPartial}, batch.RunRunning, ""))
	k.hears(batch.BellWork, 0)
	l := k.claim(id, 0, "w")
	l.begin(0)
	l.Book.Finish(0, batch.End{Worst: call, Charge: call, State: batch.ItemOK})
	d := l.delta(false, outcomes(0, 0))
	d.Healed = []batch.Ordinal{0}
	k.ok(l.write(d))
	l.release()
	k.hears(batch.BellFinish, 0)
	got := k.run(id)
	same(k, "ok", got.Counts.OK, 2)
	same(k, "failed", got.Counts.Failed, 0)
	same(k, "closed", got.Closed, 1)
	same(k, "spent", got.Budget.Spent.Tokens, 300)
	fs, err := k.st.Failures(k.ctx, id, "", -1, 0)
	k.ok(err)
	same(k, "failures", len(fs), 0)
}

func reopens(k *kit) {
	live := k.start(fresh("r_live", 2, 2, 1, money.NoLimit))
	k.kind(k.st.Reopen(k.ctx, live, []batch.Ordinal{0}), batch.Conflict)
	k.kind(k.st.Reopen(k.ctx, "r_none", []batch.Ordinal{0}), batch.NotFound)
	id := k.failed("r_a")
	same(k, "failed", k.run(id).Counts.Failed, 1)
	k.ok(k.st.Reopen(k.ctx, id, []batch.Ordinal{0}))
	got := k.run(id)
	same(k, "retried", got.Retried, 1)
	same(k, "ok", got.Counts.OK, 1)
	same(k, "failed", got.Counts.Failed, 0)
	same(k, "closed", got.Closed, 0)
	same(k, "calls", got.Counts.Calls, 2)
	s := k.shard(id, 0)
	same(k, "state", s.State, batch.ShardOpen)
	same(k, "pending", s.Book.Pending(), 1)
	same(k, "attempts", s.Book.Attempts[0], 0)
	same(k, "attempts of the other", s.Book.Attempts[1], 1)
	fs, err := k.st.Failures(k.ctx, id, "", -1, 0)
	k.ok(err)
	same(k, "failures until a new outcome", len(fs), 1)
	k.again(id)
}

func reopensTwice(k *kit) {
	id := k.failed("r_a")
	k.ok(k.st.Reopen(k.ctx, id, []batch.Ordinal{0, 0}))
	k.ok(k.st.Reopen(k.ctx, id, []batch.Ordinal{0}))
	got := k.run(id)
	same(k, "failed", got.Counts.Failed, 0)
	same(k, "closed", got.Closed, 0)
	same(k, "pending", k.shard(id, 0).Book.Pending(), 1)
	if k.st.Reopen(k.ctx, id, []batch.Ordinal{2}) == nil {
		k.t.Fatal("an item that the run does not have was reopened")
	}
	k.again(id)

	// Items of shards that were never opened are pending as they are.
	id = k.start(fresh("r_b", 6, 2, 1, money.NoLimit))
	k.end(id)
	k.ok(k.st.Reopen(k.ctx, id, []batch.Ordinal{4, 5}))
	got = k.run(id)
	same(k, "closed", got.Closed, 0)
	same(k, "failed", got.Counts.Failed, 0)
	same(k, "opened", got.Opened, 1)
}

func reopensSealed(k *kit) {
	id := k.failed("r_a")
	k.seal(id, 0)
	_, err := k.st.Shard(k.ctx, id, 0)
	k.kind(err, batch.NotFound)
	last := batch.Epoch(1)
	for range 2 {
		k.ok(k.st.Reopen(k.ctx, id, []batch.Ordinal{0}))
		s := k.shard(id, 0)
		same(k, "pending", s.Book.Pending(), 1)
		if s.Ref.Epoch <= last {
			k.t.Fatalf("the epoch is %d again", s.Ref.Epoch)
		}
		k.ok(k.st.Transition(k.ctx, id, []batch.RunState{batch.RunPartial}, batch.RunRunning, ""))
		l := k.claim(id, 0, "w")
		l.begin(0)
		l.Book.Finish(0, batch.End{Worst: call, Charge: call, State: batch.ItemFailed})
		k.ok(l.write(l.delta(false, outcomes(0, 0))))
		l.release()
		last = l.Ref.Epoch
		k.seal(id, 0)
		k.end(id)
	}
	got := k.run(id)
	same(k, "ok", got.Counts.OK, 1)
	same(k, "failed", got.Counts.Failed, 1)
	same(k, "closed", got.Closed, 1)
}

// seal seals a stretch through its last chunk.
func (k *kit) seal(id batch.RunID, stretch int64) store.Segment {
	k.t.Helper()
	per := k.run(id).StretchShards()
	last := int64(0)
	k.ok(k.st.Chunks(k.ctx, id, batch.ShardNo(stretch*per), batch.ShardNo((stretch+1)*per), func(c store.Chunk) error {
		last = c.Row
		return nil
	}))
	seg := store.Segment{Run: id, Stretch: stretch, Name: fmt.Sprint("seg", last), Bytes: 10, Rows: 2, Attempts: fmt.Sprint("att", last), AttemptsBytes: 5, AttemptsRows: 3}
	k.ok(k.st.Seal(k.ctx, seg, last))
	return seg
}

func seals(k *kit) {
	id := k.start(fresh("r_a", 4000, 1000, 4, money.NoLimit))
	other := k.start(fresh("r_b", 2, 2, 1, money.NoLimit))
	k.claim(other, 0, "w").finish(call)
	done, half, far := k.claim(id, 0, "w"), k.claim(id, 1, "w"), k.claim(id, 2, "w")
	for i := range 1000 {
		done.Book.Close(i, batch.ItemOK)
	}
	k.ok(done.write(done.delta(false, outcomes(0, 0))))
	done.release()
	half.begin(0)
	half.end(call, 0)
	far.begin(0)
	far.end(call, 0)
	var through int64
	k.ok(k.st.Chunks(k.ctx, id, 0, 2, func(c store.Chunk) error { through = c.Row; return nil }))
	half.begin(1)
	half.end(call, 1) // after the reader of the seal has passed
	seg := store.Segment{Run: id, Stretch: 0, Name: "one", Bytes: 1, Rows: 2, Attempts: "a1", AttemptsBytes: 3, AttemptsRows: 4}
	for range 2 {
		k.ok(k.st.Seal(k.ctx, seg, through))
		per, _ := k.committed(id)
		if len(per) != 2 || per[1001] != 1 || per[2000] != 1 {
			k.t.Fatalf("left are %v", per)
		}
	}
	_, err := k.st.Shard(k.ctx, id, 0)
	k.kind(err, batch.NotFound)
	same(k, "the leased one stays", k.shard(id, 1).State, batch.ShardLeased)
	got, err := k.st.Segments(k.ctx, id)
	k.ok(err)
	if !slices.Equal(got, []store.Segment{seg}) {
		k.t.Fatalf("segments are %+v", got)
	}
	seg.Name, seg.Rows = "two", 3
	k.ok(k.st.Seal(k.ctx, seg, through+1000))
	later := seg
	later.Stretch, later.Name = 1, "far"
	k.ok(k.st.Seal(k.ctx, later, 0))
	got, err = k.st.Segments(k.ctx, id)
	k.ok(err)
	if !slices.Equal(got, []store.Segment{seg, later}) {
		k.t.Fatalf("segments are %+v", got)
	}
	per, _ := k.committed(id)
	same(k, "a chunk of another stretch", per[2000], 1)
	per, _ = k.committed(other)
	same(k, "outcomes of another run", len(per), 2)
	same(k, "counts of the run", k.run(id).Counts.OK, 1003)
	open, err := k.st.Open(k.ctx, id)
	k.ok(err)
	var nos []batch.ShardNo
	for _, s := range open {
		nos = append(nos, s.Ref.Shard)
		same(k, "first", int64(s.First), int64(s.Ref.Shard)*1000)
	}
	if !slices.Equal(nos, []batch.ShardNo{1, 2, 3}) {
		k.t.Fatalf("open are %v", nos)
	}
	k.kind(k.st.Seal(k.ctx, store.Segment{Run: "r_none"}, 0), batch.NotFound)
}

func pages(k *kit) {
	const n = 600
	id := k.start(fresh("r_a", n, n/2, 2, money.NoLimit))
	ls := []*lease{k.claim(id, 0, "w"), k.claim(id, 1, "w")}
	for i := range n / 2 {
		var ds []store.Delta
		for _, l := range ls {
			l.Book.Close(i, batch.ItemOK)
			ds = append(ds, l.delta(false, outcomes(l.First, i)))
			l.Seq++
		}
		errs, err := k.st.Advance(k.ctx, ds)
		k.ok(err)
		k.ok(errors.Join(errs...))
	}
	rows, seqs := int64(0), map[batch.ShardNo]int64{}
	count := 0
	k.ok(k.st.Chunks(k.ctx, id, 0, 2, func(c store.Chunk) error {
		if c.Row <= rows || c.Seq != seqs[c.Shard] || c.Epoch != 1 {
			k.t.Fatalf("chunk %+v after row %d", c, rows)
		}
		rows, seqs[c.Shard] = c.Row, c.Seq+1
		count++
		return nil
	}))
	same(k, "chunks", count, n)
	count = 0
	k.ok(k.st.Chunks(k.ctx, id, 1, 2, func(c store.Chunk) error { count++; same(k, "shard", c.Shard, 1); return nil }))
	same(k, "chunks of one shard", count, n/2)
	stop := errors.New("stop")
	count = 0
	k.is(k.st.Chunks(k.ctx, id, 0, 2, func(store.Chunk) error { count++; return stop }), stop)
	same(k, "chunks before the visitor stopped", count, 1)
	per, _ := k.committed(id)
	same(k, "items", len(per), n)
}

func answers(k *kit) {
	id := k.start(fresh("r_a", 4, 4, 1, money.NoLimit))
	l := k.claim(id, 0, "w")
	put := func(as ...store.Answer) {
		k.t.Helper()
		d := l.delta(false, "")
		d.Answers = as
		k.ok(l.write(d))
	}
	put(store.Answer{Scope: string(id), Key: []byte{0, 1}, Body: []byte("run"), At: 1},
		store.Answer{Scope: store.CacheScope, Key: []byte{0, 1}, Body: []byte("cache"), At: 1})
	put(store.Answer{Scope: store.CacheScope, Key: []byte{0, 1}, Body: []byte("another"), At: 2})
	get := func(scope string, want ...string) {
		k.t.Helper()
		got, err := k.st.Answers(k.ctx, scope, [][]byte{{9}, {0, 1}, {}})
		k.ok(err)
		same(k, "answers", len(got), 3)
		for i, w := range want {
			same(k, "answer", string(got[i]), w)
			same(k, "found", got[i] != nil, w != "")
		}
	}
	get(string(id), "", "run", "")
	get(store.CacheScope, "", "cache", "")
	get("r_none", "", "", "")
	l.finish(call)
	k.end(id)
	get(string(id), "", "", "") // a run that is over shares nothing more
	get(store.CacheScope, "", "cache", "")
}

func survives(k *kit) {
	id := k.start(fresh("r_a", 6, 2, 2, money.Limit{Tokens: 1000, Pico: -1, Retries: 4}))
	done := k.claim(id, 0, "dead")
	done.finish(money.Amount{Tokens: 12, Pico: 13})
	l := k.claim(id, 1, "dead")
	l.begin(0, 1)
	l.end(money.Amount{Tokens: 3}, 0)
	run, one := k.run(id), k.shard(id, 1)
	per, _ := k.committed(id)
	k.rung()
	k.st = k.reopen()
	again := k.run(id)
	same(k, "budget", again.Budget, run.Budget)
	same(k, "counts", again.Counts, run.Counts)
	same(k, "state", again.State, run.State)
	same(k, "opened", again.Opened, run.Opened)
	s := k.shard(id, 1)
	same(k, "book", fmt.Sprintf("%+v", *s.Book), fmt.Sprintf("%+v", *one.Book))
	same(k, "owner", s.Owner, "dead")
	after, _ := k.committed(id)
	same(k, "outcomes", fmt.Sprint(after), fmt.Sprint(per))
	same(k, "taken over", k.reap("next", id), 1)
	k.hears(batch.BellWork, 1, 2)
	same(k, "at risk", k.run(id).Budget.AtRisk, call)
	k.claim(id, 1, "next").finish(call)
}
