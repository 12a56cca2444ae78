//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// announced waits until the run is at work.
func (s *struck) announced() error {
	for until := time.Now().Add(20 * time.Second); !s.ended(5 * time.Millisecond); {
		if strings.Contains(s.err.String(), " of torture: ") {
			return nil
		}
		if time.Now().After(until) {
			return errors.New("the run did not begin")
		}
	}
	return nil
}

// stop ends a process that is not to go on, whatever it does.
func (s *struck) stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// TestDiskNoDescriptors runs with fewer files than are needed: it works, or it
// says why not, and goes on when there are more.
func TestDiskNoDescriptors(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(seeded(t), 4))
	w := calmWorld(t, 48, 10*time.Millisecond)
	limits := []int{8 + rng.IntN(8), 64 + rng.IntN(64)}
	if *everyFault {
		limits = nil
		for n := 8; n < 80; n += 3 { // with fewer Go itself does not begin
			limits = append(limits, n)
		}
	}
	finished, refused := 0, 0
	for _, n := range limits {
		if err := w.fresh(); err != nil {
			t.Fatal(err)
		}
		s := &struck{cmd: exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, n), "sh"}, w.storm().Args...)...)}
		s.cmd.Dir = w.dir
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		if !s.ended(40 * time.Second) {
			s.stop()
			t.Errorf("%d descriptors: it neither goes on nor ends\n%s", n, short(s.err.String()))
			continue
		}
		err := clearly(s.rc, s.err.String())
		if s.rc == 0 {
			finished++
			err = errors.Join(err, w.complete())
		} else {
			refused++
			err = errors.Join(err, w.heal(nil))
		}
		if err != nil {
			t.Errorf("%d descriptors: %v\nexit %d\n%s", n, err, s.rc, short(s.err.String()))
		}
	}
	t.Logf("%d limits: %d finished, %d ended with a clear error", len(limits), finished, refused)
}

// TestDiskTurnsReadOnly: the file system of the data directory takes no byte
// any more, as when the kernel found it damaged, and then does again. The run
// waits, and goes on by itself.
func TestDiskTurnsReadOnly(t *testing.T) {
	t.Parallel()
	tracer := strace(t)
	w := calmWorld(t, 400, 15*time.Millisecond)
	for _, how := range []string{"EROFS", "EIO", "ENOSPC", "EDQUOT"} {
		if err := w.fresh(); err != nil {
			t.Fatal(err)
		}
		s := &struck{cmd: w.storm()}
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
		if err := s.announced(); err != nil {
			s.stop()
			t.Fatal(err)
		}
		for len(w.seen()) == 0 && !s.ended(0) {
			<-time.After(5 * time.Millisecond)
		}
		calls := "pwrite64,fsync,ftruncate,mkdirat,unlinkat,renameat"
		inject := exec.Command(tracer, "-f", "-q", "-o", filepath.Join(w.dir, "attached.strace"), "-e", "trace="+calls, "-e", "signal=none",
			"-e", "inject="+calls+":error="+how, "-p", fmt.Sprint(s.cmd.Process.Pid))
		if err := inject.Start(); err != nil {
			t.Fatal(err)
		}
		s.ended(2500 * time.Millisecond)
		before := w.seen()
		_ = inject.Process.Signal(unix.SIGTERM)
		_ = inject.Wait()
		if !s.ended(12 * time.Second) {
			s.stop()
			t.Errorf("%s: it took bytes again, and the run did not go on\n%s", how, short(s.err.String()))
			continue
		}
		err := keeps(before, w.seen())
		if s.rc == 0 {
			err = errors.Join(err, w.complete())
		} else {
			err = errors.Join(err, fmt.Errorf("it ended: exit %d", s.rc), w.heal(before))
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", how, err, short(s.err.String()))
		}
		if lines := strings.Count(s.err.String(), "level=ERROR"); lines == 0 || lines > 6 {
			t.Errorf("%s: %d lines tell of it\n%s", how, lines, short(s.err.String()))
		}
		t.Logf("%s: %d results seen while it lasted", how, len(before))
	}
}

