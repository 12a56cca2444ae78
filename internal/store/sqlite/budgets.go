package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

func names(lines string) []string {
	if lines == "" {
		return nil
	}
	return strings.Split(lines, "\n")
}

// draw returns the set of rows that a claim of the run takes from now. It is
// made anew when a period has ended or the budgets were changed.
func (d *DB) draw(ctx context.Context, tx txn, r store.Run) (int64, error) {
	if len(r.Draws) == 0 {
		return 0, nil
	}
	draw, current, err := d.drawNow(ctx, tx, r.ID)
	if err != nil || current {
		return draw, err
	}
	return d.roll(ctx, tx, r, draw)
}

// drawNow is the run's last draw, and whether its periods are those of now.
func (d *DB) drawNow(ctx context.Context, tx txn, id batch.RunID) (draw int64, current bool, err error) {
	var from, until int64
	err = tx.QueryRowContext(ctx, "SELECT draw, draw_from, draw_until FROM run WHERE run_id=?", id).Scan(&draw, &from, &until)
	now := d.now()
	return draw, from <= now && now < until, err
}

// roll gives the run the draw of this moment: the rows of its budgets' present
// periods, which are made where they are missing.
func (d *DB) roll(ctx context.Context, tx txn, r store.Run, last int64) (int64, error) {
	bs, err := sharedBudgets(ctx, tx)
	if err != nil {
		return 0, err
	}
	bs = slices.DeleteFunc(bs, func(b batch.Budget) bool { return !slices.Contains(r.Draws, b.Name) })
	rows, err := d.windows(bs, r.Job)
	if err != nil {
		return 0, err
	}
	from, until := int64(math.MinInt64), int64(math.MaxInt64)
	for _, w := range rows {
		if err := w.put(ctx, tx); err != nil {
			return 0, err
		}
		if w.Until > 0 {
			from, until = max(from, w.From), min(until, w.Until)
		}
	}
	draw, err := drawOf(ctx, tx, r.ID, last, rows)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE run SET draw=?, draw_from=?, draw_until=? WHERE run_id=?", draw, from, until, r.ID)
	return draw, err
}

// window is one row as a claim would take from it, with nothing counted.
type window struct {
	store.Level
}

// windows are the rows of budgets at this moment, in the order in which they
// are taken.
func (d *DB) windows(bs []batch.Budget, job string) ([]window, error) {
	now := time.UnixMicro(d.now())
	var ws []window
	for _, b := range bs {
		zone := time.UTC
		if b.Period != batch.PeriodTotal {
			z, err := time.LoadLocation(b.Zone)
			if err != nil {
				return nil, &batch.Error{Kind: batch.Config, Op: "budget " + b.Name, Msg: "the zone " + b.Zone + " is not known here", Err: err}
			}
			zone = z
		}
		at := b.Window(job, now, zone)
		w := window{store.Level{Level: batch.Level{ID: at.ID, Limit: b.Limit}, Name: b.Name, Period: b.Period, Label: at.Label, Zone: b.Zone}}
		if b.PerJob {
			w.Job = job
		}
		if b.Period != batch.PeriodTotal {
			w.From, w.Until = at.From.UnixMicro(), at.Until.UnixMicro()
		}
		ws = append(ws, w)
	}
	slices.SortFunc(ws, func(a, b window) int { return cmp.Compare(a.ID, b.ID) })
	return ws, nil
}

