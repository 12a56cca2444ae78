package format

import (
	"fmt"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// array reads one JSON array of objects, which may stand on many lines. It
// finds the elements by their brackets and strings; each is checked when it is
// decoded.
type array struct {
	r     io.Reader
	o     Options
	carry []byte // from the current element on
	off   int64  // of carry[0]
	line  int64  // of carry[0]
	col   int64  // of carry[0], counted in characters from 1
	state arrayState
	end   error
	begun bool
}

// arrayState is where the cut between elements stands.
type arrayState int

const (
	beforeArray arrayState = iota
	beforeFirst            // behind "[": an element or "]"
	beforeNext             // behind ",": an element
	afterElement
	afterArray
)

func newArray(r io.Reader, o Options) *array { return &array{r: r, o: o, line: 1, col: 1} }

func (a *array) Layout() Layout { return Layout{Kind: JSON} }

// cutter walks over a block's bytes and keeps count of lines and columns.
type cutter struct {
	data      []byte
	i         int
	line, col int64
}

// pass moves on to place i.
func (c *cutter) pass(i int) {
	for ; c.i < i; c.i++ {
		switch b := c.data[c.i]; {
		case b == '\n':
			c.line, c.col = c.line+1, 1
		case b&0xc0 != 0x80: // not the rest of a character
			c.col++
		}
	}
}

func (a *array) Next(b *Block) error {
	b.reset(a.off, a.line)
	if !a.begun {
		a.begun = true
		head, err := openText(a.r, a.o.Name)
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF {
			a.end = io.EOF
		}
		a.carry, a.off, b.off = append(a.carry, head.rest...), head.skipped, head.skipped
	}
	b.begin(a.carry)
	c := cutter{line: a.line, col: a.col}
	for {
		if a.end == nil {
			a.end = b.fill(a.r)
		}
		if a.end != nil && a.end != io.EOF {
			return readError(a.o.Name, a.end)
		}
		c.data = b.data
		if err := a.cut(b, &c); err != nil && len(b.rows) == 0 {
			return err // else it is met again when these rows are read
		}
		a.carry = append(a.carry[:0], b.data[c.i:]...)
		a.off, a.line, a.col = b.off+int64(c.i), c.line, c.col
		switch {
		case len(b.rows) > 0:
			return nil
		case a.end == io.EOF && a.state == afterArray && len(a.carry) == 0:
			return io.EOF
		case a.end == io.EOF:
			return a.wrong(&c, badEnd)
		case c.i == 0 && !b.grow(a.o.maxRow()):
			return tooLong(c.line, a.o.maxRow()).In(a.o.Name)
		case c.i > 0: // only space and brackets so far: make room
			b.data = b.data[:copy(b.data, b.data[c.i:])]
			b.off, c.i = a.off, 0
		}
	}
}

func (a *array) wrong(c *cutter, msg string) error {
	return (&RowError{Line: c.line, Col: c.col, Msg: msg,
		Hint: "format json wants one array of objects; for one object a line use jsonl"}).In(a.o.Name)
}

// cut marks the whole elements in the block, and leaves c at the first byte
// that belongs to none of them.
func (a *array) cut(b *Block, c *cutter) error {
	for {
		c.pass(space(c.data, c.i))
		if c.i == len(c.data) {
			return nil
		}
		ch := c.data[c.i]
		switch {
		case a.state == beforeArray && ch == '[':
			a.state = beforeFirst
		case a.state == beforeArray:
			return a.wrong(c, "the JSON does not begin with an array")
		case a.state == beforeFirst && ch == ']', a.state == afterElement && ch == ']':
			a.state = afterArray
		case a.state == afterElement && ch == ',':
			a.state = beforeNext
		case a.state == afterElement:
			return a.wrong(c, "a comma or ] must follow an element")
		case a.state == afterArray:
			return a.wrong(c, badAfter)
		case ch == ']':
			return a.wrong(c, badTrailing)
		case ch != '{':
			return a.wrong(c, "an element of the array is not an object")
		default:
			end, whole := elementEnd(c.data, c.i)
			if !whole {
				return nil
			}
			m := mark{start: c.i, end: end, line: c.line, col: c.col}
			if end-c.i > a.o.maxRow() {
				return tooLong(c.line, a.o.maxRow()).In(a.o.Name)
			}
			b.rows = append(b.rows, m)
			c.pass(end)
			a.state = afterElement
			continue
		}
		c.pass(c.i + 1)
	}
}

// elementEnd returns the place behind the bracket that closes the object which
// begins at i, and whether it is there.
func elementEnd(data []byte, i int) (int, bool) {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		case '"':
			for i++; ; {
				i, _ = plain(data, i)
				if i >= len(data) {
					return i, false
				}
				if data[i] == '"' {
					break
				}
				if data[i] == '\\' {
					i++ // and what it escapes
				}
				i++
			}
		}
		i++
	}
	return i, false
}

// Decode checks the elements and gives them without the space between their
// parts. A mistake in one of them may have moved the cut, so it ends the stream.
func (a *array) Decode(b *Block, d *Decoder, yield func(*Row) error) error {
	for _, m := range b.rows {
		raw := b.data[m.start:m.end]
		if err := d.scan.Scan(raw); err != nil {
			e := err.(*SyntaxError) //nolint:errorlint // Scan returns no other
			lines, col := lineOf(raw, min(e.At, len(raw)))
			if lines == 0 {
				col += m.col - 1
			}
			return (&RowError{Line: m.line + lines, Col: col, Msg: e.Msg,
				Hint: fmt.Sprintf("the element that begins at %s is not JSON", place("line", m.line, m.col))}).In(a.o.Name)
		}
		d.out = compact(d.out[:0], raw)
		if err := d.scan.Scan(d.out); err != nil {
			return &batch.Error{Kind: batch.Internal, Op: "read input", Ref: a.o.Name, Msg: "a compacted row is not JSON"}
		}
		d.row = Row{Payload: d.out, Fields: d.scan.Fields, Raw: raw, Offset: b.off + int64(m.start), Length: int64(len(raw)), Line: m.line}
		if err := yield(&d.row); err != nil {
			return err
		}
	}
	return nil
}
