//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// privately runs f on a thread whose mounts nobody else sees and that ends with
// it: what f mounts is gone afterwards, whatever happens. Commands that f
// starts see them, goroutines that it starts do not.
func privately(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err != nil {
			done <- fmt.Errorf("this test mounts a small disk of its own, which needs root or a user namespace: sudo make check, or unshare -rm make check: %w", err)
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// disk is a small file system in memory.
type disk struct{ path string }

const diskSize = 32 << 20

func (d disk) mount() error {
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	return unix.Mount("none", d.path, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize))
}

func (d disk) unmount() error { return unix.Unmount(d.path, unix.MNT_DETACH) }

// fill leaves room bytes free.
func (d disk) fill(room int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return err
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	size := int64(st.Bfree)*st.Bsize - room //nolint:unconvert // its type differs between systems
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close())
}

func (d disk) ballast() string { return filepath.Join(d.path, "ballast") }

func (d disk) free() error { return os.Remove(d.ballast()) }

// fullness is what a series of full disks came to.
type fullness struct {
	tried, room       int // offsets; those at which nothing was missing
	refused, waited   int // ended with a clear error; waited and went on
	slowest           time.Duration
	acknowledged, bad int
	lines             int // most lines about it by one process
}

func (y *fullness) String() string {
	return fmt.Sprintf("%d offsets: %d times there was room, %d starts or ends refused with a clear error, %d runs waited and went on by themselves (slowest %s after the space was freed); %d results seen before; at most %d lines about it; %d bad",
		y.tried, y.room, y.refused, y.waited, y.slowest.Round(10*time.Millisecond), y.acknowledged, y.lines, y.bad)
}

// saysFull counts the lines that tell of a full disk.
func saysFull(text string) (n int) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "disk is full") || strings.Contains(line, "no space left") {
			n++
		}
	}
	return n
}

// crowded lets the disk be full after room bytes and judges what comes of it.
func (w ward) crowded(d disk, room int64, y *fullness) error {
	if err := w.post("/__reset"); err != nil {
		return err
	}
	if err := d.mount(); err != nil {
		return err
	}
	defer d.unmount() //nolint:errcheck // it goes with the thread, too
	for _, dir := range []string{"data", "out"} {
		if err := os.RemoveAll(filepath.Join(w.dir, dir+"-storm")); err != nil {
			return err
		}
	}
	if err := w.place(d); err != nil {
		return err
	}
	if err := d.fill(room); err != nil {
		return err
	}
	s := &struck{cmd: w.storm()}
	if err := s.start(); err != nil {
		return err
	}
	y.tried++
	before := map[string]bool{}
	for begun := time.Now(); !s.ended(80 * time.Millisecond); {
		if saysFull(s.err.String()) > 0 {
			if s.ended(1200 * time.Millisecond) { // it may be about to end; else it waits
				break
			}
			for line := range w.seen() {
				before[line] = true
			}
			break
		}
		if time.Since(begun) > 20*time.Second {
			_ = s.cmd.Process.Kill()
			<-s.done
			return fmt.Errorf("20 s on a full disk, and it says nothing of it\n%s", s.err.String())
		}
	}
	y.acknowledged += len(before)
	waits := !s.ended(0)
	if err := d.free(); err != nil {
		return err
	}
	freed := time.Now()
	if waits {
		if !s.ended(12 * time.Second) {
			_ = s.cmd.Process.Kill()
			<-s.done
			return fmt.Errorf("the space was freed, and it did not go on by itself\n%s", s.err.String())
		}
		y.slowest = max(y.slowest, time.Since(freed))
	}
	if err := w.judgeCrowded(s, waits, before, y); err != nil {
		return fmt.Errorf("%w\nexit %d, waited %v\n%s", err, s.rc, waits, short(s.err.String()))
	}
	return nil
}

func (w ward) judgeCrowded(s *struck, waits bool, before map[string]bool, y *fullness) error {
	n := saysFull(s.err.String())
	y.lines = max(y.lines, n)
	switch {
	case s.rc == 0 && waits:
		y.waited++
	case s.rc == 0:
		y.room++
		if n > 0 {
			return errors.New("it tells of a full disk and ends at once")
		}
	default:
		y.refused++
		if n == 0 {
			return errors.New("it does not say that the disk is full")
		}
		if s.rc != 69 {
			return fmt.Errorf("exit code %d", s.rc)
		}
	}
	if n > 4 {
		return fmt.Errorf("%d lines tell of the full disk", n)
	}
	if err := keeps(before, w.seen()); err != nil {
		return err
	}
	if s.rc == 0 {
		return w.complete()
	}
	// A start gives up, and says so; a run at work does not.
	if waits && !strings.Contains(s.err.String(), "error:") {
		return errors.New("the space was freed, and it ended")
	}
	return w.heal(before)
}

// place puts the data directory or the output folder on the disk.
func (w ward) place(d disk) error {
	on := filepath.Base(d.path)
	for _, dir := range []string{"data-storm", "out-storm"} {
		if !strings.Contains(on, strings.TrimSuffix(dir, "-storm")) {
			continue
		}
		if err := os.Mkdir(filepath.Join(d.path, dir), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(d.path, dir), filepath.Join(w.dir, dir)); err != nil {
			return err
		}
	}
	return nil
}

// TestDiskFull lets the disk be full after every so many bytes of a run, with
// the data directory, the outputs or both on it. A start is refused with a
// clear error; a run at work waits, and goes on by itself when there is space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(seeded(t), 3))
	w := calmWorld(t, 64, 15*time.Millisecond)
	reach := map[string]int64{"disk-data": 1200 << 10, "disk-out": 150 << 10, "disk-data-out": 1300 << 10}
	privately(t, func() error {
		for _, on := range []string{"disk-data", "disk-out", "disk-data-out"} {
			n := 3
			if *everyFault {
				n = 70
			}
			y := &fullness{}
			for i := range n {
				room := int64(i) * reach[on] / int64(n)
				room += rng.Int64N(reach[on]/int64(n)) / 4096 * 4096
				if err := w.crowded(disk{filepath.Join(w.dir, on)}, room, y); err != nil {
					y.bad++
					t.Errorf("%s, %d bytes of room: %v", on, room, err)
				}
			}
			t.Logf("%s: %s", on, y)
		}
		return nil
	})
}
