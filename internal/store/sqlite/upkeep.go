package sqlite

import (
	"context"
	"errors"
	"os"

	"github.com/batchwright/batchwright/internal/batch"
)

// Backup writes a consistent copy of the store to a new file, while others
// read and write.
func (d *DB) Backup(ctx context.Context, to string) error {
	if _, err := os.Stat(to); err == nil {
		return &batch.Error{Kind: batch.Conflict, Op: "back up", Ref: to, Msg: "the file exists", Hint: "name one that does not"}
	}
	// The readers' pool refuses every write, to a new file too.
	pool, err := Handle(d.cfg.Path, 1, false)
	if err != nil {
		return d.fail("back up", err)
	}
	_, err = pool.ExecContext(ctx, "VACUUM INTO ?", to)
	if err := errors.Join(err, pool.Close()); err != nil {
		return d.fail("back up", errors.Join(err, ignoreMissing(os.Remove(to))))
	}
	f, err := os.Open(to)
	if err != nil {
		return d.fail("back up", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Check reads the whole file and returns what SQLite finds wrong with it.
func (d *DB) Check(ctx context.Context) ([]string, error) {
	rows, err := d.read.DB.QueryContext(ctx, "PRAGMA integrity_check(100)")
	if err != nil {
		return nil, d.fail("check", err)
	}
	defer rows.Close()
	var wrong []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, d.fail("check", err)
		}
		if line != "ok" {
			wrong = append(wrong, line)
		}
	}
	return wrong, d.fail("check", rows.Err())
}

// Vacuum gives the space of what was deleted back to the file system. It needs
// the store to itself.
func (d *DB) Vacuum(ctx context.Context) error {
	if _, err := d.write.ExecContext(ctx, "VACUUM"); err != nil {
		return d.fail("vacuum", err)
	}
	_, err := d.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return d.fail("vacuum", err)
}

// LibraryVersion is the version of SQLite that is built in.
func LibraryVersion() string { return libraryVersion }
