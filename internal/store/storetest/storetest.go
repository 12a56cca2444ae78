// Package storetest is the contract of the port store.Store: every adapter runs
// the same suite, and nothing in it asks which database it talks to.
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// Open makes an empty store that lives by the clock it is given and packs the
// records of take-overs by Pack. reopen closes the store and opens what it left
// behind. bells returns, once, the bells of committed transactions.
type Open func(t testing.TB, clock func() time.Time) (st store.Store, reopen func() store.Store, bells func() []batch.Bell)

// Run holds a store to its contract.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		test func(*kit)
	}{
		{"a run is created with its budget and its window", created},
		{"a run key is taken once", keyTaken},
		{"runs are listed newest first", listed},
		{"history holds runs with results alone", history},
		{"a run moves along its edges alone", transitions},
		{"active time is counted once", activeTime},
		{"a target ends a run with and without leases", targets},
		{"a raised limit opens what was parked", limits},
		{"the next shard opens when one is done", windows},
		{"a paused run opens no shard and goes on with a full window", pausedWindow},
		{"every shard is claimed once", claimers},
		{"a claim is a no-op unless all holds", staleClaims},
		{"a claim reserves what fits", partialFit},
		{"nothing fits: parked, and the run stops", parked},
		{"every dimension of a budget parks", dimensions},
		{"a top-up is all or nothing", topUps},
		{"an advance is fenced", fences},
		{"an advance is guarded", guards},
		{"a group keeps what is not refused", mixedGroup},
		{"a group written twice is harmless", twice},
		{"a release settles to the last pico", releases},
		{"a release frees money for what is parked", unparks},
		{"a delayed shard rings when it is due", delayed},
		{"the last shard of a stretch rings to seal", sealBells},
		{"the last shard of a run rings to finish", finishBells},
		{"a dead worker is taken over", takenOver},
		{"a take-over frees money for what is parked", takeOverUnparks},
		{"a living worker is not taken over", living},
		{"a lost bell is rung again", audits},
		{"the truth is taken once", lateOnce},
		{"a late outcome is kept only when the item is free", lateOutcome},
		{"a late outcome of what is done is not kept", lateOnDone},
		{"the truth is taken after its stretch was sealed", lateSealed},
		{"no truth is taken of a call that was committed", lateCommitted},
		{"a late answer frees money for what is parked", lateUnparks},
		{"a claim takes from every level", nestedLevels},
		{"money is settled in the period of the claim", nestedRollOver},
		{"a lease handed back after midnight settles where it was claimed", releaseRollOver},
		{"a shared budget stops a run and says when it renews", nestedStop},
		{"a run waits for another's lease, and no longer", nestedWaits},
		{"a run waits for a dead worker's lease", nestedWaitsForTheDead},
		{"a new period opens what was parked", nestedPeriodEnds},
		{"shared limits are raised and lowered live", nestedLimits},
		{"failed items are listed", failures},
		{"reopened items are worked again", reopens},
		{"reopened items are counted once", reopensTwice},
		{"sealed shards reopen above every old epoch", reopensSealed},
		{"a seal switches the pointer and drops what is in it", seals},
		{"chunks are paged in the order of commit", pages},
		{"answers are kept once for each scope", answers},
		{"everything outlives a restart", survives},
		{"random histories keep the ledger", ledger},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(newKit(t, open))
		})
	}
}

// Pack is the form of a take-over's record in these tests.
func Pack(a batch.Attempt) ([]byte, error) {
	b, err := json.Marshal(a)
	return append([]byte("A"), b...), err
}

// clock stands still unless it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) micros() int64 { return c.now().UnixMicro() }

// kit is a store under test.
type kit struct {
	t      rapid.TB
	ctx    context.Context
	st     store.Store
	reopen func() store.Store
	rung   func() []batch.Bell
	clock  *clock
}

func newKit(t testing.TB, open Open) *kit {
	k := &kit{t: t, ctx: context.Background(), clock: &clock{t: time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)}}
	k.st, k.reopen, k.rung = open(t, k.clock.now)
	return k
}

