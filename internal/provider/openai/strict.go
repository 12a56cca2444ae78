package openai

import (
	"encoding/json"
	"slices"
)

// allowsStrict reports whether a schema has the form that strict output asks
// for: every object names all its properties as required and allows no other.
// Any other schema is sent as a guide and checked after the answer.
func allowsStrict(schema json.RawMessage) bool {
	var v any
	return json.Unmarshal(schema, &v) == nil && isObject(v) && strict(v)
}

func isObject(v any) bool {
	m, ok := v.(map[string]any)
	return ok && m["type"] == "object"
}

func strict(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if !strictObject(v) {
			return false
		}
		for _, child := range v {
			if !strict(child) {
				return false
			}
		}
	case []any:
		for _, child := range v {
			if !strict(child) {
				return false
			}
		}
	}
	return true
}

func strictObject(m map[string]any) bool {
	for _, word := range [...]string{"allOf", "not", "if", "patternProperties", "dependentRequired", "dependentSchemas"} {
		if _, ok := m[word]; ok {
			return false
		}
	}
	props, has := m["properties"].(map[string]any)
	if !has {
		return m["type"] != "object"
	}
	required, _ := m["required"].([]any)
	for name := range props {
		if !slices.Contains(required, any(name)) {
			return false
		}
	}
	return m["additionalProperties"] == false
}
