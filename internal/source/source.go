// Package source turns the URI of an input into the files it means, in a fixed
// order, with the facts that tell one version of a file from another.
package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// Stdin is the URI of the standard input.
const Stdin = "-"

// Facts tell one version of a file from another.
type Facts struct {
	Size    int64 // bytes as stored; -1 for a stream
	ModTime time.Time
	ETag    string
	Version string
}

// Same reports whether both facts can be those of one version. It is cheap, not
// a proof: the bytes of items are proven by their hashes.
func (f Facts) Same(g Facts) bool {
	if f.ETag != "" && g.ETag != "" {
		return f.ETag == g.ETag && f.Size == g.Size
	}
	return f.Size == g.Size && f.ModTime.Equal(g.ModTime)
}

// File is one file of an input.
type File struct {
	URI   string // for people and for opening it again; absolute for local files
	Facts Facts
	// Path is set for a regular local file: it can be read at any place.
	Path string

	stdin io.Reader
	blobs *blob.Registry
}

// Input says where to look.
type Input struct {
	URI   string         // file, glob, folder, file://, cloud URI, prefix or "-"
	Dir   string         // what a relative path is relative to; empty: the working directory
	Stdin io.Reader      // for "-"
	Blobs *blob.Registry // for cloud URIs
}

// Expand lists the files that in means, sorted by name, never none.
//
// In a folder and under a prefix, names that begin with a dot or an underscore
// are passed over, in every folder of the way; a glob finds them only where its
// own element begins so. A folder is read with all folders in it; links to files
// are followed, links to folders are not.
func Expand(ctx context.Context, in Input) ([]File, error) {
	switch {
	case in.URI == "":
		return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Msg: "no input is named", Hint: "set input.uri"}
	case in.URI == Stdin:
		if in.Stdin == nil {
			return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: Stdin, Msg: "there is no standard input here",
				Hint: "give a file, or run it in the foreground with the input piped in"}
		}
		return []File{{URI: Stdin, Facts: Facts{Size: -1}, stdin: in.Stdin}}, nil
	case blob.IsLocal(in.URI):
		return expandLocal(ctx, in)
	}
	return expandBlob(ctx, in)
}

// Reopen is the file of an earlier Expand, by its URI.
func Reopen(uri string, facts Facts, blobs *blob.Registry) File {
	f := File{URI: uri, Facts: facts, blobs: blobs}
	if uri != Stdin && blob.IsLocal(uri) {
		f.Path = uri
	}
	return f
}

// Open opens the file for reading from its beginning.
func (f File) Open(ctx context.Context) (io.ReadCloser, error) {
	switch {
	case f.stdin != nil:
		return io.NopCloser(untilDone(ctx, f.stdin)), nil
	case f.URI == Stdin:
		return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: Stdin, Msg: "a standard input can be read only once"}
	case blob.IsLocal(f.URI):
		file, err := os.Open(f.URI)
		if err != nil {
			return nil, localError(f.URI, err)
		}
		if f.Path == "" {
			return &section{untilDone(ctx, file), file}, nil
		}
		return file, nil
	}
	b, key, err := f.blobs.Open(ctx, f.URI)
	if err != nil {
		return nil, err
	}
	r, err := b.OpenRange(ctx, key, 0, -1)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return &bucketReader{r, b}, nil
}

// bucketReader closes the bucket with the reader.
type bucketReader struct {
	io.ReadCloser
	b blob.Bucket
}

func (r *bucketReader) Close() error { return errors.Join(r.ReadCloser.Close(), r.b.Close()) }

// RandomReader reads a file at any place, from many goroutines.
type RandomReader interface {
	io.ReaderAt
	io.Closer
}

// OpenAt opens a regular local file for reading at any place.
func (f File) OpenAt() (RandomReader, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, localError(f.Path, err)
	}
	return file, nil
}

// Stat returns the facts as they are now. A stream keeps those it had.
func (f File) Stat(ctx context.Context) (Facts, error) {
	switch {
	case f.URI == Stdin:
		return f.Facts, nil
	case blob.IsLocal(f.URI):
		st, err := os.Stat(f.URI)
		if err != nil {
			return Facts{}, localError(f.URI, err)
		}
		return localFacts(st), nil
	}
	b, key, err := f.blobs.Open(ctx, f.URI)
	if err != nil {
		return Facts{}, err
	}
	a, err := b.Stat(ctx, key)
	return blobFacts(a), errors.Join(err, b.Close())
}

// Pin returns the file with the facts it has now, when those it has cannot tell
// two versions apart: a listing of a cloud store gives no tags.
func (f File) Pin(ctx context.Context) (File, error) {
	if f.URI == Stdin || blob.IsLocal(f.URI) || f.Facts.ETag != "" {
		return f, nil
	}
	facts, err := f.Stat(ctx)
	f.Facts = facts
	return f, err
}

func localFacts(st os.FileInfo) Facts {
	if !st.Mode().IsRegular() {
		return Facts{Size: -1}
	}
	return Facts{Size: st.Size(), ModTime: st.ModTime().UTC()}
}

func blobFacts(a blob.Attrs) Facts {
	return Facts{Size: a.Size, ModTime: a.ModTime, ETag: a.ETag, Version: a.Version}
}

func localError(name string, err error) error {
	e := &batch.Error{Kind: batch.Unavailable, Op: "read input", Ref: name, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Msg, e.Err = batch.NotFound, "no such file or folder", nil
		e.Hint = "check input.uri; a relative path is relative to the spec's folder"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Msg, e.Err = batch.Config, "permission denied", nil
		e.Hint = "check the owner and mode of the file and its folders"
	default:
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			e.Err = p.Err
		}
	}
	return e
}

func hasMeta(s string) bool { return strings.ContainsAny(s, "*?[") }

// skipped reports whether a folder walk passes over the name.
func skipped(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") }

func noFiles(uri, msg string) error {
	return &batch.Error{Kind: batch.NotFound, Op: "read input", Ref: blob.Redact(uri), Msg: msg,
		Hint: "check input.uri; quote globs in a shell"}
}

// absolute puts a relative path under dir.
func absolute(name, dir string) (string, error) {
	if !filepath.IsAbs(name) && dir != "" {
		name = filepath.Join(dir, name)
	}
	full, err := filepath.Abs(name)
	if err != nil {
		return "", localError(name, err)
	}
	return full, nil
}
