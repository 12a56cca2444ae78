package simulator

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"io"
	"sync"
	"time"
)

// Manner is how an answer goes over the wire, where that is not simply well.
type Manner uint8

// The manners.
const (
	Whole       Manner = iota
	CutBefore          // the connection ends and no byte of an answer came
	CutInside          // it ends after At bytes of the body
	Reset              // it is reset (RST) after at most At bytes of the body
	LongLength         // Content-Length says more than comes
	ShortLength        // Content-Length says less than there is
	Drip               // a byte at a time, Every apart
	Huge               // a body of Size bytes behind the beginning of an answer
	GzipBomb           // the same, and small while it is compressed
	DeflateBomb        // the same, in an encoding nobody asked for
	HeaderFlood        // headers without end
	Interim            // some 1xx answers come first
	GoAway             // the answer is good and the connection is not used again
)

// Place is where the body ends for a client when the reply is cut.
func (p *Reply) Place() int {
	if p.At < 0 || p.At > len(p.Body) {
		return len(p.Body) / 2
	}
	return p.At
}

// Reader gives the body as a client without a network reads it: after what
// would be decompressed was. It ends with io.ErrUnexpectedEOF where the reply
// is cut, and with ctx's error where that comes first.
func (p *Reply) Reader(ctx context.Context) io.Reader {
	switch p.Manner {
	case CutInside, Reset, LongLength:
		at := p.Place()
		if p.Manner == LongLength {
			at = len(p.Body)
		}
		return io.MultiReader(bytes.NewReader(p.Body[:at]), broken{})
	case ShortLength:
		return bytes.NewReader(p.Body[:p.short()])
	case Drip:
		return &dripping{ctx: ctx, body: p.Body, every: p.Every}
	case Huge, GzipBomb:
		return io.MultiReader(bytes.NewReader(p.Body[:len(p.Body)/2]), io.LimitReader(filler{}, p.Size))
	case DeflateBomb:
		return &repeated{chunk: deflated(), left: p.members()}
	}
	return bytes.NewReader(p.Body)
}

// short is a Content-Length that cuts the answer's end.
func (p *Reply) short() int { return max(0, len(p.Body)-3) }

func (p *Reply) members() int64 { return (p.Size + member - 1) / member }

// broken is the rest of a body whose connection was cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// filler is text without end.
type filler struct{}

func (filler) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// dripping gives a byte at a time.
type dripping struct {
	ctx   context.Context
	body  []byte
	every time.Duration
}

func (d *dripping) Read(b []byte) (int, error) {
	if len(d.body) == 0 {
		return 0, io.EOF
	}
	if !rest(d.ctx, d.every) {
		return 0, d.ctx.Err()
	}
	n := copy(b[:min(1, len(b))], d.body)
	d.body = d.body[n:]
	return n, nil
}

// repeated gives the same bytes again and again.
type repeated struct {
	chunk []byte
	at    int
	left  int64
}

func (r *repeated) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.chunk[r.at:])
	if r.at += n; r.at == len(r.chunk) {
		r.at, r.left = 0, r.left-1
	}
	return n, nil
}

// member is how many bytes one piece of a bomb unpacks to. A bomb is one piece
// again and again: both formats go on where one ends.
const member = 16 << 20

func pack(open func(io.Writer) io.WriteCloser, head string) []byte {
	var b bytes.Buffer
	w := open(&b)
	_, _ = io.WriteString(w, head) // into memory
	_, _ = io.Copy(w, io.LimitReader(filler{}, member-int64(len(head))))
	_ = w.Close()
	return b.Bytes()
}

// What a bomb is made of is packed once in a process that needs it.
var (
	gzipped  = sync.OnceValue(func() []byte { return pack(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, "") })
	deflated = sync.OnceValue(func() []byte {
		return pack(func(w io.Writer) io.WriteCloser {
			f, _ := flate.NewWriter(w, flate.BestCompression) // the level is one there is
			return f
		}, `{"x":"`)
	})
	gzipHead = sync.OnceValue(func() []byte {
		return pack(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, `{"x":"`)
	})
)
