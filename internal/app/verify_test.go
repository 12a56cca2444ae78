package app_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store/sqlite"
	"github.com/batchwright/batchwright/internal/wire"
)

// wreck is a copy of a data directory that damage is done to.
type wreck struct {
	t   *testing.T
	dir string
	run string
	db  *sql.DB
}

func (w *wreck) exec(q string, args ...any) {
	w.t.Helper()
	r, err := w.db.Exec(q, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		w.t.Fatalf("%s: nothing was damaged (%v)", q, err)
	}
}

func (w *wreck) text(q string, args ...any) (s string) {
	w.t.Helper()
	if err := w.db.QueryRow(q, args...).Scan(&s); err != nil {
		w.t.Fatalf("%s: %v", q, err)
	}
	return s
}

func (w *wreck) segment(name string) string {
	return filepath.Join(w.dir, "runs", w.run, "segments", name+".zst")
}

func (w *wreck) flip(path string, at func(size int) int) {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		w.t.Fatalf("%d bytes, %v", len(b), err)
	}
	b[at(len(b))] ^= 0x20
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func half(n int) int { return n / 2 }

// cell is one row of a table: its number and the bytes of one column.
type cell struct {
	n    int64
	body []byte
}

func (w *wreck) cells(q string) (bs []cell) {
	w.t.Helper()
	rows, err := w.db.Query(q)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var b cell
		if err := rows.Scan(&b.n, &b.body); err != nil {
			w.t.Fatal(err)
		}
		bs = append(bs, b)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return bs
}

// chunk rewrites the first chunk that has an ok outcome and its attempt.
func (w *wreck) chunk(change func(g *segment.Group, o *batch.Outcome, a *batch.Attempt)) {
	w.t.Helper()
	codec, err := segment.NewCodec()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range w.cells("SELECT row, body FROM chunk ORDER BY row") {
		g, err := codec.Decode(c.body)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range g.Outcomes {
			o := &g.Outcomes[i]
			k := slices.IndexFunc(g.Attempts, func(a batch.Attempt) bool { return a.Ordinal == o.Ordinal && a.N == o.Attempt })
			if o.State != batch.ItemOK || k < 0 {
				continue
			}
			change(&g, o, &g.Attempts[k])
			body, err := codec.Encode(g)
			if err != nil {
				w.t.Fatal(err)
			}
			w.exec("UPDATE chunk SET body=? WHERE row=?", body, c.n)
			return
		}
	}
	w.t.Fatal("no chunk has an outcome")
}

