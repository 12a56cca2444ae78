package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// querier is what reads need: a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row
}

const runColumns = `run_id, job, coalesce(run_key,''), state, target, reason, spec, spec_digest, work_digest, input_key,
 manifest_digest, manifest_dir, output_uri, queue, items, shard_size, window, opened, closed, price, price_version, plan,
 item_tokens, retried, created_at, started_at, ended_at, deadline_at, active_us,
 ok, failed, skipped, calls, unknown, u_input, u_output, u_cached, u_write, u_reasoning,
 draws, short_budget, short_dim, short_need`

func scanRun(row interface{ Scan(...any) error }) (store.Run, error) {
	var r store.Run
	c, u := &r.Counts, &r.Counts.Usage
	var draws string
	err := row.Scan(&r.ID, &r.Job, &r.Key, &r.State, &r.Target, &r.Reason, &r.Spec, &r.SpecDigest, &r.WorkDigest, &r.InputKey,
		&r.ManifestDigest, &r.ManifestDir, &r.OutputURI, &r.Queue, &r.Items, &r.ShardSize, &r.Window, &r.Opened, &r.Closed,
		&r.Price, &r.PriceVersion, &r.Plan, &r.ItemTokens, &r.Retried, &r.CreatedAt, &r.StartedAt, &r.EndedAt, &r.DeadlineAt,
		&r.ActiveUS, &c.OK, &c.Failed, &c.Skipped, &c.Calls, &c.Unknown, &u.Input, &u.Output, &u.Cached, &u.CacheWrite, &u.Reasoning,
		&draws, &r.Short.Budget, &r.Short.Dim, &r.Short.Need)
	r.Draws = names(draws)
	return r, err
}

func runRow(ctx context.Context, q querier, id batch.RunID) (store.Run, error) {
	r, err := scanRun(q.QueryRowContext(ctx, "SELECT "+runColumns+" FROM run WHERE run_id=?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return r, &batch.Error{Kind: batch.NotFound, Op: "find run", Ref: string(id), Msg: "there is no such run",
			Hint: "batchwright status --all"}
	}
	return r, err
}

const shardColumns = `state, epoch, owner, n, seq, done, started, attempts, lost, item_tokens,
 res_tok, res_pico, res_retry, open_tok, open_pico, open_retry, spent_tok, spent_pico, spent_retry,
 ok, failed, skipped, calls, unknown, u_input, u_output, u_cached, u_write, u_reasoning, draw`

func scanShard(row interface{ Scan(...any) error }, extra ...any) (store.Shard, error) {
	var s store.Shard
	b := &batch.Book{}
	u := &b.Usage
	var items []byte
	dest := append(extra, &s.State, &s.Ref.Epoch, &s.Owner, &b.N, &s.Seq, &b.Done, &b.Started, &b.Attempts, &b.Lost, &items,
		&b.Reserved.Tokens, &b.Reserved.Pico, &b.Reserved.Retries, &b.Open.Tokens, &b.Open.Pico, &b.Open.Retries,
		&b.Spent.Tokens, &b.Spent.Pico, &b.Spent.Retries,
		&b.OK, &b.Failed, &b.Skipped, &b.Calls, &b.Unknown, &u.Input, &u.Output, &u.Cached, &u.CacheWrite, &u.Reasoning, &s.Draw)
	if err := row.Scan(dest...); err != nil {
		return s, err
	}
	b.ItemTokens = decodeTokens(items, b.N)
	s.Book = b
	return s, nil
}

func shardRow(ctx context.Context, q querier, run batch.RunID, no batch.ShardNo) (store.Shard, error) {
	s, err := scanShard(q.QueryRowContext(ctx, "SELECT "+shardColumns+" FROM shard WHERE run_id=? AND shard=?", run, no))
	s.Ref.Run, s.Ref.Shard = run, no
	if errors.Is(err, sql.ErrNoRows) {
		return s, &batch.Error{Kind: batch.NotFound, Op: "read shard", Ref: fmt.Sprintf("%s/%d", run, no), Msg: "the shard is not open"}
	}
	return s, err
}

// encodeTokens packs per-item token counts as uvarints; nil stays NULL.
func encodeTokens(ts []int64) []byte {
	if ts == nil {
		return nil
	}
	out := make([]byte, 0, 2*len(ts))
	for _, t := range ts {
		out = binary.AppendUvarint(out, uint64(t))
	}
	return out
}

func decodeTokens(b []byte, n int) []int64 {
	if b == nil {
		return nil
	}
	ts := make([]int64, n)
	for i := range ts {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			break
		}
		ts[i], b = int64(v), b[k:]
	}
	return ts
}

