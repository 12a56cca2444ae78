package simulator

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Config is what a simulator is made from.
type Config struct {
	Knobs Knobs
	// Key is the only key that is accepted; empty accepts any and none.
	Key string
	// Models are the models there are; empty means every name is one.
	Models []string
	// Bill receives one JSON line per billed call, in one Write before the reply
	// goes out; nil keeps the bill in memory only.
	Bill io.Writer
	// KeepCalls keeps every billed call apart, for GET /__bill?calls=1: about 100
	// bytes each. Without it the bill knows totals and requests.
	KeepCalls bool
	Now       func() time.Time
}

// Simulator answers as a provider does. It is safe for concurrent use.
type Simulator struct {
	cfg      Config
	knobs    atomic.Pointer[Knobs]
	bill     *bill
	limits   limiter
	schemas  schemas
	inFlight atomic.Int64
	peak     atomic.Int64
}

// New returns a simulator with an empty bill. It panics without a clock.
func New(cfg Config) *Simulator {
	if cfg.Now == nil {
		panic("simulator: no clock")
	}
	s := &Simulator{cfg: cfg, bill: newBill(cfg.Bill, cfg.KeepCalls)}
	s.SetKnobs(cfg.Knobs)
	return s
}

// SetKnobs changes the behaviour for calls that arrive from now on.
func (s *Simulator) SetKnobs(k Knobs) {
	d := DefaultKnobs()
	if k.Burst <= 0 {
		k.Burst = d.Burst
	}
	if k.Words <= 0 {
		k.Words = d.Words
	}
	if k.SlowFactor <= 0 {
		k.SlowFactor = d.SlowFactor
	}
	if k.Hang <= 0 {
		k.Hang = d.Hang
	}
	if k.Drip <= 0 {
		k.Drip = d.Drip
	}
	if k.Huge <= 0 {
		k.Huge = d.Huge
	}
	s.knobs.Store(&k)
}

// Knobs returns the present ones.
func (s *Simulator) Knobs() Knobs { return *s.knobs.Load() }

// Totals returns the bill's totals.
func (s *Simulator) Totals() Totals {
	t := s.bill.totals()
	t.InFlight, t.PeakConcurrency = s.inFlight.Load(), s.peak.Load()
	return t
}

// Lines returns the bill of every request seen, in no order.
func (s *Simulator) Lines() []Line { return s.bill.lines() }

// CallsAfter counts the calls that arrived later than at.
func (s *Simulator) CallsAfter(at time.Time) int64 { return s.bill.callsAfter(at) }

// Mark remembers now: calls that arrive later are counted apart, as
// calls_after_mark. A test sets it when a run was told to stop.
func (s *Simulator) Mark() { s.bill.setMark(s.cfg.Now()) }

// Calls writes every billed call that is kept, from since on, as the JSON lines
// that Config.Bill gets.
func (s *Simulator) Calls(w io.Writer, since time.Time) error { return s.bill.writeCalls(w, since) }

// Sync makes what was written to Config.Bill durable, where it can be.
func (s *Simulator) Sync() error {
	if f, ok := s.cfg.Bill.(interface{ Sync() error }); ok {
		return f.Sync()
	}
	return nil
}

// Reset empties the bill, forgets what was seen and refills the limits.
func (s *Simulator) Reset() {
	s.bill.mu.Lock()
	s.bill.clear()
	s.bill.mu.Unlock()
	s.limits.clear()
	s.peak.Store(s.inFlight.Load())
}

// Request is one HTTP request, whole.
type Request struct {
	Method string
	Path   string
	Header http.Header
	Body   []byte

	schemas *schemas
}

// Reply is what goes back.
type Reply struct {
	Status int
	Header []string // names and values by turns, canonical
	Body   []byte
	Manner Manner
	At     int           // bytes of the body that go before it is cut; -1 half of them
	Size   int64         // of a body that is made as it goes
	Every  time.Duration // between two bytes of one that drips

	digest digest
	billed bool
}

// Do answers one request of a dialect; ok is false when no dialect has the path.
// The reply's body is appended to buf. It returns when the answer is due, or
// soon after ctx ended: what ran is billed all the same.
func (s *Simulator) Do(ctx context.Context, r *Request, buf []byte) (reply Reply, ok bool) {
	d := dialectAt(r.Path)
	if d == nil {
		return Reply{}, false
	}
	n := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	for p := s.peak.Load(); n > p && !s.peak.CompareAndSwap(p, n); p = s.peak.Load() {
	}
	r.schemas = &s.schemas
	x := exchange{s: s, k: s.knobs.Load(), d: d, r: r, buf: buf, at: s.cfg.Now(), open: n}
	return x.run(ctx), true
}
