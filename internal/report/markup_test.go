package report

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// corpus are the texts of testdata/payloads.txt: one way each in which text
// could become something else in a browser. RUN stands for what a script would
// do, CANARY and HOST for a server that must never be asked.
func corpus(t testing.TB) []string {
	t.Helper()
	file, err := os.ReadFile("testdata/payloads.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(file)) {
		s, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, strings.NewReplacer("RUN", "alert(1)", "CANARY", "https://x.example", "HOST", "x.example").Replace(s))
	}
	return out
}

// parsed is a page as a browser reads it: its elements with their attributes,
// comments and document types in order, and all of its text.
type parsed struct {
	skeleton []string
	text     string
}

func parse(t testing.TB, r Run) parsed {
	t.Helper()
	var page bytes.Buffer
	if err := WriteHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(&page)
	if err != nil {
		t.Fatal(err)
	}
	var p parsed
	var text strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.TextNode:
			text.WriteString(n.Data + "\n")
		case html.ElementNode:
			p.skeleton = append(p.skeleton, fmt.Sprintf("<%s:%s %q>", n.Namespace, n.Data, n.Attr))
		default:
			p.skeleton = append(p.skeleton, fmt.Sprintf("%d %q %q", n.Type, n.Data, n.Attr))
		}
	}
	p.text = text.String()
	return p
}

// A browser's parser finds the same elements with the same attributes whatever
// a run says, and what it says is there to be read.
func TestHostileTextIsTextNodesOnly(t *testing.T) {
	t.Parallel()
	all := append(corpus(t), payloads()...)
	if len(all) < 250 {
		t.Fatalf("only %d payloads", len(all))
	}
	clean := partialExample()
	calm := parse(t, poisoned(clean, "calm"))
	for _, s := range all {
		got := parse(t, poisoned(clean, s))
		if !slices.Equal(got.skeleton, calm.skeleton) {
			t.Errorf("%.80q changes the page's elements: %d, with plain text %d", s, len(got.skeleton), len(calm.skeleton))
		}
		if shown := oneLine(s, 40); !strings.Contains(got.text, strings.TrimSuffix(shown, "…")) {
			t.Errorf("%.80q is not to be read in the page", s)
		}
	}
}

// FuzzHTML says the same of any text.
func FuzzHTML(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s)
	}
	clean := stoppedExample()
	calm := parse(f, poisoned(clean, "calm"))
	f.Fuzz(func(t *testing.T, s string) {
		if oneLine(s, 60) == "" {
			s += "x" // without a name some parts are left out
		}
		if got := parse(t, poisoned(clean, s)); !slices.Equal(got.skeleton, calm.skeleton) {
			t.Fatalf("%q changes the page's elements", s)
		}
	})
}
