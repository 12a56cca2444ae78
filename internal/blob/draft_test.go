package blob_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/batchwright/batchwright/internal/blob"
)

// TestADraftIsSyncedBeforeItGetsItsName: a pipe takes writes and cannot be
// synced. What could not be made durable never stands under its name.
func TestADraftIsSyncedBeforeItGetsItsName(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, err := blob.OpenDir(folder, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for name, commit := range map[string]func(*blob.Draft) error{"replaced": (*blob.Draft).Commit, "new": (*blob.Draft).CommitNew} {
		f, err := d.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		file := f.File
		f.File = w
		if err := commit(f); err == nil {
			t.Errorf("%s: it was committed without being synced", name)
		}
		if _, err := os.Lstat(filepath.Join(folder, name)); !os.IsNotExist(err) {
			t.Errorf("%s: it stands under its name: %v", name, err)
		}
		_, _ = file.Close(), r.Close()
	}
}
