package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/storetest"
)

// recorder keeps bells in a table of the same file, so that a bell is there
// exactly when the transaction that rang it is.
type recorder struct {
	db *sql.DB
}

func newRecorder(t testing.TB, path string) *recorder {
	t.Helper()
	db, err := Handle(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec("CREATE TABLE bell (n INTEGER PRIMARY KEY, kind TEXT, run TEXT, shard INTEGER, epoch INTEGER, queue TEXT)"); err != nil {
		t.Fatal(err)
	}
	return &recorder{db}
}

func (r *recorder) Ring(ctx context.Context, tx *sql.Tx, bells []batch.Bell) error {
	for _, b := range bells {
		if _, err := tx.ExecContext(ctx, "INSERT INTO bell (kind, run, shard, epoch, queue) VALUES (?,?,?,?,?)", b.Kind, b.Run, b.N, b.Epoch, b.Queue); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) heard(t testing.TB) []batch.Bell {
	t.Helper()
	rows, err := r.db.Query("DELETE FROM bell RETURNING kind, run, shard, epoch, queue, n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	var bells []batch.Bell
	for rows.Next() {
		var b batch.Bell
		var n int
		if err := rows.Scan(&b.Kind, &b.Run, &b.N, &b.Epoch, &b.Queue, &n); err != nil {
			t.Fatal(err)
		}
		bells = append(bells, b)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return bells
}

// fast is a folder in memory where there is one: these tests are about what
// transactions do, and do not pull plugs.
func fast(t testing.TB) string {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "batchwright-test-"); err == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}

func opened(t testing.TB, cfg Config) *DB {
	t.Helper()
	cfg.Pack = storetest.Pack
	d, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB, clock func() time.Time) (store.Store, func() store.Store, func() []batch.Bell) {
		path := filepath.Join(fast(t), "batchwright.db")
		rec := newRecorder(t, path)
		d := opened(t, Config{Path: path, Now: clock, Bells: rec})
		reopen := func() store.Store {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			return opened(t, Config{Path: path, Now: clock, Bells: rec})
		}
		return d, reopen, func() []batch.Bell { return rec.heard(t) }
	})
}

func aRun(id string) store.Run {
	return store.Run{ID: batch.RunID(id), Job: "j", State: batch.RunRunning, Spec: []byte("{}"), Queue: "high", Items: 4, ShardSize: 2,
		Window: 2, ItemTokens: -1, CreatedAt: 1, Budget: batch.Level{Limit: money.NoLimit}}
}

func TestReadersSeeTheWorkerOfAnotherHandle(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(fast(t), "batchwright.db")
	w := opened(t, Config{Path: path})
	r := opened(t, Config{Path: path, ReadOnly: true})
	for _, id := range []string{"r_1", "r_2"} {
		if err := w.CreateRun(ctx, aRun(id)); err != nil {
			t.Fatal(err)
		}
		got, err := r.Run(ctx, batch.RunID(id))
		if err != nil || got.Opened != 2 {
			t.Fatalf("the reader sees %+v, %v", got, err)
		}
	}
	// A reader in the middle of the worker's transaction sees the last commit.
	seen := make(chan string, 1)
	slow := opened(t, Config{Path: path, Between: func(p string) {
		if p == "in set target" {
			got, err := r.Run(ctx, "r_1")
			if err != nil {
				t.Error(err)
			}
			seen <- string(got.Target)
		}
	}})
	if err := slow.SetTarget(ctx, "r_1", batch.RunCancelled, "x"); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != "" {
		t.Fatalf("a reader saw what was not committed: %q", got)
	}
	if _, err := r.read.Exec("DELETE FROM run"); err == nil {
		t.Fatal("a read-only handle wrote")
	}
}

func TestReadOnlyNeedsAStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.db")
	if _, err := Open(context.Background(), Config{Path: path, ReadOnly: true}); err == nil || batch.KindOf(err) != batch.Config {
		t.Fatalf("opened nothing: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a reader made a file")
	}
	db, err := Handle(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // the test's own
	if _, err := db.Exec("CREATE TABLE other (a INTEGER)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Path: path, ReadOnly: true}); batch.KindOf(err) != batch.NotFound {
		t.Fatalf("opened a file without a store: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fast(t), "batchwright.db")
	d := opened(t, Config{Path: path})
	if err := d.CreateRun(context.Background(), aRun("r_1")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.write.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)", SchemaVersion+1); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, ro := range []bool{false, true} {
		_, err := Open(context.Background(), Config{Path: path, ReadOnly: ro, Pack: storetest.Pack})
		if batch.KindOf(err) != batch.Config || batch.HintOf(err) == "" {
			t.Fatalf("read-only %v: a newer store was opened: %v", ro, err)
		}
	}
}

// TestAnOlderSchemaIsNotRead: a reader cannot migrate, and must say so instead
// of failing at the first column that is not there.
func TestAnOlderSchemaIsNotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(fast(t), "batchwright.db")
	d := opened(t, Config{Path: path})
	if err := d.CreateRun(context.Background(), store.Run{ID: "r_old", State: batch.RunQueued, Spec: []byte("{}"), Items: 1, ShardSize: 1, Window: 1,
		Budget: batch.Level{Limit: money.NoLimit}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.write.Exec("DELETE FROM goose_db_version WHERE version_id=?", SchemaVersion); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Config{Path: path, ReadOnly: true})
	if batch.KindOf(err) != batch.Config || batch.HintOf(err) == "" {
		t.Fatalf("an older store was opened: %v", err)
	}
}

func TestSchemaVersionIsTheNewestMigration(t *testing.T) {
	t.Parallel()
	d := opened(t, Config{Path: filepath.Join(fast(t), "batchwright.db")})
	var have int64
	if err := d.write.QueryRow("SELECT max(version_id) FROM goose_db_version").Scan(&have); err != nil || have != SchemaVersion {
		t.Fatalf("migrated to %d (%v), SchemaVersion is %d", have, err, SchemaVersion)
	}
}

func TestDamageIsSaid(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "batchwright.db")
	if err := os.WriteFile(path, []byte("this is no database at all, and long enough to be looked at as one........................................"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Config{Path: path, Pack: storetest.Pack})
	if e, ok := errors.AsType[*batch.Error](err); !ok || e.Kind != batch.Config || e.Hint == "" {
		t.Fatalf("damage is %v", err)
	}
}
