package cli_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// hostileIDs would do harm as names of files.
var hostileIDs = []string{"../../x", "..", ".", "/etc/passwd", "../../../../../../tmp/canary-id", "CON", "con.txt", "NUL", "LPT1", "a/b/c", `..\..\x`, `C:\x`, "~", "~root",
	"-rf", "--help", "$(touch canary-id)", "`touch canary-id`", ";touch canary-id", "|x", "a\x00b", "a\nb", "a\rb", "\u202egnp.exe", "😀", "é", "e\u0301", " ", "a ", " a", "*", "?",
	"results.jsonl", "_SUCCESS", ".tmp-x", ".batchwright", "batchwright.db", "lock", "sock", "manifest", "segments", "%2e%2e%2fx", "..%2f..%2fx", "....//x", "file:///etc/passwd",
	"s3://b/k", "&amp;", "<x>", "'", `"`, "\ufeffx", "\u2028", strings.Repeat("x", 300), strings.Repeat("../", 80), strings.Repeat("é", 200), "aux.", "x:stream", "x|y", "\x7f", "\x1b[2J"}

// ours are the names of files that a run may leave.
var ours = regexp.MustCompile(`^(\.batchwright(/(batchwright\.db(-wal|-shm)?|lock|sock|runs(/r_[0-9a-v]{13}(/(log|manifest(/(SEALED|[a-z0-9._-]+))?|segments(/[0-9a-f]+\.zst)?|output))?)?))?` +
	`|out(/(results\.jsonl|failed\.jsonl|ledger\.jsonl|summary\.json|report\.html|_manifest\.json|_SUCCESS))?|in\.jsonl|job\.yaml)$`)

// Ids are data: whatever an item is called, the names of all files are ours.
func TestIDsAreNoFileNames(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("batchwright")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for _, id := range hostileIDs {
		b, err := json.Marshal(map[string]string{"id": id, "text": "t " + id})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, '\n'))
	}
	spec := "job: {id: ids, batch_size: 4}\ninput: {uri: in.jsonl, on_bad_item: quarantine}\nfailure_threshold: 1\noutput: {uri: out}\ntask: {provider: sim, prompt: \"{{ text }}\"}\n"
	for name, text := range map[string]string{"in.jsonl": in.String(), "job.yaml": spec} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) string {
		c := exec.Command(bin, args...)
		c.Dir, c.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		out, _ := c.CombinedOutput()
		return string(out)
	}
	out := do("run", "job.yaml")
	for _, id := range hostileIDs { // as arguments, for items and for runs
		if strings.ContainsRune(id, 0) {
			continue
		}
		if len(id) < 20 {
			do("item", "--", "latest", id)
		}
	}
	for _, id := range []string{"../../x", "/etc/passwd", "..", "*", "r_../../../x"} {
		do("status", "--", id)
		do("results", "--", id)
		do("cancel", "--", id)
		do("resume", "--", id)
	}
	seen := 0
	top := filepath.Dir(filepath.Dir(filepath.Dir(dir)))
	err = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." || rel == ".." || rel == "../.." || rel == "../../.." {
			return err
		}
		seen++
		if !ours.MatchString(filepath.ToSlash(rel)) {
			t.Errorf("a file that nobody of us names so: %q", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 15 {
		t.Errorf("%d files only; the run says:\n%s", seen, out)
	}
	t.Logf("%d ids, %d files", len(hostileIDs), seen)
}
