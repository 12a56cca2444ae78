package format

import (
	"encoding/binary"
	"math/bits"
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

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
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