// put makes the row where it is missing, and gives it the limit of its budget.
func (w window) put(ctx context.Context, tx txn) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO budget (budget_id, lim_tok, lim_pico, lim_retry, name, job, period, label, zone, from_at, until_at)
 VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (budget_id) DO UPDATE SET zone=excluded.zone, from_at=excluded.from_at, until_at=excluded.until_at`,
		w.ID, w.Limit.Tokens, w.Limit.Pico, w.Limit.Retries, w.Name, w.Job, w.Period, w.Label, w.Zone, w.From, w.Until); err != nil {
		return err
	}
	return setLimit(ctx, tx, w.Limit, "budget_id=?", w.ID)
}

// setLimit gives rows a limit. What passes it already is noted, so that it is
// not taken for an overspend later.
func setLimit(ctx context.Context, tx txn, l money.Limit, where string, args ...any) error {
	all := append([]any{l.Tokens, l.Pico, l.Retries}, args...)
	_, err := tx.ExecContext(ctx, `UPDATE budget SET lim_tok=?1, lim_pico=?2, lim_retry=?3,
 excess_tok=iif(?1<0, 0, max(0, spent_tok+res_tok+risk_tok-?1)), excess_pico=iif(?2<0, 0, max(0, spent_pico+res_pico+risk_pico-?2))
 WHERE (lim_tok<>?1 OR lim_pico<>?2 OR lim_retry<>?3) AND `+where, all...)
	return err
}

// drawOf returns the draw that is exactly these rows: the last one, or a new one.
func drawOf(ctx context.Context, tx txn, id batch.RunID, last int64, ws []window) (int64, error) {
	if len(ws) == 0 {
		return 0, nil
	}
	had, err := levels(ctx, tx, id, last)
	if err != nil {
		return 0, err
	}
	if slices.EqualFunc(had[min(1, len(had)):], ws, func(l batch.Level, w window) bool { return l.ID == w.ID }) {
		return last, nil
	}
	var draw int64
	if err := tx.QueryRowContext(ctx, "SELECT max(draw)+1 FROM run_budget WHERE run_id=?", id).Scan(&draw); err != nil {
		return 0, err
	}
	ids := []string{batch.RunBudget(id)}
	for _, w := range ws {
		ids = append(ids, w.ID)
	}
	for pos, row := range ids {
		if _, err := tx.ExecContext(ctx, "INSERT INTO run_budget (run_id, draw, pos, budget_id) VALUES (?,?,?,?)", id, draw, pos, row); err != nil {
			return 0, err
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO share (run_id, draw) VALUES (?,?)", id, draw)
	return draw, err
}

// leaseDraw is the draw of a lease that is current.
func leaseDraw(ctx context.Context, tx txn, ref batch.LeaseRef) (draw int64, err error) {
	err = tx.QueryRowContext(ctx, "SELECT draw FROM shard WHERE run_id=? AND shard=? AND epoch=? AND state=1", ref.Run, ref.Shard, ref.Epoch).Scan(&draw)
	if errors.Is(err, sql.ErrNoRows) {
		err = batch.ErrFenced
	}
	return draw, err
}

// share adds a settlement to what the run's draw has left on its rows. A bill
// above its reservation may pass a limit; by how much is noted.
func share(ctx context.Context, tx txn, run batch.RunID, draw int64, s batch.Settlement) error {
	if _, err := tx.ExecContext(ctx, `UPDATE share SET spent_tok=spent_tok+?, spent_pico=spent_pico+?, spent_retry=spent_retry+?,
 risk_tok=risk_tok+?, risk_pico=risk_pico+?, risk_retry=risk_retry+? WHERE run_id=? AND draw=?`,
		s.Spent.Tokens, int64(s.Spent.Pico), s.Spent.Retries, s.AtRisk.Tokens, int64(s.AtRisk.Pico), s.AtRisk.Retries, run, draw); err != nil {
		return err
	}
	if over := s.Spent.Plus(s.AtRisk).Minus(s.Release); over.Tokens <= 0 && over.Pico <= 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE budget SET
 excess_tok=iif(lim_tok<0, 0, max(excess_tok, spent_tok+res_tok+risk_tok-lim_tok)),
 excess_pico=iif(lim_pico<0, 0, max(excess_pico, spent_pico+res_pico+risk_pico-lim_pico))
 WHERE budget_id IN (SELECT budget_id FROM run_budget WHERE run_id=? AND draw=?)`, run, draw)
	return err
}

