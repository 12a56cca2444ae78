package spec

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// json writes a node as JSON, keys in the order of the file, numbers by their
// literal text. What JSON cannot say is a diagnostic.
func (p *parser) json(n *yaml.Node, path string) json.RawMessage {
	var b bytes.Buffer
	p.writeJSON(&b, n, path)
	return b.Bytes()
}

func (p *parser) writeJSON(b *bytes.Buffer, n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		if isTemplate(n) {
			p.add(n, codeUnquoted, path, path+": {{ }} without quotes is a YAML mapping, not text", `quote the text: "{{ … }}"`)
			return
		}
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			kn := n.Content[i]
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, kn.Value)
			b.WriteByte(':')
			p.writeJSON(b, n.Content[i+1], below(path, kn))
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			p.writeJSON(b, c, fmt.Sprintf("%s[%d]", path, i))
		}
		b.WriteByte(']')
	case yaml.ScalarNode:
		p.writeScalar(b, n, path)
	}
}

func (p *parser) writeScalar(b *bytes.Buffer, n *yaml.Node, path string) {
	switch n.Tag {
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		if n.Value[0] == 't' || n.Value[0] == 'T' {
			b.WriteString("true")
		} else {
			b.WriteString("false")
		}
	case "!!int", "!!float":
		if !json.Valid([]byte(n.Value)) {
			p.add(n, codeNotJSON, path, fmt.Sprintf("%s: %s is a number that JSON does not have", path, p.quote(n)), "write plain digits such as 10 or 0.5, or quote it to make it text")
			return
		}
		b.WriteString(n.Value)
	default:
		writeText(b, n.Value)
	}
}

// writeText writes a JSON string without the escapes meant for HTML.
func writeText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) == nil {
		b.Truncate(b.Len() - 1)
	}
}
