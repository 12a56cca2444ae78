package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

// stretch is everything committed of a run of contiguous shards: what is
// sealed, and what was committed since.
type stretch struct {
	outcomes   []batch.Outcome // in manifest order
	attempts   []batch.Attempt // by shard, each in the order of commit
	throughRow int64           // the last chunk in it
	chunks     int
	segment    *store.Segment
	twice      []batch.Outcome // second outcomes that no retry explains
}

// put keeps an outcome in the place of an earlier one of its item. That is how
// a retry ends, in a lease of its own; anything else is noted.
func (s *stretch) put(r store.Run, byOrdinal map[batch.Ordinal]batch.Outcome, o batch.Outcome) {
	if old, ok := byOrdinal[o.Ordinal]; ok && (r.Retried == 0 || old.Epoch == o.Epoch) {
		s.twice = append(s.twice, o)
	}
	byOrdinal[o.Ordinal] = o
}

// part says which half of a stretch a reader needs: they lie in two files, and
// decoding the other one is half of the work.
type part int

const (
	both part = iota
	outcomesOnly
	attemptsOnly
)

// loadStretch merges a stretch's segment with the chunks after it. A later
// outcome of an item replaces an earlier one: only a retry that was asked for
// makes one.
func (a *App) loadStretch(ctx context.Context, r store.Run, k int64, seg *store.Segment, want part) (stretch, error) {
	s := stretch{segment: seg}
	byOrdinal := map[batch.Ordinal]batch.Outcome{}
	if seg != nil && want != attemptsOnly {
		err := a.readSegment(ctx, r.ID, seg.Name, func(rd *segment.Reader) error {
			o, err := rd.Outcome()
			if err == nil {
				s.put(r, byOrdinal, o)
			}
			return err
		})
		if err != nil {
			return s, err
		}
	}
	if seg != nil && want != outcomesOnly {
		err := a.readSegment(ctx, r.ID, seg.Attempts, func(rd *segment.Reader) error {
			at, err := rd.Attempt()
			if err == nil {
				s.attempts = append(s.attempts, at)
			}
			return err
		})
		if err != nil {
			return s, err
		}
	}
	per := r.StretchShards()
	err := a.store.Chunks(ctx, r.ID, batch.ShardNo(k*per), batch.ShardNo((k+1)*per), func(c store.Chunk) error {
		g, err := a.codec.Decode(c.Body)
		if err != nil {
			return &batch.Error{Kind: batch.Internal, Op: "read results", Ref: fmt.Sprintf("%s shard %d epoch %d group %d", r.ID, c.Shard, c.Epoch, c.Seq),
				Hint: "batchwright verify " + string(r.ID), Err: err}
		}
		for _, o := range g.Outcomes {
			s.put(r, byOrdinal, o)
		}
		s.attempts = append(s.attempts, g.Attempts...)
		s.throughRow = max(s.throughRow, c.Row)
		s.chunks++
		return nil
	})
	if err != nil {
		return s, err
	}
	for _, o := range byOrdinal {
		s.outcomes = append(s.outcomes, o)
	}
	slices.SortFunc(s.outcomes, func(x, y batch.Outcome) int { return int(x.Ordinal - y.Ordinal) })
	slices.SortStableFunc(s.attempts, func(x, y batch.Attempt) int { return int(x.Shard - y.Shard) })
	return s, nil
}

// readSegment verifies a segment's checksum and reads it to its end.
func (a *App) readSegment(ctx context.Context, id batch.RunID, name string, next func(*segment.Reader) error) error {
	fail := func(err error) error {
		if kind := batch.KindOf(err); kind == batch.Unavailable || batch.MachineFault(err) {
			return &batch.Error{Kind: batch.Unavailable, Op: "read segment", Ref: string(id) + "/" + name, Err: err,
				Hint: "when the disk of the data directory works again, run the same command"}
		}
		return &batch.Error{Kind: batch.Internal, Op: "read segment", Ref: string(id) + "/" + name, Hint: "batchwright verify " + string(id), Err: err}
	}
	body, err := a.segmentBytes(ctx, id, name)
	if err != nil {
		return fail(err)
	}
	rd, err := segment.NewReader(bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	defer rd.Close()
	for {
		if err := next(rd); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fail(err)
		}
	}
}

