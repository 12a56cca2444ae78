package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Guard says which parameters of a request a user cannot set, because the
// adapter sets them or because the call's cost would no longer be bounded. It
// is data of an adapter.
type Guard struct {
	// Own names what the adapter writes itself, with where to set it instead.
	Own map[string]string
	// Limits name the output limit; one equal to the request's is accepted.
	Limits []string
	// One names counts of answers; 1 is accepted and left out.
	One []string
	// Off names switches; false is accepted and left out.
	Off []string
	// Tools are the types of tools that bring nothing into the context. Those
	// the provider runs itself (searches, files) add input without a bound.
	Tools []string
}

// Check returns the parameters to send, without those that only repeat what is
// sent anyway. An error is of Kind Invalid and names the parameter.
func (g Guard) Check(params map[string]json.RawMessage, maxOutput int64) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage // copied on the first change
	for _, name := range slices.Sorted(maps.Keys(params)) {
		v := bytes.TrimSpace(params[name])
		drop, err := g.drop(name, string(v), maxOutput)
		if err != nil {
			return nil, err
		}
		if drop {
			if out == nil {
				out = maps.Clone(params)
			}
			delete(out, name)
		}
	}
	if out == nil {
		out = params
	}
	return out, nil
}

func (g Guard) drop(name, v string, maxOutput int64) (bool, error) {
	refuse := func(msg, hint string) (bool, error) {
		return false, &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.params." + name, Msg: msg, Hint: hint}
	}
	if hint, own := g.Own[name]; own {
		return refuse("this parameter is set by batchwright or would leave the call's cost without a bound", hint)
	}
	switch {
	case slices.Contains(g.Limits, name):
		if v != strconv.FormatInt(maxOutput, 10) {
			return refuse("the limit of output tokens is what the budget reserves", "set task.max_output_tokens instead")
		}
	case slices.Contains(g.One, name):
		if v != "1" && v != "null" {
			return refuse("every answer asked for is billed; an item gets one", "remove it")
		}
	case slices.Contains(g.Off, name):
		if v != "false" && v != "null" {
			return refuse("answers are read whole, in the foreground", "remove it")
		}
	case name == "tools":
		if !g.local(v) {
			return refuse("a tool that the provider runs adds input without a bound", "use only tools of type "+strings.Join(g.Tools, " or "))
		}
		return false, nil
	default:
		return false, nil
	}
	return true, nil
}

// local reports whether tools holds only tools of allowed types. A tool's type
// is its type field or, where it has none, its only field's name.
func (g Guard) local(tools string) bool {
	var list []map[string]json.RawMessage
	if json.Unmarshal([]byte(tools), &list) != nil {
		return false
	}
	for _, tool := range list {
		var kind string
		if raw, ok := tool["type"]; ok && json.Unmarshal(raw, &kind) != nil {
			return false
		} else if !ok {
			for kind = range tool {
				if !slices.Contains(g.Tools, kind) {
					return false
				}
			}
		}
		if !slices.Contains(g.Tools, kind) {
			return false
		}
	}
	return true
}

// Field is one name and value of a JSON object.
type Field struct {
	Name  string
	Value json.RawMessage
}

// Fields splits a JSON object into its fields, in their order. A name that
// stands twice is an error: two readers of it could see two requests.
func Fields(raw json.RawMessage) ([]Field, error) {
	bad := func(why string) ([]Field, error) {
		return nil, invalid("the request body is not a JSON object"+why, "give one object with unique names")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad("")
	}
	var out []Field
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return bad("")
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return bad("")
		}
		if slices.ContainsFunc(out, func(f Field) bool { return f.Name == name }) {
			return bad(fmt.Sprintf(": %q stands twice", printable(name, 60)))
		}
		out = append(out, Field{name, v})
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') || d.More() {
		return bad("")
	}
	return out, nil
}

// ReadOptions reads the settings an adapter knows into the variables given by
// name; what is not there is left as it is. An unknown name or a wrong type is
// an error of Kind Invalid.
func ReadOptions(c Config, into map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(c.Options)) {
		v, known := into[name]
		if !known {
			return &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.options." + name,
				Msg:  fmt.Sprintf("provider %s has no such option", c.Provider),
				Hint: "it knows: " + strings.Join(slices.Sorted(maps.Keys(into)), ", ")}
		}
		if err := json.Unmarshal(c.Options[name], v); err != nil {
			return &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.options." + name,
				Msg: "the option has the wrong type", Hint: "give " + wanted(v)}
		}
	}
	return nil
}

func wanted(v any) string {
	switch v.(type) {
	case *bool, **bool:
		return "true or false"
	case *string:
		return "a text"
	}
	return "an object"
}

// SchemaName makes a name that every vendor accepts: letters, digits, dash and
// underscore, at most 64.
func SchemaName(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "answer"
	}
	return string(b[:min(len(b), 64)])
}
