package all_test

import (
	"slices"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider/all"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	r := all.Registry()
	names := r.Names()
	for _, want := range []string{"anthropic", "gemini", "http", "openai", "openai_compatible"} {
		if !slices.Contains(names, want) {
			t.Errorf("no provider %q in %v", want, names)
		}
	}
	for _, n := range names {
		f, err := r.Lookup(n)
		if err != nil || f.Name != n || f.Doc == "" || f.New == nil {
			t.Errorf("%s: %+v, %v", n, f, err)
		}
	}
	if _, err := r.Lookup("opnai"); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
		t.Errorf("unknown name: %v", err)
	}
}