// segmentBytes returns a segment whose bytes are what its name says (I9).
func (a *App) segmentBytes(ctx context.Context, id batch.RunID, name string) ([]byte, error) {
	rc, err := a.cold.OpenRange(ctx, a.dir.SegmentKey(id, name), 0, -1)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != name {
		return nil, errors.New("the checksum is wrong: the file was damaged")
	}
	return body, nil
}

// Seal writes a stretch as a segment, reads it back and switches the pointer.
// It is idempotent: the name is the content's checksum.
func (a *App) Seal(ctx context.Context, id batch.RunID, k int64) error {
	defer a.onlySealer(id)()
	r, err := a.store.Run(ctx, id)
	if err != nil {
		return err
	}
	segs, err := a.segments(ctx, id)
	if err != nil {
		return err
	}
	return a.seal(ctx, r, k, segs[k])
}

// onlySealer waits until nobody else seals the run, from the look at its
// pointers to their switch: one who merges into a pointer that has been switched
// since would drop what the other sealed. The lock on the data directory keeps
// other processes away. Call what it returns at the end.
// guard: ONE_SEALER
func (a *App) onlySealer(id batch.RunID) (leave func()) {
	m, _ := a.sealers.LoadOrStore(id, new(sync.Mutex))
	m.(*sync.Mutex).Lock()
	return m.(*sync.Mutex).Unlock
}

// seal is Seal for a caller that has the run and the stretch's pointer.
func (a *App) seal(ctx context.Context, r store.Run, k int64, old *store.Segment) error {
	id := r.ID
	s, err := a.gather(ctx, r, k, old)
	if err != nil || s.chunks == 0 {
		return err
	}
	outcomes, attempts := a.codec.Pack(s.outcomes), a.codec.Pack(s.attempts)
	seg := store.Segment{Run: id, Stretch: k, Bytes: int64(len(outcomes)), Rows: int64(len(s.outcomes)),
		AttemptsBytes: int64(len(attempts)), AttemptsRows: int64(len(s.attempts))}
	failpoint.Hit("segment.packed")
	if seg.Name, err = a.putSegment(ctx, id, outcomes); err != nil {
		return err
	}
	failpoint.Hit("segment.outcomes")
	if seg.Attempts, err = a.putSegment(ctx, id, attempts); err != nil {
		return err
	}
	failpoint.Hit("segment.attempts")
	if err := a.store.Seal(ctx, seg, s.throughRow); err != nil {
		return err
	}
	failpoint.Hit("segment.switched")
	if old != nil {
		a.dropSegment(ctx, id, old.Name, seg)
		a.dropSegment(ctx, id, old.Attempts, seg)
	}
	return nil
}

// gathered is a stretch as encoded lines: outcomes in manifest order, attempts
// by shard in the order of commit.
type gathered struct {
	outcomes, attempts []segment.Line
	throughRow         int64
	chunks             int
}

// gather merges a stretch's segment with its chunks, without decoding a line.
func (a *App) gather(ctx context.Context, r store.Run, k int64, seg *store.Segment) (gathered, error) {
	var g gathered
	last := map[batch.Ordinal]segment.Line{}
	byShard := map[batch.ShardNo][]segment.Line{}
	take := func(packed []byte, shard func(segment.Line) (batch.ShardNo, error)) error {
		lines, err := a.codec.Split(packed)
		if err != nil {
			return err
		}
		for _, l := range lines {
			if !l.Attempt {
				last[l.Ordinal] = l
				continue
			}
			no, err := shard(l)
			if err != nil {
				return err
			}
			byShard[no] = append(byShard[no], l)
		}
		return nil
	}
	if seg != nil { // sealed before, and retried since
		for _, name := range []string{seg.Name, seg.Attempts} {
			body, err := a.segmentBytes(ctx, r.ID, name)
			if err == nil {
				err = take(body, segment.Line.Shard)
			}
			if err != nil {
				return g, err
			}
		}
	}
	per := r.StretchShards()
	err := a.store.Chunks(ctx, r.ID, batch.ShardNo(k*per), batch.ShardNo((k+1)*per), func(c store.Chunk) error {
		g.throughRow = max(g.throughRow, c.Row)
		g.chunks++
		return take(c.Body, func(segment.Line) (batch.ShardNo, error) { return c.Shard, nil })
	})
	if err != nil {
		return g, err
	}
	for _, o := range slices.Sorted(maps.Keys(last)) {
		g.outcomes = append(g.outcomes, last[o])
	}
	for _, no := range slices.Sorted(maps.Keys(byShard)) {
		g.attempts = append(g.attempts, byShard[no]...)
	}
	return g, nil
}

