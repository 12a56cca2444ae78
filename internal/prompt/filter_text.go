package prompt

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func onText(f func(string) string) func(*state, *call) value {
	return func(s *state, c *call) value {
		t := s.text(c.pos, c.in)
		s.charge(c.pos, len(t)/2)
		return f(t)
	}
}

func filterTrim(s *state, c *call) value {
	t := s.text(c.pos, c.in)
	if c.given(0) && c.args[0] != nil {
		return strings.Trim(t, c.text(s, 0, ""))
	}
	return strings.TrimFunc(t, unicode.IsSpace)
}

func capitalize(t string) string {
	r, n := utf8.DecodeRuneInString(t)
	if n == 0 {
		return t
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(t[n:])
}

// title capitalises after white space, a dash and an opening bracket.
func title(t string) string {
	var b strings.Builder
	b.Grow(len(t))
	start := true
	for _, r := range t {
		switch {
		case unicode.IsSpace(r) || strings.ContainsRune("-([{<", r):
			start = true
			b.WriteRune(r)
		case start:
			start = false
			b.WriteRune(unicode.ToUpper(r))
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

func htmlEscaper() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")
}

func filterWordcount(s *state, c *call) value {
	n, in := int64(0), false
	t := s.text(c.pos, c.in)
	s.charge(c.pos, len(t)/4)
	for _, r := range t {
		word := r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsNumber(r)
		if word && !in {
			n++
		}
		in = word
	}
	return n
}

func filterCenter(s *state, c *call) value {
	t := s.text(c.pos, c.in)
	pad := c.whole(s, 0, 80) - utf8.RuneCountInString(t)
	if pad <= 0 {
		return t
	}
	s.charge(c.pos, pad/16)
	// Python puts the odd blank left when the width is odd as well.
	left := pad/2 + pad&(pad+utf8.RuneCountInString(t))&1
	return strings.Repeat(" ", left) + t + strings.Repeat(" ", pad-left)
}

func filterReplace(s *state, c *call) value {
	t, old, repl := s.text(c.pos, c.in), c.text(s, 0, ""), c.text(s, 1, "")
	n := -1
	if c.given(2) && c.args[2] != nil {
		n = c.whole(s, 2, -1)
	}
	count := strings.Count(t, old)
	if n >= 0 {
		count = min(count, n)
	}
	if grow := len(t) + count*(len(repl)-len(old)); grow > MaxOutput && grow > len(t) {
		c.fail(s, "the text becomes larger than 1 MiB")
	}
	s.charge(c.pos, (len(t)+count*len(repl))/8)
	return strings.Replace(t, old, repl, n)
}

func filterTruncate(s *state, c *call) value {
	t := s.text(c.pos, c.in)
	length, end, leeway := c.whole(s, 0, 255), c.text(s, 2, "..."), c.whole(s, 3, 5)
	keep := length - utf8.RuneCountInString(end)
	if keep < 0 || leeway < 0 {
		c.fail(s, "the length is shorter than the end mark")
	}
	if utf8.RuneCountInString(t) <= length+leeway {
		return t
	}
	cut := 0
	for range keep {
		_, n := utf8.DecodeRuneInString(t[cut:])
		cut += n
	}
	t = t[:cut]
	if !c.flag(s, 1) {
		if i := strings.LastIndexByte(t, ' '); i >= 0 {
			t = t[:i]
		}
	}
	return t + end
}

func filterIndent(s *state, c *call) value {
	t := s.text(c.pos, c.in)
	pad := ""
	if w, ok := c.args[0].(string); ok {
		pad = w
	} else if n := c.whole(s, 0, 4); n > 0 {
		pad = strings.Repeat(" ", n)
	}
	lines := strings.Split(t, "\n")
	if len(t)+len(lines)*len(pad) > MaxOutput && len(pad) > 0 {
		c.fail(s, "the text becomes larger than 1 MiB")
	}
	s.charge(c.pos, (len(t)+len(lines)*(len(pad)+16))/16)
	for i, l := range lines {
		if i == 0 && c.flag(s, 1) || i > 0 && (l != "" || c.flag(s, 2)) {
			lines[i] = pad + l
		}
	}
	return strings.Join(lines, "\n")
}

// filterWrap fills lines greedily, as textwrap does without breaking at
// hyphens: a prompt's words stay whole.
func filterWrap(s *state, c *call) value {
	width, sep := c.whole(s, 0, 79), c.text(s, 2, "\n")
	long := !c.given(1) || c.flag(s, 1)
	if width < 1 {
		c.fail(s, "the width must be at least 1")
	}
	t := s.text(c.pos, c.in)
	s.charge(c.pos, len(t)/2)
	var out []string
	for line := range strings.SplitSeq(strings.TrimSuffix(t, "\n"), "\n") {
		out = append(out, wrapLine(line, width, long)...)
	}
	if len(t)+len(out)*len(sep) > MaxOutput {
		c.fail(s, "the text becomes larger than 1 MiB")
	}
	return strings.Join(out, sep)
}

func wrapLine(line string, width int, long bool) []string {
	var out []string
	cur, n := "", 0
	for _, w := range strings.Fields(line) {
		k := utf8.RuneCountInString(w)
		if n > 0 && n+1+k <= width {
			cur, n = cur+" "+w, n+1+k
			continue
		}
		if n > 0 {
			out = append(out, cur)
		}
		r := []rune(w)
		for long && len(r) > width {
			out = append(out, string(r[:width]))
			r = r[width:]
		}
		cur, n = string(r), len(r)
	}
	if n > 0 || len(out) == 0 {
		out = append(out, cur)
	}
	return out
}

// filterFormat is the % of Python for %s %d %i %f %e %g %x %% with width and
// precision up to 1000.
func filterFormat(s *state, c *call) value {
	f := s.text(c.pos, c.in)
	if len(c.named) > 0 {
		c.fail(s, "named values are not supported")
	}
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			b.WriteByte(f[i])
			continue
		}
		j := i + 1
		for j < len(f) && strings.IndexByte("0123456789.+-# ", f[j]) >= 0 {
			j++
		}
		if j == len(f) {
			c.fail(s, "the format ends inside a %%")
		}
		if f[j] == '%' {
			b.WriteByte('%')
		} else {
			if len(c.rest) == 0 {
				c.fail(s, "there are fewer values than the format wants")
			}
			b.WriteString(c.verb(s, f[i+1:j], f[j], c.rest[0]))
			c.rest = c.rest[1:]
		}
		i = j
	}
	if len(c.rest) > 0 {
		c.fail(s, "there are more values than the format wants")
	}
	return b.String()
}

func filterJSON(s *state, c *call) value {
	s.charge(c.pos, 2*size(c.in))
	var b strings.Builder
	indent := -1
	if c.given(0) && c.args[0] != nil {
		indent = min(max(c.whole(s, 0, 0), 0), 64)
	}
	if _, ok := c.in.(*loopFacts); ok {
		c.fail(s, "loop is not data")
	}
	writeJSON(&b, c.in, indent, 0)
	if b.Len() > MaxOutput {
		c.fail(s, "the text becomes larger than 1 MiB")
	}
	s.charge(c.pos, b.Len()/16)
	return b.String()
}

// writeJSON writes as Python's json.dumps(ensure_ascii=False) does: ", " and
// ": " between parts, or one part a line when indent is not negative.
func writeJSON(b *strings.Builder, v value, indent, depth int) {
	if b.Len() > 2*MaxOutput {
		return
	}
	gap := func(first bool, in int) {
		switch {
		case indent >= 0:
			if !first {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", min(indent*in, MaxOutput)))
		case !first:
			b.WriteString(", ")
		}
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		quoteJSON(b, v)
	case []value:
		b.WriteByte('[')
		for i, x := range v {
			gap(i == 0, depth+1)
			writeJSON(b, x, indent, depth+1)
		}
		if indent >= 0 && len(v) > 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", min(indent*depth, MaxOutput)))
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			gap(i == 0, depth+1)
			quoteJSON(b, k)
			b.WriteString(": ")
			writeJSON(b, v.vals[k], indent, depth+1)
		}
		if indent >= 0 && len(v.keys) > 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", min(indent*depth, MaxOutput)))
		}
		b.WriteByte('}')
	default:
		writeRepr(b, v) // numbers
	}
}

