package format

import (
	"bytes"

	"github.com/batchwright/batchwright/internal/batch"
)

// fieldParser takes one CSV record apart.
type fieldParser struct {
	delim []byte
	parts [][]byte
	buf   []byte // fields whose quotes were doubled
}

// fields returns the fields of a record, which may end in a line end. They
// alias the record and the parser's own buffer, until the next call.
func (p *fieldParser) fields(rec []byte, line int64) ([][]byte, *RowError) {
	_, stop := trimEnd(rec)
	rec = rec[:stop]
	p.parts, p.buf = p.parts[:0], p.buf[:0]
	for i := 0; ; {
		var next int
		if i < len(rec) && rec[i] == '"' {
			field, end, ok := p.quoted(rec, i+1)
			if !ok {
				lines, col := lineOf(rec, end)
				return nil, &RowError{Line: line + lines, Col: col, Msg: "something follows the closing quote of a field",
					Hint: `a quote inside a quoted field is written ""`}
			}
			p.parts = append(p.parts, field)
			next = end
		} else {
			end := bytes.Index(rec[i:], p.delim)
			if end < 0 {
				end = len(rec) - i
			}
			field := rec[i : i+end]
			if q := bytes.IndexByte(field, '"'); q >= 0 {
				lines, col := lineOf(rec, i+q)
				return nil, &RowError{Line: line + lines, Col: col, Msg: "a quote stands inside a field that is not quoted",
					Hint: `quote the whole field and double the quotes in it: "5"" pipe"`}
			}
			p.parts = append(p.parts, field)
			next = i + end
		}
		if next == len(rec) {
			return p.parts, nil
		}
		i = next + len(p.delim)
	}
}

// quoted reads a field from behind its opening quote and returns the place
// behind its closing one, where a delimiter or the end must stand.
func (p *fieldParser) quoted(rec []byte, i int) (field []byte, end int, ok bool) {
	start, from := i, len(p.buf)
	doubled := false
	for {
		j := bytes.IndexByte(rec[i:], '"')
		if j < 0 {
			return nil, len(rec), false
		}
		i += j
		if i+1 < len(rec) && rec[i+1] == '"' {
			p.buf = append(p.buf, rec[start:i+1]...)
			start, doubled = i+2, true
			i += 2
			continue
		}
		field = rec[start:i]
		if doubled {
			p.buf = append(p.buf, field...)
			field = p.buf[from:len(p.buf):len(p.buf)]
		}
		i++
		return field, i, i == len(rec) || bytes.HasPrefix(rec[i:], p.delim)
	}
}

// Payload makes the payload of one row again from its raw bytes, appended to
// dst. For formats whose rows are JSON already it is raw itself.
func (l Layout) Payload(dst, raw []byte) ([]byte, error) {
	if l.Kind != CSV {
		return append(dst, raw...), nil
	}
	c := records{delim: []byte(l.Delimiter), columns: l.Columns, keys: columnKeys(l.Columns)}
	p := fieldParser{delim: c.delim}
	row := Row{Raw: raw, Line: 1}
	out, bad := c.object(&p, dst, &row)
	if bad != nil {
		return dst, &batch.Error{Kind: batch.Invalid, Msg: bad.Msg, Hint: bad.Hint}
	}
	return out, nil
}
