package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// tree makes files of the given names in a new folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, n := range names {
		p := filepath.Join(root, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var names = []string{"a.jsonl", "b/a.jsonl", "b/c/d.csv", "b/c/e.jsonl", "_SUCCESS", ".hidden.jsonl", "b/_tmp/x.jsonl", "b/.git/x.jsonl", "z[1].jsonl"}

func TestExpandLocal(t *testing.T) {
	t.Parallel()
	root := tree(t, names...)
	for _, c := range []struct {
		uri  string
		want []string
	}{
		{"a.jsonl", []string{"a.jsonl"}}, {".", []string{"a.jsonl", "b/a.jsonl", "b/c/d.csv", "b/c/e.jsonl", "z[1].jsonl"}},
		{"b", []string{"b/a.jsonl", "b/c/d.csv", "b/c/e.jsonl"}}, {"*.jsonl", []string{"a.jsonl", "z[1].jsonl"}},
		{"**/*.jsonl", []string{"a.jsonl", "b/a.jsonl", "b/c/e.jsonl", "z[1].jsonl"}}, {"b/**", []string{"b/a.jsonl", "b/c/d.csv", "b/c/e.jsonl"}},
		{"b/*/?.csv", []string{"b/c/d.csv"}}, {"_*", []string{"_SUCCESS"}}, {"b/_tmp/*", []string{"b/_tmp/x.jsonl"}}, {"**/[ab].jsonl", []string{"a.jsonl", "b/a.jsonl"}},
		{"z[1].jsonl", []string{"z[1].jsonl"}}, {"**/c/**/*.jsonl", []string{"b/c/e.jsonl"}},
		{"file://" + filepath.ToSlash(root) + "/b/c", []string{"b/c/d.csv", "b/c/e.jsonl"}},
	} {
		files, err := Expand(t.Context(), Input{URI: c.uri, Dir: root})
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		var got []string
		for _, f := range files {
			rel, _ := filepath.Rel(root, f.URI)
			got = append(got, filepath.ToSlash(rel))
			if f.Facts.Size != int64(len(filepath.ToSlash(rel))) || f.Facts.ModTime.IsZero() || f.Path != f.URI {
				t.Errorf("%s: %+v", rel, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.uri, got, c.want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	root := tree(t, names...)
	for _, c := range []struct {
		in   Input
		kind batch.Kind
	}{
		{Input{}, batch.Invalid}, {Input{URI: "-"}, batch.Invalid}, {Input{URI: "nothing.jsonl", Dir: root}, batch.NotFound},
		{Input{URI: "*.parquet", Dir: root}, batch.NotFound}, {Input{URI: "[a", Dir: root}, batch.Invalid}, {Input{URI: "s3://b/k"}, batch.Invalid},
		{Input{URI: t.TempDir()}, batch.NotFound},
	} {
		_, err := Expand(t.Context(), c.in)
		if batch.KindOf(err) != c.kind || batch.HintOf(err) == "" {
			t.Errorf("%s: %v (%s)", c.in.URI, err, batch.KindOf(err))
		}
	}
}

func TestLinksToFilesAreFollowed(t *testing.T) {
	t.Parallel()
	root := tree(t, "in/a.jsonl", "away/b.jsonl", "away/deep/c.jsonl")
	for link, to := range map[string]string{"in/link.jsonl": "away/b.jsonl", "in/folder": "away", "top": "in"} {
		if err := os.Symlink(filepath.Join(root, to), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, uri := range []string{"in", "top"} {
		files, err := Expand(t.Context(), Input{URI: uri, Dir: root})
		if err != nil || len(files) != 2 {
			t.Errorf("%s: %d files, %v", uri, len(files), err)
		}
	}
}

// cloud answers for one bucket out of a local folder.
func cloud(folder string) *blob.Registry {
	return blob.NewRegistry(blob.Driver{Scheme: "mem", Open: func(_ context.Context, l blob.Location) (blob.Bucket, error) {
		return blob.Local(filepath.Join(folder, l.Bucket)), nil
	}})
}

func TestExpandCloud(t *testing.T) {
	t.Parallel()
	root := tree(t, "bucket/a.jsonl", "bucket/p/b.jsonl", "bucket/p/q/c.jsonl", "bucket/p/_SUCCESS", "bucket/px.jsonl")
	for _, c := range []struct {
		uri  string
		want []string
	}{
		{"mem://bucket/a.jsonl", []string{"mem://bucket/a.jsonl"}}, {"mem://bucket/p", []string{"mem://bucket/p/b.jsonl", "mem://bucket/p/q/c.jsonl"}},
		{"mem://bucket/p/?region=x", []string{"mem://bucket/p/b.jsonl?region=x", "mem://bucket/p/q/c.jsonl?region=x"}},
		{"mem://bucket/p/*.jsonl", []string{"mem://bucket/p/b.jsonl"}}, {"mem://bucket/p?.jsonl", []string{"mem://bucket/px.jsonl"}},
		{"mem://bucket", []string{"mem://bucket/a.jsonl", "mem://bucket/p/b.jsonl", "mem://bucket/p/q/c.jsonl", "mem://bucket/px.jsonl"}},
		{"mem://bucket/**/c.jsonl", []string{"mem://bucket/p/q/c.jsonl"}},
	} {
		files, err := Expand(t.Context(), Input{URI: c.uri, Blobs: cloud(root)})
		var got []string
		for _, f := range files {
			got = append(got, f.URI)
			r, err := Reopen(f.URI, f.Facts, cloud(root)).Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err != nil || !strings.HasSuffix("mem://"+string(text), strings.TrimSuffix(strings.TrimPrefix(f.URI, "mem://"), "?region=x")) {
				t.Errorf("%s reads %q %v", f.URI, text, err)
			}
			_ = r.Close()
			if now, err := f.Stat(t.Context()); err != nil || !now.Same(f.Facts) {
				t.Errorf("%s: %+v %v", f.URI, now, err)
			}
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v", c.uri, got, err)
		}
	}
	if _, err := Expand(t.Context(), Input{URI: "mem://bucket/none", Blobs: cloud(root)}); batch.KindOf(err) != batch.NotFound {
		t.Error(err)
	}
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	files, err := Expand(ctx, Input{URI: "-", Stdin: r})
	if err != nil {
		t.Fatal(err)
	}
	in, err := files[0].Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = w.Write([]byte("hello")) }()
	buf := make([]byte, 3)
	if _, err := io.ReadFull(in, buf); err != nil || string(buf) != "hel" {
		t.Fatalf("%q %v", buf, err)
	}
	cancel()
	if text, err := io.ReadAll(in); !errors.Is(err, context.Canceled) || string(text) != "lo" {
		t.Errorf("%q %v", text, err)
	}
}
