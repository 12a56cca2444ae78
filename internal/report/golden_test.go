package report

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s changed; look at it, then run with -update", name)
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, r := range examples() {
		golden(t, name+".html", func(w io.Writer) error { return WriteHTML(w, r) })
		golden(t, name+".txt", func(w io.Writer) error { return WriteText(w, r) })
	}
	r := partialExample()
	golden(t, "partial.md", func(w io.Writer) error { return WriteMarkdown(w, r) })
	golden(t, "partial.xml", func(w io.Writer) error { return WriteJUnit(w, r, nil) })
	golden(t, "summary.json", func(w io.Writer) error { return WriteSummary(w, r) })
	for _, c := range Charts(r) {
		golden(t, c.ID+".svg", func(w io.Writer) error { _, err := io.WriteString(w, string(c.SVG)+"\n"); return err })
	}
	golden(t, "partial.json", func(w io.Writer) error { return WriteJSON(w, r) })
}
