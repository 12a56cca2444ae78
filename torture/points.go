package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/batchwright/batchwright/internal/failpoint"
)

// step is one process and the point it dies at.
type step struct {
	at     string
	hit    int      // 0 is the first
	verb   []string // nil: run the job
	orders string   // for other points
	// before acts before the process begins; beside acts while it does.
	before func(w *world) error
	beside func(w *world, p *proc) error
}

// at are steps that run the job and die at the first hit of points.
func at(points ...string) []step {
	ss := make([]step, len(points))
	for i, p := range points {
		ss[i].at = p
	}
	return ss
}

// edges are the three points of a transaction. The last one comes last: it is
// the one that brings the run on.
func edges(tx string) []string { return []string{tx + ".before", tx + ".in", tx + ".after"} }

// when calls act once the process has hit point.
func when(point string, act func(w *world) error) func(*world, *proc) error {
	return func(w *world, p *proc) error {
		if !p.reached(point) {
			return nil
		}
		return act(w)
	}
}

// ask runs another command of the program, whose end it does not judge: the
// process that it asks is about to die.
func ask(verb string, args ...string) func(*world) error {
	return func(w *world) error {
		p, err := w.start("", verb, args...)
		if err != nil {
			return err
		}
		return p.wait(limit)
	}
}

// refuse makes the provider take no key any more, or again.
func refuse(yes bool) func(*world) error {
	return func(w *world) error {
		if yes {
			return w.provider("nth:1-1000000=auth")
		}
		return w.provider(w.c.faults)
	}
}

// share gives the data directory a budget that all its runs draw on.
func share(w *world) error {
	return os.WriteFile(filepath.Join(w.dir, "data-storm", "config.yaml"), []byte("budgets:\n  - {name: all, period: total, tokens: 100000000}\n"), 0o600)
}

// scene is a row of steps in one data directory. Each process takes up what the
// one before has left.
type scene struct {
	name  string
	load  func(load) load // what is different of the load; may be nil
	steps func() []step
}

var scenes = []scene{
	{name: "start", steps: func() []step {
		return at(slices.Concat([]string{"datadir.made", "lock.taken", "lock.written", "queue.before", "queue.after", "migrate.before", "migrate.step", "migrate.after",
			"takeover.before"}, edges("reap"), []string{"takeover.after", "session.open", "socket.cleared", "socket.made",
			"manifest.begin", "draft.create.after", "manifest.read", "manifest.linked", "draft.sync.before", "draft.rename.before", "draft.dirsync.before",
			"draft.dirsync.after", "manifest.file", "manifest.header", "start.frozen", "start.planned"}, edges("create-run"))...)
	}},
	{name: "work", steps: func() []step {
		return at(slices.Concat([]string{"start.stored", "resume.ready", "launch.added"}, edges("transition"), []string{"launch.running", "bell.heard"}, edges("claim"),
			[]string{"advance.queued"}, edges("advance"), []string{"call.before", "advance.acknowledged", "send.before", "send.connected", "send.written", "send.headers",
				"send.body", "call.after"}, edges("topup"), []string{"release.sent"}, edges("release"), []string{"bell.answered"})...)
	}},
	{name: "end", steps: func() []step {
		return at(slices.Concat([]string{"seal.bell", "segment.packed", "put.before", "put.written", "segment.outcomes", "segment.attempts"}, edges("seal"),
			[]string{"finish.bell", "finish.begin", "finish.sealed", "deliver.begin", "output.created", "output.sync.before", "output.rename.before", "output.dirsync.before",
				"deliver.rows", "deliver.document", "deliver.stale", "deliver.manifest", "output.removed", "deliver.success", "finish.delivered", "close.before"})...)
	}},
	{name: "steering", steps: func() []step {
		pausing := func(point string) step {
			return step{at: point, beside: when("send.body", ask("pause"))}
		}
		poor := []string{"run", "poor.yaml"}
		ss := []step{{at: "discard.before", verb: poor}, {at: "close.after", verb: poor},
			pausing("pause.stored"), pausing("socket.reply"),
			{at: "pause.before", before: refuse(true)}, {before: refuse(false)},
			{at: "interrupt.stored", orders: "send.body=term"}, {at: "drain.begin", orders: "send.body=int"},
			{at: "pause.stored", verb: []string{"pause"}}}
		for _, p := range slices.Concat([]string{"cancel.stored"}, edges("set-target")) {
			ss = append(ss, step{at: p, beside: when("send.body", ask("cancel"))}, step{})
		}
		return append(ss, step{at: "send.body"}, step{at: "cancel.stored", verb: []string{"cancel"}}, step{at: "segment.switched"}, step{at: "close.after"})
	}},
	{name: "retry", steps: func() []step {
		ss := []step{{}}
		again := []string{"retry", "--error-code", "invalid_request"}
		for _, p := range []string{"reopen.before", "reopen.in", "retry.reopened", "segment.switched", "", "object.deleted", "", "reopen.after"} {
			if p == "" {
				ss = append(ss, step{verb: []string{"resume"}})
				continue
			}
			ss = append(ss, step{at: p, verb: again})
		}
		return append(ss, step{verb: again})
	}},
	{name: "taken back", steps: func() []step { // a cancel that was stored and not done, and a start that goes on
		return []step{{at: "send.body"}, {at: "cancel.stored", verb: []string{"cancel"}}, {at: "finish.sealed", orders: "finish.begin=wait:200ms"}, {}}
	}},
	{name: "shared budgets", steps: func() []step {
		ss := []step{{}}
		again := []string{"retry", "--error-code", "invalid_request"}
		for _, p := range slices.Concat(edges("set-budgets"), edges("set-draws")) {
			ss = append(ss, step{at: p, before: share, verb: again})
		}
		return append(ss, step{verb: again})
	}},
	{name: "limits", steps: func() []step {
		ss := at("send.body")
		for i, p := range edges("set-limit") {
			ss = append(ss, step{at: p, verb: []string{"resume", "--token-budget", fmt.Sprint(4_000_000 + i)}})
		}
		return append(ss, step{verb: []string{"resume", "--token-budget", "5000000"}})
	}},
	{name: "short", load: func(l load) load { l.budget = 4000; return l }, steps: func() []step { // it stops for want of budget, and is given more
		ss, more := []step{{}}, []string{"resume", "--token-budget", "3000000"}
		for _, p := range edges("set-limit") {
			ss = append(ss, step{at: p, verb: more})
		}
		return append(ss, step{verb: more})
	}},
	{name: "zombie", steps: func() []step {
		var ss []step
		for _, p := range slices.Concat([]string{"fenced.before"}, edges("late"), []string{"late.sent"}) {
			ss = append(ss, step{at: p, orders: "send.headers#3=wait:120ms", beside: when("send.headers", usurp)})
		}
		return ss
	}},
}

