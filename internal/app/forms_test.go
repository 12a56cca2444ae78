package app_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	bloball "github.com/batchwright/batchwright/internal/blob/all"
)

type row struct {
	ID   string `json:"id" parquet:"id"`
	Text string `json:"text" parquet:"text"`
}

func table(n int) []row {
	rs := make([]row, n)
	for i := range rs {
		rs[i] = row{fmt.Sprintf("i%d", i), fmt.Sprintf("ticket %d, \"quoted\"\nand ünïcode", i)}
	}
	return rs
}

func asJSONL(rs []row) string {
	var b bytes.Buffer
	for _, r := range rs {
		text, _ := json.Marshal(r)
		b.Write(append(text, '\n'))
	}
	return b.String()
}

func asCSV(rs []row) string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"id", "text"})
	for _, r := range rs {
		_ = w.Write([]string{r.ID, r.Text})
	}
	w.Flush()
	return b.String()
}

func asParquet(t *testing.T, rs []row) string {
	var b bytes.Buffer
	if err := parquet.Write(&b, rs); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zipped(t *testing.T, text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestEveryFormOfInputGivesTheSameResults runs the same rows in every form that
// can hold them: the requests are the same, so the outputs are, byte by byte.
func TestEveryFormOfInputGivesTheSameResults(t *testing.T) {
	t.Parallel()
	const n = 45
	rs := table(n)
	whole, _ := json.Marshal(rs)
	forms := []struct {
		name, uri string
		files     map[string]string
	}{
		{"csv", "in.csv", map[string]string{"in.csv": asCSV(rs)}},
		{"json", "in.json", map[string]string{"in.json": string(whole)}},
		{"parquet", "in.parquet", map[string]string{"in.parquet": asParquet(t, rs)}},
		{"gzip", "in.jsonl.gz", map[string]string{"in.jsonl.gz": zipped(t, asJSONL(rs))}},
		{"csv gzip", "in.csv.gz", map[string]string{"in.csv.gz": zipped(t, asCSV(rs))}},
		{"folder", "many", map[string]string{"many/a.jsonl": asJSONL(rs[:20]), "many/b.jsonl": asJSONL(rs[20:])}},
		{"glob of forms", "many/*", map[string]string{"many/a.jsonl": asJSONL(rs[:20]), "many/b.csv": asCSV(rs[20:40]), "many/c.jsonl.gz": zipped(t, asJSONL(rs[40:]))}},
		{"stdin", "-", nil},
	}
	b := newBench(t, "")
	b.write("in.jsonl", asJSONL(rs))
	b.runTo(batch.RunSucceeded, usual(""))
	want := b.outputs("out")
	if got := ids(b.lines(want["results.jsonl"])); len(got) != n || got[0] != "i0" || got[n-1] != "i44" {
		t.Fatalf("results are of %v", got)
	}
	b.close()
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, "")
			for name, text := range f.files {
				b.write(name, text)
			}
			b.open(b.data, asJSONL(rs))
			format := ""
			if f.uri == "-" {
				format = ", format: jsonl"
			}
			s := b.runTo(batch.RunSucceeded, strings.Replace(usual(""), "uri: in.jsonl", fmt.Sprintf("uri: %q%s", f.uri, format), 1))
			b.same(f.name, b.outputs("out"), want)
			if tot := b.sim.Totals(); tot.BilledCalls != n || s.Items.OK != n {
				t.Errorf("%d calls for %d items", tot.BilledCalls, s.Items.OK)
			}
		})
	}
}

// TestOpenAIBatchFilesRunAsTheyAre: every line is a whole request with an id.
func TestOpenAIBatchFilesRunAsTheyAre(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var in strings.Builder
	for i := range 12 {
		fmt.Fprintf(&in, `{"custom_id":"c%d","method":"POST","url":"/v1/chat/completions","body":{"model":"sim-1","max_tokens":32,"messages":[{"role":"user","content":"hello %d"}]}}`+"\n", i, i)
	}
	b.write("in.jsonl", in.String())
	s := b.runTo(batch.RunSucceeded, `job: {id: raw, batch_size: 5}
input: {uri: in.jsonl, format: openai_batch}
output: {uri: out}
task: {provider: openai_compatible, base_url: URL}
`)
	if got := ids(b.lines(b.read("out/results.jsonl"))); s.Items.OK != 12 || got[0] != "c0" || got[11] != "c11" {
		t.Errorf("%+v: %v", s.Items, got)
	}
}

// TestOutputsAgreeWithEachOtherAndTheirManifest reads every output back.
func TestOutputsAgreeWithEachOtherAndTheirManifest(t *testing.T) {
	t.Parallel()
	b := newBench(t, "poison=ticket 7 has")
	b.write("in.jsonl", items(40))
	s := b.runTo(batch.RunPartial, usual(""))
	results := b.lines(b.read("out/results.jsonl"))
	failed := b.lines(b.read("out/failed.jsonl"))
	if len(results) != 39 || len(failed) != 1 || failed[0].text("class") != "invalid_request" || failed[0].text("id") != "i7" {
		t.Fatalf("%d results, failed: %v", len(results), failed)
	}
	cells, err := csv.NewReader(strings.NewReader(b.read("out/results.csv"))).ReadAll()
	if err != nil || len(cells) != 40 {
		t.Fatalf("csv: %d records, %v", len(cells), err)
	}
	col := slices.Index(cells[0], "output")
	pq := b.read("out/results.parquet")
	f, err := parquet.OpenFile(strings.NewReader(pq), int64(len(pq)))
	if err != nil || f.NumRows() != 39 {
		t.Fatalf("parquet: %v", err)
	}
	for i, r := range results {
		if cells[i+1][slices.Index(cells[0], "id")] != r.text("id") || cells[i+1][col] != r.text("output") || r.text("output") == "" {
			t.Fatalf("row %d: csv has %v, jsonl %s", i, cells[i+1], r)
		}
	}
	b.whole("out", s)
	var sum struct {
		RunID string                   `json:"run_id"`
		State string                   `json:"state"`
		Items struct{ OK, Failed int } `json:"items"`
	}
	if err := json.Unmarshal([]byte(b.read("out/summary.json")), &sum); err != nil || sum.RunID != string(s.RunID) || sum.Items.OK != 39 || sum.State != "partial" {
		t.Errorf("summary: %+v %v", sum, err)
	}
	if page := b.read("out/report.html"); !strings.Contains(page, string(s.RunID)) || strings.Contains(page, "has not come") {
		t.Error("the report does not name its run, or shows an input")
	}
	if ledger := b.lines(b.read("out/ledger.jsonl")); len(ledger) != 40 {
		t.Errorf("%d attempts in the ledger", len(ledger))
	}
}