// forge puts another segment, with a right checksum, in the place of the first.
func (w *wreck) forge(change func(g *segment.Group)) {
	w.t.Helper()
	codec, err := segment.NewCodec()
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := os.ReadFile(w.segment(w.text("SELECT name FROM segment WHERE stretch=0")))
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := codec.Decode(body)
	if err != nil {
		w.t.Fatal(err)
	}
	change(&g)
	if body, err = codec.Encode(g); err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	name := hex.EncodeToString(sum[:])
	if err := os.WriteFile(w.segment(name), body, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.exec("UPDATE segment SET name=?, bytes=?, rows=? WHERE stretch=0", name, len(body), len(g.Outcomes))
}

// bitmap changes a bitmap of the first shard that has what is looked for.
func (w *wreck) bitmap(column string, change func(done batch.Bits) bool) {
	w.t.Helper()
	for _, s := range w.cells("SELECT shard, " + column + " FROM shard WHERE state<>2 ORDER BY shard") {
		if change(s.body) {
			w.exec("UPDATE shard SET "+column+"=? WHERE shard=?", s.body, s.n)
			return
		}
	}
	w.t.Fatal("no shard has such a bit")
}

type damage struct {
	name string
	inv  string // what verify must say is broken
	do   func(w *wreck)
}

var damagesOfEnded = []damage{
	{"a byte of a segment", "I9", func(w *wreck) { w.flip(w.segment(w.text("SELECT name FROM segment WHERE stretch=1")), half) }},
	{"a byte of a ledger segment", "I9", func(w *wreck) { w.flip(w.segment(w.text("SELECT attempts FROM segment WHERE stretch=0")), half) }},
	{"a segment is gone", "I9", func(w *wreck) {
		if err := os.Remove(w.segment(w.text("SELECT name FROM segment WHERE stretch=0"))); err != nil {
			w.t.Fatal(err)
		}
	}},
	{"two pointers are swapped", "I2", func(w *wreck) {
		a, b := w.text("SELECT name FROM segment WHERE stretch=0"), w.text("SELECT name FROM segment WHERE stretch=1")
		w.exec("UPDATE segment SET name=iif(stretch=0, ?, ?)", b, a)
	}},
	{"outcomes and attempts are swapped", "I9", func(w *wreck) { w.exec("UPDATE segment SET name=attempts, attempts=name WHERE stretch=1") }},
	{"a pointer is gone", "I1", func(w *wreck) { w.exec("DELETE FROM segment WHERE stretch=1") }},
	{"a pointer counts wrongly", "I9", func(w *wreck) { w.exec("UPDATE segment SET attempts_rows=attempts_rows+1 WHERE stretch=0") }},
	{"an outcome was cut out of a segment", "I1", func(w *wreck) { w.forge(func(g *segment.Group) { g.Outcomes = slices.Delete(g.Outcomes, 5, 6) }) }},
	{"an outcome stands twice in a segment", "I2", func(w *wreck) { w.forge(func(g *segment.Group) { g.Outcomes = append(g.Outcomes, g.Outcomes[5]) }) }},
	{"an outcome has another's id", "I2", func(w *wreck) { w.forge(func(g *segment.Group) { g.Outcomes[5].ID = g.Outcomes[6].ID }) }},
	{"a failure that cannot be asked for", "I2", func(w *wreck) { w.exec("DELETE FROM failure") }},
	{"a failure of another class", "I2", func(w *wreck) { w.exec("UPDATE failure SET class='refused'") }},
	{"one ok too many", "I2", func(w *wreck) { w.exec("UPDATE run SET ok=ok+1") }},
	{"one call too many", "I3", func(w *wreck) { w.exec("UPDATE run SET calls=calls+1") }},
	{"one call too few", "I3", func(w *wreck) { w.exec("UPDATE run SET calls=calls-1") }},
	{"a call of unknown fate", "I3", func(w *wreck) { w.exec("UPDATE run SET unknown=unknown+1") }},
	{"a token more is spent", "I4", func(w *wreck) { w.exec("UPDATE budget SET spent_tok=spent_tok+1") }},
	{"a pico-USD less is spent", "I4", func(w *wreck) { w.exec("UPDATE budget SET spent_pico=spent_pico-1") }},
	{"something stays reserved", "I4", func(w *wreck) { w.exec("UPDATE budget SET res_tok=res_tok+1") }},
	{"a limit below what is spent", "I4", func(w *wreck) { w.exec("UPDATE budget SET lim_tok=spent_tok-1") }},
	{"usage was changed", "I4", func(w *wreck) { w.exec("UPDATE run SET u_output=u_output-1") }},
	{"a byte of the manifest's list", "I10", func(w *wreck) { w.flip(w.manifest("index.bin"), half) }},
	{"a byte of the manifest's ids", "I10", func(w *wreck) { w.flip(w.manifest("ids.bin"), func(int) int { return 0 }) }},
	{"a byte of the manifest's head", "I10", func(w *wreck) { w.flip(w.manifest("manifest.json"), half) }},
	{"a pico-USD is at risk that no lost lease explains", "I4", func(w *wreck) { w.exec("UPDATE budget SET risk_pico=risk_pico+1, spent_pico=spent_pico-1") }},
	{"a retry is at risk that no lost lease explains", "I4", func(w *wreck) { w.exec("UPDATE budget SET risk_retry=risk_retry+1, spent_retry=spent_retry-1") }},
	{"another price", "I4", func(w *wreck) {
		w.exec(`UPDATE run SET price=CAST(replace(CAST(price AS TEXT), '"in":150000', '"in":150001') AS BLOB)`)
	}},
	{"no price that can be read", "I4", func(w *wreck) { w.exec("UPDATE run SET price=x'7b'") }},
	{"another prompt in the frozen spec", "I5", func(w *wreck) {
		w.exec("UPDATE run SET spec=CAST(replace(CAST(spec AS TEXT), 'Summarise', 'Translate') AS BLOB)")
	}},
	{"the spec of another job", "I5", func(w *wreck) { w.exec("UPDATE run SET job='other'") }},
	{"the frozen spec cannot be read", "I5", func(w *wreck) { w.exec("UPDATE run SET spec=x'7b'") }},
	{"another digest of the spec", "I5", func(w *wreck) { w.exec("UPDATE run SET spec_digest='0'") }},
	{"another digest of the work", "I5", func(w *wreck) { w.exec("UPDATE run SET work_digest='0'") }},
	{"a byte of the results", "I9", func(w *wreck) { w.flip(w.output("results.jsonl"), half) }},
	{"a byte of the table", "I9", func(w *wreck) { w.flip(w.output("results.csv"), half) }},
	{"a byte of the columns", "I9", func(w *wreck) { w.flip(w.output("results.parquet"), half) }},
	{"a byte of the failures", "I9", func(w *wreck) { w.flip(w.output("failed.jsonl"), half) }},
	{"a byte of the ledger", "I9", func(w *wreck) { w.flip(w.output("ledger.jsonl"), half) }},
	{"a byte of the report", "I9", func(w *wreck) { w.flip(w.output("report.html"), half) }},
	{"a byte of the summary", "I9", func(w *wreck) { w.flip(w.output("summary.json"), half) }},
	{"a byte of the files' list", "I9", func(w *wreck) { w.flip(w.output("_manifest.json"), half) }},
	{"a byte of the mark", "I9", func(w *wreck) { w.flip(w.output("_SUCCESS"), half) }},
	{"the format of a document in the files' list", "I9", func(w *wreck) { w.edit(w.output("_manifest.json"), `"format": "html"`, `"format": "htmm"`) }},
	{"the mark is gone", "I9", func(w *wreck) { w.remove(w.output("_SUCCESS")) }},
	{"the files' list is gone", "I9", func(w *wreck) { w.remove(w.output("_manifest.json")) }},
	{"the files' list is of another run", "I9", func(w *wreck) { w.edit(w.output("_manifest.json"), w.run, "r_0000000000000") }},
	{"the results are gone", "I9", func(w *wreck) { w.remove(w.output("results.jsonl")) }},
	{"a result was edited and its checksum with it", "I9", func(w *wreck) {
		old := w.sum("results.jsonl")
		w.edit(w.output("results.jsonl"), `"id":"i7"`, `"id":"x7"`)
		w.edit(w.output("_manifest.json"), old, w.sum("results.jsonl"))
	}},
	{"the last result was cut off", "I9", func(w *wreck) {
		text := w.content(w.output("results.jsonl"))
		w.put(w.output("results.jsonl"), text[:strings.LastIndexByte(strings.TrimSpace(text), '\n')+1])
	}},
	{"another manifest", "I10", func(w *wreck) { w.exec("UPDATE run SET manifest_digest='sha256:0'") }},
}

func (w *wreck) output(name string) string {
	return filepath.Join(w.dir, "runs", w.run, "output", name)
}

func (w *wreck) remove(path string) {
	w.t.Helper()
	if err := os.Remove(path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wreck) content(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *wreck) put(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wreck) edit(path, old, new string) {
	w.t.Helper()
	text := w.content(path)
	if !strings.Contains(text, old) {
		w.t.Fatalf("%s has no %s", path, old)
	}
	w.put(path, strings.Replace(text, old, new, 1))
}

func (w *wreck) sum(name string) string {
	sum := sha256.Sum256([]byte(w.content(w.output(name))))
	return hex.EncodeToString(sum[:])
}

func (w *wreck) manifest(name string) string {
	return filepath.Join(w.dir, "runs", w.run, "manifest", name)
}

var damagesOfPaused = []damage{
	{"a group is gone", "I3", func(w *wreck) { w.exec("DELETE FROM chunk WHERE row=(SELECT min(row) FROM chunk)") }},
	{"a group is damaged", "I9", func(w *wreck) {
		w.exec("UPDATE chunk SET body=substr(body,1,length(body)-4) WHERE row=(SELECT min(row) FROM chunk)")
	}},
	{"an outcome is gone", "I1", func(w *wreck) {
		w.chunk(func(g *segment.Group, o *batch.Outcome, _ *batch.Attempt) {
			g.Outcomes = slices.DeleteFunc(g.Outcomes, func(x batch.Outcome) bool { return x.Ordinal == o.Ordinal })
		})
	}},
	{"an outcome stands twice", "I2", func(w *wreck) {
		w.chunk(func(g *segment.Group, o *batch.Outcome, _ *batch.Attempt) { g.Outcomes = append(g.Outcomes, *o) })
	}},
	{"an outcome has another id", "I2", func(w *wreck) {
		w.chunk(func(_ *segment.Group, o *batch.Outcome, _ *batch.Attempt) { o.ID += "x" })
	}},
	{"an outcome has no output", "I1", func(w *wreck) {
		w.chunk(func(_ *segment.Group, o *batch.Outcome, _ *batch.Attempt) { o.Output = nil })
	}},
	{"an outcome used something else", "I8", func(w *wreck) {
		w.chunk(func(_ *segment.Group, o *batch.Outcome, _ *batch.Attempt) { o.Usage.Output++ })
	}},
	{"an outcome names another attempt", "I8", func(w *wreck) {
		w.chunk(func(_ *segment.Group, o *batch.Outcome, _ *batch.Attempt) { o.Attempt++ })
	}},
	{"an outcome of an attempt that failed", "I8", func(w *wreck) {
		w.chunk(func(_ *segment.Group, _ *batch.Outcome, a *batch.Attempt) { a.Class = batch.ClassRefused })
	}},
	{"an outcome of another epoch", "I8", func(w *wreck) {
		w.chunk(func(_ *segment.Group, o *batch.Outcome, _ *batch.Attempt) { o.Epoch++ })
	}},
	{"an attempt used something else", "I4", func(w *wreck) {
		w.chunk(func(_ *segment.Group, _ *batch.Outcome, a *batch.Attempt) { a.Usage.Input-- })
	}},
	{"an attempt was charged something else", "I4", func(w *wreck) {
		w.chunk(func(_ *segment.Group, _ *batch.Outcome, a *batch.Attempt) { a.Charged.Pico++ })
	}},
	{"a charge was moved from one attempt to another", "I4", func(w *wreck) {
		w.chunk(func(g *segment.Group, _ *batch.Outcome, a *batch.Attempt) {
			a.Charged.Pico--
			for i := range g.Attempts {
				if b := &g.Attempts[i]; b != a {
					b.Charged.Pico++
					return
				}
			}
			a.Charged.Pico -= 5
		})
	}},
	{"an attempt stands twice", "I3", func(w *wreck) {
		w.chunk(func(g *segment.Group, _ *batch.Outcome, a *batch.Attempt) { g.Attempts = append(g.Attempts, *a) })
	}},
	{"an attempt nobody counted and nobody paid", "I3", func(w *wreck) {
		w.chunk(func(g *segment.Group, _ *batch.Outcome, a *batch.Attempt) {
			g.Attempts = append(g.Attempts, batch.Attempt{Ordinal: a.Ordinal, ID: a.ID, Shard: a.Shard, Epoch: a.Epoch, N: 77, Class: batch.ClassRateLimited})
		})
	}},
	{"a done bit was cleared", "I2", func(w *wreck) {
		w.bitmap("done", func(b batch.Bits) bool {
			was := b.Get(0)
			b.Clear(0)
			return was
		})
	}},
	{"a done bit was set", "I1", func(w *wreck) {
		w.bitmap("done", func(b batch.Bits) bool {
			was := b.Get(9)
			b.Set(9)
			return !was
		})
	}},
	{"a started bit stayed", "I3", func(w *wreck) {
		w.bitmap("started", func(b batch.Bits) bool { b.Set(9); return true })
	}},
	{"a shard holds money that nobody reserved", "I4", func(w *wreck) {
		w.exec("UPDATE shard SET res_tok=5 WHERE shard=(SELECT min(shard) FROM shard WHERE state=0)")
	}},
	{"a shard counts as done that is not", "I2", func(w *wreck) { w.exec("UPDATE run SET closed=closed+1") }},
	{"a shard's row is gone", "I1", func(w *wreck) { w.exec("DELETE FROM shard WHERE shard=(SELECT max(shard) FROM shard WHERE state=0)") }},
}

// TestVerifyNamesEveryDamage: on copies of a run that ended and of one that was
// paused, damage of every kind is found and named by the invariant that it
// breaks; on copies without damage nothing is.
func TestVerifyNamesEveryDamage(t *testing.T) {
	t.Parallel()
	b := newBench(t, "poison=ticket 77 has")
	b.write("in.jsonl", items(2100))
	ended := b.runTo(batch.RunPartial, strings.Replace(usual(""), "batch_size: 10", "batch_size: 100", 1))
	b.close()
	t.Run("ended", func(t *testing.T) { plant(t, b, ended.RunID, damagesOfEnded) })

	p := newBench(t, "latency=40ms,500:0.3")
	p.write("in.jsonl", items(60))
	st := p.start(usual(slow), app.StartRequest{})
	p.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 9 })
	if _, err := p.app().Pause(t.Context(), string(st.Run), ""); err != nil {
		t.Fatal(err)
	}
	p.until(st.Run, "stands still", func(s app.Status) bool { return s.State == batch.RunPaused && settled(s) })
	p.close()
	t.Run("paused", func(t *testing.T) { plant(t, p, st.Run, damagesOfPaused) })

	// The input itself lies outside of the data directory.
	t.Run("a byte of the input", func(t *testing.T) {
		in := filepath.Join(p.dir, "in.jsonl")
		w := &wreck{t: t}
		w.flip(in, half)
		defer w.flip(in, half)
		found(t, p.data, st.Run, "I10")
	})
}

