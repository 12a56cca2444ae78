package spec

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const longestExcerpt = 2000

// settle puts a finding inside the file and takes from its texts what looks
// like a secret or steers a terminal.
func (p *parser) settle(d *Diagnostic) {
	d.Line = min(max(d.Line, 1), len(p.lines))
	text := p.lines[d.Line-1]
	d.Col = min(max(d.Col, 1), utf8.RuneCountInString(text)+1)
	for _, s := range []*string{&d.Key, &d.Message, &d.Hint} {
		*s = printable(p.secrets.mask(*s))
	}
	if len(text) > longestExcerpt {
		return
	}
	before := string([]rune(text)[:d.Col-1])
	d.excerpt = printable(p.secrets.maskLine(d.Line, text))
	d.caret = min(utf8.RuneCountInString(p.secrets.mask(before)), utf8.RuneCountInString(d.excerpt))
}

// printable replaces what a terminal or a log would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}
