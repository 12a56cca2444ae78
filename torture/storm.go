package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// stage is a stage of a process's life, by the point that begins it.
type stage struct {
	name, point string
	share       int           // of the kills that are aimed here, in percent
	span        time.Duration // how long after the point at most
}

var places = []stage{
	{"start", "datadir.made", 20, 60 * time.Millisecond},
	{"plan", "manifest.begin", 10, 30 * time.Millisecond},
	{"work", "launch.running", 40, 250 * time.Millisecond},
	{"seal", "segment.packed", 15, 6 * time.Millisecond},
	{"deliver", "finish.begin", 15, 60 * time.Millisecond},
}

// place is the stage that the process was in when it ended.
func (p *proc) place() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range slices.Backward(places) {
		if p.hits[x.point] > 0 && (x.name != "seal" || p.hits["seal.after"] < p.hits["segment.packed"]) {
			return x.name
		}
	}
	return "start"
}

// sums are what a storm did.
type sums struct {
	mu      sync.Mutex
	kills   map[string]int // by place
	runs    int            // that came to their end
	twice   int64          // calls paid twice
	lost    []int64        // calls that were on the wire or not yet written, by kill
	restart []time.Duration
}

func (s *sums) total() (n int) {
	for _, k := range s.kills {
		n += k
	}
	return n
}

// storm stops the program with SIGKILL at random moments of its life, in lanes
// side by side, run after run, until it was killed so often. What is left is
// judged after every kill, and every run that ends.
func storm(bin, dir string, ref calm, kills int, seed uint64, lanes int, out io.Writer) (*sums, error) {
	s := &sums{kills: map[string]int{}}
	var lane sync.WaitGroup
	errs := make([]error, lanes)
	for i := range lanes {
		lane.Go(func() { errs[i] = s.lane(bin, dir, ref, (kills+lanes-1-i)/lanes, seed+uint64(i), out) })
	}
	lane.Wait()
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	for _, x := range places {
		if s.kills[x.name] == 0 && kills >= 100 {
			return s, fmt.Errorf("no kill in %d came at %s", kills, x.name)
		}
	}
	return s, nil
}

func (s *sums) lane(bin, dir string, ref calm, kills int, seed uint64, out io.Writer) error {
	w, err := newWorld(bin, dir, ref.load, ref, seed)
	if err != nil {
		return err
	}
	defer w.end()
	var extra, unknown int64
	for n := 0; n < kills; {
		fresh := w.ended || n == 0
		if fresh {
			extra, unknown = 0, 0
		}
		if err := w.turn(); err != nil {
			return err
		}
		killed, err := w.strike(s, fresh)
		if err == nil {
			err = w.check()
		}
		var b bill
		if err == nil {
			b, err = w.bill()
		}
		if err != nil {
			return fmt.Errorf("seed %d, kill %d of %d: %w", seed, n+1, kills, err)
		}
		s.mu.Lock()
		if w.newest != w.past {
			if k := len(s.lost); k > 0 && w.unknown > unknown {
				s.lost[k-1] += w.unknown - unknown // by the kill before, as its successor found
			}
			s.twice += b.Extra - extra
			extra, unknown = b.Extra, w.unknown
			if w.ended {
				s.runs++
			}
		}
		if killed {
			n++
			s.lost = append(s.lost, 0)
			if t := s.total(); t%100 == 0 {
				fmt.Fprintf(out, "%d kills, %d runs ended\n", t, s.runs)
			}
		}
		s.mu.Unlock()
	}
	return w.conclude()
}

// strike starts the program and kills it; killed says that it was still there.
// A fresh start is one without a run to go on with: most of those are aimed at
// what only they do.
func (w *world) strike(s *sums, fresh bool) (killed bool, err error) {
	aim, r := places[0], w.rng.IntN(100)
	if fresh && r >= 70 {
		r = 25 // plan
	}
	for _, x := range places {
		if aim = x; r < x.share {
			break
		}
		r -= x.share
	}
	s.mu.Lock()
	for _, x := range places { // towards the end, where no kill came yet
		if s.kills[x.name] == 0 && s.total() >= 60 && (x.name != "plan" || fresh) {
			aim = x
		}
	}
	s.mu.Unlock()
	after := time.Duration(w.rng.Int64N(int64(aim.span)))
	p, err := w.start("", "run", "storm.yaml")
	if err != nil {
		return false, err
	}
	timer := time.AfterFunc(limit, func() { _ = p.cmd.Process.Kill() })
	if p.reached(aim.point) {
		time.Sleep(after)
	}
	if !timer.Stop() {
		<-p.ended
		return false, p.failed("no end")
	}
	killed = p.kill()
	s.mu.Lock()
	defer s.mu.Unlock()
	if killed {
		s.kills[p.place()]++
	} else if !finished(p.code()) {
		return false, p.failed("an end of its own")
	}
	p.mu.Lock()
	_, resumed := p.first["resume.ready"]
	p.mu.Unlock()
	if d, ok := p.since("send.before"); ok && resumed {
		s.restart = append(s.restart, d)
	}
	return killed, nil
}

// String is the table of a storm.
func (s *sums) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kills %d:", s.total())
	for _, x := range places {
		fmt.Fprintf(&b, " %s %d", x.name, s.kills[x.name])
	}
	most := slices.Max(append([]int64{0}, s.lost...))
	fmt.Fprintf(&b, "\nruns to their end %d, outputs identical, every verify passed\ncalls paid twice %d: %.2f a kill; calls lost by one kill %d at most\n",
		s.runs, s.twice, float64(s.twice)/float64(max(s.total(), 1)), most)
	slices.Sort(s.restart)
	if n := len(s.restart); n > 0 {
		at := func(p int) time.Duration { return s.restart[min(n-1, n*p/100)].Round(time.Millisecond) }
		fmt.Fprintf(&b, "restart to first new call p50 %v, p99 %v, max %v (%d restarts)\n", at(50), at(99), at(100), n)
	}
	return b.String()
}
