package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/store"
)

// Chunks visits the chunks of shards from..to-1 in the order of commit. Pages
// are read whole before they are visited, so a slow visitor holds no snapshot.
func (d *DB) Chunks(ctx context.Context, run batch.RunID, from, to batch.ShardNo, visit func(store.Chunk) error) error {
	const page = 256
	after := int64(0)
	for {
		cs, err := d.chunkPage(ctx, run, from, to, after, page)
		if err != nil {
			return d.fail("read chunks", err)
		}
		for _, c := range cs {
			if err := visit(c); err != nil {
				return err
			}
			after = c.Row
		}
		if len(cs) < page {
			return nil
		}
	}
}

func (d *DB) chunkPage(ctx context.Context, run batch.RunID, from, to batch.ShardNo, after int64, limit int) ([]store.Chunk, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT row, shard, epoch, seq, body FROM chunk WHERE run_id=? AND shard>=? AND shard<? AND row>?
 ORDER BY row LIMIT ?`, run, from, to, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var cs []store.Chunk
	for rows.Next() {
		var c store.Chunk
		if err := rows.Scan(&c.Row, &c.Shard, &c.Epoch, &c.Seq, &c.Body); err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, rows.Err()
}

// Segments lists the sealed stretches in order.
func (d *DB) Segments(ctx context.Context, run batch.RunID) ([]store.Segment, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT run_id, stretch, name, bytes, rows, attempts, attempts_bytes, attempts_rows
 FROM segment WHERE run_id=? ORDER BY stretch`, run)
	if err != nil {
		return nil, d.fail("read segments", err)
	}
	defer rows.Close()
	var out []store.Segment
	for rows.Next() {
		var s store.Segment
		if err := rows.Scan(&s.Run, &s.Stretch, &s.Name, &s.Bytes, &s.Rows, &s.Attempts, &s.AttemptsBytes, &s.AttemptsRows); err != nil {
			return nil, d.fail("read segments", err)
		}
		out = append(out, s)
	}
	return out, d.fail("read segments", rows.Err())
}

// Seal switches the pointer of a stretch.
func (d *DB) Seal(ctx context.Context, seg store.Segment, throughRow int64) error {
	return d.inTx(ctx, "seal", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, seg.Run)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO segment (run_id, stretch, name, bytes, rows, attempts, attempts_bytes, attempts_rows)
 VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (run_id, stretch) DO UPDATE SET name=excluded.name, bytes=excluded.bytes, rows=excluded.rows,
 attempts=excluded.attempts, attempts_bytes=excluded.attempts_bytes, attempts_rows=excluded.attempts_rows`,
			seg.Run, seg.Stretch, seg.Name, seg.Bytes, seg.Rows, seg.Attempts, seg.AttemptsBytes, seg.AttemptsRows); err != nil {
			return err
		}
		from := seg.Stretch * r.StretchShards()
		to := from + r.StretchShards()
		// guard: SEAL_THROUGH
		if _, err := tx.ExecContext(ctx, "DELETE FROM chunk WHERE run_id=? AND shard>=? AND shard<? AND row<=?", seg.Run, from, to, throughRow); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM shard WHERE run_id=? AND shard>=? AND shard<? AND state=2", seg.Run, from, to)
		return err
	})
}

// Failures lists failed items.
func (d *DB) Failures(ctx context.Context, run batch.RunID, class batch.Class, after batch.Ordinal, limit int) ([]store.Failure, error) {
	if limit <= 0 {
		limit = -1
	}
	rows, err := d.read.QueryContext(ctx, `SELECT run_id, ordinal, item_id, class, message, attempts FROM failure
 WHERE run_id=?1 AND ordinal>?2 AND (?3='' OR class=?3) ORDER BY ordinal LIMIT ?4`, run, after, class, limit)
	if err != nil {
		return nil, d.fail("read failures", err)
	}
	defer rows.Close()
	var out []store.Failure
	for rows.Next() {
		var f store.Failure
		if err := rows.Scan(&f.Run, &f.Ordinal, &f.ID, &f.Class, &f.Message, &f.Attempts); err != nil {
			return nil, d.fail("read failures", err)
		}
		out = append(out, f)
	}
	return out, d.fail("read failures", rows.Err())
}

// Answers looks keys up one by one; a page of a shard is a few dozen.
func (d *DB) Answers(ctx context.Context, scope string, keys [][]byte) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		err := d.read.QueryRowContext(ctx, "SELECT body FROM answer WHERE scope=? AND key=?", scope, k).Scan(&out[i])
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, d.fail("read answers", err)
		}
	}
	return out, nil
}

// Open lists the rows of shards that are not sealed away.
func (d *DB) Open(ctx context.Context, run batch.RunID) ([]store.Shard, error) {
	r, err := runRow(ctx, d.read, run)
	if err != nil {
		return nil, d.fail("read shards", err)
	}
	ss, err := shards(ctx, d.read, "run_id=?", run)
	for i := range ss {
		ss[i].First, _ = r.Span(ss[i].Ref.Shard)
	}
	return ss, d.fail("read shards", err)
}
