package sink

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/batchwright/batchwright/internal/batch"
)

// Objects is what Bucket needs of an object store.
type Objects interface {
	// Put stores all of r under key, durably, whole or not at all.
	Put(ctx context.Context, key string, r io.Reader, contentType string) error
	// Delete removes key. For a key that is not there it may say NotFound.
	Delete(ctx context.Context, key string) error
}

// Bucket is a Dest in an object store, under a prefix ("" or ending in "/").
// Files are made whole in a local folder first, so an upload is never torn and
// can be checked before it is seen.
type Bucket struct {
	objects Objects
	prefix  string
	spool   string
}

// NewBucket writes to objects under prefix; spool is a local folder for the
// files on their way.
func NewBucket(objects Objects, prefix, spool string) *Bucket { return &Bucket{objects, prefix, spool} }

// Create begins a file; see Dest.
func (b *Bucket) Create(ctx context.Context, name string) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := plain(name); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(b.spool, tempPrefix+"*.tmp")
	if err != nil {
		return nil, err
	}
	return &bucketFile{ctx: ctx, b: b, file: f, name: name}, nil
}

// Remove deletes a file; see Dest.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	if err := plain(name); err != nil {
		return err
	}
	if err := b.objects.Delete(ctx, b.prefix+name); err != nil && batch.KindOf(err) != batch.NotFound {
		return err
	}
	return nil
}

type bucketFile struct {
	ctx  context.Context // of the whole writing: Commit uploads under it
	b    *Bucket
	file *os.File
	name string
	done bool
}

func (f *bucketFile) Write(p []byte) (int, error) { return f.file.Write(p) }

func (f *bucketFile) ReadBack(read func(io.ReaderAt, int64) error) error {
	return readBack(f.file, read)
}

func (f *bucketFile) Commit() error {
	if f.done {
		return fs.ErrClosed
	}
	err := f.upload()
	return errors.Join(err, f.Abort()) // the spooled copy goes in any case
}

func (f *bucketFile) upload() error {
	size, err := f.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return f.b.objects.Put(f.ctx, f.b.prefix+f.name, io.NewSectionReader(f.file, 0, size), contentType(f.name))
}

// contentType lets a browser that opens the object treat it as what it is;
// rows of a run are never served as a page.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".json":
		return "application/json"
	case ".jsonl":
		return "application/x-ndjson"
	case ".csv":
		return "text/csv; charset=utf-8"
	}
	return "application/octet-stream"
}

func (f *bucketFile) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(f.file.Close(), os.Remove(f.file.Name()))
}
