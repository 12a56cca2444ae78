package simulator

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxDepth      = 32 // of an answer; beyond it null stands for what a schema wants
	optionalDepth = 4  // beyond it, what a schema does not require is left out
)

// schema is a JSON Schema that answers are made from. It covers what vendors
// take: types, enum and const, properties, items, $ref, anyOf, oneOf, allOf,
// bounds of numbers, lengths and counts, and the common formats.
type schema struct{ root map[string]any }

func schemaOf(raw json.RawMessage) (*schema, error) {
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("schema must be a JSON object")
	}
	s := &schema{root: root}
	return s, s.check(root, 0)
}

var schemaTypes = []string{"object", "array", "string", "integer", "number", "boolean", "null"}

// check refuses what no answer can be made from.
func (s *schema) check(v any, depth int) error {
	m, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return nil
	}
	for _, t := range typesOf(m) {
		if !slices.Contains(schemaTypes, t) {
			return fmt.Errorf("%q is not valid under any of the given schemas", t)
		}
	}
	if ref, ok := m["$ref"].(string); ok && s.resolve(ref) == nil {
		return fmt.Errorf("reference to component %q which was not found in the schema", ref)
	}
	for _, key := range []string{"items", "anyOf", "oneOf", "allOf"} {
		if err := s.checkAll(m[key], depth); err != nil {
			return err
		}
	}
	for _, key := range []string{"properties", "$defs", "definitions"} {
		props, _ := m[key].(map[string]any)
		for _, p := range props {
			if err := s.check(p, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *schema) checkAll(v any, depth int) error {
	if list, ok := v.([]any); ok {
		for _, each := range list {
			if err := s.check(each, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return s.check(v, depth+1)
}

// strict applies the rules of the vendors' strict mode: every object closes
// itself and requires all that it names.
func (s *schema) strict() error { return strictAt(s.root, 0, true) }

// closed is strict without the rule that all is required.
func (s *schema) closed() error { return strictAt(s.root, 0, false) }

func strictAt(v any, depth int, all bool) error {
	m, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return nil
	}
	if props, isObject := m["properties"].(map[string]any); isObject {
		if closed, said := m["additionalProperties"].(bool); !said || closed {
			return fmt.Errorf("in context=(), 'additionalProperties' is required to be supplied and to be false")
		}
		required := requiredOf(m)
		for name, p := range props {
			if all && !slices.Contains(required, name) {
				return fmt.Errorf("in context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing '%s'", name)
			}
			if err := strictAt(p, depth+1, all); err != nil {
				return err
			}
		}
	}
	return strictAt(m["items"], depth+1, all)
}

func requiredOf(m map[string]any) []string {
	list, _ := m["required"].([]any)
	names := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			names = append(names, s)
		}
	}
	return names
}

func typesOf(m map[string]any) []string {
	switch t := m["type"].(type) {
	case string:
		return []string{strings.ToLower(t)} // one vendor writes them in capitals
	case []any:
		names := make([]string, 0, len(t))
		for _, v := range t {
			if s, ok := v.(string); ok {
				names = append(names, strings.ToLower(s))
			}
		}
		return names
	}
	return nil
}

func (s *schema) resolve(ref string) map[string]any {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	at := s.root
	for step := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if step == "" {
			continue
		}
		next, ok := at[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)].(map[string]any)
		if !ok {
			return nil
		}
		at = next
	}
	return at
}

// value appends a JSON value that the schema accepts.
func (s *schema) value(b []byte, c *chance) []byte { return s.at(b, c, s.root, 0) }

