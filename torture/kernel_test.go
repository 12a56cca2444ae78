//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fault is one wrong answer of the kernel: what the when-th call of a kind in
// each thread gives. With a plus sign all that follow it fail, too.
type fault struct {
	calls string // as strace names them
	how   string // error=EIO, signal=SIGKILL
	when  string
}

func (f fault) String() string { return f.calls + ":" + f.how + ":when=" + f.when }

// dies reports whether the fault is the process's end.
func (f fault) dies() bool { return strings.HasPrefix(f.how, "signal=") }

// battery is one kind of fault and how far its calls are counted.
type battery struct {
	calls string
	hows  []string
	last  int // the highest call that is worth a try in one thread
}

const (
	kill9 = "signal=SIGKILL"
	eio   = "error=EIO"
	full  = "error=ENOSPC"
)

// batteries are the calls by which bytes reach a disk, and those that open,
// name and close what holds them.
var batteries = []battery{
	{"pwrite64", []string{eio, full, kill9}, 260},
	{"fsync,fdatasync", []string{eio, full, kill9}, 60},
	{"ftruncate", []string{eio, kill9}, 3},
	{"unlink,unlinkat", []string{eio, kill9}, 8},
	{"rename,renameat,renameat2", []string{eio, full, kill9}, 10},
	{"mkdir,mkdirat", []string{full, "error=EACCES", kill9}, 5},
	{"open,openat", []string{eio, full, "error=EMFILE", kill9}, 45},
	{"write", []string{eio, full, kill9}, 30},
	{"close", []string{eio, kill9}, 45},
	{"pread64", []string{eio}, 120},
}

// faults draws n faults, each battery's share by how many calls it has.
func faults(rng *rand.Rand, n int) []fault {
	var all []fault
	for _, b := range batteries {
		for _, how := range b.hows {
			for when := 1; when <= b.last; when += 1 + when/4 {
				w := fmt.Sprint(when + rng.IntN(1+when/4))
				all = append(all, fault{b.calls, how, w})
				if !strings.HasPrefix(how, "signal=") {
					all = append(all, fault{b.calls, how, w + "+"})
				}
			}
		}
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if n > 0 && n < len(all) {
		all = all[:n]
	}
	return all
}

// strikes is what a series of faults came to.
type strikes struct {
	mu           sync.Mutex
	tried, fired int
	ended, died  int // with an exit code of its own; by the signal
	finished     int // although it was hit
	alone        int // went on by itself when the faults stopped
	acknowledged int // results that were seen before, and after
	kinds        map[string]int
	bad          []string
}

func (y *strikes) note(f func()) {
	y.mu.Lock()
	defer y.mu.Unlock()
	f()
}

func (y *strikes) String() string {
	return fmt.Sprintf("%d faults tried, %d fired: %d finished all the same (%d of them when the faults stopped), %d ended with a clear error, %d were killed; %d results seen before; %d bad",
		y.tried, y.fired, y.finished, y.alone, y.ended, y.died, y.acknowledged, len(y.bad))
}

// strace is the program that injects, or a failed test that says where to get it.
func strace(t *testing.T) string {
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("this test injects faults with strace, which is not installed: apt-get install strace (or dnf, apk)")
	}
	return path
}

// struck is a process at work under a fault.
type struck struct {
	cmd    *exec.Cmd
	err    lockedBuffer
	done   chan struct{}
	rc     int
	tracer int
	log    string
}

// lockedBuffer is written by a process while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *struck) start() error {
	s.done = make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = &s.err, &s.err
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		err := s.cmd.Wait()
		s.rc = s.cmd.ProcessState.ExitCode()
		if st, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			s.rc = 128 + int(st.Signal())
		} else if err != nil && s.rc < 0 {
			s.rc = 255
		}
		close(s.done)
	}()
	return nil
}

func (s *struck) ended(within time.Duration) bool {
	select {
	case <-s.done:
		return true
	default:
	}
	select {
	case <-s.done:
		return true
	case <-time.After(within):
		return false
	}
}

// ward is a world in which a disk and a kernel can be ill.
type ward struct{ *world }

// strike runs the storm's spec under a fault. The tracer is a process of its
// own (-D), so that it can leave and the faults stop.
func (w ward) strike(tracer string, f fault, name string) (*struck, error) {
	plain := w.storm()
	s := &struck{log: filepath.Join(w.dir, name+".strace")}
	s.cmd = exec.Command(tracer, append([]string{"-D", "-I", "2", "-f", "-q", "-y", "-o", s.log, "-e", "trace=" + f.calls, "-e", "signal=none",
		"-e", "inject=" + f.calls + ":" + f.how + ":when=" + f.when, "--"}, plain.Args...)...)
	s.cmd.Dir = w.dir
	if err := s.start(); err != nil {
		return nil, err
	}
	status := fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid)
	for until := time.Now().Add(10 * time.Second); s.tracer == 0 && time.Now().Before(until); {
		text, err := os.ReadFile(status)
		if err != nil {
			break // it has ended
		}
		if _, rest, ok := bytes.Cut(text, []byte("TracerPid:")); ok {
			_, _ = fmt.Sscan(string(rest), &s.tracer)
		}
		if s.ended(time.Millisecond) {
			break
		}
	}
	return s, nil //nolint:nilerr // a process that has ended has no status to read
}

