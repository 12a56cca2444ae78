package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/format"
)

type ticket struct {
	ID   string `json:"id" parquet:"id"`
	Text string `json:"text" parquet:"text"`
}

// encode writes tickets in a format.
func encode(t testing.TB, kind format.Kind, rows []ticket) []byte {
	t.Helper()
	var b bytes.Buffer
	switch kind {
	case format.JSONL:
		for _, r := range rows {
			fmt.Fprintf(&b, "{\"id\":%q,\"text\":%q}\n", r.ID, r.Text)
		}
	case format.JSON:
		b.WriteString("[")
		for i, r := range rows {
			fmt.Fprintf(&b, "%s\n { \"id\": %q,\n \"text\": %q }", strings.Repeat(",", min(i, 1)), r.ID, r.Text)
		}
		b.WriteString("]")
	case format.CSV:
		b.WriteString("id,text\n")
		for _, r := range rows {
			fmt.Fprintf(&b, "%s,\"%s\"\n", r.ID, r.Text)
		}
	case format.Parquet:
		w := parquet.NewGenericWriter[ticket](&b)
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func pack(t testing.TB, how string, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gz":
		w = gzip.NewWriter(&b)
	case "zst":
		w, _ = zstd.NewWriter(&b)
	default:
		return text
	}
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tickets(n int) []ticket {
	rows := make([]ticket, n)
	for i := range rows {
		rows[i] = ticket{fmt.Sprintf("T-%d", i), fmt.Sprintf("text number %d", i%7)}
	}
	return rows
}

// TestTheSameRowsGiveTheSameManifest builds from every format, compression and
// place, and wants the same digest, items and leaders from all.
func TestTheSameRowsGiveTheSameManifest(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	blobs := blob.NewRegistry(blob.Driver{Scheme: "mem", Open: func(_ context.Context, l blob.Location) (blob.Bucket, error) {
		return blob.Local(filepath.Join(root, l.Bucket)), nil
	}})
	rows := tickets(2000)
	want := build(t, Config{URI: write(t, "want.jsonl", string(encode(t, format.JSONL, rows))), ID: "id", KeyFields: []string{"text"}})
	check := func(name string, cfg Config) {
		cfg.ID, cfg.KeyFields, cfg.Blobs = "id", []string{"text"}, blobs
		m := build(t, cfg)
		if m.Digest() != want.Digest() {
			t.Errorf("%s: digest %s, want %s", name, m.Digest(), want.Digest())
		}
		a, b := items(t, m), items(t, want)
		for i := range b {
			if !bytes.Equal(a[i].Payload, b[i].Payload) || a[i].ID != b[i].ID || a[i].Leader != b[i].Leader || a[i].Leads != b[i].Leads {
				t.Fatalf("%s: item %d is %+v, want %+v", name, i, a[i].Entry, b[i].Entry)
			}
		}
		h := m.Header()
		h.Counts.Budgeted = 0
		if h.Counts != want.Header().Counts {
			t.Errorf("%s: counts %+v", name, h.Counts)
		}
		if err := errors.Join(m.Verify(t.Context()), m.VerifySources(t.Context(), true)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kind := range []format.Kind{format.JSONL, format.JSON, format.CSV, format.Parquet} {
		for _, how := range []string{"", "gz", "zst"} {
			name := strings.TrimSuffix(fmt.Sprintf("in.%s.%s", kind, how), ".")
			text := pack(t, how, encode(t, kind, rows))
			check(name, Config{URI: write(t, name, string(text))})
			if kind != format.CSV { // a pipe has no name to tell CSV by
				check(name+" from stdin", Config{URI: "-", Stdin: bytes.NewReader(text)})
			}
			if err := os.MkdirAll(filepath.Join(root, "b"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "b", name), text, 0o644); err != nil {
				t.Fatal(err)
			}
			check(name+" from a bucket", Config{URI: "mem://b/" + name})
		}
	}
	folder := t.TempDir()
	for i, kind := range []format.Kind{format.JSONL, format.CSV, format.Parquet, format.JSON} {
		part := encode(t, kind, rows[i*500:(i+1)*500])
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.%s", i, kind)), part, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check("a folder", Config{URI: folder})
	check("a copied folder", Config{URI: folder, Copy: true})
}

func TestLimitTakesTheFirstRows(t *testing.T) {
	t.Parallel()
	rows := tickets(50_000)
	p := write(t, "in.jsonl", string(encode(t, format.JSONL, rows))+"not a row\n")
	m := build(t, Config{URI: p, ID: "id", Limit: 10})
	if m.Count() != 10 || m.Header().Sources[0].SHA256 != "" {
		t.Errorf("%+v", m.Header())
	}
	if err := m.VerifySources(t.Context(), true); err != nil {
		t.Error(err)
	}
	q := write(t, "in.jsonl", string(encode(t, format.JSONL, rows[:10])))
	if n := build(t, Config{URI: q, ID: "id", Limit: 10}); n.Digest() != m.Digest() || n.Header().Sources[0].SHA256 == "" {
		t.Errorf("%+v", n.Header())
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, text string
		cfg        Config
		want       string
	}{
		"empty":        {"in.jsonl", "\n \n", Config{}, "the input has no rows"},
		"empty csv":    {"in.csv", "a,b\n", Config{}, "the input has no rows"},
		"all bad":      {"in.jsonl", "x\ny\n", Config{Quarantine: true}, "2 bad rows"},
		"required":     {"in.jsonl", `{"a":1}`, Config{RequiredFields: []string{"text"}}, `in.jsonl:1: the field "text" is missing; it is used by the prompt`},
		"expected":     {"in.jsonl", `{"a":1}`, Config{ExpectedFields: []string{"label"}}, `"label" is missing; it is the expected answer`},
		"budget":       {"in.jsonl", `{"token_budget":-1}`, Config{TokenBudgetField: "token_budget"}, "must be a whole number of tokens"},
		"budget float": {"in.jsonl", `{"token_budget":1.5}`, Config{TokenBudgetField: "token_budget"}, "must be a whole number of tokens"},
		"id object":    {"in.jsonl", `{"id":{}}`, Config{ID: "id"}, "must be a string or a number"},
		"id empty":     {"in.csv", "id,x\n,1\n", Config{ID: "id"}, "is empty"},
		"id line":      {"in.jsonl", `{"id":"a\nb"}`, Config{ID: "id"}, "control character"},
		"id long":      {"in.jsonl", `{"id":"` + strings.Repeat("x", 513) + `"}`, Config{ID: "id"}, "longer than 512 bytes"},
		"render": {"in.jsonl", `{"a":1}`, Config{Render: func([]byte) ([]byte, error) {
			return nil, &batch.Error{Kind: batch.Invalid, Msg: "the variable x is not there"}
		}}, "in.jsonl:1: the variable x is not there"},
		"format":        {"in.dat", "hello", Config{}, "set"},
		"fatal":         {"in.csv", "a,b\n1\n\"x", Config{}, "2 bad rows"},
		"batch":         {"in.jsonl", `{"custom_id":"a","url":"/v1/responses","body":{}}` + "\n" + `{"custom_id":"a","url":"/v1/responses","body":{}}`, Config{}, `id "a": the id is already that of in.jsonl:1`},
		"clash derived": {"in.jsonl", "{\"a\":1}\n{\"a\":1}\n{\"custom_id\":\"015abd7f5cc57a2d-2\"}\n", Config{}, "is also the one that the repeated row at in.jsonl:2 gets"},
		"many":          {"in.jsonl", strings.Repeat("x\n", 500), Config{}, "and 480 more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.URI = write(t, c.file, c.text)
			c.cfg.Dir = filepath.Dir(c.cfg.URI)
			err := buildError(t, c.cfg)
			if got := err.Error() + " " + batch.HintOf(err); !strings.Contains(got, c.want) {
				t.Errorf("%q is missing in %s", c.want, got)
			}
			if batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
				t.Errorf("kind %s, hint %q", batch.KindOf(err), batch.HintOf(err))
			}
		})
	}
}

func TestASealedManifestIsNotOverwritten(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", `{"a":1}`)
	dir := t.TempDir()
	m, _, err := Build(t.Context(), Config{URI: p}, dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = m.Close()
	if _, _, err := Build(t.Context(), Config{URI: p}, dir); batch.KindOf(err) != batch.Conflict {
		t.Errorf("second build: %v", err)
	}
	if m, err := Open(dir, nil); err != nil {
		t.Error(err)
	} else {
		_ = m.Close()
	}
}

// TestAKilledBuildLeavesNoManifest copies the folder of a build at many moments,
// which is what a kill would leave, and again with every file but the seal.
func TestAKilledBuildLeavesNoManifest(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", string(encode(t, format.JSONL, tickets(20_000))))
	dir, graves := t.TempDir(), t.TempDir()
	var calls atomic.Int64
	cfg := Config{URI: p, ID: "id", Copy: true, Render: func(row []byte) ([]byte, error) {
		if n := calls.Add(1); n%2500 == 0 {
			copyFolder(t, dir, filepath.Join(graves, fmt.Sprint(n)))
		}
		return row, nil
	}}
	m, _, err := Build(t.Context(), cfg, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, name := range []string{sealFile, headerFile, indexFile, heapFile, idsFile, payloadFile} {
		grave := filepath.Join(graves, name)
		copyFolder(t, dir, grave)
		if err := os.Remove(filepath.Join(grave, name)); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := os.ReadDir(graves)
	if len(list) < 10 {
		t.Fatalf("%d graves", len(list))
	}
	for _, e := range list {
		grave := filepath.Join(graves, e.Name())
		if m, err := Open(grave, nil); err == nil {
			_ = m.Close()
			t.Errorf("%s: opened", e.Name())
		}
		if err := os.Remove(filepath.Join(grave, sealFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		again, _, err := Build(t.Context(), Config{URI: p, ID: "id"}, grave)
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		if again.Digest() != m.Digest() {
			t.Errorf("%s: digest %s", e.Name(), again.Digest())
		}
		_ = again.Close()
	}
}

func copyFolder(t *testing.T, from, to string) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Error(err)
	}
	list, err := os.ReadDir(from)
	if err != nil {
		t.Error(err)
	}
	for _, e := range list {
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			continue // gone meanwhile, as it may be
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), text, 0o644); err != nil {
			t.Error(err)
		}
	}
}

func TestACancelledBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", string(encode(t, format.JSONL, tickets(50_000))))
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	dir := t.TempDir()
	_, _, err := Build(ctx, Config{URI: p, Render: func(row []byte) ([]byte, error) {
		if calls.Add(1) == 5000 {
			cancel()
		}
		return row, nil
	}}, dir)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("left %v", list)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, _ = w.Write([]byte("{}\n"))
		cancel()
	}()
	if _, _, err := Build(ctx, Config{URI: "-", Stdin: r}, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("a hanging pipe: %v", err)
	}
}

// TestMemoryStaysFlat builds a list whose tables would need far more than what
// is allowed to be held.
func TestMemoryStaysFlat(t *testing.T) {
	const rows = 300_000
	m := build(t, Config{URI: "-", ID: "id", KeyFields: []string{"text"}, Stdin: &generator{rows: rows}})
	if m.Count() != rows {
		t.Fatalf("%d items", m.Count())
	}
	var peak uint64
	again := &generator{rows: rows, each: func() {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		peak = max(peak, s.HeapInuse)
	}}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	build(t, Config{URI: "-", ID: "id", KeyFields: []string{"text"}, Stdin: again})
	if grown := int64(peak) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// generator makes JSON lines, and calls each now and then.
type generator struct {
	rows, n int
	rest    []byte
	each    func()
}

func (g *generator) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		if g.n == g.rows {
			return 0, io.EOF
		}
		if g.each != nil && g.n%50_000 < 1000 {
			g.each()
		}
		for range min(1000, g.rows-g.n) {
			g.rest = fmt.Appendf(g.rest, "{\"id\":\"item-%d\",\"text\":\"number %d\"}\n", g.n, g.n%(g.rows*9/10))
			g.n++
		}
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// TestLongRowsDoNotFillMemory reads rows so long that a few of them would.
func TestLongRowsDoNotFillMemory(t *testing.T) {
	long := strings.Repeat("x", 16<<20)
	var parts []io.Reader
	for range 12 {
		parts = append(parts, strings.NewReader(`{"text":"`), strings.NewReader(long), strings.NewReader("\"}\n{\"n\":1}\n"))
	}
	all := io.MultiReader(parts...)
	var peak uint64
	n := 0
	m := build(t, Config{URI: "-", Stdin: readerFunc(func(p []byte) (int, error) {
		if n++; n%64 == 0 {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			peak = max(peak, s.HeapAlloc)
		}
		return all.Read(p)
	})})
	if m.Count() != 24 {
		t.Errorf("%d items", m.Count())
	}
	if peak > 320<<20 {
		t.Errorf("the heap reached %d MiB", peak>>20)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRealInputs(t *testing.T) {
	t.Parallel()
	dir := realData()
	for _, c := range []struct {
		name, id string
		rows     int64
	}{{"support_dialogs.jsonl", "ticket_id", 3710}, {"banking77_train.csv", "", 10003}} {
		p := filepath.Join(dir, c.name)
		if _, err := os.Stat(p); err != nil {
			continue // these files stand beside the project, not in it
		}
		m := build(t, Config{URI: p, ID: c.id, RequiredFields: []string{"text"}, KeyFields: []string{"text"}})
		if m.Count() != c.rows {
			t.Errorf("%s: %d items, want %d", c.name, m.Count(), c.rows)
		}
		list := items(t, m)
		if slices.ContainsFunc(list, func(i Item) bool { return len(i.Payload) == 0 }) {
			t.Errorf("%s: an item is empty", c.name)
		}
		if err := m.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// realData is the folder of real inputs, if there is one.
func realData() string {
	if d := os.Getenv("BATCHWRIGHT_TEST_DATA"); d != "" {
		return d
	}
	d, _ := os.Getwd()
	for range 6 {
		d = filepath.Dir(d)
		if p := filepath.Join(d, "shared", "data"); isDir(p) {
			return p
		}
	}
	return ""
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}
