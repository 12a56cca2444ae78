package format

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
)

// What reading one hostile input may take. A bomb takes hours and all memory,
// so a slow machine does not come near these.
const (
	bombTime   = 10 * time.Second
	bombMemory = 256 << 20
)

// measure runs f alone and tells how long it took and how much memory Go had
// from the system at most, above what it had before.
func measure(t *testing.T, name string, f func() error) error {
	t.Helper()
	runtime.GC() // pools keep what they have over one
	debug.FreeOSMemory()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	tick := time.NewTicker(2 * time.Millisecond)
	go func() {
		defer close(stopped)
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapSys-m.HeapReleased+m.StackSys))
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	began := time.Now()
	err := f()
	took := time.Since(began)
	close(stop)
	<-stopped
	tick.Stop()
	runtime.ReadMemStats(&now)
	peak := most.Load()
	t.Logf("%-34s %8.3f s %6.1f MiB  %.110v", name, took.Seconds(), float64(peak)/(1<<20), err)
	if took > bombTime || peak > bombMemory {
		t.Errorf("%s took %v and %d MiB", name, took, peak>>20)
	}
	if err != nil && batch.KindOf(err) != batch.Invalid {
		t.Errorf("%s: the error is of kind %s: %v", name, batch.KindOf(err), err)
	}
	return err
}

// endless repeats a text without holding it.
type endless struct {
	head, body, tail string
	left             int64 // bytes of body still to come
	at               int   // where in body the next one stands
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case e.head != "":
			c := copy(p[n:], e.head)
			e.head, n = e.head[c:], n+c
		case e.left > 0 && e.body != "":
			c := copy(p[n:], e.body[e.at:min(int64(len(e.body)), int64(e.at)+e.left)])
			e.left, e.at, n = e.left-int64(c), (e.at+c)%len(e.body), n+c
		case e.tail != "":
			c := copy(p[n:], e.tail)
			e.tail, n = e.tail[c:], n+c
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
	return n, nil
}

func long(head, body, tail string, size int64) *endless {
	for body != "" && len(body) < 64<<10 {
		body += body
	}
	return &endless{head: head, body: body, tail: tail, left: size}
}

// count reads all rows and returns the first error, of a row or of the stream.
func count(r Reader, err error) (rows, wrong int, first error) {
	if err != nil {
		return 0, 0, err
	}
	for row, err := range Rows(r) {
		switch {
		case err != nil:
			return rows, wrong, err
		case row.Err != nil:
			if wrong++; first == nil {
				first = row.Err.In("f")
			}
		default:
			rows++
		}
	}
	return rows, wrong, first
}

