package format

import "unicode/utf8"

// Field is where one top-level member of a scanned object stands in its bytes.
// The key is between its quotes; the value is the whole JSON value.
type Field struct {
	KeyStart, KeyEnd     int
	ValueStart, ValueEnd int
	Escaped              bool // the key holds a backslash escape
}

// MaxDepth is the deepest nesting of arrays and objects that is read.
const MaxDepth = 512

// maxMembers is how many members an object may have whose places are noted:
// short ones would take far more memory for their places than they have bytes.
const maxMembers = 100_000

// Scanner checks that bytes are one JSON value, to the letter of RFC 8259, in
// valid UTF-8 and with no half of a surrogate pair, and finds the top-level
// members of an object in the same pass. It does not allocate once its Fields
// have grown. The zero value is ready; it is for one goroutine.
type Scanner struct {
	// Fields are the members of the last scanned object in their order. A key
	// may stand there twice; the last one counts.
	Fields []Field
	// Object says that the last scanned value was an object.
	Object bool

	stack [MaxDepth / 64]uint64 // one bit for each open container: 1 = object
}

// SyntaxError says where bytes stop being a JSON value.
type SyntaxError struct {
	At  int // byte offset, from 0
	Msg string
}

func (e *SyntaxError) Error() string { return e.Msg }

// Mistakes are shared values but for their place, so that a scan can be cheap
// on input that is all bad.
const (
	badEnd       = "the JSON value ends too early"
	badAfter     = "there is something after the JSON value"
	badValue     = "not a JSON value"
	badKey       = "an object key must be a quoted string"
	badColon     = "a colon must follow the key"
	badComma     = "a comma or a closing bracket must follow the value"
	badTrailing  = "a comma must not stand before the closing bracket"
	badNumber    = "not a JSON number"
	badControl   = "a control character must be escaped in a string"
	badEscape    = "not a JSON escape"
	badSurrogate = "half of a surrogate pair"
	badUTF8      = "not valid UTF-8"
	badMany      = "the object has more than 100000 members"
	badDepth     = "nested too deep (limit 512)"
)

// Scan checks b. The error is a *SyntaxError.
func (s *Scanner) Scan(b []byte) error {
	s.Fields, s.Object = s.Fields[:0], false
	at, msg, high := s.value(b)
	if msg != "" {
		return &SyntaxError{at, msg}
	}
	if at = space(b, at); at != len(b) {
		return &SyntaxError{at, badAfter}
	}
	if high && !utf8.Valid(b) {
		return &SyntaxError{invalidAt(b), badUTF8}
	}
	return nil
}

func invalidAt(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// value scans the value at the head of b and returns its end. A message says
// that the place returned is where it is wrong. high: a byte above 0x7f stands
// in a string, so the whole has to be checked for UTF-8.
func (s *Scanner) value(b []byte) (i int, msg string, high bool) {
	depth := 0
	for more := true; more; {
		var hi bool
		if i = space(b, i); i >= len(b) {
			return i, badEnd, high
		}
		switch b[i] {
		case '{', '[':
			var inside bool
			if i, inside, msg, hi = s.enter(b, i, depth); inside {
				depth++
				if high = high || hi; msg != "" {
					return i, msg, high
				}
				continue
			}
		case '"':
			i, msg, hi, _ = str(b, i+1)
		default:
			i, msg = scalar(b, i)
		}
		if high = high || hi; msg != "" {
			return i, msg, high
		}
		if i, depth, more, msg, hi = s.after(b, i, depth); msg != "" {
			return i, msg, high
		}
		high = high || hi
	}
	return i, "", high
}

// enter scans from an opening bracket to where the first value inside begins.
// An empty container is passed whole; inside is then false.
func (s *Scanner) enter(b []byte, i, depth int) (at int, inside bool, msg string, high bool) {
	if depth == MaxDepth {
		return i, false, badDepth, false
	}
	c := b[i]
	word, bit := &s.stack[depth>>6], uint64(1)<<(depth&63)
	*word &^= bit
	if c == '{' {
		*word |= bit
		if depth == 0 {
			s.Object = true
		}
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == c+2 { // '}' is '{'+2 and ']' is '['+2
		return i + 1, false, "", false
	}
	if c == '{' {
		i, msg, high = s.key(b, i, depth+1)
	}
	return i, true, msg, high
}

// key scans a key and its colon. depth counts the object that it stands in.
func (s *Scanner) key(b []byte, i, depth int) (at int, msg string, high bool) {
	if i >= len(b) {
		return i, badEnd, false
	}
	if b[i] != '"' {
		return i, badKey, false
	}
	start := i + 1
	i, msg, high, escaped := str(b, start)
	if msg != "" {
		return i, msg, high
	}
	end := i - 1
	if i = space(b, i); i >= len(b) {
		return i, badEnd, high
	}
	if b[i] != ':' {
		return i, badColon, high
	}
	i = space(b, i+1)
	if depth == 1 && s.Object {
		if len(s.Fields) == maxMembers {
			return start, badMany, high
		}
		s.Fields = append(s.Fields, Field{KeyStart: start, KeyEnd: end, ValueStart: i, Escaped: escaped})
	}
	return i, "", high
}

// after scans on from the end of a value: out of all containers that end there,
// and over a comma to where the next value begins, if there is one more.
func (s *Scanner) after(b []byte, i, depth int) (at, left int, more bool, msg string, high bool) {
	for depth > 0 {
		if depth == 1 && s.Object {
			s.Fields[len(s.Fields)-1].ValueEnd = i
		}
		if i = space(b, i); i >= len(b) {
			return i, depth, false, badEnd, false
		}
		inObject := s.stack[(depth-1)>>6]>>((depth-1)&63)&1 == 1
		switch {
		case b[i] == ',':
			if i = space(b, i+1); i >= len(b) {
				return i, depth, false, badEnd, false
			}
			if b[i] == '}' || b[i] == ']' {
				return i, depth, false, badTrailing, false
			}
			if inObject {
				i, msg, high = s.key(b, i, depth)
			}
			return i, depth, true, msg, high
		case inObject && b[i] == '}', !inObject && b[i] == ']':
			i++
			depth--
		default:
			return i, depth, false, badComma, false
		}
	}
	return i, 0, false, "", false
}
