package spec

import (
	"io"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, b := range badCorpus(f) {
		f.Add(b.src)
	}
	for _, src := range goodCorpus(f) {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		began := time.Now()
		s, ds := Parse("job.yaml", src, corpusOptions())
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(src))
		}
		if (s == nil) != (ds.Errors() > 0) {
			t.Fatalf("spec %v with %d errors", s != nil, ds.Errors())
		}
		lines := splitLines(src)
		for _, d := range ds {
			if d.Line < 1 || d.Line > len(lines) || d.Col < 1 || d.Message == "" || d.Code.Name() == "" || !utf8.ValidString(d.Message+d.Hint) {
				t.Fatalf("a finding outside the file: %+v", d)
			}
		}
		for _, err := range []error{ds.WriteText(io.Discard), ds.WriteJSON(io.Discard), ds.WriteSARIF(io.Discard), ds.WriteGitHub(io.Discard)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if s == nil || len(s.Canonical()) > maxBytes {
			return
		}
		again, ds := Parse("job.yaml", s.Canonical(), Options{})
		if again == nil {
			t.Fatalf("the canonical form is refused:\n%s\n%s", s.Canonical(), dump(ds))
		}
		if again.Digest() != s.Digest() || again.WorkDigest() != s.WorkDigest() || len(Diff(s, again)) > 0 {
			t.Fatalf("the canonical form differs:\n%s\n%s", s.Canonical(), again.Canonical())
		}
	})
}