// ok fails the test on an error.
func (k *kit) ok(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

// is fails the test unless err is want.
func (k *kit) is(err, want error) {
	k.t.Helper()
	if !errors.Is(err, want) {
		k.t.Fatalf("error is %v, want %v", err, want)
	}
}

// kind fails the test unless err has the kind.
func (k *kit) kind(err error, want batch.Kind) {
	k.t.Helper()
	if err == nil || batch.KindOf(err) != want {
		k.t.Fatalf("error is %v, want kind %s", err, want)
	}
}

// same fails the test unless both are equal.
func same[T comparable](k *kit, what string, got, want T) {
	k.t.Helper()
	if got != want {
		k.t.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// fresh is a run that works on items in shards of size.
func fresh(id string, items int64, size int, window int64, l money.Limit) store.Run {
	return store.Run{ID: batch.RunID(id), Job: "job-" + id, State: batch.RunRunning, Spec: []byte(`{"a":1}`), SpecDigest: "sd", WorkDigest: "wd",
		InputKey: "ik", ManifestDigest: "md", ManifestDir: "runs/" + id, OutputURI: "out/" + id, Queue: "best-effort", Items: items,
		ShardSize: size, Window: window, Price: []byte(`{"in":1}`), PriceVersion: "v1", Plan: []byte(`{}`), ItemTokens: -1,
		CreatedAt: 1, StartedAt: 2, DeadlineAt: 0, Budget: batch.Level{Limit: l}}
}

// start creates a run and forgets the bells it rang.
func (k *kit) start(r store.Run) batch.RunID {
	k.t.Helper()
	k.ok(k.st.CreateRun(k.ctx, r))
	k.rung()
	return r.ID
}

func (k *kit) run(id batch.RunID) store.Run {
	k.t.Helper()
	r, err := k.st.Run(k.ctx, id)
	k.ok(err)
	return r
}

func (k *kit) shard(id batch.RunID, no batch.ShardNo) store.Shard {
	k.t.Helper()
	s, err := k.st.Shard(k.ctx, id, no)
	k.ok(err)
	return s
}

// call is the worst case of one call in these tests.
var call = money.Amount{Tokens: 100, Pico: 1_000_003}

func costs(n int) []money.Amount { return slices.Repeat([]money.Amount{call}, n) }

// claim claims a shard at its present epoch and fails unless it is had.
func (k *kit) claim(id batch.RunID, no batch.ShardNo, worker string) *lease {
	k.t.Helper()
	s := k.shard(id, no)
	got, status, hit, err := k.st.Claim(k.ctx, store.Claim{Ref: s.Ref, Worker: batch.WorkerID(worker), Costs: costs(s.Book.N)})
	k.ok(err)
	if status != store.Claimed {
		k.t.Fatalf("claim of shard %d is %d, %q", no, status, hit)
	}
	return &lease{k: k, Shard: got}
}

// lease is a claimed shard and what its holder knows.
type lease struct {
	k *kit
	store.Shard
}

// delta is what the holder would write now.
func (l *lease) delta(starts bool, chunk string) store.Delta {
	d := store.Delta{Ref: l.Ref, Seq: l.Seq, Book: copyBook(l.Book), Starts: starts}
	if chunk != "" {
		d.Chunk = []byte(chunk)
	}
	return d
}

// write writes one delta and returns its error.
func (l *lease) write(d store.Delta) error {
	l.k.t.Helper()
	errs, err := l.k.st.Advance(l.k.ctx, []store.Delta{d})
	l.k.ok(err)
	if errs[0] == nil && d.Chunk != nil {
		l.Seq++
	}
	return errs[0]
}

// begin starts items and writes that.
func (l *lease) begin(items ...int) {
	l.k.t.Helper()
	for _, i := range items {
		l.k.ok(l.Book.Start(i, call))
	}
	l.k.ok(l.write(l.delta(true, "")))
}

// end commits ok outcomes of started items at a price.
func (l *lease) end(charge money.Amount, items ...int) {
	l.k.t.Helper()
	for _, i := range items {
		l.Book.Finish(i, batch.End{Worst: call, Charge: charge, State: batch.ItemOK, Usage: money.Usage{Input: charge.Tokens}})
	}
	l.k.ok(l.write(l.delta(false, outcomes(l.First, items...))))
}

func (l *lease) release() {
	l.k.t.Helper()
	l.k.ok(l.k.st.Release(l.k.ctx, l.Ref, 0, money.DimNone))
}

// finish works a whole shard.
func (l *lease) finish(charge money.Amount) {
	l.k.t.Helper()
	var items []int
	for i := range l.Book.N {
		if !l.Book.Done.Get(i) {
			items = append(items, i)
		}
	}
	l.begin(items...)
	l.end(charge, items...)
	l.release()
}

func copyBook(b *batch.Book) *batch.Book {
	c := *b
	c.Done, c.Started = slices.Clone(b.Done), slices.Clone(b.Started)
	c.Attempts, c.Lost, c.ItemTokens = slices.Clone(b.Attempts), slices.Clone(b.Lost), slices.Clone(b.ItemTokens)
	return &c
}

// outcomes is the body of a chunk in these tests: the ordinals in it.
func outcomes(first batch.Ordinal, items ...int) string {
	var b bytes.Buffer
	b.WriteByte('O')
	for _, i := range items {
		b.WriteString(strconv.FormatInt(int64(first)+int64(i), 10) + ",")
	}
	return b.String()
}

// committed counts the outcomes of each item, and the take-overs' records.
func (k *kit) committed(id batch.RunID) (per map[batch.Ordinal]int, lost []batch.Attempt) {
	k.t.Helper()
	per = map[batch.Ordinal]int{}
	k.ok(k.st.Chunks(k.ctx, id, 0, 1<<40, func(c store.Chunk) error {
		switch {
		case len(c.Body) == 0:
		case c.Body[0] == 'A':
			var a batch.Attempt
			k.ok(json.Unmarshal(c.Body[1:], &a))
			lost = append(lost, a)
		case c.Body[0] == 'O':
			for f := range bytes.SplitSeq(c.Body[1:], []byte(",")) {
				if len(f) > 0 {
					o, err := strconv.ParseInt(string(f), 10, 64)
					k.ok(err)
					per[batch.Ordinal(o)]++
				}
			}
		}
		return nil
	}))
	return per, lost
}

// heard counts the bells rung since it was last asked.
func (k *kit) heard() map[batch.BellKind][]int64 {
	k.t.Helper()
	m := map[batch.BellKind][]int64{}
	for _, b := range k.rung() {
		m[b.Kind] = append(m[b.Kind], b.N)
	}
	for _, ns := range m {
		slices.Sort(ns)
	}
	return m
}

func (k *kit) hears(kind batch.BellKind, want ...int64) {
	k.t.Helper()
	if got := k.heard()[kind]; !slices.Equal(got, want) {
		k.t.Fatalf("%s bells for %v, want %v", kind, got, want)
	}
}
