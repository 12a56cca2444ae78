package spec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// decode reads one value as the table says. False: it was wrong and said so.
func (p *parser) decode(k *key, path string, n *yaml.Node) (value, bool) {
	switch k.kind {
	case kEnums, kTexts:
		return p.texts(k, path, n)
	case kTextMap:
		return p.textMap(k, path, n)
	case kJSONMap:
		return p.jsonMap(k, path, n)
	case kSchema:
		return p.schemaValue(k, path, n)
	}
	if n.Kind != yaml.ScalarNode {
		if k.kind == kProse && isTemplate(n) {
			p.add(n, codeUnquoted, path, path+": {{ }} without quotes is a YAML mapping, not text", `quote the text: "{{ … }}", or put it below `+"`|`")
			return value{}, false
		}
		return value{}, p.want(n, yaml.ScalarNode, k, path)
	}
	return p.scalar(k, path, n)
}

// isTemplate reports whether a mapping is what YAML makes of {{ name }}.
func isTemplate(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) == 2 &&
		n.Content[0].Kind == yaml.MappingNode && n.Content[0].Style&yaml.FlowStyle != 0
}

func (p *parser) scalar(k *key, path string, n *yaml.Node) (value, bool) {
	switch k.kind {
	case kInt, kConcurrency:
		return p.whole(k, path, n)
	case kBool:
		return p.boolean(k, path, n)
	case kUSD, kPrice:
		return p.dollars(k, path, n)
	case kShare:
		return p.share(k, path, n)
	case kDeadline:
		return p.deadline(k, path, n)
	case kProse:
		return p.prose(k, path, n)
	case kSecretRef:
		return p.secretRef(k, path, n)
	}
	s, ok := p.text(k, path, n)
	if !ok {
		return value{}, false
	}
	check, has := textChecks[k.kind]
	if !has {
		return value{text: s}, true
	}
	if code, why, hint := check(k, s, p); why != "" {
		p.add(n, code, path, path+": "+why, hint)
		return value{}, false
	}
	return value{text: s}, true
}

// text reads a scalar that must be text: not a number, not a boolean, not empty.
func (p *parser) text(k *key, path string, n *yaml.Node) (string, bool) {
	switch n.Tag {
	case "!!int", "!!float", "!!bool":
		p.add(n, codeType, path, fmt.Sprintf("%s: %s is %s; it must be %s", path, p.quote(n), kindOf(n), k.takes()), fmt.Sprintf("write it in quotes: %q", n.Value))
		return "", false
	}
	s := n.Value
	switch {
	case strings.TrimSpace(s) == "" && k.kind != kDelimiter:
		p.add(n, codeNoValue, path, path+": is empty text", noValueHint(k))
		return "", false
	case k.kind != kProse && strings.ContainsAny(s, "\n\r"):
		p.add(n, codeText, path, path+": has more than one line; it must be one line of text", "write it on one line")
		return "", false
	case k.kind != kProse && s != strings.TrimSpace(s) && k.kind != kDelimiter:
		p.add(n, codeText, path, path+": begins or ends with a space", "delete the space")
		return "", false
	case strings.ContainsRune(s, 0):
		p.add(n, codeText, path, path+": contains a zero character", "delete it")
		return "", false
	}
	return s, true
}

