//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trace runs the storm to its end and returns its calls of these kinds, a line
// each.
func (w ward) trace(t *testing.T, calls string) []string {
	t.Helper()
	log := filepath.Join(w.dir, "calls.strace")
	plain := w.storm()
	cmd := exec.Command(strace(t), append([]string{"-f", "-q", "-y", "-s", "1", "-o", log, "-e", "trace=" + calls, "-e", "signal=none", "--"}, plain.Args...)...)
	cmd.Dir = w.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

var (
	made    = regexp.MustCompile(` mkdirat\(\S+?<([^>]*)>, "([^"]*)", \d+\) = 0`)
	renamed = regexp.MustCompile(` renameat2?\(\S+?<[^>]*>, "[^"]*", \d+<([^>]*)>, "([^"]*)"(?:, \S+)?\) = 0`)
	flushed = regexp.MustCompile(` fsync\(\d+<([^>]*)>`)
	placed  = regexp.MustCompile(` pwrite64\(\d+<([^>]*-wal)>, .*, (\d+), (\d+)(?:\) =| <unf)`)
)

// TestDiskNamesAreFlushed: the name of every folder and file that a run makes
// is flushed after it was made, so that a power cut cannot take it.
func TestDiskNamesAreFlushed(t *testing.T) {
	t.Parallel()
	w := calmWorld(t, 32, time.Millisecond)
	if err := w.fresh(); err != nil {
		t.Fatal(err)
	}
	open := map[string]string{} // folder to the last name made in it
	names := 0
	for _, line := range w.trace(t, "mkdirat,renameat,renameat2,fsync") {
		for _, re := range []*regexp.Regexp{made, renamed} {
			if m := re.FindStringSubmatch(line); m != nil {
				name := m[2]
				if !filepath.IsAbs(name) {
					name = filepath.Join(m[1], name)
				}
				open[filepath.Dir(name)] = name
				names++
			}
		}
		if m := flushed.FindStringSubmatch(line); m != nil {
			delete(open, m[1])
		}
	}
	for _, name := range open {
		t.Errorf("%s: its name was never flushed", name)
	}
	if names < 15 {
		t.Errorf("%d names were made: the trace shows too little", names)
	}
	t.Logf("%d names, all flushed", names)
}

// TestDiskLogIsWrittenAgain: what a killed process left of its log is written
// and flushed once more before anything is read from it. After an fsync that
// failed it may be in memory alone, and no later fsync would tell.
func TestDiskLogIsWrittenAgain(t *testing.T) {
	t.Parallel()
	w := calmWorld(t, 48, 15*time.Millisecond)
	if err := w.fresh(); err != nil {
		t.Fatal(err)
	}
	s := &struck{cmd: w.storm()}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if err := s.announced(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	st, err := os.Stat(filepath.Join(w.dir, "data-storm", "batchwright.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	var written int64
	for _, line := range w.trace(t, "pwrite64,fsync,pread64") {
		if m := flushed.FindStringSubmatch(line); m != nil && strings.HasSuffix(m[1], "-wal") {
			break
		}
		if m := placed.FindStringSubmatch(line); m != nil {
			n, err := strconv.ParseInt(m[2], 10, 64)
			if off, oerr := strconv.ParseInt(m[3], 10, 64); err != nil || oerr != nil || off != written {
				t.Fatalf("not the next bytes of the log: %s", line)
			}
			written += n
		}
	}
	if st.Size() == 0 || written != st.Size() {
		t.Errorf("%d bytes of the log were written before it was flushed; it has %d", written, st.Size())
	}
	t.Logf("%d bytes were written again", written)
}
