package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"
)

// hold is longer than a lease lives without a beat.
const hold = 17 * time.Second

// freeze stops the working process for longer than its leases live. While it is
// frozen a second one must be refused, at once and in clear words: the first one
// is not dead. Then it must go on as if nothing had been, with nothing paid
// twice.
func freeze(bin, dir string, ref calm, seed uint64, out io.Writer) error {
	l := ref.load
	l.latency, l.faults = 60*time.Millisecond, ""
	w, err := newWorld(bin, dir, l, ref, seed)
	if err != nil {
		return err
	}
	defer w.end()
	p, err := w.start("", "run", "storm.yaml")
	if err != nil {
		return err
	}
	if !p.reached("send.body") {
		return p.failed("no call was made")
	}
	time.Sleep(time.Duration(w.rng.Int64N(int64(100 * time.Millisecond))))
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	thaw := time.Now().Add(hold)
	for _, verb := range [][]string{{"run", "storm.yaml"}, {"pause"}, {"retry", "--failed"}} {
		if err := w.refused(verb); err != nil {
			_ = p.kill()
			return err
		}
	}
	time.Sleep(time.Until(thaw))
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := p.wait(limit); err != nil {
		return err
	}
	if !finished(p.code()) {
		return p.failed("the frozen run")
	}
	if err := w.check(); err != nil {
		return err
	}
	b, err := w.bill()
	if err != nil {
		return err
	}
	if b.Extra != 0 || w.unknown != 0 {
		return fmt.Errorf("frozen for %v, %d calls were paid twice and %d are of unknown fate", hold, b.Extra, w.unknown)
	}
	fmt.Fprintf(out, "frozen for %v: others refused, it went on, nothing paid twice\n", hold)
	return nil
}

// refused runs a command that needs what a frozen process holds.
func (w *world) refused(verb []string) error {
	q, err := w.start("", verb[0], verb[1:]...)
	if err == nil {
		err = q.wait(hold / 2)
	}
	if err != nil {
		return err
	}
	said := q.out.String()
	if verb[0] == "retry" && strings.Contains(said, "0 items") { // nothing failed yet: it has nothing to ask for
		return nil
	}
	if q.code() != 11 || !strings.Contains(said, "process ") || !strings.Contains(said, "hint:") {
		return q.failed("beside a frozen process, want a refusal with code 11 that names it")
	}
	return nil
}

// signals ends the program with SIGTERM and SIGINT, once, twice or in a row, at
// random moments. One signal drains: nothing may be lost by it.
func signals(bin, dir string, ref calm, rounds int, seed uint64, out io.Writer) error {
	l := ref.load
	l.faults = "500:0.01"
	w, err := newWorld(bin, dir, l, ref, seed)
	if err != nil {
		return err
	}
	defer w.end()
	codes := map[int]int{}
	for n := range rounds {
		if err := w.turn(); err != nil {
			return err
		}
		lost := w.unknown
		code, single, err := w.signal()
		if err == nil {
			err = w.check()
		}
		if err == nil && single && w.newest != w.past && w.unknown > lost && lost >= 0 {
			err = fmt.Errorf("one signal lost %d calls", w.unknown-lost)
		}
		if err != nil {
			return fmt.Errorf("seed %d, round %d: %w", seed, n, err)
		}
		if w.ended {
			w.unknown = 0
		}
		codes[code]++
	}
	if err := w.conclude(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rounds of SIGTERM and SIGINT: exit codes %v\n", rounds, codes)
	return nil
}

// signal runs the job and signals it; single says that it was told once.
func (w *world) signal() (code int, single bool, err error) {
	kind, want := syscall.SIGTERM, 75
	if w.rng.IntN(2) == 0 {
		kind, want = syscall.SIGINT, 130
	}
	times := []int{1, 1, 2, 5}[w.rng.IntN(4)]
	point := []string{"lock.written", "manifest.begin", "launch.running", "send.body", "finish.begin"}[w.rng.IntN(5)]
	after := time.Duration(w.rng.Int64N(int64(80 * time.Millisecond)))
	p, err := w.start("", "run", "storm.yaml")
	if err != nil {
		return 0, false, err
	}
	if p.reached(point) {
		time.Sleep(after)
	}
	for range times {
		_ = p.cmd.Process.Signal(kind) // it may have ended meanwhile
		time.Sleep(time.Duration(w.rng.Int64N(int64(15 * time.Millisecond))))
	}
	if err := p.wait(limit); err != nil {
		return 0, false, err
	}
	// Before it listens, and once its work is done, a signal simply ends it; so
	// does another one while it is about to end.
	s, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	bare := s.Signaled() && s.Signal() == kind && (p.place() == "start" || p.hits["finish.delivered"] > 0 || times > 1)
	if !bare && !slices.Contains([]int{0, 3, want}, p.code()) {
		return p.code(), false, p.failed(fmt.Sprintf("after %d × %v at %s", times, kind, point))
	}
	return p.code(), times == 1 && !s.Signaled(), nil
}