// TestInputBombs reads inputs that were made to take all time and memory.
func TestInputBombs(t *testing.T) {
	const huge = 1 << 30
	readers := []struct {
		name string
		in   io.Reader
		o    Options
		says string
	}{
		{"JSONL: one line of 1 GiB", long(`{"a":"`, "x", `"}`, huge), Options{Kind: JSONL}, "longer than"},
		{"JSONL: a line of 50 MB", long(`{"a":"`, "x", "\"}\n{}\n", 50e6), Options{Kind: JSONL}, "longer than"},
		{"JSONL: depth 10,000", long("", "", strings.Repeat(`[`, 1e4)+strings.Repeat(`]`, 1e4), 0), Options{Kind: JSONL}, "nested too deep"},
		{"JSONL: 30 MB of brackets", long("", "[", "", 30e6), Options{Kind: JSONL}, "nested too deep"},
		{"JSONL: 30 MB of keys", long("{", `"k":10,`, `"k":1}`, 30e6/8*8), Options{Kind: JSONL}, "more than 100000 members"},
		{"JSONL: a number of 30 MB", long(`{"a":`, "1", "}", 30e6), Options{Kind: JSONL}, ""},
		{"JSONL: 32 MiB of empty lines", long("", "\n", "", huge/32), Options{Kind: JSONL}, ""},
		{"JSONL: NUL bytes", long("", "\x00", "", huge/4), Options{Kind: JSONL}, "longer than"},
		{"array: never closed", long(`[`, `{"a":1},`, "", 24e6), Options{Kind: JSON}, "ends too early"},
		{"array: one string of 1 GiB", long(`[{"a":"`, "x", "", huge), Options{Kind: JSON}, "longer than"},
		{"array: one element of brackets", long(`[{"a":`, "[", "", huge), Options{Kind: JSON}, "longer than"},
		{"array: 64 MiB of space", long(`[`, " \n", "{}]", huge/16), Options{Kind: JSON}, ""},
		{"array: 31 MB of commas", long(`[{"a":1}`, ",", "]", 31e6), Options{Kind: JSON}, "not an object"},
		{"CSV: a cell of 100 MB", long("a,b\n1,\"", "x", "\"\n", 100e6), Options{Kind: CSV}, "longer than"},
		{"CSV: a quote never closed", long("a,b\n1,\"", "x\n", "", 30e6), Options{Kind: CSV}, "never closed"},
		{"CSV: 30 MB of doubled quotes", long("a\n\"", `""`, "\"\n", 30e6), Options{Kind: CSV}, ""},
		{"CSV: a row of 15 million fields", long("a,b\n", ",", "\n", 15e6), Options{Kind: CSV}, "fields"},
		{"CSV: a header of 15 million columns", long("", "x,", "y\n1\n", 30e6), Options{Kind: CSV}, "at most"},
		{"CSV: a header of distinct columns", strings.NewReader(columns(400_000) + "\n1\n"), Options{Kind: CSV}, "at most"},
		{"CSV: 30 MB of control characters", long("a\n", "\x01", "\n", 30e6), Options{Kind: CSV}, "longer than"},
		{"CSV: a name of 30 MB, many rows", long(strings.Repeat("n", 30e6)+",b\n", "1,2\n", "", 400), Options{Kind: CSV}, "at most"},
		{"CSV: names of 900 kB, many rows", long(strings.Repeat("n", 9e5)+",b\n", "1,2\n", "", 4000), Options{Kind: CSV}, ""},
		{"batch file: a body of 50 MB", long(`{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"a":"`, "x", "\"}}\n", 50e6), Options{Kind: OpenAIBatch}, "longer than"},
		{"batch file: a url of 30 MB", long(`{"custom_id":"a","method":"POST","body":{},"url":"`, "x", "\"}\n", 30e6), Options{Kind: OpenAIBatch}, "not an endpoint"},
	}
	for _, c := range readers {
		c.o.Name = "f"
		t.Run(c.name, func(t *testing.T) {
			err := measure(t, c.name, func() error {
				_, _, err := count(NewReader(c.in, c.o))
				return err
			})
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%s: %.200v, want %q", c.name, err, c.says)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("%s: the error has %d bytes", c.name, len(err.Error()))
			}
		})
	}
}

func columns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "c%d,", i)
	}
	return b.String() + "z"
}

