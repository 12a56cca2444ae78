package format

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
)

// rowsOf reads a stream to its end; bad rows become "line:col message".
func rowsOf(r Reader, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	var got []string
	for row, err := range Rows(r) {
		if err != nil {
			return got, err
		}
		if row.Err != nil {
			got = append(got, row.Err.Error())
			continue
		}
		got = append(got, string(row.Payload))
	}
	return got, nil
}

func read(text string, o Options) ([]string, error) {
	return rowsOf(NewReader(strings.NewReader(text), o))
}

type person struct {
	Name string `json:"name" parquet:"name"`
	City string `json:"city" parquet:"city"`
}

var people = []person{{"Ada", "London"}, {"Émile \"Z\"", "two\nlines"}, {"", "tab\t, comma; \\ end"}, {"世界", "\u0001"}}

// encoders write the same rows in every format.
var encoders = map[Kind]func([]person) []byte{
	JSONL: func(rows []person) []byte {
		var b []byte
		for _, p := range rows {
			b = append(b, fmt.Sprintf("{\"name\":%s,\"city\":%s}\r\n", quote(p.Name), quote(p.City))...)
		}
		return b
	},
	JSON: func(rows []person) []byte {
		b := []byte("\n[ ")
		for i, p := range rows {
			if i > 0 {
				b = append(b, " ,\n"...)
			}
			b = append(b, fmt.Sprintf("  {\n \"name\" : %s,\n \"city\":%s }", quote(p.Name), quote(p.City))...)
		}
		return append(b, "\n]\n"...)
	},
	CSV: func(rows []person) []byte {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		_ = w.Write([]string{"name", "city"})
		for _, p := range rows {
			_ = w.Write([]string{p.Name, p.City})
		}
		w.Flush()
		return b.Bytes()
	},
	Parquet: func(rows []person) []byte {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[person](&b)
		_, _ = w.Write(rows)
		_ = w.Close()
		return b.Bytes()
	},
}

func quote(s string) string { return string(appendString(nil, s)) }

func pack(t *testing.T, how string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zstd":
		w, _ = zstd.NewWriter(&out)
	default:
		return b
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEveryFormatAndCompressionGivesTheSameRows(t *testing.T) {
	t.Parallel()
	var want []string
	for _, p := range people {
		want = append(want, fmt.Sprintf(`{"name":%s,"city":%s}`, quote(p.Name), quote(p.City)))
	}
	for kind, encode := range encoders {
		for _, how := range []string{"", "gzip", "zstd"} {
			plain, err := Decompress(iotest.OneByteReader(bytes.NewReader(pack(t, how, encode(people)))), "in", 0)
			if err != nil {
				t.Fatal(err)
			}
			if plain.Compression != how {
				t.Errorf("compression %q, want %q", plain.Compression, how)
			}
			head, _ := plain.Peek(HeadSize)
			name := "in." + string(kind)
			if got, err := Detect(name, head); got != kind {
				t.Errorf("Detect(%s) = %s %v", name, got, err)
			}
			var got []string
			if kind == Parquet {
				raw, _ := io.ReadAll(plain)
				got, err = rowsOf(NewParquet(bytes.NewReader(raw), int64(len(raw)), Options{Name: name}))
			} else {
				got, err = rowsOf(NewReader(plain, Options{Name: name, Kind: kind}))
			}
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s %s: %v\n%s", kind, how, err, diff)
			}
			plain.Close()
		}
	}
}

