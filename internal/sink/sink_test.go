package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

type fixed struct {
	outcomes []batch.Outcome
	attempts []batch.Attempt
}

func (f fixed) Outcomes(y func(batch.Outcome) error) error { return each(f.outcomes, y) }
func (f fixed) Attempts(y func(batch.Attempt) error) error { return each(f.attempts, y) }

func each[T any](all []T, y func(T) error) error {
	for _, v := range all {
		if err := y(v); err != nil {
			return err
		}
	}
	return nil
}

func sample() fixed {
	u := money.Usage{Input: 120, Output: 8, Cached: 64, Reasoning: 3}
	return fixed{
		outcomes: []batch.Outcome{
			{Ordinal: 0, ID: "a", State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"plain <b>\n text"`), Usage: u, Model: "m-1", Finish: "stop", Epoch: 2, Attempt: 1},
			{Ordinal: 1, ID: "b", State: batch.ItemFailed, Class: batch.ClassRefused, Message: `said "no"`},
			{Ordinal: 2, ID: "c", State: batch.ItemOK, Class: batch.ClassTruncated, Output: json.RawMessage("{\n \"label\": \"x\"\n}"), Usage: u, Model: "m-1", Finish: "length"},
			{Ordinal: 3, ID: "d", State: batch.ItemSkipped, Class: batch.ClassBadItem, Message: "bad line"},
			{Ordinal: 4, ID: "e", State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"again"`), CopyOf: "a", Model: "m-1", Finish: "stop"},
			{Ordinal: 5, ID: "f", State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"kept"`), Cached: true, Model: "m-1", Finish: "stop"},
		},
		attempts: []batch.Attempt{
			{Ordinal: 0, ID: "a", Epoch: 2, N: 1, Class: batch.ClassOK, Status: 200, Usage: u,
				Reserved: money.Amount{Tokens: 900, Pico: 5000}, Charged: money.Amount{Tokens: 128, Pico: 700},
				Model: "m-1", RequestID: "req_1", StartedAt: 1795000000123456, LatencyUS: 812345},
			{Ordinal: 1, ID: "b", N: 2, Class: batch.ClassUnknown, Message: "timeout", Estimated: true,
				Reserved: money.Amount{Tokens: 900, Pico: 5000, Retries: 1}, Charged: money.Amount{Tokens: 900, Pico: 5000, Retries: 1},
				StartedAt: 1795000001000000},
		},
	}
}

func options(formats ...string) Options {
	return Options{Run: "r_0000000000001", Job: "nightly", State: batch.RunPartial, SpecDigest: "sha256:aa", ManifestDigest: "sha256:bb",
		Formats: formats, Documents: []Document{{Name: Summary, Format: "json", Write: func(w io.Writer, rows []Written) error {
			return json.NewEncoder(w).Encode(map[string]any{"outputs": rows})
		}}}}
}

func writeTo(t *testing.T, dir string, r Rows, o Options) []Written {
	t.Helper()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files, err := Write(t.Context(), f, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func TestFilesHoldTheContract(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "out")
	files := writeTo(t, dir, sample(), options("csv", "parquet"))
	got := folder(t, dir)
	want := map[string]string{
		ResultsJSONL: `{"id":"a","output":"plain <b>\n text","usage":{"input_tokens":120,"output_tokens":8,"cached_tokens":64},"model":"m-1","finish_reason":"stop"}
{"id":"c","output":{"label":"x"},"usage":{"input_tokens":120,"output_tokens":8,"cached_tokens":64},"model":"m-1","finish_reason":"length","truncated":true}
{"id":"e","output":"again","usage":{"input_tokens":0,"output_tokens":0,"cached_tokens":0},"model":"m-1","finish_reason":"stop","copy_of":"a"}
{"id":"f","output":"kept","usage":{"input_tokens":0,"output_tokens":0,"cached_tokens":0},"model":"m-1","finish_reason":"stop","cached":true}
`,
		FailedJSONL:  `{"id":"b","class":"refused","message":"said \"no\""}` + "\n",
		SkippedJSONL: `{"id":"d","class":"bad_item","message":"bad line"}` + "\n",
		LedgerJSONL: `{"id":"a","ordinal":0,"shard":0,"epoch":2,"attempt":1,"class":"ok","status":200,"usage":{"input_tokens":120,"output_tokens":8,"cached_tokens":64,"reasoning_tokens":3},"reserved":{"tokens":900,"pico_usd":5000},"charged":{"tokens":128,"pico_usd":700},"model":"m-1","request_id":"req_1","started_at":"2026-11-18T11:06:40.123456Z","latency_us":812345}
{"id":"b","ordinal":1,"shard":0,"epoch":0,"attempt":2,"class":"unknown","message":"timeout","usage":{"input_tokens":0,"output_tokens":0,"cached_tokens":0},"reserved":{"tokens":900,"pico_usd":5000,"retries":1},"charged":{"tokens":900,"pico_usd":5000,"retries":1},"estimated":true,"started_at":"2026-11-18T11:06:41.000000Z","latency_us":0}
`,
		ResultsCSV: "id,output,input_tokens,output_tokens,cached_tokens,model,finish_reason,truncated,copy_of,cached\n" +
			"a,\"plain <b>\n text\",120,8,64,m-1,stop,false,,false\n" +
			"c,\"{\"\"label\"\":\"\"x\"\"}\",120,8,64,m-1,length,true,,false\n" +
			"e,again,0,0,0,m-1,stop,false,a,false\nf,kept,0,0,0,m-1,stop,false,,true\n",
		Success: `{"run_id":"r_0000000000001","state":"partial"}` + "\n",
	}
	for name, w := range want {
		if d := cmp.Diff(w, got[name]); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for _, f := range files {
		sum := sha256.Sum256([]byte(got[f.Name]))
		if f.Bytes != int64(len(got[f.Name])) || f.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: listed as %+v, is %d bytes with another digest", f.Name, f, len(got[f.Name]))
		}
	}
	var m struct {
		Schema string
		RunID  string `json:"run_id"`
		Files  []Written
	}
	if err := json.Unmarshal([]byte(got[Manifest]), &m); err != nil || m.Schema != ManifestSchema || m.RunID != "r_0000000000001" {
		t.Errorf("manifest %s: %v", got[Manifest], err)
	}
	if d := cmp.Diff(files, m.Files); d != "" {
		t.Errorf("manifest lists other files (-returned +listed):\n%s", d)
	}
	if len(got) != len(files)+2 {
		t.Errorf("the folder holds %d files, want %d and %s and %s", len(got), len(files), Manifest, Success)
	}
}

func TestSameOutcomesSameBytes(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	first := sample()
	writeTo(t, a, first, options("csv", "parquet"))
	second := sample() // as after a crash: other epochs and attempts for the same outcomes
	for i := range second.outcomes {
		second.outcomes[i].Epoch += 7
		second.outcomes[i].Attempt += 2
	}
	second.attempts = second.attempts[:1]
	writeTo(t, b, second, options("csv", "parquet"))
	writeTo(t, b, second, options("parquet", "csv", "jsonl"))
	fa, fb := folder(t, a), folder(t, b)
	for _, name := range []string{ResultsJSONL, ResultsCSV, ResultsParquet, FailedJSONL, SkippedJSONL, Success} {
		if fa[name] == "" || fa[name] != fb[name] {
			t.Errorf("%s differs between two writings of the same outcomes", name)
		}
	}
}

func TestParquetKeepsEveryValue(t *testing.T) {
	t.Parallel()
	schema := `{"type":"object","properties":{"label":{"type":"string"},"score":{"type":["number","null"]},"n":{"type":"integer"},
		"sure":{"type":"boolean"},"tags":{"type":"array"},"extra":{"enum":["a","b"]}}}`
	outs := []string{
		`{"label":"x","score":0.5,"n":3,"sure":true,"tags":["a", "b"],"extra":"a"}`,
		`{"label":null,"score":null,"n":9223372036854775807,"sure":false}`,
		`{"label":7,"score":"high","n":1.5,"sure":"yes","more":{"k":1},"zeta":0}`,
		`[1, 2]`,
	}
	var r fixed
	for i, o := range outs {
		r.outcomes = append(r.outcomes, batch.Outcome{Ordinal: batch.Ordinal(i), ID: fmt.Sprint("i", i), State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(o)})
	}
	dir := t.TempDir()
	o := options("parquet", "csv")
	o.Schema, o.RowGroup = []byte(schema), 3
	writeTo(t, dir, r, o)
	b := []byte(folder(t, dir)[ResultsParquet])
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.RowGroups()) != 2 {
		t.Errorf("%d row groups, want 2", len(f.RowGroups()))
	}
	var got []string
	for _, c := range f.Schema().Columns() {
		got = append(got, strings.Join(c, "."))
	}
	want := strings.Fields("id output_label output_score output_n output_sure output_tags output_extra output_extra_2 input_tokens output_tokens cached_tokens model finish_reason truncated copy_of cached")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("columns (-want +got):\n%s", d)
	}
	wantRows := [][]string{
		{"i0", "x", "0.5", "3", "true", `["a","b"]`, "a", "<null>"},
		{"i1", "<null>", "<null>", "9223372036854775807", "false", "<null>", "<null>", "<null>"},
		{"i2", "<null>", "<null>", "<null>", "<null>", "<null>", "<null>", `{"label":7,"more":{"k":1},"n":1.5,"score":"high","sure":"yes","zeta":0}`},
		{"i3", "<null>", "<null>", "<null>", "<null>", "<null>", "<null>", "[1,2]"},
	}
	var rows [][]string
	rd := parquet.NewReader(bytes.NewReader(b))
	buf := make([]parquet.Row, 1)
	for {
		n, err := rd.ReadRows(buf)
		if n == 1 {
			var line []string
			for _, v := range buf[0][:8] {
				line = append(line, v.String())
			}
			rows = append(rows, line)
		}
		if err != nil {
			break
		}
	}
	if d := cmp.Diff(wantRows, rows); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func TestStaleFilesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tempPrefix+"results.jsonl-X.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeTo(t, dir, sample(), options("csv", "parquet"))
	s := sample()
	s.outcomes = s.outcomes[:2]
	writeTo(t, dir, s, options())
	got := folder(t, dir)
	for _, gone := range []string{ResultsCSV, ResultsParquet, SkippedJSONL, tempPrefix + "results.jsonl-X.tmp"} {
		if _, there := got[gone]; there {
			t.Errorf("%s of the earlier writing is still there", gone)
		}
	}
	if got["mine.txt"] != "keep" {
		t.Error("a file that is not ours was touched")
	}
}

// lossy is a disk that gives back less than it took.
type lossy struct{ *Folder }

func (l lossy) Create(ctx context.Context, name string) (File, error) {
	f, err := l.Folder.Create(ctx, name)
	return lossyFile{f}, err
}

type lossyFile struct{ File }

func (l lossyFile) ReadBack(read func(io.ReaderAt, int64) error) error {
	return l.File.ReadBack(func(r io.ReaderAt, size int64) error { return read(r, size-1) })
}

func TestWhatIsNotThereIsNotPublished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Write(t.Context(), lossy{f}, sample(), options("parquet")); batch.KindOf(err) != batch.Internal {
		t.Errorf("a file that lost a byte: %v", err)
	}
	if got := folder(t, dir); len(got) != 0 {
		t.Errorf("%d files were published", len(got))
	}
	var b bytes.Buffer
	enc, err := newParquet(&b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(enc.outcome(&sample().outcomes[0]), enc.finish()); err != nil {
		t.Fatal(err)
	}
	size := int64(b.Len())
	for rows, want := range map[int64]bool{0: false, 1: true, 2: false} {
		if err := enc.verify(bytes.NewReader(b.Bytes()), size, rows); (err == nil) != want {
			t.Errorf("one row read back as %d: %v", rows, err)
		}
	}
	if err := enc.verify(bytes.NewReader(b.Bytes()), size-3, 1); err == nil {
		t.Error("a cut Parquet file was taken")
	}
}

// faulty fails from the nth operation on, as a full disk or a killed process
// would: a kill also keeps the half-written files.
type faulty struct {
	*Folder
	left int
	kill bool
}

var errFault = errors.New("no space left on device")

func (f *faulty) step() error {
	if f.left--; f.left < 0 {
		return errFault
	}
	return nil
}

func (f *faulty) Create(ctx context.Context, name string) (File, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	in, err := f.Folder.Create(ctx, name)
	return &faultyFile{in, f}, err
}

func (f *faulty) Remove(ctx context.Context, name string) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Folder.Remove(ctx, name)
}

type faultyFile struct {
	File
	f *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.f.step(); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Commit() error {
	if err := f.f.step(); err != nil {
		return err
	}
	return f.File.Commit()
}

func (f *faultyFile) Abort() error {
	if f.f.kill && f.f.left < 0 {
		return nil
	}
	return f.File.Abort()
}

func TestStoppedAnywhereNothingTorn(t *testing.T) {
	t.Parallel()
	old, next := sample(), sample()
	next.outcomes[0].Output = json.RawMessage(`"changed"`)
	ref := t.TempDir()
	writeTo(t, ref, old, options("csv", "parquet"))
	oldFiles := folder(t, ref)
	writeTo(t, ref, next, options("csv", "parquet"))
	newFiles := folder(t, ref)
	for _, kill := range []bool{false, true} {
		whole := false
		for n := 0; !whole; n++ {
			if n > 200 {
				t.Fatal("never finished")
			}
			dir := t.TempDir()
			writeTo(t, dir, old, options("csv", "parquet"))
			in, err := OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Write(t.Context(), &faulty{in, n, kill}, next, options("csv", "parquet"))
			in.Close()
			whole = err == nil
			got := folder(t, dir)
			if n > 0 && whole != (got[Success] != "") {
				t.Errorf("stopped at %d (%v): _SUCCESS there: %v", n, err, !whole)
			}
			if err != nil && (!errors.Is(err, errFault) || batch.HintOf(err) == "") {
				t.Errorf("stopped at %d: error %v without cause or hint", n, err)
			}
			for name, b := range got {
				if strings.HasPrefix(name, tempPrefix) {
					if !kill {
						t.Errorf("stopped at %d: %s left behind", n, name)
					}
					continue
				}
				if b != oldFiles[name] && b != newFiles[name] {
					t.Errorf("stopped at %d: %s is torn", n, name)
				}
			}
			if n%4 != 0 {
				continue
			}
			writeTo(t, dir, next, options("csv", "parquet")) // and the retry heals it
			if d := cmp.Diff(newFiles, folder(t, dir)); d != "" {
				t.Errorf("stopped at %d, then retried (-want +got):\n%s", n, d)
			}
		}
	}
}
