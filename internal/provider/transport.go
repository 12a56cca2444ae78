package provider

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// HeaderCap is the most bytes of response headers an exchange reads.
const HeaderCap = 256 << 10

// NewTransport returns the one tuned transport of a program. maxConns is the
// most calls in flight; that many idle connections to one host are kept, so a
// full worker never dials twice for the same slot. HTTP/2 is used where a
// server offers it, gzip is undone, a proxy of the environment is honoured.
// There is no overall timeout: each attempt's context carries it.
//
// Its connections count the writes made on them, so that Exchange can tell a
// request that never left from one that perhaps ran.
func NewTransport(maxConns int) *http.Transport {
	maxConns = max(maxConns, 2)
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: c}, nil
		},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           4 * maxConns,
		MaxIdleConnsPerHost:    maxConns,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: HeaderCap,
		ReadBufferSize:         8 << 10,
		WriteBufferSize:        16 << 10,
		// A dead HTTP/2 connection would hold every call on it to its timeout.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// countedConn counts the writes that did, or may yet, put bytes on the wire.
type countedConn struct {
	net.Conn
	writes atomic.Int64
}

// Write counts before it writes and takes the count back only when nothing
// left: a reader of the count may see too much, never too little.
func (c *countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	n, err := c.Conn.Write(b)
	if n == 0 && err != nil {
		c.writes.Add(-1)
	}
	return n, err
}
