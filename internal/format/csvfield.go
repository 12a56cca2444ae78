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
	most  int    // how many fields are kept; 0: all
	n     int    // how many fields the record has
}

// add keeps a field, or only counts it: a record of commas must not take a
// slice header for each of its bytes.
func (p *fieldParser) add(field []byte) {
	if p.n++; p.most == 0 || len(p.parts) < p.most {
		p.parts = append(p.parts, field)
	}
}

// fields returns the fields of a record, which may end in a line end. They
// alias the record and the parser's own buffer, until the next call.
func (p *fieldParser) fields(rec []byte, line int64) ([][]byte, *RowError) {
	_, stop := trimEnd(rec)
	rec = rec[:stop]
	p.parts, p.buf, p.n = p.parts[:0], p.buf[:0], 0
	for i := 0; ; {
		var next int
		if i < len(rec) && rec[i] == '"' {
			field, end, ok := p.quoted(rec, i+1)
			if !ok {
				lines, col := lineOf(rec, end)
				return nil, &RowError{Line: line + lines, Col: col, Msg: "something follows the closing quote of a field",
					Hint: `a quote inside a quoted field is written ""`}
			}
			p.add(field)
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
			p.add(field)
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

// Again makes payloads of single rows from their raw bytes, as the reader of
// their stream made them. It is for one goroutine.
type Again struct {
	kind   Kind
	rows   records
	fields fieldParser
	row    Row
}

// Again returns what reads single rows of this layout.
func (l Layout) Again() *Again {
	delim := []byte(l.Delimiter)
	return &Again{kind: l.Kind, fields: fieldParser{delim: delim},
		rows: records{delim: delim, columns: l.Columns, keys: columnKeys(l.Columns)}}
}

// Payload appends the payload of the row to dst. For formats whose rows are
// JSON already it is the row itself.
func (a *Again) Payload(dst, raw []byte) ([]byte, error) {
	if a.kind != CSV {
		return append(dst, raw...), nil
	}
	a.row = Row{Raw: raw, Line: 1, Fields: a.row.Fields[:0]}
	out, bad := a.rows.object(&a.fields, dst, &a.row)
	if bad != nil {
		return dst, &batch.Error{Kind: batch.Invalid, Msg: bad.Msg, Hint: bad.Hint}
	}
	return out, nil
}
