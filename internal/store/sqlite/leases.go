package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// Shard reads one row without a lock.
func (d *DB) Shard(ctx context.Context, run batch.RunID, no batch.ShardNo) (store.Shard, error) {
	r, err := runRow(ctx, d.read, run)
	if err != nil {
		return store.Shard{}, d.fail("read shard", err)
	}
	s, err := shardRow(ctx, d.read, run, no)
	s.First, _ = r.Span(no)
	return s, d.fail("read shard", err)
}

// Claim is T1.
func (d *DB) Claim(ctx context.Context, c store.Claim) (got store.Shard, status store.ClaimStatus, hit money.Dimension, err error) {
	status = store.Stale
	err = d.inTx(ctx, "claim", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, c.Ref.Run)
		if err != nil {
			return err
		}
		if r.State != batch.RunRunning || r.Target != "" { // guard: RUN_LIVE
			return nil
		}
		s, err := shardRow(ctx, tx, c.Ref.Run, c.Ref.Shard)
		if batch.KindOf(err) == batch.NotFound && err != nil {
			return nil //nolint:nilerr // sealed away: the bell is stale
		}
		if err != nil || s.Ref.Epoch != c.Ref.Epoch || s.State != batch.ShardOpen { // guard: STILL_OPEN
			return err
		}
		draw, err := d.draw(ctx, tx, r)
		if err != nil {
			return err
		}
		ls, err := levels(ctx, tx, c.Ref.Run, draw)
		if err != nil {
			return err
		}
		costs := make([]money.Amount, 0, len(c.Costs))
		for i, x := range c.Costs {
			if !s.Book.Done.Get(i) {
				costs = append(costs, x)
			}
		}
		sum, n, level, dim := batch.FitLevel(ls, costs)
		if n == 0 && len(costs) > 0 {
			status, hit = store.Parked, dim
			r.Short = batch.Shortage{Budget: ls[level].ID, Dim: dim, Need: costs[0].In(dim)}
			return d.park(ctx, tx, r, s, dim)
		}
		if dim, err := reserve(ctx, tx, ls, sum); err != nil || dim != money.DimNone {
			return errors.Join(err, fmt.Errorf("reservation refused by %s after it was judged to fit", dim))
		}
		s.State, s.Owner, s.Seq, s.Draw, s.Book.Reserved = batch.ShardLeased, c.Worker, 0, draw, sum
		s.Ref.Epoch++
		s.First, _ = r.Span(c.Ref.Shard)
		got, status = s, store.Claimed
		return writeShard(ctx, tx, s, 0, 0)
	})
	return got, status, hit, err
}

// park sets a shard aside until money is freed or the limit is raised; r.Short
// says what refused it.
func (d *DB) park(ctx context.Context, tx txn, r store.Run, s store.Shard, dim money.Dimension) error {
	if err := noteShort(ctx, tx, r.ID, r.Short); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE shard SET state=? WHERE run_id=? AND shard=?", batch.ShardParked, s.Ref.Run, s.Ref.Shard); err != nil {
		return err
	}
	return d.stopIfStuck(ctx, tx, r, dim)
}

// stopIfStuck ends a run as stopped_budget when every shard that is not done is
// parked: nothing is in flight that could free enough. While a lease of another
// run holds money of a budget they share, the run waits for its end, and wake
// asks again.
func (d *DB) stopIfStuck(ctx context.Context, tx txn, r store.Run, dim money.Dimension) error {
	var live, parked int
	err := tx.QueryRowContext(ctx, `SELECT coalesce(sum(state IN (0,1)),0), coalesce(sum(state=3),0) FROM shard WHERE run_id=?`, r.ID).Scan(&live, &parked)
	if err != nil || live > 0 || parked == 0 || r.Target != "" || r.State != batch.RunRunning { // guard: ALL_PARKED
		return err
	}
	if waits, err := d.waits(ctx, tx, r); err != nil || waits {
		return err
	}
	reason, err := stopReason(ctx, tx, r, dim)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE run SET target=?, reason=? WHERE run_id=?", batch.RunStoppedBudget, reason, r.ID); err != nil {
		return err
	}
	return d.ringFinish(ctx, tx, r.ID)
}

