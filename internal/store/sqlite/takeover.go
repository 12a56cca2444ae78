package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// auditAfter is how long a bell may be unheard before it is rung again. A bell
// that was only slow is then rung twice; the second is a no-op.
const auditAfter = 5_000_000

// Reap beats, takes over what dead workers held, and audits.
func (d *DB) Reap(ctx context.Context, worker batch.WorkerID, stale int64, scope []batch.RunID) (taken int, err error) {
	err = d.inTx(ctx, "reap", func(ctx context.Context, tx txn) error {
		taken = 0
		now := d.now()
		if _, err := tx.ExecContext(ctx, `INSERT INTO worker (worker_id, hb) VALUES (?,?) ON CONFLICT DO UPDATE SET hb=excluded.hb`, worker, now); err != nil {
			return err
		}
		dead, err := shards(ctx, tx, `state=1 AND owner<>? AND coalesce((SELECT hb FROM worker WHERE worker_id=owner),0) <= ?`, worker, now-stale)
		if err != nil {
			return err
		}
		for _, s := range dead {
			if err := d.takeOver(ctx, tx, s); err != nil {
				return err
			}
			taken++
		}
		if stale == 0 {
			if _, err := tx.ExecContext(ctx, "DELETE FROM worker WHERE worker_id<>?", worker); err != nil {
				return err
			}
		}
		for _, id := range scope {
			if err := d.audit(ctx, tx, id, now, stale == 0); err != nil {
				return err
			}
		}
		return nil
	})
	return taken, err
}

// takeOver ends a dead holder's lease: its committed spend is settled, the
// worst case of its calls on the wire is at risk, a record of the unknown
// attempts is kept, and the epoch grows so that the holder is fenced.
func (d *DB) takeOver(ctx context.Context, tx txn, s store.Shard) error {
	held := s.Book.Open
	settled := s.Book.TakeOver()
	if err := move(ctx, tx, s.Ref.Run, s.Draw, settled); err != nil {
		return err
	}
	r, err := runRow(ctx, tx, s.Ref.Run)
	if err != nil {
		return err
	}
	first, _ := r.Span(s.Ref.Shard)
	for k, i := range settled.Unknown {
		if _, err := tx.exec(ctx, "INSERT INTO lost (run_id, shard, epoch, item, draw) VALUES (?,?,?,?,?)", s.Ref.Run, s.Ref.Shard, s.Ref.Epoch, i, s.Draw); err != nil {
			return err
		}
		a := batch.Attempt{Ordinal: first + batch.Ordinal(i), Shard: s.Ref.Shard, Epoch: s.Ref.Epoch, Class: batch.ClassUnknown,
			Message: "on the wire when its worker was lost", Estimated: true, StartedAt: d.now()}
		if k == 0 {
			a.Reserved, a.Charged = held, held // of all of them together: the row holds their sum
		}
		body, err := d.cfg.Pack(a)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, chunkSQL, s.Ref.Run, s.Ref.Shard, s.Ref.Epoch, s.Seq+int64(k), body); err != nil {
			return err
		}
	}
	draw := s.Draw
	s.Ref.Epoch++
	s.State, s.Owner, s.Seq, s.Draw = batch.ShardOpen, "", 0, 0
	if err := writeShard(ctx, tx, s, 0, 0); err != nil {
		return err
	}
	if err := d.finishIfIdle(ctx, tx, r); err != nil {
		return err
	}
	if frees(settled) && r.State == batch.RunRunning && r.Target == "" {
		// The shard itself may need more than came back, and park.
		if err := d.unpark(ctx, tx, r, s.Ref.Shard); err != nil {
			return err
		}
	}
	if draw == 0 {
		return nil
	}
	return d.wake(ctx, tx, r.ID, frees(settled))
}

// audit rings again for what is ready and whose bell seems lost.
func (d *DB) audit(ctx context.Context, tx txn, id batch.RunID, now int64, all bool) error {
	r, err := runRow(ctx, tx, id)
	if err != nil || (r.State.Ended() && r.Target == "") {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE run SET active_us=active_us+iif(state='running' AND running_since>0, ?1-running_since, 0),
 running_since=iif(state='running', ?1, 0) WHERE run_id=?2`, now, id); err != nil {
		return err
	}
	before := now - auditAfter
	if all {
		before = now
	}
	var leased int
	var finishRung int64
	if err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM shard WHERE run_id=?1 AND state=1), finish_rung_at FROM run WHERE run_id=?1`,
		id).Scan(&leased, &finishRung); err != nil {
		return err
	}
	over := r.State == batch.RunDelivering || (leased == 0 && (r.Target != "" || (r.State == batch.RunRunning && r.Closed == r.Shards())))
	if over { // guard: FINISH_AGAIN
		if finishRung > before {
			return nil
		}
		return d.ringFinish(ctx, tx, id)
	}
	if r.State != batch.RunRunning || r.Target != "" {
		return nil
	}
	if len(r.Draws) > 0 {
		// The last look at a run that waits for another's lease or for a period.
		if err := d.stopIfStuck(ctx, tx, r, r.Short.Dim); err != nil {
			return err
		}
	}
	// guard: RING_AGAIN
	ss, err := shards(ctx, tx, "run_id=? AND state=0 AND not_before<=? AND rung_at<=?", id, now, before)
	if err != nil {
		return err
	}
	return d.ringShards(ctx, tx, r, ss)
}

