package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// CreateRun stores a run with its budget and opens its first shards.
func (d *DB) CreateRun(ctx context.Context, r store.Run) error {
	return d.inTx(ctx, "create run", func(ctx context.Context, tx txn) error {
		var key any
		if r.Key != "" {
			key = r.Key
			var other string
			err := tx.QueryRowContext(ctx, "SELECT run_id FROM run WHERE run_key=?", r.Key).Scan(&other)
			if err == nil {
				return &batch.Error{Kind: batch.Conflict, Op: "create run", Ref: other, Msg: fmt.Sprintf("the run key %q is taken", r.Key)}
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		since := int64(0)
		if r.State == batch.RunRunning {
			since = d.now()
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO run (run_id, job, run_key, state, target, reason, spec, spec_digest, work_digest,
 input_key, manifest_digest, manifest_dir, output_uri, queue, items, shard_size, window, opened, closed, price, price_version,
 plan, item_tokens, created_at, started_at, deadline_at, running_since, draws) VALUES (?,?,?,?,'',?,?,?,?,?,?,?,?,?,?,?,?,0,0,?,?,?,?,?,?,?,?,?)`,
			r.ID, r.Job, key, r.State, r.Reason, r.Spec, r.SpecDigest, r.WorkDigest, r.InputKey, r.ManifestDigest, r.ManifestDir,
			r.OutputURI, r.Queue, r.Items, r.ShardSize, r.Window, r.Price, r.PriceVersion, r.Plan, r.ItemTokens, r.CreatedAt,
			r.StartedAt, r.DeadlineAt, since, strings.Join(r.Draws, "\n")); err != nil {
			return err
		}
		id := batch.RunBudget(r.ID)
		l := r.Budget.Limit
		if _, err := tx.ExecContext(ctx, "INSERT INTO budget (budget_id, lim_tok, lim_pico, lim_retry) VALUES (?,?,?,?)",
			id, l.Tokens, l.Pico, l.Retries); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO run_budget (run_id, draw, pos, budget_id) VALUES (?,0,0,?)", r.ID, id); err != nil {
			return err
		}
		r.Opened = 0
		return d.openShards(ctx, tx, r, r.Window)
	})
}

// Run returns a run with live counts and money.
func (d *DB) Run(ctx context.Context, id batch.RunID) (store.Run, error) {
	// One read transaction: counts and money are of one moment.
	plain, err := d.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return store.Run{}, d.fail("read run", err)
	}
	defer plain.Rollback() //nolint:errcheck // a read has nothing to undo
	tx := txn{plain, d.read.stmts}
	r, err := runRow(ctx, tx, id)
	if err != nil {
		return r, d.fail("read run", err)
	}
	return r, d.fail("read run", addLive(ctx, tx, &r))
}

// addLive adds to a run what its open shards have committed and its budget.
func addLive(ctx context.Context, q querier, r *store.Run) error {
	var c store.Counts
	var held, spent money.Amount
	err := q.QueryRowContext(ctx, `SELECT coalesce(sum(ok),0), coalesce(sum(failed),0), coalesce(sum(skipped),0), coalesce(sum(calls),0),
 coalesce(sum(unknown),0), coalesce(sum(u_input),0), coalesce(sum(u_output),0), coalesce(sum(u_cached),0), coalesce(sum(u_write),0),
 coalesce(sum(u_reasoning),0), coalesce(sum(spent_tok),0), coalesce(sum(spent_pico),0), coalesce(sum(spent_retry),0)
 FROM shard WHERE run_id=? AND state<>2`, r.ID).Scan(&c.OK, &c.Failed, &c.Skipped, &c.Calls, &c.Unknown, &c.Usage.Input,
		&c.Usage.Output, &c.Usage.Cached, &c.Usage.CacheWrite, &c.Usage.Reasoning, &spent.Tokens, &spent.Pico, &spent.Retries)
	if err != nil {
		return err
	}
	k := &r.Counts
	k.OK, k.Failed, k.Skipped, k.Calls, k.Unknown = k.OK+c.OK, k.Failed+c.Failed, k.Skipped+c.Skipped, k.Calls+c.Calls, k.Unknown+c.Unknown
	k.Usage = k.Usage.Plus(c.Usage)
	ls, err := levels(ctx, q, r.ID, 0)
	if err != nil || len(ls) == 0 {
		return err
	}
	r.Budget = ls[0]
	// What leases have charged is still inside their reservation; for a reader
	// it is spent.
	held = r.Budget.Reserved.Minus(spent)
	r.Budget.Spent, r.Budget.Reserved = r.Budget.Spent.Plus(spent), held
	return nil
}

// List returns runs, newest first.
func (d *DB) List(ctx context.Context, f store.Filter) ([]store.Run, error) {
	where, args := []string{"1"}, []any{}
	if f.Job != "" {
		where, args = append(where, "job=?"), append(args, f.Job)
	}
	if f.Key != "" {
		where, args = append(where, "run_key=?"), append(args, f.Key)
	}
	if len(f.States) > 0 {
		where = append(where, "state IN (?"+strings.Repeat(",?", len(f.States)-1)+")")
		for _, s := range f.States {
			args = append(args, s)
		}
	}
	if f.Limit <= 0 {
		f.Limit = 1000
	}
	return d.listRuns(ctx, strings.Join(where, " AND "), append(args, f.Limit))
}

func (d *DB) listRuns(ctx context.Context, where string, args []any) ([]store.Run, error) {
	rows, err := d.read.QueryContext(ctx, "SELECT "+runColumns+" FROM run WHERE "+where+" ORDER BY created_at DESC, run_id DESC LIMIT ?", args...)
	if err != nil {
		return nil, d.fail("list runs", err)
	}
	var out []store.Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, d.fail("list runs", errors.Join(err, rows.Close()))
		}
		out = append(out, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, d.fail("list runs", err)
	}
	for i := range out {
		if err := addLive(ctx, d.read, &out[i]); err != nil {
			return nil, d.fail("list runs", err)
		}
	}
	return out, nil
}

// History returns runs of the job and digest that have successful items.
func (d *DB) History(ctx context.Context, job, workDigest string, limit int) ([]store.Run, error) {
	return d.listRuns(ctx, "job=? AND work_digest=? AND ok>0", []any{job, workDigest, limit})
}

// Transition moves a run along an edge of its machine.
func (d *DB) Transition(ctx context.Context, id batch.RunID, from []batch.RunState, to batch.RunState, reason string) error {
	return d.inTx(ctx, "transition", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if !slices.Contains(from, r.State) || (r.State != to && !r.State.CanBecome(to)) {
			return &batch.Error{Kind: batch.Conflict, Op: "run to " + string(to), Ref: string(id), Msg: "the run is " + string(r.State)}
		}
		now := d.now()
		active, since, ended := int64(0), int64(0), int64(0)
		if to == batch.RunRunning {
			since = now
		}
		if to.Ended() {
			ended = now
		}
		var was int64
		if err := tx.QueryRowContext(ctx, "SELECT running_since FROM run WHERE run_id=?", id).Scan(&was); err != nil {
			return err
		}
		if r.State == batch.RunRunning && was > 0 {
			active = now - was
		}
		if _, err := tx.ExecContext(ctx, `UPDATE run SET state=?1, reason=?2, ended_at=?3, running_since=?4, active_us=active_us+?5,
 started_at=iif(started_at=0 AND ?1='running', ?6, started_at), target=iif(?1 IN ('running') OR ?3>0, '', target), short_budget=iif(?1='running', '', short_budget),
 short_dim=iif(?1='running', '', short_dim), short_need=iif(?1='running', 0, short_need) WHERE run_id=?7`,
			to, reason, ended, since, active, now, id); err != nil {
			return err
		}
		if to == batch.RunRunning {
			return d.goOn(ctx, tx, id)
		}
		if to.Ended() && !to.Resumable() {
			_, err = tx.ExecContext(ctx, "DELETE FROM answer WHERE scope=?", id)
		}
		return err
	})
}

// goOn opens parked shards, keeps the window full and rings for all that is open.
func (d *DB) goOn(ctx context.Context, tx txn, id batch.RunID) error {
	if _, err := tx.ExecContext(ctx, "UPDATE shard SET state=0 WHERE run_id=? AND state=3", id); err != nil {
		return err
	}
	r, err := runRow(ctx, tx, id)
	if err != nil {
		return err
	}
	ss, err := shards(ctx, tx, "run_id=? AND state=0", id)
	if err != nil {
		return err
	}
	if err := d.ringShards(ctx, tx, r, ss); err != nil {
		return err
	}
	if more := r.Window - int64(len(ss)); more > 0 && r.Opened < r.Shards() {
		return d.openShards(ctx, tx, r, more)
	}
	if len(ss) == 0 && r.Closed == r.Shards() {
		return d.ringFinish(ctx, tx, id)
	}
	return nil
}

// SetTarget asks a live run to stop and says where it will end.
func (d *DB) SetTarget(ctx context.Context, id batch.RunID, target batch.RunState, reason string) error {
	return d.inTx(ctx, "set target", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State.Ended() && (target != batch.RunCancelled || !r.State.CanBecome(target)) {
			return &batch.Error{Kind: batch.Conflict, Op: "stop run", Ref: string(id), Msg: "the run is " + string(r.State)}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE run SET target=?, reason=? WHERE run_id=?", target, reason, id); err != nil {
			return err
		}
		r.Target = target
		if target == "" && r.State == batch.RunRunning {
			return d.goOn(ctx, tx, id) // bells that were heard meanwhile were no-ops
		}
		return d.finishIfIdle(ctx, tx, r)
	})
}

// SetLimit replaces the run's own limit.
func (d *DB) SetLimit(ctx context.Context, id batch.RunID, l money.Limit, deadlineAt int64) error {
	return d.inTx(ctx, "set limit", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE budget SET lim_tok=?, lim_pico=?, lim_retry=? WHERE budget_id=?",
			l.Tokens, l.Pico, l.Retries, batch.RunBudget(id)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE run SET deadline_at=? WHERE run_id=?", deadlineAt, id); err != nil {
			return err
		}
		if r.State != batch.RunRunning || r.Target != "" {
			return nil
		}
		return d.unpark(ctx, tx, r, -1)
	})
}

// Reopen makes items pending again.
func (d *DB) Reopen(ctx context.Context, id batch.RunID, items []batch.Ordinal) error {
	return d.inTx(ctx, "reopen", func(ctx context.Context, tx txn) error {
		r, err := runRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if !r.State.Ended() {
			return &batch.Error{Kind: batch.Conflict, Op: "retry", Ref: string(id), Msg: "the run is " + string(r.State),
				Hint: "batchwright wait " + string(id)}
		}
		byShard := map[batch.ShardNo][]int{}
		for _, o := range items {
			if o < 0 || int64(o) >= r.Items {
				return &batch.Error{Kind: batch.NotFound, Op: "retry", Ref: string(id), Msg: fmt.Sprintf("there is no item %d", o)}
			}
			no, i := batch.ShardNo(int64(o)/int64(r.ShardSize)), int(int64(o)%int64(r.ShardSize))
			if !slices.Contains(byShard[no], i) {
				byShard[no] = append(byShard[no], i)
			}
		}
		for no, is := range byShard {
			if err := d.reopenShard(ctx, tx, r, no, is); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE run SET retried=retried+1 WHERE run_id=?", id)
		return err
	})
}

// reopenShard makes items of a shard pending again; those that are pending
// already are passed over.
func (d *DB) reopenShard(ctx context.Context, tx txn, r store.Run, no batch.ShardNo, is []int) error {
	if int64(no) >= r.Opened {
		return nil
	}
	s, err := shardRow(ctx, tx, r.ID, no)
	if err != nil && batch.KindOf(err) != batch.NotFound {
		return err
	}
	closed := err != nil || s.State == batch.ShardDone
	if err != nil {
		_, n := r.Span(no)
		s.Book = batch.NewBook(n)
		for i := range n {
			s.Book.Done.Set(i)
		}
		// Epochs of one shard never repeat: a fence would let an old lease in,
		// and a chunk's name would be taken.
		s.Ref.Epoch = batch.Epoch(r.Retried+1) * 1_000_000
	}
	is = slices.DeleteFunc(slices.Clone(is), func(i int) bool { return !s.Book.Done.Get(i) })
	if len(is) == 0 {
		return nil
	}
	if closed {
		// What it had was added to the run when it closed.
		s.Book.OK, s.Book.Failed, s.Book.Skipped, s.Book.Calls, s.Book.Unknown = 0, 0, 0, 0, 0
		s.Book.Usage = money.Usage{}
		if _, err := tx.ExecContext(ctx, "UPDATE run SET closed=closed-1, failed=failed-? WHERE run_id=?", len(is), r.ID); err != nil {
			return err
		}
	} else {
		s.Book.Failed -= int64(len(is))
	}
	for _, i := range is {
		s.Book.Done.Clear(i)
		s.Book.Attempts[i] = 0
		s.Book.Lost[i] = 0
		if s.Book.ItemTokens != nil {
			s.Book.ItemTokens[i] = 0
		}
	}
	s.State, s.Owner = batch.ShardOpen, ""
	return writeShard(ctx, tx, s, 0, 0)
}
