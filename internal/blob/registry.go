package blob

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Driver opens buckets of one URI scheme.
type Driver struct {
	Scheme string // "s3"
	// Open opens the bucket that u names (host and query; the path is the
	// object's key and not the driver's concern).
	Open func(ctx context.Context, u *url.URL) (Bucket, error)
}

// Registry finds the driver of a URI. The zero value and nil know local files only.
type Registry struct{ drivers map[string]Driver }

// NewRegistry makes a registry of the drivers given and local files.
func NewRegistry(drivers ...Driver) *Registry {
	r := &Registry{drivers: make(map[string]Driver, len(drivers))}
	for _, d := range drivers {
		r.drivers[d.Scheme] = d
	}
	return r
}

// IsLocal reports whether uri names a local file: a plain path or file://.
func IsLocal(uri string) bool {
	scheme, _, ok := strings.Cut(uri, "://")
	return !ok || scheme == "file" || strings.ContainsAny(scheme, `/\.`)
}

// Open opens the bucket that uri names and returns the key in it. The caller
// closes the bucket. For a local path the bucket is its folder.
func (r *Registry) Open(ctx context.Context, uri string) (Bucket, string, error) {
	if IsLocal(uri) {
		return openLocal(uri)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, "", &batch.Error{Kind: batch.Invalid, Op: "open", Ref: Redact(uri), Msg: "is not a URI",
			Hint: "write s3://bucket/key, gs://bucket/key, azblob://container/key or a path"}
	}
	var d Driver
	if r != nil {
		d = r.drivers[u.Scheme]
	}
	if d.Open == nil {
		return nil, "", &batch.Error{Kind: batch.Invalid, Op: "open", Ref: Redact(uri),
			Msg:  fmt.Sprintf("no store is known for %q", u.Scheme+"://"),
			Hint: "use a path, file://, s3://, gs:// or azblob://"}
	}
	b, err := d.Open(ctx, u)
	if err != nil {
		return nil, "", err
	}
	return b, strings.TrimPrefix(u.Path, "/"), nil
}

// Redact returns uri without user, query and fragment, where secrets travel.
func Redact(uri string) string {
	if IsLocal(uri) {
		return uri
	}
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	scheme, rest, _ := strings.Cut(uri, "://")
	host, path, slash := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if slash {
		path = "/" + path
	}
	return scheme + "://" + host + path
}
