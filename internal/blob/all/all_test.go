package all_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/blob/all"
	"github.com/batchwright/batchwright/internal/source"
)

// TestInputsAreFoundInS3 goes the whole way of an input: listed, pinned by its
// tag, read, and seen to change.
func TestInputsAreFoundInS3(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	backend := s3mem.New()
	if err := backend.CreateBucket("b"); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gofakes3.New(backend).Server())
	defer s.Close()
	query := "?endpoint=" + url.QueryEscape(s.URL) + "&use_path_style=true"
	b, _, err := all.Registry().Open(t.Context(), "s3://b/"+query)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	put := func(key, text string) {
		if err := b.Put(t.Context(), key, strings.NewReader(text), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		put(fmt.Sprintf("in/part %d+é.jsonl", i), "{}\n")
	}
	put("in/_SUCCESS", "")
	for _, uri := range []string{"s3://b/in", "s3://b/in/*.jsonl", "s3://b/**/part*"} {
		files, err := source.Expand(t.Context(), source.Input{URI: uri + query, Blobs: all.Registry()})
		if err != nil || len(files) != 3 {
			t.Fatalf("%s: %d files, %v", uri, len(files), err)
		}
	}
	files, err := source.Expand(t.Context(), source.Input{URI: "s3://b/in" + query, Blobs: all.Registry()})
	if err != nil {
		t.Fatal(err)
	}
	f, err := files[1].Pin(t.Context())
	if err != nil || f.Facts.ETag == "" {
		t.Fatalf("%+v %v", f, err)
	}
	if now, err := f.Stat(t.Context()); err != nil || !now.Same(f.Facts) {
		t.Errorf("%+v %v", now, err)
	}
	put("in/part 1+é.jsonl", "[]\n")
	if now, err := f.Stat(t.Context()); err != nil || now.Same(f.Facts) {
		t.Errorf("%+v did not change, %v", now, err)
	}
}
