package secrettest

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	_ "modernc.org/sqlite"
)

func values() []string {
	var vs []string
	for i := range 64 {
		vs = append(vs, fmt.Sprintf("sk-planted%02d/\"<&%%\\ +=Qx7Vt2Lm9Rw4", i))
	}
	return vs
}

// A scanner that finds nothing must be one that could have.
func TestScannerFindsEachPlantedSecret(t *testing.T) {
	t.Parallel()
	vs := values()
	s, err := NewScanner(vs)
	if err != nil {
		t.Fatal(err)
	}
	planted := 0
	for i, v := range vs {
		for _, e := range Encodings() {
			for pad := range 3 {
				text := strings.Repeat("noise, ", i) + e.Whole(strings.Repeat("z", pad), v, "behind")
				found := s.Text("here", []byte(text))
				planted++
				if len(found) == 0 || found[0].Value != i {
					t.Fatalf("secret %d as %s in %q: %v", i, e.Name, text, found)
				}
			}
		}
	}
	if found := s.Text("here", []byte(strings.Repeat("nothing but noise; sk-planted, sk-", 1000))); len(found) != 0 {
		t.Errorf("found in noise: %v", found)
	}
	t.Logf("%d planted, all found", planted)
}

func TestScannerLooksInside(t *testing.T) {
	t.Parallel()
	vs := values()
	s, err := NewScanner(vs)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	put := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(root, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("line of noise\n", 5000)
	packed := func(text string) []byte {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll([]byte(text), nil)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(long + vs[1])); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	put("plain", []byte(vs[0]))
	put("gzip", zipped.Bytes())
	put("zstd", packed(long+vs[2]))
	put("two", append(append([]byte("header"), packed(long)...), packed(string(packed(vs[3])))...))
	type row struct{ ID, Output string }
	var pq bytes.Buffer
	if err := parquet.Write(&pq, []row{{"1", long}, {"2", "x" + vs[4]}}, parquet.Compression(&parquet.Snappy)); err != nil {
		t.Fatal(err)
	}
	put("parquet", pq.Bytes())
	put("name "+strings.NewReplacer("/", "", `"`, "").Replace("of sk-name"), nil)
	db, err := sql.Open("sqlite", filepath.Join(root, "db")+"?_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE t (a TEXT, b BLOB)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO t VALUES (?, ?)", "x"+vs[5], packed(vs[6])); err != nil {
		t.Fatal(err)
	}
	found, err := s.Tree(root) // the rows are in the write-ahead log
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "sk-planted07"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := map[int]bool{}
	for _, f := range found {
		got[f.Value] = true
	}
	for i := range 7 {
		if !got[i] {
			t.Errorf("secret %d is not found: %v", i, found)
		}
	}
}
