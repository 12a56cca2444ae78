package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// corpusFiles are the files that specs of the corpus name.
func corpusFiles(path string) ([]byte, error) {
	files := map[string]string{
		"prompt.md": "Summarise this:\n\n{{ text }}\n", "system.md": "You are brief.\n", "answer.schema.json": "{\n  \"type\": \"object\",\n  \"required\": [\"b\", \"a\"]\n}\n",
		"notjson.txt": "{\n\"a\": x}\n", "list.json": "[1]", "empty.json": " {} ", "blank.md": " \n", "chain.md": "file:prompt.md\n",
		"latin1.md": "caf\xe9", "sub/prompt.md": "{{ text }}",
	}
	switch path {
	case "huge.md":
		return bytes.Repeat([]byte("x"), maxRefBytes+1), nil
	case "folder":
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	}
	if body, ok := files[filepath.ToSlash(path)]; ok {
		return []byte(body), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func corpusOptions() Options { return Options{ReadFile: corpusFiles} }

type badSpec struct {
	name string
	src  []byte
	want []wantFinding
}

type wantFinding struct {
	code      Code
	line, col int
	parts     []string
}

// marker stands inside what looks like a key, so that the corpus itself holds
// none.
const marker = "§"

func badCorpus(t testing.TB) []badSpec {
	t.Helper()
	paths, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no bad corpus: %v", err)
	}
	var all []badSpec
	for _, path := range paths {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			b, err := readBad(f.Data)
			if err == nil && strings.HasSuffix(f.Name, ".quoted") {
				var s string
				s, err = strconv.Unquote(strings.TrimSpace(string(b.src)))
				b.src = []byte(s)
			}
			if err != nil || len(b.want) == 0 {
				t.Fatalf("%s: %s: no readable findings: %v", path, f.Name, err)
			}
			b.name = strings.TrimSuffix(filepath.Base(path), ".txtar") + "/" + f.Name
			all = append(all, b)
		}
	}
	return all
}

var wantLine = regexp.MustCompile(`^#! (E\d{4}) (\d+):(\d+)(?: \| (.*))?$`)

func readBad(data []byte) (badSpec, error) {
	var b badSpec
	for line := range strings.Lines(strings.ReplaceAll(string(data), marker, "")) {
		if !strings.HasPrefix(line, "#! ") {
			b.src = append(b.src, line...)
			continue
		}
		m := wantLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return b, fmt.Errorf("cannot read %q", line)
		}
		w := wantFinding{code: Code(m[1])}
		w.line, _ = strconv.Atoi(m[2])
		w.col, _ = strconv.Atoi(m[3])
		if m[4] != "" {
			w.parts = strings.Split(m[4], " | ")
		}
		b.want = append(b.want, w)
	}
	return b, nil
}

func (w wantFinding) is(d Diagnostic) bool {
	if d.Code != w.code || d.Line != w.line || w.col != 0 && d.Col != w.col {
		return false
	}
	for _, part := range w.parts {
		if !strings.Contains(d.Message+" "+d.Hint, part) {
			return false
		}
	}
	return true
}

func TestBadSpecs(t *testing.T) {
	t.Parallel()
	corpus := badCorpus(t)
	if len(corpus) < 150 {
		t.Errorf("the corpus has %d bad specs; it must not shrink below 150", len(corpus))
	}
	met := map[Code]bool{}
	for _, b := range corpus {
		t.Run(b.name, func(t *testing.T) {
			s, ds := Parse("job.yaml", b.src, corpusOptions())
			if (s == nil) != (ds.Errors() > 0) {
				t.Errorf("spec %v with %d errors", s != nil, ds.Errors())
			}
			left := append(Diagnostics(nil), ds...)
			for _, w := range b.want {
				i := 0
				for i < len(left) && !w.is(left[i]) {
					i++
				}
				if i == len(left) {
					t.Errorf("not found: %s %d:%d %q", w.code, w.line, w.col, w.parts)
					continue
				}
				left = append(left[:i:i], left[i+1:]...)
			}
			if len(left) > 0 || t.Failed() {
				t.Errorf("source:\n%s\nfound:\n%s", b.src, dump(ds))
			}
		})
		for _, w := range b.want {
			met[w.code] = true
		}
	}
	met[codeUnreadable], met[codeTooLarge], met[codeTooMany] = true, true, true // tests of their own
	for _, c := range Codes() {
		if !met[c] {
			t.Errorf("no bad spec shows %s (%s)", c, c.Name())
		}
	}
}

func dump(ds Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, "%s %d:%d %s | %s\n", d.Code, d.Line, d.Col, d.Message, d.Hint)
	}
	return b.String()
}

func goodCorpus(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/good/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no good corpus: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			all[f.Name] = f.Data
		}
	}
	for _, kind := range TemplateKinds() {
		b, err := Template(kind)
		if err != nil {
			t.Fatal(err)
		}
		all["starter-"+kind] = b
	}
	return all
}

func TestGoodSpecs(t *testing.T) {
	t.Parallel()
	corpus := goodCorpus(t)
	if len(corpus) < 40 {
		t.Errorf("the corpus has %d good specs; it must not shrink below 40", len(corpus))
	}
	for name, src := range corpus {
		t.Run(name, func(t *testing.T) {
			s, ds := Parse("job.yaml", src, corpusOptions())
			if len(ds) > 0 {
				t.Fatalf("refused:\n%s\n%s", src, dump(ds))
			}
			again, ds := Parse("job.yaml", s.Canonical(), Options{})
			if again == nil {
				t.Fatalf("the canonical form is refused:\n%s\n%s", s.Canonical(), dump(ds))
			}
			if again.Digest() != s.Digest() || again.WorkDigest() != s.WorkDigest() {
				t.Errorf("the canonical form has another digest:\n%s\n%s", s.Canonical(), again.Canonical())
			}
			if d := Diff(s, again); len(d) > 0 {
				t.Errorf("the canonical form differs: %v", d)
			}
			checkGolden(t, filepath.Join("testdata", "golden", name+".json"), s.Canonical())
		})
	}
}

// checkGolden compares with a golden file where there is one.
func checkGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(bytes.TrimSuffix(want, []byte("\n")), got) {
		t.Errorf("%s:\n got %s\nwant %s", path, got, want)
	}
}
