package datadir

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// The test binary is also the second process: it locks the folder it is given,
// says how that went, and holds it until its input ends.
func TestMain(m *testing.M) {
	if root := os.Getenv("DATADIR_TEST_LOCK"); root != "" {
		os.Exit(second(root))
	}
	os.Exit(m.Run())
}

func second(root string) int {
	d, err := Open(root, false)
	if err == nil {
		err = d.Lock(Holder{PID: os.Getpid(), Since: time.Unix(1_700_000_000, 0), Command: "second"})
	}
	if err != nil {
		_, _ = os.Stdout.WriteString("refused " + err.Error() + "\n")
		return 3
	}
	_, _ = os.Stdout.WriteString("locked\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

func start(t *testing.T, root string) (says string, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DATADIR_TEST_LOCK="+root)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(says), func() { _ = in.Close(); _ = cmd.Wait() }
}

func opened(t *testing.T, root string) *Dir {
	t.Helper()
	d, err := Open(root, true)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneProcessWorks(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "data")
	d := opened(t, root)
	if d.Held() {
		t.Fatal("held by nobody")
	}
	if _, err := d.Holder(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the holder of a new folder: %v", err)
	}
	says, end := start(t, root)
	if says != "locked" || !d.Held() {
		t.Fatalf("the second process says %q; held %v", says, d.Held())
	}
	h, err := d.Holder()
	if err != nil || h.Command != "second" || h.PID == os.Getpid() || h.PID == 0 || h.Since.Unix() != 1_700_000_000 {
		t.Fatalf("the holder is %+v, %v", h, err)
	}
	err = d.Lock(Holder{PID: 1, Command: "first"})
	if e, ok := errors.AsType[*batch.Error](err); !ok || e.Kind != batch.Conflict || e.Hint == "" || !strings.Contains(e.Msg, "second") {
		t.Fatalf("a folder that is held: %v", err)
	}
	if h, _ := d.Holder(); h.Command != "second" {
		t.Fatalf("a refused process wrote itself down: %+v", h)
	}
	end() // its death is enough
	if d.Held() {
		t.Fatal("held by the dead")
	}
	if err := d.Lock(Holder{PID: os.Getpid(), Command: "first"}); err != nil {
		t.Fatal(err)
	}
	if h, err := d.Holder(); err != nil || h.Command != "first" || h.PID != os.Getpid() {
		t.Fatalf("the holder is %+v, %v", h, err)
	}
	if says, end := start(t, root); !strings.HasPrefix(says, "refused") || !strings.Contains(says, "first") {
		t.Fatalf("the second process says %q", says)
	} else {
		end()
	}
	if !opened(t, root).Held() {
		t.Fatal("not held by this process")
	}
	for range 2 {
		if err := d.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if d.Held() {
		t.Fatal("held after it was given up")
	}
}

// Somebody who only asks whether the folder is held must not keep a worker out.
func TestAskingKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	d := opened(t, t.TempDir())
	if err := os.WriteFile(d.path("lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	asking, err := os.Open(d.path("lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(asking.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = asking.Close() })
	if err := d.Lock(Holder{PID: os.Getpid(), Command: "work"}); err != nil {
		t.Fatal(err)
	}
	_ = d.Unlock()
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none"), false); batch.KindOf(err) != batch.NotFound || batch.HintOf(err) == "" {
		t.Errorf("a missing folder: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, create := range []bool{false, true} {
		if _, err := Open(file, create); batch.KindOf(err) != batch.Config {
			t.Errorf("a file: %v", err)
		}
	}
	d := opened(t, filepath.Join(dir, "a", "b"))
	st, err := os.Stat(d.Root())
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("made with %v, %v", st.Mode(), err)
	}
	if d.HasStore() {
		t.Error("a new folder has a store")
	}
	if err := os.WriteFile(d.DB(), nil, 0o600); err != nil || !d.HasStore() {
		t.Errorf("the store is not seen: %v", err)
	}
	if !filepath.IsAbs(d.Root()) || filepath.Dir(d.Manifest("r_1")) != d.Run("r_1") || d.SegmentKey("r_1", "ab") != "runs/r_1/segments/ab.zst" {
		t.Errorf("paths: %s, %s", d.Manifest("r_1"), d.SegmentKey("r_1", "ab"))
	}
}

func TestSocketPathsFit(t *testing.T) {
	t.Parallel()
	short, long := &Dir{root: "/d"}, &Dir{root: "/" + strings.Repeat("x", 200)}
	other := &Dir{root: "/" + strings.Repeat("x", 199) + "y"}
	if short.Socket() != "/d/sock" || len(long.Socket()) >= 104 && len(os.TempDir()) < 60 || long.Socket() == other.Socket() {
		t.Errorf("sockets: %s, %s, %s", short.Socket(), long.Socket(), other.Socket())
	}
}

// TestPresent: a directory that was taken away under its holder is missed.
func TestPresent(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(root string) error{
		"deleted":     os.RemoveAll,
		"moved":       func(root string) error { return os.Rename(root, root+".away") },
		"no database": func(root string) error { return os.Remove(filepath.Join(root, "batchwright.db")) },
		"made once again": func(root string) error {
			return errors.Join(os.Rename(root, root+".away"), os.Mkdir(root, 0o700), os.WriteFile(filepath.Join(root, "lock"), nil, 0o600), os.WriteFile(filepath.Join(root, "batchwright.db"), nil, 0o600))
		},
	} {
		root := filepath.Join(t.TempDir(), "data")
		d, err := Open(root, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Present(); err != nil {
			t.Errorf("%s: not locked: %v", name, err)
		}
		if err := d.Lock(Holder{PID: os.Getpid()}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.DB(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.Present(); err != nil {
			t.Errorf("%s: it is there: %v", name, err)
		}
		if err := take(root); err != nil {
			t.Fatal(err)
		}
		if err := d.Present(); batch.KindOf(err) != batch.Config {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Unlock(); err != nil {
			t.Error(err)
		}
	}
}
