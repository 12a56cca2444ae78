package app_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/store/sqlite"
	"github.com/batchwright/batchwright/internal/wire"
)

// flipsPerKind is how many bits are flipped in each kind of file. The
// environment can ask for more.
func flipsPerKind(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("BATCHWRIGHT_FLIPS"))
	if err != nil {
		return 16
	}
	t.Logf("%d flips of each kind", n)
	return n
}

// harmless are the places of the database that no invariant rests on. Whatever
// else a flipped bit changes must be found.
var harmless = []string{
	"river_", "goose", "sqlite_", "worker.", "answer.", // bells, versions, heartbeats, and copies of outcomes
	"run.run_key", "run.queue", "run.reason", "run.input_key", "run.window", "run.plan", "run.price_version", "run.manifest_dir", // words, and what only a resume reads
	"run.spec",                                                                                                                        // where it was read, and names of keys that stand at their default: the rest is under a digest
	"run.created_at", "run.started_at", "run.ended_at", "run.deadline_at", "run.active_us", "run.running_since", "run.finish_rung_at", // clocks
	"failure.message", "failure.attempts", "failure.item_id", // shown beside the outcome, which has its own
}

// TestEveryFlippedBitIsFoundOrHarmless: one bit at a time, at seeded places, in
// every kind of file that a run leaves. Verify names it, or the store refuses
// it, or it lies where nothing was written, or in a place that is listed above.
func TestEveryFlippedBitIsFoundOrHarmless(t *testing.T) {
	t.Parallel()
	b := newBench(t, "poison=ticket 77 has")
	b.write("in.jsonl", items(200))
	s := b.runTo(batch.RunPartial, usual("budget: {usd: 5}\n"))
	b.close()
	w := copyOf(t, b, s.RunID)
	w.close()
	found(t, w.dir, s.RunID, "")
	db := filepath.Join(w.dir, "batchwright.db")
	whole := dump(t, db)
	kinds := map[string][]string{"database": {db}}
	for kind, glob := range map[string]string{"segments": "segments/*", "manifest": "manifest/*", "outputs": "output/*"} {
		files, err := filepath.Glob(filepath.Join(w.dir, "runs", w.run, glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", kind, files, err)
		}
		kinds[kind] = files
	}
	draw := rand.New(rand.NewPCG(11, 7))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		n, missed := flipsPerKind(t), map[string]int{}
		if kind == "database" { // most of it is empty
			n *= 4
		}
		named := 0
		for range n {
			path := kinds[kind][draw.IntN(len(kinds[kind]))]
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at, bit := draw.IntN(len(body)), draw.IntN(8)
			bad := bytes.Clone(body)
			bad[at] ^= 1 << bit
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			switch {
			case sees(t, w.dir, s.RunID):
				named++
			case kind == "database":
				for _, place := range changed(whole, dump(t, db)) {
					missed[place]++
					if !slices.ContainsFunc(harmless, func(h string) bool { return strings.HasPrefix(place, h) }) {
						t.Errorf("bit %d of byte %d of the database changes %s and is not found", bit, at, place)
					}
				}
			default:
				t.Errorf("bit %d of byte %d of %d of %s is not found", bit, at, len(body), filepath.Base(path))
			}
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%s: %d of %d flipped bits are found; the others change %v", kind, named, n, missed)
	}
	found(t, w.dir, s.RunID, "")
}

// sees reports that verify finds something, or that the store is refused.
func sees(t *testing.T, dir string, id batch.RunID) bool {
	t.Helper()
	s, err := wire.Open(t.Context(), wire.Options{DataDir: dir, Mode: wire.Read, Command: "verify", Version: "test"})
	if err != nil {
		return true
	}
	defer s.Close(t.Context()) //nolint:errcheck // read only
	v, err := s.App.Verify(t.Context(), string(id))
	return err != nil || !v.OK
}

// dump is every value of a database, by table and column; nil when it cannot be
// read.
func dump(t *testing.T, path string) map[string][]string {
	t.Helper()
	db, err := sqlite.Handle(path, 1, true)
	if err != nil {
		return nil
	}
	defer db.Close() //nolint:errcheck // read only
	out := map[string][]string{}
	tables, err := column(db, "SELECT name FROM sqlite_master WHERE type='table' ORDER BY name")
	if err != nil {
		return nil
	}
	for _, table := range tables {
		rows, err := db.Query(fmt.Sprintf("SELECT * FROM %q NOT INDEXED", table))
		if err != nil {
			out[table+".unreadable"] = []string{err.Error()}
			continue
		}
		if err := values(rows, table, out); err != nil {
			out[table+".unreadable"] = []string{err.Error()}
		}
	}
	return out
}

func column(db *sql.DB, q string) (out []string, err error) {
	rows, err := db.Query(q)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

func values(rows *sql.Rows, table string, out map[string][]string) error {
	defer rows.Close() //nolint:errcheck // read only
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row := make([]any, len(names))
		at := make([]any, len(names))
		for i := range row {
			at[i] = &row[i]
		}
		if err := rows.Scan(at...); err != nil {
			return err
		}
		for i, n := range names {
			out[table+"."+n] = append(out[table+"."+n], fmt.Sprintf("%T %v", row[i], row[i]))
		}
	}
	return rows.Err()
}

// changed names the columns in which two dumps differ; "nothing" where they do
// not: the bit lies in a free page, in slack or in an index.
func changed(a, b map[string][]string) (places []string) {
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			places = append(places, name)
		}
	}
	if len(places) == 0 {
		places = []string{"sqlite_ free pages, slack and indexes"}
	}
	return places
}
