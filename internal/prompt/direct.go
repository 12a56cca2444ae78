package prompt

import (
	"encoding/json"
	"strings"
)

// piece is text, or a field to print as it is. Most prompts are nothing else,
// and then an item need not be decoded: only the fields used are.
type piece struct {
	text  string
	field string
	pos   int
	isVar bool
}

// directPieces returns the pieces of a template that is only text and bare
// fields, or nil.
func directPieces(body []stmt) []piece {
	out := make([]piece, 0, len(body))
	for _, x := range body {
		switch x := x.(type) {
		case textStmt:
			out = append(out, piece{text: x.text})
		case outStmt:
			name, ok := field(x.x)
			if !ok {
				return nil
			}
			out = append(out, piece{field: name, pos: posOf(x.x), isVar: true})
		default:
			return nil
		}
	}
	return out
}

func (t *Template) renderDirect(item json.RawMessage) (string, error) {
	found := newDict(len(t.direct))
	size := 0
	for b := skipSpace(item[1:]); b[0] != '}'; {
		end := stringEnd(b)
		key, wanted := t.wants(b[:end])
		b = skipSpace(skipSpace(b[end:])[1:])
		n := valueEnd(b)
		if wanted {
			v, _ := decode(b[:n])
			found.set(key, v)
			size += n
		}
		if b = skipSpace(b[n:]); b[0] == ',' {
			b = skipSpace(b[1:])
		}
	}
	var out strings.Builder
	out.Grow(min(size+len(t.src.text), MaxOutput))
	for _, p := range t.direct {
		text := p.text
		if p.isVar {
			v, ok := found.vals[p.field]
			if s, is := v.(string); ok && is {
				text = s
			} else {
				return t.renderItem(found) // to print other kinds, or to name what is missing
			}
		}
		if out.Len()+len(text) > MaxOutput {
			return t.renderItem(found) // to say so, with the place
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

// wants reports whether the quoted key is a field of a direct template.
func (t *Template) wants(quoted []byte) (string, bool) {
	key := quoted[1 : len(quoted)-1]
	for _, c := range key {
		if c == '\\' || c >= 0x80 {
			s, _ := decodeString(quoted)
			return s, true // rare: kept whether or not it is used
		}
	}
	for _, p := range t.direct {
		if p.isVar && p.field == string(key) {
			return p.field, true
		}
	}
	return "", false
}

// valueEnd returns the length of the valid JSON value that b begins with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}
