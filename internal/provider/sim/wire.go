package sim

import (
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"syscall"

	"github.com/batchwright/batchwright/internal/simulator"
)

// wire is the network to a simulator in this process. It fails as one does: a
// connection that is cut before or inside an answer, a caller that gave up.
type wire struct{ s *simulator.Simulator }

// RoundTrip makes the exchange in the caller's goroutine.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	defer closeBody(req)
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// From here on the request counts as sent.
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	body, err := readAll(req)
	if err != nil {
		return nil, err
	}
	p, ok := w.s.Do(ctx, &simulator.Request{Method: req.Method, Path: req.URL.Path, Header: req.Header, Body: body}, nil)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !ok {
		p = simulator.Reply{Status: http.StatusNotFound, Header: []string{"Content-Type", "application/json"},
			Body: []byte(`{"error":{"message":"Invalid URL","type":"invalid_request_error","param":null,"code":null}}`)}
	}
	if p.Manner == simulator.CutBefore || p.Manner == simulator.HeaderFlood {
		return nil, &net.OpError{Op: "read", Net: "sim", Err: syscall.ECONNRESET}
	}
	return response(req, p), nil
}

func readAll(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	if req.ContentLength > 0 {
		body := make([]byte, req.ContentLength)
		_, err := io.ReadFull(req.Body, body)
		return body, err
	}
	return io.ReadAll(req.Body)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // nothing depends on it
	}
}

func response(req *http.Request, p simulator.Reply) *http.Response {
	h := make(http.Header, len(p.Header)/2)
	for i := 0; i+1 < len(p.Header); i += 2 {
		h[p.Header[i]] = p.Header[i+1 : i+2 : i+2]
	}
	r := &http.Response{Status: http.StatusText(p.Status), StatusCode: p.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(len(p.Body)), Request: req}
	switch p.Manner {
	case simulator.Drip, simulator.Huge, simulator.GzipBomb, simulator.DeflateBomb:
		r.ContentLength = -1
	}
	r.Body = io.NopCloser(p.Reader(req.Context()))
	return r
}
