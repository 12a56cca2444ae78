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
	fault, at := x.k.pick(x.id, x.call, x.seen, x.r.Body)
	facts := faultTable[fault]
	wait := x.k.latency(x.id, x.seen, fault)
	if fault == FaultTimeout || fault == FaultStuck {
		wait = x.k.Hang
	} else if facts.atOnce {
		wait = 0
	}
	if fault == FaultStuck { // the money is made before the hang
		return x.stuck(ctx, wait)
	}
	gone := !rest(ctx, wait)
	if !facts.billed && fault != FaultUnbilled {
		if fault == FaultGone {
			return x.refuse(x.noModel())
		}
		return x.refuse(&failure{fault: fault, ask: x.ask, context: x.k.contextOr(8192), code: x.quotaCode(fault)})
	}
	ans := x.s.generate(x.k, &x.ask, x.id, fault)
	class := x.d.class(fault)
	if ans.end == finishLength {
		class = batch.ClassTruncated
	}
	if x.bill(ans, fault, class, !gone && !fault.lost()) != nil {
		// A bill that cannot be written is worth nothing: answer nobody.
		return Reply{Manner: CutBefore}
	}
	return x.deliver(ans, fault, at)
}

func (x *exchange) bill(ans *answer, f Fault, class batch.Class, delivered bool) error {
	return x.s.bill.end(call{d: x.id, fault: f, class: class, in: ans.in, out: ans.out, cached: ans.cached, billed: faultTable[f].billed,
		delivered: delivered, clientID: x.clientID, at: x.at})
}

// stuck bills at once and never answers.
func (x *exchange) stuck(ctx context.Context, wait time.Duration) Reply {
	ans := x.s.generate(x.k, &x.ask, x.id, FaultStuck)
	if x.bill(ans, FaultStuck, x.d.class(FaultStuck), false) == nil {
		rest(ctx, wait)
	}
	return Reply{Manner: CutBefore}
}

func (x *exchange) deliver(ans *answer, f Fault, at int) Reply {
	facts := &faultTable[f]
	p := Reply{Status: http.StatusOK, Header: x.headers(), Manner: facts.manner, At: -1, Size: x.k.Huge, Every: x.k.Drip,
		digest: x.id, billed: facts.billed}
	switch f {
	case FaultDrop:
		return Reply{Manner: CutBefore}
	case FaultEmpty:
		return p
	}
	p.Body = x.d.answered(x.buf, ans)
	if f == FaultCut || f == FaultRST {
		p.At = x.cutAt(at, len(p.Body))
	}
	return p
}

// cutAt is the byte at which a body is cut: the one asked for, the knob's, or
// one that is drawn.
func (x *exchange) cutAt(asked, size int) int {
	if asked < 0 {
		asked = x.k.CutAt
	}
	if asked < 0 {
		return chanceOf(x.k.Seed, x.id, useCut+uint64(x.seen)*useStep).below(max(1, size))
	}
	return min(asked, size)
}

// refuse ends a call that is not billed.
func (x *exchange) refuse(f *failure) Reply {
	facts := faultTable[f.fault]
	// Only billed calls are written, so there is no error to see here.
	_ = x.s.bill.end(call{d: x.id, fault: f.fault, class: x.d.class(f.fault), clientID: x.clientID, at: x.at})
	if f.fault == FaultReset || f.fault == FaultTimeout {
		return Reply{Manner: CutBefore}
	}
	p := Reply{Header: x.headers(), Status: facts.status}
	switch f.fault {
	case Fault502, FaultHTML:
		p.Status = max(facts.status, http.StatusOK)
		p.Header[1] = "text/html"
		p.Body = append(x.buf, "<html><head><title>"+page[f.fault]+"</title></head><body><center><h1>"+page[f.fault]+"</h1></center></body></html>"...)
		return p
	case FaultRedirect:
		p.Header = append(p.Header, "Location", x.k.Location)
		return p
	case FaultErrorInChoice:
		p.Body, p.Status = x.d.failedInside(x.buf, &answer{id: x.id, model: x.ask.model}), http.StatusOK
		return p
	}
	switch f.fault {
	case FaultRateLimit:
		if f.retry == 0 {
			f.retry = x.k.RetryAfter.Milliseconds()
		}
	case FaultShouldRetry:
		p.Header = append(p.Header, "X-Should-Retry", "true")
	case FaultShouldNotRetry:
		p.Header = append(p.Header, "X-Should-Retry", "false")
	}
	p.Header = x.hint(p.Header, f)
	p.Body, p.Status = x.d.failed(x.buf, f)
	return p
}

// page is what stands on a page of HTML that is no answer.
var page = map[Fault]string{Fault502: "502 Bad Gateway", FaultHTML: "Sign in to the network"}

func (x *exchange) headers() []string {
	h := append(make([]string, 0, 16), "Content-Type", "application/json", "X-Request-Id", requestID(x.call))
	return x.d.rates(h, &x.levels)
}

// admit is what the vendor does before a model sees the request.
func (x *exchange) admit() *failure {
	key := x.s.cfg.Key
	if x.k.Key != "" {
		key = x.k.Key
	}
	if key != "" && keyOf(x.r.Header) != key {
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
		return x.noModel()
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
	if x.k.RPD > 0 && x.call > x.k.RPD {
		return &failure{fault: FaultQuota, code: x.k.Quota}
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

func (x *exchange) noModel() *failure {
	return &failure{fault: FaultGone, ask: x.ask, status: 404, param: "model", code: "model_not_found",
		message: fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", x.ask.model)}
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

// quotaCode is the vendor's code of a quota that is used up, where a knob names
// another than the usual.
func (x *exchange) quotaCode(f Fault) string {
	if f == FaultQuota {
		return x.k.Quota
	}
	return ""
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