// TestPlacesFindTheRows reads every row again from its place in the stream.
func TestPlacesFindTheRows(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{JSONL, CSV} {
		text := append([]byte("\xef\xbb\xbf"), encoders[kind](people)...)
		r, err := NewReader(bytes.NewReader(text), Options{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range Rows(r) {
			if err != nil {
				t.Fatal(err)
			}
			again, err := r.Layout().Again().Payload(nil, text[row.Offset:row.Offset+row.Length])
			if err != nil || !bytes.Equal(again, row.Payload) {
				t.Errorf("%s: %q is not %q (%v)", kind, again, row.Payload, err)
			}
			if line := 1 + bytes.Count(text[:row.Offset], []byte{'\n'}); int64(line) != row.Line {
				t.Errorf("%s: line %d, want %d", kind, row.Line, line)
			}
		}
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	t.Parallel()
	no, yes := false, true
	for _, c := range []struct {
		name, in string
		o        Options
		rows     []string // in order; of a bad row a part of its error
		err      string
	}{
		{"jsonl", "{\"a\":1}\n\n{\"a\":é}\n  {\"a\":\"é\" x}\n\"s\"", Options{Kind: JSONL},
			[]string{`{"a":1}`, "3:6: not a JSON value", "4:12: a comma", "5:1: the row is not a JSON object"}, ""},
		{"nul", "{\"a\":\"\x00\"}\n", Options{Kind: JSONL}, []string{"1:7: a control character"}, ""},
		{"surrogate", `{"a":"\ud800"}`, Options{Kind: JSONL}, []string{"1:7: half of a surrogate pair"}, ""},
		{"latin1", "{\"a\":\"caf\xe9\"}\n{}", Options{Kind: JSONL}, []string{"1:10: not valid UTF-8", "{}"}, ""},
		{"deep", strings.Repeat("[", 10_000), Options{Kind: JSONL}, []string{"1:513: nested too deep"}, ""},
		{"long", "{}\n{\"a\":\"" + strings.Repeat("x", 2<<20) + "\"}\n{\"b\":1}\n", Options{Kind: JSONL, MaxRow: 1 << 20},
			[]string{"{}", "2:0: the row is longer than 1048576 bytes", `{"b":1}`}, ""},
		{"longlast", "{\"a\":\"" + strings.Repeat("x", 2<<20), Options{Kind: JSONL, MaxRow: 1 << 20}, []string{"1:0: the row is longer"}, ""},
		{"pretty", "{\n \"a\": 1\n}", Options{Kind: JSONL}, []string{"1:2: the JSON value ends", "2:5: there is something", "3:1: not a JSON value"}, ""},
		{"utf16", "\xff\xfe{\x00}\x00", Options{Kind: JSONL, Name: "f"}, nil, "f:1:1: read input: the file is UTF-16"},
		{"ragged", "a,b\n1,2\n1\n1,2,3\n3,4\n", Options{Kind: CSV}, []string{`{"a":"1","b":"2"}`, "3:0: 1 fields", "4:0: 3 fields", `{"a":"3","b":"4"}`}, ""},
		{"bare", "a,b\n5\" x,2\n3,4\n", Options{Kind: CSV}, []string{"2:2: a quote stands inside", `{"a":"3","b":"4"}`}, ""},
		{"after", "a,b\n\"x\ny\"z,2\n3,4\n", Options{Kind: CSV}, []string{"3:3: something follows", `{"a":"3","b":"4"}`}, ""},
		{"open", "a,b\n1,2\n\"x\",\"y\n1,2\n", Options{Kind: CSV, Name: "f"}, nil, "f:3:5: a quoted field is never closed"},
		{"csvutf8", "a\nok\ncaf\xe9\n", Options{Kind: CSV}, []string{`{"a":"ok"}`, "3:4: not valid UTF-8"}, ""},
		{"twice", "a,a\n1,2\n", Options{Kind: CSV, Name: "f"}, nil, `f:1: two columns are named "a"`},
		{"noname", ",a\n1,2\n", Options{Kind: CSV}, []string{`{"column_1":"1","a":"2"}`}, ""},
		{"fields", "1;2\n", Options{Kind: CSV, Delimiter: ";", Columns: []string{"x", "y"}}, []string{`{"x":"1","y":"2"}`}, ""},
		{"override", "a\tb\n1\t2\n", Options{Kind: CSV, Delimiter: "tab", Columns: []string{"x", "y"}, Header: &yes}, []string{`{"x":"1","y":"2"}`}, ""},
		{"nocolumns", "1,2\n", Options{Kind: CSV, Header: &no}, []string{"1:0: the columns have no names"}, ""},
		{"wide", "a→b\n\"1→\"→2\n", Options{Kind: CSV, Delimiter: "→"}, []string{`{"a":"1→","b":"2"}`}, ""},
		{"delimiter", "a\n", Options{Kind: CSV, Delimiter: "ab", Name: "f"}, nil, "not one character"},
		{"array", "[\n {\"a\":1},\n {\"a\":é}]", Options{Kind: JSON, Name: "f"}, nil, "f:3:7: not a JSON value"},
		{"arraytail", `[{"a":1},]`, Options{Kind: JSON, Name: "f"}, nil, "f:1:10: a comma must not"},
		{"arrayend", "[{\"a\":1},\n{\"b\":", Options{Kind: JSON, Name: "f"}, nil, "f:2:1: the JSON value ends too early"},
		{"arrayafter", `[{"a":1}] x`, Options{Kind: JSON, Name: "f"}, nil, "f:1:11: there is something after"},
		{"arrayscalar", `[{"a":1}, 2]`, Options{Kind: JSON, Name: "f"}, nil, "f:1:11: an element of the array is not an object"},
		{"arraycomma", `[{"a":1} {"a":1}]`, Options{Kind: JSON, Name: "f"}, nil, "f:1:10: a comma or ] must follow"},
		{"object", `{"a":1}`, Options{Kind: JSON, Name: "f"}, nil, "f:1:1: the JSON does not begin with an array"},
		{"arrayempty", ` [ ] `, Options{Kind: JSON}, nil, ""},
		{"arraynothing", ``, Options{Kind: JSON, Name: "f"}, nil, "f:1:1: the JSON value ends too early"},
		{"batch", `{"custom_id":"a","method":"POST","url":"/v1/responses","body":{}}` + "\n" + `{"custom_id":"","url":"/v1/responses","body":{}}` + "\n" +
			`{"custom_id":"b","url":"/v2","body":{}}` + "\n" + `{"custom_id":"b","method":"GET","url":"/v1/responses","body":{}}` + "\n" + `{"custom_id":"b","url":"/v1/responses","body":[]}`,
			Options{Kind: OpenAIBatch}, []string{`{"custom_id":"a"`, "2:14: custom_id must be", "3:24: url ", "4:27: method must be", "5:47: body must be"}, ""},
		{"kind", "", Options{Kind: "xml"}, nil, `unknown format "xml"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := read(c.in, c.o)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if err != nil {
				if batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
					t.Errorf("kind %s, hint %q", batch.KindOf(err), batch.HintOf(err))
				}
				return
			}
			if len(got) != len(c.rows) {
				t.Fatalf("rows %q", got)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.rows[i]) {
					t.Errorf("row %d is %.200q, want %q", i, got[i], c.rows[i])
				}
			}
		})
	}
}

func TestParquetKeepsTypesAndNesting(t *testing.T) {
	t.Parallel()
	type inner struct {
		Role string   `parquet:"role"`
		Tags []string `parquet:"tags,list"`
	}
	type row struct {
		Z     int64             `parquet:"z"`
		Big   int64             `parquet:"big"`
		U     uint64            `parquet:"u"`
		F     float64           `parquet:"f"`
		Opt   *string           `parquet:"opt,optional"`
		When  time.Time         `parquet:"when,timestamp(microsecond)"`
		Day   int32             `parquet:"day,date"`
		Price int64             `parquet:"price,decimal(2:18)"`
		ID    [16]byte          `parquet:"id,uuid"`
		Turns []inner           `parquet:"turns,list"`
		Plain []int32           `parquet:"plain"`
		Attrs map[string]string `parquet:"attrs"`
		Sub   inner             `parquet:"sub"`
		Raw   []byte            `parquet:"raw"`
		Bool  bool              `parquet:"bool"`
	}
	text := "x"
	rows := []row{{Z: 1, Big: 9007199254740993, U: 18446744073709551615, F: 0.1, When: time.Date(2026, 11, 23, 1, 2, 3, 450000000, time.UTC),
		Day: 20780, Price: -5, ID: [16]byte{0: 0xab, 15: 1}, Raw: []byte{0xff}, Bool: true,
		Turns: []inner{{"user", []string{"a", "b"}}, {"agent", nil}}, Plain: []int32{1, 2}, Attrs: map[string]string{"k": "v"}, Sub: inner{Role: "r"}},
		{Opt: &text, Price: 123456, F: 1e300, When: time.Unix(0, 0)}}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := rowsOf(NewParquet(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Name: "f"}))
	want := []string{
		`{"z":1,"big":9007199254740993,"u":18446744073709551615,"f":0.1,"opt":null,"when":"2026-11-23T01:02:03.45Z","day":"2026-11-23","price":-0.05,"id":"ab000000-0000-0000-0000-000000000001","turns":[{"role":"user","tags":["a","b"]},{"role":"agent","tags":[]}],"plain":[1,2],"attrs":{"k":"v"},"sub":{"role":"r","tags":[]},"raw":"/w==","bool":true}`,
		`{"z":0,"big":0,"u":0,"f":1e+300,"opt":"x","when":"1970-01-01T00:00:00Z","day":"1970-01-01","price":1234.56,"id":"00000000-0000-0000-0000-000000000000","turns":[],"plain":[],"attrs":{},"sub":{"role":"","tags":[]},"raw":"","bool":false}`,
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestDamagedParquetIsAnError(t *testing.T) {
	t.Parallel()
	var rows []person
	for i := range 500 {
		rows = append(rows, person{fmt.Sprint(i), strings.Repeat("x", i%50)})
	}
	whole := encoders[Parquet](rows)
	for i := 0; i < len(whole); i += 7 {
		for _, b := range [][]byte{whole[:i], append(append(bytes.Clone(whole[:i]), whole[i]^0xff), whole[i+1:]...)} {
			got, err := rowsOf(NewParquet(bytes.NewReader(b), int64(len(b)), Options{Name: "f"}))
			if err != nil && batch.KindOf(err) != batch.Invalid {
				t.Fatalf("byte %d: %v", i, err)
			}
			if err == nil && len(b) != len(whole) {
				t.Fatalf("cut at %d: %d rows", i, len(got))
			}
		}
	}
}

func TestCompressedStreamsAreBounded(t *testing.T) {
	t.Parallel()
	bomb := func(how string, n int) []byte {
		var out bytes.Buffer
		var w io.WriteCloser = gzip.NewWriter(&out)
		if how == "zstd" {
			w, _ = zstd.NewWriter(&out)
		}
		zero := bytes.Repeat([]byte("{}\n"), 1<<18)
		for range n {
			_, _ = w.Write(zero)
		}
		_ = w.Close()
		return out.Bytes()
	}
	for _, how := range []string{"gzip", "zstd"} {
		p, err := Decompress(bytes.NewReader(bomb(how, 400)), "f", 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, p)
		if how == "zstd" && (err == nil || !strings.Contains(err.Error(), "1000 times") || n > 128<<20) {
			t.Errorf("%s: %d bytes, %v", how, n, err)
		}
		p, _ = Decompress(bytes.NewReader(bomb(how, 4)), "f", 1<<20)
		if _, err := io.Copy(io.Discard, p); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
			t.Errorf("%s: %v", how, err)
		}
		cut := bomb(how, 4)
		p, _ = Decompress(bytes.NewReader(cut[:len(cut)-9]), "f", 0)
		if _, err := io.Copy(io.Discard, p); batch.KindOf(err) != batch.Invalid {
			t.Errorf("cut %s: %v", how, err)
		}
	}
	for _, magic := range []string{"\xfd7zXZ\x00", "BZh91AY", "PK\x03\x04xxxx"} {
		if _, err := Decompress(strings.NewReader(magic), "f", 0); batch.KindOf(err) != batch.Invalid {
			t.Errorf("%q: %v", magic, err)
		}
	}
	failing := errors.New("the wire is cut")
	p, err := Decompress(io.MultiReader(strings.NewReader("{}\n"), iotest.ErrReader(failing)), "f", 0)
	if err == nil {
		_, err = rowsOf(NewReader(p, Options{Kind: JSONL}))
	}
	if !errors.Is(err, failing) || batch.KindOf(err) != batch.Unavailable {
		t.Errorf("a failing stream: %v", err)
	}
}

func TestDetect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, head string
		want       Kind
	}{
		{"a.jsonl.gz", `{}`, JSONL}, {"a.txt", "\n {\"a\":1}", JSONL}, {"a.json", "[", JSON}, {"-", "[{}]", JSON}, {"a.tsv.zst", "a\tb", CSV},
		{"a.bin", "PAR1xx", Parquet}, {"a.ndjson", "nonsense", JSONL}, {"a.json", `{"custom_id":"a","url":"/v1/responses","body":{}}` + "\n{", OpenAIBatch},
		{"a.txt", "hello", ""}, {"a.parquet", "hello", ""}, {"a.txt", "", JSONL},
	} {
		got, err := Detect(c.name, []byte(c.head))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Detect(%s, %q) = %q %v", c.name, c.head, got, err)
		}
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\"a\"\"\",\"b\nc\"\r\n,\n", "\"", "a\"b,c", "\"a\"b", "\r\n\r\n", ",", "\xff", "\"a,\"\"\n\"\n"} {
		f.Add(s, uint8(1))
	}
	f.Fuzz(func(t *testing.T, s string, step uint8) {
		columns := []string{"x", "y"}
		r, err := NewReader(&slow{s: s, n: int(step)%7 + 1}, Options{Kind: CSV, Columns: columns})
		if err != nil {
			return
		}
		got, err := rowsOf(r, err)
		std := csv.NewReader(strings.NewReader(strings.TrimPrefix(s, "\xef\xbb\xbf")))
		std.FieldsPerRecord = 2
		records, stdErr := std.ReadAll()
		if stdErr != nil || strings.ContainsAny(s, "\r") || strings.ContainsRune(s, '\uFFFD') {
			return // the standard library drops carriage returns inside of quotes
		}
		if err != nil {
			t.Fatalf("refused %q: %v", s, err)
		}
		if len(got) != len(records) {
			t.Fatalf("%q: %q, want %q", s, got, records)
		}
		for i, rec := range records {
			want := fmt.Sprintf(`{"x":%s,"y":%s}`, quote(rec[0]), quote(rec[1]))
			if got[i] != want && json.Valid([]byte(got[i])) {
				t.Fatalf("%q: row %d is %s, want %s", s, i, got[i], want)
			}
		}
	})
}

// slow reads n bytes at a time.
type slow struct {
	s string
	n int
}

func (r *slow) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.s)
	r.s = r.s[n:]
	return n, nil
}

func FuzzArray(f *testing.F) {
	for _, s := range []string{`[]`, `[{"a":1},{"b":[{"c":"}"}]}]`, "[\n{}\n,\n{}\n]\n", `[{"a":"\"]"}]`, `[{]}`, `[{}`, `[{},`, `{}`, `[[]]`, `[{"a":1]}`} {
		f.Add(s, uint8(3))
	}
	f.Fuzz(func(t *testing.T, s string, step uint8) {
		got, err := rowsOf(NewReader(&slow{s: s, n: int(step)%7 + 1}, Options{Kind: JSON, Name: "f"}))
		var want []map[string]json.RawMessage
		stdErr := json.Unmarshal([]byte(s), &want)
		if err == nil && stdErr != nil && !strings.HasPrefix(s, "\xef\xbb\xbf") {
			t.Fatalf("accepted %q as %q: %v", s, got, stdErr)
		}
		if stdErr == nil && err != nil {
			e, _ := errors.AsType[*batch.Error](err)
			switch e.Msg {
			case badSurrogate, badDepth, badUTF8, "an element of the array is not an object", "the JSON does not begin with an array":
				return
			}
			t.Fatalf("refused %q: %v", s, err)
		}
		if err == nil && len(got) != len(want) && !strings.HasPrefix(s, "\xef\xbb\xbf") {
			t.Fatalf("%q: %q", s, got)
		}
	})
}

func BenchmarkCSV(b *testing.B) {
	text := []byte("id,text\n" + strings.Repeat("T-000001,\"Customer: could you tell me where \"\"my order\"\" is?\nAgent: I will have a look.\"\n", 20_000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		got, err := NewReader(bytes.NewReader(text), Options{Kind: CSV})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range Rows(got) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 20_000 {
			b.Fatal(n)
		}
	}
}