func (p *parser) whole(k *key, path string, n *yaml.Node) (value, bool) {
	s := n.Value
	if why, fix := notWhole(n); why != "" {
		hint := fmt.Sprintf("use a whole number from %d to %d, in plain digits", k.min, k.max)
		if fix != "" {
			hint = "write " + fix
		}
		p.add(n, codeNotWhole, path, fmt.Sprintf("%s: %s is %s; it must be a whole number", path, p.quote(n), why), hint)
		return value{}, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	bounds := fmt.Sprintf("use a whole number from %d to %d", k.min, k.max)
	if k.def != "" {
		bounds += "; left out it is " + k.def
	}
	switch {
	case err == nil && v < k.min, strings.HasPrefix(s, "-"):
		p.add(n, codeRange, path, fmt.Sprintf("%s: %s is too small; the least is %d", path, s, k.min), bounds)
	case err != nil || v > k.max:
		if k.path == "version" {
			bounds = "this program reads version 1; a newer one may read it"
		}
		p.add(n, codeRange, path, fmt.Sprintf("%s: %s is too large; the most is %d", path, p.quote(n), k.max), bounds)
	default:
		return value{n: v}, true
	}
	return value{}, false
}

func (p *parser) boolean(k *key, path string, n *yaml.Node) (value, bool) {
	if n.Tag == "!!bool" && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 {
		return value{yes: strings.EqualFold(n.Value, "true")}, true
	}
	hint := "write true or false"
	switch strings.ToLower(n.Value) {
	case "yes", "on", "y", "1", "true":
		hint = "write true, without quotes"
	case "no", "off", "n", "0", "false":
		hint = "write false, without quotes"
	}
	p.add(n, codeType, path, fmt.Sprintf("%s: %s is %s; it must be true or false", path, p.quote(n), kindOf(n)), hint)
	return value{}, false
}

// texts reads one text or a list of texts, each at most once.
func (p *parser) texts(k *key, path string, n *yaml.Node) (value, bool) {
	nodes := []*yaml.Node{n}
	switch n.Kind {
	case yaml.SequenceNode:
		nodes = n.Content
	case yaml.MappingNode:
		p.add(n, codeType, path, path+": is a mapping; it must be "+k.takes(), "write a list: "+k.example)
		return value{}, false
	}
	if len(nodes) == 0 {
		p.add(n, codeNoValue, path, path+": is an empty list", noValueHint(k))
		return value{}, false
	}
	var out []string
	seen, ok := map[string]bool{}, true
	for i, el := range nodes {
		at := path
		if n.Kind == yaml.SequenceNode {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		s, good := p.element(k, at, el)
		if good && seen[s] {
			p.add(el, codeDuplicate, at, fmt.Sprintf("%s: %s stands in the list twice", at, p.quote(el)), "delete one of the two")
			good = false
		}
		seen[s], ok = true, ok && good
		out = append(out, s)
	}
	return value{texts: out}, ok
}

func (p *parser) element(k *key, at string, el *yaml.Node) (string, bool) {
	if el.Kind == yaml.AliasNode {
		return "", false
	}
	if el.Kind != yaml.ScalarNode || el.Tag == "!!null" {
		p.add(el, codeType, at, at+": is "+kindOf(el)+"; it must be text", "write a list of texts: "+k.example)
		return "", false
	}
	s, ok := p.text(k, at, el)
	if ok && k.kind == kEnums {
		if code, why, hint := oneOf(k, s, p); why != "" {
			p.add(el, code, at, at+": "+why, hint)
			return "", false
		}
	}
	return s, ok
}

func (p *parser) textMap(k *key, path string, n *yaml.Node) (value, bool) {
	if !p.want(n, yaml.MappingNode, k, path) {
		return value{}, false
	}
	out, ok := map[string]string{}, true
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		if kn.Kind != yaml.ScalarNode || vn.Kind == yaml.AliasNode {
			ok = false
			continue
		}
		at := below(path, kn)
		switch {
		case vn.Kind != yaml.ScalarNode || vn.Tag == "!!null":
			p.add(vn, codeType, at, at+": is "+kindOf(vn)+"; it must be text", "write text in quotes")
			ok = false
		case k.path == "task.headers" && !validHeader(kn.Value, vn.Value):
			p.add(kn, codeText, at, at+": is not an HTTP header that can be sent", "a header's name has letters, digits and dashes; its value is one line")
			ok = false
		default:
			s, good := p.text(k, at, vn)
			out[kn.Value], ok = s, ok && good
		}
	}
	if len(out) == 0 && ok {
		p.add(n, codeNoValue, path, path+": is an empty mapping", noValueHint(k))
		return value{}, false
	}
	return value{pairs: out}, ok
}

func (p *parser) jsonMap(k *key, path string, n *yaml.Node) (value, bool) {
	if !p.want(n, yaml.MappingNode, k, path) {
		return value{}, false
	}
	before := len(p.found)
	out := map[string]json.RawMessage{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if kn := n.Content[i]; kn.Kind == yaml.ScalarNode {
			out[kn.Value] = p.json(n.Content[i+1], below(path, kn))
		}
	}
	raw := p.json(n, path)
	if len(p.found) > before {
		return value{}, false
	}
	if len(out) == 0 && k.path != "tests[].item" {
		p.add(n, codeNoValue, path, path+": is an empty mapping", noValueHint(k))
		return value{}, false
	}
	return value{raws: out, raw: raw}, true
}

func (p *parser) prose(k *key, path string, n *yaml.Node) (value, bool) {
	s, ok := p.text(k, path, n)
	if !ok || !isFileRef(s) {
		return value{text: s}, ok
	}
	body, ok := p.readRef(path, n, s)
	switch {
	case !ok:
	case !utf8.Valid(body):
		p.add(n, codeFileRef, path, path+": the file is not UTF-8 text", "save it as UTF-8")
	case strings.TrimSpace(string(body)) == "":
		p.add(n, codeFileRef, path, path+": the file is empty", "write the text into it")
	case isFileRef(string(body)):
		p.add(n, codeFileRef, path, path+": the file holds another file: reference", "name the file with the text itself")
	default:
		return value{text: string(body)}, true
	}
	return value{}, false
}
