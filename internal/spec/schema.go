package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// object is a JSON object being built; its keys come out sorted.
type object = map[string]any

// Schema is the JSON Schema (draft 2020-12) of a spec, made from the table of
// keys: what editors complete and check by. It knows shapes, ranges and which
// keys belong together; what needs the tz database, files or exact arithmetic
// only Parse knows.
func Schema() []byte {
	defs := object{}
	for _, k := range keys.bySection[""] {
		if k.floats {
			defs[k.name()] = k.schema()
		}
	}
	root := sectionSchema("")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "batchwright job spec"
	root["$defs"] = defs
	root["required"] = []string{"job"} // task may stand in job
	root["allOf"] = append(onlyOnce(), inOnePlace("task"),
		object{"anyOf": []any{has("input"), inJob(has("input")), inJob(has("input_manifest_s3_uri"))}})
	var b bytes.Buffer
	if err := encode(&b, root); err != nil {
		panic("spec: " + err.Error())
	}
	return b.Bytes()
}

func has(names ...string) object { return object{"required": names} }
func inJob(rule object) object {
	return object{"required": []string{"job"}, "properties": object{"job": rule}}
}

func inOnePlace(name string) object { return object{"anyOf": []any{has(name), inJob(has(name))}} }

// onlyOnce refuses a section both at top level and in job.
func onlyOnce() []any {
	var rules []any
	for _, k := range keys.bySection[""] {
		if k.floats {
			rules = append(rules, object{"not": object{"allOf": []any{has(k.name()), inJob(has(k.name()))}}})
		}
	}
	return rules
}

