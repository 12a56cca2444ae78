package blob

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

// Dir is a local folder whose files are written durably: a file appears whole,
// under its name, and survives a power cut once Commit returned. Nothing
// outside of the folder can be reached through it, by ".." or by link.
type Dir struct{ root *os.Root }

// OpenDir opens a folder; with create it is made first where it is missing.
func OpenDir(name string, create bool) (*Dir, error) {
	if create {
		if err := makeAll(name); err != nil {
			return nil, localError("make folder", name, err)
		}
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, localError("open folder", name, err)
	}
	return &Dir{root}, nil
}

// Close releases the folder; its open files stay usable.
func (d *Dir) Close() error { return d.root.Close() }

// Name is the folder's path.
func (d *Dir) Name() string { return d.root.Name() }

// Open opens a file for reading at any place.
func (d *Dir) Open(name string) (*os.File, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, localError("open", path.Join(d.Name(), name), err)
	}
	return f, nil
}

// Remove removes a file; a missing one is no error.
func (d *Dir) Remove(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return localError("remove", path.Join(d.Name(), name), err)
	}
	return nil
}

// Names lists the folder's own files, temporary ones too, in order.
func (d *Dir) Names() ([]string, error) {
	list, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, localError("list", d.Name(), err)
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// IsTemporary reports whether a file of that name is an unfinished draft or a
// scratch file.
func IsTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, ".tmp-")
}

// Draft is a file that is not there yet.
type Draft struct {
	*os.File
	dir       *Dir
	temp, end string
}

// Create starts the file that Commit will put under name.
func (d *Dir) Create(name string) (*Draft, error) {
	for range 100 {
		temp := path.Join(path.Dir(name), "."+path.Base(name)+".tmp-"+rand.Text()[:10])
		f, err := d.root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, localError("create", path.Join(d.Name(), name), err)
		}
		failpoint.Hit("draft.create.after")
		return &Draft{File: f, dir: d, temp: temp, end: name}, nil
	}
	return nil, &batch.Error{Kind: batch.Internal, Op: "create", Ref: path.Join(d.Name(), name), Msg: "no free temporary name"}
}

// Commit makes the file durable and puts it under its name, over an older one.
func (f *Draft) Commit() error {
	err := f.settle()
	if err == nil {
		failpoint.Hit("draft.rename.before")
		err = f.dir.root.Rename(f.temp, f.end)
	}
	return f.finish(err)
}

// CommitNew is Commit that fails with Conflict when the name is taken.
func (f *Draft) CommitNew() error {
	err := f.settle()
	if err == nil {
		err = f.dir.root.Link(f.temp, f.end)
	}
	if err == nil {
		err = f.dir.root.Remove(f.temp)
	}
	return f.finish(err)
}

func (f *Draft) settle() error {
	failpoint.Hit("draft.sync.before")
	err := f.Sync() // guard: SYNCED_FIRST
	return errors.Join(err, f.File.Close())
}

func (f *Draft) finish(err error) error {
	if err == nil {
		failpoint.Hit("draft.dirsync.before")
		err = f.dir.sync(path.Dir(f.end))
		failpoint.Hit("draft.dirsync.after")
	}
	if err != nil {
		_ = f.dir.root.Remove(f.temp)
		return localError("write", path.Join(f.dir.Name(), f.end), err)
	}
	return nil
}

// Discard drops an uncommitted draft.
func (f *Draft) Discard() {
	_ = f.File.Close()
	_ = f.dir.root.Remove(f.temp)
}

// Scratch makes a nameless file for working data. Discard ends it; where the
// system allows it, it has no name even before.
func (d *Dir) Scratch() (*Draft, error) {
	f, err := d.Create("scratch")
	if err == nil && runtime.GOOS != "windows" {
		_ = d.root.Remove(f.temp)
	}
	return f, err
}

func (d *Dir) sync(sub string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be flushed there; the rename is journalled
	}
	f, err := d.root.Open(sub)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(f.Sync()), f.Close())
}

// mkdirs makes the folder sub inside of d and flushes the names on the way to
// it. Whoever made them before may have died, or failed, before it had.
func (d *Dir) mkdirs(sub string) error {
	if err := d.root.MkdirAll(sub, 0o755); err != nil {
		return err
	}
	for p := sub; p != "."; {
		p = path.Dir(p)
		if err := d.sync(p); err != nil {
			return err
		}
	}
	return nil
}

// makeAll is MkdirAll that flushes the names it makes.
func makeAll(name string) error {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return nil
	}
	var parents []string
	for p := name; ; {
		up := dirOf(p)
		parents = append(parents, up)
		if _, err := os.Stat(up); err == nil || up == p {
			// Its own name, too: who made it may not have flushed it.
			parents = append(parents, dirOf(up))
			break
		}
		p = up
	}
	if err := os.MkdirAll(name, 0o755); err != nil {
		return err
	}
	for _, p := range parents {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = errors.Join(ignoreUnsupported(f.Sync()), f.Close())
		if err != nil && runtime.GOOS != "windows" {
			return err
		}
	}
	return nil
}

// ignoreUnsupported drops the refusal of file systems that cannot flush a folder.
func ignoreUnsupported(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
