package simulator

import (
	"encoding/hex"
	"hash/maphash"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// digest is the first half of the SHA-256 of a request's body (for dialects
// whose path names the model, of path, newline, body).
type digest [16]byte

// entry is what stands against one request. It holds no pointers, so a bill of
// millions of requests costs the collector nothing.
type entry struct {
	seen, billed, final, delivered, refused uint32
	in, out                                 int64
}

// Totals are the facts of a bill.
type Totals struct {
	TotalCalls         int64 `json:"total_calls"`
	BilledCalls        int64 `json:"billed_calls"`
	BilledInputTokens  int64 `json:"billed_input_tokens"`
	BilledOutputTokens int64 `json:"billed_output_tokens"`
	UniqueRequests     int64 `json:"unique_requests"`
	UniqueBilled       int64 `json:"unique_requests_billed"`
	// ExtraPaidCalls counts the billed calls with a good answer beyond the first
	// of each request: what was paid twice.
	ExtraPaidCalls int64 `json:"extra_paid_calls"`
	// LostReplies counts billed calls whose answer never left whole.
	LostReplies int64 `json:"lost_replies"`
	// ClientIDs counts different client request ids; RepeatedClientIDs the calls
	// that came with one already used: a hidden retry of the client.
	ClientIDs         int64                 `json:"client_ids"`
	RepeatedClientIDs int64                 `json:"repeated_client_ids"`
	InFlight          int64                 `json:"in_flight"`
	PeakConcurrency   int64                 `json:"peak_concurrency"`
	ByClass           map[batch.Class]int64 `json:"by_class"`
	ByFault           map[string]int64      `json:"by_fault"`
	// MarkedAt is when /__mark was last asked for; CallsAfterMark are the calls
	// that arrived since.
	MarkedAt       time.Time `json:"marked_at,omitzero"`
	CallsAfterMark int64     `json:"calls_after_mark"`
	// BilledCachedTokens are the input tokens among the billed ones that were
	// told to be cached.
	BilledCachedTokens int64     `json:"billed_cached_tokens"`
	FirstCall          time.Time `json:"first_call,omitzero"`
	LastCall           time.Time `json:"last_call,omitzero"`
}

// Line is the bill of one request, by its digest.
type Line struct {
	Digest       string `json:"digest"` // 32 hex digits: the first half of the SHA-256
	Seen         int64  `json:"seen"`
	Billed       int64  `json:"billed"`
	Final        int64  `json:"billed_final"` // billed with a good answer
	Delivered    int64  `json:"delivered"`
	Refused      int64  `json:"refused"` // answered with an error, not billed
	InputTokens  int64  `json:"billed_input_tokens"`
	OutputTokens int64  `json:"billed_output_tokens"`
}

// bill is append-only: nothing but reset takes anything from it.
type bill struct {
	mu       sync.Mutex
	w        io.Writer // one JSON line per billed call, written before the reply; may be nil
	failed   error     // the first error of w
	t        Totals
	classes  map[batch.Class]int64
	faults   [faultCount]int64
	entries  map[digest]entry
	ids      map[uint64]struct{}
	idSeed   maphash.Seed
	arrivals []int64 // unix nanoseconds of every call, in order
	marked   int     // how many had arrived at the mark; -1 without one
	buf      []byte

	keep  bool
	calls []kept
	names []byte // their client ids, one after the other
}

// kept is one billed call. It holds no pointers.
type kept struct {
	d         digest
	in, out   int64
	cached    int64
	at        int64 // unix nanoseconds
	name      int64 // where in names its client id begins
	length    uint16
	fault     Fault
	delivered bool
}

func newBill(w io.Writer, keep bool) *bill {
	b := &bill{w: w, keep: keep, idSeed: maphash.MakeSeed()}
	b.clear()
	return b
}

func (b *bill) clear() {
	b.t = Totals{}
	b.classes = map[batch.Class]int64{}
	b.faults = [faultCount]int64{}
	b.entries = map[digest]entry{}
	b.ids = map[uint64]struct{}{}
	b.arrivals, b.marked = nil, -1
	b.calls, b.names = nil, nil
}

func (b *bill) setMark(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.MarkedAt, b.marked = at.UTC(), len(b.arrivals)
}

// arrive counts a call. It returns how many calls came so far, and how often
// this request did, both including this one.
func (b *bill) arrive(d digest, clientID string, now time.Time) (call, seen int64) {
	var id uint64
	if clientID != "" {
		id = maphash.String(b.idSeed, clientID)
	}
	at := now.UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.t.TotalCalls++
	b.arrivals = append(b.arrivals, at)
	if clientID != "" {
		if _, again := b.ids[id]; again {
			b.t.RepeatedClientIDs++
		} else {
			b.ids[id] = struct{}{}
		}
	}
	e := b.entries[d]
	e.seen++
	b.entries[d] = e
	return b.t.TotalCalls, int64(e.seen)
}

// call is the end of one call, as it goes on the bill.
type call struct {
	d         digest
	fault     Fault
	class     batch.Class
	in, out   int64
	cached    int64
	billed    bool
	delivered bool
	clientID  string
	at        time.Time
}

// end enters the end of a call; it returns after the line was written.
func (b *bill) end(c call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults[c.fault]++
	b.classes[c.class]++
	e := b.entries[c.d]
	if c.delivered {
		e.delivered++
	}
	if !c.billed {
		e.refused++
		b.entries[c.d] = e
		return nil
	}
	if e.billed == 0 {
		b.t.UniqueBilled++
	}
	e.billed++
	e.in += c.in
	e.out += c.out
	if faultTable[c.fault].final {
		if e.final > 0 {
			b.t.ExtraPaidCalls++
		}
		e.final++
	}
	if !c.delivered {
		b.t.LostReplies++
	}
	b.entries[c.d] = e
	b.t.BilledCalls++
	b.t.BilledInputTokens += c.in
	b.t.BilledOutputTokens += c.out
	b.t.BilledCachedTokens += c.cached
	if b.keep {
		name := c.clientID[:min(len(c.clientID), 512)]
		b.calls = append(b.calls, kept{d: c.d, in: c.in, out: c.out, cached: c.cached, at: c.at.UnixNano(), name: int64(len(b.names)),
			length: uint16(len(name)), fault: c.fault, delivered: c.delivered})
		b.names = append(b.names, name...)
	}
	return b.writeLine(c)
}

// undelivered takes back that an answer was handed over: the write failed.
func (b *bill) undelivered(d digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[d]
	if e.delivered > 0 {
		e.delivered--
		b.entries[d] = e
		b.t.LostReplies++
	}
}

func (b *bill) writeLine(c call) error {
	if b.w == nil {
		return nil
	}
	l := appendCall(b.buf[:0], &c)
	b.buf = l
	if _, err := b.w.Write(l); err != nil && b.failed == nil {
		b.failed = err
	}
	return b.failed
}

// appendCall appends the line of one billed call. delivered says that the
// answer was handed to the network, which is not to say that it arrived.
func appendCall(l []byte, c *call) []byte {
	l = append(l, `{"at":"`...)
	l = c.at.UTC().AppendFormat(l, time.RFC3339Nano)
	l = append(l, `","digest":"`...)
	l = hex.AppendEncode(l, c.d[:])
	l = append(l, `","client_id":`...)
	l = appendString(l, c.clientID)
	l = append(l, `,"fault":"`...)
	l = append(l, c.fault.String()...)
	l = append(l, `","input_tokens":`...)
	l = strconv.AppendInt(l, c.in, 10)
	l = append(l, `,"cached_tokens":`...)
	l = strconv.AppendInt(l, c.cached, 10)
	l = append(l, `,"output_tokens":`...)
	l = strconv.AppendInt(l, c.out, 10)
	l = append(l, `,"delivered":`...)
	l = strconv.AppendBool(l, c.delivered)
	return append(l, "}\n"...)
}

// writeCalls writes the kept calls from since on. It lets calls go on between
// two pieces of its work: what comes meanwhile may or may not be in it.
func (b *bill) writeCalls(w io.Writer, since time.Time) error {
	const piece = 4096
	var l []byte
	from := since.UnixNano()
	if since.IsZero() {
		from = math.MinInt64
	}
	for i := 0; ; i += piece {
		b.mu.Lock()
		end := min(i+piece, len(b.calls))
		l = l[:0]
		for j := i; j < end; j++ {
			k := &b.calls[j]
			if k.at < from {
				continue
			}
			l = appendCall(l, &call{d: k.d, fault: k.fault, in: k.in, out: k.out, cached: k.cached, delivered: k.delivered,
				clientID: string(b.names[k.name : k.name+int64(k.length)]), at: time.Unix(0, k.at)})
		}
		b.mu.Unlock()
		if i >= end {
			return nil
		}
		if _, err := w.Write(l); err != nil {
			return err
		}
	}
}

func (b *bill) totals() Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.t
	t.UniqueRequests = int64(len(b.entries))
	t.ClientIDs = int64(len(b.ids))
	if b.marked >= 0 {
		t.CallsAfterMark = int64(len(b.arrivals) - b.marked)
	}
	t.ByClass = make(map[batch.Class]int64, len(b.classes))
	for c, n := range b.classes {
		t.ByClass[c] = n
	}
	t.ByFault = map[string]int64{}
	for f, n := range b.faults {
		if n > 0 {
			t.ByFault[Fault(f).String()] = n
		}
	}
	if n := len(b.arrivals); n > 0 {
		t.FirstCall, t.LastCall = time.Unix(0, b.arrivals[0]).UTC(), time.Unix(0, b.arrivals[n-1]).UTC()
	}
	return t
}

// callsAfter counts the calls that came later than at.
func (b *bill) callsAfter(at time.Time) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, n := at.UnixNano(), int64(0)
	for i := len(b.arrivals) - 1; i >= 0; i-- {
		if b.arrivals[i] > since {
			n++
		}
	}
	return n
}

func (b *bill) lines() []Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Line, 0, len(b.entries))
	for d, e := range b.entries {
		out = append(out, Line{Digest: hex.EncodeToString(d[:]), Seen: int64(e.seen), Billed: int64(e.billed),
			Final: int64(e.final), Delivered: int64(e.delivered), Refused: int64(e.refused),
			InputTokens: e.in, OutputTokens: e.out})
	}
	return out
}
