package spec

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "text"
}

// takes names what the key's value must be.
func (k *key) takes() string {
	switch k.kind {
	case kInt, kConcurrency:
		return "a whole number"
	case kBool:
		return "true or false"
	case kEnums, kTexts:
		return "a text or a list of texts"
	case kUSD, kPrice:
		return "an amount of US dollars"
	case kShare:
		return "a share"
	case kDeadline:
		return "a duration or a clock time"
	case kSection, kTextMap, kJSONMap, kSchema:
		return "a mapping of keys"
	case kList:
		return "a list"
	}
	return "text"
}

func shapeHint(n *yaml.Node, want yaml.Kind, k *key) string {
	switch {
	case k.example != "":
		return fmt.Sprintf("write `%s: %s`", k.name(), k.example)
	case want == yaml.MappingNode && n.Kind == yaml.SequenceNode:
		return "delete the dashes and write its keys indented below `" + k.name() + ":`"
	case want == yaml.MappingNode:
		return "write its keys indented below `" + k.name() + ":`"
	}
	return "write a list: a dash before each element, indented below `" + k.name() + ":`"
}

func noValueHint(k *key) string {
	hint := "delete the line"
	if k.need {
		hint = "give it a value"
	}
	if k.example != "" {
		return fmt.Sprintf("write `%s: %s`, or %s", k.name(), k.example, hint)
	}
	if k.need {
		return "write its keys indented below `" + k.name() + ":`"
	}
	return "give it a value, or delete the line"
}

func (k *key) available(v value) bool {
	for _, l := range k.later {
		if l == "*" || l == v.text {
			return false
		}
	}
	return true
}

func laterText(k *key, v value) string {
	if k.later[0] == "*" {
		return k.name()
	}
	return k.name() + " " + v.text
}

func laterHint(k *key) string {
	if k.later[0] == "*" {
		return "delete the line"
	}
	return "use " + k.def + ", or delete the line"
}

func firstSentence(doc string) string {
	s, _, _ := strings.Cut(doc, ". ")
	s = strings.TrimSuffix(s, ".")
	if len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// short cuts text for a message.
func short(s string) string {
	r := []rune(s)
	if len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// below is the path of a key in a mapping whose keys are free, its name cut to
// a length that can be shown.
func below(path string, kn *yaml.Node) string {
	name := kn.Value
	if len(name) > 60 {
		name = name[:60] + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// quote shows a node's value in a message, unless it may be a secret.
func (p *parser) quote(n *yaml.Node) string {
	if p.secrets.nodes[n] || p.dropped > 0 {
		return "the value"
	}
	if (n.Tag == "!!int" || n.Tag == "!!float") && n.Style&quoted == 0 && len(n.Value) <= 40 {
		return n.Value
	}
	return p.show(n.Value)
}

// show is quote for a part of a value.
func (p *parser) show(s string) string {
	if m := p.secrets.mask(s); m != s {
		return "the value"
	}
	if plainInt.MatchString(s) && len(s) < 20 {
		return s
	}
	return short(s)
}

// nearest returns the word that s was most likely meant to be, or "".
func nearest(s string, words []string) string {
	if len(s) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len([]rune(s))/3)
	norm := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "_", " ", "_").Replace(s)) }
	for _, w := range words {
		if d := editDistance(norm(s), norm(w)); d < least {
			best, least = w, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours between a and b.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range x {
		cur[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(y)]
}

// unknownKey says where a key that is not known here belongs, or which one was
// likely meant.
func (p *parser) unknownKey(kn *yaml.Node, table string) {
	name := kn.Value
	if p.dropped > 0 { // only counted: they are too many to be shown
		p.add(kn, codeUnknownKey, "", "", "")
		return
	}
	where, place := "at top level", "the top level"
	if table != "" {
		where, place = "in "+table, table
	}
	in := keys.in(table)
	names := make([]string, 0, len(in))
	for _, k := range in {
		names = append(names, k.name())
		if slices.ContainsFunc(k.wrong, func(w string) bool { return strings.EqualFold(w, name) }) {
			p.add(kn, codeUnknownKey, "", fmt.Sprintf("%s: is not a key of %s", p.quote(kn), place), "write "+k.name()+": "+firstSentence(k.doc))
			return
		}
	}
	for _, k := range keys.all {
		if k.name() == name && k.section() != table && !strings.Contains(k.path, "[]") {
			p.add(kn, codeWrongPlace, k.path, fmt.Sprintf("%s: does not stand %s; it is a key of %s", p.quote(kn), where, sectionName(k)), moveHint(k))
			return
		}
	}
	hint := "the keys of " + place + " are " + orList(names)
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	} else if k := meantElsewhere(name, table); k != nil {
		hint = "did you mean " + k.path + "?"
	}
	p.add(kn, codeUnknownKey, "", fmt.Sprintf("%s: is not a key of %s", p.quote(kn), place), hint)
}

func sectionName(k *key) string {
	if s := k.section(); s != "" {
		return s
	}
	return "the top level"
}

func moveHint(k *key) string {
	if s := k.section(); s != "" {
		return "write it indented below `" + s + ":`"
	}
	return "write it without indent"
}

// meantElsewhere is the key of another section, or of this one by one of the
// names that people write for it, that an unknown name is closest to.
func meantElsewhere(name, table string) *key {
	if len(name) > 64 || strings.HasSuffix(table, "[]") {
		return nil
	}
	for _, k := range keys.all {
		if strings.Contains(k.path, "[]") {
			continue
		}
		for _, w := range slices.Concat([]string{k.name()}, k.wrong) {
			if strings.EqualFold(w, name) || len(name) > 5 && editDistance(name, w) <= 1 {
				return k
			}
		}
	}
	return nil
}
