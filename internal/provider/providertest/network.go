package providertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// whole lists the recorded bodies that are one JSON object: none of them, cut
// anywhere, may pass for an answer.
func (s Subject) whole(t testing.TB) []string {
	var out []string
	for _, r := range Corpus(t, s.Family) {
		if b := r.Bytes(); r.Status == 200 && strings.HasPrefix(b, "{") && json.Valid([]byte(b)) {
			out = append(out, b)
		}
	}
	return out
}

func (s Subject) cutAnywhere(t *testing.T) {
	t.Parallel()
	var (
		body  string
		ended error
	)
	p := s.Open(t, "http://cut.invalid", Wire(func(r *http.Request) (*http.Response, error) {
		var rd io.Reader = strings.NewReader(body)
		if ended != nil {
			rd = io.MultiReader(rd, failing{ended})
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(rd), Request: r}, nil
	}))
	c := s.call(t, p)
	bodies, cuts := s.whole(t), 0
	for _, b := range bodies { // the same answers in another hand
		var in bytes.Buffer
		if err := json.Indent(&in, []byte(b), "", " "); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, in.String())
	}
	bodies = bodies[:min(len(bodies), 40)]
	if len(bodies) < 20 {
		t.Fatalf("%d bodies", len(bodies))
	}
	for _, whole := range bodies {
		for i := range len(whole) {
			body, ended = whole[:i], nil
			// A connection that ends is the end of some bodies: only the JSON
			// shows the cut.
			if r := p.Do(t.Context(), c, ""); r.Class != batch.ClassUnknown || r.Text != "" || r.HasUsage {
				t.Fatalf("cut at %d of %s: %+v", i, whole, r)
			}
			ended = io.ErrUnexpectedEOF
			if r := p.Do(t.Context(), c, ""); r.Class != batch.ClassUnknown || r.Sent != provider.MaybeRun || r.Text != "" {
				t.Fatalf("broken at %d of %s: %+v", i, whole, r)
			}
			cuts += 2
		}
		// All bytes and then a broken connection: still not a whole answer.
		body, ended = whole, io.ErrUnexpectedEOF
		if r := p.Do(t.Context(), c, ""); r.Class != batch.ClassUnknown || r.Sent != provider.MaybeRun {
			t.Fatalf("broken after %s: %+v", whole, r)
		}
	}
	t.Logf("%d bodies, %d cuts, none accepted", len(bodies), cuts)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// raw serves one connection after another by hand: it reads the request, then
