-- +goose Up
-- Times are unix microseconds UTC, money is pico-USD, all integers.
CREATE TABLE run (
  run_id          TEXT PRIMARY KEY,
  job             TEXT NOT NULL,
  run_key         TEXT,
  state           TEXT NOT NULL,
  target          TEXT NOT NULL DEFAULT '',
  reason          TEXT NOT NULL DEFAULT '',
  spec            BLOB NOT NULL,
  spec_digest     TEXT NOT NULL,
  work_digest     TEXT NOT NULL,
  input_key       TEXT NOT NULL,
  manifest_digest TEXT NOT NULL,
  manifest_dir    TEXT NOT NULL,
  output_uri      TEXT NOT NULL,
  queue           TEXT NOT NULL,
  items           INTEGER NOT NULL,
  shard_size      INTEGER NOT NULL,
  window          INTEGER NOT NULL,
  opened          INTEGER NOT NULL,
  closed          INTEGER NOT NULL,
  price           BLOB,
  price_version   TEXT NOT NULL,
  plan            BLOB,
  item_tokens     INTEGER NOT NULL,
  retried         INTEGER NOT NULL DEFAULT 0,
  finish_rung_at  INTEGER NOT NULL DEFAULT 0,
  created_at      INTEGER NOT NULL,
  started_at      INTEGER NOT NULL DEFAULT 0,
  ended_at        INTEGER NOT NULL DEFAULT 0,
  deadline_at     INTEGER NOT NULL DEFAULT 0,
  active_us       INTEGER NOT NULL DEFAULT 0,
  running_since   INTEGER NOT NULL DEFAULT 0,
  ok              INTEGER NOT NULL DEFAULT 0,
  failed          INTEGER NOT NULL DEFAULT 0,
  skipped         INTEGER NOT NULL DEFAULT 0,
  calls           INTEGER NOT NULL DEFAULT 0,
  unknown         INTEGER NOT NULL DEFAULT 0,
  u_input         INTEGER NOT NULL DEFAULT 0,
  u_output        INTEGER NOT NULL DEFAULT 0,
  u_cached        INTEGER NOT NULL DEFAULT 0,
  u_write         INTEGER NOT NULL DEFAULT 0,
  u_reasoning     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX run_by_key ON run (run_key) WHERE run_key IS NOT NULL;
CREATE INDEX run_by_job ON run (job, created_at);

CREATE TABLE budget (
  budget_id TEXT PRIMARY KEY,
  lim_tok INTEGER NOT NULL, lim_pico INTEGER NOT NULL, lim_retry INTEGER NOT NULL,
  spent_tok INTEGER NOT NULL DEFAULT 0, spent_pico INTEGER NOT NULL DEFAULT 0, spent_retry INTEGER NOT NULL DEFAULT 0,
  res_tok   INTEGER NOT NULL DEFAULT 0, res_pico   INTEGER NOT NULL DEFAULT 0, res_retry   INTEGER NOT NULL DEFAULT 0,
  risk_tok  INTEGER NOT NULL DEFAULT 0, risk_pico  INTEGER NOT NULL DEFAULT 0, risk_retry  INTEGER NOT NULL DEFAULT 0
) STRICT;
-- The budgets a run draws on, in the fixed order in which they are taken.
CREATE TABLE run_budget (
  run_id TEXT NOT NULL, pos INTEGER NOT NULL, budget_id TEXT NOT NULL,
  PRIMARY KEY (run_id, pos)
) STRICT, WITHOUT ROWID;

-- The only truth about work and money. Money columns: res = held for the
-- lease, open = worst case on the wire, spent = charged in the lease.
CREATE TABLE shard (
  run_id TEXT NOT NULL, shard INTEGER NOT NULL,
  state INTEGER NOT NULL, epoch INTEGER NOT NULL, owner TEXT NOT NULL DEFAULT '',
  n INTEGER NOT NULL, seq INTEGER NOT NULL DEFAULT 0,
  not_before INTEGER NOT NULL DEFAULT 0, rung_at INTEGER NOT NULL DEFAULT 0,
  done BLOB NOT NULL, started BLOB NOT NULL, attempts BLOB NOT NULL, lost BLOB NOT NULL, item_tokens BLOB,
  res_tok INTEGER NOT NULL DEFAULT 0, res_pico INTEGER NOT NULL DEFAULT 0, res_retry INTEGER NOT NULL DEFAULT 0,
  open_tok INTEGER NOT NULL DEFAULT 0, open_pico INTEGER NOT NULL DEFAULT 0, open_retry INTEGER NOT NULL DEFAULT 0,
  spent_tok INTEGER NOT NULL DEFAULT 0, spent_pico INTEGER NOT NULL DEFAULT 0, spent_retry INTEGER NOT NULL DEFAULT 0,
  ok INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
  calls INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0,
  u_input INTEGER NOT NULL DEFAULT 0, u_output INTEGER NOT NULL DEFAULT 0, u_cached INTEGER NOT NULL DEFAULT 0,
  u_write INTEGER NOT NULL DEFAULT 0, u_reasoning INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, shard)
) STRICT, WITHOUT ROWID;

-- One row per group commit of one shard. UNIQUE makes a repeated write of the
-- same group harmless; epoch 0 of a take-over's record is the epoch it ended.
CREATE TABLE chunk (
  row INTEGER PRIMARY KEY, run_id TEXT NOT NULL, shard INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX chunk_by_shard ON chunk (run_id, shard, epoch, seq);

CREATE TABLE segment (
  run_id TEXT NOT NULL, stretch INTEGER NOT NULL,
  name TEXT NOT NULL, bytes INTEGER NOT NULL, rows INTEGER NOT NULL,
  attempts TEXT NOT NULL, attempts_bytes INTEGER NOT NULL, attempts_rows INTEGER NOT NULL,
  PRIMARY KEY (run_id, stretch)
) STRICT, WITHOUT ROWID;

CREATE TABLE failure (
  run_id TEXT NOT NULL, ordinal INTEGER NOT NULL, item_id TEXT NOT NULL,
  class TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL,
  PRIMARY KEY (run_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE answer (
  scope TEXT NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
  worker_id TEXT PRIMARY KEY, hb INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE worker; DROP TABLE answer; DROP TABLE failure; DROP TABLE segment; DROP TABLE chunk;
DROP TABLE shard; DROP TABLE run_budget; DROP TABLE budget; DROP TABLE run;
