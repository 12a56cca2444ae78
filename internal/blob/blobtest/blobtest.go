// Package blobtest is the contract of blob.Bucket as a test that every adapter
// passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// Run checks the bucket that open returns; it must be empty each time.
func Run(t *testing.T, open func(t *testing.T) blob.Bucket) {
	for name, check := range map[string]func(*testing.T, blob.Bucket){
		"round trip": roundTrip, "if absent": ifAbsent, "failed put": failedPut, "list": list, "missing": missing, "versions": versions,
		"cancelled": cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
			check(t, b)
		})
	}
}

func put(t *testing.T, b blob.Bucket, key, text string) {
	t.Helper()
	if err := b.Put(t.Context(), key, strings.NewReader(text), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, b blob.Bucket, key string, off, n int64) string {
	t.Helper()
	r, err := b.OpenRange(t.Context(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantKind(t *testing.T, err error, want batch.Kind) {
	t.Helper()
	if err == nil || batch.KindOf(err) != want {
		t.Errorf("error %v of kind %s, want %s", err, batch.KindOf(err), want)
	}
}

func roundTrip(t *testing.T, b blob.Bucket) {
	for _, key := range []string{"a", "deep/er/é a+b%20c.jsonl"} {
		put(t, b, key, "0123456789")
		for _, c := range []struct {
			off, n int64
			want   string
		}{{0, -1, "0123456789"}, {3, -1, "3456789"}, {2, 4, "2345"}, {8, 100, "89"}} {
			if got := get(t, b, key, c.off, c.n); got != c.want {
				t.Errorf("%s %d+%d: %q, want %q", key, c.off, c.n, got, c.want)
			}
		}
		put(t, b, key, "new")
		if got := get(t, b, key, 0, -1); got != "new" {
			t.Errorf("overwritten: %q", got)
		}
		a, err := b.Stat(t.Context(), key)
		if err != nil || a.Size != 3 || a.Key != key || a.ModTime.IsZero() {
			t.Errorf("Stat: %+v %v", a, err)
		}
		if err := b.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		_, err = b.Stat(t.Context(), key)
		wantKind(t, err, batch.NotFound)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 12<<16) // 12 MiB
	if err := b.Put(t.Context(), "large", bytes.NewReader(large), blob.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, b, "large", 0, -1); got != string(large) {
		t.Errorf("%d bytes came back of %d", len(got), len(large))
	}
	put(t, b, "empty", "")
	if got := get(t, b, "empty", 0, -1); got != "" {
		t.Errorf("%q", got)
	}
}

func ifAbsent(t *testing.T, b blob.Bucket) {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			errs[i] = b.Put(t.Context(), "once/marker", strings.NewReader(strings.Repeat(string(rune('a'+i)), 10)), blob.PutOptions{IfAbsent: true})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil {
			if winner >= 0 {
				t.Errorf("%d and %d both wrote", winner, i)
			}
			winner = i
			continue
		}
		wantKind(t, err, batch.Conflict)
	}
	if winner < 0 {
		t.Fatal("nobody wrote")
	}
	if got := get(t, b, "once/marker", 0, -1); got != strings.Repeat(string(rune('a'+winner)), 10) {
		t.Errorf("%q is not of writer %d", got, winner)
	}
}

func failedPut(t *testing.T, b blob.Bucket) {
	put(t, b, "k", "old")
	broken := errors.New("the reader broke")
	for _, key := range []string{"k", "fresh"} {
		err := b.Put(t.Context(), key, io.MultiReader(strings.NewReader(strings.Repeat("x", 6<<20)), iotest.ErrReader(broken)), blob.PutOptions{})
		if !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
	if got := get(t, b, "k", 0, -1); got != "old" {
		t.Errorf("%q", got)
	}
	_, err := b.Stat(t.Context(), "fresh")
	wantKind(t, err, batch.NotFound)
	if keys := keysOf(t, b, "", ""); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("keys %q", keys)
	}
}

func keysOf(t *testing.T, b blob.Bucket, prefix, after string) []string {
	t.Helper()
	var keys []string
	for a, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Size != int64(len(a.Key)) {
			if a.Key != "k" {
				t.Errorf("%s has size %d", a.Key, a.Size)
			}
		}
		keys = append(keys, a.Key)
	}
	return keys
}

func list(t *testing.T, b blob.Bucket) {
	if keys := keysOf(t, b, "", ""); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
	all := []string{"a.x", "a/b", "a/b.c", "a/b/c", "ab", "b/z", "é"}
	for _, k := range slices.Backward(all) {
		if k != "a/b" { // a file cannot be a folder too
			put(t, b, k, k)
		}
	}
	all = slices.DeleteFunc(all, func(k string) bool { return k == "a/b" })
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", all}, {"a", "", []string{"a.x", "a/b.c", "a/b/c", "ab"}}, {"a/", "", []string{"a/b.c", "a/b/c"}},
		{"a/b", "a/b.c", []string{"a/b/c"}}, {"", "ab", []string{"b/z", "é"}}, {"c", "", nil}, {"a/b/", "", []string{"a/b/c"}},
	} {
		if got := keysOf(t, b, c.prefix, c.after); !slices.Equal(got, c.want) {
			t.Errorf("List(%q, %q) = %q, want %q", c.prefix, c.after, got, c.want)
		}
	}
	for range b.List(t.Context(), "", "") {
		break // an iterator can be left
	}
}

func missing(t *testing.T, b blob.Bucket) {
	_, err := b.Stat(t.Context(), "no/such")
	wantKind(t, err, batch.NotFound)
	_, err = b.OpenRange(t.Context(), "no/such", 0, -1)
	wantKind(t, err, batch.NotFound)
	wantKind(t, b.Delete(t.Context(), "no/such"), batch.NotFound)
	put(t, b, "folder/x", "1")
	_, err = b.Stat(t.Context(), "folder")
	wantKind(t, err, batch.NotFound)
	_, err = b.OpenRange(t.Context(), "folder", 0, -1)
	wantKind(t, err, batch.NotFound)
	if u := b.URI("folder/x"); !strings.HasSuffix(u, "folder/x") || strings.Contains(u, "?") {
		t.Errorf("URI %q", u)
	}
}

func versions(t *testing.T, b blob.Bucket) {
	put(t, b, "v", "one")
	first, err := b.Stat(t.Context(), "v")
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Stat(t.Context(), "v")
	if err != nil || again != first {
		t.Errorf("%+v and %+v, %v", first, again, err)
	}
	put(t, b, "v", "three")
	second, err := b.Stat(t.Context(), "v")
	if err != nil || second == first {
		t.Errorf("%+v did not change, %v", second, err)
	}
}

func cancelled(t *testing.T, b blob.Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, "k", strings.NewReader("x"), blob.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	_, err := b.Stat(t.Context(), "k")
	wantKind(t, err, batch.NotFound)
}
