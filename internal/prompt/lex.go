package prompt

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

type tokenKind uint8

const (
	tEnd    tokenKind = iota // end of the source
	tText                    // literal text
	tOpen                    // {{
	tClose                   // }}
	tTag                     // {%
	tTagEnd                  // %}
	tName
	tString
	tInt
	tFloat
	tSign
)

type token struct {
	kind tokenKind
	text string // the name, the sign, the unquoted string, the number
	pos  int    // byte offset in the normalised source
}

// source is a template's text and the name it goes by in messages.
type source struct{ name, text string }

func (s *source) at(pos int) string {
	pos = min(pos, len(s.text))
	before := s.text[:pos]
	line := strings.Count(before, "\n") + 1
	col := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("%s:%d:%d", s.name, line, col)
}

// fail makes the error a person meets. Template errors quote names and signs of
// the template, never values of an item.
func (s *source) fail(pos int, hint, format string, args ...any) *batch.Error {
	return &batch.Error{Kind: batch.Invalid, Ref: s.at(pos), Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// maxTokens bounds what there is to read; literal text counts as one.
const maxTokens = 50_000

// lexer cuts a template into tokens. Errors are raised by panic(*batch.Error)
// and caught once, in Parse: a reader of a grammar is clearer without an error
// check after every word.
type lexer struct {
	src  *source
	text string
	pos  int
	out  []token
	trim bool // the tag before asked to drop the white space that follows
}

func (l *lexer) emit(k tokenKind, text string, pos int) {
	if len(l.out) >= maxTokens {
		l.fail(pos, "move the data into the items", "the template has more than %d words and signs", maxTokens)
	}
	l.out = append(l.out, token{k, text, pos})
}

func (l *lexer) fail(pos int, hint, format string, args ...any) {
	panic(l.src.fail(pos, hint, format, args...))
}

func (l *lexer) run() []token {
	for l.pos < len(l.text) {
		i := nextTag(l.text[l.pos:])
		if i < 0 {
			l.literal(l.text[l.pos:], l.pos, false)
			l.pos = len(l.text)
			break
		}
		start := l.pos + i
		l.literal(l.text[l.pos:start], l.pos, strings.HasPrefix(l.text[start+2:], "-"))
		l.pos = start + 2
		if l.pos < len(l.text) && (l.text[l.pos] == '-' || l.text[l.pos] == '+') {
			l.pos++
		}
		switch l.text[start+1] {
		case '#':
			l.comment(start)
		case '{':
			l.emit(tOpen, "{{", start)
			l.expression(start, tClose, "}}")
		case '%':
			if !l.raw(start) {
				l.emit(tTag, "{%", start)
				l.expression(start, tTagEnd, "%}")
			}
		}
	}
	l.emit(tEnd, "", len(l.text))
	return l.out
}

// nextTag finds the first of {{ {% {#.
func nextTag(s string) int {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], '{')
		if j < 0 || i+j+1 >= len(s) {
			return -1
		}
		i += j
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
	}
}

const blanks = " \t\n\r\v\f"