// frees reports whether a settlement gives money back to its budgets.
func frees(s batch.Settlement) bool {
	freed := s.Release.Minus(s.Spent).Minus(s.AtRisk)
	return freed.Tokens > 0 || freed.Pico > 0
}

// waits reports whether a run whose shards are all parked is to wait: a lease of
// another run holds money of a budget they share, or a new period has begun,
// for which it opens the shards.
func (d *DB) waits(ctx context.Context, tx txn, r store.Run) (bool, error) {
	if len(r.Draws) == 0 {
		return false, nil
	}
	draw, current, err := d.drawNow(ctx, tx, r.ID)
	if err != nil {
		return false, err
	}
	if !current {
		return true, d.unpark(ctx, tx, r, -1)
	}
	var held int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM run_budget r JOIN budget b ON b.budget_id=r.budget_id
 WHERE r.run_id=? AND r.draw=? AND r.pos>0 AND (b.res_tok>0 OR b.res_pico>0)`, r.ID, draw).Scan(&held)
	return held > 0, err
}

// wake looks at the other runs that have parked shards after a lease that drew
// on shared budgets has ended: they try again where money was freed, and end
// where nothing is left to wait for.
func (d *DB) wake(ctx context.Context, tx txn, but batch.RunID, freed bool) error {
	ids, err := parkedRuns(ctx, tx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r, err := runRow(ctx, tx, id)
		if err != nil {
			return err
		}
		switch {
		case id == but || r.State != batch.RunRunning || r.Target != "" || len(r.Draws) == 0:
		case freed:
			err = d.unpark(ctx, tx, r, -1)
		default:
			err = d.stopIfStuck(ctx, tx, r, r.Short.Dim)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parkedRuns are the runs that go on and have parked shards; those that a budget
// stopped long ago have some too, and are not looked at.
func parkedRuns(ctx context.Context, tx txn) ([]batch.RunID, error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT s.run_id FROM shard s JOIN run r ON r.run_id=s.run_id
 WHERE s.state=3 AND r.state='running' AND r.target='' ORDER BY s.run_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []batch.RunID
	for rows.Next() {
		var id batch.RunID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// noteShort keeps what refused a run money.
func noteShort(ctx context.Context, tx txn, id batch.RunID, s batch.Shortage) error {
	_, err := tx.ExecContext(ctx, "UPDATE run SET short_budget=?, short_dim=?, short_need=? WHERE run_id=?", s.Budget, s.Dim, s.Need, id)
	return err
}

// stopReason says why a run stops: at which budget, and when that renews.
func stopReason(ctx context.Context, tx txn, r store.Run, dim money.Dimension) (string, error) {
	if err := tx.QueryRowContext(ctx, "SELECT short_budget, short_dim FROM run WHERE run_id=?", r.ID).Scan(&r.Short.Budget, &r.Short.Dim); err != nil {
		return "", err
	}
	if !r.Short.Shared() {
		switch dim {
		case money.DimTokens, money.DimUSD, money.DimRetries:
			return "the " + string(dim) + " budget lets no further call start", nil
		}
		return "the budget lets no further call start", nil
	}
	var l store.Level
	if err := tx.QueryRowContext(ctx, "SELECT name, job, period, label, zone, until_at FROM budget WHERE budget_id=?", r.Short.Budget).
		Scan(&l.Name, &l.Job, &l.Period, &l.Label, &l.Zone, &l.Until); err != nil {
		return "", err
	}
	var until time.Time
	if l.Until > 0 {
		until = time.UnixMicro(l.Until).UTC()
		if zone, err := time.LoadLocation(l.Zone); err == nil { // UTC says the same
			until = until.In(zone)
		}
	}
	return batch.StopReason(r.Short.Dim, l.Name, l.Job, l.Period, l.Label, until), nil
}
