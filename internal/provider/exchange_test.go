package provider

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

// brokenConn fails every write: after left bytes went out, or at once.
type brokenConn struct {
	net.Conn
	left int
}

func (b *brokenConn) Write(p []byte) (int, error) {
	if b.left == 0 {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	n := min(b.left, len(p))
	b.left -= n
	if n, err := b.Conn.Write(p[:n]); err != nil {
		return n, err
	}
	if n == len(p) {
		return n, nil
	}
	return n, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
}

func endpoint(t *testing.T, url string, tr http.RoundTripper) *Endpoint {
	t.Helper()
	e, err := NewEndpoint(Config{BaseURL: url, Client: &http.Client{Transport: tr}}, EndpointOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func okDecode(Answer) Result { return Result{Class: batch.ClassOK, Text: "x"} }

// What is surely unsent is decided by bytes, not by hope: a connection that
// broke before the first byte costs nothing, one byte later it may have run.
func TestUnsentIsCountedInBytes(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	for left, want := range map[int]struct {
		class batch.Class
		sent  Sent
	}{0: {batch.ClassUnsent, NotSent}, 1: {batch.ClassUnknown, MaybeRun}, 60: {batch.ClassUnknown, MaybeRun}} {
		tr := NewTransport(2)
		plain := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := plain(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: &brokenConn{Conn: c, left: left}}, nil
		}
		r := endpoint(t, srv.URL, tr).Exchange(t.Context(), Call{Path: "/x", Body: []byte("{}")}, "", okDecode)
		if r.Class != want.class || r.Sent != want.sent || r.Message == "" {
			t.Errorf("broken after %d bytes: %+v", left, r)
		}
		tr.CloseIdleConnections()
	}
}

// A connection whose writes nobody counts is never a proof.
func TestUncountedIsNeverUnsent(t *testing.T) {
	t.Parallel()
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		a, b := net.Pipe()
		b.Close()
		return &brokenConn{Conn: a}, nil
	}}
	r := endpoint(t, "http://x.invalid", tr).Exchange(t.Context(), Call{Body: []byte("{}")}, "", okDecode)
	if r.Class != batch.ClassUnknown || r.Sent != MaybeRun {
		t.Errorf("uncounted connection: %+v", r)
	}
	silent := roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("lost https://u:p@h.invalid/a?key=1")
	})
	r = endpoint(t, "http://x.invalid", silent).Exchange(t.Context(), Call{Body: []byte("{}")}, "", okDecode)
	if r.Class != batch.ClassUnknown || r.Sent != MaybeRun || strings.Contains(r.Message, "key=1") || strings.Contains(r.Message, "u:p") {
		t.Errorf("transport without traces: %+v", r)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDialFailures(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"dns":     &net.DNSError{Err: "no such host", Name: "x.invalid", IsNotFound: true},
		"refused": &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED},
		"other":   errors.New("dial strange"),
	} {
		tr := NewTransport(2)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, err }
		r := endpoint(t, "http://x.invalid", tr).Exchange(t.Context(), Call{Body: []byte("{}")}, "", okDecode)
		if r.Class != batch.ClassUnsent || r.Sent != NotSent || r.Message == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	tr := NewTransport(2)
	ctx, cancel := context.WithCancel(t.Context())
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if r := endpoint(t, "http://x.invalid", tr).Exchange(ctx, Call{Body: []byte("{}")}, "", okDecode); r.Sent != NotSent || r.Class != batch.ClassUnsent {
		t.Errorf("cut while dialling: %+v", r)
	}
}

// A server may close a kept connection at any time. Whatever the transport
// does about it, one exchange is at most one request, and one that ran is
// never called unsent.
func TestClosedIdleConnections(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				if n, _ := c.Read(buf); n > 0 {
					ran.Add(1)
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") // kept alive, it says; then closed
				}
			}()
		}
	}()
	tr := NewTransport(2)
	t.Cleanup(tr.CloseIdleConnections)
	e := endpoint(t, "http://"+l.Addr().String(), tr)
	var paid int64
	for range 300 {
		r := e.Exchange(t.Context(), Call{Body: []byte("{}")}, "", okDecode)
		if r.Sent != NotSent {
			paid++
		}
	}
	if ran.Load() > paid {
		t.Errorf("%d requests ran, %d were accounted for", ran.Load(), paid)
	}
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	var proto string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/half":
			io.WriteString(w, `{"a"`)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{}`)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	tr := NewTransport(2)
	tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(tr.CloseIdleConnections)
	e := endpoint(t, srv.URL, tr)
	if r := e.Exchange(t.Context(), Call{Path: "/ok", Body: []byte("{}")}, "", okDecode); r.Class != batch.ClassOK || proto != "HTTP/2.0" {
		t.Errorf("%s: %+v", proto, r)
	}
	for _, path := range []string{"/abort", "/half"} {
		if r := e.Exchange(t.Context(), Call{Path: path, Body: []byte("{}")}, "", okDecode); r.Class != batch.ClassUnknown || r.Sent != MaybeRun {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestBodyCap(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", map[string]int{"/at": 100, "/over": 101}[r.URL.Path]))
	}))
	t.Cleanup(srv.Close)
	e, err := NewEndpoint(Config{BaseURL: srv.URL}, EndpointOptions{BodyCap: 100})
	if err != nil {
		t.Fatal(err)
	}
	if r := e.Exchange(t.Context(), Call{Path: "/at"}, "", okDecode); r.Class != batch.ClassOK {
		t.Errorf("at the cap: %+v", r)
	}
	if r := e.Exchange(t.Context(), Call{Path: "/over"}, "", okDecode); r.Class != batch.ClassUnknown || r.Sent != MaybeRun {
		t.Errorf("over the cap: %+v", r)
	}
}

func TestClientTimeout(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(over) })
	e := endpoint(t, srv.URL, NewTransport(2))
	e.limit = 50e6
	r := e.Exchange(t.Context(), Call{Body: []byte("{}")}, "", okDecode)
	if r.Class != batch.ClassUnknown || r.Sent != MaybeRun || r.Message != "no whole answer within the time allowed" || r.Latency < 50e6 {
		t.Errorf("%+v", r)
	}
}