// TopUp reserves x more for a lease.
func (d *DB) TopUp(ctx context.Context, ref batch.LeaseRef, x money.Amount) (hit money.Dimension, err error) {
	err = d.inTx(ctx, "topup", func(ctx context.Context, tx txn) error {
		draw, err := leaseDraw(ctx, tx, ref)
		if err != nil {
			return err
		}
		ls, err := levels(ctx, tx, ref.Run, draw)
		if err != nil {
			return err
		}
		if _, n, level, dim := batch.FitLevel(ls, []money.Amount{x}); n == 0 {
			hit = dim
			return noteShort(ctx, tx, ref.Run, batch.Shortage{Budget: ls[level].ID, Dim: dim, Need: x.In(dim)})
		}
		// guard: FENCE
		r, err := tx.ExecContext(ctx, `UPDATE shard SET res_tok=res_tok+?, res_pico=res_pico+?, res_retry=res_retry+?
 WHERE run_id=? AND shard=? AND epoch=? AND state=1`, x.Tokens, int64(x.Pico), x.Retries, ref.Run, ref.Shard, ref.Epoch)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, batch.ErrFenced)
		}
		if dim, err := reserve(ctx, tx, ls, x); err != nil || dim != money.DimNone {
			return errors.Join(err, fmt.Errorf("top-up refused by %s after it was judged to fit", dim))
		}
		return nil
	})
	return hit, err
}

// advanceSQL is T2, T3 and T5. Fence: epoch. Guard: open + spent <= res, where
// calls are started.
const advanceSQL = `UPDATE shard SET seq=?1, done=?2, started=?3, attempts=?4, lost=?5, item_tokens=?6,
 open_tok=?7, open_pico=?8, open_retry=?9, spent_tok=?10, spent_pico=?11, spent_retry=?12,
 ok=?13, failed=?14, skipped=?15, calls=?16, unknown=?17, u_input=?18, u_output=?19, u_cached=?20, u_write=?21, u_reasoning=?22
 WHERE run_id=?23 AND shard=?24 AND epoch=?25 AND state=1 -- guard: FENCE
 AND (?26=0 OR (?7+?10<=res_tok AND ?8+?11<=res_pico AND ?9+?12<=res_retry)) -- guard: WITHIN_LEASE
`

// guard: CHUNK_ONCE
const chunkSQL = `INSERT INTO chunk (run_id, shard, epoch, seq, body) VALUES (?,?,?,?,?) ON CONFLICT (run_id, shard, epoch, seq) DO NOTHING`

const failureSQL = `INSERT INTO failure (run_id, ordinal, item_id, class, message, attempts) VALUES (?,?,?,?,?,?)
 ON CONFLICT (run_id, ordinal) DO UPDATE SET class=excluded.class, message=excluded.message, attempts=excluded.attempts`

const answerSQL = `INSERT INTO answer (scope, key, body, at) VALUES (?,?,?,?) ON CONFLICT (scope, key) DO NOTHING`

// Advance is T2, T3 and T5 of many leases in one transaction.
func (d *DB) Advance(ctx context.Context, ds []store.Delta) ([]error, error) {
	errs := make([]error, len(ds))
	err := d.inTx(ctx, "advance", func(ctx context.Context, tx txn) error {
		for i, x := range ds {
			e := d.advance(ctx, tx, x)
			if e != nil && !errors.Is(e, batch.ErrFenced) && !errors.Is(e, batch.ErrOverdrawn) {
				return e
			}
			errs[i] = e
		}
		return nil
	})
	return errs, err
}

func (d *DB) advance(ctx context.Context, tx txn, x store.Delta) error {
	b, u := x.Book, x.Book.Usage
	seq := x.Seq
	if x.Chunk != nil {
		seq++
	}
	n, err := tx.exec(ctx, advanceSQL, seq, []byte(b.Done), []byte(b.Started), b.Attempts, b.Lost, encodeTokens(b.ItemTokens),
		b.Open.Tokens, int64(b.Open.Pico), b.Open.Retries, b.Spent.Tokens, int64(b.Spent.Pico), b.Spent.Retries,
		b.OK, b.Failed, b.Skipped, b.Calls, b.Unknown, u.Input, u.Output, u.Cached, u.CacheWrite, u.Reasoning,
		x.Ref.Run, x.Ref.Shard, x.Ref.Epoch, x.Starts)
	if err != nil {
		return err
	}
	if n == 0 {
		s, err := shardRow(ctx, tx, x.Ref.Run, x.Ref.Shard)
		if err == nil && s.Ref.Epoch == x.Ref.Epoch && s.State == batch.ShardLeased {
			return batch.ErrOverdrawn
		}
		return batch.ErrFenced
	}
	return d.keep(ctx, tx, x.Ref, x)
}

