package simulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

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