// TestPackedBombs unpacks a megabyte that stands for gigabytes, and honest data
// that packs well.
func TestPackedBombs(t *testing.T) {
	for _, how := range []string{"gzip", "zstd"} {
		for _, c := range []struct{ name, line string }{{"zeros", strings.Repeat("\x00", 64<<10)}, {"one long line", strings.Repeat("x", 64<<10)}} {
			small := packed(t, how, c.line, 1<<30)
			err := measure(t, fmt.Sprintf("%s of %s, %d kB", how, c.name, len(small)>>10), func() error {
				p, err := Decompress(bytes.NewReader(small), "f", 0)
				if err != nil {
					return err
				}
				defer p.Close()
				_, _, err = count(NewReader(p, Options{Kind: JSONL, Name: "f"}))
				return err
			})
			if err == nil {
				t.Errorf("%s of %s was read to its end", how, c.name)
			}
		}
		// Rows that differ little pack a hundred times smaller, and are read.
		var rows bytes.Buffer
		for i := range 300_000 {
			fmt.Fprintf(&rows, "{\"id\":%d,\"n\":%d,\"text\":\"Please look at my order, it has not come. Please look at my order, it has not come.\"}\n", i, i*i*7919)
		}
		small := packed(t, how, rows.String(), int64(rows.Len()))
		err := measure(t, fmt.Sprintf("%s of honest rows, 1:%d", how, rows.Len()/len(small)), func() error {
			p, err := Decompress(bytes.NewReader(small), "f", 0)
			if err != nil {
				return err
			}
			defer p.Close()
			n, _, err := count(NewReader(p, Options{Kind: JSONL, Name: "f"}))
			if n != 300_000 {
				t.Errorf("%d rows", n)
			}
			return err
		})
		if err != nil {
			t.Errorf("honest rows were refused: %v", err)
		}
	}
}