// keep writes what goes with a commit: the chunk, failed items, shared answers.
func (d *DB) keep(ctx context.Context, tx txn, ref batch.LeaseRef, x store.Delta) error {
	if x.Chunk != nil {
		if _, err := tx.exec(ctx, chunkSQL, ref.Run, ref.Shard, ref.Epoch, x.Seq, x.Chunk); err != nil {
			return err
		}
	}
	for _, f := range x.Failed {
		if _, err := tx.exec(ctx, failureSQL, f.Run, f.Ordinal, f.ID, f.Class, f.Message, f.Attempts); err != nil {
			return err
		}
	}
	for _, o := range x.Healed {
		if _, err := tx.ExecContext(ctx, "DELETE FROM failure WHERE run_id=? AND ordinal=?", ref.Run, o); err != nil {
			return err
		}
	}
	for _, a := range x.Answers {
		if _, err := tx.exec(ctx, answerSQL, a.Scope, a.Key, a.Body, a.At); err != nil {
			return err
		}
	}
	return nil
}

// Release hands a lease back.
func (d *DB) Release(ctx context.Context, ref batch.LeaseRef, notBefore int64, stuck money.Dimension) error {
	return d.inTx(ctx, "release", func(ctx context.Context, tx txn) error {
		s, err := shardRow(ctx, tx, ref.Run, ref.Shard)
		if err != nil {
			return err
		}
		if s.Ref.Epoch != ref.Epoch || s.State != batch.ShardLeased { // guard: FENCE
			return batch.ErrFenced
		}
		if !s.Book.Open.IsZero() { // guard: NOTHING_OPEN
			return &batch.Error{Kind: batch.Internal, Op: "release", Ref: ref.String(), Msg: "calls of the lease may be on the wire"}
		}
		settled, draw := s.Book.Settle(), s.Draw
		if err := move(ctx, tx, ref.Run, draw, settled); err != nil {
			return err
		}
		r, err := runRow(ctx, tx, ref.Run)
		if err != nil {
			return err
		}
		s.Owner, s.State, s.Draw = "", batch.ShardOpen, 0
		live := r.State == batch.RunRunning && r.Target == ""
		switch {
		case s.Book.Pending() == 0:
			s.State = batch.ShardDone
		case stuck != money.DimNone:
			s.State = batch.ShardParked
		}
		if err := writeShard(ctx, tx, s, notBefore, 0); err != nil {
			return err
		}
		if s.State == batch.ShardDone {
			if r, err = d.closeShard(ctx, tx, r, s, live); err != nil {
				return err
			}
		}
		if err := d.afterRelease(ctx, tx, r, s, settled, notBefore, stuck, live); err != nil || draw == 0 {
			return err
		}
		return d.wake(ctx, tx, r.ID, frees(settled))
	})
}

// closeShard adds a done shard to its run, opens the next one and rings to
// seal when its stretch is whole.
func (d *DB) closeShard(ctx context.Context, tx txn, r store.Run, s store.Shard, live bool) (store.Run, error) {
	b, u := s.Book, s.Book.Usage
	if _, err := tx.ExecContext(ctx, `UPDATE run SET closed=closed+1, ok=ok+?, failed=failed+?, skipped=skipped+?, calls=calls+?,
 unknown=unknown+?, u_input=u_input+?, u_output=u_output+?, u_cached=u_cached+?, u_write=u_write+?, u_reasoning=u_reasoning+?
 WHERE run_id=?`, b.OK, b.Failed, b.Skipped, b.Calls, b.Unknown, u.Input, u.Output, u.Cached, u.CacheWrite, u.Reasoning, r.ID); err != nil {
		return r, err
	}
	r.Closed++
	if live && r.Opened < r.Shards() {
		if err := d.openShards(ctx, tx, r, 1); err != nil {
			return r, err
		}
		r.Opened++
	}
	per := r.StretchShards()
	k := int64(s.Ref.Shard) / per
	end := min((k+1)*per, r.Shards())
	if r.Opened < end {
		return r, nil
	}
	var undone int
	err := tx.QueryRowContext(ctx, "SELECT count(*) FROM shard WHERE run_id=? AND shard>=? AND shard<? AND state<>2", r.ID, k*per, end).Scan(&undone)
	if err != nil || undone > 0 {
		return r, err
	}
	return r, d.ring(ctx, tx, []batch.Bell{{Kind: batch.BellSeal, Run: r.ID, N: k}})
}

