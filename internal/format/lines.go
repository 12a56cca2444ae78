package format

import (
	"bytes"
	"fmt"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// lines reads JSON Lines.
type lines struct {
	r     io.Reader
	o     Options
	carry []byte // the head of a line whose rest is not read yet
	off   int64  // of carry[0]
	line  int64
	begun bool
	end   error // what the stream ended with
}

func newLines(r io.Reader, o Options) *lines { return &lines{r: r, o: o, line: 1} }

func (l *lines) Layout() Layout { return Layout{Kind: l.o.Kind} }

func (l *lines) Next(b *Block) error {
	b.reset(l.off, l.line)
	if !l.begun {
		l.begun = true
		if err := l.open(b); err != nil {
			return err
		}
	}
	b.begin(l.carry)
	if l.carry = l.carry[:0]; cap(l.carry) > 4*blockSize {
		l.carry = nil
	}
	for seen := 0; ; {
		if l.end == nil {
			l.end = b.fill(l.r)
		}
		if l.end == io.EOF {
			if len(b.data) == 0 {
				return io.EOF
			}
			l.advance(b, len(b.data))
			return nil
		}
		if l.end != nil {
			return readError(l.o.Name, l.end)
		}
		if i := bytes.LastIndexByte(b.data[seen:], '\n'); i >= 0 {
			l.carry = append(l.carry, b.data[seen+i+1:]...)
			b.data = b.data[:seen+i+1]
			l.advance(b, len(b.data))
			return nil
		}
		seen = len(b.data)
		if !b.grow(l.o.maxRow() + 2) {
			return l.skip(b)
		}
	}
}

// open drops a byte order mark and refuses encodings that are not UTF-8.
func (l *lines) open(b *Block) error {
	head, err := openText(l.r, l.o.Name)
	l.carry = append(l.carry, head.rest...)
	l.off, b.off = head.skipped, head.skipped
	if err != io.EOF {
		return err
	}
	l.end = io.EOF
	return nil
}

func (l *lines) advance(b *Block, n int) {
	l.off += int64(n)
	l.line += int64(bytes.Count(b.data[:n], []byte{'\n'}))
}

// skip passes over a line that is longer than allowed.
func (l *lines) skip(b *Block) error {
	row := &Row{Offset: b.off, Line: b.line, Err: tooLong(b.line, l.o.maxRow())}
	row.Raw = bytes.Clone(b.data[:min(64, len(b.data))])
	for {
		if i := bytes.IndexByte(b.data, '\n'); i >= 0 {
			l.carry = append(l.carry, b.data[i+1:]...)
			l.off += int64(i + 1)
			row.Length = l.off - b.off - 1
			l.line++
			break
		}
		l.off += int64(len(b.data))
		b.data = b.data[:0]
		if l.end == io.EOF {
			row.Length = l.off - b.off
			break
		}
		if l.end != nil {
			return readError(l.o.Name, l.end)
		}
		l.end = b.fill(l.r)
	}
	b.data, b.bad = b.data[:0], row
	return nil
}

func tooLong(line int64, limit int) *RowError {
	return &RowError{Line: line, Msg: fmt.Sprintf("the row is longer than %d bytes", limit),
		Hint: "split it, or keep large content outside and refer to it"}
}

func (l *lines) Decode(b *Block, d *Decoder, yield func(*Row) error) error {
	if b.bad != nil {
		return yield(b.bad)
	}
	line := b.line
	for i := 0; i < len(b.data); line++ {
		end := bytes.IndexByte(b.data[i:], '\n')
		next := i + end + 1
		if end < 0 {
			end, next = len(b.data)-i, len(b.data)
		}
		raw := b.data[i : i+end]
		start, stop := trim(raw)
		if start < stop {
			row := &d.row
			*row = Row{Raw: raw[start:stop], Offset: b.off + int64(i+start), Length: int64(stop - start), Line: line}
			l.row(row, d, raw, start)
			if err := yield(row); err != nil {
				return err
			}
		}
		i = next
	}
	return nil
}

func (l *lines) row(row *Row, d *Decoder, raw []byte, start int) {
	if len(row.Raw) > l.o.maxRow() {
		row.Err = tooLong(row.Line, l.o.maxRow())
		return
	}
	if row.Err = d.object(row.Raw, row.Line, column(raw, start)-1); row.Err != nil {
		return
	}
	row.Payload, row.Fields = row.Raw, d.scan.Fields
	if l.o.Kind == OpenAIBatch {
		if row.Err = checkBatchLine(row); row.Err != nil {
			row.Payload = nil
		}
	}
}

// object checks that raw, which stands behind before characters of its line, is
// one JSON object.
func (d *Decoder) object(raw []byte, line, before int64) *RowError {
	if err := d.scan.Scan(raw); err != nil {
		e := err.(*SyntaxError) //nolint:errorlint // Scan returns no other
		bad := &RowError{Line: line, Col: before + column(raw, e.At), Msg: e.Msg, Hint: "every line must be one JSON object"}
		if e.Msg == badEnd && (len(raw) == 1 || bytes.IndexByte(raw, ':') < 0) {
			bad.Hint = "a JSON document over many lines is not JSON Lines: write one object a line, or one array with format: json"
		}
		return bad
	}
	if !d.scan.Object {
		return &RowError{Line: line, Col: before + 1, Msg: "the row is not a JSON object", Hint: `write {"field": value, ...}`}
	}
	return nil
}

// trim returns where the bytes without space around them begin and end.
func trim(b []byte) (start, stop int) {
	stop = len(b)
	for stop > 0 && isSpace(b[stop-1]) {
		stop--
	}
	for start < stop && isSpace(b[start]) {
		start++
	}
	return start, stop
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// readError is what a failing stream means. A *batch.Error stays as it is.
func readError(name string, err error) error {
	if k := batch.KindOf(err); k != batch.Internal {
		return err
	}
	return &batch.Error{Kind: batch.Unavailable, Op: "read input", Ref: name, Err: err}
}

// textHead is the first bytes of a text stream.
type textHead struct {
	rest    []byte
	skipped int64
}

// openText reads the first bytes, drops a UTF-8 byte order mark and refuses
// UTF-16 and UTF-32. The error is io.EOF when the stream ended in them.
func openText(r io.Reader, name string) (textHead, error) {
	head := make([]byte, 3)
	n, err := io.ReadFull(r, head)
	head = head[:n]
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	if err != nil && err != io.EOF {
		return textHead{}, readError(name, err)
	}
	switch {
	case bytes.Equal(head, []byte("\xef\xbb\xbf")):
		return textHead{skipped: 3}, err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return textHead{}, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: name + ":1:1", Msg: "the file is UTF-16, not UTF-8",
			Hint: "convert it: iconv -f UTF-16 -t UTF-8"}
	}
	return textHead{rest: head}, err
}
