package format

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Field is where one top-level member of a scanned object stands in its bytes.
// The key is between its quotes; the value is the whole JSON value.
type Field struct {
	KeyStart, KeyEnd     int
	ValueStart, ValueEnd int
	Escaped              bool // the key holds a backslash escape
}

// MaxDepth is the deepest nesting of arrays and objects that is read.
const MaxDepth = 512

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
	badDepth     = "nested too deep (limit 512)"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plain returns the first place from i on that is a quote, a backslash or a
// control character, and whether a byte above 0x7f was passed.
func plain(b []byte, i int) (int, bool) {
	var seen uint64
	for i+8 <= len(b) {
		w := binary.LittleEndian.Uint64(b[i:])
		q := w ^ (ones * '"')
		s := w ^ (ones * '\\')
		// The lowest flag of each term is exact, so the lowest of all is too.
		m := ((q - ones) &^ q) | ((s - ones) &^ s) | ((w - ones*0x20) &^ w)
		if m &= highs; m != 0 {
			n := bits.TrailingZeros64(m)
			seen |= w & (1<<n - 1)
			return i + n>>3, seen&highs != 0
		}
		seen |= w
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
		seen |= uint64(b[i])
		i++
	}
	return i, seen&highs != 0
}

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

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// value scans the value at the head of b and returns its end. A message says
// that the place returned is where it is wrong. high: a byte above 0x7f stands
// in a string, so the whole has to be checked for UTF-8.
func (s *Scanner) value(b []byte) (at int, msg string, high bool) {
	var hi, esc, inObject bool
	depth, i, start, end := 0, 0, 0, 0
next:
	if i = space(b, i); i >= len(b) {
		return i, badEnd, high
	}
	switch c := b[i]; c {
	case '{', '[':
		if depth == MaxDepth {
			return i, badDepth, high
		}
		word, bit := &s.stack[depth>>6], uint64(1)<<(depth&63)
		*word &^= bit
		i = space(b, i+1)
		if c == '{' {
			*word |= bit
			if depth == 0 {
				s.Object = true
			}
		}
		depth++
		switch {
		case i < len(b) && b[i] == c+2: // '}' is '{'+2 and ']' is '['+2
			i++
			depth--
			goto done
		case c == '{':
			goto key
		}
		goto next
	case '"':
		if i, msg, hi, _ = str(b, i+1); msg != "" {
			return i, msg, high
		}
		high = high || hi
	default:
		if i, msg = scalar(b, i); msg != "" {
			return i, msg, high
		}
	}
done:
	if depth == 0 {
		return i, "", high
	}
	if depth == 1 && s.Object {
		s.Fields[len(s.Fields)-1].ValueEnd = i
	}
	if i = space(b, i); i >= len(b) {
		return i, badEnd, high
	}
	inObject = s.stack[(depth-1)>>6]>>((depth-1)&63)&1 == 1
	switch {
	case b[i] == ',':
		if i = space(b, i+1); i >= len(b) {
			return i, badEnd, high
		}
		if b[i] == '}' || b[i] == ']' {
			return i, badTrailing, high
		}
		if inObject {
			goto key
		}
		goto next
	case inObject && b[i] == '}', !inObject && b[i] == ']':
		i++
		depth--
		goto done
	}
	return i, badComma, high
key:
	if i >= len(b) {
		return i, badEnd, high
	}
	if b[i] != '"' {
		return i, badKey, high
	}
	start = i + 1
	if i, msg, hi, esc = str(b, start); msg != "" {
		return i, msg, high
	}
	high = high || hi
	end = i - 1
	if i = space(b, i); i >= len(b) {
		return i, badEnd, high
	}
	if b[i] != ':' {
		return i, badColon, high
	}
	i = space(b, i+1)
	if depth == 1 && s.Object {
		s.Fields = append(s.Fields, Field{KeyStart: start, KeyEnd: end, ValueStart: i, Escaped: esc})
	}
	goto next
}

// str scans a string from behind its opening quote to behind its closing one.
func str(b []byte, i int) (at int, msg string, high, escaped bool) {
	for {
		var h bool
		i, h = plain(b, i)
		high = high || h
		if i >= len(b) {
			return i, badEnd, high, escaped
		}
		switch b[i] {
		case '"':
			return i + 1, "", high, escaped
		case '\\':
			escaped = true
			if i, msg = escape(b, i); msg != "" {
				return i, msg, high, escaped
			}
		default:
			return i, badControl, high, escaped
		}
	}
}

// escape scans one escape sequence, two when they are a surrogate pair.
func escape(b []byte, i int) (int, string) {
	if i+1 >= len(b) {
		return len(b), badEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, ""
	case 'u':
	default:
		return i, badEscape
	}
	r, ok := hex4(b, i+2)
	switch {
	case !ok:
		return i, badEscape
	case r < 0xd800 || r > 0xdfff:
		return i + 6, ""
	case r >= 0xdc00 || i+12 > len(b) || b[i+6] != '\\' || b[i+7] != 'u':
		return i, badSurrogate
	}
	if low, ok := hex4(b, i+8); !ok || low < 0xdc00 || low > 0xdfff {
		return i, badSurrogate
	}
	return i + 12, ""
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// scalar scans true, false, null or a number.
func scalar(b []byte, i int) (int, string) {
	switch b[i] {
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	}
	start := i
	if b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b) || b[i] < '0' || b[i] > '9':
		if i > start {
			return i, badNumber
		}
		return i, badValue
	case b[i] == '0':
		i++
	default:
		i = digits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		j := digits(b, i+1)
		if j == i+1 {
			return j, badNumber
		}
		i = j
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		j := digits(b, i)
		if j == i {
			return j, badNumber
		}
		i = j
	}
	return i, ""
}

func digits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

func literal(b []byte, i int, want string) (int, string) {
	if len(b)-i >= len(want) && string(b[i:i+len(want)]) == want {
		return i + len(want), ""
	}
	return i, badValue
}
