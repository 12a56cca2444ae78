package arch

import (
	"go/ast"
	"path/filepath"
	"testing"
)

// reveals lists the files that may take a secret's value out, with how often.
var reveals = map[string]int{
	"internal/provider/exchange.go": 1, // the header of a request
	"internal/secret/secret.go":     4, // what is said of the value, never the value
	"internal/secret/redact.go":     1, // what is searched for
}

// A key is revealed where a request's header is written, and nowhere else.
func TestSecretsAreRevealedInOnePlace(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	for _, p := range packages(t) {
		for _, file := range p.product() {
			_, f := parse(t, file)
			name := p.folder() + "/" + filepath.Base(file)
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Reveal" {
					found[name]++
				}
				return true
			})
		}
	}
	for name, n := range found {
		if n != reveals[name] {
			t.Errorf("%s reveals secrets %d times, %d are known", name, n, reveals[name])
		}
	}
	for name := range reveals {
		if found[name] == 0 {
			t.Errorf("%s reveals nothing any more: take it off the list", name)
		}
	}
}
