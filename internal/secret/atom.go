package secret

import (
	"strconv"
	"strings"
	"unicode/utf16"
)

// deepest is how many times over an escape may be escaped.
const deepest = 3

// read adds to w every place where the atom ends when it begins at i, however
// it is escaped.
func (a atom) read(s string, i int, fold bool, w *ways) {
	if i >= len(s) {
		w.cut = true
		return
	}
	c := s[i]
	switch {
	case c == a.raw[0]:
		if n := len(a.raw); n == 1 {
			w.to(i + 1)
		} else if strings.HasPrefix(s[i:], a.raw) {
			w.to(i + n)
		} else if strings.HasPrefix(a.raw, s[i:]) {
			w.cut = true
		}
	case fold && len(a.raw) == 1 && c^0x20 == a.raw[0] && isLetter(c):
		w.to(i + 1)
	case c == '+' && a.r == ' ':
		w.to(i + 1)
	}
	switch c {
	case '%':
		a.percent(s, i, w)
	case '\\':
		a.backslash(s, i, w)
	case '&':
		a.entity(s, i, w)
	}
	// What looks like an escape may be one whose end is still to come.
	if (c == '%' || c == '\\' || c == '&') && len(s)-i < 4*deepest+10 && !strings.ContainsFunc(s[i:], ends) {
		w.cut = true
	}
}

// ends reports whether r can stand in no escape.
func ends(r rune) bool {
	return r >= 0x80 || !isLetter(byte(r)) && (r < '0' || r > '9') && !strings.ContainsRune(`%\&#;`, r)
}

// percent reads %XX for each byte, with the sign itself escaped some times over.
func (a atom) percent(s string, i int, w *ways) {
	for k := range len(a.raw) {
		if i >= len(s) || s[i] != '%' {
			return
		}
		i++
		found := -1
		for n := 0; n <= deepest; n++ {
			if v, ok := number(s, i, 2, 16); ok && v == int(a.raw[k]) {
				found = i + 2
				if len(a.raw) == 1 { // the sign itself can be read in several ways
					w.to(found)
				}
			}
			if !strings.HasPrefix(s[i:], "25") {
				break
			}
			i += 2
		}
		if found < 0 {
			return
		}
		i = found
	}
	w.to(i)
}

func number(s string, i, digits, base int) (int, bool) {
	if i+digits > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[i:i+digits], base, 32)
	return int(v), err == nil
}

// letters are the escapes of JSON and Go that name a control character.
const letters = "a\ab\bf\fn\nr\rt\tv\v"

// backslash reads what a run of backslashes makes of the character behind it.
func (a atom) backslash(s string, i int, w *ways) {
	j := i
	for j < len(s) && s[j] == '\\' && j-i < 1<<deepest {
		j++
	}
	if a.r == '\\' {
		for n := 2; n <= j-i; n *= 2 {
			w.to(i + n)
		}
	}
	if j >= len(s) {
		return
	}
	if strings.HasPrefix(s[j:], a.raw) {
		w.to(j + len(a.raw))
	}
	switch c := s[j]; c {
	case 'u':
		a.unicode(s, j, w)
	case 'U':
		if v, ok := number(s, j+1, 8, 16); ok && rune(v) == a.r {
			w.to(j + 9)
		}
	case 'x':
		a.codes(s, i, "x", 2, 16, w)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		a.codes(s, i, "", 3, 8, w)
	default:
		if k := strings.IndexByte(letters, c); k >= 0 && k%2 == 0 && a.r == rune(letters[k+1]) {
			w.to(j + 1)
		}
	}
}

// unicode reads uXXXX, for what lies beyond as two halves.
func (a atom) unicode(s string, j int, w *ways) {
	v, ok := number(s, j+1, 4, 16)
	if !ok {
		return
	}
	if rune(v) == a.r {
		w.to(j + 5)
		return
	}
	rest := strings.TrimLeft(s[j+5:], `\`)
	low, ok := number(rest, 1, 4, 16)
	if ok && rest[0] == 'u' && utf16.DecodeRune(rune(v), rune(low)) == a.r {
		w.to(len(s) - len(rest) + 5)
	}
}

// codes reads a backslash, sign and number for each byte.
func (a atom) codes(s string, i int, sign string, digits, base int, w *ways) {
	for k := range len(a.raw) {
		j := i
		for j < len(s) && s[j] == '\\' && j-i < 1<<deepest {
			j++
		}
		if j == i || !strings.HasPrefix(s[j:], sign) {
			return
		}
		v, ok := number(s, j+len(sign), digits, base)
		if !ok || v != int(a.raw[k]) {
			return
		}
		i = j + len(sign) + digits
	}
	w.to(i)
}

// named are the entities that escape functions write.
var named = []struct {
	text string
	r    rune
}{{"quot;", '"'}, {"apos;", '\''}, {"lt;", '<'}, {"gt;", '>'}, {"amp;", '&'}}

// entity reads an HTML entity, with the sign itself escaped some times over.
func (a atom) entity(s string, i int, w *ways) {
	i++
	for n := 0; n <= deepest; n++ {
		for _, e := range named {
			if a.r == e.r && strings.HasPrefix(s[i:], e.text) {
				w.to(i + len(e.text))
			}
		}
		if i < len(s) && s[i] == '#' {
			a.numeric(s, i+1, w)
		}
		if !strings.HasPrefix(s[i:], "amp;") {
			return
		}
		i += len("amp;")
	}
}

func (a atom) numeric(s string, i int, w *ways) {
	end := strings.IndexByte(s[i:min(len(s), i+10)], ';')
	if end < 1 {
		return
	}
	digits, base := s[i:i+end], 10
	if digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	if v, err := strconv.ParseUint(digits, base, 32); err == nil && rune(v) == a.r {
		w.to(i + end + 1)
	}
}
