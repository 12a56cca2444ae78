package format

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// records reads CSV as RFC 4180 has it, with any delimiter and line end.
type records struct {
	r       io.Reader
	o       Options
	delim   []byte
	columns []string
	keys    [][]byte // `"name":`, ready to be written
	carry   []byte
	off     int64
	line    int64
	end     error
}

func newCSV(r io.Reader, o Options) (*records, error) {
	delim, err := delimiter(o)
	if err != nil {
		return nil, err
	}
	c := &records{r: r, o: o, delim: delim, line: 1, columns: o.Columns}
	head, err := openText(r, o.Name)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if err == io.EOF {
		c.end = io.EOF
	}
	c.carry, c.off = append(c.carry, head.rest...), head.skipped
	if o.Header == nil && len(o.Columns) == 0 || o.Header != nil && *o.Header {
		if err := c.header(); err != nil {
			return nil, err
		}
	}
	c.keys = columnKeys(c.columns)
	return c, nil
}

func columnKeys(columns []string) [][]byte {
	keys := make([][]byte, len(columns))
	for i, name := range columns {
		keys[i] = append(appendString(nil, name), ':')
	}
	return keys
}

const utf8Hint = "convert the file, for example: iconv -f LATIN1 -t UTF-8"

func (c *records) Layout() Layout {
	return Layout{Kind: CSV, Delimiter: string(c.delim), Columns: c.columns}
}

// perBlock is how many rows a block may hold so that its payloads, each of which
// repeats the names of all columns, stay small however short the rows are.
func (c *records) perBlock() int {
	size := 1
	for _, k := range c.keys {
		size += len(k)
	}
	return max(1, 16*blockSize/size)
}

func controls(b []byte) (n int) {
	for _, ch := range b {
		if ch < ' ' && ch != '\n' && ch != '\r' && ch != '\t' {
			n++
		}
	}
	return n
}

func (c *records) Next(b *Block) error {
	b.reset(c.off, c.line)
	b.begin(c.carry)
	for done, room := 0, c.perBlock(); ; {
		if c.end == nil {
			c.end = b.fill(c.r)
		}
		if c.end != nil && c.end != io.EOF {
			return readError(c.o.Name, c.end)
		}
		for ; done < len(b.data) && room > 0; room-- {
			n, whole := c.next(b.data, done, c.end == io.EOF)
			if !whole {
				break
			}
			done = n
		}
		switch {
		case c.end == io.EOF && len(b.data) == 0:
			return io.EOF
		case c.end == io.EOF && done == 0:
			return c.unterminated(b.data, 0)
		case done > 0: // what cannot be cut is told of when these rows are read
			c.carry = append(c.carry[:0], b.data[done:]...)
			b.data = b.data[:done]
			c.off += int64(done)
			c.line += int64(bytes.Count(b.data, []byte{'\n'}))
			return nil
		case !b.grow(c.o.maxRow()):
			return tooLong(c.line, c.o.maxRow()).In(c.o.Name)
		}
	}
}

// unterminated is the error for a quoted field that never ends: all that
// follows the quote would belong to it, so no row of it can be trusted.
func (c *records) unterminated(data []byte, from int) error {
	line := c.line + int64(bytes.Count(data[:from], []byte{'\n'}))
	open := c.opening(data, from)
	begin := from + bytes.LastIndexByte(data[from:open], '\n') + 1
	e := &RowError{Line: line + int64(bytes.Count(data[from:open], []byte{'\n'})), Col: column(data[begin:], open-begin),
		Msg: "a quoted field is never closed", Hint: `close it; a quote inside a quoted field is written ""`}
	return e.In(c.o.Name)
}

// opening finds the quote that the record's last field begins with.
func (c *records) opening(data []byte, i int) int {
	start, quoted := i, false
	for ; i < len(data); i++ {
		if data[i] != '"' {
			continue
		}
		switch {
		case !quoted:
			if c.atFieldStart(data, i, start) {
				quoted = true
				start = i
			}
		case i+1 < len(data) && data[i+1] == '"':
			i++
		default:
			quoted = false
		}
	}
	return start
}

