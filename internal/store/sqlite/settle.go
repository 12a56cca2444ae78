package sqlite

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Settle makes what a dead process left of the store at path durable before
// anything is built on it; call it under the data directory's lock, before the
// store is opened for writing.
//
// A log that SQLite finds is read from the system's memory, and what is there
// need not be on the disk: after an fsync that failed the system forgets that
// it has to write those pages, and a later fsync says nothing of them. So every
// byte of the log is written once more and flushed. A live process needs none
// of this: what it did not get acknowledged it writes again itself.
func Settle(path string) error {
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Explain(path, "open", err)
	}
	err = rewrite(f)
	return Explain(path, "open", errors.Join(err, f.Close()))
}

// file is what rewrite needs of one.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// rewrite writes the bytes of f over themselves and flushes them.
func rewrite(f file) error {
	buf := make([]byte, 1<<18)
	for off := int64(0); ; {
		n, err := f.ReadAt(buf, off)
		if n > 0 {
			if _, werr := f.WriteAt(buf[:n], off); werr != nil {
				return werr
			}
		}
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return f.Sync()
		}
		if err != nil {
			return err
		}
	}
}
