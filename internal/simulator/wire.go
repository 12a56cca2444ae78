package simulator

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// send puts a reply on the wire in its manner.
func (s *Simulator) send(w http.ResponseWriter, r *http.Request, p *Reply) {
	if p.Manner == CutBefore {
		panic(http.ErrAbortHandler) // the server closes the connection without a word
	}
	h := w.Header()
	for i := 0; i+1 < len(p.Header); i += 2 {
		h[p.Header[i]] = p.Header[i+1 : i+2 : i+2]
	}
	switch p.Manner {
	case Reset, HeaderFlood, ShortLength:
		s.raw(w, r, p)
		return
	case Drip, Huge, GzipBomb, DeflateBomb:
		stream(w, r, p)
		return
	case Interim:
		w.WriteHeader(http.StatusContinue)
		w.WriteHeader(http.StatusProcessing)
		h.Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
	case GoAway:
		h["Connection"] = []string{"close"} // on HTTP/2 this sends GOAWAY
	}
	n := len(p.Body)
	if p.Manner == LongLength {
		n += 100
	}
	h["Content-Length"] = []string{strconv.Itoa(n)}
	w.WriteHeader(p.Status)
	switch p.Manner {
	case CutInside:
		_, _ = w.Write(p.Body[:p.Place()])
		_ = http.NewResponseController(w).Flush() // the bytes before the cut do go
		panic(http.ErrAbortHandler)
	case LongLength:
		_, _ = w.Write(p.Body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(p.Body); err != nil && p.billed {
		s.bill.undelivered(p.digest)
	}
}

// stream sends a body that is made as it goes, until the client has enough.
func stream(w http.ResponseWriter, r *http.Request, p *Reply) {
	h, body := w.Header(), p.Reader(r.Context())
	switch p.Manner {
	case GzipBomb:
		h.Set("Content-Encoding", "gzip")
		body = io.MultiReader(&repeated{chunk: gzipHead(), left: 1}, &repeated{chunk: gzipped(), left: max(1, p.members()-1)})
	case DeflateBomb:
		h.Set("Content-Encoding", "deflate")
	case Huge:
		h.Set("Content-Length", strconv.FormatInt(int64(len(p.Body)/2)+p.Size, 10))
	}
	w.WriteHeader(p.Status)
	if p.Manner != Drip {
		_, _ = io.Copy(w, body) // ends when the client has enough
		return
	}
	out, b := http.NewResponseController(w), make([]byte, 1)
	for {
		if _, err := body.Read(b); err != nil {
			return
		}
		if _, err := w.Write(b); err != nil || out.Flush() != nil {
			return
		}
	}
}

// raw sends what a server of the standard library will not: it takes the
// connection over. An HTTP/2 stream cannot be taken over; it is cut.
func (s *Simulator) raw(w http.ResponseWriter, _ *http.Request, p *Reply) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer c.Close() //nolint:errcheck // it is broken on purpose
	if p.Manner == HeaderFlood {
		flood(c)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", p.Status, http.StatusText(p.Status))
	for i := 0; i+1 < len(p.Header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", p.Header[i], p.Header[i+1])
	}
	n, body := len(p.Body), p.Body
	if p.Manner == ShortLength {
		n = p.short()
	} else {
		body = body[:p.Place()]
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", n)
	_, _ = io.WriteString(c, b.String())
	_, _ = c.Write(body)
	if t, ok := c.(*net.TCPConn); ok && p.Manner == Reset {
		_ = t.SetLinger(0) // closing sends RST
	}
}

// flood sends headers until the client has enough of them, a million at most.
func flood(c net.Conn) {
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"); err != nil {
		return
	}
	line := []byte(strings.Repeat("X-Filler: "+strings.Repeat("a", 90)+"\r\n", 100))
	for range 10_000 {
		if _, err := c.Write(line); err != nil {
			return
		}
	}
}
