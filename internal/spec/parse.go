package spec

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	maxBytes    = 1 << 20
	maxDepth    = 64
	maxFindings = 200
)

// Options are what a spec needs from outside.
type Options struct {
	// Dir is the folder that relative paths of the spec are relative to.
	Dir string
	// ReadFile reads a file that the spec names with file:PATH; the path is
	// already joined to Dir. Nil: such references are errors.
	ReadFile func(path string) ([]byte, error)
	// Providers are names of task.provider beside those the spec knows.
	Providers []string
}

// Load reads the spec at path with read (os.ReadFile in a command) and parses
// it; files that it names are read with the same function.
func Load(read func(path string) ([]byte, error), path string) (*Spec, Diagnostics) {
	src, err := read(path)
	if err != nil {
		return nil, Diagnostics{{File: path, Line: 1, Col: 1, Code: codeUnreadable, Severity: Error,
			Message: "the spec cannot be read: " + lastCause(err),
			Hint:    "check the path; `batchwright init` writes a starter spec"}}
	}
	return Parse(path, src, Options{Dir: filepath.Dir(path), ReadFile: read})
}

// Parse reads one spec. It returns every mistake of the file at once, in the
// order of the file, and a Spec only when none of them is an error. It never
// panics, follows no alias, and reads nothing but the files the spec names.
// file is the name that diagnostics carry.
func Parse(file string, src []byte, o Options) (*Spec, Diagnostics) {
	p := &parser{file: file, src: src, opts: o, spec: &Spec{File: file, Dir: o.Dir},
		at: map[string]place{}, given: map[string]value{}, secrets: newSecrets()}
	if root := p.read(); root != nil {
		p.defaults()
		if p.top(root) {
			p.check()
		}
	}
	ds := p.finish()
	if ds.Errors() > 0 {
		return nil, ds
	}
	p.spec.Places = make(Places, len(p.at))
	for key, at := range p.at {
		if n := cmp.Or(at.val, at.key); n != nil {
			p.spec.Places[key] = [2]int{n.Line, n.Column}
		}
	}
	return p.spec, ds
}

