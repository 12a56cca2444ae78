package blob

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Location is a cloud URI taken apart: scheme://host/key?query. The key stands
// as it is written, not percent-encoded, as the vendors' own tools write it.
type Location struct {
	Scheme string
	Bucket string // bucket or container
	Key    string
	Query  url.Values // adapter settings; never secrets
}

// queryStart tells the query of a URI from a question mark in a key or a glob.
var queryStart = regexp.MustCompile(`\?[A-Za-z][A-Za-z0-9_]*=[^/]*(/[^?]*)?$`)

var settingName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// Split takes a cloud URI apart. ok is false for what is none.
func Split(uri string) (l Location, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || IsLocal(uri) {
		return l, false
	}
	if at := queryStart.FindStringIndex(rest); at != nil {
		q, err := url.ParseQuery(rest[at[0]+1:])
		if err != nil || !named(q) {
			return l, false
		}
		l.Query, rest = q, rest[:at[0]]
	}
	l.Scheme = scheme
	l.Bucket, l.Key, _ = strings.Cut(rest, "/")
	return l, l.Scheme != "" && l.Bucket != "" && !strings.Contains(l.Bucket, "@")
}

// named reports whether each setting has a name that is read again as one,
// whichever stands first.
func named(q url.Values) bool {
	for name := range q {
		if !settingName.MatchString(name) {
			return false
		}
	}
	return true
}

// String is the URI without its query, where no secret can be.
func (l Location) String() string { return l.Scheme + "://" + l.Bucket + "/" + l.Key }

// At is the URI of another key of the same bucket, with the same query.
func (l Location) At(key string) string {
	l.Key = key
	if len(l.Query) == 0 {
		return l.String()
	}
	return l.String() + "?" + l.Query.Encode()
}

// Driver opens buckets of one URI scheme.
type Driver struct {
	Scheme string // "s3"
	// Open opens the bucket of a location; the key is not its concern. A query
	// it does not know is an error of Kind Invalid.
	Open func(ctx context.Context, l Location) (Bucket, error)
}

// Registry finds the driver of a URI. The zero value and nil know local files only.
type Registry struct{ drivers map[string]Driver }

// NewRegistry makes a registry of the drivers given and local files. The driver
// of all clouds are in blob/all.
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
	l, ok := Split(uri)
	if !ok {
		return nil, "", &batch.Error{Kind: batch.Invalid, Op: "open", Ref: Redact(uri), Msg: "is not a URI of a bucket",
			Hint: "write s3://bucket/key, gs://bucket/key, azblob://container/key or a path; credentials do not belong in it"}
	}
	var d Driver
	if r != nil {
		d = r.drivers[l.Scheme]
	}
	if d.Open == nil {
		return nil, "", &batch.Error{Kind: batch.Invalid, Op: "open", Ref: Redact(uri),
			Msg:  fmt.Sprintf("no store is known for %q", l.Scheme+"://"),
			Hint: "use a path, file://, s3://, gs:// or azblob://"}
	}
	b, err := d.Open(ctx, l)
	if err != nil {
		return nil, "", err
	}
	return b, l.Key, nil
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
