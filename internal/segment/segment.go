// Package segment is the form of committed results at rest: chunks while a
// shard is worked, and sealed, checksummed segment files after it.
//
// Both are zstd frames of JSON lines. A chunk mixes outcomes and attempts of
// one group commit. A segment holds only outcomes, in manifest order, so its
// bytes are a pure function of the outcomes and its name is their sha256; the
// attempts, which know clocks and counts, go to a file beside it.
package segment

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/batchwright/batchwright/internal/batch"
)

// maxLine bounds one encoded outcome or attempt.
const maxLine = 64 << 20

// Group is the content of one chunk.
type Group struct {
	Outcomes []batch.Outcome
	Attempts []batch.Attempt
}

// Codec compresses and decompresses; it is safe for concurrent use.
type Codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewCodec returns a codec of a few encoders and decoders. The level and the
// library are part of what makes segment bytes reproducible.
func NewCodec() (*Codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(4),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(1<<31), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return &Codec{enc, dec}, nil
}

// Encode packs a group into a chunk. Outcome lines begin with {"o": and attempt
// lines with {"A": so that a reader needs no second pass.
func (c *Codec) Encode(g Group) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	for i := range g.Outcomes {
		if err := e.Encode(&g.Outcomes[i]); err != nil {
			return nil, fmt.Errorf("encode outcome of %s: %w", g.Outcomes[i].ID, err)
		}
	}
	for i := range g.Attempts {
		if err := e.Encode(attemptLine{&g.Attempts[i]}); err != nil {
			return nil, fmt.Errorf("encode attempt of %s: %w", g.Attempts[i].ID, err)
		}
	}
	return c.enc.EncodeAll(buf.Bytes(), nil), nil
}

type attemptLine struct {
	A *batch.Attempt
}

// Decode unpacks a chunk. Damage is an error, never a partial group.
func (c *Codec) Decode(chunk []byte) (Group, error) {
	plain, err := c.dec.DecodeAll(chunk, nil)
	if err != nil {
		return Group{}, fmt.Errorf("chunk is damaged: %w", err)
	}
	var g Group
	for line := range bytes.Lines(plain) {
		if bytes.HasPrefix(line, []byte(`{"A":`)) {
			var a batch.Attempt
			if err := json.Unmarshal(line, &attemptLine{&a}); err != nil {
				return Group{}, fmt.Errorf("chunk is damaged: %w", err)
			}
			g.Attempts = append(g.Attempts, a)
			continue
		}
		var o batch.Outcome
		if err := json.Unmarshal(line, &o); err != nil {
			return Group{}, fmt.Errorf("chunk is damaged: %w", err)
		}
		g.Outcomes = append(g.Outcomes, o)
	}
	return g, nil
}

// Line is one encoded outcome or attempt, not decoded: sealing sorts and packs
// what was committed, and need not understand it.
type Line struct {
	Ordinal batch.Ordinal // of an outcome
	Attempt bool
	Text    []byte // with its line end
}

// Shard is the shard of an attempt.
func (l Line) Shard() (batch.ShardNo, error) {
	var a struct {
		A struct {
			Shard batch.ShardNo `json:"sh"`
		}
	}
	err := json.Unmarshal(l.Text, &a)
	return a.A.Shard, err
}

// Split unpacks a chunk or a segment into its lines. The texts share memory.
func (c *Codec) Split(packed []byte) ([]Line, error) {
	plain, err := c.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("chunk is damaged: %w", err)
	}
	var out []Line
	for text := range bytes.Lines(plain) {
		if bytes.HasPrefix(text, []byte(`{"A":`)) {
			out = append(out, Line{Attempt: true, Text: text})
			continue
		}
		num, _, ok := bytes.Cut(bytes.TrimPrefix(text, []byte(`{"o":`)), []byte(","))
		o, err := strconv.ParseInt(string(num), 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("chunk is damaged: a line is neither outcome nor attempt")
		}
		out = append(out, Line{Ordinal: batch.Ordinal(o), Text: text})
	}
	return out, nil
}

// Pack packs lines in the order given. For outcomes in manifest order the bytes
// are those of a segment.
func (c *Codec) Pack(lines []Line) []byte {
	n := 0
	for _, l := range lines {
		n += len(l.Text)
	}
	plain := make([]byte, 0, n)
	for _, l := range lines {
		plain = append(plain, l.Text...)
	}
	return c.enc.EncodeAll(plain, nil)
}

// Reader streams the lines of a segment without holding them all.
type Reader struct {
	dec *zstd.Decoder
	sc  *bufio.Scanner
}

// NewReader reads a segment or chunk from r.
func NewReader(r io.Reader) (*Reader, error) {
	dec, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	sc := bufio.NewScanner(dec)
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	return &Reader{dec, sc}, nil
}

// Outcome returns the next outcome, or io.EOF.
func (r *Reader) Outcome() (o batch.Outcome, err error) {
	err = r.next(&o)
	return o, err
}

// Attempt returns the next attempt, or io.EOF.
func (r *Reader) Attempt() (a batch.Attempt, err error) {
	err = r.next(&attemptLine{&a})
	return a, err
}

func (r *Reader) next(v any) error {
	if !r.sc.Scan() {
		if err := r.sc.Err(); err != nil {
			return fmt.Errorf("segment is damaged: %w", err)
		}
		return io.EOF
	}
	if err := json.Unmarshal(r.sc.Bytes(), v); err != nil {
		return fmt.Errorf("segment is damaged: %w", err)
	}
	return nil
}

// Close frees the decoder.
func (r *Reader) Close() { r.dec.Close() }
