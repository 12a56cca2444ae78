package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/sqlite"
)

// meanwhile is a store in which something happens once, between two steps of a
// reader: after it has read the pointers, or before it reads the chunks.
type meanwhile struct {
	store.Store
	afterPointers, beforeChunks func()
}

func once(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func (m *meanwhile) Segments(ctx context.Context, run batch.RunID) ([]store.Segment, error) {
	ss, err := m.Store.Segments(ctx, run)
	once(&m.afterPointers)
	return ss, err
}

func (m *meanwhile) Chunks(ctx context.Context, run batch.RunID, from, to batch.ShardNo, visit func(store.Chunk) error) error {
	once(&m.beforeChunks)
	return m.Store.Chunks(ctx, run, from, to, visit)
}

// stage is a live run of three items in one shard, and the writer of its chunks.
type stage struct {
	t     *testing.T
	app   *App
	store *meanwhile
	lease store.Shard
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := datadir.Open(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := segment.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: dir.DB(), Pack: func(a batch.Attempt) ([]byte, error) {
		return codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := &stage{t: t, store: &meanwhile{Store: db}}
	s.app = New(Config{Dir: dir, Store: s.store, Cold: blob.Local(dir.Root()), Codec: codec, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	r := store.Run{ID: "r_1", Job: "j", State: batch.RunRunning, Spec: []byte("{}"), Items: 3, ShardSize: 3, Window: 1, ItemTokens: -1,
		CreatedAt: 1, Budget: batch.Level{Limit: money.NoLimit}}
	if err := db.CreateRun(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	lease, status, _, err := db.Claim(t.Context(), store.Claim{Ref: batch.LeaseRef{Run: r.ID}, Worker: "w", Costs: make([]money.Amount, 3)})
	if err != nil || status != store.Claimed {
		t.Fatal(status, err)
	}
	s.lease = lease
	return s
}

// commit writes a chunk: the attempts of items, and with outcomes theirs.
func (s *stage) commit(outcomes bool, items ...batch.Ordinal) {
	s.t.Helper()
	var g segment.Group
	for _, o := range items {
		g.Attempts = append(g.Attempts, batch.Attempt{Ordinal: o, Class: batch.ClassOK})
		if outcomes {
			g.Outcomes = append(g.Outcomes, batch.Outcome{Ordinal: o, State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"x"`)})
		}
	}
	chunk, err := s.app.codec.Encode(g)
	if err != nil {
		s.t.Fatal(err)
	}
	errs, err := s.store.Advance(s.t.Context(), []store.Delta{{Ref: s.lease.Ref, Seq: s.lease.Seq, Book: s.lease.Book, Chunk: chunk}})
	if err != nil || errs[0] != nil {
		s.t.Fatal(err, errs)
	}
	s.lease.Seq++
}

func (s *stage) seal() {
	s.t.Helper()
	if err := s.app.Seal(s.t.Context(), "r_1", 0); err != nil {
		s.t.Fatal(err)
	}
}

// sees fails unless a reader sees so many attempts, and one outcome of each of
// the items; it begins with what is committed now.
func (s *stage) sees(attempts int, items ...batch.Ordinal) {
	s.t.Helper()
	r, err := s.store.Run(s.t.Context(), "r_1")
	if err != nil {
		s.t.Fatal(err)
	}
	segs, err := s.app.segments(s.t.Context(), r.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := rows{app: s.app, ctx: s.t.Context(), run: r}.stretch(0, segs, both)
	if err != nil {
		s.t.Fatalf("while it was sealed: %v", err)
	}
	if len(got.outcomes) != len(items) || len(got.attempts) != attempts || len(got.twice) > 0 {
		s.t.Fatalf("%d outcomes, %d of them twice, %d attempts; %d and %d are committed",
			len(got.outcomes), len(got.twice), len(got.attempts), len(items), attempts)
	}
	for i, o := range got.outcomes {
		if o.Ordinal != items[i] {
			s.t.Fatalf("outcome %d is of item %d, want %d", i, o.Ordinal, items[i])
		}
	}
}

// TestAReaderSeesEveryOutcomeOnceWhileItIsSealed: pointer, file and chunks are
// read one after the other, and a seal may come between any two.
func TestAReaderSeesEveryOutcomeOnceWhileItIsSealed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		write func(*stage) // before the reader begins
		want  int          // attempts
		items []batch.Ordinal
	}{
		{"the first seal", func(s *stage) { s.commit(true, 0, 1) }, 2, []batch.Ordinal{0, 1}},
		{"sealed again with more", func(s *stage) { s.commit(true, 0); s.seal(); s.commit(true, 2) }, 2, []batch.Ordinal{0, 2}},
		{"sealed again with an attempt alone", func(s *stage) { s.commit(true, 0); s.seal(); s.commit(false, 0) }, 2, []batch.Ordinal{0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			c.write(s)
			s.store.beforeChunks = s.seal
			s.sees(c.want, c.items...)
			s.sees(c.want, c.items...)
		})
		t.Run(c.name+", the old file gone", func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			c.write(s)
			s.store.afterPointers = s.seal
			s.sees(c.want, c.items...)
		})
	}
}

// TestOneSealsAtATime: who merges into a pointer that has been switched since
// drops what the other sealed. Here each of two sealers is held up after it has
// read the pointer, until the other has read it too, if it can.
func TestOneSealsAtATime(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit(true, 0)
	s.seal()
	s.commit(true, 1)
	other, second := make(chan error, 1), make(chan struct{})
	s.store.afterPointers = func() {
		s.store.afterPointers = func() { close(second) }
		go func() { other <- s.app.Seal(context.WithoutCancel(t.Context()), "r_1", 0) }()
		select {
		case <-second:
			t.Error("two are at it")
		case <-time.After(100 * time.Millisecond): // long enough for one that is not kept out
		}
	}
	s.seal()
	if err := <-other; err != nil {
		t.Fatal(err)
	}
	s.sees(2, 0, 1)
}

// failing is a bucket that does not keep one of the files it is given: it says
// so, or it keeps other bytes.
type failing struct {
	blob.Bucket
	says bool
	in   int // so many are kept before
}

var errFull = errors.New("no space")

func (f *failing) Put(ctx context.Context, key string, r io.Reader, opts blob.PutOptions) error {
	f.in--
	switch {
	case f.in != -1:
	case f.says:
		return errFull
	default:
		r = io.MultiReader(strings.NewReader("?"), r)
	}
	return f.Bucket.Put(ctx, key, r, opts)
}

// TestASealThatFailsChangesNothing: nothing is pointed at that is not there and
// whole, and what was committed is where it was.
func TestASealThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	for _, f := range []failing{{says: true}, {says: true, in: 1}, {}, {in: 1}} {
		s := newStage(t)
		s.commit(true, 0)
		s.seal()
		s.commit(true, 1)
		sound := s.app.cold
		f.Bucket, s.app.cold = sound, &f
		if err := s.app.Seal(t.Context(), "r_1", 0); err == nil {
			t.Fatalf("it sealed into a bucket that keeps nothing (%+v)", f)
		}
		s.app.cold = sound
		s.sees(2, 0, 1)
		s.seal()
		s.sees(2, 0, 1)
	}
}

// TestAnotherSegmentIsNotTaken: a file that is whole in itself, and not the one
// that its name says.
func TestAnotherSegmentIsNotTaken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit(true, 0)
	s.seal()
	segs, err := s.app.segments(t.Context(), "r_1")
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.app.codec.Encode(segment.Group{Outcomes: []batch.Outcome{{Ordinal: 0, State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"y"`)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.app.cold.Put(t.Context(), s.app.dir.SegmentKey("r_1", segs[0].Name), bytes.NewReader(other), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := s.store.Run(t.Context(), "r_1")
	if err != nil {
		t.Fatal(err)
	}
	err = rows{app: s.app, ctx: t.Context(), run: r}.Outcomes(func(o batch.Outcome) error {
		t.Errorf("it was read: %s", o.Output)
		return nil
	})
	if err == nil {
		t.Error("nothing is said")
	}
}

// TestTheSameOutcomesKeepTheirFile: sealed again with an attempt alone, the file
// of outcomes is the same, and stays.
func TestTheSameOutcomesKeepTheirFile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit(true, 0)
	s.seal()
	s.commit(false, 0)
	s.seal()
	s.sees(2, 0)
}
