-- +goose Up
-- One row for each call whose lease was lost while it was on the wire, until
-- its truth is told: so the truth is taken once, whatever was sealed meanwhile.
CREATE TABLE lost (
  run_id TEXT NOT NULL, shard INTEGER NOT NULL, epoch INTEGER NOT NULL, item INTEGER NOT NULL,
  PRIMARY KEY (run_id, shard, epoch, item)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE lost;
