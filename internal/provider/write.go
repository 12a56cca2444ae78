package provider

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Object writes one JSON object, field by field in the order of the calls: the
// same calls give the same bytes anywhere. Characters that only HTML fears are
// written as they are.
type Object struct {
	buf   bytes.Buffer
	empty bool
	err   error
}

// NewObject begins an object and makes room for about n bytes.
func NewObject(n int) *Object {
	o := &Object{empty: true}
	o.buf.Grow(n)
	o.buf.WriteByte('{')
	return o
}

func (o *Object) name(name string) {
	if !o.empty {
		o.buf.WriteByte(',')
	}
	o.empty = false
	o.quote(name)
	o.buf.WriteByte(':')
}

// Text adds a string.
func (o *Object) Text(name, s string) {
	o.name(name)
	o.quote(s)
}

// Int adds an integer.
func (o *Object) Int(name string, n int64) {
	o.name(name)
	o.buf.Write(strconv.AppendInt(o.buf.AvailableBuffer(), n, 10))
}

// Raw adds a JSON value without its insignificant white space. What is no JSON
// value makes Bytes fail.
func (o *Object) Raw(name string, v json.RawMessage) {
	o.name(name)
	o.raw(v)
}

func (o *Object) raw(v json.RawMessage) {
	if wholeString(v) { // most of a request is one string; Compact reads it ten times slower
		o.buf.Write(v)
		return
	}
	if err := json.Compact(&o.buf, v); err != nil && o.err == nil {
		o.err = err
	}
}

// Params adds parameters in the order of their names.
func (o *Object) Params(p map[string]json.RawMessage) {
	if len(p) == 0 {
		return
	}
	names := make([]string, 0, len(p))
	for n := range p {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		o.Raw(n, p[n])
	}
}

// Open begins an object inside this one; Close ends it.
func (o *Object) Open(name string) {
	o.name(name)
	o.buf.WriteByte('{')
	o.empty = true
}

// Close ends what Open began.
func (o *Object) Close() {
	o.buf.WriteByte('}')
	o.empty = false
}

// List begins a list; Element begins each object in it; EndList ends it.
func (o *Object) List(name string) {
	o.name(name)
	o.buf.WriteByte('[')
	o.empty = true
}

// Element begins an object inside a list; Close ends it.
func (o *Object) Element() {
	if !o.empty {
		o.buf.WriteByte(',')
	}
	o.buf.WriteByte('{')
	o.empty = true
}

// EndList ends what List began.
func (o *Object) EndList() {
	o.buf.WriteByte(']')
	o.empty = false
}

// Bytes ends the object and returns it, or an error of Kind Invalid when a raw
// value was no JSON.
func (o *Object) Bytes() ([]byte, error) {
	if o.err != nil {
		return nil, invalid("a message, parameter or schema is not valid JSON", "write it as one JSON value")
	}
	o.buf.WriteByte('}')
	return o.buf.Bytes(), nil
}

// wholeString reports whether v is exactly one valid JSON string.
func wholeString(v []byte) bool {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return false
	}
	v = v[1 : len(v)-1]
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= ' ' && c != '"' && c != '\\':
		case c != '\\' || i+1 == len(v):
			return false
		default:
			i++
			switch v[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(v) || !hexFour(v[i+1:i+5]) {
					return false
				}
				i += 4
			default:
				return false
			}
		}
	}
	return true
}

func hexFour(v []byte) bool {
	for _, c := range v {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

func (o *Object) quote(s string) {
	b := &o.buf
	b.WriteByte('"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b.WriteString(s[from:i])
				b.WriteString(string(utf8.RuneError))
				from = i + 1
			}
			i += n
			continue
		}
		b.WriteString(s[from:i])
		switch c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\t':
			b.WriteString(`\t`)
		case '\r':
			b.WriteString(`\r`)
		default:
			b.WriteString(`\u00`)
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
		i++
		from = i
	}
	b.WriteString(s[from:])
	b.WriteByte('"')
}
