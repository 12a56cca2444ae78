package provider

import (
	"net"
	"net/http/httptrace"
	"sync"

	"github.com/batchwright/batchwright/internal/failpoint"
)

// sendTrace watches one request on its way out. It answers one question: is it
// sure that no byte of the request was written? Every doubt is a "no": a
// transport that reports nothing, a connection whose writes are not counted,
// an HTTP/2 connection that others write on too.
type sendTrace struct {
	mu    sync.Mutex
	asked bool         // the transport looked for a connection
	got   bool         // it has one
	dirty bool         // bytes may have gone over a connection given up since
	conn  *countedConn // nil when its writes are not counted
	start int64        // its count when the request got it
}

func (t *sendTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			t.mu.Lock()
			t.asked = true
			t.mu.Unlock()
		},
		GotConn: func(c httptrace.GotConnInfo) {
			t.gotConn(c.Conn)
			failpoint.Hit("send.connected")
		},
		WroteRequest: func(httptrace.WroteRequestInfo) { failpoint.Hit("send.written") },
	}
}

func (t *sendTrace) gotConn(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.got && !t.idle() {
		t.dirty = true
	}
	t.got, t.conn = true, nil
	if s, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = s.NetConn()
	}
	if counted, ok := c.(*countedConn); ok {
		t.conn, t.start = counted, counted.writes.Load()
	}
}

// idle reports that the present connection carried nothing since it was got.
func (t *sendTrace) idle() bool { return t.conn != nil && t.conn.writes.Load() == t.start }

// unsent reports that surely no byte of the request was written. It is asked
// after the round trip failed; an HTTP/1 connection is closed by then, so
// nothing can be written later.
func (t *sendTrace) unsent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked && !t.dirty && (!t.got || t.idle())
}
