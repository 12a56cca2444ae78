package source

import (
	"context"
	"errors"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// expandBlob lists one object, a glob of keys, or all objects under a prefix.
func expandBlob(ctx context.Context, in Input) (files []File, err error) {
	uri, query := in.URI, ""
	if i := strings.LastIndexByte(uri, '?'); i >= 0 && !strings.Contains(uri[i:], "/*") && strings.Contains(uri[i:], "=") {
		uri, query = uri[:i], uri[i:]
	}
	base, pattern := uri, ""
	if hasMeta(uri) {
		// A "?" of a glob must not be taken for the query of the URI.
		base = staticPart(uri) + "/"
		pattern = strings.TrimPrefix(uri, base)
	}
	b, key, err := in.Blobs.Open(ctx, base+query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	root := strings.TrimSuffix(base, key)
	file := func(a blob.Attrs) File {
		return File{URI: root + a.Key + query, Facts: blobFacts(a), blobs: in.Blobs}
	}
	if pattern == "" && key != "" && !strings.HasSuffix(key, "/") {
		a, err := b.Stat(ctx, key)
		if err == nil {
			return []File{file(a)}, nil
		}
		if batch.KindOf(err) != batch.NotFound {
			return nil, err
		}
		key += "/"
	}
	if pattern == "" {
		pattern = "**"
	}
	elements := strings.Split(pattern, "/")
	for a, err := range b.List(ctx, key, "") {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(a.Key, "/") || !match(elements, strings.Split(strings.TrimPrefix(a.Key, key), "/")) {
			continue
		}
		files = append(files, file(a))
	}
	if len(files) == 0 {
		return nil, noFiles(in.URI, "no such object, and none below it")
	}
	return files, nil
}
