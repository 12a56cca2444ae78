package spec

import (
	"bytes"
	"fmt"
	"strings"
)

// KeyDoc is the reference of all keys in Markdown, made from the table of keys.
func KeyDoc() string {
	var b bytes.Buffer
	b.WriteString(docHead)
	for _, section := range docSections {
		fmt.Fprintf(&b, "\n## %s\n\n", section.title)
		if k := keys.byPath[section.path]; k != nil {
			fmt.Fprintf(&b, "%s\n\n", k.doc)
		}
		b.WriteString("| Key | Value | Default | Meaning | Example |\n|---|---|---|---|---|\n")
		for _, path := range section.tables() {
			for _, k := range keys.bySection[path] {
				k.writeRow(&b, section.path)
			}
		}
	}
	b.WriteString("\n## Codes of findings\n\nCodes are stable. E14xx are warnings: the spec works.\n\n| Code | Name |\n|---|---|\n")
	for _, c := range Codes() {
		fmt.Fprintf(&b, "| %s | %s |\n", c, c.Name())
	}
	return b.String()
}

type docSection struct{ title, path string }

var docSections = []docSection{
	{"Top level", ""}, {"job", "job"}, {"input", "input"}, {"task", "task"}, {"output", "output"}, {"budget", "budget"},
	{"pacing", "pacing"}, {"evaluate", "evaluate"}, {"tests", "tests"},
}

// tables are the sections of the table that are documented together.
func (s docSection) tables() []string {
	switch s.path {
	case "task":
		return []string{"task", "task.messages[]", "task.price"}
	case "pacing":
		return []string{"pacing", "pacing.concurrency"}
	case "tests":
		return []string{"tests[]"}
	}
	return []string{s.path}
}

func (k *key) writeRow(b *bytes.Buffer, section string) {
	name := strings.TrimPrefix(strings.TrimPrefix(k.path, section), ".")
	name = strings.TrimPrefix(name, "[].")
	def := ""
	switch {
	case k.def != "":
		def = code(k.def)
	case k.need:
		def = "required"
	case k.same != "":
		def = "see " + code(k.same)
	}
	doc := k.doc
	if len(k.later) > 0 && k.later[0] == "*" {
		doc += " Not available in this version."
	}
	if len(k.later) > 0 && k.later[0] != "*" {
		doc += " Not available in this version: " + orList(k.later) + "."
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", code(name), cell(k.valueDoc()), def, cell(doc), code(k.example))
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// valueDoc says what the key's value may be.
func (k *key) valueDoc() string {
	switch k.kind {
	case kSection:
		return "section"
	case kList:
		return "list of sections"
	case kInt:
		if k.max == maxInt {
			return fmt.Sprintf("whole number from %d", k.min)
		}
		return fmt.Sprintf("whole number, %d to %d", k.min, k.max)
	case kConcurrency:
		return fmt.Sprintf("whole number, %d to %d, or section", k.min, k.max)
	case kEnum:
		if k.path == "tests[].expect" {
			return "a class of outcome"
		}
		return orList(k.enum)
	case kEnums:
		return "one or a list of " + orList(k.enum)
	case kProse:
		return "text, or `file:PATH`"
	case kTextMap:
		return "mapping of texts"
	case kJSONMap:
		return "mapping"
	case kSchema:
		return "mapping, or `file:PATH`"
	case kURL:
		return "http or https URL"
	case kSecretRef:
		return "`env:NAME` or `file:PATH`"
	}
	return strings.TrimPrefix(strings.TrimPrefix(k.takes(), "an "), "a ")
}

const docHead = `# The job spec

A job spec is one YAML file. It is read strictly: an unknown key, a key given
twice, a value of the wrong type, an alias, an anchor, a merge key or a tag is
an error, and all errors of a file are shown at once with file, line and
column. Check one with ` + "`batchwright validate job.yaml`" + `.

` + "```yaml" + `
job:
  id: nightly-support-summaries
  schedule: "0 2 * * *"
  batch_size: 50
  max_attempts: 3
  timeout_ms: 120000
  token_budget: 150000
  notification_channel: "#ai-batch-alerts"
  input_manifest_s3_uri: s3://bucket/tickets/2026-11-23.jsonl
timezone: Europe/Berlin
task:
  provider: openai
  api_key: env:OPENAI_API_KEY
  model: gpt-4.1-mini
  prompt: "Summarise this ticket in one sentence: {{ text }}"
  max_output_tokens: 200
` + "```" + `

Rules that hold everywhere:

- Every section but ` + "`version`" + ` may stand at top level or inside ` + "`job`" + `, not in both.
- Relative paths are relative to the spec's folder. ` + "`file:PATH`" + ` in a text key reads the text from that file.
- Whole numbers are plain digits: no quotes, underscores, exponents or other bases. Money is read exactly from its digits.
- Secrets never stand in a spec. ` + "`api_key`" + ` names where the key is; a value that looks like a key is an error, and is not shown.
- A key goes only where it belongs. Variables that are known by name (` + "`OPENAI_API_KEY`" + ` and the like) go to their vendor's hosts, files outside of the spec's folder to known vendors' hosts, credentials of other services nowhere. Other variables, and files beside the spec, go wherever ` + "`base_url`" + ` says. ` + "`config.yaml`" + ` in the data directory allows more: ` + "`keys: {\"env:OPENAI_API_KEY\": {hosts: [\"localhost:4000\"]}}`" + `.
- Two spellings of one key (` + "`token_budget`" + ` and ` + "`budget.tokens`" + `) may both be given if they say the same.
- A JSON Schema for editors is in ` + "[`internal/spec/schema.json`](../internal/spec/schema.json)" + `; put
  ` + "`# yaml-language-server: $schema=PATH`" + ` into the first line of a spec to use it.
`