func (s *schema) at(b []byte, c *chance, v any, depth int) []byte {
	m, ok := v.(map[string]any)
	if !ok || depth > maxDepth {
		return append(b, "null"...)
	}
	if ref, ok := m["$ref"].(string); ok {
		return s.at(b, c, s.resolve(ref), depth+1)
	}
	if fixed, ok := m["const"]; ok {
		return appendJSON(b, fixed)
	}
	if enum, ok := m["enum"].([]any); ok && len(enum) > 0 {
		return appendJSON(b, enum[c.below(len(enum))])
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if list, ok := m[key].([]any); ok && len(list) > 0 {
			pick := c.below(len(list))
			if depth > optionalDepth {
				pick = plainest(list)
			}
			return s.at(b, c, list[pick], depth+1)
		}
	}
	if list, ok := m["allOf"].([]any); ok {
		return s.at(b, c, s.merged(m, list), depth+1)
	}
	return s.typed(b, c, m, depth)
}

// plainest picks the alternative that ends a recursion soonest.
func plainest(list []any) int {
	for i, v := range list {
		m, _ := v.(map[string]any)
		if t := typesOf(m); len(t) > 0 && t[0] != "object" && t[0] != "array" {
			return i
		}
	}
	return 0
}

func (s *schema) merged(m map[string]any, list []any) map[string]any {
	out := map[string]any{}
	props := map[string]any{}
	var required []any
	for _, v := range append(slices.Clone(list), without(m, "allOf")) {
		part, _ := v.(map[string]any)
		if ref, ok := part["$ref"].(string); ok {
			part = s.resolve(ref)
		}
		for key, val := range part {
			out[key] = val
		}
		p, _ := part["properties"].(map[string]any)
		for name, val := range p {
			props[name] = val
		}
		r, _ := part["required"].([]any)
		required = append(required, r...)
	}
	if len(props) > 0 {
		out["properties"], out["required"] = props, required
	}
	return out
}

func without(m map[string]any, key string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}

func (s *schema) typed(b []byte, c *chance, m map[string]any, depth int) []byte {
	kind := ""
	if types := typesOf(m); len(types) > 0 {
		kind = types[0]
	} else if _, ok := m["properties"]; ok {
		kind = "object"
	} else if _, ok := m["items"]; ok {
		kind = "array"
	}
	switch kind {
	case "object":
		return s.object(b, c, m, depth)
	case "array":
		return s.array(b, c, m, depth)
	case "integer":
		return strconv.AppendInt(b, wholeNumber(c, m), 10)
	case "number":
		return strconv.AppendFloat(b, realNumber(c, m), 'f', -1, 64)
	case "boolean":
		return strconv.AppendBool(b, c.below(2) == 1)
	case "null":
		return append(b, "null"...)
	}
	return stringValue(b, c, m)
}

func (s *schema) object(b []byte, c *chance, m map[string]any, depth int) []byte {
	props, _ := m["properties"].(map[string]any)
	required := requiredOf(m)
	names := make([]string, 0, len(props)+len(required))
	for name := range props {
		if depth <= optionalDepth || slices.Contains(required, name) {
			names = append(names, name)
		}
	}
	for _, name := range required {
		if _, ok := props[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range slices.Compact(names) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		p, ok := props[name]
		if !ok {
			p = m["additionalProperties"]
		}
		if _, ok := p.(map[string]any); !ok {
			p = map[string]any{"type": "string"}
		}
		b = s.at(b, c, p, depth+1)
	}
	return append(b, '}')
}

func (s *schema) array(b []byte, c *chance, m map[string]any, depth int) []byte {
	least := int(number(m, "minItems", 0))
	most := int(number(m, "maxItems", math.Max(float64(least), 3)))
	n := least
	if depth <= optionalDepth && most > least {
		n = max(least, 1) + c.below(most-max(least, 1)+1)
	}
	n = min(n, 1000)
	items := m["items"]
	if items == nil {
		items = map[string]any{"type": "string"}
	}
	unique, _ := m["uniqueItems"].(bool)
	seen := map[string]bool{}
	b = append(b, '[')
	for i, tries := 0, 0; i < n && tries < 20*n; tries++ {
		at := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		from := len(b)
		b = s.at(b, c, items, depth+1)
		if unique && seen[string(b[from:])] {
			b = b[:at]
			continue
		}
		if unique {
			seen[string(b[from:])] = true
		}
		i++
	}
	return append(b, ']')
}

func appendJSON(b []byte, v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, raw...)
}
