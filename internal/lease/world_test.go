package lease_test

import (
	"container/heap"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/sqlite"
)

// house is the real store and the real way to cold storage, on a file system
// in memory; many worlds, one after another, are played in it.
type house struct {
	dir   string
	data  *datadir.Dir
	db    *sqlite.DB
	codec *segment.Codec
	cold  blob.Bucket
	world *world // the one being played
	rung  []batch.Bell

	reads  *sql.DB
	levels *sql.Stmt
}

func newHouse() (*house, error) {
	codec, err := segment.NewCodec()
	if err != nil {
		return nil, err
	}
	at := os.TempDir()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() { // nobody pulls a plug here
		at = "/dev/shm"
	}
	h := &house{codec: codec}
	if h.dir, err = os.MkdirTemp(at, "batchwright-simulation-"); err != nil {
		return nil, err
	}
	if h.data, err = datadir.Open(h.dir, true); err != nil {
		return nil, err
	}
	h.cold = blob.Local(h.dir)
	h.db, err = sqlite.Open(context.Background(), sqlite.Config{Path: filepath.Join(h.dir, "batchwright.db"), Bells: h, Between: h.between,
		Now: func() time.Time { return h.world.now },
		Pack: func(a batch.Attempt) ([]byte, error) {
			return codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
		}})
	if err != nil {
		return nil, err
	}
	if h.reads, err = sqlite.Handle(filepath.Join(h.dir, "batchwright.db"), 1, true); err != nil {
		return nil, err
	}
	h.levels, err = h.reads.Prepare(levelsSQL)
	return h, err
}

func (h *house) close() error {
	return errors.Join(h.levels.Close(), h.reads.Close(), h.db.Close(), os.RemoveAll(h.dir))
}

// Ring keeps bells until their transaction is committed.
func (h *house) Ring(_ context.Context, _ *sql.Tx, bells []batch.Bell) error {
	h.rung = append(h.rung, bells...)
	return nil
}

func (h *house) between(point string) {
	switch {
	case strings.HasPrefix(point, "before "):
		h.rung = nil
	case strings.HasPrefix(point, "after "):
		for _, b := range h.rung {
			h.world.ring(b)
		}
		h.rung = nil
	}
}

// event is something that happens at a time.
type event struct {
	at   time.Time
	seq  int
	who  *process // nil: the world itself
	what string
	do   func()
}

type agenda []*event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].seq < a[j].seq
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*event)) }
func (a *agenda) Pop() any {
	old := *a
	e := old[len(old)-1]
	*a = old[:len(old)-1]
	return e
}

// world is one seed: everything that happens in it follows from the seed.
type world struct {
	h      *house
	seed   uint64
	rng    *rand.Rand
	now    time.Time
	agenda agenda
	seq    int
	calm   bool // the faults have stopped
	plan   plan
	procs  []*process
	jobs   []*job
	born   int
	steps  int
	faults int
	trace  uint64 // a digest of all that happened, in order
	tell   io.Writer
	wrote  bool
	// ceiling is what each budget held when last looked at.
	ceiling map[string][3]int64
	wrong   error
}

// plan is how unkind a world is.
type plan struct {
	crash, fail, freeze, loseBell float64 // per store call, per store call, per beat, per bell
	provider                      float64 // how often a call does not simply succeed
	alone                         bool    // one process at a time, as on a laptop
	operator                      bool    // a person pauses, resumes, raises and lowers
}

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// died is thrown by a store call in which a process dies.
type died struct{}

func (w *world) after(p *process, d time.Duration, what string, do func()) {
	w.at(p, w.now.Add(d), what, do)
}

func (w *world) at(p *process, t time.Time, what string, do func()) {
	w.seq++
	heap.Push(&w.agenda, &event{at: t, seq: w.seq, who: p, what: what, do: do})
}

