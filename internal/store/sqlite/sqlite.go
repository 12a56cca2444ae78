// Package sqlite is the store of a laptop: one file, WAL, synchronous=FULL, one
// writer. A process that works holds an exclusive lock on the data directory
// (taken by the caller), so whoever opens for writing knows that every earlier
// worker is dead. Readers of other processes open the file read-only.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	driver "modernc.org/sqlite"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// minVersion is the first SQLite without the WAL-reset bug that could corrupt a
// database with more than one connection.
const minVersion = 3_051_003

// Bells inserts doorbells in a transaction of this store, so that work that was
// made ready and its bell are committed together or not at all.
type Bells interface {
	Ring(ctx context.Context, tx *sql.Tx, bells []batch.Bell) error
}

// Config says how to open a store.
type Config struct {
	Path     string
	ReadOnly bool
	// Pool, where it is given, is the pool of one connection to write through,
	// shared with the engine on the same file: two connections would wait for
	// each other's locks by sleeping. The caller closes it after the store.
	Pool *sql.DB
	// Bells may be nil for a store that makes no work ready (read-only, tools).
	Bells Bells
	// Now is the clock of the database, for tests; nil is the system's.
	Now func() time.Time
	// Codec packs the record of a take-over; required unless ReadOnly.
	Pack func(batch.Attempt) ([]byte, error)
	// Between is called at the edges of every transaction with its name; a
	// crash harness stops the process there. Nil does nothing.
	Between func(point string)
}

// DB is the SQLite store.
type DB struct {
	cfg   Config
	write *sql.DB
	stmts *statements // of write
	read  reader
}

var _ store.Store = (*DB)(nil)

// Handle opens one pool of n connections on the file; the engine that shares
// the file with the store gets its own.
func Handle(path string, n int, readOnly bool) (*sql.DB, error) {
	q := url.Values{}
	for _, p := range []string{"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "fullfsync(1)",
		"foreign_keys(1)", "temp_store(memory)"} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	if readOnly {
		q = url.Values{}
		q.Add("_pragma", "busy_timeout(10000)")
		q.Add("_pragma", "query_only(1)")
		q.Set("mode", "ro")
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// Open opens the store, creating or migrating it unless it is read-only.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Between == nil {
		cfg.Between = func(string) {}
	}
	d := &DB{cfg: cfg}
	pool, err := Handle(cfg.Path, 4, true)
	if err != nil {
		return nil, d.fail("open", err)
	}
	d.read = newReader(pool)
	if cfg.ReadOnly {
		if err := d.ping(ctx); err != nil {
			return nil, errors.Join(d.fail("open", err), d.Close())
		}
		if err := d.checkSchema(ctx); err != nil {
			return nil, errors.Join(err, d.Close())
		}
		return d, nil
	}
	if d.write = cfg.Pool; d.write == nil {
		if d.write, err = Handle(cfg.Path, 1, false); err != nil {
			return nil, errors.Join(d.fail("open", err), d.Close())
		}
	}
	d.stmts = newStatements(d.write)
	if err := d.checkLibrary(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := d.migrate(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// ping opens the file for a reader. A process that died while it made the store
// leaves a journal that must be undone first, which a reader may not: the file
// is opened for writing once.
func (d *DB) ping(ctx context.Context) error {
	const hotJournal = 776 // SQLITE_READONLY_ROLLBACK
	look := func(db *sql.DB) error {
		var n int
		return db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n)
	}
	err := look(d.read.DB)
	if s, ok := errors.AsType[*driver.Error](err); !ok || s.Code() != hotJournal {
		return err
	}
	pool, err := Handle(d.cfg.Path, 1, false)
	if err != nil {
		return err
	}
	if err := errors.Join(look(pool), pool.Close()); err != nil {
		return err
	}
	return look(d.read.DB)
}

// Close closes the pools. A commit under way ends first.
func (d *DB) Close() error {
	errs := []error{d.read.stmts.close(), d.read.Close()}
	if d.write != nil {
		errs = append(errs, d.stmts.close())
		if d.cfg.Pool == nil {
			errs = append(errs, d.write.Close())
		}
	}
	return errors.Join(errs...)
}

func (d *DB) checkLibrary(ctx context.Context) error {
	var a, b, c int
	var v string
	if err := d.write.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&v); err != nil {
		return d.fail("open", err)
	}
	if _, err := fmt.Sscanf(v, "%d.%d.%d", &a, &b, &c); err != nil || a*1_000_000+b*1000+c < minVersion {
		return &batch.Error{Kind: batch.Config, Op: "open store", Msg: "SQLite " + v + " is too old: it can corrupt a WAL database",
			Hint: "build batchwright with the pinned modernc.org/sqlite"}
	}
	return nil
}

func (d *DB) provider() (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	db := d.write
	if db == nil {
		db = d.read.DB
	}
	return goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true))
}

func (d *DB) migrate(ctx context.Context) error {
	p, err := d.provider()
	if err != nil {
		return d.fail("migrate", err)
	}
	if err := d.newer(ctx); err != nil {
		return err
	}
	failpoint.Hit("migrate.before")
	for {
		_, err := p.UpByOne(ctx)
		if errors.Is(err, goose.ErrNoNextVersion) {
			break
		}
		if err != nil {
			return d.fail("migrate", err)
		}
		failpoint.Hit("migrate.step")
	}
	failpoint.Hit("migrate.after")
	return nil
}