func packed(t *testing.T, how, text string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	if how == "zstd" {
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	} else {
		w, err = gzip.NewWriterLevel(&b, gzip.BestSpeed)
	}
	if err == nil {
		_, err = io.Copy(w, &endless{body: text, left: size})
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func parquetFile(t testing.TB) []byte {
	t.Helper()
	type row struct {
		ID   int64    `parquet:"id"`
		Text string   `parquet:"text,dict"`
		Tags []string `parquet:"tags,list"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write([]row{{1, "one", []string{"a", "b"}}, {2, "two", nil}, {3, "one", []string{"c"}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLyingParquet gives files footers of wrong sizes.
func TestLyingParquet(t *testing.T) {
	whole := parquetFile(t)
	size := len(whole)
	foot := int(binary.LittleEndian.Uint32(whole[size-8:]))
	lies := map[string][]byte{"cut in half": whole[:size/2], "no footer": whole[:size-8], "magic alone": []byte("PAR1PAR1"), "empty": nil}
	for _, n := range []uint32{0, 1, uint32(foot) - 1, uint32(foot) + 1, uint32(size), 1 << 30, 1<<32 - 1} {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(b[size-8:], n)
		lies[fmt.Sprintf("footer of %d bytes", n)] = b
	}
	for name, b := range lies {
		err := measure(t, "Parquet: "+name, func() error {
			_, _, err := count(NewParquet(bytes.NewReader(b), int64(len(b)), Options{Name: "f"}))
			return err
		})
		if err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// parquetFiles are small files in each way of packing and each encoding.
func parquetFiles(t testing.TB) map[string][]byte {
	t.Helper()
	type row struct {
		ID    int64    `parquet:"id,delta"`
		Text  string   `parquet:"text,dict,optional"`
		Plain string   `parquet:"plain"`
		Delta string   `parquet:"delta,delta"`
		Flag  bool     `parquet:"flag"`
		Real  float64  `parquet:"real,split"`
		Key   [16]byte `parquet:"key,uuid"`
		Tags  []string `parquet:"tags,list"`
	}
	rows := make([]row, 40)
	for i := range rows {
		rows[i] = row{ID: int64(i * i), Text: "one", Plain: strings.Repeat("p", i%3), Delta: fmt.Sprintf("long/prefix/%d", i), Flag: i%2 == 0, Real: 1.5, Tags: []string{"a", "b"}[:i%3]}
	}
	files := map[string][]byte{"three rows": parquetFile(t)}
	for name, o := range map[string][]parquet.WriterOption{
		"plain": {}, "second form": {parquet.DataPageVersion(2), parquet.Compression(&parquet.Snappy)}, "first form": {parquet.DataPageVersion(1), parquet.Compression(&parquet.Snappy)},
		"gzip": {parquet.Compression(&parquet.Gzip)}, "zstd": {parquet.Compression(&parquet.Zstd)}, "brotli": {parquet.Compression(&parquet.Brotli)}, "lz4": {parquet.Compression(&parquet.Lz4Raw)},
	} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b, o...)
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files[name] = b.Bytes()
	}
	return files
}

// TestBentParquet bends every byte of files of each kind: what is read or
// refused, takes bounded time and memory, and a refusal names the file.
func TestBentParquet(t *testing.T) {
	for name, whole := range parquetFiles(t) {
		if n, _, err := count(NewParquet(bytes.NewReader(whole), int64(len(whole)), Options{Name: "f"})); err != nil || n < 3 {
			t.Errorf("%s: %d rows, %v", name, n, err)
		}
		tries, refused := 0, 0
		err := measure(t, fmt.Sprintf("Parquet, %s: %d bytes bent", name, len(whole)), func() error {
			for i := range whole {
				for k, c := range []byte{whole[i] ^ 0x40, 0x7f, 0xff} {
					if k > 0 && name != "three rows" && name != "second form" {
						break
					}
					b := bytes.Clone(whole)
					b[i] = c
					_, _, err := count(NewParquet(bytes.NewReader(b), int64(len(b)), Options{Name: "f"}))
					tries++
					if err == nil {
						continue
					}
					if refused++; batch.KindOf(err) != batch.Invalid || !strings.Contains(err.Error(), "f:") && !strings.HasPrefix(err.Error(), "f") || len(err.Error()) > 600 {
						return fmt.Errorf("byte %d as %#x: %w", i, c, err)
					}
				}
			}
			return nil
		})
		t.Logf("%s: %d of %d refused", name, refused, tries)
		if err != nil || refused == 0 {
			t.Errorf("%s: %d refused, %v", name, refused, err)
		}
	}
}

// TestPackedParquet reads columns whose pages say much in few bytes: packed
// zeros, and runs of equal values.
func TestPackedParquet(t *testing.T) {
	type row struct {
		A string `parquet:"a"`
		B string `parquet:"b"`
		C string `parquet:"c"`
	}
	big := make([]row, 300)
	one := row{strings.Repeat("\x00", 100<<10), strings.Repeat("x", 100<<10), strings.Repeat("y", 100<<10)}
	for i := range big {
		big[i] = one
	}
	for name, codec := range map[string]parquet.WriterOption{"gzip": parquet.Compression(&parquet.Gzip), "zstd": parquet.Compression(&parquet.Zstd), "brotli": parquet.Compression(&parquet.Brotli)} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b, codec, parquet.PageBufferSize(64<<20))
		if _, err := w.Write(big); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		small := b.Bytes()
		err := measure(t, fmt.Sprintf("Parquet, %s: 90 MiB in %d kB", name, len(small)>>10), func() error {
			_, _, err := count(NewParquet(bytes.NewReader(small), int64(len(small)), Options{Name: "f"}))
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "unpack to more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
	type lists struct {
		N []int64 `parquet:"n,dict"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[lists](&b)
	if _, err := w.Write([]lists{{make([]int64, maxRowValues+1)}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := measure(t, fmt.Sprintf("Parquet: a list of a million in %d kB", b.Len()>>10), func() error {
		_, _, err := count(NewParquet(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Name: "f"}))
		return err
	}); err == nil || !strings.Contains(err.Error(), "a row has more than") {
		t.Error(err)
	}
}

// TestParquetCounts holds the counts inside of pages to what their header says.
func TestParquetCounts(t *testing.T) {
	t.Parallel()
	most := []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0} // a run of 2,147,483,647 zeros
	many := []byte{0x80, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0x07, 0}
	lying := []byte{0x80, 0x01, 0x04, 0x02, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0} // two lengths of 2 GiB
	for name, c := range map[string]struct {
		encoding int64
		b        []byte
	}{
		"indexes": {8, append([]byte{1}, most...)}, "old indexes": {2, append([]byte{8}, most...)}, "no width": {8, []byte{0, 0xfe, 0xff, 0xff, 0xff, 0x0f}},
		"booleans": {3, append([]byte{6, 0, 0, 0}, most...)}, "differences": {5, many}, "lengths": {6, many}, "beginnings": {7, many}, "width": {8, []byte{33, 2, 1}},
	} {
		if _, err := counted(c.b, page{values: 10, encoding: c.encoding}); err == nil {
			t.Errorf("%s: a page of ten values holds millions", name)
		}
	}
	if more, err := counted(append(lying, lying...), page{values: 10, encoding: 7}); err == nil && more < 1<<30 {
		t.Errorf("%d bytes", more)
	}
}

// FuzzParquet reads any bytes as a file: an error that says so, or rows that
// are JSON.
func FuzzParquet(f *testing.F) {
	for _, b := range parquetFiles(f) {
		f.Add(b)
	}
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer time.AfterFunc(5*time.Second, func() { panic(fmt.Sprintf("more than 5 s for %d bytes", len(b))) }).Stop()
		rows, err := rowsOf(NewParquet(bytes.NewReader(b), int64(len(b)), Options{Name: "f"}))
		if err != nil && batch.KindOf(err) != batch.Invalid {
			t.Fatalf("%v", err)
		}
		if len(rows) > rowsFree+rowsRatio*len(b) {
			t.Fatalf("%d rows of %d bytes", len(rows), len(b))
		}
	})
}

// FuzzDecompress reads any bytes as a packed stream: within its limit, or an
// error of the input.
func FuzzDecompress(f *testing.F) {
	for _, s := range []string{"\x1f\x8b", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x28\xb5\x2f\xfd\x04\x00", "{}", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		p, err := Decompress(bytes.NewReader(b), "f", most)
		if err == nil {
			defer p.Close()
			var n int64
			if n, err = io.Copy(io.Discard, p); p.Compression != "" && n > most || p.Compression == "" && n != int64(len(b)) {
				t.Fatalf("%d bytes of %d", n, len(b))
			}
		}
		if err != nil && batch.KindOf(err) != batch.Invalid {
			t.Fatalf("%v", err)
		}
	})
}

