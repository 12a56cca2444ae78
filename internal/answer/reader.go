package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxDepth    = 128
	maxExponent = 400 // a number beyond it would cost the validator its memory
)

// reader reads one JSON document strictly: no duplicate keys, nothing after the
// value. It makes the value for the validator and its compact form in one pass.
type reader struct {
	in    []byte
	pos   int
	out   []byte          // compact form
	known map[string]bool // keys that may be named in an error
	keys  map[string]bool // collects all keys when not nil
	path  []string
	parts int // objects so far
}

func (r *reader) fail(format string, args ...any) error {
	known := r.known
	if r.keys != nil { // a schema: its keys are no secret
		known = r.keys
	}
	return &Mismatch{Pointer: pointer(r.path, known), Reason: fmt.Sprintf(format, args...)}
}

func (r *reader) document() (any, error) {
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	if r.space(); r.pos < len(r.in) {
		return nil, r.fail("has text after the JSON value")
	}
	return v, nil
}

func (r *reader) space() {
	for r.pos < len(r.in) {
		switch r.in[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// next returns the first byte after white space, or 0 at the end.
func (r *reader) next() byte {
	if r.space(); r.pos < len(r.in) {
		return r.in[r.pos]
	}
	return 0
}

func (r *reader) value() (any, error) {
	switch c := r.next(); {
	case c == '{':
		return r.object()
	case c == '[':
		return r.array()
	case c == '"':
		s, err := r.text()
		if err == nil {
			r.out = appendString(r.out, s)
		}
		return s, err
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 0 && r.pos >= len(r.in):
		return nil, r.fail("ends too early")
	}
	for _, w := range words {
		if bytes.HasPrefix(r.in[r.pos:], w.text) {
			r.pos += len(w.text)
			r.out = append(r.out, w.text...)
			return w.v, nil
		}
	}
	return nil, r.fail("is not JSON")
}

var words = [...]struct {
	text []byte
	v    any
}{{[]byte("true"), true}, {[]byte("false"), false}, {[]byte("null"), nil}}

func (r *reader) object() (any, error) {
	if len(r.path) >= maxDepth {
		return nil, r.fail("is nested more than %d deep", maxDepth)
	}
	m := map[string]any{}
	r.parts++
	r.pos++
	r.out = append(r.out, '{')
	for first := true; ; first = false {
		c := r.next()
		if c == '}' && first {
			break
		}
		if c != '"' {
			return nil, r.fail("is not a well-formed object")
		}
		key, err := r.text()
		if err != nil {
			return nil, err
		}
		if r.keys != nil {
			r.keys[key] = true
		}
		r.path = append(r.path, key)
		if _, dup := m[key]; dup {
			return nil, r.fail("is there twice")
		}
		if !first {
			r.out = append(r.out, ',')
		}
		r.out = append(appendString(r.out, key), ':')
		if r.next() != ':' {
			return nil, r.fail("has no value")
		}
		r.pos++
		if m[key], err = r.value(); err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
		if c = r.next(); c == '}' {
			break
		}
		if c != ',' {
			return nil, r.fail("is not a well-formed object")
		}
		r.pos++
	}
	r.pos++
	r.out = append(r.out, '}')
	return m, nil
}

func (r *reader) array() (any, error) {
	if len(r.path) >= maxDepth {
		return nil, r.fail("is nested more than %d deep", maxDepth)
	}
	l := []any{}
	r.pos++
	r.out = append(r.out, '[')
	for {
		if r.next() == ']' && len(l) == 0 {
			break
		}
		if len(l) > 0 {
			r.out = append(r.out, ',')
		}
		r.path = append(r.path, strconv.Itoa(len(l)))
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		r.path = r.path[:len(r.path)-1]
		l = append(l, v)
		c := r.next()
		if c == ']' {
			break
		}
		if c != ',' {
			return nil, r.fail("is not a well-formed array")
		}
		r.pos++
	}
	r.pos++
	r.out = append(r.out, ']')
	return l, nil
}

func (r *reader) number() (any, error) {
	start := r.pos
	for r.pos < len(r.in) && strings.IndexByte("0123456789+-.eE", r.in[r.pos]) >= 0 {
		r.pos++
	}
	text := string(r.in[start:r.pos])
	if !json.Valid([]byte(text)) {
		return nil, r.fail("is not a number of JSON")
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if e, err := strconv.Atoi(text[i+1:]); err != nil || e > maxExponent || e < -maxExponent {
			return nil, r.fail("is a number out of range")
		}
	}
	if len(text) > 1000 {
		return nil, r.fail("is a number of more than 1000 digits")
	}
	r.out = append(r.out, text...)
	return json.Number(text), nil
}

// text reads the string that begins here.
func (r *reader) text() (string, error) {
	r.pos++
	start := r.pos
	for ; r.pos < len(r.in); r.pos++ {
		switch c := r.in[r.pos]; {
		case c == '"':
			s := valid(r.in[start:r.pos])
			r.pos++
			return s, nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", r.fail("has a control character inside a string")
		}
	}
	return "", r.fail("ends inside a string")
}

// valid makes every byte that is not UTF-8 a U+FFFD, as encoding/json does.
func valid(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

var simpleEscapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped goes on with text at its first backslash.
func (r *reader) escaped(start int) (string, error) {
	b := append([]byte(nil), r.in[start:r.pos]...)
	for r.pos < len(r.in) {
		c := r.in[r.pos]
		switch {
		case c == '"':
			r.pos++
			return valid(b), nil
		case c < ' ':
			return "", r.fail("has a control character inside a string")
		case c != '\\':
			b = append(b, c)
			r.pos++
			continue
		}
		if r.pos+1 >= len(r.in) {
			break
		}
		c = r.in[r.pos+1]
		r.pos += 2
		switch {
		case simpleEscapes[c] != 0:
			b = append(b, simpleEscapes[c])
		case c == 'u':
			u, ok := r.hex4()
			if !ok {
				return "", r.fail("has a bad escape inside a string")
			}
			if utf16.IsSurrogate(u) {
				saved := r.pos
				low := rune(-1)
				if r.pos+1 < len(r.in) && r.in[r.pos] == '\\' && r.in[r.pos+1] == 'u' {
					r.pos += 2
					low, _ = r.hex4()
				}
				if u = utf16.DecodeRune(u, low); u == utf8.RuneError {
					r.pos = saved // a lone half becomes U+FFFD; what follows is read by itself
				}
			}
			b = utf8.AppendRune(b, u)
		default:
			return "", r.fail("has a bad escape inside a string")
		}
	}
	return "", r.fail("ends inside a string")
}

func (r *reader) hex4() (rune, bool) {
	if r.pos+4 > len(r.in) {
		return -1, false
	}
	n, err := strconv.ParseUint(string(r.in[r.pos:r.pos+4]), 16, 16)
	if err != nil {
		return -1, false
	}
	r.pos += 4
	return rune(n), true
}

// appendString writes s as a JSON string with the fewest escapes.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
