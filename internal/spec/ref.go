package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

const maxRefBytes = 4 << 20

var (
	fileRef = regexp.MustCompile(`^file:\S[^\n\r]*$`)
	envRef  = regexp.MustCompile(`^env:([A-Za-z_][A-Za-z0-9_]*)$`)
)

// isFileRef reports whether text is file:PATH and nothing else.
func isFileRef(s string) bool { return fileRef.MatchString(strings.TrimRight(s, "\n\r ")) }

// readRef reads the file that file:PATH names.
func (p *parser) readRef(path string, n *yaml.Node, s string) ([]byte, bool) {
	fail := func(why, hint string) ([]byte, bool) {
		p.add(n, codeFileRef, path, path+": "+why, hint)
		return nil, false
	}
	name := strings.TrimSpace(strings.TrimPrefix(strings.TrimRight(s, "\n\r "), "file:"))
	const hint = "the path is relative to the spec's folder"
	switch {
	case filepath.IsAbs(name) || strings.HasPrefix(name, "//"):
		return fail(p.show(name)+" is an absolute path, so the spec would work on one machine only", hint)
	case p.opts.ReadFile == nil:
		return fail("files cannot be read here", "write the text in place")
	}
	full := filepath.Join(p.opts.Dir, filepath.FromSlash(name))
	body, err := p.opts.ReadFile(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("the file "+p.show(full)+" does not exist", hint)
	case err != nil:
		return fail("the file "+p.show(full)+" cannot be read: "+lastCause(err), hint)
	case len(body) > maxRefBytes:
		return fail(fmt.Sprintf("the file has %d bytes; the most is %d", len(body), maxRefBytes), "shorten it")
	}
	return body, true
}

// lastCause is the innermost error, which names no path twice.
func lastCause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func (p *parser) secretRef(k *key, path string, n *yaml.Node) (value, bool) {
	if p.secrets.nodes[n] {
		return value{}, false // said when secrets were looked for
	}
	s := n.Value
	if name, ok := strings.CutPrefix(s, "file:"); ok && strings.TrimSpace(name) == name && name != "" && !strings.ContainsAny(s, "\n\r") {
		return value{text: s}, true
	}
	if envRef.MatchString(s) {
		return value{text: s}, true
	}
	what := "names no environment variable"
	if strings.HasPrefix(s, "file:") {
		what = "names no file"
	}
	p.add(n, codeSecretRef, path, path+": "+what, "write env:NAME with letters, digits and underscores, or file:PATH")
	return value{}, false
}

// schemaValue reads a JSON Schema from a mapping or a file.
func (p *parser) schemaValue(k *key, path string, n *yaml.Node) (value, bool) {
	if n.Kind == yaml.MappingNode {
		before := len(p.found)
		raw := p.json(n, path)
		if len(p.found) > before {
			return value{}, false
		}
		if len(n.Content) == 0 {
			p.add(n, codeSchema, path, path+": an empty schema says nothing about the answer", "write type and properties, or delete the line")
			return value{}, false
		}
		return value{raw: raw}, true
	}
	if n.Kind != yaml.ScalarNode || !isFileRef(n.Value) {
		p.add(n, codeType, path, path+": is "+kindOf(n)+"; it must be a mapping of keys or file:PATH", "write the JSON Schema indented below `schema:`, or schema: file:answer.schema.json")
		return value{}, false
	}
	body, ok := p.readRef(path, n, n.Value)
	if !ok {
		return value{}, false
	}
	var compact bytes.Buffer
	var whole json.RawMessage
	err := json.Unmarshal(body, &whole)
	if err == nil {
		err = json.Compact(&compact, body)
	}
	if err != nil {
		p.add(n, codeSchema, path, path+": the file is not JSON: "+jsonCause(err, body), "write a JSON Schema into it")
		return value{}, false
	}
	if b := compact.Bytes(); b[0] != '{' || len(b) == 2 {
		p.add(n, codeSchema, path, path+": the file does not hold a JSON Schema: it must be an object with keys", "write type and properties into it")
		return value{}, false
	}
	return value{raw: compact.Bytes()}, true
}

// jsonCause words a JSON error by its line, without quoting the file.
func jsonCause(err error, body []byte) string {
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := min(int(se.Offset), len(body))
		return fmt.Sprintf("line %d is wrong", 1+bytes.Count(body[:at], []byte("\n")))
	}
	return "it cannot be read"
}
