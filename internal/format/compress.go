package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits on what compressed input may grow to.
const (
	// MaxRatio is how many times larger than its compressed bytes a stream may be.
	MaxRatio = 1000
	// ratioFree is how large a stream may get before its ratio counts: short
	// inputs of equal rows compress to almost nothing.
	ratioFree = 64 << 20
	// maxWindow is the memory that a zstd stream may ask for.
	maxWindow = 128 << 20
)

// Plain is a stream without its compression.
type Plain struct {
	*bufio.Reader
	Compression string // gzip, zstd or empty
	close       func()
}

// Close releases the decompressor. It does not close the stream below.
func (p *Plain) Close() {
	if p.close != nil {
		p.close()
	}
}

// Decompress finds by its first bytes whether a stream is compressed and
// returns it plain. A stream that grows above maxBytes (0: no limit), or to more
// than MaxRatio times what it was, ends with an error of Kind Invalid.
func Decompress(r io.Reader, name string, maxBytes int64) (*Plain, error) {
	below := bufio.NewReaderSize(r, 64<<10)
	head, err := below.Peek(6)
	if err != nil && err != io.EOF {
		return nil, readError(name, err)
	}
	in := &counter{r: below}
	out := &bounded{in: in, name: name, max: maxBytes}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, out.broken("gzip", err)
		}
		out.kind, out.r = "gzip", z
		return &Plain{bufio.NewReaderSize(out, HeadSize), "gzip", func() { _ = z.Close() }}, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, out.broken("zstd", err)
		}
		out.kind, out.r = "zstd", z
		return &Plain{bufio.NewReaderSize(out, HeadSize), "zstd", z.Close}, nil
	}
	for _, known := range []struct{ magic, kind string }{
		{"\xfd7zXZ\x00", "xz"}, {"BZh", "bzip2"}, {"PK\x03\x04", "zip"}, {"\x04\x22\x4d\x18", "lz4"},
	} {
		if bytes.HasPrefix(head, []byte(known.magic)) {
			return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: name,
				Msg: fmt.Sprintf("%s compression is not read", known.kind), Hint: "unpack it, or pack it again with gzip or zstd"}
		}
	}
	return &Plain{Reader: bufio.NewReaderSize(below, HeadSize)}, nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded is the plain side of a decompressor.
type bounded struct {
	r    io.Reader
	in   *counter
	n    int64
	max  int64
	name string
	kind string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	switch {
	case b.max > 0 && b.n > b.max:
		return 0, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: b.name,
			Msg: fmt.Sprintf("the file unpacks to more than %d bytes", b.max), Hint: "split the input"}
	case b.n > ratioFree && b.n/MaxRatio > b.in.n:
		return 0, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: b.name,
			Msg: fmt.Sprintf("the file unpacks to more than %d times its size", MaxRatio), Hint: "unpack it yourself if it is what you mean"}
	}
	if err != nil && err != io.EOF {
		err = b.broken(b.kind, err)
	}
	return n, err
}

// broken is the error for compressed bytes that cannot be unpacked; a failing
// stream below keeps its own error.
func (b *bounded) broken(kind string, err error) error {
	if k := batch.KindOf(err); k != batch.Internal {
		return err
	}
	e := &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: b.name, Msg: "the " + kind + " data is damaged or cut short", Err: err,
		Hint: "fetch or pack the file again"}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		e.Msg, e.Hint = "the zstd window is larger than 128 MiB", "pack it again without --long above 27"
	}
	return e
}
