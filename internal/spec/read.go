package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// read turns the bytes into the one document's root node and judges everything
// that holds for any YAML file of ours. It returns nil when there is nothing
// to go on with.
func (p *parser) read() *yaml.Node {
	if !p.bytes() {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(jsonEscapes(p.src)), yaml.WithV4Defaults(), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(4*maxDepth))))
	if err != nil {
		p.addAt(1, 1, codeSyntax, "", "the file cannot be read as YAML", "")
		return nil
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		p.addAt(1, 1, codeEmpty, "", "the file is empty", "`batchwright init` writes a starter spec")
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	var second yaml.Node
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(err)
		return nil
	default:
		p.add(&second, codeDocuments, "", "a second YAML document begins here; a spec is one", "delete the --- line, or put the other document into a file of its own")
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" && doc.Content[0].Kind == yaml.ScalarNode {
		p.addAt(1, 1, codeEmpty, "", "the file holds nothing", "`batchwright init` writes a starter spec")
		return nil
	}
	root := doc.Content[0]
	p.findSecrets(root, "", false)
	p.secrets.seal()
	if !p.walk(root, 1) {
		return nil
	}
	return root
}

var escape = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)`)

// jsonEscapes makes a spec in JSON readable as YAML, which it is but for one
// thing: JSON may write a character as a pair of escapes.
func jsonEscapes(src []byte) []byte {
	if !bytes.Contains(bytes.ToLower(src), []byte(`\ud`)) || !json.Valid(src) {
		return src
	}
	return escape.ReplaceAllFunc(src, func(e []byte) []byte {
		if len(e) != 12 {
			return e
		}
		hi, err1 := strconv.ParseUint(string(e[2:6]), 16, 16)
		lo, err2 := strconv.ParseUint(string(e[8:]), 16, 16)
		if err1 != nil || err2 != nil {
			return e
		}
		return fmt.Appendf(nil, `\U%08X`, utf16.DecodeRune(rune(hi), rune(lo)))
	})
}

// bytes judges the file before YAML does. False: it cannot be read on.
func (p *parser) bytes() bool {
	if len(p.src) > maxBytes {
		p.addAt(1, 1, codeTooLarge, "", fmt.Sprintf("the file has %d bytes; a spec has at most %d", len(p.src), maxBytes), "put long prompts into files of their own: prompt: file:prompt.md")
		return false
	}
	if bytes.HasPrefix(p.src, []byte("\xff\xfe")) || bytes.HasPrefix(p.src, []byte("\xfe\xff")) {
		p.addAt(1, 1, codeNotUTF8, "", "the file is UTF-16", "save it as UTF-8")
		return false
	}
	if bytes.HasPrefix(p.src, []byte("\xef\xbb\xbf")) {
		p.addAt(1, 1, codeBOM, "", "the file begins with a byte order mark", "save it as UTF-8 without BOM")
		p.src = p.src[3:]
	}
	p.lines = splitLines(p.src)
	for i, line := range p.lines {
		col := 0
		for at, r := range line {
			col++
			if r == utf8.RuneError && !strings.HasPrefix(line[at:], "\ufffd") {
				p.addAt(i+1, col, codeNotUTF8, "", "the file is not UTF-8 from here on", "save it as UTF-8")
				return false
			}
			if refused(r) {
				p.addAt(i+1, col, codeControl, "", fmt.Sprintf("the control character U+%04X", r), fmt.Sprintf("delete it; text in double quotes can say \\u%04X", r))
				return false
			}
		}
		if strings.HasPrefix(line, "%") && i == 0 {
			p.addAt(1, 1, codeDirective, "", "a YAML directive; a spec has none", "delete the line")
			return false
		}
	}
	return true
}

// refused reports characters that no spec contains unescaped: controls, and the
// marks that some readers take for the end of a line and others do not.
func refused(r rune) bool {
	return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

func splitLines(src []byte) []string {
	s := strings.ReplaceAll(string(src), "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	lines := strings.Split(s, "\n")
	if len(lines) > 1 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// syntax words a YAML error for people: where it is, what was likely meant.
func (p *parser) syntax(err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		p.addAt(1, 1, codeSyntax, "", "the file cannot be read as YAML", "")
		return
	}
	mark, line := le.Mark, ""
	if mark.Line >= 1 && mark.Line <= len(p.lines) {
		line = p.lines[mark.Line-1]
	}
	if p.tabAt(mark, line) {
		return
	}
	msg, ctx := le.Message, le.ContextMark
	switch {
	case strings.Contains(msg, "max depth"):
		p.addAt(mark.Line, mark.Column, codeDepth, "", fmt.Sprintf("mappings and lists stand more than %d deep in each other", maxDepth), "write less nesting")
	case strings.Contains(msg, "unknown anchor"):
		p.addAt(mark.Line, mark.Column, codeAlias, "", "a YAML alias; a spec has none", "write the value out, or quote the text if it begins with *")
	case strings.Contains(msg, "unexpected end of stream") && ctx.Line > 0:
		p.addAt(ctx.Line, ctx.Column, codeSyntax, "", "text in quotes begins here and never ends", "close the quotes")
	case strings.Contains(msg, "mapping values are not allowed"):
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "a colon where no key can stand", "quote text that holds a colon and a space; check the indent of the line")
	case strings.Contains(msg, "did not find expected ',' or"):
		p.addAt(ctx.Line, ctx.Column, codeSyntax, "", "a bracket or brace opens here and is not closed", p.braceHint(ctx, line))
	case strings.Contains(msg, "cannot start any token"):
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "text cannot begin with this character", "quote the text")
	case strings.Contains(le.ContextMsg, "scanning an alias"), strings.Contains(le.ContextMsg, "scanning an anchor"):
		col := ctx.Column
		if at := strings.IndexAny(line, "*&"); at >= 0 && ctx.Line == mark.Line {
			col = utf8.RuneCountInString(line[:at]) + 1
		}
		p.addAt(ctx.Line, col, codeSyntax, "", "text that begins with * or & is not text to YAML", `quote it, as in "*/5 * * * *"`)
	case strings.Contains(msg, "did not find expected key") && strings.Contains(line, "{{"):
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "text goes on after a closing brace", p.braceHint(mark, line))
	case strings.Contains(msg, "did not find expected key"), strings.Contains(msg, "did not find expected '-' indicator"):
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "the indent fits nothing above it, or text in quotes goes on after its end", "indent keys of one section alike, by spaces")
	case strings.Contains(msg, "could not find expected ':'"):
		p.addAt(ctx.Line, ctx.Column, codeSyntax, "", "a key without a colon", "write `key: value`; indent text that goes on below a key, or put it below `|`")
	case strings.Contains(msg, "escape"):
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "a backslash before a character that it does not go with", `write \\ for a backslash, or use single quotes`)
	default:
		p.addAt(mark.Line, mark.Column, codeSyntax, "", "not YAML: "+msg, "check indent and quotes here and in the line above")
	}
}

func (p *parser) braceHint(ctx yaml.Mark, line string) string {
	if ctx.Line >= 1 && ctx.Line <= len(p.lines) {
		line += p.lines[ctx.Line-1]
	}
	if strings.Contains(line, "{{") || strings.Contains(line, "{%") {
		return `quote text that begins with a brace: "{{ text }} …", or put it below ` + "`|`"
	}
	return "close it, or quote the text"
}

// tabAt reports a tab in the indent of the line that YAML stopped at.
func (p *parser) tabAt(mark yaml.Mark, line string) bool {
	for n := mark.Line; n >= max(1, mark.Line-1) && n <= len(p.lines); n-- {
		indent := p.lines[n-1][:len(p.lines[n-1])-len(strings.TrimLeft(p.lines[n-1], " \t"))]
		if at := strings.IndexByte(indent, '\t'); at >= 0 {
			p.addAt(n, at+1, codeTab, "", "a tab in the indent; YAML indents by spaces only", "replace tabs by two spaces each")
			return true
		}
	}
	return false
}

// walk judges the tree for what holds everywhere: depth, anchors, aliases,
// merges, tags, keys that are no text, and keys that stand twice. False: it is
// too deep to go on.
func (p *parser) walk(n *yaml.Node, depth int) bool {
	if depth > maxDepth {
		p.add(n, codeDepth, "", fmt.Sprintf("mappings and lists stand more than %d deep in each other", maxDepth), "write less nesting")
		return false
	}
	if n.Kind == yaml.AliasNode {
		p.add(n, codeAlias, "", "a YAML alias; a spec has none", "write the value out, or quote the text if it begins with *")
		return true
	}
	if n.Anchor != "" {
		p.add(n, codeAlias, "", "a YAML anchor; a spec has none", "delete it, or quote the text if it begins with &")
	}
	if n.Style&yaml.TaggedStyle != 0 || n.Tag == "!" {
		p.add(n, codeTag, "", "a YAML tag; a spec has none", "delete it, or quote the text if it begins with !")
	}
	if n.Kind == yaml.MappingNode {
		p.walkKeys(n)
	}
	for _, c := range n.Content {
		if !p.walk(c, depth+1) {
			return false
		}
	}
	return true
}

func (p *parser) walkKeys(n *yaml.Node) {
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn := n.Content[i]
		switch {
		case kn.Kind == yaml.AliasNode:
		case kn.Kind != yaml.ScalarNode:
			if !isTemplate(n) {
				p.add(kn, codeKeyNotText, "", "a key must be text, not "+kindOf(kn), "write a name before the colon; quote text that begins with [ or {")
			}
		case kn.Tag == "!!merge":
			p.add(kn, codeMerge, "", "a YAML merge key; a spec has none", "write the keys out")
		case kn.Tag == "!!null":
			p.add(kn, codeKeyNotText, "", "a key is empty", "write a name before the colon")
		case first[kn.Value] != nil:
			p.add(kn, codeDuplicate, "", fmt.Sprintf("%s: stands twice, first at line %d", p.quote(kn), first[kn.Value].Line), "delete one of the two")
		default:
			first[kn.Value] = kn
		}
	}
}
