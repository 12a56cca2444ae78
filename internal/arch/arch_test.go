package arch

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module   = "github.com/batchwright/batchwright"
	maxLines = 800 // of a file; the aim is 300
	mainMax  = 30  // lines of cmd/*/main.go
)

// pkg is what `go list -json` says of a package, as far as the house asks.
type pkg struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	IgnoredGoFiles                     []string
	Imports                            []string
	Error                              *struct{ Err string }
}

func (p pkg) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// product are the files that ship: every build tag's, no test's.
func (p pkg) product() []string {
	var files []string
	for _, f := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
		if !strings.HasSuffix(f, "_test.go") {
			files = append(files, filepath.Join(p.Dir, f))
		}
	}
	return files
}

func (p pkg) tests() []string {
	var files []string
	for _, f := range slices.Concat(p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(f, "_test.go") {
			files = append(files, filepath.Join(p.Dir, f))
		}
	}
	return files
}

var listed = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,Error", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var ps []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return ps, nil
		} else if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
})

func packages(t *testing.T) []pkg {
	t.Helper()
	ps, err := listed()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(ps) < 10 {
		t.Fatalf("go list found %d packages; it was not run on the module", len(ps))
	}
	return ps
}

func parse(t *testing.T, file string) (*token.FileSet, *ast.File) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return set, f
}

// Every package stands in the table, and imports what its place allows.
func TestLayers(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.Error != nil {
			t.Errorf("%s: %s", p.folder(), p.Error.Err)
		}
		at, ok := find(p.folder())
		if !ok {
			t.Errorf("%s stands outside the house: give it a place in internal/arch/table.go", p.folder())
			continue
		}
		for _, i := range p.Imports {
			inner, own := strings.CutPrefix(i, module+"/")
			switch {
			case own && !at.allows(inner):
				t.Errorf("%s (%s) must not import %s", p.folder(), at.layer, inner)
			case !own && at.layer == ground && strings.Contains(strings.Split(i, "/")[0], "."):
				t.Errorf("%s is ground: standard library only, not %s", p.folder(), i)
			}
		}
	}
}

// No folder needs another that needs it, at depth 1 (internal/x as a whole) and
// at depth 2 (internal/x/y).
func TestNoFolderCycles(t *testing.T) {
	t.Parallel()
	for depth := 1; depth <= 2; depth++ {
		graph := map[string]map[string]bool{}
		for _, p := range packages(t) {
			from := fold(p.folder(), depth)
			for _, i := range p.Imports {
				if inner, own := strings.CutPrefix(i, module+"/"); own && fold(inner, depth) != from {
					if graph[from] == nil {
						graph[from] = map[string]bool{}
					}
					graph[from][fold(inner, depth)] = true
				}
			}
		}
		if c := cycle(graph); c != nil {
			t.Errorf("depth %d: %s", depth, strings.Join(c, " → "))
		}
	}
}

// fold cuts a folder's path to depth levels below internal.
func fold(dir string, depth int) string {
	parts := strings.Split(dir, "/")
	return path.Join(parts[:min(len(parts), depth+1)]...)
}

// cycle is a way round in graph, or nil.
func cycle(graph map[string]map[string]bool) []string {
	done := map[string]bool{}
	var way []string
	var visit func(string) []string
	visit = func(n string) []string {
		if i := slices.Index(way, n); i >= 0 {
			return append(slices.Clone(way[i:]), n)
		}
		if done[n] {
			return nil
		}
		way = append(way, n)
		for next := range graph[n] {
			if c := visit(next); c != nil {
				return c
			}
		}
		way = way[:len(way)-1]
		done[n] = true
		return nil
	}
	for n := range graph {
		if c := visit(n); c != nil {
			return c
		}
	}
	return nil
}

func TestCycleIsFound(t *testing.T) {
	t.Parallel()
	edges := func(pairs ...string) map[string]map[string]bool {
		g := map[string]map[string]bool{}
		for _, p := range pairs {
			a, b, _ := strings.Cut(p, ">")
			if g[a] == nil {
				g[a] = map[string]bool{}
			}
			g[a][b] = true
		}
		return g
	}
	if c := cycle(edges("a>b", "b>c", "a>c")); c != nil {
		t.Errorf("a graph without a cycle: %v", c)
	}
	if c := cycle(edges("a>b", "b>c", "c>b")); len(c) != 3 {
		t.Errorf("a cycle of two: %v", c)
	}
}

func TestTableRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"internal/batch", "internal/money", true},
		{"internal/money", "internal/batch", false},
		{"internal/provider/gemini", "internal/provider", true},
		{"internal/provider/gemini", "internal/provider/openai", false},
		{"internal/provider/gemini", "internal/store", false},
		{"internal/provider/all", "internal/provider/gemini", true},
		{"internal/worker", "internal/store", true},
		{"internal/worker", "internal/store/sqlite", false},
		{"internal/worker", "internal/spec", false},
		{"internal/app", "internal/worker", true},
		{"internal/app", "internal/cli", false},
		{"internal/cli", "internal/store", false},
		{"internal/cli", "internal/worker", false},
		{"internal/httpapi", "internal/provider", false},
		{"internal/wire", "internal/store/sqlite", true},
		{"cmd/batchwright", "internal/wire", true},
		{"internal/report", "internal/store/sqlite", false},
		{"internal/app", "internal/nowhere", false},
	} {
		p, ok := find(c.from)
		if !ok || p.allows(c.to) != c.want {
			t.Errorf("%s → %s: allowed %v, want %v", c.from, c.to, !c.want, c.want)
		}
	}
}

// Names of folders and files say what a thing is.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.folder(), "/") {
			if bannedNames[part] {
				t.Errorf("%s: %q says nothing about what is in it", p.folder(), part)
			}
		}
		for _, f := range append(p.product(), p.tests()...) {
			stem := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(f), ".go"), "_test")
			if bannedNames[stem] {
				t.Errorf("%s/%s: the name says nothing about what is in it", p.folder(), filepath.Base(f))
			}
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, f := range append(p.product(), p.tests()...) {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			limit := maxLines
			if strings.HasPrefix(p.folder(), "cmd/") && filepath.Base(f) == "main.go" {
				limit = mainMax
			}
			if n := bytes.Count(src, []byte("\n")); n > limit {
				t.Errorf("%s/%s has %d lines, %d are the end", p.folder(), filepath.Base(f), n, limit)
			}
		}
	}
}

// Test machinery stays out of the binary.
func TestTestingStaysInTests(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if isSuite(p.folder()) {
			continue
		}
		for _, i := range p.Imports {
			if i == "testing" || strings.HasPrefix(i, "testing/") || strings.HasPrefix(i, module) && isSuite(i) {
				t.Errorf("%s ships %s", p.folder(), i)
			}
		}
	}
}

// Engines are given their clock, their files and their chance.
func TestEnginesTakeNothing(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if at, ok := find(p.folder()); !ok || at.layer != engine && at.layer != ground || asks[p.folder()] != "" {
			continue
		}
		for _, file := range p.product() {
			set, f := parse(t, file)
			for name, pos := range uses(f, clocks) {
				t.Errorf("%s: %s in an engine; take it as a parameter", set.Position(pos), name)
			}
		}
	}
}

// Tests wait for a condition or in virtual time, and none is skipped: a skipped
// test is one that CI believes green.
func TestTestsNeitherSleepNorSkip(t *testing.T) {
	t.Parallel()
	skips := map[string]bool{"Skip": true, "Skipf": true, "SkipNow": true}
	for _, p := range packages(t) {
		for _, file := range p.tests() {
			set, f := parse(t, file)
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok || !skips[s.Sel.Name] {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && (x.Name == "t" || x.Name == "b" || x.Name == "tb" || x.Name == "f") {
					t.Errorf("%s: a skipped test", set.Position(s.Pos()))
				}
				return true
			})
			if imported(f, "testing/synctest") != "" {
				continue // time.Sleep is virtual in a bubble
			}
			for _, pos := range uses(f, map[string]map[string]bool{"time": {"Sleep": true}}) {
				t.Errorf("%s: a sleep; wait for the condition, or use testing/synctest", set.Position(pos))
			}
		}
	}
}

// imported is the name under which f imports importPath, or empty.
func imported(f *ast.File, importPath string) string {
	for _, i := range f.Imports {
		if strings.Trim(i.Path.Value, `"`) != importPath {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		if base := path.Base(importPath); base != "v2" {
			return base
		}
		return path.Base(path.Dir(importPath))
	}
	return ""
}

// uses are the places where f names one of what: import path to names, "*" for all.
func uses(f *ast.File, what map[string]map[string]bool) map[string]token.Pos {
	found := map[string]token.Pos{}
	for importPath, names := range what {
		local := imported(f, importPath)
		if local == "" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && (names["*"] || names[s.Sel.Name]) {
				found[importPath+"."+s.Sel.Name] = s.Pos()
			}
			return true
		})
	}
	return found
}

func TestUsesAreFound(t *testing.T) {
	t.Parallel()
	src := "package p\nimport (clock \"time\"; \"math/rand/v2\")\nvar a, b, c = clock.Now, rand.N(3), clock.Second\n"
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	got := uses(f, clocks)
	if len(got) != 2 || got["time.Now"] == 0 || got["math/rand/v2.N"] == 0 {
		t.Errorf("found %v", got)
	}
}
