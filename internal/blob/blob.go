// Package blob is the port to object stores: local folders, S3, Google Cloud
// Storage and Azure Blob Storage behind one small interface.
//
// An object is written whole or not at all: a reader sees the old object or
// the new one. Adapters only translate; retries beyond those of a vendor's own
// client are the caller's. Errors are *batch.Error of Kind NotFound,
// Credentials, Conflict or Unavailable, and never hold a secret or the query
// of a signed URL.
package blob

import (
	"context"
	"io"
	"iter"
	"time"
)

// Bucket is one place that holds objects by key. Keys are slash-separated,
// relative and clean. Its methods may be called from many goroutines.
type Bucket interface {
	// OpenRange reads length bytes of an object from off on; a length below 0
	// reads to the end. NotFound when there is no such object.
	OpenRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error)
	// Stat returns the facts about one object. NotFound when there is none.
	Stat(ctx context.Context, key string) (Attrs, error)
	// Put writes all of r as one object, durably. When it fails, or r does,
	// the key holds what it held before.
	Put(ctx context.Context, key string, r io.Reader, opts PutOptions) error
	// List yields the objects whose key begins with prefix and sorts after
	// `after`, in byte order of keys.
	List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error]
	// Delete removes an object. NotFound when there is none.
	Delete(ctx context.Context, key string) error
	// URI names an object for people and for Registry.Open: no secrets.
	URI(key string) string
	// Close releases what the bucket holds. The bucket is not used after it.
	Close() error
}

// Attrs are the facts about one object that tell one version from another.
type Attrs struct {
	Key     string
	Size    int64
	ModTime time.Time
	ETag    string // empty for local files
	Version string // the store's version id where versioning is on
}

// PutOptions change how an object is written.
type PutOptions struct {
	// IfAbsent refuses with Conflict when the key already holds an object; of
	// many writers at once, one succeeds.
	IfAbsent    bool
	ContentType string // empty: application/octet-stream
}
