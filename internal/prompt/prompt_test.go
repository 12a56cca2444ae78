package prompt

import (
	"encoding/json"
	"os"
	"testing"
)

type corpus struct {
	Item  json.RawMessage
	Cases []struct{ Template, Want string }
}

func readCorpus(t testing.TB) corpus {
	t.Helper()
	b, err := os.ReadFile("testdata/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	var c corpus
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCorpus compares with what Jinja 3.1.6 renders for the same templates and
// the same item.
func TestCorpus(t *testing.T) {
	t.Parallel()
	c := readCorpus(t)
	if len(c.Cases) < 60 {
		t.Fatalf("only %d cases", len(c.Cases))
	}
	for _, x := range c.Cases {
		tpl, err := Parse("t", x.Template)
		if err != nil {
			t.Errorf("%q: %v", x.Template, err)
			continue
		}
		got, err := tpl.Render(c.Item)
		if err != nil {
			t.Errorf("%q: %v", x.Template, err)
		} else if got != x.Want {
			t.Errorf("%q\n got %q\nwant %q", x.Template, got, x.Want)
		}
	}
}
