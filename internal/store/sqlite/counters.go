package sqlite

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// SetBudgets replaces the shared budgets.
func (d *DB) SetBudgets(ctx context.Context, bs []batch.Budget, draws map[batch.RunID][]string) error {
	return d.inTx(ctx, "set budgets", func(ctx context.Context, tx txn) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM shared_budget"); err != nil {
			return err
		}
		kept := []any{}
		now := d.now()
		// Rows of the past keep the limit they had; those that leases still hold
		// money of are not of the past.
		const alive = "(until_at=0 OR until_at>? OR res_tok>0 OR res_pico>0)"
		for _, b := range bs {
			if _, err := tx.ExecContext(ctx, `INSERT INTO shared_budget (name, per_job, period, zone, lim_tok, lim_pico, lim_retry) VALUES (?,?,?,?,?,?,?)`,
				b.Name, b.PerJob, b.Period, b.Zone, b.Limit.Tokens, b.Limit.Pico, b.Limit.Retries); err != nil {
				return err
			}
			if err := setLimit(ctx, tx, b.Limit, "name=? AND "+alive, b.Name, now); err != nil {
				return err
			}
			kept = append(kept, b.Name)
		}
		gone := "name<>'' AND " + alive
		if len(kept) > 0 {
			gone += " AND name NOT IN (?" + strings.Repeat(",?", len(kept)-1) + ")"
		}
		if err := setLimit(ctx, tx, money.NoLimit, gone, append([]any{now}, kept...)...); err != nil {
			return err
		}
		for id, ns := range draws {
			if err := setDraws(ctx, tx, id, ns); err != nil {
				return err
			}
		}
		// Every run asks anew for its rows, and tries again.
		if _, err := tx.ExecContext(ctx, "UPDATE run SET draw_until=0 WHERE draws<>''"); err != nil {
			return err
		}
		return d.retryParked(ctx, tx)
	})
}