// FuzzJSONL reads any bytes as lines: each row is JSON of one line that stands
// where its place says, or an error with its line; no line is passed over.
func FuzzJSONL(f *testing.F) {
	for _, s := range []string{"{}\n{\"a\":1}\n", "{}\r\n\n{", "\ufeff{}", "[]\nnull\n{\"a\":1,\"a\":2}", "{\"a\":\"\\ud800\"}\n\x00", "{\"a\":1e999}", "{} {}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		began := time.Now()
		r, err := NewReader(bytes.NewReader(b), Options{Kind: JSONL, Name: "f"})
		if err != nil {
			if batch.KindOf(err) != batch.Invalid {
				t.Fatal(err)
			}
			return
		}
		last := int64(0)
		for row, err := range Rows(r) {
			if err != nil {
				if batch.KindOf(err) != batch.Invalid {
					t.Fatal(err)
				}
				break
			}
			if row.Line <= last || row.Line > int64(bytes.Count(b, []byte("\n")))+1 {
				t.Fatalf("line %d after %d", row.Line, last)
			}
			last = row.Line
			if row.Err != nil {
				if !strings.HasPrefix(row.Err.In("f").Error(), fmt.Sprintf("f:%d", row.Line)) {
					t.Fatalf("%v has not its place, line %d", row.Err.In("f"), row.Line)
				}
				continue
			}
			if !json.Valid(row.Payload) || row.Offset < 0 || row.Offset+row.Length > int64(len(b)) || !bytes.Contains(b[row.Offset:row.Offset+row.Length], row.Payload) {
				t.Fatalf("%q at %d, %d long", row.Payload, row.Offset, row.Length)
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(b))
		}
	})
}