func (l *lexer) literal(s string, pos int, trimRight bool) {
	if l.trim {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		l.trim = false
	}
	if trimRight {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	if s != "" {
		l.emit(tText, s, pos)
	}
}

func (l *lexer) comment(start int) {
	end := strings.Index(l.text[l.pos:], "#}")
	if end < 0 {
		l.fail(start, `close it with "#}"`, "comment is never closed")
	}
	l.trim = end > 0 && l.text[l.pos+end-1] == '-'
	l.pos += end + 2
}

// raw consumes a whole {% raw %} block if one begins here.
func (l *lexer) raw(start int) bool {
	rest := strings.TrimLeft(l.text[l.pos:], blanks)
	if !strings.HasPrefix(rest, "raw") {
		return false
	}
	after := strings.TrimLeft(rest[3:], blanks)
	mark := ""
	if strings.HasPrefix(after, "-") || strings.HasPrefix(after, "+") {
		mark, after = after[:1], after[1:]
	}
	if !strings.HasPrefix(after, "%}") {
		return false
	}
	body := len(l.text) - len(after) + 2
	for from := body; ; {
		i := strings.Index(l.text[from:], "{%")
		if i < 0 {
			l.fail(start, "close it with {% endraw %}", "raw block is never closed")
		}
		end := from + i
		tail := l.text[end+2:]
		trimRight := strings.HasPrefix(tail, "-")
		tail = strings.TrimLeft(strings.TrimLeft(tail, "-+"), blanks)
		if word, ok := strings.CutPrefix(tail, "endraw"); ok {
			word = strings.TrimLeft(word, blanks)
			closing := strings.TrimLeft(word, "-+")
			if strings.HasPrefix(closing, "%}") {
				l.trim = mark == "-"
				l.literal(l.text[body:end], body, trimRight)
				l.trim = strings.HasPrefix(word, "-")
				l.pos = len(l.text) - len(closing) + 2
				return true
			}
		}
		from = end + 2
	}
}

// signs of an expression, longest first.
func sign(s string) string {
	if len(s) >= 2 {
		switch s[:2] {
		case "==", "!=", "<=", ">=", "//", "**":
			return s[:2]
		}
	}
	if strings.IndexByte("+-*/%~<>=|.,:()[]{}", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

func (l *lexer) expression(start int, end tokenKind, closer string) {
	depth := 0
	for {
		for l.pos < len(l.text) && strings.IndexByte(blanks, l.text[l.pos]) >= 0 {
			l.pos++
		}
		if l.pos >= len(l.text) {
			l.fail(start, fmt.Sprintf("close it with %q", closer), "tag is never closed")
		}
		rest := l.text[l.pos:]
		if depth == 0 {
			mark := strings.HasPrefix(rest, "-"+closer)
			if mark || strings.HasPrefix(rest, closer) || strings.HasPrefix(rest, "+"+closer) {
				l.emit(end, closer, l.pos)
				l.pos += strings.Index(rest, closer) + 2
				l.trim = mark
				return
			}
		}
		depth = l.word(rest, depth)
	}
}

// word takes one token of an expression and returns the new bracket depth.
func (l *lexer) word(rest string, depth int) int {
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '"' || r == '\'':
		l.quoted(rest)
	case r >= '0' && r <= '9':
		l.number(rest)
	case r == '_' || unicode.IsLetter(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
		l.emit(tName, rest[:n], l.pos)
		l.pos += n
	default:
		s := sign(rest)
		if s == "" {
			l.fail(l.pos, "", "unexpected character %q", r)
		}
		switch s {
		case "(", "[", "{":
			if depth++; depth > MaxNesting {
				l.fail(l.pos, "", "brackets are nested more than %d deep", MaxNesting)
			}
		case ")", "]", "}":
			if depth--; depth < 0 {
				l.fail(l.pos, "", "%q closes nothing", s)
			}
		}
		l.emit(tSign, s, l.pos)
		l.pos += len(s)
	}
	return depth
}

func (l *lexer) quoted(rest string) {
	q := rest[0]
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case q:
			l.emit(tString, unescape(rest[1:i]), l.pos)
			l.pos += i + 1
			return
		}
	}
	l.fail(l.pos, "", "string is never closed")
}

var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v",
	'\\': "\\", '\'': "'", '"': `"`, '\n': ""}

// unescape reads the escapes of a Python string; one it does not know stays.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if e, ok := escapes[s[i]]; ok {
			b.WriteString(e)
			continue
		}
		width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		if width > 0 && i+width < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+1+width], 16, 32); err == nil {
				b.WriteRune(rune(n))
				i += width
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(s[i])
	}
	return b.String()
}

func (l *lexer) number(rest string) {
	digits := func(i int) int {
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '_') {
			i++
		}
		return i
	}
	n, kind := digits(0), tInt
	if len(rest) > 1 && rest[0] == '0' && strings.IndexByte("xXoObB", rest[1]) >= 0 {
		n = 2
		for n < len(rest) && (rest[n] == '_' || strings.IndexByte("0123456789abcdefABCDEF", rest[n]) >= 0) {
			n++
		}
	} else {
		if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
			n, kind = digits(n+1), tFloat
		}
		if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
			m := n + 1
			if m < len(rest) && (rest[m] == '+' || rest[m] == '-') {
				m++
			}
			if end := digits(m); end > m {
				n, kind = end, tFloat
			}
		}
	}
	l.emit(kind, strings.ReplaceAll(rest[:n], "_", ""), l.pos)
	l.pos += n
}