// retryParked opens the parked shards of every run that goes on.
func (d *DB) retryParked(ctx context.Context, tx txn) error {
	ids, err := parkedRuns(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := runRow(ctx, tx, id)
		if err == nil && r.State == batch.RunRunning && r.Target == "" {
			err = d.unpark(ctx, tx, r, -1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setDraws(ctx context.Context, tx txn, id batch.RunID, ns []string) error {
	ns = slices.Clone(ns)
	slices.Sort(ns)
	n, err := tx.exec(ctx, "UPDATE run SET draws=?1, draw_until=iif(draws=?1, draw_until, 0) WHERE run_id=?2", strings.Join(slices.Compact(ns), "\n"), id)
	if err == nil && n == 0 {
		err = &batch.Error{Kind: batch.NotFound, Op: "find run", Ref: string(id), Msg: "there is no such run"}
	}
	return err
}

// SetDraws says which shared budgets a run draws on.
func (d *DB) SetDraws(ctx context.Context, run batch.RunID, ns []string) error {
	return d.inTx(ctx, "set draws", func(ctx context.Context, tx txn) error { return setDraws(ctx, tx, run, ns) })
}

// Budgets returns the shared budgets.
func (d *DB) Budgets(ctx context.Context) ([]batch.Budget, error) {
	bs, err := sharedBudgets(ctx, d.read)
	return bs, d.fail("read budgets", err)
}

func sharedBudgets(ctx context.Context, q querier) ([]batch.Budget, error) {
	rows, err := q.QueryContext(ctx, "SELECT name, per_job, period, zone, lim_tok, lim_pico, lim_retry FROM shared_budget ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var bs []batch.Budget
	for rows.Next() {
		var b batch.Budget
		if err := rows.Scan(&b.Name, &b.PerJob, &b.Period, &b.Zone, &b.Limit.Tokens, &b.Limit.Pico, &b.Limit.Retries); err != nil {
			return nil, err
		}
		bs = append(bs, b)
	}
	return bs, rows.Err()
}

const rowSQL = `SELECT b.budget_id, b.lim_tok, b.lim_pico, b.lim_retry, b.spent_tok, b.spent_pico, b.spent_retry, b.res_tok, b.res_pico, b.res_retry,
 b.risk_tok, b.risk_pico, b.risk_retry, b.name, b.job, b.period, b.label, b.zone, b.from_at, b.until_at, b.excess_tok, b.excess_pico,
 coalesce(sum(h.tok),0), coalesce(sum(h.pico),0), coalesce(sum(h.retry),0), coalesce(sum(h.s_tok),0), coalesce(sum(h.s_pico),0), coalesce(sum(h.s_retry),0),
 coalesce(sum(s.spent_tok),0), coalesce(sum(s.spent_pico),0), coalesce(sum(s.spent_retry),0), coalesce(sum(s.risk_tok),0), coalesce(sum(s.risk_pico),0), coalesce(sum(s.risk_retry),0)
 FROM budget b LEFT JOIN run_budget r ON r.budget_id=b.budget_id AND r.pos>0
 LEFT JOIN share s ON s.run_id=r.run_id AND s.draw=r.draw
 LEFT JOIN (SELECT run_id, draw, sum(res_tok) tok, sum(res_pico) pico, sum(res_retry) retry, sum(spent_tok) s_tok, sum(spent_pico) s_pico,
  sum(spent_retry) s_retry FROM shard WHERE state=1 AND draw>0 GROUP BY run_id, draw) h ON h.run_id=r.run_id AND h.draw=r.draw
 WHERE b.name<>'' AND %WHERE% GROUP BY b.budget_id ORDER BY b.name, b.period, b.from_at DESC, b.job`

// row is a row of the ledger, and what live leases have charged of it.
type row struct {
	store.Level
	charged money.Amount
}

func rowsOf(ctx context.Context, q querier, where string, args ...any) ([]row, error) {
	rows, err := q.QueryContext(ctx, strings.Replace(rowSQL, "%WHERE%", where, 1), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		var l row
		if err := rows.Scan(&l.ID, &l.Limit.Tokens, &l.Limit.Pico, &l.Limit.Retries, &l.Spent.Tokens, &l.Spent.Pico, &l.Spent.Retries,
			&l.Reserved.Tokens, &l.Reserved.Pico, &l.Reserved.Retries, &l.AtRisk.Tokens, &l.AtRisk.Pico, &l.AtRisk.Retries,
			&l.Name, &l.Job, &l.Period, &l.Label, &l.Zone, &l.From, &l.Until, &l.Excess.Tokens, &l.Excess.Pico,
			&l.Held.Tokens, &l.Held.Pico, &l.Held.Retries, &l.charged.Tokens, &l.charged.Pico, &l.charged.Retries,
			&l.Settled.Tokens, &l.Settled.Pico, &l.Settled.Retries, &l.Risked.Tokens, &l.Risked.Pico, &l.Risked.Retries); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

// Rows returns every row of the shared budgets.
func (d *DB) Rows(ctx context.Context) ([]store.Level, error) {
	rs, err := rowsOf(ctx, d.read, "1")
	if err != nil {
		return nil, d.fail("read budgets", err)
	}
	out := make([]store.Level, len(rs))
	for i, r := range rs {
		out[i] = r.Level
	}
	return out, nil
}

// Levels returns the rows that a claim of job would take from now.
func (d *DB) Levels(ctx context.Context, bs []batch.Budget, job string) ([]store.Level, error) {
	ws, err := d.windows(bs, job)
	if err != nil {
		return nil, err
	}
	out := make([]store.Level, len(ws))
	for i, w := range ws {
		out[i] = w.Level
		rs, err := rowsOf(ctx, d.read, "b.budget_id=?", w.ID)
		if err != nil {
			return nil, d.fail("read budgets", err)
		}
		if len(rs) == 0 {
			continue
		}
		l := rs[0].Level
		l.Limit, l.From, l.Until, l.Zone = w.Limit, w.From, w.Until, w.Zone
		l.Spent, l.Reserved = l.Spent.Plus(rs[0].charged), l.Reserved.Minus(rs[0].charged)
		out[i] = l
	}
	return out, nil
}

// Shares returns what runs have left on the rows of shared budgets.
func (d *DB) Shares(ctx context.Context, run batch.RunID) ([]store.Share, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT r.run_id, r.budget_id, sum(s.spent_tok), sum(s.spent_pico), sum(s.spent_retry),
 sum(s.risk_tok), sum(s.risk_pico), sum(s.risk_retry) FROM run_budget r JOIN share s ON s.run_id=r.run_id AND s.draw=r.draw
 WHERE r.pos>0 AND (?1='' OR r.run_id=?1) GROUP BY r.run_id, r.budget_id ORDER BY r.run_id, r.budget_id`, run)
	if err != nil {
		return nil, d.fail("read budgets", err)
	}
	var out []store.Share
	for rows.Next() {
		var s store.Share
		if err := rows.Scan(&s.Run, &s.Budget, &s.Spent.Tokens, &s.Spent.Pico, &s.Spent.Retries, &s.AtRisk.Tokens, &s.AtRisk.Pico, &s.AtRisk.Retries); err != nil {
			return nil, d.fail("read budgets", errors.Join(err, rows.Close()))
		}
		out = append(out, s)
	}
	return out, d.fail("read budgets", errors.Join(rows.Err(), rows.Close()))
}
