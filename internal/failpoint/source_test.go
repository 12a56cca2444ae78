package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pending are the points of the table that no code hits yet. A line goes as
// soon as its point is hit.
var pending = map[string]bool{}

// TestTheTableIsTheSource holds the table of points to the code: every point is
// hit somewhere, and every hit has its line.
func TestTheTableIsTheSource(t *testing.T) {
	t.Parallel()
	hits := source(t, filepath.Join("..", ".."))
	for name, where := range hits {
		if !slices.Contains(Names(), name) {
			t.Errorf("%s: the point %q has no line in the table", where, name)
		}
		if pending[name] {
			t.Errorf("%s: the point %q is hit; it is pending no more", where, name)
		}
	}
	for _, name := range Names() {
		if hits[name] == "" && !pending[name] {
			t.Errorf("the point %q is hit nowhere", name)
		}
	}
	for name := range pending {
		if !slices.Contains(Names(), name) {
			t.Errorf("%q is pending and has no line in the table", name)
		}
	}
}

// TestTheTableIsInOrder keeps the table readable: sorted, each name once and
// with a meaning of its own.
func TestTheTableIsInOrder(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(Names()) || len(slices.Compact(Names())) != len(Table) {
		t.Error("the table is not sorted, or names a point twice")
	}
	seen := map[string]bool{}
	for _, p := range Table {
		if p.Meaning == "" || seen[p.Meaning] {
			t.Errorf("%s: what it means is not said, or said of another point too", p.Name)
		}
		seen[p.Meaning] = true
	}
}

// source finds the points hit by the code below root: the literals given to
// Hit, and three edges for every transaction of the store.
func source(t *testing.T, root string) map[string]string {
	t.Helper()
	hits := map[string]string{}
	set := token.NewFileSet()
	err := filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			filepath.Base(filepath.Dir(path)) == "failpoint" {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			where := set.Position(call.Pos()).String()
			switch called(call) {
			case "failpoint.Hit":
				name, ok := literal(call, 0)
				if !ok {
					t.Errorf("%s: a point's name is a literal", where)
					return true
				}
				if other := hits[name]; other != "" {
					t.Errorf("%s: the point %q is hit at %s too: one name, one place", where, name, other)
				}
				hits[name] = where
			case "d.inTx":
				name, ok := literal(call, 1)
				if !ok {
					t.Errorf("%s: a transaction's name is a literal", where)
					return true
				}
				for _, edge := range []string{"before", "in", "after"} {
					hits[strings.ReplaceAll(name, " ", "-")+"."+edge] = where
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

// called is the text of what is called, where it is a name below a name.
func called(call *ast.CallExpr) string {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}

func literal(call *ast.CallExpr, i int) (string, bool) {
	if len(call.Args) <= i {
		return "", false
	}
	l, ok := call.Args[i].(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}
