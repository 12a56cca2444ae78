package secret

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// matcher finds values in texts. It does not change once it is made.
type matcher struct {
	// all holds every form, so that a value can be added without spelling the
	// others again.
	all []*form
	// starts has a bit for every pair of bytes that a form of a value can begin
	// with: a text is passed over by one look for each of its bytes.
	starts [1 << 16 / 64]uint64
	// single has those that can be the first byte, for the end of a text.
	single [256]bool
	// forms are those that can begin so, by pair.
	forms map[uint16][]*form
}

// form is one way in which a value can stand in a text: a row of characters,
// each of which may be escaped.
type form struct {
	atoms []atom
	fold  bool // letters of either case are the same
	least int  // so many of the atoms are as good as all
	// A base64 form has no character that also holds bits of a neighbour; these
	// say whether one stands before and behind.
	before, behind bool
}

// atom is one character of a form, or one byte where it is no UTF-8.
type atom struct {
	r   rune
	raw string
}

// with is the matcher that finds the forms too.
func (m *matcher) with(fs []*form) *matcher {
	if len(fs) == 0 {
		return m
	}
	next := &matcher{forms: map[uint16][]*form{}}
	if m != nil {
		next.all = append(next.all, m.all...)
	}
	next.all = append(next.all, fs...)
	for _, f := range next.all {
		next.add(f)
	}
	return next
}

// formsOf lists the forms of a value.
func formsOf(v string) []*form {
	fs := []*form{newForm(v, true)}
	spelt := []string{v}
	for _, s := range []string{inQuotes(v), url.QueryEscape(v), url.PathEscape(v)} {
		if s != v {
			spelt = append(spelt, s)
		}
	}
	seen := map[string]bool{}
	for _, s := range spelt {
		for align := range 3 {
			for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				f, core := base64Form(s, align, alphabet)
				if !seen[core] {
					seen[core] = true
					fs = append(fs, f)
				}
			}
		}
	}
	h := hex.EncodeToString([]byte(v))
	var decimal, pairs []string
	for i := range len(v) {
		decimal = append(decimal, strconv.Itoa(int(v[i])))
		pairs = append(pairs, h[2*i:2*i+2])
	}
	fs = append(fs, newForm(h, true))
	for _, gap := range []string{" ", ":", ", 0x", ",0x", " 0x"} {
		fs = append(fs, newForm(strings.Join(pairs, gap), true))
	}
	for _, gap := range []string{" ", ",", ", "} {
		fs = append(fs, newForm(strings.Join(decimal, gap), true))
	}
	return fs
}

func inQuotes(v string) string {
	q := strconv.Quote(v)
	return q[1 : len(q)-1]
}

// base64Form is what stands in the base64 of any text that holds s at a place
// that leaves align when divided by 3: the characters that s alone decides.
func base64Form(s string, align int, alphabet *base64.Encoding) (*form, string) {
	text := alphabet.EncodeToString([]byte(strings.Repeat("\x00", align) + s))
	bits := 8 * (align + len(s))
	core := text[(8*align+5)/6 : bits/6]
	f := newForm(core, false)
	f.before, f.behind = align > 0, bits%6 != 0
	return f, core
}

func newForm(s string, fold bool) *form {
	f := &form{fold: fold}
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			r = -1
		}
		f.atoms = append(f.atoms, atom{r, s[:n]})
		s = s[n:]
	}
	f.least = len(f.atoms)
	if f.least >= 2*ShortestPayload {
		f.least = (f.least + 1) / 2
	}
	return f
}

