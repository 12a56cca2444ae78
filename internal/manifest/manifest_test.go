package manifest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/format"
)

// write puts a file into a new folder and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// build builds a manifest that must come out well.
func build(t testing.TB, cfg Config) *Manifest {
	t.Helper()
	m, _, err := Build(t.Context(), cfg, filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func buildError(t testing.TB, cfg Config) error {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	m, _, err := Build(t.Context(), cfg, dir)
	if err == nil {
		_ = m.Close()
		t.Fatal("built")
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 0 {
		t.Errorf("left %v", left)
	}
	return err
}

func items(t testing.TB, m *Manifest) []Item {
	t.Helper()
	list, err := m.Items(context.Background(), 0, int(m.Count()))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBuildReadsJSONLinesInPlace(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", "\xef\xbb\xbf{\"id\":\"a\",\"text\":\"x\"}\r\n\n  {\"id\":2,\"text\":\"y\"} \n{\"id\":\"c\",\"text\":\"x\",\"token_budget\":70}")
	m := build(t, Config{URI: p, ID: "id", KeyFields: []string{"text"}, TokenBudgetField: "token_budget"})
	got := items(t, m)
	if len(got) != 3 {
		t.Fatalf("%d items", len(got))
	}
	for i, want := range []struct {
		id, payload string
		line        int64
		leader      batch.Ordinal
		leads       bool
		budget      int64
	}{
		{"a", `{"id":"a","text":"x"}`, 1, NoLeader, true, NoBudget},
		{"2", `{"id":2,"text":"y"}`, 3, NoLeader, false, NoBudget},
		{"c", `{"id":"c","text":"x","token_budget":70}`, 4, 0, false, 70},
	} {
		g := got[i]
		if g.ID != want.id || string(g.Payload) != want.payload || g.Line != want.line || g.Leader != want.leader ||
			g.Leads != want.leads || g.TokenBudget != want.budget || g.Ordinal != batch.Ordinal(i) || g.Bad != "" ||
			g.Entry.Payload != sha256.Sum256([]byte(want.payload)) || g.Size != int64(len(want.payload)) {
			t.Errorf("item %d: %+v %s", i, g.Entry, g.Payload)
		}
		o, ok, err := m.Lookup(want.id)
		if err != nil || !ok || o != g.Ordinal {
			t.Errorf("Lookup(%q) = %d %v %v", want.id, o, ok, err)
		}
	}
	if _, ok, err := m.Lookup("nobody"); ok || err != nil {
		t.Errorf("found nobody: %v", err)
	}
	h := m.Header()
	if !h.Sources[0].InPlace || h.Counts.Followers != 1 || h.Counts.Leaders != 1 || h.Counts.Budgeted != 1 || h.Sources[0].Rows != 3 {
		t.Errorf("%+v", h)
	}
	if raw, _ := os.ReadFile(p); h.Sources[0].SHA256 != fmt.Sprintf("%x", sha256.Sum256(raw)) {
		t.Error("the source's hash is not that of the file")
	}
}

func TestBuildReadsCSVInPlace(t *testing.T) {
	t.Parallel()
	p := write(t, "in.csv", "text,category\r\n\"two\nlines, \"\"quoted\"\"\",a\r\nplain,b\r\nplain,b\r\n")
	m := build(t, Config{URI: p})
	got := items(t, m)
	want := []string{`{"text":"two\nlines, \"quoted\"","category":"a"}`, `{"text":"plain","category":"b"}`, `{"text":"plain","category":"b"}`}
	for i, w := range want {
		if string(got[i].Payload) != w {
			t.Errorf("item %d: %s", i, got[i].Payload)
		}
	}
	sum := sha256.Sum256([]byte(want[1]))
	base := fmt.Sprintf("%x", sum[:8])
	if got[1].ID != base || got[2].ID != base+"-2" || got[2].Line != 5 {
		t.Errorf("ids %s %s line %d", got[1].ID, got[2].ID, got[2].Line)
	}
	for _, g := range got {
		if o, ok, err := m.Lookup(g.ID); !ok || o != g.Ordinal || err != nil {
			t.Errorf("Lookup(%s) = %d %v %v", g.ID, o, ok, err)
		}
	}
	if n := m.Header().Counts.Duplicates; n != 1 {
		t.Errorf("%d duplicates", n)
	}
}

func TestBuildNamesBadRows(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", "{\"id\":\"a\"}\n{\"id\":\"b\",}\n{\"id\":\"a\"}\n[1]\n{\"x\":1}\n")
	err := buildError(t, Config{URI: p, Dir: filepath.Dir(p), ID: "id"})
	for _, want := range []string{"in.jsonl:2:11: a comma must not", "in.jsonl:4:1: the row is not a JSON object", `in.jsonl:5: the field "id" is missing`,
		`in.jsonl:3: id "a": the id is already that of in.jsonl:1`, "4 bad rows"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
	if batch.KindOf(err) != batch.Invalid {
		t.Errorf("kind %s", batch.KindOf(err))
	}
	m := build(t, Config{URI: p, ID: "id", Quarantine: true})
	got := items(t, m)
	for i, want := range []string{"a", "bad-1", "a#duplicate-2", "bad-3", "bad-4"} {
		if got[i].ID != want || (got[i].Bad != "") != (i > 0) || (got[i].Payload != nil) != (i == 0) {
			t.Errorf("item %d: %+v", i, got[i])
		}
	}
	if n := m.Header().Counts.Bad; n != 4 {
		t.Errorf("%d bad", n)
	}
}

func BenchmarkBuildJSONL(b *testing.B) {
	body := strings.Repeat("Customer: could you tell me where my order is?\\nAgent: I will look for it at once. ", 21)
	var s strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&s, "{\"ticket_id\":\"T-%07d\",\"scenario\":\"order %d\",\"text\":\"%s\"}\n", i, i%97, body)
	}
	p := write(b, "in.jsonl", s.String())
	b.SetBytes(int64(s.Len()))
	for b.Loop() {
		b.StopTimer()
		dir := filepath.Join(b.TempDir(), "m")
		b.StartTimer()
		m, _, err := Build(b.Context(), Config{URI: p, ID: "ticket_id", KeyFields: []string{"text", "scenario"}, RequiredFields: []string{"text"}}, dir)
		if err != nil {
			b.Fatal(err)
		}
		_ = m.Close()
	}
}

// BenchmarkBuildManySmallRows reports the most memory that a build of a million
// short rows holds.
func BenchmarkBuildManySmallRows(b *testing.B) {
	const rows = 1_000_000
	var peak uint64
	for b.Loop() {
		in := &generator{rows: rows, each: func() {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			peak = max(peak, s.HeapInuse)
		}}
		m, _, err := Build(b.Context(), Config{URI: "-", ID: "id", KeyFields: []string{"text"}, Stdin: in}, filepath.Join(b.TempDir(), "m"))
		if err != nil {
			b.Fatal(err)
		}
		_ = m.Close()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-heap-MiB")
}

func TestBatchFilesAreWholeLines(t *testing.T) {
	t.Parallel()
	line := func(id, text string) string {
		return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":%q}]}}`, id, text)
	}
	p := write(t, "in.jsonl", line("a", "x")+"\n"+line("b", "y")+"\n"+line("c", "x")+"\n")
	m := build(t, Config{URI: p, KeyFields: []string{"url", "body"}})
	if m.Header().Format != "openai_batch" {
		t.Errorf("format %s", m.Header().Format)
	}
	for i, it := range items(t, m) {
		want := []string{"a", "b", "c"}[i]
		l, err := format.ParseBatchLine(it.Payload)
		if err != nil || it.ID != want || l.CustomID != want || l.URL != "/v1/chat/completions" || !strings.HasPrefix(string(l.Body), `{"model":"m"`) {
			t.Errorf("item %d: %+v %v", i, l, err)
		}
		if (it.Leader == 0) != (i == 2) || it.Leads != (i == 0) {
			t.Errorf("item %d: %+v", i, it.Entry)
		}
	}
	if _, err := format.ParseBatchLine([]byte(`{"custom_id":"a"}`)); batch.KindOf(err) != batch.Invalid {
		t.Error(err)
	}
}

// TestBadRowsLeaveTheOthersAlone quarantines rows of every kind between good ones.
func TestBadRowsLeaveTheOthersAlone(t *testing.T) {
	t.Parallel()
	p := write(t, "in.csv", "id,text,token_budget\na,x,\nb,x,12\nc\nd,x,many\na,x,\n,x,\ne,\"x\"y,\nf,x,7\n")
	m, report, err := Build(t.Context(), Config{URI: p, ID: "id", Quarantine: true, TokenBudgetField: "token_budget", KeyFields: []string{"text"}}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	want := []struct {
		id     string
		bad    string
		budget int64
		leader batch.Ordinal
	}{{"a", "", NoBudget, NoLeader}, {"b", "", 12, 0}, {"bad-2", "1 fields, but there are 3 columns", NoBudget, NoLeader},
		{"d", `the field "token_budget" must be`, NoBudget, NoLeader}, {"a#duplicate-2", "the id is already that of", NoBudget, NoLeader},
		{"bad-5", `the field "id" is empty`, NoBudget, NoLeader}, {"bad-6", "something follows the closing quote", NoBudget, NoLeader}, {"f", "", 7, 0}}
	for i, it := range items(t, m) {
		w := want[i]
		if it.ID != w.id || !strings.HasPrefix(it.Bad, w.bad) || (it.Bad == "") != (w.bad == "") || it.TokenBudget != w.budget || it.Leader != w.leader ||
			(it.Payload == nil) != (w.bad != "") {
			t.Errorf("item %d: %+v %s", i, it.Entry, it.Payload)
		}
		if o, ok, err := m.Lookup(w.id); !ok || err != nil || o != it.Ordinal {
			t.Errorf("Lookup(%s) = %d %v %v", w.id, o, ok, err)
		}
	}
	if c := m.Header().Counts; report.Bad != 5 || c.Bad != 5 || c.Followers != 2 || c.Leaders != 1 || len(report.Examples) != 5 {
		t.Errorf("%d bad, counts %+v", report.Bad, c)
	}
	if err := m.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