// putSegment writes content under its checksum and reads it back before anyone
// points at it.
func (a *App) putSegment(ctx context.Context, id batch.RunID, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	name := hex.EncodeToString(sum[:])
	if err := a.cold.Put(ctx, a.dir.SegmentKey(id, name), bytes.NewReader(body), blob.PutOptions{}); err != nil {
		return "", err
	}
	if _, err := a.segmentBytes(ctx, id, name); err != nil {
		return "", &batch.Error{Kind: batch.Unavailable, Op: "seal", Ref: string(id) + "/" + name, Msg: "what was written does not read back", Err: err}
	}
	return name, nil
}

// dropSegment removes a file that no pointer names any more. A failure leaves
// an orphan, which no reader looks at.
func (a *App) dropSegment(ctx context.Context, id batch.RunID, name string, now store.Segment) {
	if name == now.Name || name == now.Attempts { // guard: NOT_POINTED_AT
		return
	}
	if err := a.cold.Delete(ctx, a.dir.SegmentKey(id, name)); err != nil {
		a.log.Debug("an orphaned segment stays", "run", id, "err", err.Error())
	}
}

func (a *App) segments(ctx context.Context, id batch.RunID) (map[int64]*store.Segment, error) {
	list, err := a.store.Segments(ctx, id)
	if err != nil {
		return nil, err
	}
	m := make(map[int64]*store.Segment, len(list))
	for i := range list {
		m[list[i].Stretch] = &list[i]
	}
	return m, nil
}

// rows streams a run's outcomes and attempts, sealed or not, one stretch in
// memory at a time.
type rows struct {
	app *App
	ctx context.Context
	run store.Run
	// still says that nothing is sealed meanwhile.
	still bool
}

func (x rows) each(want part, visit func(stretch) error) error {
	segs, err := x.app.segments(x.ctx, x.run.ID)
	if err != nil {
		return err
	}
	per := x.run.StretchShards()
	for k := int64(0); k*per < x.run.Opened; k++ {
		s, err := x.stretch(k, segs, want)
		if err != nil {
			return err
		}
		if err := visit(s); err != nil {
			return err
		}
	}
	return nil
}

// stretch reads stretch k by the pointers in segs. What is sealed while it is
// read is in neither the old pointer nor the chunks, or its old file is gone:
// then it looks again, by the pointer as it is now, and keeps that in segs.
// guard: LOOK_AGAIN
func (x rows) stretch(k int64, segs map[int64]*store.Segment, want part) (stretch, error) {
	for {
		was := segs[k]
		s, err := x.app.loadStretch(x.ctx, x.run, k, was, want)
		if x.still || (err == nil && x.run.State.Ended()) {
			return s, err
		}
		fresh, ferr := x.app.segments(x.ctx, x.run.ID)
		if ferr != nil {
			return s, errors.Join(err, ferr)
		}
		now := fresh[k]
		if now == was || (now != nil && was != nil && *now == *was) {
			return s, err
		}
		segs[k] = now
	}
}

// Outcomes visits every outcome in manifest order.
func (x rows) Outcomes(f func(batch.Outcome) error) error {
	return x.each(outcomesOnly, func(s stretch) error {
		for _, o := range s.outcomes {
			if err := f(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// Attempts visits every attempt by shard, each in the order of commit.
func (x rows) Attempts(f func(batch.Attempt) error) error {
	return x.each(attemptsOnly, func(s stretch) error {
		for _, at := range s.attempts {
			if err := f(at); err != nil {
				return err
			}
		}
		return nil
	})
}