// soon is a delay of up to d.
func (w *world) soon(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

func (w *world) chance(p float64) bool { return !w.calm && w.rng.Float64() < p }

// bad notes the first thing that is wrong.
func (w *world) bad(format string, args ...any) {
	if w.wrong == nil {
		w.wrong = fmt.Errorf(format, args...)
	}
}

// note adds a line to the trace.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%12.6f ", w.now.Sub(epoch).Seconds()) + strings.ReplaceAll(fmt.Sprintf(format, args...), w.h.dir, "")
	d := fnv.New64a()
	_, _ = fmt.Fprintf(d, "%x %s", w.trace, line)
	w.trace = d.Sum64()
	if w.tell != nil {
		_, _ = fmt.Fprintln(w.tell, line)
	}
}

// ring delivers a bell to some process, late, twice or never.
func (w *world) ring(b batch.Bell) {
	if b.Kind == batch.BellWork || !w.calm {
		if w.chance(w.plan.loseBell) {
			w.note("bell lost %s %s %d/%d", b.Kind, b.Run, b.N, b.Epoch)
			w.faults++
			return
		}
	}
	times := 1
	if w.chance(0.05) {
		times = 2
	}
	for range times {
		w.after(nil, w.soon(60*time.Millisecond), "bell", func() { w.deliver(b) })
	}
}

func (w *world) deliver(b batch.Bell) {
	var live []*process
	for _, p := range w.procs {
		if !p.dead {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		w.after(nil, 500*time.Millisecond, "bell", func() { w.deliver(b) }) // the queue is durable
		return
	}
	p := live[w.rng.IntN(len(live))]
	w.after(p, w.soon(5*time.Millisecond), "heard", func() { p.hear(b) })
}

// The faults stop at quiet; the runs must then end within patience.
const (
	quiet    = 40 * time.Second
	patience = 45 * time.Minute
)

// play runs the world to its end.
func (w *world) play() error {
	heap.Init(&w.agenda)
	w.begin()
	for w.wrong == nil && !w.over() {
		if len(w.agenda) == 0 {
			return fmt.Errorf("nothing happens any more, and the runs have not ended: %s", w.standing())
		}
		e := heap.Pop(&w.agenda).(*event)
		if e.who != nil {
			if e.who.dead {
				continue
			}
			if e.who.frozen.After(e.at) {
				w.at(e.who, e.who.frozen.Add(w.soon(time.Millisecond)), e.what, e.do)
				continue
			}
		}
		w.now = e.at
		if !w.calm && w.now.Sub(epoch) > quiet {
			w.calm = true
			w.note("calm")
		}
		if w.now.Sub(epoch) > quiet+patience {
			return fmt.Errorf("I14: %v after the faults stopped the runs have not ended: %s", patience, w.standing())
		}
		w.steps++
		w.do(e)
		if w.wrote {
			w.wrote = false
			w.check()
		}
	}
	if w.wrong != nil {
		return w.wrong
	}
	return w.judge()
}

// do lets an event happen; a process that dies in it is gone.
func (w *world) do(e *event) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(died); !ok {
				panic(r)
			}
			e.who.die()
		}
	}()
	e.do()
}

func (w *world) over() bool {
	for _, j := range w.jobs {
		if !j.ended {
			return false
		}
	}
	return len(w.jobs) > 0
}

func (w *world) standing() string {
	var b strings.Builder
	for _, j := range w.jobs {
		r, err := w.h.db.Run(context.Background(), j.id)
		fmt.Fprintf(&b, "%s %s target %q %d/%d closed %d/%d %v; ", j.id, r.State, r.Target, r.Counts.OK+r.Counts.Failed, r.Items, r.Closed, r.Shards(), err)
		open, _ := w.h.db.Open(context.Background(), j.id)
		for _, s := range open {
			fmt.Fprintf(&b, "[%d %v e%d %s pending %d] ", s.Ref.Shard, s.State, s.Ref.Epoch, s.Owner, s.Book.Pending())
		}
	}
	return b.String()
}

// sealer is the application, for its way to cold storage, as process p sees
// the store.
func (w *world) sealer(s store.Store) *app.App {
	return app.New(app.Config{Dir: w.h.data, Store: s, Cold: w.h.cold, Codec: w.h.codec, Log: slog.New(slog.DiscardHandler)})
}
