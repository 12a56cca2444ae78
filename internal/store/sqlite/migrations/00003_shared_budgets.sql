-- +goose Up
-- The budgets that runs share, as they were last applied.
CREATE TABLE shared_budget (
  name TEXT PRIMARY KEY, per_job INTEGER NOT NULL, period TEXT NOT NULL, zone TEXT NOT NULL,
  lim_tok INTEGER NOT NULL, lim_pico INTEGER NOT NULL, lim_retry INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A row of budget is a run's own, or one period of one counter of a shared one.
-- excess is by how much the limit was passed when it was lowered, or by a bill
-- above its reservation: spent + reserved + at_risk <= limit + excess, always.
ALTER TABLE budget ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN job TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN period TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN label TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN zone TEXT NOT NULL DEFAULT '';
ALTER TABLE budget ADD COLUMN from_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN until_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN excess_tok INTEGER NOT NULL DEFAULT 0;
ALTER TABLE budget ADD COLUMN excess_pico INTEGER NOT NULL DEFAULT 0;
CREATE INDEX budget_by_name ON budget (name) WHERE name<>'';

-- A draw is a set of rows that leases of a run draw on together, in the fixed
-- order in which they are taken: the run's own, then the shared ones by id. A
-- lease keeps the draw it was claimed with, whatever the day is when it ends.
-- Draw 0 is the run's own row alone.
CREATE TABLE run_budget_next (
  run_id TEXT NOT NULL, draw INTEGER NOT NULL, pos INTEGER NOT NULL, budget_id TEXT NOT NULL,
  PRIMARY KEY (run_id, draw, pos)
) STRICT, WITHOUT ROWID;
INSERT INTO run_budget_next SELECT run_id, 0, pos, budget_id FROM run_budget;
DROP TABLE run_budget;
ALTER TABLE run_budget_next RENAME TO run_budget;
CREATE INDEX run_budget_by_budget ON run_budget (budget_id);

-- What the leases of a draw above 0 have left on its rows: a run's share.
CREATE TABLE share (
  run_id TEXT NOT NULL, draw INTEGER NOT NULL,
  spent_tok INTEGER NOT NULL DEFAULT 0, spent_pico INTEGER NOT NULL DEFAULT 0, spent_retry INTEGER NOT NULL DEFAULT 0,
  risk_tok  INTEGER NOT NULL DEFAULT 0, risk_pico  INTEGER NOT NULL DEFAULT 0, risk_retry  INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, draw)
) STRICT, WITHOUT ROWID;

-- draws names the shared budgets of a run, one a line; draw is the set its next
-- claim takes from, while the clock is in draw_from..draw_until; short_* is what
-- refused it money the last time.
ALTER TABLE run ADD COLUMN draws TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN draw INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN draw_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN draw_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN short_budget TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN short_dim TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN short_need INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shard ADD COLUMN draw INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lost ADD COLUMN draw INTEGER NOT NULL DEFAULT 0;
CREATE INDEX shard_parked ON shard (run_id) WHERE state=3;
