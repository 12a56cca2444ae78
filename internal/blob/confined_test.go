package blob_test

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/blob"
)

const outsideText = "outside"

// ways out of a folder, as keys; what stands for a link is made by the test.
func waysOut(outside string) []string {
	base := filepath.Base(outside)
	keys := []string{"..", "../", "../" + base, "../" + base + "/secret", "../../" + base, "a/../../" + base + "/secret", "a/b/../../../" + base + "/secret",
		"./../" + base + "/secret", ".//..//" + base + "/secret", "a/./../../" + base + "/secret", outside, outside + "/secret", "/", "//", "/etc/passwd", "//etc/passwd",
		"/proc/self/environ", "/proc/self/root/etc/passwd", "/dev/null", "../../../../../../../../etc/passwd", strings.Repeat("../", 64) + "etc/passwd", ".../../../" + base + "/secret",
		"file", "file/secret", "folder/secret", "chain/secret", "loop", "loop/secret", "up/secret", "up/../secret", "absolute/secret", "self/../../" + base + "/secret", "proc/environ", "dev",
		"folder", "chain", "a/folder/secret", "a/b/folder/secret", "a/../folder/secret", "dangling", "dangling/x", "folder/new", "file/new", "up", "up/new", "a/folder/new",
		"", ".", "a\x00b", "\x00", "../\x00", "a/\x00/../../" + base, strings.Repeat("x", 300), strings.Repeat(strings.Repeat("d", 200)+"/", 25) + "x"}
	return keys
}

// Nothing outside of a bucket's folder is read, written, listed or removed
// through it, by name or by link.
func TestNoWayOutOfAFolder(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside, inside := filepath.Join(root, "outside"), filepath.Join(root, "inside")
	for _, d := range []string{outside, filepath.Join(inside, "a", "b")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte(outsideText), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": secret, "folder": "../outside", "chain": "a/link", "a/link": "../folder", "loop": "loop", "up": "..", "absolute": outside,
		"self": ".", "proc": "/proc/self", "dev": "/dev/null", "dangling": "../outside/new", "a/folder": "../../outside", "a/b/folder": "../../../outside"} {
		if err := os.Symlink(to, filepath.Join(inside, name)); err != nil {
			t.Fatal(err)
		}
	}
	b, ctx := blob.Local(inside), t.Context()
	cases := 0
	for _, key := range waysOut(outside) {
		if r, err := b.OpenRange(ctx, key, 0, -1); err == nil {
			text, _ := io.ReadAll(r)
			_ = r.Close()
			t.Errorf("%q is read: %q", key, text)
		}
		if a, err := b.Stat(ctx, key); err == nil {
			t.Errorf("%q is there: %+v", key, a)
		}
		// A link itself may be replaced and removed: it is inside. What it leads
		// to may not.
		_ = b.Put(ctx, key+".put", strings.NewReader("put"), blob.PutOptions{})
		_ = b.Put(ctx, key, strings.NewReader("put"), blob.PutOptions{IfAbsent: true})
		for a, err := range b.List(ctx, key, "") {
			if err == nil && strings.Contains(a.Key, "secret") {
				t.Errorf("%q lists %s", key, a.Key)
			}
		}
		if fi, err := os.Lstat(filepath.Join(inside, key)); strings.Contains(key, "\x00") || err != nil || fi.Mode()&os.ModeSymlink == 0 {
			_ = b.Delete(ctx, key)
		}
		cases++
		names, err := os.ReadDir(outside)
		if err != nil || len(names) != 1 || names[0].Name() != "secret" {
			t.Fatalf("after %q the folder outside holds %v, %v", key, names, err)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != outsideText {
			t.Fatalf("after %q the file outside says %q, %v", key, text, err)
		}
	}
	tops, err := os.ReadDir(root)
	if err != nil || len(tops) != 2 {
		t.Errorf("beside the folder: %v, %v", tops, err)
	}
	if cases < 50 {
		t.Errorf("%d cases", cases)
	}
}

// A folder that is swapped for a link while it is used leads nowhere either.
func TestNoWayOutBySwap(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside, inside := filepath.Join(root, "outside"), filepath.Join(root, "inside")
	for _, d := range []string{outside, inside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "x"), []byte("outside"), 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // sub is the folder now, the link then
		sub := filepath.Join(inside, "sub")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Mkdir(sub, 0o755)
			_ = os.WriteFile(filepath.Join(sub, "x"), []byte("inside"), 0o644)
			runtime.Gosched()
			_ = os.RemoveAll(sub) // follows no link
			_ = os.Symlink("../outside", sub)
			runtime.Gosched()
			_ = os.Remove(sub)
		}
	})
	b, ctx := blob.Local(inside), t.Context()
	tries, reads := 0, 0
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) || tries < 200; tries++ {
		if r, err := b.OpenRange(ctx, "sub/x", 0, -1); err == nil {
			text, _ := io.ReadAll(r)
			_ = r.Close()
			reads++
			if string(text) == "outside" {
				t.Fatal("read outside")
			}
		}
		_ = b.Put(ctx, "sub/y", strings.NewReader("y"), blob.PutOptions{})
		_ = b.Delete(ctx, "sub/y")
	}
	close(stop)
	wg.Wait()
	names, err := os.ReadDir(outside)
	if err != nil || len(names) != 1 {
		t.Errorf("outside: %v, %v", names, err)
	}
	t.Logf("%d tries, %d reads inside", tries, reads)
}
