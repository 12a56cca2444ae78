package httpjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/batchwright/batchwright/internal/provider"
)

// template is a JSON value cut into literal bytes and the places between them.
type template []piece

// piece is literal bytes, or the name of a value. A value that is the whole of
// a string keeps its JSON type; inside a longer string it becomes text.
type piece struct {
	literal []byte
	name    string
	inside  bool
}

var place = regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}`)

// names besides item.FIELD.
var names = map[string]bool{"prompt": true, "system": true, "model": true, "max_output_tokens": true, "messages": true, "schema": true, "item": true}

func compile(raw json.RawMessage) (template, error) {
	const ref = "task.options.request"
	if len(raw) == 0 {
		return nil, bad(ref, "the http provider needs a request template", `set task.options.request, like {"prompt": "{{ prompt }}"}`)
	}
	var flat bytes.Buffer
	if json.Compact(&flat, raw) != nil {
		return nil, bad(ref, "the request template is not valid JSON", "write it as one JSON or YAML value")
	}
	var t template
	for src := flat.Bytes(); len(src) > 0; {
		at := place.FindSubmatchIndex(src)
		if at == nil {
			return append(t, piece{literal: src}), nil
		}
		name := string(src[at[2]:at[3]])
		if field, ok := strings.CutPrefix(name, "item."); !(ok && field != "") && !names[name] {
			return nil, bad(ref, fmt.Sprintf("{{ %s }} names nothing", name),
				"use prompt, system, model, max_output_tokens, messages, schema, item or item.FIELD")
		}
		whole := at[0] > 0 && src[at[0]-1] == '"' && at[1] < len(src) && src[at[1]] == '"' && !isName(src, at[1]+1)
		from, to := at[0], at[1]
		if whole {
			from, to = from-1, to+1
		}
		t = append(t, piece{literal: src[:from]}, piece{name: name, inside: !whole})
		src = src[to:]
	}
	return t, nil
}

// isName reports whether the string that ends before i is the name of a field:
// a value there has to stay a string.
func isName(src []byte, i int) bool { return i < len(src) && src[i] == ':' }

func (t template) render(r provider.Request) ([]byte, error) {
	var b bytes.Buffer
	v := values{request: r}
	for _, p := range t {
		if p.name == "" {
			b.Write(p.literal)
			continue
		}
		raw, err := v.value(p.name)
		if err != nil {
			return nil, err
		}
		if !p.inside {
			if json.Compact(&b, raw) != nil {
				return nil, bad(p.name, "the value is not valid JSON", "check the item")
			}
			continue
		}
		b.Write(within(raw))
	}
	if !json.Valid(b.Bytes()) {
		return nil, bad("task.options.request", "the rendered request is not valid JSON", "put every {{ … }} inside a string")
	}
	return b.Bytes(), nil
}

// within is a value as part of a JSON string: the inside of a string, or the
// text of any other value, escaped.
func within(raw json.RawMessage) []byte {
	raw = bytes.TrimSpace(raw)
	if !provider.JSONText(raw) {
		raw = quote(string(raw))
	}
	return raw[1 : len(raw)-1]
}

// values are what a template can name.
type values struct {
	request provider.Request
	item    any
	read    bool
}

func (v *values) value(name string) (json.RawMessage, error) {
	r := &v.request
	switch name {
	case "model":
		return quote(r.Model), nil
	case "system":
		return quote(r.System), nil
	case "max_output_tokens":
		return json.RawMessage(fmt.Sprint(r.MaxOutputTokens)), nil
	case "schema":
		if len(r.Schema) == 0 {
			return json.RawMessage("null"), nil
		}
		return r.Schema, nil
	case "messages":
		o := provider.NewObject(256)
		o.List("m")
		for _, m := range r.Messages {
			o.Element()
			o.Text("role", m.Role)
			o.Raw("content", m.Content)
			o.Close()
		}
		o.EndList()
		b, err := o.Bytes()
		if err != nil {
			return nil, err
		}
		return b[len(`{"m":`) : len(b)-1], nil
	case "prompt":
		return v.prompt()
	}
	return v.field(name)
}

// prompt is the text of all user messages.
func (v *values) prompt() (json.RawMessage, error) {
	var texts []string
	for _, m := range v.request.Messages {
		if m.Role != "user" {
			continue
		}
		parts, err := provider.PartsOf(m.Content)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			if p.Kind != "text" {
				return nil, bad("prompt", "{{ prompt }} is text, and the message holds a "+p.Kind+" part", "use {{ messages }}")
			}
			texts = append(texts, p.Text)
		}
	}
	return quote(strings.Join(texts, "\n\n")), nil
}

func (v *values) field(name string) (json.RawMessage, error) {
	if !v.read {
		d := json.NewDecoder(bytes.NewReader(v.request.Fields))
		d.UseNumber()
		if d.Decode(&v.item) != nil {
			return nil, bad("item", "the item is not a JSON object", "check the input")
		}
		v.read = true
	}
	at := v.item
	for _, key := range strings.Split(name, ".")[1:] {
		m, ok := at.(map[string]any)
		if ok {
			at, ok = m[key]
		}
		if !ok {
			return nil, bad(name, "the item has no such field", "add the field to the item, or take it out of task.options.request")
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(at) != nil {
		return nil, bad(name, "the field cannot be sent", "check the item")
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

func quote(s string) json.RawMessage {
	o := provider.NewObject(len(s) + 16)
	o.Text("v", s)
	b, _ := o.Bytes() // text never fails
	return b[len(`{"v":`) : len(b)-1]
}
