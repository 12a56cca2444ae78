package blob_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/blob/blobtest"
)

func TestLocalKeepsTheContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return blob.Local(filepath.Join(t.TempDir(), "not", "yet")) })
}

func TestLocalIsConfined(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	secret := filepath.Join(root, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "in")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	b := blob.Local(folder)
	for _, key := range []string{"../secret", "link", secret} {
		if r, err := b.OpenRange(t.Context(), key, 0, -1); err == nil {
			_ = r.Close()
			t.Errorf("read %s", key)
		}
		if err := b.Delete(t.Context(), key); err == nil && key != "link" {
			t.Errorf("deleted %s", key)
		}
	}
	if err := b.Put(t.Context(), "../made", strings.NewReader("x"), blob.PutOptions{}); err == nil {
		t.Error("wrote outside")
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error(err)
	}
}

func TestRegistryOpensPathsAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a b.txt")
	if err := os.WriteFile(name, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	var r *blob.Registry
	for _, uri := range []string{name, "file://" + strings.ReplaceAll(name, " ", "%20")} {
		b, key, err := r.Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := b.Stat(t.Context(), key); err != nil || a.Size != 5 {
			t.Errorf("%s: %+v %v", uri, a, err)
		}
	}
	if _, key, err := r.Open(t.Context(), dir); err != nil || key != "" {
		t.Errorf("a folder: key %q, %v", key, err)
	}
	for _, uri := range []string{"s3://bucket/key?token=SECRET", "s3://user:SECRET@bucket/k", "file://elsewhere/SECRETPATH", "ftp://x/y#SECRET"} {
		_, _, err := r.Open(t.Context(), uri)
		if batch.KindOf(err) != batch.Invalid || strings.Contains(err.Error(), "SECRET") && !strings.Contains(uri, "SECRETPATH") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uri, bucket, key, query string }{
		{"s3://b/k", "b", "k", ""}, {"s3://b", "b", "", ""}, {"s3://b/x y%20/é.jsonl", "b", "x y%20/é.jsonl", ""},
		{"s3://b/k?endpoint=http://127.0.0.1:9000&use_path_style=true", "b", "k", "endpoint=http%3A%2F%2F127.0.0.1%3A9000&use_path_style=true"},
		{"gs://b/part-?.jsonl", "b", "part-?.jsonl", ""}, {"gs://b/a?b/**/*.jsonl?universe_domain=x", "b", "a?b/**/*.jsonl", "universe_domain=x"},
	} {
		l, ok := blob.Split(c.uri)
		if !ok || l.Bucket != c.bucket || l.Key != c.key || l.Query.Encode() != c.query {
			t.Errorf("Split(%s) = %+v %v", c.uri, l, ok)
		}
		again, ok := blob.Split(l.At(l.Key))
		if !ok || again.String() != l.String() || again.Query.Encode() != c.query {
			t.Errorf("%s came back as %+v", c.uri, again)
		}
	}
	for _, uri := range []string{"plain", "file:///x", "s3:///k", "s3://key:secret@b/k"} {
		if _, ok := blob.Split(uri); ok {
			t.Errorf("Split(%s) is ok", uri)
		}
	}
}
