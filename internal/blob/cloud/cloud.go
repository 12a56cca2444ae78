// Package cloud adapts S3, Google Cloud Storage and Azure Blob Storage to the
// blob port.
package cloud

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"net"
	"net/url"
	"strings"

	gocloud "gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// bucket is one bucket or container.
type bucket struct {
	b  *gocloud.Bucket
	at blob.Location
}

// driver makes a driver of what the library knows by a scheme.
func driver(scheme, hint string, prepare func(url.Values)) blob.Driver {
	open := func(ctx context.Context, l blob.Location) (blob.Bucket, error) {
		q := maps.Clone(l.Query)
		if q == nil {
			q = url.Values{}
		}
		if q.Has("prefix") || q.Has("key") {
			return nil, &batch.Error{Kind: batch.Invalid, Op: "open", Ref: l.String(), Msg: "prefix and key cannot stand in the query",
				Hint: "write them into the path"}
		}
		prepare(q)
		b, err := gocloud.DefaultURLMux().OpenBucketURL(ctx, &url.URL{Scheme: scheme, Host: l.Bucket, RawQuery: q.Encode()})
		if err != nil {
			return nil, &batch.Error{Kind: batch.Credentials, Op: "open", Ref: l.String(), Msg: "the store cannot be opened with these settings",
				Err: cause(err), Hint: hint}
		}
		return &bucket{b, l}, nil
	}
	return blob.Driver{Scheme: scheme, Open: open}
}

func (b *bucket) URI(key string) string {
	l := b.at
	l.Key = key
	return l.String()
}

func (b *bucket) OpenRange(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	r, err := b.b.NewRangeReader(ctx, key, off, length, nil)
	if err != nil {
		return nil, b.failure(ctx, "read", key, err)
	}
	return &reader{r, ctx, b, key}, nil
}

// reader gives failures in the middle of an object their kind.
type reader struct {
	io.ReadCloser
	ctx context.Context
	b   *bucket
	key string
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = r.b.failure(r.ctx, "read", r.key, err)
	}
	return n, err
}

func (b *bucket) Stat(ctx context.Context, key string) (blob.Attrs, error) {
	a, err := b.b.Attributes(ctx, key)
	if err != nil {
		return blob.Attrs{}, b.failure(ctx, "stat", key, err)
	}
	return blob.Attrs{Key: key, Size: a.Size, ModTime: a.ModTime.UTC(), ETag: strings.Trim(a.ETag, `"`)}, nil
}

func (b *bucket) Put(ctx context.Context, key string, r io.Reader, opts blob.PutOptions) error {
	// Upload, not NewWriter: the writer of the Azure driver panics when the
	// store refuses. Upload wants the content type to be known.
	kind := opts.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	// A write whose reader fails must not leave half an object: the cancelled
	// context makes the driver give it up.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := b.b.Upload(ctx, key, &source{r, cancel}, &gocloud.WriterOptions{ContentType: kind, IfNotExist: opts.IfAbsent})
	if cut := context.Cause(ctx); cut != nil {
		return cut
	}
	return b.failure(ctx, "write", key, err)
}

// source cancels the write when its reader fails.
type source struct {
	r      io.Reader
	cancel context.CancelCauseFunc
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.cancel(err)
	}
	return n, err
}

func (b *bucket) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Attrs, error] {
	return func(yield func(blob.Attrs, error) bool) {
		list := b.b.List(&gocloud.ListOptions{Prefix: prefix})
		for {
			o, err := list.Next(ctx)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(blob.Attrs{}, b.failure(ctx, "list", prefix, err))
				return
			}
			if o.Key <= after {
				continue
			}
			if !yield(blob.Attrs{Key: o.Key, Size: o.Size, ModTime: o.ModTime.UTC()}, nil) {
				return
			}
		}
	}
}

func (b *bucket) Delete(ctx context.Context, key string) error {
	// S3 and others say nothing when there was no object.
	if _, err := b.Stat(ctx, key); err != nil {
		return err
	}
	return b.failure(ctx, "delete", key, b.b.Delete(ctx, key))
}

func (b *bucket) Close() error {
	if err := b.b.Close(); err != nil {
		return &batch.Error{Kind: batch.Internal, Op: "close", Ref: b.URI(""), Err: cause(err)}
	}
	return nil
}

// failure gives an error of the vendor its kind, and drops what it says about
// the request: signed URLs are secrets.
func (b *bucket) failure(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := &batch.Error{Kind: batch.Unavailable, Op: op, Ref: b.URI(key), Err: cause(err)}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		e.Kind, e.Msg, e.Err = batch.NotFound, "no such object or bucket", nil
	case gcerrors.FailedPrecondition, gcerrors.AlreadyExists:
		e.Kind, e.Msg, e.Err = batch.Conflict, "is already there", nil
	case gcerrors.PermissionDenied:
		e.Kind, e.Msg = batch.Credentials, "the store refuses the credentials"
		e.Hint = "check the key and what it may do with this bucket"
	default:
		if missingCredentials(err) {
			e.Kind, e.Msg, e.Err = batch.Credentials, "there are no credentials for the store", nil
			e.Hint = "set the vendor's own environment variables, or sign in with its command line tool"
		}
	}
	return e
}

// missingCredentials knows the one failure that vendors give no type: nothing
// was found to sign the request with.
func missingCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get credentials:") || strings.Contains(text, "could not find default credentials")
}

// cause is what may be shown of a vendor's error.
func cause(err error) error {
	var api interface {
		error
		ErrorCode() string
	}
	if errors.As(err, &api) {
		return errors.New("the store answered " + api.ErrorCode())
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	if code := gcerrors.Code(err); code != gcerrors.Unknown && code != gcerrors.OK {
		return errors.New("the store answered " + code.String())
	}
	return errors.New("the request failed")
}
