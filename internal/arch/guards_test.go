package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var guardMark = regexp.MustCompile(`guard: ([A-Z_]+)`)

// A guard of the protocol has one name, in the models and where it holds: what
// is in one of the two alone is either not built or not checked.
func TestGuardsAreModelled(t *testing.T) {
	t.Parallel()
	built, modelled := map[string]string{}, map[string]string{}
	note := func(in map[string]string, file string) {
		t.Helper()
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range guardMark.FindAllStringSubmatch(string(src), -1) {
			in[m[1]] = filepath.Base(file)
		}
	}
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.folder(), "internal/") {
			continue
		}
		for _, f := range p.product() {
			note(built, f)
		}
	}
	models, err := filepath.Glob(filepath.Join("..", "..", "model", "*.pml"))
	if err != nil || len(models) == 0 {
		t.Fatal("there are no models", err)
	}
	for _, f := range models {
		note(modelled, f)
	}
	for name, file := range built {
		if modelled[name] == "" {
			t.Errorf("the guard %s of %s is in no model", name, file)
		}
	}
	for name, file := range modelled {
		if built[name] == "" {
			t.Errorf("the guard %s of %s is not in the product", name, file)
		}
	}
	if len(built) < 15 {
		t.Errorf("only %d guards are marked", len(built))
	}
}
