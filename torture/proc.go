package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// proc is one process of the program. What it reaches it tells through a pipe,
// line by line, so that whoever kills it knows where it was.
type proc struct {
	cmd   *exec.Cmd
	out   bytes.Buffer // to be read when it has ended
	begun time.Time
	ended chan struct{} // closed when it has, and everything it told was read

	mu    sync.Mutex
	first map[string]time.Time
	hits  map[string]int
	last  string
	news  chan struct{} // closed and made anew at every line
}

// start begins a command of the world's data directory under orders for its
// failpoints.
func (w *world) start(orders, verb string, args ...string) (*proc, error) {
	args = append(args, "--yes")
	if slices.Contains([]string{"run", "resume", "retry"}, verb) {
		args = append(args, "--progress", "none")
	}
	p := &proc{cmd: w.command("storm", verb, args...), ended: make(chan struct{}), first: map[string]time.Time{}, hits: map[string]int{}, news: make(chan struct{})}
	r, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = &p.out, &p.out, []*os.File{told}
	p.cmd.Env = append(os.Environ(), "BATCHWRIGHT_FAILPOINT="+orders, "BATCHWRIGHT_FAILPOINT_LOG=/dev/fd/3")
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), told.Close())
	}
	told.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		for sc := bufio.NewScanner(r); sc.Scan(); {
			p.tell(sc.Text())
		}
	}()
	go func() {
		_ = p.cmd.Wait() // its state says how it ended
		<-read
		close(p.ended)
	}()
	return p, nil
}

// tell takes a line "point hits".
func (p *proc) tell(line string) {
	name, _, _ := strings.Cut(line, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hits[name]++; p.hits[name] == 1 {
		p.first[name] = time.Now()
	}
	p.last = name
	close(p.news)
	p.news = make(chan struct{})
}

// reached waits until the process hits point; false when it ended without.
func (p *proc) reached(point string) bool {
	for {
		p.mu.Lock()
		_, ok := p.first[point]
		news := p.news
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-news:
		case <-p.ended:
			p.mu.Lock()
			defer p.mu.Unlock()
			_, ok := p.first[point]
			return ok
		}
	}
}

// since is how long after its start the process hit point first.
func (p *proc) since(point string) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.first[point]
	return at.Sub(p.begun), ok
}

// wait waits for the end of the process. One that does not end is asked where
// it hangs, and is the error.
func (p *proc) wait(atMost time.Duration) error {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-p.ended:
		return nil
	case <-t.C:
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	return p.failed(fmt.Sprintf("no end after %v", atMost))
}

// kill is SIGKILL, and the wait for the end; false when it had ended before.
func (p *proc) kill() bool {
	_ = p.cmd.Process.Kill() // it may have ended meanwhile
	<-p.ended
	return p.killed()
}

// killed reports whether SIGKILL was its end; call it after the end.
func (p *proc) killed() bool {
	s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// code is the exit code as a shell tells it: 128 and the signal for a process
// that a signal ended. Call it after the end.
func (p *proc) code() int {
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return 128 + int(st.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *proc) failed(what string) error {
	said, stacks, _ := strings.Cut(p.out.String(), "SIGQUIT")
	for _, g := range strings.Split(stacks, "\n\n") { // those of ours
		if strings.Contains(g, "batchwright/internal/") {
			said += "\n" + g
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("%s: %s: %v, last seen at %s\n%s", strings.Join(p.cmd.Args[1:], " "), what, p.cmd.ProcessState, p.last, said)
}