func (c *records) atFieldStart(data []byte, i, record int) bool {
	return i == record || bytes.HasSuffix(data[record:i], c.delim)
}

// next returns where the record that begins at i ends, behind its line end, and
// whether all of it is there. A field that begins with a quote ends with one;
// a quote anywhere else has no meaning here, and the decoder refuses it.
func (c *records) next(data []byte, i int, last bool) (int, bool) {
	record := i
	for {
		j := bytes.IndexAny(data[i:], "\"\n")
		if j < 0 {
			return len(data), last
		}
		i += j
		if data[i] == '\n' {
			return i + 1, true
		}
		if !c.atFieldStart(data, i, record) {
			i++
			continue
		}
		for i++; ; {
			j := bytes.IndexByte(data[i:], '"')
			if j < 0 {
				return len(data), false
			}
			i += j + 1
			if i == len(data) {
				if !last {
					return len(data), false // the next byte may double this quote
				}
				return len(data), true
			}
			if data[i] != '"' {
				break
			}
			i++
		}
	}
}

func (c *records) Decode(b *Block, d *Decoder, yield func(*Row) error) error {
	p := fieldParser{delim: c.delim, parts: make([][]byte, 0, len(c.columns))}
	line := b.line
	for i := 0; i < len(b.data); {
		end, _ := c.next(b.data, i, true)
		raw := b.data[i:end]
		_, stop := trimEnd(raw)
		if stop > 0 {
			row := &d.row
			*row = Row{Raw: raw[:stop], Offset: b.off + int64(i), Length: int64(stop), Line: line, Fields: d.scan.Fields[:0]}
			d.out, row.Err = c.object(&p, d.out[:0], row)
			d.scan.Fields = row.Fields
			if row.Err == nil {
				row.Payload = d.out
			}
			if err := yield(row); err != nil {
				return err
			}
		}
		line += int64(bytes.Count(raw, []byte{'\n'}))
		i = end
	}
	return nil
}

// object appends the record as a JSON object of strings in column order.
func (c *records) object(p *fieldParser, dst []byte, row *Row) ([]byte, *RowError) {
	if !utf8.Valid(row.Raw) {
		line, col := lineOf(row.Raw, invalidAt(row.Raw))
		return dst, &RowError{Line: row.Line + line, Col: col, Msg: badUTF8, Hint: utf8Hint}
	}
	if n := len(row.Raw); n > blockSize && n+5*controls(row.Raw) > c.o.maxRow() {
		return dst, tooLong(row.Line, c.o.maxRow()) // as JSON: a control character is written with six
	}
	p.most = len(c.columns)
	fields, bad := p.fields(row.Raw, row.Line)
	if bad != nil {
		return dst, bad
	}
	if len(c.columns) == 0 {
		return dst, &RowError{Line: row.Line, Msg: "the columns have no names", Hint: "give input.fields, or a header line"}
	}
	if p.n != len(c.columns) {
		return dst, &RowError{Line: row.Line, Msg: fmt.Sprintf("%d fields, but there are %d columns", p.n, len(c.columns)),
			Hint: "quote fields that hold the delimiter, or set input.delimiter"}
	}
	for i, f := range fields {
		dst = append(dst, "{,"[min(i, 1)])
		at := len(dst)
		dst = append(dst, c.keys[i]...)
		member := Field{KeyStart: at + 1, KeyEnd: len(dst) - 2, ValueStart: len(dst)}
		dst = appendString(dst, f)
		member.ValueEnd = len(dst)
		member.Escaped = bytes.IndexByte(c.keys[i], '\\') >= 0
		row.Fields = append(row.Fields, member)
	}
	return append(dst, '}'), nil
}

// lineOf returns how many line ends stand before place i, and the column.
func lineOf(b []byte, i int) (lines, col int64) {
	begin := bytes.LastIndexByte(b[:i], '\n') + 1
	return int64(bytes.Count(b[:i], []byte{'\n'})), column(b[begin:], i-begin)
}