// tally is what was done and seen; it is shared between worlds.
type tally struct {
	mu      sync.Mutex
	reached map[string]int // kills by point
	kills   int
}

// points kills the program once at every point there is, in scenes of which
// some run side by side, and holds what is left to ref.
func points(bin, dir string, ref calm, seed uint64, lanes int, out io.Writer) error {
	t := &tally{reached: map[string]int{}}
	in := make(chan scene, len(scenes))
	for _, s := range scenes {
		in <- s
	}
	close(in)
	var lane sync.WaitGroup
	errs := make(chan error, len(scenes))
	for range lanes {
		lane.Go(func() {
			for s := range in {
				if err := s.play(bin, dir, ref, seed, t); err != nil {
					errs <- fmt.Errorf("scene %s: %w", s.name, err)
				}
			}
		})
	}
	lane.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	var never []string
	for _, name := range failpoint.Names() {
		if t.reached[name] == 0 {
			never = append(never, name)
		}
	}
	if len(never) > 0 && len(all) == 0 {
		all = append(all, fmt.Errorf("no process came to these points: %s", strings.Join(never, " ")))
	}
	fmt.Fprintf(out, "%d kills at %d of %d points\n", t.kills, len(t.reached), len(failpoint.Table))
	return errors.Join(all...)
}

func (s scene) play(bin, dir string, ref calm, seed uint64, t *tally) (err error) {
	l := ref.load
	if s.load != nil {
		l = s.load(l)
	}
	w, err := newWorld(bin, dir, l, ref, seed)
	if err != nil {
		return err
	}
	defer w.end()
	poor := l.spec(w.url, "out-poor", 10)
	if err := os.WriteFile(filepath.Join(w.dir, "poor.yaml"), poor, 0o600); err != nil {
		return err
	}
	for i, st := range s.steps() {
		if err := w.step(st, t); err != nil {
			return fmt.Errorf("step %d, %s: %w", i, st.at, err)
		}
	}
	return w.conclude()
}

// step runs one process to its death or end.
func (w *world) step(st step, t *tally) error {
	verb := st.verb
	if verb == nil {
		verb = []string{"run", "storm.yaml", "--allow-partial"}
	}
	if verb[0] == "run" {
		if err := w.turn(); err != nil {
			return err
		}
	}
	if st.before != nil {
		if err := st.before(w); err != nil {
			return err
		}
	}
	orders := st.orders
	if st.at != "" {
		orders = strings.Trim(orders+","+fmt.Sprintf("%s#%d", st.at, max(st.hit, 1)), ",")
	}
	p, err := w.start(orders, verb[0], verb[1:]...)
	if err != nil {
		return err
	}
	beside := make(chan error, 1)
	go func() {
		if st.beside != nil {
			beside <- st.beside(w, p)
			return
		}
		beside <- nil
	}()
	if err := errors.Join(p.wait(limit), <-beside); err != nil {
		return err
	}
	if p.killed() {
		t.mu.Lock()
		t.kills++
		t.reached[st.at]++
		t.mu.Unlock()
		return w.check()
	}
	return w.over(p)
}

// over judges a process that ended by itself.
func (w *world) over(p *proc) error {
	if !slices.Contains([]int{0, 3, 5, 9, 75, 130}, p.code()) {
		return p.failed("an end of its own")
	}
	return w.check()
}

// conclude goes on with the run to its end.
func (w *world) conclude() error {
	if w.ended {
		return nil
	}
	p, err := w.start("", "run", "storm.yaml")
	if err == nil {
		err = p.wait(limit)
	}
	if err != nil {
		return err
	}
	if !finished(p.code()) {
		return p.failed("the last start")
	}
	return w.check()
}
