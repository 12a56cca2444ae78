package simulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
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
	Now  func() time.Time
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
	s := &Simulator{cfg: cfg, bill: newBill(cfg.Bill)}
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

// Cut says how an exchange was broken off.
type Cut int

// Where an exchange was cut.
const (
	Whole     Cut = iota
	CutBefore     // the connection ends and no byte of an answer came
	CutInside     // it ends in the middle of the body
)

// Reply is what goes back.
type Reply struct {
	Status int
	Header []string // names and values by turns, canonical
	Body   []byte
	Cut    Cut

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

// exchange is one call on its way.
type exchange struct {
	s    *Simulator
	k    *Knobs
	d    dialect
	r    *Request
	buf  []byte
	at   time.Time
	open int64 // calls in flight, with this one

	id       digest
	clientID string
	call     int64
	seen     int64
	ask      ask
	levels   levels
}

func (x *exchange) run(ctx context.Context) Reply {
	x.id = digestOf(x.d, x.r)
	x.clientID = x.r.Header.Get("X-Client-Request-Id")
	x.call, x.seen = x.s.bill.arrive(x.id, x.clientID, x.at)
	if f := x.admit(); f != nil {
		return x.refuse(f)
	}
	fault := x.k.pick(x.id, x.call, x.seen, x.r.Body)
	facts := faultTable[fault]
	wait := x.k.latency(x.id, x.seen, fault)
	if fault == FaultTimeout {
		wait = x.k.Hang
	} else if facts.atOnce {
		wait = 0
	}
	gone := !rest(ctx, wait)
	if !facts.billed {
		return x.refuse(&failure{fault: fault, ask: x.ask, context: x.k.contextOr(8192)})
	}
	ans := x.s.generate(x.k, &x.ask, x.id, fault)
	class := x.d.class(fault)
	if ans.end == finishLength {
		class = batch.ClassTruncated
	}
	err := x.s.bill.end(call{d: x.id, fault: fault, class: class, in: ans.in, out: ans.out, billed: true,
		delivered: !gone && !fault.lost(), clientID: x.clientID, at: x.at})
	if err != nil {
		// A bill that cannot be written is worth nothing: answer nobody.
		return Reply{Cut: CutBefore}
	}
	return x.deliver(ans, fault)
}

func (x *exchange) deliver(ans *answer, f Fault) Reply {
	p := Reply{Status: http.StatusOK, Header: x.headers(), digest: x.id, billed: true}
	switch f {
	case FaultDrop:
		return Reply{Cut: CutBefore}
	case FaultEmpty:
		return p
	case FaultTruncate:
		p.Cut = CutInside
	}
	p.Body = x.d.answered(x.buf, ans)
	return p
}

// refuse ends a call that is not billed.
func (x *exchange) refuse(f *failure) Reply {
	facts := faultTable[f.fault]
	// Only billed calls are written, so there is no error to see here.
	_ = x.s.bill.end(call{d: x.id, fault: f.fault, class: x.d.class(f.fault), clientID: x.clientID, at: x.at})
	if facts.status == 0 && f.fault != FaultErrorIn200 && f.fault != FaultFilter {
		return Reply{Cut: CutBefore}
	}
	p := Reply{Header: x.headers()}
	if f.fault == Fault502 {
		p.Status = http.StatusBadGateway
		p.Header[1] = "text/html"
		p.Body = append(x.buf, "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"...)
		return p
	}
	if f.fault == FaultRateLimit && f.retry == 0 {
		f.retry = x.k.RetryAfter.Milliseconds()
	}
	p.Header = x.d.hints(p.Header, f)
	p.Body, p.Status = x.d.failed(x.buf, f)
	return p
}

func (x *exchange) headers() []string {
	h := append(make([]string, 0, 16), "Content-Type", "application/json", "X-Request-Id", requestID(x.call))
	return x.d.rates(h, &x.levels)
}

// admit is what the vendor does before a model sees the request.
func (x *exchange) admit() *failure {
	if x.s.cfg.Key != "" && keyOf(x.r.Header) != x.s.cfg.Key {
		return &failure{fault: FaultAuth}
	}
	if f := x.wellFormed(); f != nil {
		return f
	}
	var f *failure
	if x.ask, f = x.d.read(x.r, x.k); f != nil {
		return f
	}
	if !x.s.hasModel(x.ask.model) {
		return &failure{fault: FaultInvalid, status: 404, param: "model", code: "model_not_found",
			message: fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", x.ask.model)}
	}
	in := x.ask.inputTokens()
	if x.k.Context > 0 && in+x.ask.maxTokens > x.k.Context {
		return &failure{fault: FaultContext, ask: x.ask, context: x.k.Context}
	}
	if contains(x.r.Body, x.k.Poison) {
		return invalid("messages", "invalid_value", "The request can never be accepted.")
	}
	if contains(x.r.Body, x.k.Filtered) {
		return &failure{fault: FaultFilter}
	}
	if x.k.Concurrency > 0 && x.open > int64(x.k.Concurrency) {
		return &failure{fault: FaultRateLimit}
	}
	tokens := in
	if x.k.ChargeMax {
		tokens += x.ask.maxTokens
	} else if x.k.TPM > 0 {
		tokens += x.s.generate(x.k, &x.ask, x.id, NoFault).out
	}
	var wait time.Duration
	if x.levels, wait = x.s.limits.admit(x.k, x.at, tokens); wait > 0 {
		return &failure{fault: FaultRateLimit, retry: max(1, int64((wait+time.Millisecond-1)/time.Millisecond))}
	}
	return nil
}

func (x *exchange) wellFormed() *failure {
	switch {
	case x.r.Method != http.MethodPost:
		return &failure{fault: FaultInvalid, status: 405, message: "Not allowed to " + x.r.Method + " here."}
	case !strings.HasPrefix(strings.ToLower(x.r.Header.Get("Content-Type")), "application/json"):
		return &failure{fault: FaultInvalid, status: 415, message: "Unsupported content type: send application/json."}
	case len(x.clientID) > 512 || strings.IndexFunc(x.clientID, notASCII) >= 0:
		return invalid("", "", "X-Client-Request-Id must be ASCII of at most 512 characters.")
	}
	return nil
}

func notASCII(r rune) bool { return r < 0x20 || r > 0x7e }

func (s *Simulator) hasModel(name string) bool {
	if len(s.cfg.Models) == 0 {
		return true
	}
	for _, m := range s.cfg.Models {
		if m == name {
			return true
		}
	}
	return false
}

func contains(body []byte, text string) bool {
	return text != "" && bytes.Contains(body, []byte(text))
}

func keyOf(h http.Header) string {
	if v, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer "); ok {
		return v
	}
	for _, name := range []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		if v := h.Get(name); v != "" {
			return v
		}
	}
	return ""
}

func digestOf(d dialect, r *Request) digest {
	var sum [32]byte
	if p, ok := d.(pathed); ok && p.inPath() {
		h := sha256.New()
		_, _ = io.WriteString(h, r.Path+"\n")
		_, _ = h.Write(r.Body)
		h.Sum(sum[:0])
	} else {
		sum = sha256.Sum256(r.Body)
	}
	return digest(sum[:16])
}

// pathed is a dialect whose path may name the model.
type pathed interface{ inPath() bool }

// rest waits, and reports whether ctx lasted.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func requestID(n int64) string {
	b := append(make([]byte, 0, 20), "req_"...)
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[n>>shift&15])
	}
	return string(b)
}