// whole checks a folder of outputs against its own list of checksums.
func (b *bench) whole(dir string, s app.Status) {
	b.t.Helper()
	var m struct {
		RunID string `json:"run_id"`
		State string `json:"state"`
		Files []struct {
			Name   string `json:"name"`
			Bytes  int    `json:"bytes"`
			SHA256 string `json:"sha256"`
		} `json:"files"`
	}
	if err := json.Unmarshal([]byte(b.read(filepath.Join(dir, "_manifest.json"))), &m); err != nil {
		b.t.Fatal(err)
	}
	if m.RunID != string(s.RunID) || m.State != string(s.State) || len(m.Files) < 4 {
		b.t.Errorf("_manifest.json is of %s in state %s with %d files", m.RunID, m.State, len(m.Files))
	}
	for _, f := range m.Files {
		text := b.read(filepath.Join(dir, f.Name))
		if sum := sha256.Sum256([]byte(text)); len(text) != f.Bytes || hex.EncodeToString(sum[:]) != f.SHA256 {
			b.t.Errorf("%s is not what _manifest.json says", f.Name)
		}
	}
	if mark := b.read(filepath.Join(dir, "_SUCCESS")); !strings.Contains(mark, string(s.RunID)) {
		b.t.Errorf("_SUCCESS says %s", mark)
	}
}

// s3 starts an S3 server in this process with one bucket, and returns how a key
// in it is named.
func s3(t *testing.T) func(key string) string {
	backend := s3mem.New()
	if err := backend.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(s.Close)
	return func(key string) string {
		return fmt.Sprintf("s3://b/%s?endpoint=%s&use_path_style=true", key, url.QueryEscape(s.URL))
	}
}

// TestBucketsGiveWhatFoldersGive: the input from S3 and the outputs to S3 are
// byte-identical to a run from disk to disk.
func TestBucketsGiveWhatFoldersGive(t *testing.T) {
	t.Parallel()
	b := newBench(t, "poison=ticket 3 has")
	at := s3(t)
	reg := bloball.Registry()
	put := func(uri, text string) {
		bucket, key, err := reg.Open(t.Context(), uri)
		if err == nil {
			err = bucket.Put(t.Context(), key, strings.NewReader(text), blob.PutOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := bucket.Close(); err != nil {
			t.Fatal(err)
		}
	}
	get := func(uri string) string {
		bucket, key, err := reg.Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		defer bucket.Close() //nolint:errcheck // read only
		rc, err := bucket.OpenRange(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		defer rc.Close() //nolint:errcheck // read only
		var buf bytes.Buffer
		if _, err := buf.ReadFrom(rc); err != nil {
			t.Fatal(err)
		}
		return buf.String()
	}
	b.write("in.jsonl", items(60))
	b.runTo(batch.RunPartial, usual(""))
	want := b.outputs("out")
	put(at("day/1.jsonl"), items(60))
	s := b.runTo(batch.RunPartial, fmt.Sprintf("job: {id: cloud, batch_size: 10}\ninput: {uri: %q, id: id}\noutput: {uri: %q, format: [jsonl, csv, parquet]}\n",
		at("day/1.jsonl"), at("out/{run_id}")))
	for f, text := range want {
		if got := get(at("out/" + string(s.RunID) + "/" + f)); got != text {
			t.Errorf("%s in the bucket differs", f)
		}
	}
	if mark := get(at("out/" + string(s.RunID) + "/_SUCCESS")); !strings.Contains(mark, string(s.RunID)) {
		t.Errorf("_SUCCESS: %s", mark)
	}
	// A report of the run later finds its outputs where they went.
	rep, err := b.app().Report(t.Context(), string(s.RunID))
	if err != nil || len(rep.Outputs) < 4 {
		t.Errorf("the report knows %d outputs: %v", len(rep.Outputs), err)
	}
	// An object that was written again is another input.
	b.knobs("latency=30ms")
	text := fmt.Sprintf("job: {id: cloud2, batch_size: 10}\ninput: {uri: %q, id: id}\noutput: {uri: %q}\npacing: {concurrency: 2}\n", at("day/1.jsonl"), at("out2"))
	st := b.start(text, app.StartRequest{})
	b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 0 })
	if _, err := b.app().Pause(t.Context(), string(st.Run), "test"); err != nil {
		t.Fatal(err)
	}
	put(at("day/1.jsonl"), items(61))
	_, err = b.app().Resume(t.Context(), string(st.Run), app.Raise{})
	b.refused(err, batch.Conflict, "input changed", "--new")
}
