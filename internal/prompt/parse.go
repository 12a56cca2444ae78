package prompt

import (
	"slices"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Template is one parsed template. It is immutable and safe for concurrent use.
type Template struct {
	src    source
	body   []stmt
	uses   usage
	direct []piece // set when the template is only text and plain fields
}

// Parse reads a template. name is what messages call it ("job.yaml", a file's
// path). Every error is a *batch.Error of Kind Invalid whose Ref is
// name:line:col.
func Parse(name, src string) (t *Template, err error) {
	s := source{name: name, text: normalise(src)}
	if len(src) > MaxSource {
		return nil, &batch.Error{Kind: batch.Invalid, Ref: name, Msg: "template is larger than 1 MiB",
			Hint: "put the long text into the items, or shorten it"}
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*batch.Error)
			if !ok {
				panic(r)
			}
			t, err = nil, e
		}
	}()
	p := &parser{src: &s, toks: (&lexer{src: &s, text: s.text}).run()}
	t = &Template{src: s, body: p.block(nil)}
	t.uses = analyse(t.body)
	t.direct = directPieces(t.body)
	return t, nil
}

// normalise does what Jinja does before reading: newlines are \n, and the last
// one of the file is not part of the text.
func normalise(s string) string {
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return strings.TrimSuffix(s, "\n")
}

type parser struct {
	src   *source
	toks  []token
	i     int
	depth int // of blocks
	nest  int // of expressions
	loops int
}

func (p *parser) peek() token { return p.toks[p.i] }

func (p *parser) next() token {
	t := p.toks[p.i]
	if t.kind != tEnd {
		p.i++
	}
	return t
}

func (p *parser) fail(pos int, hint, format string, args ...any) {
	panic(p.src.fail(pos, hint, format, args...))
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && t.text == text
}

func (p *parser) take(kind tokenKind, text string) bool {
	ok := p.is(kind, text)
	if ok {
		p.i++
	}
	return ok
}

func (t token) String() string {
	switch t.kind {
	case tEnd:
		return "the end of the template"
	case tString:
		return "a string"
	}
	return strconv.Quote(t.text)
}

func (p *parser) want(kind tokenKind, text string) {
	if !p.take(kind, text) {
		p.fail(p.peek().pos, "", "expected %q, found %s", text, p.peek())
	}
}

// block reads statements up to a tag named in ends, which it leaves in place
// (its name is the current token), or to the end of the source.
func (p *parser) block(ends []string) []stmt {
	p.depth++
	if p.depth > MaxNesting+1 {
		p.fail(p.peek().pos, "", "blocks are nested more than %d deep", MaxNesting)
	}
	defer func() { p.depth-- }()
	var out []stmt
	for {
		t := p.next()
		switch t.kind {
		case tEnd:
			if ends != nil {
				p.fail(t.pos, "", "the template ends before {%% %s %%}", ends[len(ends)-1])
			}
			return out
		case tText:
			out = append(out, textStmt{t.text})
		case tOpen:
			out = append(out, outStmt{p.expression()})
			p.want(tClose, "}}")
		case tTag:
			name := p.peek()
			if slices.Contains(ends, name.text) {
				return out
			}
			out = append(out, p.tag())
		}
	}
}

func (p *parser) endTag() { p.want(tTagEnd, "%}") }

const tagHint = "the tags are if, for, set and raw"

func (p *parser) tag() stmt {
	t := p.next()
	if t.kind != tName {
		p.fail(t.pos, tagHint, "expected the name of a tag, found %s", t)
	}
	switch t.text {
	case "if":
		return p.ifTag()
	case "for":
		return p.forTag(t.pos)
	case "set":
		return p.setTag(t.pos)
	case "elif", "else", "endif", "endfor", "endset", "endraw":
		p.fail(t.pos, "", "%q has nothing to belong to", t.text)
	case "include", "import", "from", "extends", "macro", "call", "block", "do":
		p.fail(t.pos, tagHint, "%q is not allowed in a prompt", t.text)
	}
	p.fail(t.pos, tagHint, "there is no tag %q", t.text)
	return nil
}

func (p *parser) ifTag() stmt {
	cond := p.expression()
	p.endTag()
	s := ifStmt{cond: cond, then: p.block([]string{"elif", "else", "endif"})}
	switch p.next().text {
	case "elif":
		// An elif is an if in the else branch: depth counts it, as a chain of
		// them nests in the tree.
		p.depth++
		if p.depth > 4*MaxNesting {
			p.fail(p.peek().pos, "", "more than %d branches", 3*MaxNesting)
		}
		s.alt = []stmt{p.ifTag()}
		p.depth--
		return s
	case "else":
		p.endTag()
		s.alt = p.block([]string{"endif"})
		p.next()
	}
	p.endTag()
	return s
}

func (p *parser) target() string {
	t := p.next()
	if t.kind != tName || reserved[t.text] {
		p.fail(t.pos, "", "expected a name, found %s", t)
	}
	switch t.text {
	case "loop", "range":
		p.fail(t.pos, "choose another name", "%q cannot be set", t.text)
	}
	return t.text
}

func (p *parser) forTag(pos int) stmt {
	s := forStmt{pos: pos}
	paren := p.take(tSign, "(")
	s.names = append(s.names, p.target())
	for p.take(tSign, ",") {
		s.names = append(s.names, p.target())
	}
	if paren {
		p.want(tSign, ")")
	}
	p.want(tName, "in")
	s.over = p.or() // no inline if here: "if" filters the loop
	if p.take(tName, "if") {
		s.filter = p.expression()
	}
	if p.is(tName, "recursive") {
		p.fail(p.peek().pos, "", "recursive loops are not allowed in a prompt")
	}
	p.endTag()
	p.loops++
	s.body = p.block([]string{"else", "endfor"})
	p.loops--
	if p.next().text == "else" {
		p.endTag()
		s.none = p.block([]string{"endfor"})
		p.next()
	}
	p.endTag()
	return s
}

func (p *parser) setTag(pos int) stmt {
	s := setStmt{pos: pos, name: p.target()}
	if p.is(tSign, ".") || p.is(tSign, "[") || p.is(tSign, ",") {
		p.fail(p.peek().pos, "", "only a plain name can be set")
	}
	if p.take(tSign, "=") {
		s.x = p.tupleExpression()
		p.endTag()
		return s
	}
	if p.is(tSign, "|") {
		p.fail(p.peek().pos, "set it plainly and filter it where it is used", "a block set takes no filter")
	}
	p.endTag()
	s.body = p.block([]string{"endset"})
	p.next()
	p.endTag()
	return s
}