// add enters what the form can begin with.
func (m *matcher) add(f *form) {
	pair := func(a, b byte) {
		k := uint16(a)<<8 | uint16(b)
		m.starts[k/64] |= 1 << (k % 64)
		m.single[a] = true
		if have := m.forms[k]; len(have) == 0 || have[len(have)-1] != f {
			m.forms[k] = append(have, f)
		}
	}
	a, b := f.atoms[0], f.atoms[1]
	for _, x := range f.cases(a.raw[0]) {
		if len(a.raw) > 1 {
			pair(x, a.raw[1])
			continue
		}
		for _, y := range append(f.cases(b.raw[0]), '%', '\\', '&', '+') {
			pair(x, y)
		}
		pair('\\', x)
	}
	for _, c := range hexDigits(a.raw[0]>>4) + "2" {
		pair('%', byte(c))
	}
	for _, c := range []byte(`uUx01234567\nrtbfav`) {
		pair('\\', c)
	}
	for _, c := range []byte("#aqlg") {
		pair('&', c)
	}
	if a.r == ' ' {
		for y := range 256 {
			pair('+', byte(y))
		}
	}
}

func hexDigits(v byte) string { return fmt.Sprintf("%x%X", v, v) }

func (f *form) cases(c byte) []byte {
	if f.fold && isLetter(c) {
		return []byte{c, c ^ 0x20}
	}
	return []byte{c}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// next finds the first match at or behind from. When last is false more text
// may follow: open is then where a match that the end cut short begins, or -1,
// and no match behind it is returned.
func (m *matcher) next(s string, from int, last bool) (at span, ok bool, open int) {
	for i := from; i < len(s); i++ {
		if i+1 == len(s) {
			if !last && m.single[s[i]] {
				return span{}, false, i
			}
			break
		}
		k := uint16(s[i])<<8 | uint16(s[i+1])
		if m.starts[k/64]&(1<<(k%64)) == 0 {
			continue
		}
		best, from := -1, i
		for _, f := range m.forms[k] {
			end, cut := f.match(s, i)
			if cut && !last {
				return span{}, false, i
			}
			if end > best {
				from, best = f.widen(s, i, end)
			}
		}
		if best >= 0 {
			return span{from, best}, true, -1
		}
	}
	return span{}, false, -1
}

// widen takes in the characters of base64 that hold bits of the value and of
// its neighbours, and the padding.
func (f *form) widen(s string, from, to int) (int, int) {
	if f.before && from > 0 && isBase64(s[from-1]) {
		from--
	}
	if f.behind {
		if to < len(s) && isBase64(s[to]) {
			to++
		}
		for n := 0; n < 2 && to < len(s) && s[to] == '='; n++ {
			to++
		}
	}
	return from, to
}

func isBase64(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}

// ways are the places a match can have come to, by reading escapes this way or
// that.
type ways struct {
	at  [8]int
	n   int
	cut bool // the text ended inside of a way
}

func (w *ways) to(i int) {
	for _, have := range w.at[:w.n] {
		if have == i {
			return
		}
	}
	if w.n < len(w.at) {
		w.at[w.n] = i
		w.n++
	}
}

// match returns where the form that begins at i ends, or -1; cut says that the
// text ended before this could be told.
func (f *form) match(s string, i int) (end int, cut bool) {
	k, i := f.plain(s, i)
	now := ways{n: 1}
	now.at[0] = i
	for ; k < len(f.atoms); k++ {
		a := f.atoms[k]
		var next ways
		for _, p := range now.at[:now.n] {
			a.read(s, p, f.fold, &next)
		}
		cut = cut || next.cut
		if next.n == 0 {
			if k >= f.least {
				return now.farthest(), cut
			}
			return -1, cut
		}
		next.cut = false
		now = next
	}
	return now.farthest(), false
}

// plain reads as many atoms as stand in s without any escape, which nearly all
// do, or none: it returns their number and where they end.
func (f *form) plain(s string, i int) (k, end int) {
	for ; k < len(f.atoms) && i < len(s); k++ {
		a, c := f.atoms[k].raw, s[i]
		if len(a) > 1 || escapes[c] || a[0] != c && (!f.fold || c^0x20 != a[0] || !isLetter(c)) {
			break
		}
		i++
	}
	return k, i
}

// escapes are the bytes that can begin an escape.
var escapes = [256]bool{'%': true, '\\': true, '&': true, '+': true}

func (w *ways) farthest() int {
	end := -1
	for _, p := range w.at[:w.n] {
		end = max(end, p)
	}
	return end
}