// leave ends the faults: the tracer lets go of the process. One that waits for
// an event that does not come is killed, which lets go, too.
func (s *struck) leave() {
	if s.tracer == 0 {
		return
	}
	_ = syscall.Kill(s.tracer, syscall.SIGTERM)
	for range 100 {
		if s.untraced() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	_ = syscall.Kill(s.tracer, syscall.SIGKILL)
}

// untraced reports whether the tracer has ended.
func (s *struck) untraced() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.tracer))
	return s.tracer == 0 || err != nil || bytes.Contains(text, []byte(") Z "))
}

// fired is how often the fault came, and where, once the tracer has ended.
func (s *struck) fired() (n int, where string) {
	for range 300 {
		if s.untraced() {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		return 0, ""
	}
	var last string
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.Contains(line, "INJECTED") {
			n++
			if where == "" {
				where = line
			}
		}
		if where == "" && strings.Contains(line, "+++ killed by") {
			where = last
		}
		last = line
	}
	return n, where
}

// storm is the command that works the run to its end, whoever began it: the
// key makes it one run for ever.
func (w ward) storm() *exec.Cmd {
	return w.command("storm", "run", "storm.yaml", "--progress", "none", "--allow-partial", "--run-key", "storm")
}

// seen is what anybody can see of the run's results now, by line.
func (w ward) seen() map[string]bool {
	out, err := w.command("storm", "results").Output()
	if err != nil {
		return nil // no run yet
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if strings.HasSuffix(line, "\n") {
			lines[line] = true
		}
	}
	return lines
}

// keeps holds what is seen now against what was seen before (I1).
func keeps(before, now map[string]bool) error {
	lost := 0
	for line := range before {
		if !now[line] {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d results that were acknowledged are lost or changed", lost, len(before))
	}
	return nil
}

// fresh begins a new storm: nothing is there and nothing was paid.
func (w ward) fresh() error {
	for _, name := range []string{"data-storm", "out-storm"} {
		if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
			return err
		}
	}
	return w.post("/__reset")
}

var crashed = regexp.MustCompile(`(?m)^(panic:|fatal error:|goroutine \d+|runtime:)`)

// clearly holds the end of a process to what is promised of one: an exit code of
// the table, and a sentence that says what is wrong.
func clearly(rc int, text string) error {
	switch rc {
	case 0:
		return nil
	case 65, 69, 75, 78:
	default:
		return fmt.Errorf("exit code %d", rc)
	}
	if crashed.MatchString(text) {
		return errors.New("it crashed")
	}
	if !strings.Contains(text, "error:") && !strings.Contains(text, "paused") && !strings.Contains(text, "cannot be read") {
		return errors.New("it does not say why it ended")
	}
	return nil
}

// complete judges a run that says it is done.
func (w ward) complete() error {
	if _, err := os.Stat(filepath.Join(w.dir, "out-storm", "_SUCCESS")); err != nil {
		return fmt.Errorf("exit 0, and the outputs are not there: %w", err)
	}
	if err := w.compare(); err != nil {
		return fmt.Errorf("exit 0: %w", err)
	}
	if err := w.verify("storm"); err != nil {
		return err
	}
	if err := w.judge(); err != nil {
		return err
	}
	b, err := w.bill()
	if err != nil {
		return err
	}
	l, _, err := w.ledger()
	if err == nil && (b.Extra > l.unknown || b.Unique != int64(w.c.rows)) {
		err = fmt.Errorf("%d requests were paid, %d of them twice; %d rows, and %d calls that the ledger calls lost", b.Unique, b.Extra, w.c.rows, l.unknown)
	}
	return err
}

// heal brings the run to its end without a fault, and judges it.
func (w ward) heal(before map[string]bool) error {
	if err := w.verify("storm"); err != nil {
		return fmt.Errorf("before it went on: %w", err)
	}
	now := w.seen()
	if err := keeps(before, now); err != nil {
		return err
	}
	if out, err := w.storm().CombinedOutput(); err != nil {
		return fmt.Errorf("going on: %w\n%s", err, out)
	}
	if err := keeps(now, w.seen()); err != nil {
		return fmt.Errorf("after it went on: %w", err)
	}
	return w.complete()
}

