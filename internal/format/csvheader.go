package format

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// Limits on a header: each row is made into an object with all the names in it.
const (
	maxHeader  = 1 << 20
	maxColumns = 10_000
)

func delimiter(o Options) ([]byte, error) {
	d := o.Delimiter
	switch d {
	case "":
		d = ","
	case "tab", `\t`:
		d = "\t"
	}
	if r, n := utf8.DecodeRuneInString(d); n != len(d) || r == utf8.RuneError || d == `"` || d == "\n" || d == "\r" {
		return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: o.Name, Msg: fmt.Sprintf("delimiter %q is not one character", d),
			Hint: `use one character such as "," ";" "|" or "\t"`}
	}
	return []byte(d), nil
}

// header reads the first record as the names of the columns, which given
// columns override.
func (c *records) header() error {
	var b Block
	b.reset(c.off, c.line)
	var names []string
	for first := c.line; ; {
		n, blank, err := c.record(&b)
		if err == io.EOF {
			return nil // an empty file: no columns and no rows
		}
		if err != nil {
			return err
		}
		raw := b.data[:n]
		c.carry = append(c.carry[:0], b.data[n:]...)
		c.off += int64(n)
		c.line += int64(bytes.Count(raw, []byte{'\n'}))
		if blank {
			b.reset(c.off, c.line)
			first = c.line
			continue
		}
		var bad *RowError
		if names, bad = c.names(raw, first); bad != nil {
			return bad.In(c.o.Name)
		}
		break
	}
	if len(c.columns) == 0 {
		c.columns = names
	}
	return nil
}

// record fills b until it holds one whole record, and returns its length.
func (c *records) record(b *Block) (n int, blank bool, err error) {
	b.data = append(b.data, c.carry...)
	for {
		if c.end == nil {
			c.end = b.fill(c.r)
		}
		if c.end != nil && c.end != io.EOF {
			return 0, false, readError(c.o.Name, c.end)
		}
		if len(b.data) == 0 {
			return 0, false, io.EOF
		}
		n, whole := c.next(b.data, 0, c.end == io.EOF)
		if whole {
			start, stop := trimEnd(b.data[:n])
			return n, start == stop, nil
		}
		if c.end == io.EOF {
			return 0, false, c.unterminated(b.data, 0)
		}
		if !b.grow(c.o.maxRow()) {
			return 0, false, tooLong(c.line, c.o.maxRow()).In(c.o.Name)
		}
	}
}

// trimEnd cuts the line end off a record.
func trimEnd(b []byte) (start, stop int) {
	stop = len(b)
	if stop > 0 && b[stop-1] == '\n' {
		stop--
	}
	if stop > 0 && b[stop-1] == '\r' {
		stop--
	}
	return 0, stop
}

func (c *records) names(raw []byte, line int64) ([]string, *RowError) {
	p := fieldParser{delim: c.delim, most: maxColumns}
	fields, bad := p.fields(raw, line)
	if bad != nil {
		return nil, bad
	}
	if len(raw) > maxHeader || p.n > maxColumns {
		return nil, &RowError{Line: line, Msg: fmt.Sprintf("the header has %d bytes and %d columns; at most %d and %d are read", len(raw), p.n, maxHeader, maxColumns),
			Hint: "every row repeats the names; shorten them, or name the columns with input.fields and header: true"}
	}
	names, seen := make([]string, len(fields)), make(map[string]bool, len(fields))
	for i, f := range fields {
		names[i] = string(f)
		if names[i] == "" {
			names[i] = fmt.Sprintf("column_%d", i+1)
		}
		if !utf8.Valid(f) {
			return nil, &RowError{Line: line, Msg: badUTF8, Hint: utf8Hint}
		}
		if seen[names[i]] {
			return nil, &RowError{Line: line, Msg: fmt.Sprintf("two columns are named %.60q", names[i]),
				Hint: "rename one, or give input.fields with header: true to name the columns yourself"}
		}
		seen[names[i]] = true
	}
	return names, nil
}