// copyOf makes a copy of a data directory with the outputs of its run inside,
// and opens its database.
func copyOf(t *testing.T, b *bench, id batch.RunID) *wreck {
	t.Helper()
	w := &wreck{t: t, dir: filepath.Join(t.TempDir(), "copy"), run: string(id)}
	if err := os.CopyFS(w.dir, os.DirFS(b.data)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(w.dir, "runs", w.run, "output")
	if _, err := os.Stat(filepath.Join(b.dir, "out")); err == nil {
		if err := os.CopyFS(out, os.DirFS(filepath.Join(b.dir, "out"))); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.db, err = sqlite.Handle(filepath.Join(w.dir, "batchwright.db"), 1, false); err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE run SET output_uri=?", out)
	return w
}

func (w *wreck) close() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func plant(t *testing.T, b *bench, id batch.RunID, ds []damage) {
	found(t, b.data, id, "")
	whole := copyOf(t, b, id)
	whole.close()
	found(t, whole.dir, id, "")
	for _, d := range ds {
		t.Run(d.name, func(t *testing.T) {
			w := copyOf(t, b, id)
			d.do(w)
			w.close()
			found(t, w.dir, id, d.inv)
		})
	}
}

// found verifies a directory and fails unless the invariant is among what is
// found; with "" unless nothing is.
func found(t *testing.T, dir string, id batch.RunID, inv string) {
	t.Helper()
	s, err := wire.Open(t.Context(), wire.Options{DataDir: dir, Mode: wire.Read, Command: "verify", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context()) //nolint:errcheck // read only
	v, err := s.App.Verify(t.Context(), string(id))
	if err != nil {
		t.Fatal(err)
	}
	if inv == "" {
		if !v.OK || len(v.Checked) < 4 {
			t.Errorf("an undamaged run: %+v", v)
		}
		return
	}
	if v.OK || !slices.ContainsFunc(v.Findings, func(f app.Finding) bool { return f.Invariant == inv && f.Ref != "" && f.Message != "" }) {
		t.Errorf("want %s, found %+v", inv, v.Findings)
	}
}
