package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

const tempPrefix = ".batchwright-"

// Folder is a Dest in a local folder. Everything it does stays inside the
// folder, symbolic links included.
type Folder struct{ root *os.Root }

// OpenFolder makes the folder if needed and removes what a killed writer left
// half-written in it. The caller closes it.
func OpenFolder(path string) (*Folder, error) {
	if err := makeFolder(path); err != nil {
		return nil, folderError(path, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, folderError(path, err)
	}
	f := &Folder{root}
	if err := f.sweep(); err != nil {
		_ = root.Close()
		return nil, folderError(path, err)
	}
	return f, nil
}

// makeFolder makes a folder, and the names that it made survive a power cut.
func makeFolder(path string) error {
	var made []string
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	for _, p := range made {
		root, err := os.OpenRoot(filepath.Dir(p))
		if err != nil {
			return err
		}
		if err := errors.Join(syncDir(root), root.Close()); err != nil {
			return err
		}
	}
	return nil
}

func folderError(path string, err error) error {
	switch {
	case batch.DiskFull(err):
		return &batch.Error{Kind: batch.Unavailable, Op: "open output folder", Ref: path, Msg: "the disk is full", Err: err,
			Hint: "free some space on its file system"}
	case batch.MachineFault(err):
		return &batch.Error{Kind: batch.Unavailable, Op: "open output folder", Ref: path, Err: err}
	}
	return &batch.Error{Kind: batch.Config, Op: "open output folder", Ref: path, Msg: "cannot be used",
		Hint: "set output.uri to a folder you may write to", Err: err}
}

func (f *Folder) sweep() error {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) && strings.HasSuffix(e.Name(), ".tmp") && e.Type().IsRegular() {
			if err := f.root.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Create begins a file; see Dest.
func (f *Folder) Create(ctx context.Context, name string) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := plain(name); err != nil {
		return nil, err
	}
	// The name is new for every writing: of two writers on one folder each
	// publishes its own whole file, never a mixture.
	temp := tempPrefix + name + "-" + rand.Text() + ".tmp"
	file, err := f.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, unnamed(err)
	}
	failpoint.Hit("output.created")
	return &folderFile{root: f.root, file: file, temp: temp, name: name}, nil
}

// Remove deletes a file and makes that durable; see Dest.
func (f *Folder) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := plain(name); err != nil {
		return err
	}
	// A name that is gone may be so in memory alone, if who removed it could
	// not flush that.
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	failpoint.Hit("output.removed")
	return syncDir(f.root)
}

// unnamed drops the name of a temporary file from an error: it says nothing to
// anybody, and each try has another.
func unnamed(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if p, ok := errors.AsType[*os.LinkError](err); ok {
		return p.Err
	}
	return err
}

func plain(name string) error {
	if name == "" || name == "." || !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
		return &batch.Error{Kind: batch.Internal, Op: "write outputs", Msg: fmt.Sprintf("%q is not a plain file name", name)}
	}
	return nil
}

type folderFile struct {
	root       *os.Root
	file       *os.File
	temp, name string
	done       bool
}

func (f *folderFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, unnamed(err)
}

func (f *folderFile) ReadBack(read func(io.ReaderAt, int64) error) error {
	return readBack(f.file, read)
}

func readBack(f *os.File, read func(io.ReaderAt, int64) error) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return read(f, st.Size())
}

func (f *folderFile) Commit() error {
	if f.done {
		return fs.ErrClosed
	}
	failpoint.Hit("output.sync.before")
	if err := f.file.Sync(); err != nil {
		return errors.Join(err, f.Abort())
	}
	f.done = true
	if err := f.file.Close(); err != nil {
		return errors.Join(err, f.root.Remove(f.temp))
	}
	failpoint.Hit("output.rename.before")
	if err := f.root.Rename(f.temp, f.name); err != nil {
		return errors.Join(err, f.root.Remove(f.temp))
	}
	failpoint.Hit("output.dirsync.before")
	return syncDir(f.root)
}

func (f *folderFile) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(f.file.Close(), f.root.Remove(f.temp))
}

// syncDir makes a rename or a removal survive a power cut. Windows has no such
// call for a folder; its rename is journalled.
func syncDir(root *os.Root) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
