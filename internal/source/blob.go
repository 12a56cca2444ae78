package source

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// expandBlob lists one object, a glob of keys, or all objects under a prefix.
func expandBlob(ctx context.Context, in Input) (files []File, err error) {
	b, key, err := in.Blobs.Open(ctx, in.URI)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	at, _ := blob.Split(in.URI)
	file := func(a blob.Attrs) File {
		return File{URI: at.At(a.Key), Facts: blobFacts(a), blobs: in.Blobs}
	}
	if key != "" && !strings.HasSuffix(key, "/") {
		a, err := b.Stat(ctx, key)
		if err == nil {
			return []File{file(a)}, nil
		}
		if batch.KindOf(err) != batch.NotFound {
			return nil, err
		}
	}
	prefix, pattern := strings.TrimSuffix(key, "/"), "**"
	if hasMeta(key) {
		if prefix = staticPart(key); prefix == "." {
			prefix = ""
		}
		pattern = strings.TrimPrefix(strings.TrimPrefix(key, prefix), "/")
		if _, err := path.Match(strings.ReplaceAll(pattern, "**", "*"), ""); err != nil {
			return nil, badGlob(blob.Redact(in.URI))
		}
	}
	if prefix != "" {
		prefix += "/"
	}
	elements := strings.Split(pattern, "/")
	for a, err := range b.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(a.Key, "/") || !match(elements, strings.Split(strings.TrimPrefix(a.Key, prefix), "/")) {
			continue
		}
		files = append(files, file(a))
	}
	if len(files) == 0 {
		return nil, noFiles(in.URI, "no such object, and none below it")
	}
	return files, nil
}

func badGlob(uri string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: uri, Msg: "the glob is malformed", Hint: "close every [ with a ]"}
}