// Place is where a key's value stands in the file, lines and columns from 1. A
// key that is not there has the place of the nearest section above it, or 1, 1.
func (s *Spec) Place(key string) (line, col int) {
	for key != "" {
		if at, ok := s.Places[key]; ok {
			return at[0], at[1]
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 1, 1
}

// place is where a key stands; val is nil for a key without a value node.
type place struct{ key, val *yaml.Node }

type parser struct {
	file    string
	src     []byte
	lines   []string
	opts    Options
	spec    *Spec
	root    *yaml.Node
	at      map[string]place // by canonical key path, list elements with their index
	given   map[string]value // values that were read without an error, by canonical path
	found   Diagnostics
	dropped int // findings beyond those that are kept
	secrets secrets
}

func (p *parser) add(n *yaml.Node, code Code, key, msg, hint string) {
	line, col := 1, 1
	if n != nil {
		line, col = n.Line, n.Column
	}
	p.addAt(line, col, code, key, msg, hint)
}

func (p *parser) addAt(line, col int, code Code, key, msg, hint string) {
	if len(p.found) >= 4*maxFindings {
		p.dropped++
		return
	}
	sev := Error
	if strings.HasPrefix(string(code), "E14") {
		sev = Warning
	}
	p.found = append(p.found, Diagnostic{File: p.file, Line: line, Col: col, Code: code, Severity: sev, Key: key, Message: msg, Hint: hint})
}

// finish sorts the findings, bounds their number, keeps their places inside the
// file, and takes whatever looks like a secret out of every text.
func (p *parser) finish() Diagnostics {
	ds := p.found
	ds.sort()
	ds = slices.CompactFunc(ds, func(a, b Diagnostic) bool { return a == b })
	if more := len(ds) + p.dropped - maxFindings; more > 0 {
		last := ds[maxFindings-1]
		ds = append(ds[:maxFindings:maxFindings], Diagnostic{File: p.file, Line: last.Line, Col: last.Col, Code: codeTooMany, Severity: Error,
			Message: fmt.Sprintf("%d more findings are not shown", more), Hint: "correct those above first"})
	}
	if p.lines == nil {
		p.lines = splitLines(p.src)
	}
	for i := range ds {
		p.settle(&ds[i])
	}
	return ds
}

// defaults fills in every default of the table, and "no limit" where a limit
// has none.
func (p *parser) defaults() {
	p.spec.Budget = Budget{-1, -1, -1, -1}
	for _, k := range keys.all {
		if k.def == "" {
			continue
		}
		var doc yaml.Node
		if err := yaml.Load([]byte(k.def), &doc); err != nil {
			continue
		}
		if v, ok := p.decode(k, k.path, doc.Content[0]); ok {
			k.set(p.spec, v)
		}
	}
}

// top reads the whole document, which must be a mapping.
func (p *parser) top(root *yaml.Node) bool {
	p.root = root
	if root.Kind != yaml.MappingNode {
		p.add(root, codeType, "", "a spec is a mapping of keys, not "+kindOf(root), "begin with `job:`")
		return false
	}
	p.section(root, "", "")
	return true
}

// section reads the keys of a mapping. table is the section's path in the
// table, shown is its path with list indexes.
func (p *parser) section(n *yaml.Node, table, shown string) {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		if kn.Kind != yaml.ScalarNode || kn.Tag == "!!merge" || kn.Tag == "!!null" || seen[kn.Value] {
			continue // said by the walk over the nodes
		}
		seen[kn.Value] = true
		k := keys.find(table, kn.Value)
		if k == nil {
			p.unknownKey(kn, table)
			continue
		}
		path := k.path
		if shown != table {
			path = shown + "." + k.name()
		}
		if first, twice := p.at[path]; twice {
			p.add(kn, codeTwoPlaces, path, fmt.Sprintf("%s: given twice, at %s and at %s", path, p.ref(first.key), p.ref(kn)),
				"a section stands either at top level or inside job; delete one of the two")
			continue
		}
		p.at[path] = place{kn, vn}
		p.value(k, path, kn, vn)
	}
	p.missing(n, table, shown, seen)
}

func (p *parser) ref(n *yaml.Node) string { return fmt.Sprintf("line %d", n.Line) }

// missing reports the keys without which a section is not complete.
func (p *parser) missing(n *yaml.Node, table, shown string, seen map[string]bool) {
	for _, k := range keys.bySection[table] {
		if !k.need || seen[k.name()] {
			continue
		}
		if _, inJob := p.at[k.path]; inJob && shown == table {
			continue
		}
		path := k.path
		if shown != table {
			path = shown + "." + k.name()
		}
		where := n
		if pl, ok := p.at[shown]; ok {
			where = pl.key
		}
		hint := "add the section `" + k.name() + ":`"
		if k.example != "" {
			hint = fmt.Sprintf("add `%s: %s`", k.name(), k.example)
		}
		p.add(where, codeMissing, path, path+": is missing; "+firstSentence(k.doc), hint)
	}
}

// value reads the value of one known key.
func (p *parser) value(k *key, path string, kn, vn *yaml.Node) {
	if vn.Kind == yaml.AliasNode || vn.Kind == yaml.ScalarNode && vn.Style&yaml.TaggedStyle != 0 {
		return // said by the walk over the nodes
	}
	if vn.Kind == yaml.ScalarNode && vn.Tag == "!!null" {
		p.add(kn, codeNoValue, path, path+": has no value", noValueHint(k))
		return
	}
	switch k.kind {
	case kSection:
		if p.want(vn, yaml.MappingNode, k, path) {
			p.section(vn, k.path, path)
		}
	case kList:
		p.list(k, path, vn)
	case kConcurrency:
		if vn.Kind == yaml.MappingNode {
			p.section(vn, k.path, path)
			return
		}
		p.keep(k, path, vn)
	default:
		p.keep(k, path, vn)
	}
}

func (p *parser) keep(k *key, path string, vn *yaml.Node) {
	v, ok := p.decode(k, path, vn)
	if !ok {
		return
	}
	p.given[path] = v
	if !k.available(v) {
		p.add(vn, codeLater, path, path+": "+laterText(k, v)+" is not available in this version", laterHint(k))
		return
	}
	k.set(p.spec, v)
}

// list reads a list of mappings, one element of the spec's slice each.
func (p *parser) list(k *key, path string, vn *yaml.Node) {
	if !p.want(vn, yaml.SequenceNode, k, path) {
		return
	}
	if len(vn.Content) == 0 {
		p.add(vn, codeNoValue, path, path+": is an empty list", noValueHint(k))
	}
	for i, el := range vn.Content {
		shown := fmt.Sprintf("%s[%d]", path, i)
		if k.path == "tests" {
			p.spec.Tests = append(p.spec.Tests, Test{})
		} else {
			p.spec.Task.Messages = append(p.spec.Task.Messages, Message{})
		}
		p.at[shown] = place{el, el}
		if el.Kind != yaml.MappingNode {
			if el.Kind != yaml.AliasNode {
				p.add(el, codeType, shown, shown+": is "+kindOf(el)+"; it must be a mapping of keys", "write its keys below the dash")
			}
			continue
		}
		p.section(el, k.path+"[]", shown)
	}
}

// want reports a value of another sort than the key takes.
func (p *parser) want(n *yaml.Node, kind yaml.Kind, k *key, path string) bool {
	if n.Kind == kind {
		return true
	}
	words := map[yaml.Kind]string{yaml.MappingNode: "a mapping of keys", yaml.SequenceNode: "a list", yaml.ScalarNode: k.takes()}
	p.add(n, codeType, path, fmt.Sprintf("%s: is %s; it must be %s", path, kindOf(n), words[kind]), shapeHint(n, kind, k))
	return false
}