func sectionSchema(section string) object {
	props, need := object{}, []string{}
	for _, k := range keys.in(section) {
		if k.floats {
			props[k.name()] = object{"$ref": "#/$defs/" + k.name()}
		} else {
			props[k.name()] = k.schema()
		}
		if k.need && k.section() == section {
			need = append(need, k.name())
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": props, "minProperties": 1}
	if len(need) > 0 {
		s["required"] = need
	}
	if section == "task" {
		s["allOf"] = taskRules()
	}
	return s
}

// taskRules are the rules of check.go that one section can say alone.
func taskRules() []any {
	when := func(names []string, then object) object {
		return object{"if": object{"properties": object{"provider": object{"enum": names}}}, "then": then}
	}
	return []any{
		object{"not": has("prompt", "messages")},
		when([]string{"openai", "anthropic", "gemini"}, has("api_key")),
		when([]string{"openai_compatible", "http"}, has("base_url")),
		when([]string{"anthropic", "gemini", "http", "sim"}, object{"not": has("endpoint")}),
	}
}

func (k *key) schema() object {
	s := k.shape()
	s["description"] = strings.ReplaceAll(k.doc, "`", "")
	if v, ok := literal(k.def); ok {
		s["default"] = v
	}
	if v, ok := literal(k.example); ok {
		s["examples"] = []any{v}
	}
	return s
}

// literal is a default or an example of the table as a JSON value.
func literal(text string) (json.RawMessage, bool) {
	if text == "" {
		return nil, false
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(text), &doc); err != nil {
		return nil, false
	}
	p := &parser{secrets: newSecrets()}
	return p.json(doc.Content[0], ""), true
}

func textShape(pattern string) object { return object{"type": "string", "pattern": pattern} }

const (
	oneLine     = `^\S([^\n\r]*\S)?$`
	anyText     = `\S`
	fileText    = `^file:\S`
	clockOrSpan = `^(([01][0-9]|2[0-3]):[0-5][0-9]|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	dollarsText = `^(\$ ?|USD ?)?[0-9]+(\.[0-9]{1,12})?( ?USD| ?\$)?$`
	percentText = `^[0-9]+(\.[0-9]+)? ?%$`
	nameText    = `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`
	outputText  = `^([^{}]|\{run_id\}|\{job\})*$`
	secretText  = `^(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*)$`
)

// shape is what the JSON Schema says about the key's value.
func (k *key) shape() object {
	switch k.kind {
	case kSection:
		return sectionSchema(k.path)
	case kList:
		return object{"type": "array", "minItems": 1, "items": sectionSchema(k.path + "[]")}
	case kInt:
		return object{"type": "integer", "minimum": k.min, "maximum": k.max}
	case kConcurrency:
		return object{"anyOf": []any{object{"type": "integer", "minimum": k.min, "maximum": k.max}, sectionSchema(k.path)}}
	case kBool:
		return object{"type": "boolean"}
	case kEnum:
		return object{"enum": k.offered()}
	case kEnums:
		one := object{"enum": k.offered()}
		return object{"anyOf": []any{one, object{"type": "array", "minItems": 1, "uniqueItems": true, "items": one}}}
	case kTexts:
		one := textShape(oneLine)
		return object{"anyOf": []any{one, object{"type": "array", "minItems": 1, "uniqueItems": true, "items": one}}}
	case kTextMap:
		return object{"type": "object", "minProperties": 1, "additionalProperties": textShape(oneLine)}
	case kJSONMap:
		if k.path == "tests[].item" {
			return object{"type": "object"}
		}
		return object{"type": "object", "minProperties": 1}
	case kSchema:
		return object{"anyOf": []any{object{"type": "object", "minProperties": 1}, textShape(fileText)}}
	case kUSD, kPrice:
		return object{"anyOf": []any{object{"type": "number", "minimum": 0}, textShape(dollarsText)}}
	case kShare:
		return object{"anyOf": []any{object{"type": "number", "minimum": 0, "maximum": 1}, textShape(percentText)}}
	}
	return k.textual()
}

// textual is shape for the kinds that are text; what is not available yet is
// refused as a whole.
func (k *key) textual() object {
	if len(k.later) > 0 {
		return object{"not": object{}}
	}
	switch k.kind {
	case kProse:
		return textShape(anyText)
	case kDeadline:
		return textShape(clockOrSpan)
	case kURL:
		return textShape(`^https?://[^/\s]`)
	case kName:
		return textShape(nameText)
	case kSchedule:
		return textShape(schedulePattern())
	case kInputURI:
		return uriShape(`^(s3|gs|azblob)://[^/]+/[^?]`)
	case kOutputURI:
		s := uriShape(`^(s3|gs|azblob)://[^/]+`)
		s["pattern"] = outputText
		s["not"] = object{"const": "-"}
		return s
	case kSecretRef:
		return textShape(secretText)
	case kDelimiter:
		return object{"type": "string", "minLength": 1, "maxLength": 1}
	}
	return textShape(oneLine)
}

// uriShape is a path or a URI of a known scheme.
func uriShape(blob string) object {
	return object{"type": "string", "pattern": oneLine, "anyOf": []any{
		object{"not": object{"pattern": `^[A-Za-z][A-Za-z0-9+.-]{0,19}://`}}, object{"pattern": "^file:///"}, object{"pattern": blob},
	}}
}

// schedulePattern is the five fields of cron, or a name, as one regular
// expression. That ranges run forward and days exist only Parse knows.
func schedulePattern() string {
	var fields []string
	for _, f := range cronFields {
		var one []string
		for n := f.min; n <= f.max; n++ {
			one = append(one, strconv.Itoa(n))
			if n < 10 {
				one = append(one, fmt.Sprintf("0%d", n))
			}
		}
		for _, w := range f.words {
			one = append(one, anyCase(w))
		}
		v := "(" + strings.Join(one, "|") + ")"
		part := `(\*|` + v + "(-" + v + ")?)(/[1-9][0-9]?)?"
		fields = append(fields, part+"(,"+part+")*")
	}
	return "^(" + strings.Join(cronNames, "|") + "|" + strings.Join(fields, " +") + ")$"
}

// anyCase matches a word in any case without a flag that editors do not know.
func anyCase(w string) string {
	var b strings.Builder
	for _, r := range w {
		b.WriteString("[" + string(r) + strings.ToUpper(string(r)) + "]")
	}
	return b.String()
}

// offered are the values that this version takes.
func (k *key) offered() []string {
	var out []string
	for _, v := range k.enum {
		if k.available(value{text: v}) {
			out = append(out, v)
		}
	}
	return out
}