// lateSeq sets the record of a late answer apart from the chunks of its epoch.
const lateSeq = 1 << 32

// Late is T4: the truth of a call whose lease was lost, taken once. What is
// not noted as lost was committed, or told before.
func (d *DB) Late(ctx context.Context, l store.Late) (kept bool, err error) {
	err = d.inTx(ctx, "late", func(ctx context.Context, tx txn) error {
		kept = false
		r, err := runRow(ctx, tx, l.Ref.Run)
		if err != nil {
			return err
		}
		s, err := shardRow(ctx, tx, l.Ref.Run, l.Ref.Shard)
		sealed := err != nil && batch.KindOf(err) == batch.NotFound
		if err != nil && !sealed {
			return err
		}
		if !sealed && s.Ref.Epoch <= l.Ref.Epoch {
			return &batch.Error{Kind: batch.Internal, Op: "late answer", Ref: l.Ref.String(), Msg: "the lease is current"}
		}
		draw := int64(0)
		// guard: LATE_ONCE
		err = tx.QueryRowContext(ctx, "DELETE FROM lost WHERE run_id=? AND shard=? AND epoch=? AND item=? RETURNING draw",
			l.Ref.Run, l.Ref.Shard, l.Ref.Epoch, l.Index).Scan(&draw)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		// The money is where the lost lease was claimed, whatever day it is now.
		settled := batch.Settlement{Spent: l.Charge, AtRisk: money.Amount{}.Minus(l.Worst)}
		if err := correct(ctx, tx, l, draw, settled); err != nil {
			return err
		}
		// The outcome is kept only if nobody has the item: a lease holder writes
		// whole books, so a leased shard is not touched.
		// guard: NOBODY_ELSE, guard: NOT_DONE
		free := !sealed && (s.State == batch.ShardOpen || s.State == batch.ShardParked)
		kept = l.Outcome != nil && l.State != batch.ItemPending && free && !s.Book.Done.Get(l.Index)
		if err := d.recordLate(ctx, tx, l, kept); err != nil {
			return err
		}
		if kept {
			s.State = batch.ShardOpen
			s.Book.Close(l.Index, l.State)
			if err := writeShard(ctx, tx, s, 0, 0); err != nil {
				return err
			}
			if err := d.ringShards(ctx, tx, r, []store.Shard{s}); err != nil {
				return err
			}
		}
		if !frees(settled) {
			return nil
		}
		if r.State == batch.RunRunning && r.Target == "" {
			if err := d.unpark(ctx, tx, r, -1); err != nil {
				return err
			}
		}
		if draw == 0 {
			return nil
		}
		return d.wake(ctx, tx, r.ID, true)
	})
	return kept, err
}

// correct puts the truth of a call in the place of its worst case, which was
// moved to at risk when the lease was lost. Its usage goes to the run, since
// the shard's row may be another holder's, or gone.
func correct(ctx context.Context, tx txn, l store.Late, draw int64, s batch.Settlement) error {
	if err := move(ctx, tx, l.Ref.Run, draw, s); err != nil {
		return err
	}
	u := l.Usage
	_, err := tx.ExecContext(ctx, `UPDATE run SET u_input=u_input+?, u_output=u_output+?, u_cached=u_cached+?, u_write=u_write+?,
 u_reasoning=u_reasoning+? WHERE run_id=?`, u.Input, u.Output, u.Cached, u.CacheWrite, u.Reasoning, l.Ref.Run)
	return err
}

// recordLate keeps the attempt of a late answer, and with its outcome, when
// that is kept, what goes with a commit.
func (d *DB) recordLate(ctx context.Context, tx txn, l store.Late, kept bool) error {
	if l.Outcome == nil {
		return nil
	}
	x := *l.Outcome
	x.Seq = lateSeq + int64(l.Index)
	if !kept {
		x = store.Delta{Seq: x.Seq, Chunk: x.Late}
	}
	return d.keep(ctx, tx, l.Ref, x)
}

// shards reads the rows a condition selects, in order.
func shards(ctx context.Context, q querier, where string, args ...any) ([]store.Shard, error) {
	rows, err := q.QueryContext(ctx, "SELECT run_id, shard, "+shardColumns+" FROM shard WHERE "+where+" ORDER BY run_id, shard", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []store.Shard
	for rows.Next() {
		var run batch.RunID
		var no batch.ShardNo
		s, err := scanShard(rows, &run, &no)
		if err != nil {
			return nil, err
		}
		s.Ref.Run, s.Ref.Shard = run, no
		out = append(out, s)
	}
	return slices.Clip(out), rows.Err()
}
