package sink

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// FuzzCell holds any text cell to its promise: no spreadsheet runs it, CSV gives
// it back, and but for the apostrophe it is what was answered.
func FuzzCell(f *testing.F) {
	for _, s := range append(formulas(), "", "plain", "a=b", "-1", "'=1", "\u200b=1", "\"quoted\"\n,") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		began := time.Now()
		out := csvCell(textCell, cell{text: s})
		if out != s && out != "'"+s {
			t.Fatalf("%q became %q", s, out)
		}
		first := []rune(strings.TrimLeftFunc(out, func(r rune) bool {
			return r != '\t' && r != '\r' && r != '\n' && (unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
		}))
		if len(first) > 0 && strings.ContainsRune(formulaStart, first[0]) {
			t.Fatalf("%q begins a formula", out)
		}
		var b strings.Builder
		w := csv.NewWriter(&b)
		if err := w.Write([]string{"id", out, "end"}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		back, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		want := strings.ReplaceAll(out, "\r\n", "\n") // the reader's own rule
		if err != nil || len(back) != 1 || len(back[0]) != 3 || back[0][1] != want {
			t.Fatalf("%q came back as %q: %v", out, back, err)
		}
		if utf8.ValidString(s) && !utf8.ValidString(out) {
			t.Fatalf("%q is no text", out)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(s))
		}
	})
}