// levels reads the rows of a draw in the order in which they are taken.
func levels(ctx context.Context, q querier, run batch.RunID, draw int64) ([]batch.Level, error) {
	rows, err := q.QueryContext(ctx, `SELECT b.budget_id, lim_tok, lim_pico, lim_retry, spent_tok, spent_pico, spent_retry,
 res_tok, res_pico, res_retry, risk_tok, risk_pico, risk_retry
 FROM run_budget r JOIN budget b ON b.budget_id=r.budget_id WHERE r.run_id=? AND r.draw=? ORDER BY r.pos`, run, draw)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ls []batch.Level
	for rows.Next() {
		var l batch.Level
		if err := rows.Scan(&l.ID, &l.Limit.Tokens, &l.Limit.Pico, &l.Limit.Retries, &l.Spent.Tokens, &l.Spent.Pico, &l.Spent.Retries,
			&l.Reserved.Tokens, &l.Reserved.Pico, &l.Reserved.Retries, &l.AtRisk.Tokens, &l.AtRisk.Pico, &l.AtRisk.Retries); err != nil {
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, rows.Err()
}

// reserve holds x on every row of a draw, or returns the dimension that
// refused and leaves the transaction to be rolled back by the caller if any
// earlier level was taken (none is when the caller has asked Fit first).
// Spent + reserved + at_risk + x <= limit, one conditional update each.
// guard: WITHIN_BUDGET
func reserve(ctx context.Context, tx txn, ls []batch.Level, x money.Amount) (money.Dimension, error) {
	for _, l := range ls {
		r, err := tx.ExecContext(ctx, `UPDATE budget SET res_tok=res_tok+?1, res_pico=res_pico+?2, res_retry=res_retry+?3
 WHERE budget_id=?4
 AND (lim_tok<0 OR ?1=0 OR spent_tok+res_tok+risk_tok+?1<=lim_tok)
 AND (lim_pico<0 OR ?2=0 OR spent_pico+res_pico+risk_pico+?2<=lim_pico)
 AND (lim_retry<0 OR ?3=0 OR spent_retry+res_retry+risk_retry+?3<=lim_retry)`, x.Tokens, int64(x.Pico), x.Retries, l.ID)
		if err != nil {
			return money.DimNone, err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return l.Limit.Exceeded(l.Committed(), x), err
		}
	}
	return money.DimNone, nil
}

// move applies a settlement to every row of the draw its lease was claimed with.
// guard: CLAIMED_DRAW
func move(ctx context.Context, tx txn, run batch.RunID, draw int64, s batch.Settlement) error {
	_, err := tx.ExecContext(ctx, `UPDATE budget SET res_tok=res_tok-?, res_pico=res_pico-?, res_retry=res_retry-?,
 spent_tok=spent_tok+?, spent_pico=spent_pico+?, spent_retry=spent_retry+?,
 risk_tok=risk_tok+?, risk_pico=risk_pico+?, risk_retry=risk_retry+?
 WHERE budget_id IN (SELECT budget_id FROM run_budget WHERE run_id=? AND draw=?)`,
		s.Release.Tokens, int64(s.Release.Pico), s.Release.Retries, s.Spent.Tokens, int64(s.Spent.Pico), s.Spent.Retries,
		s.AtRisk.Tokens, int64(s.AtRisk.Pico), s.AtRisk.Retries, run, draw)
	if err != nil || draw == 0 {
		return err
	}
	return share(ctx, tx, run, draw, s)
}

// writeShard writes a whole row, for the transactions that are not hot.
func writeShard(ctx context.Context, tx txn, s store.Shard, notBefore, rungAt int64) error {
	b, u := s.Book, s.Book.Usage
	_, err := tx.ExecContext(ctx, `INSERT INTO shard (run_id, shard, not_before, rung_at, `+shardColumns+`)
 VALUES (?,?,?,?, ?,?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?, ?,?,?,?,?,?,?,?,?,?, ?)
 ON CONFLICT (run_id, shard) DO UPDATE SET not_before=excluded.not_before, rung_at=excluded.rung_at,
 state=excluded.state, epoch=excluded.epoch, owner=excluded.owner, n=excluded.n, seq=excluded.seq, done=excluded.done,
 started=excluded.started, attempts=excluded.attempts, lost=excluded.lost, item_tokens=excluded.item_tokens,
 res_tok=excluded.res_tok, res_pico=excluded.res_pico, res_retry=excluded.res_retry, open_tok=excluded.open_tok,
 open_pico=excluded.open_pico, open_retry=excluded.open_retry, spent_tok=excluded.spent_tok,
 spent_pico=excluded.spent_pico, spent_retry=excluded.spent_retry, ok=excluded.ok, failed=excluded.failed,
 skipped=excluded.skipped, calls=excluded.calls, unknown=excluded.unknown, u_input=excluded.u_input,
 u_output=excluded.u_output, u_cached=excluded.u_cached, u_write=excluded.u_write, u_reasoning=excluded.u_reasoning, draw=excluded.draw`,
		s.Ref.Run, s.Ref.Shard, notBefore, rungAt,
		s.State, s.Ref.Epoch, s.Owner, b.N, s.Seq, []byte(b.Done), []byte(b.Started), b.Attempts, b.Lost, encodeTokens(b.ItemTokens),
		b.Reserved.Tokens, int64(b.Reserved.Pico), b.Reserved.Retries, b.Open.Tokens, int64(b.Open.Pico), b.Open.Retries,
		b.Spent.Tokens, int64(b.Spent.Pico), b.Spent.Retries,
		b.OK, b.Failed, b.Skipped, b.Calls, b.Unknown, u.Input, u.Output, u.Cached, u.CacheWrite, u.Reasoning, s.Draw)
	return err
}
