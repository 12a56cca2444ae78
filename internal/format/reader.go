package format

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// Kind names a format.
type Kind string

// The formats.
const (
	Auto        Kind = "auto"
	JSONL       Kind = "jsonl"
	CSV         Kind = "csv"
	JSON        Kind = "json" // one array of objects
	Parquet     Kind = "parquet"
	OpenAIBatch Kind = "openai_batch" // JSON Lines of {custom_id, method, url, body}
)

// MaxRow is the longest row that is read unless Options say otherwise.
const MaxRow = 32 << 20

// blockSize is how much of a stream one block holds when rows are small.
const blockSize = 256 << 10

// Options say how a stream is to be read.
type Options struct {
	Name      string   // file or URI, for messages
	Kind      Kind     // not Auto
	MaxRow    int      // most bytes of one row; 0: MaxRow
	Delimiter string   // CSV: one character, "\t" or "tab"; empty: comma
	Header    *bool    // CSV: nil is true unless Columns are given
	Columns   []string // CSV: names of the columns, instead of a header's
}

func (o Options) maxRow() int {
	if o.MaxRow > 0 {
		return o.MaxRow
	}
	return MaxRow
}

// Row is one row of a stream. Its slices are valid until the block is used again.
type Row struct {
	// Payload is one JSON object: of JSON Lines the line as it stands without
	// the space around it, of the others a compact object made from the row.
	Payload []byte
	// Fields are the top-level members of Payload.
	Fields []Field
	// Offset and Length are where the row stands in the plain stream. For
	// Parquet Offset is the number of the row.
	Offset, Length int64
	// Line is the line of the row's first byte, from 1; for Parquet the row.
	Line int64
	// Raw are the row's own bytes.
	Raw []byte
	// Err says why the row is no item. Payload is then nil.
	Err *RowError
}

// Field returns the raw JSON value of a top-level member.
func (r *Row) Field(name string) ([]byte, bool) {
	for i := len(r.Fields) - 1; i >= 0; i-- {
		if f := r.Fields[i]; f.named(r.Payload, name) {
			return r.Payload[f.ValueStart:f.ValueEnd], true
		}
	}
	return nil, false
}

// RowError is a mistake in one row; the rows after it can still be read.
type RowError struct {
	Line, Col int64 // from 1; Col counts characters, 0 is the whole row
	Msg, Hint string
}

func (e *RowError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// In is the error as a user meets it.
func (e *RowError) In(name string) *batch.Error {
	return &batch.Error{Kind: batch.Invalid, Ref: place(name, e.Line, e.Col), Msg: e.Msg, Hint: e.Hint}
}

func place(name string, line, col int64) string {
	if col == 0 {
		return fmt.Sprintf("%s:%d", name, line)
	}
	return fmt.Sprintf("%s:%d:%d", name, line, col)
}

// column is the number, from 1, of the character at place i of a line.
func column(line []byte, i int) int64 { return int64(utf8.RuneCount(line[:min(i, len(line))])) + 1 }

// Block is a piece of a stream that holds whole rows. It is filled by Next and
// may be used again after its rows were decoded.
type Block struct {
	data []byte
	off  int64 // of data[0] in the plain stream
	line int64 // of data[0]
	rows []mark
	bad  *Row // a row too long to be held

	onLarge func()
}

// mark is where a row stands in a block whose reader had to find that out.
type mark struct {
	start, end int
	line, col  int64
	err        *RowError
}

// reset makes the block empty, and gives up a buffer that one long row made large.
func (b *Block) reset(off, line int64) {
	if cap(b.data) < blockSize || cap(b.data) > 4*blockSize {
		b.data = make([]byte, 0, blockSize)
	}
	b.data, b.rows, b.off, b.line, b.bad = b.data[:0], b.rows[:0], off, line, nil
}

// OnLarge sets what Next calls, once, before one long row makes the block much
// larger than others are. It may wait until there is memory for that.
func (b *Block) OnLarge(f func()) { b.onLarge = f }

// fill reads until the buffer is full or the stream ends.
func (b *Block) fill(r io.Reader) error {
	n, err := io.ReadFull(r, b.data[len(b.data):cap(b.data)])
	b.data = b.data[:len(b.data)+n]
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return err
}

// grow doubles the buffer, up to limit bytes; false when it has them already.
func (b *Block) grow(limit int) bool {
	if cap(b.data) >= limit {
		return false
	}
	b.resize(min(2*cap(b.data), limit))
	return true
}

// begin puts what an earlier block left over into an empty block, with room
// behind it.
func (b *Block) begin(carry []byte) {
	size := cap(b.data)
	for size <= len(carry) {
		size *= 2
	}
	if size != cap(b.data) {
		b.resize(size)
	}
	b.data = append(b.data, carry...)
}

func (b *Block) resize(size int) {
	if size > 4*blockSize && b.onLarge != nil {
		b.onLarge()
		b.onLarge = nil
	}
	data := make([]byte, len(b.data), size)
	copy(data, b.data)
	b.data = data
}

// Decoder holds what decoding needs besides the block. It is for one goroutine;
// the zero value is ready.
type Decoder struct {
	scan Scanner
	row  Row
	out  []byte
}

// Reader reads one stream.
type Reader interface {
	// Next fills the block with the stream's next rows; io.EOF when there are
	// none. Other errors are *batch.Error and end the stream: what follows can
	// not be told apart into rows, or cannot be read.
	Next(*Block) error
	// Decode calls yield for every row of a block in order, empty lines left
	// out. It ends with yield's error. Many goroutines may decode blocks of one
	// reader at once, each with its own Decoder.
	Decode(b *Block, d *Decoder, yield func(*Row) error) error
	// Layout is what is needed to read a single row again.
	Layout() Layout
}

// Layout is what is needed to make the payload of one row from its raw bytes.
type Layout struct {
	Kind      Kind
	Delimiter string   // CSV
	Columns   []string // CSV
}

// Rows reads all rows in order, for callers that need no speed.
func Rows(r Reader) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		var b Block
		var d Decoder
		stop := errors.New("stop")
		for {
			err := r.Next(&b)
			if err == io.EOF {
				return
			}
			if err == nil {
				err = r.Decode(&b, &d, func(row *Row) error {
					if !yield(row, nil) {
						return stop
					}
					return nil
				})
			}
			if err != nil {
				if err != stop {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// NewReader returns the reader of a plain stream. Parquet cannot be read as a
// stream; see NewParquet.
func NewReader(r io.Reader, o Options) (Reader, error) {
	switch o.Kind {
	case JSONL, OpenAIBatch:
		return newLines(r, o), nil
	case CSV:
		return newCSV(r, o)
	case JSON:
		return newArray(r, o), nil
	}
	return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: o.Name, Msg: fmt.Sprintf("unknown format %q", o.Kind),
		Hint: "use jsonl, csv, json, parquet or openai_batch"}
}