func (d *DB) afterRelease(ctx context.Context, tx txn, r store.Run, s store.Shard, settled batch.Settlement, notBefore int64, stuck money.Dimension, live bool) error {
	if !live {
		return d.finishIfIdle(ctx, tx, r)
	}
	if r.Closed == r.Shards() {
		return d.ringFinish(ctx, tx, r.ID)
	}
	if frees(settled) || s.State == batch.ShardDone {
		if err := d.unpark(ctx, tx, r, s.Ref.Shard); err != nil {
			return err
		}
	}
	if s.State == batch.ShardOpen && notBefore <= d.now() {
		if err := d.ringShards(ctx, tx, r, []store.Shard{s}); err != nil {
			return err
		}
	}
	return d.stopIfStuck(ctx, tx, r, stuck)
}

// unpark opens the parked shards of a run, but for one, and rings for them.
func (d *DB) unpark(ctx context.Context, tx txn, r store.Run, except batch.ShardNo) error {
	ss, err := shards(ctx, tx, "run_id=? AND state=3 AND shard<>?", r.ID, except)
	if err != nil || len(ss) == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE shard SET state=0 WHERE run_id=? AND state=3 AND shard<>?", r.ID, except); err != nil {
		return err
	}
	return d.ringShards(ctx, tx, r, ss)
}

// finishIfIdle rings to finish a run that was told where to end and has no
// lease left.
func (d *DB) finishIfIdle(ctx context.Context, tx txn, r store.Run) error {
	if r.Target == "" {
		return nil
	}
	var leased int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM shard WHERE run_id=? AND state=1", r.ID).Scan(&leased); err != nil || leased > 0 {
		return err
	}
	return d.ringFinish(ctx, tx, r.ID)
}

// openShards opens the next n shards of a run and rings for them.
func (d *DB) openShards(ctx context.Context, tx txn, r store.Run, n int64) error {
	var ss []store.Shard
	for no := r.Opened; no < min(r.Opened+n, r.Shards()); no++ {
		_, size := r.Span(batch.ShardNo(no))
		s := store.Shard{Ref: batch.LeaseRef{Run: r.ID, Shard: batch.ShardNo(no)}, Book: batch.NewBook(size)}
		if err := writeShard(ctx, tx, s, 0, 0); err != nil {
			return err
		}
		ss = append(ss, s)
	}
	if _, err := tx.ExecContext(ctx, "UPDATE run SET opened=opened+? WHERE run_id=?", len(ss), r.ID); err != nil {
		return err
	}
	return d.ringShards(ctx, tx, r, ss)
}

// ringShards rings for open shards of a live run and notes when.
func (d *DB) ringShards(ctx context.Context, tx txn, r store.Run, ss []store.Shard) error {
	if len(ss) == 0 || r.State != batch.RunRunning || r.Target != "" {
		return nil
	}
	bells := make([]batch.Bell, len(ss))
	for i, s := range ss {
		bells[i] = batch.Bell{Kind: batch.BellWork, Run: r.ID, N: int64(s.Ref.Shard), Epoch: s.Ref.Epoch, Queue: r.Queue}
		if _, err := tx.ExecContext(ctx, "UPDATE shard SET rung_at=? WHERE run_id=? AND shard=?", d.now(), r.ID, s.Ref.Shard); err != nil {
			return err
		}
	}
	return d.ring(ctx, tx, bells)
}

func (d *DB) ringFinish(ctx context.Context, tx txn, id batch.RunID) error {
	if _, err := tx.ExecContext(ctx, "UPDATE run SET finish_rung_at=? WHERE run_id=?", d.now(), id); err != nil {
		return err
	}
	return d.ring(ctx, tx, []batch.Bell{{Kind: batch.BellFinish, Run: id}})
}

func (d *DB) ring(ctx context.Context, tx txn, bells []batch.Bell) error {
	if d.cfg.Bells == nil {
		return nil
	}
	return d.cfg.Bells.Ring(ctx, tx.Tx, bells)
}