// libraryVersion is the SQLite that the pinned driver is made of; a test holds
// it to what the driver says.
const libraryVersion = "3.54.1"

// SchemaVersion is the newest migration this binary knows.
const SchemaVersion = 3

// newer refuses a store that a later binary has migrated.
func (d *DB) newer(ctx context.Context) error {
	db := d.write
	if db == nil {
		db = d.read.DB
	}
	var tables, have int64
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name='goose_db_version'").Scan(&tables); err != nil {
		return d.fail("open", err)
	}
	if tables == 0 {
		return nil // a new store
	}
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(version_id),0) FROM goose_db_version WHERE is_applied").Scan(&have); err != nil {
		return d.fail("open", err)
	}
	if have > SchemaVersion {
		return &batch.Error{Kind: batch.Config, Op: "open store", Ref: d.cfg.Path,
			Msg:  fmt.Sprintf("the store has schema %d, this binary knows %d", have, SchemaVersion),
			Hint: "use the newer batchwright that made it"}
	}
	return nil
}

func (d *DB) checkSchema(ctx context.Context) error {
	if err := d.newer(ctx); err != nil {
		return err
	}
	var n int
	if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name='shard'").Scan(&n); err != nil {
		return d.fail("open", err)
	}
	if n == 0 {
		return &batch.Error{Kind: batch.NotFound, Op: "open store", Ref: d.cfg.Path, Msg: "there is no store here yet",
			Hint: "batchwright run job.yaml"}
	}
	return d.older(ctx)
}

// older refuses to read a store of an earlier schema, which only a process that
// works may migrate: one of an earlier binary, or whose migration was cut off.
func (d *DB) older(ctx context.Context) error {
	var have int64
	if err := d.read.QueryRowContext(ctx, "SELECT coalesce(max(version_id),0) FROM goose_db_version WHERE is_applied").Scan(&have); err != nil {
		return d.fail("open", err)
	}
	if have < SchemaVersion {
		var runs int
		if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM run").Scan(&runs); err == nil && runs == 0 {
			// Whoever was making the store was stopped; there is nothing in it.
			return &batch.Error{Kind: batch.NotFound, Op: "open store", Ref: d.cfg.Path, Msg: "there are no runs here yet", Hint: "batchwright run job.yaml"}
		}
		return &batch.Error{Kind: batch.Config, Op: "open store", Ref: d.cfg.Path,
			Msg:  fmt.Sprintf("the store has schema %d, this binary reads %d", have, SchemaVersion),
			Hint: "the next batchwright run or resume brings it up to date"}
	}
	return nil
}

// now is the clock leases are judged by, in unix microseconds.
func (d *DB) now() int64 { return d.cfg.Now().UnixMicro() }

// inTx runs f in one immediate transaction. A commit outlives the cancellation
// of the work that produced it: what was paid is recorded.
func (d *DB) inTx(ctx context.Context, name string, f func(ctx context.Context, tx txn) error) error {
	ctx = context.WithoutCancel(ctx)
	d.cfg.Between("before " + name)
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return d.fail(name, err)
	}
	if err := f(ctx, txn{tx, d.stmts}); err != nil {
		if rb := tx.Rollback(); rb != nil && !errors.Is(rb, sql.ErrTxDone) {
			err = errors.Join(err, rb)
		}
		return d.fail(name, err)
	}
	d.cfg.Between("in " + name)
	if err := tx.Commit(); err != nil {
		return d.fail(name, err)
	}
	d.cfg.Between("after " + name)
	d.stmts.prepare(ctx)
	return nil
}

func (d *DB) fail(op string, err error) error { return Explain(d.cfg.Path, op, err) }

// Explain gives an error of the database at path its kind; errors of ours pass.
func Explain(path, op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*batch.Error](err); ours {
		return err
	}
	e := &batch.Error{Kind: batch.Unavailable, Op: "store: " + op, Ref: path, Err: err}
	if s, ok := errors.AsType[*driver.Error](err); ok {
		const noSharedMemory = 4874 // SQLITE_IOERR_SHMSIZE: no room for the log's index
		switch s.Code() & 0xff {
		case 10: // the operation matters to nobody: the disk does
			e.Op, e.Msg, e.Hint = "store", "the disk fails", "when it works again, run the same command; a run at work goes on by itself"
			if s.Code() == noSharedMemory {
				e.Msg = "the disk is full or fails"
			}
		case 13:
			e.Op, e.Msg, e.Hint = "store", "the disk is full", "free some space on the file system of "+filepath.Dir(path)+"; a run at work then goes on by itself"
		case 8:
			e.Op, e.Msg, e.Hint = "store", "the file system can only be read", "make it writable again; a run at work then goes on by itself"
		case 11, 26:
			e.Kind, e.Msg, e.Hint = batch.Config, "the database file is damaged", "batchwright db check"
		case 14:
			e.Kind, e.Msg = batch.Config, "the database file cannot be opened"
		}
	}
	return e
}
