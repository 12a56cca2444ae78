package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

// Local returns the bucket of a local folder, which is made by the first Put.
// Keys are confined to the folder.
func Local(folder string) Bucket { return &local{folder} }

type local struct{ folder string }

// openLocal splits a path or file:// URI into its folder and the file's name.
func openLocal(uri string) (Bucket, string, error) {
	name, err := LocalPath(uri)
	if err != nil {
		return nil, "", err
	}
	if st, err := os.Stat(name); err == nil && st.IsDir() || strings.HasSuffix(name, string(filepath.Separator)) {
		return Local(filepath.Clean(name)), "", nil
	}
	return Local(dirOf(name)), filepath.Base(name), nil
}

// LocalPath is the path that a plain path or a file:// URI means.
func LocalPath(uri string) (string, error) {
	rest, ok := strings.CutPrefix(uri, "file://")
	if !ok {
		return filepath.FromSlash(uri), nil
	}
	u, err := url.Parse(uri)
	if err != nil || (u.Host != "" && u.Host != "localhost") {
		return "", &batch.Error{Kind: batch.Invalid, Op: "open", Ref: uri, Msg: "is not a file URI of this machine",
			Hint: "write file:///absolute/path or a plain path"}
	}
	if u.Path == "" {
		return filepath.FromSlash(rest), nil
	}
	return filepath.FromSlash(u.Path), nil
}

func dirOf(name string) string { return filepath.Dir(filepath.Clean(name)) }

func (l *local) OpenRange(_ context.Context, key string, off, length int64) (io.ReadCloser, error) {
	d, err := OpenDir(l.folder, false)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := d.Open(key)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || st.IsDir() {
		return nil, errors.Join(localError("open", l.URI(key), fs.ErrNotExist), f.Close())
	}
	if length < 0 {
		length = 1<<63 - 1 - off
	}
	return &section{io.NewSectionReader(f, off, length), f}, nil
}

type section struct {
	io.Reader
	io.Closer
}

func (l *local) Stat(_ context.Context, key string) (Attrs, error) {
	d, err := OpenDir(l.folder, false)
	if err != nil {
		return Attrs{}, err
	}
	defer d.Close()
	st, err := d.root.Stat(key)
	if err == nil && st.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Attrs{}, localError("stat", l.URI(key), err)
	}
	return Attrs{Key: key, Size: st.Size(), ModTime: st.ModTime().UTC()}, nil
}

func (l *local) Put(ctx context.Context, key string, r io.Reader, opts PutOptions) error {
	d, err := OpenDir(l.folder, true)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.mkdirs(path.Dir(path.Clean(key))); err != nil {
		return localError("make folder", l.URI(path.Dir(key)), err)
	}
	failpoint.Hit("put.before")
	f, err := d.Create(key)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f.File, readerOf(ctx, r)); err != nil {
		f.Discard()
		return localError("write", l.URI(key), err)
	}
	failpoint.Hit("put.written")
	if opts.IfAbsent {
		return f.CommitNew()
	}
	return f.Commit()
}

// readerOf ends r with the context's error.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (l *local) List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error] {
	return func(yield func(Attrs, error) bool) {
		d, err := OpenDir(l.folder, false)
		if batch.KindOf(err) == batch.NotFound {
			return
		}
		if err != nil {
			yield(Attrs{}, err)
			return
		}
		defer d.Close()
		start := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			start = prefix[:i]
		}
		w := walk{ctx: ctx, l: l, d: d, prefix: prefix, after: after, yield: yield}
		w.folder(start)
	}
}

// walk lists in byte order of whole keys, which is not the order of a plain
// folder walk: "a.x" sorts before "a/x".
type walk struct {
	ctx           context.Context
	l             *local
	d             *Dir
	prefix, after string
	yield         func(Attrs, error) bool
}

func (w *walk) folder(dir string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.yield(Attrs{}, err)
	}
	name := dir
	if name == "" {
		name = "."
	}
	list, err := fs.ReadDir(w.d.root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return w.yield(Attrs{}, localError("list", w.l.URI(dir), err))
	}
	keys := make([]string, 0, len(list))
	for _, e := range list {
		key := path.Join(dir, e.Name())
		if e.IsDir() {
			key += "/"
		}
		if !IsTemporary(e.Name()) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if !w.entry(key) {
			return false
		}
	}
	return true
}

func (w *walk) entry(key string) bool {
	if sub, ok := strings.CutSuffix(key, "/"); ok {
		if strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key) {
			return w.folder(sub)
		}
		return true
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.after {
		return true
	}
	st, err := w.d.root.Stat(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true // gone since the folder was read
	case err != nil:
		return w.yield(Attrs{}, localError("stat", w.l.URI(key), err))
	case !st.Mode().IsRegular():
		return true
	}
	return w.yield(Attrs{Key: key, Size: st.Size(), ModTime: st.ModTime().UTC()}, nil)
}

func (l *local) Delete(_ context.Context, key string) error {
	d, err := OpenDir(l.folder, false)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.root.Remove(key); err != nil {
		return localError("delete", l.URI(key), err)
	}
	failpoint.Hit("object.deleted")
	if err := d.sync(path.Dir(key)); err != nil {
		return localError("delete", l.URI(key), err)
	}
	return nil
}

func (l *local) URI(key string) string { return filepath.Join(l.folder, filepath.FromSlash(key)) }

func (l *local) Close() error { return nil }

// localError puts the kind on an error of the file system.
func localError(op, name string, err error) error {
	e := &batch.Error{Kind: batch.Unavailable, Op: op, Ref: name, Err: err}
	var known *batch.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Msg, e.Err = batch.NotFound, "no such file or folder", nil
	case errors.Is(err, fs.ErrExist):
		e.Kind, e.Msg, e.Err = batch.Conflict, "is already there", nil
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Msg, e.Err = batch.Config, "permission denied", nil
		e.Hint = "check the owner and mode of the file and its folders"
	default:
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			e.Err = p.Err // the name stands in Ref
		}
		if p, ok := errors.AsType[*os.LinkError](err); ok {
			e.Err = p.Err // of its two names one is temporary
		}
	}
	if batch.DiskFull(err) {
		e.Msg, e.Hint = "the disk is full", "free some space on the file system of "+name+"; a run at work then goes on by itself"
	}
	return e
}
