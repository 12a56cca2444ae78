package prompt

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// value is one of: nil (none), bool, int64, number, string, []value, *dict,
// undefined, *loopFacts.
type value any

// number is a float, or an integer beyond 64 bits. text is how the input wrote
// it and is empty for a computed one.
type number struct {
	f    float64
	text string
}

func (n number) whole() bool { return n.text != "" && !strings.ContainsAny(n.text, ".eE") }

func (n number) String() string {
	if n.text != "" {
		return n.text
	}
	return pyFloat(n.f)
}

// undefined is a name, or a part of a value, that is not there.
type undefined struct{ name string }

// dict is a JSON object in its own key order.
type dict struct {
	keys []string
	vals map[string]value
}

func newDict(n int) *dict { return &dict{make([]string, 0, n), make(map[string]value, n)} }

func (d *dict) set(k string, v value) {
	if _, ok := d.vals[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.vals[k] = v
}

// pyFloat prints a float as Python's str does.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if strings.IndexByte(s, '.') < 0 {
		s += ".0"
	}
	return s
}

// decode reads one value of valid JSON and returns what follows it.
func decode(b []byte) (value, []byte) {
	b = skipSpace(b)
	switch b[0] {
	case '{':
		d := newDict(4)
		for b = skipSpace(b[1:]); b[0] != '}'; {
			var k string
			k, b = decodeString(b)
			var v value
			v, b = decode(skipSpace(b)[1:])
			d.set(k, v)
			if b = skipSpace(b); b[0] == ',' {
				b = skipSpace(b[1:])
			}
		}
		return d, b[1:]
	case '[':
		l := []value{}
		for b = skipSpace(b[1:]); b[0] != ']'; {
			var v value
			v, b = decode(b)
			l = append(l, v)
			if b = skipSpace(b); b[0] == ',' {
				b = skipSpace(b[1:])
			}
		}
		return l, b[1:]
	case '"':
		return decodeString(b)
	case 't':
		return true, b[4:]
	case 'f':
		return false, b[5:]
	case 'n':
		return nil, b[4:]
	}
	n := 1
	for n < len(b) && strings.IndexByte("0123456789+-.eE", b[n]) >= 0 {
		n++
	}
	return decodeNumber(string(b[:n])), b[n:]
}

func decodeNumber(s string) value {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
	}
	f, _ := strconv.ParseFloat(s, 64) // out of range is ±Inf; it still prints as written
	return number{f, s}
}

func decodeString(b []byte) (string, []byte) {
	end := stringEnd(b)
	raw := b[1 : end-1]
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw), b[end:]
	}
	var s string
	_ = json.Unmarshal(b[:end], &s) // the bytes were validated as a whole
	return s, b[end:]
}

// stringEnd returns the length of the JSON string that b begins with.
func stringEnd(b []byte) int {
	for i := 1; ; {
		i += bytes.IndexByte(b[i:], '"')
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if i++; slashes%2 == 0 {
			return i
		}
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// truth is Python's bool(v); undefined is false.
func truth(v value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case number:
		return v.f != 0
	case string:
		return v != ""
	case []value:
		return len(v) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

func kindOf(v value) string {
	switch v.(type) {
	case nil:
		return "none"
	case bool:
		return "a boolean"
	case int64, number:
		return "a number"
	case string:
		return "a string"
	case []value:
		return "a list"
	case *dict:
		return "an object"
	case undefined:
		return "undefined"
	}
	return "the loop"
}

// writeRepr prints v as Python's repr does, which is how Jinja prints what
// stands inside a list or an object.
func writeRepr(b *strings.Builder, v value) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case number:
		b.WriteString(v.String())
	case string:
		quotePy(b, v)
	case []value:
		b.WriteByte('[')
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, x)
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			quotePy(b, k)
			b.WriteString(": ")
			writeRepr(b, v.vals[k])
		}
		b.WriteByte('}')
	}
}

func quotePy(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		q = '"'
	}
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0x100 && !unicode.IsPrint(r):
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x80 || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteByte(q)
}

func hex(r rune, width int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", width-len(s)) + s
}

// size is what walking v costs, in the units of maxWork. It stops counting
// above maxWork: a small list that holds itself many times over is a large one.
func size(v value) int {
	n := 0
	measure(v, &n)
	return n
}

func measure(v value, n *int) {
	*n++
	if *n > maxWork {
		return
	}
	switch v := v.(type) {
	case string:
		*n += len(v) / 16
	case []value:
		for i := 0; i < len(v) && *n <= maxWork; i++ {
			measure(v[i], n)
		}
	case *dict:
		for i := 0; i < len(v.keys) && *n <= maxWork; i++ {
			*n += len(v.keys[i]) / 16
			measure(v.vals[v.keys[i]], n)
		}
	}
}