// injected lets one fault strike and judges all that comes of it.
func (w ward) injected(tracer string, f fault, y *strikes) error {
	if err := w.fresh(); err != nil {
		return err
	}
	s, err := w.strike(tracer, f, "storm")
	if err != nil {
		return err
	}
	before, stuck := map[string]bool{}, false
	const patience = 2 * time.Second
	for begun := time.Now(); !s.ended(60 * time.Millisecond); {
		if time.Since(begun) > patience {
			stuck = true
			break
		}
		for line := range w.seen() {
			before[line] = true
		}
	}
	if stuck {
		s.leave()
		if !s.ended(15 * time.Second) {
			_ = s.cmd.Process.Kill()
			<-s.done
			return fmt.Errorf("the faults stopped, and it did not go on by itself in 15 s\n%s", s.err.String())
		}
	}
	n, where := s.fired()
	if n == 0 && f.dies() && s.rc == 128+int(syscall.SIGKILL) {
		n = 1
	}
	y.note(func() {
		y.tried++
		y.acknowledged += len(before)
		if n == 0 {
			return
		}
		y.fired++
		y.kinds[f.calls+":"+f.how]++
		switch {
		case s.rc == 0:
			y.finished++
			if stuck {
				y.alone++
			}
		case f.dies():
			y.died++
		default:
			y.ended++
		}
	})
	if err := w.outcome(f, s, before); err != nil {
		return fmt.Errorf("%w\nat: %s\nexit %d, stuck %v\n%s", err, where, s.rc, stuck, short(s.err.String()))
	}
	return nil
}

// outcome judges how a struck process ended, and what it left.
func (w ward) outcome(f fault, s *struck, before map[string]bool) error {
	if s.rc == 0 {
		if err := keeps(before, w.seen()); err != nil {
			return err
		}
		return w.complete()
	}
	text, _ := os.ReadFile(s.log)
	// Go's runtime dies of a write to its own doorbell that fails.
	if bytes.Contains(text, []byte("write(2<")) && bytes.Contains(text, []byte("INJECTED")) {
		s.err.Write([]byte("error: (its own words could not be written either)\n"))
	}
	torn := s.rc == 2 && strings.Contains(f.calls, "write") && bytes.Contains(text, []byte("[eventfd]"))
	if !torn && (!f.dies() || s.rc != 128+int(syscall.SIGKILL)) {
		if err := clearly(s.rc, s.err.String()); err != nil {
			return errors.Join(err, w.heal(before))
		}
	}
	return w.heal(before)
}

func short(text string) string {
	if len(text) > 3000 {
		return text[:1500] + "\n...\n" + text[len(text)-1500:]
	}
	return text
}

// calmWorld is a world whose undisturbed run is done.
func calmWorld(t *testing.T, rows int, latency time.Duration) ward {
	t.Helper()
	w := ward{&world{c: config{bin: bin, rows: rows, concurrency: 8, latency: latency, budget: 4_000_000, out: t.Output()},
		rng: rand.New(rand.NewPCG(1, 1)), dir: t.TempDir()}}
	sim, err := w.simulate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sim.Process.Signal(syscall.SIGINT)
		_ = sim.Wait()
	})
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	if err := w.run("calm"); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestDiskFaults lets the calls by which bytes reach a disk fail, or kill the
// process, one at a time or for good from one on. The run finishes or says why
// not; without the fault it goes on to the same outputs, and nothing that was
// seen is lost.
func TestDiskFaults(t *testing.T) {
	t.Parallel()
	tracer := strace(t)
	n := 30
	if *everyFault {
		n = 0
	}
	s := seeded(t)
	list := faults(rand.New(rand.NewPCG(s, 2)), n)
	if *onlyFault != "" {
		list = slicesOf(*onlyFault)
	}
	y := &strikes{kinds: map[string]int{}}
	queue := make(chan fault)
	var lanes sync.WaitGroup
	for range 2 {
		w := calmWorld(t, 48, 15*time.Millisecond)
		lanes.Go(func() {
			for f := range queue {
				if err := w.injected(tracer, f, y); err != nil {
					y.note(func() { y.bad = append(y.bad, f.String()) })
					t.Errorf("%s: %v", f, err)
				}
			}
		})
	}
	for _, f := range list {
		queue <- f
	}
	close(queue)
	lanes.Wait()
	t.Log(y)
	t.Log(y.kinds)
	if least := len(list) / 3; y.fired < least {
		t.Errorf("%d of %d faults fired, fewer than %d: little was tried", y.fired, len(list), least)
	}
}

func slicesOf(text string) (list []fault) {
	for one := range strings.FieldsSeq(text) {
		p := strings.SplitN(one, ":", 3)
		list = append(list, fault{p[0], p[1], strings.TrimPrefix(p[2], "when=")})
	}
	return list
}
