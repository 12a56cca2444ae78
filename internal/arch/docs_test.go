package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pagesOfTests are the pages that name the tests behind what they promise.
var pagesOfTests = []string{"docs/guarantees.md", "docs/museum.md"}

var (
	testName   = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")
	scriptName = regexp.MustCompile("`([a-z-]+\\.txt)`")
	modelName  = regexp.MustCompile("`(model/[a-z]+\\.pml)`")
	sceneName  = regexp.MustCompile(`scene "([a-z ]+)"`)
)

// TestPromisesNameTestsThatExist holds the pages to the tree: a promise that
// names a test which is not there is not kept by anything.
func TestPromisesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	var tests, scenes strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		body, err := os.ReadFile(path)
		switch {
		case strings.HasSuffix(path, "_test.go"), strings.Contains(path, "providertest"):
			tests.Write(body)
		case strings.Contains(path, "torture"):
			scenes.Write(body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pagesOfTests {
		body, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllStringSubmatch(string(body), -1) {
			found++
			if !strings.Contains(tests.String(), "func "+m[1]+"(t ") {
				t.Errorf("%s names %s, and there is no such test", page, m[1])
			}
		}
		for _, m := range scriptName.FindAllStringSubmatch(string(body), -1) {
			if _, err := os.Stat(filepath.Join(root, "internal", "cli", "testdata", "script", m[1])); err != nil {
				t.Errorf("%s names the script %s: %v", page, m[1], err)
			}
		}
		for _, m := range modelName.FindAllStringSubmatch(string(body), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s: %v", page, m[1], err)
			}
		}
		for _, m := range sceneName.FindAllStringSubmatch(string(body), -1) {
			if !strings.Contains(scenes.String(), `name: "`+m[1]+`"`) {
				t.Errorf("%s names the scene %q, and there is none", page, m[1])
			}
		}
		if strings.Contains(string(body), "@@") {
			t.Errorf("%s has a figure that was not filled in", page)
		}
	}
	if found < 40 {
		t.Errorf("only %d tests are named: is the page read rightly?", found)
	}
}