// writes and closes.
func raw(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
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
			answer(c)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// readRequest takes a whole request off a connection.
func readRequest(c net.Conn) {
	var got []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		head, body, ok := bytes.Cut(got, []byte("\r\n\r\n"))
		if ok {
			_, after, _ := bytes.Cut(bytes.ToLower(head), []byte("content-length: "))
			var want int
			if _, err := fmt.Sscan(string(after), &want); err != nil || len(body) >= want {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wire sends whole and broken answers over a real connection.
func (s Subject) wire(t *testing.T) {
	t.Parallel()
	good := s.good(t)
	body := good.Bytes()
	zipped := gz(t, body)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	cases := []struct {
		name, answer string
		ok           bool
	}{
		{"plain", head("Content-Length: "+fmt.Sprint(len(body))) + body, true},
		{"until the connection ends", head("Connection: close") + body, true},
		{"chunked", head("Transfer-Encoding: chunked") + chunk + "0\r\n\r\n", true},
		{"gzip", head("Content-Encoding: gzip", "Content-Length: "+fmt.Sprint(len(zipped))) + zipped, true},
		{"length too large", head("Content-Length: "+fmt.Sprint(len(body)+1)) + body, false},
		{"length too small", head("Content-Length: "+fmt.Sprint(len(body)-1)) + body, false},
		{"length not a number", head("Content-Length: x") + body, false},
		{"no last chunk", head("Transfer-Encoding: chunked") + chunk, false},
		{"broken chunk size", head("Transfer-Encoding: chunked") + "zz\r\n" + body, false},
		{"not gzip", head("Content-Encoding: gzip", "Content-Length: "+fmt.Sprint(len(body))) + body, false},
		{"unknown encoding", head("Content-Encoding: br", "Content-Length: "+fmt.Sprint(len(zipped))) + zipped, false},
		{"headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 400), false},
		{"not HTTP", "SSH-2.0-OpenSSH_9.6\r\n", false},
		{"only a status line", "HTTP/1.1 200 OK\r\n", false},
		{"an interim answer only", "HTTP/1.1 102 Processing\r\n\r\n", false},
	}
	for i := range len(zipped) {
		cases = append(cases, struct {
			name, answer string
			ok           bool
		}{fmt.Sprintf("gzip cut at %d", i), head("Content-Encoding: gzip", "Connection: close") + zipped[:i], false})
	}
	for _, c := range cases {
		url := raw(t, func(conn net.Conn) {
			readRequest(conn)
			io.WriteString(conn, c.answer)
		})
		p := s.Open(t, url, nil)
		r := p.Do(t.Context(), s.call(t, p), "bw-1")
		wellFormed(t, c.name, r)
		switch {
		case c.ok && (r.Class != batch.ClassOK || r.Text != good.Text):
			t.Errorf("%s: %+v", c.name, r)
		case !c.ok && (r.Class != batch.ClassUnknown || r.Sent == provider.NotSent || r.Text != ""):
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func head(lines ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func gz(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// network: which failures are surely unsent, and which may have run.
func (s Subject) network(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, r provider.Result, class batch.Class, sent provider.Sent) {
		t.Helper()
		wellFormed(t, t.Name(), r)
		if r.Class != class || r.Sent != sent {
			t.Errorf("%+v, want %s and %d", r, class, sent)
		}
	}
	t.Run("refused", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		p := s.Open(t, "http://"+l.Addr().String(), nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnsent, provider.NotSent)
	})
	t.Run("no TLS where TLS is due", func(t *testing.T) {
		p := s.Open(t, strings.Replace(raw(t, func(net.Conn) {}), "http:", "https:", 1), nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnsent, provider.NotSent)
	})
	t.Run("certificate of nobody", func(t *testing.T) {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the refusal
		srv.StartTLS()
		defer srv.Close()
		p := s.Open(t, srv.URL, nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnsent, provider.NotSent)
	})
	t.Run("cut before the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := s.Open(t, "http://127.0.0.1:1", nil)
		check(t, p.Do(ctx, s.call(t, p), ""), batch.ClassUnsent, provider.NotSent)
	})
	t.Run("closed without a word", func(t *testing.T) {
		p := s.Open(t, raw(t, readRequest), nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnknown, provider.MaybeRun)
	})
	t.Run("reset after the request", func(t *testing.T) {
		p := s.Open(t, raw(t, func(c net.Conn) {
			readRequest(c)
			c.(*net.TCPConn).SetLinger(0)
		}), nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnknown, provider.MaybeRun)
	})
	t.Run("no answer in time", func(t *testing.T) {
		s.slow(t, "", check)
	})
	t.Run("half an answer in time", func(t *testing.T) {
		s.slow(t, head("Content-Length: 100")+"{", check)
	})
	t.Run("too large", func(t *testing.T) {
		bomb := gz(t, `{"x":"`+strings.Repeat("x", provider.BodyCap)+`"}`)
		p := s.Open(t, raw(t, func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head("Content-Encoding: gzip", "Content-Length: "+fmt.Sprint(len(bomb)))+bomb)
		}), nil)
		check(t, p.Do(t.Context(), s.call(t, p), ""), batch.ClassUnknown, provider.MaybeRun)
	})
}

func (s Subject) slow(t *testing.T, part string, check func(*testing.T, provider.Result, batch.Class, provider.Sent)) {
	over := make(chan struct{})
	url := raw(t, func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, part)
		<-over
	})
	defer close(over)
	p := s.Open(t, url, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	check(t, p.Do(ctx, s.call(t, p), ""), batch.ClassUnknown, provider.MaybeRun)
}

// FuzzDecode feeds an adapter's decoder: it may not panic, and what it calls a
// success has to be one.
func FuzzDecode(f *testing.F, s Subject) {
	for _, r := range Corpus(f, s.Family) {
		f.Add(r.Status, r.Headers["Retry-After"], r.Bytes())
	}
	p := s.Open(f, "http://fuzz.invalid", Reply(200, nil, ""))
	d := p.(provider.Decoder)
	c := s.call(f, p)
	f.Fuzz(func(t *testing.T, status int, after, body string) {
		a := provider.Answer{Status: status, Header: http.Header{"Retry-After": {after}}, Body: []byte(body), At: time.Unix(1795453230, 0)}
		r := d.Decode(c.Path, a)
		wellFormed(t, "fuzz", r)
		if r.Class == batch.ClassOK && (status/100 != 2 || !json.Valid(bytes.TrimPrefix([]byte(body), []byte("\xef\xbb\xbf")))) {
			t.Errorf("ok from status %d and %q", status, body)
		}
	})
}