// TestDiskOfOutputsReadOnly: the outputs cannot be written when the run ends.
// It stands still with everything kept and says why; resumed, it pays nothing.
func TestDiskOfOutputsReadOnly(t *testing.T) {
	t.Parallel()
	w := calmWorld(t, 64, 10*time.Millisecond)
	d := disk{filepath.Join(w.dir, "disk-out")}
	privately(t, func() error {
		if err := errors.Join(w.fresh(), d.mount(), w.place(d)); err != nil {
			return err
		}
		s := &struck{cmd: w.storm()}
		if err := s.start(); err != nil {
			return err
		}
		if err := s.announced(); err != nil {
			s.stop()
			return err
		}
		if err := unix.Mount("none", d.path, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			s.stop()
			return err
		}
		if !s.ended(60 * time.Second) {
			s.stop()
			return fmt.Errorf("it neither goes on nor ends\n%s", s.err.String())
		}
		if err := unix.Mount("none", d.path, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
			return err
		}
		if s.rc == 0 {
			return errors.New("exit 0, and nothing could be written")
		}
		paid, err := w.bill()
		if err == nil {
			err = clearly(s.rc, s.err.String())
		}
		if err == nil && !strings.Contains(s.err.String(), "read-only file system") {
			err = errors.New("it does not say what is wrong")
		}
		if err == nil {
			err = w.heal(nil)
		}
		after, berr := w.bill()
		if err == nil && berr == nil && after.Total != paid.Total {
			err = fmt.Errorf("%d calls were made to write outputs again", after.Total-paid.Total)
		}
		if err != nil {
			err = fmt.Errorf("%w\nexit %d\n%s", err, s.rc, short(s.err.String()))
		}
		return errors.Join(err, berr)
	})
}

// TestDiskDataReadOnly: nothing can be begun where nothing can be written, and
// that is said.
func TestDiskDataReadOnly(t *testing.T) {
	t.Parallel()
	w := calmWorld(t, 16, time.Millisecond)
	d := disk{filepath.Join(w.dir, "disk-data")}
	privately(t, func() error {
		if err := errors.Join(w.fresh(), d.mount(), w.place(d), unix.Mount("none", d.path, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
			return err
		}
		out, err := w.storm().CombinedOutput()
		code := -1
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			code = e.ExitCode()
		}
		if code != 69 && code != 78 || !strings.Contains(string(out), "read-only file system") {
			return fmt.Errorf("exit %d\n%s", code, out)
		}
		if err := unix.Mount("none", d.path, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
			return err
		}
		return w.heal(nil)
	})
}

// TestDiskTakenAway: the data directory is deleted under a process that works.
// It never ends with exit 0, it says what is wrong, and a new run can begin.
func TestDiskTakenAway(t *testing.T) {
	t.Parallel()
	w := calmWorld(t, 400, 20*time.Millisecond)
	if err := w.fresh(); err != nil {
		t.Fatal(err)
	}
	s := &struck{cmd: w.storm()}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if err := s.announced(); err != nil {
		s.stop()
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "data-storm")); err != nil {
		t.Fatal(err)
	}
	if !s.ended(40 * time.Second) {
		s.stop()
		t.Fatalf("it neither goes on nor ends\n%s", short(s.err.String()))
	}
	if s.rc == 0 {
		t.Errorf("exit 0, and its records are gone\n%s", short(s.err.String()))
	}
	if err := clearly(s.rc, s.err.String()); err != nil {
		t.Errorf("%v\nexit %d\n%s", err, s.rc, short(s.err.String()))
	}
	t.Logf("exit %d: %s", s.rc, short(s.err.String()))
	if err := w.fresh(); err != nil {
		t.Fatal(err)
	}
	if err := w.heal(nil); err != nil {
		t.Error(err)
	}
}
