package source

import (
	"context"
	"io"
)

// section is a reader with the closer of what is below it.
type section struct {
	io.Reader
	io.Closer
}

// untilDone reads from a terminal or a pipe so that a cancelled context ends the
// wait. The read that hangs then ends with the process or its writer.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	s := &stream{ctx: ctx, want: make(chan []byte), got: make(chan result, 1)}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case buf := <-s.want:
				n, err := r.Read(buf)
				if s.got <- (result{n, err}); err != nil {
					return
				}
			}
		}
	}()
	return s
}

type result struct {
	n   int
	err error
}

// stream hands reads to a goroutine of its own, in a buffer of its own: a read
// that is given up may still write into it.
type stream struct {
	ctx  context.Context
	want chan []byte
	got  chan result
	buf  []byte
	rest []byte
	err  error
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) > 0 {
		n := copy(p, s.rest)
		s.rest = s.rest[n:]
		return n, nil
	}
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	if s.buf == nil {
		s.buf = make([]byte, 64<<10)
	}
	select {
	case <-s.ctx.Done():
		s.err = s.ctx.Err()
		return 0, s.err
	case s.want <- s.buf:
	}
	select {
	case <-s.ctx.Done():
		s.err = s.ctx.Err()
		return 0, s.err
	case r := <-s.got:
		s.err = r.err
		n := copy(p, s.buf[:r.n])
		s.rest = s.buf[n:r.n]
		if n == 0 {
			return 0, s.err
		}
		return n, nil
	}
}
