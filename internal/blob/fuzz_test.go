package blob_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// FuzzURI takes any text as a URI: what is local stays local, a location comes
// back as itself, and no form of it keeps user or query.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"s3://b/k", "s3://b/k?region=x", "gs://b", "azblob://c/a?b/c?d=e", "file:///a", "/a/b", "a:b://c", "s3://u:p@b/k", "s3://", "://", "?", "s3://b/k#f", "s3://b//../k?x=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l, ok := blob.Split(uri)
		if ok && blob.IsLocal(uri) {
			t.Fatalf("%q is local and is not", uri)
		}
		if ok {
			if l.Bucket == "" || strings.ContainsAny(l.Bucket, "@/") {
				t.Fatalf("%q has bucket %q", uri, l.Bucket)
			}
			again, ok := blob.Split(l.At(l.Key))
			if !ok || again.Scheme != l.Scheme || again.Bucket != l.Bucket || again.Key != l.Key || again.Query.Encode() != l.Query.Encode() {
				t.Fatalf("%q: %+v came back as %+v", uri, l, again)
			}
		}
		if shown := blob.Redact(uri); !blob.IsLocal(uri) {
			_, rest, _ := strings.Cut(shown, "://")
			host, _, _ := strings.Cut(rest, "/")
			if strings.ContainsAny(shown, "?#") || strings.Contains(host, "@") {
				t.Fatalf("%q is shown as %q", uri, shown)
			}
		}
		if _, err := blob.LocalPath(uri); err != nil && batch.KindOf(err) != batch.Invalid {
			t.Fatal(err)
		}
	})
}

// FuzzKey uses any text as a key of a local folder: nothing outside is read or
// made, and what is written under a key is read under it.
func FuzzKey(f *testing.F) {
	root := f.TempDir()
	outside, inside := filepath.Join(root, "outside"), filepath.Join(root, "inside")
	for _, d := range []string{outside, inside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte(outsideText), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(inside, "link")); err != nil {
		f.Fatal(err)
	}
	for _, key := range append(waysOut(outside), "a", "a/b", "link/secret", "link/new") {
		f.Add(key)
	}
	b := blob.Local(inside)
	f.Fuzz(func(t *testing.T, key string) {
		if len(key) > 4096 || strings.HasPrefix(key, root) {
			return
		}
		if r, err := b.OpenRange(t.Context(), key, 0, -1); err == nil {
			text, _ := io.ReadAll(r)
			_ = r.Close()
			if string(text) == outsideText {
				t.Fatalf("%q reads outside", key)
			}
		}
		if err := b.Put(t.Context(), key, strings.NewReader("x"), blob.PutOptions{}); err == nil {
			r, err := b.OpenRange(t.Context(), key, 0, -1)
			if err != nil {
				t.Fatalf("%q was written and cannot be read: %v", key, err)
			}
			text, _ := io.ReadAll(r)
			_ = r.Close()
			if err := b.Delete(t.Context(), key); string(text) != "x" || err != nil {
				t.Fatalf("%q holds %q: %v", key, text, err)
			}
		}
		if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
			t.Fatalf("%q left %d files outside: %v", key, len(list), err)
		}
		if list, err := os.ReadDir(root); err != nil || len(list) != 2 {
			t.Fatalf("%q left %d files above: %v", key, len(list), err)
		}
	})
}