func quoteJSON(b *strings.Builder, s string) {
	plain := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' {
			plain = false
			break
		}
	}
	if plain {
		b.WriteByte('"')
		b.WriteString(s)
		b.WriteByte('"')
		return
	}
	var t strings.Builder
	e := json.NewEncoder(&t)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	b.WriteString(strings.TrimSuffix(t.String(), "\n"))
}

// filterURL percent-encodes a text, or the pairs of an object.
func filterURL(s *state, c *call) value {
	d, ok := c.in.(*dict)
	if !ok {
		t := s.text(c.pos, c.in)
		s.charge(c.pos, len(t)/2)
		return quoteURL(t, "/")
	}
	parts := make([]string, len(d.keys))
	for i, k := range d.keys {
		parts[i] = quoteURL(k, "") + "=" + quoteURL(s.text(c.pos, d.vals[k]), "")
	}
	return strings.Join(parts, "&")
}

func quoteURL(t, safe string) string {
	var b strings.Builder
	for i := range len(t) {
		c := t[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-~"+safe, c) >= 0:
			b.WriteByte(c)
		case c == ' ' && safe == "":
			b.WriteByte('+')
		default:
			b.WriteString("%" + strings.ToUpper(hex(rune(c), 2)))
		}
	}
	return b.String()
}
