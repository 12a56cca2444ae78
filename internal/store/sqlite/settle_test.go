package sqlite

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

// cachedFile is a file of a system that forgot, after an fsync that failed,
// which of its pages are not on the disk.
type cachedFile struct {
	cache []byte
	dirty []bool // by byte
	disk  []byte
	fails error // of the next write
}

func (f *cachedFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.cache[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *cachedFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fails != nil {
		return 0, f.fails
	}
	for i := range p {
		f.cache[off+int64(i)], f.dirty[off+int64(i)] = p[i], true
	}
	return len(p), nil
}

func (f *cachedFile) Sync() error {
	for i, d := range f.dirty {
		if d {
			f.disk[i] = f.cache[i]
		}
	}
	return nil
}

// TestALogIsWrittenAgain: what only the system's memory has is on the disk once
// rewrite returned, to the last byte.
func TestALogIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1<<18 - 1, 1 << 18, 1<<18 + 1, 3<<18 + 17} {
		f := &cachedFile{cache: bytes.Repeat([]byte("log."), size/4+1)[:size], dirty: make([]bool, size), disk: make([]byte, size)}
		if err := rewrite(f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.cache, f.disk) {
			t.Errorf("%d bytes: the disk has not what was read", size)
		}
	}
	f := &cachedFile{cache: make([]byte, 9), dirty: make([]bool, 9), disk: make([]byte, 9), fails: syscall.ENOSPC}
	if err := rewrite(f); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write that fails: %v", err)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "x.db")
	if err := Settle(db); err != nil {
		t.Errorf("nothing was left: %v", err)
	}
	left := bytes.Repeat([]byte{1, 2, 3}, 200_000)
	if err := os.WriteFile(db+"-wal", left, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Settle(db); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(db + "-wal"); err != nil || !bytes.Equal(now, left) {
		t.Errorf("the log has %d other bytes, %v", len(now), err)
	}
	if err := os.Remove(db + "-wal"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(db+"-wal", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Settle(db); batch.KindOf(err) != batch.Unavailable {
		t.Errorf("a log that cannot be read: %v", err)
	}
}
