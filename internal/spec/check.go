package spec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// vendors are the providers that need a key; name of the usual variable.
var vendors = map[string]string{"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY"}

// check judges what no key can judge alone.
func (p *parser) check() {
	p.synonyms()
	p.inputKeys()
	p.taskKeys()
	p.turns()
	p.testCases()
	s := p.spec
	if lo, hi := s.Pacing.MinConcurrency, s.Pacing.MaxConcurrency; lo > hi {
		p.add(p.valueOf("pacing.concurrency.min"), codeConflict, "pacing.concurrency.min",
			fmt.Sprintf("pacing.concurrency.min: %d is more than max, %d", lo, hi), "raise max or lower min")
	}
	if b := s.Budget; b.Tokens >= 0 && b.ItemTokens > b.Tokens {
		p.add(p.valueOf("budget.item_tokens"), codeConflict, "budget.item_tokens",
			fmt.Sprintf("budget.item_tokens: %d is more than the whole run's %d", b.ItemTokens, b.Tokens), "lower it")
	}
	if b := s.Budget; b.ItemTokens >= 0 && s.Task.MaxOutputTokens > b.ItemTokens {
		p.add(p.valueOf("budget.item_tokens"), codeConflict, "budget.item_tokens",
			fmt.Sprintf("budget.item_tokens: %d is less than one answer may have (task.max_output_tokens %d), so no call could start", b.ItemTokens, s.Task.MaxOutputTokens), "raise it, or lower task.max_output_tokens")
	}
	if s.Schedule != "" && s.Timezone == "" && !p.has("timezone") {
		p.add(p.valueOf("job.schedule"), codeNoTimezone, "timezone", "job.schedule: no timezone is given, so the times are UTC", "add `timezone: UTC` or your zone at top level")
	}
	if s.Deadline.At != "" && s.Timezone == "" && !p.has("timezone") && s.Schedule == "" {
		p.add(p.valueOf("deadline", "sla"), codeNoTimezone, "timezone", "deadline: no timezone is given, so the time is UTC", "add `timezone: UTC` or your zone at top level")
	}
	if p.spec.Task.Price != nil {
		p.spec.Task.Price.Provider, p.spec.Task.Price.Model = s.Task.Provider, s.Task.Model
	}
}

func (p *parser) has(path string) bool { _, ok := p.at[path]; return ok }

// valueOf is the node of the first of the keys that is given, or the node of
// the nearest section above it.
func (p *parser) valueOf(paths ...string) *yaml.Node {
	for _, path := range paths {
		if pl, ok := p.at[path]; ok {
			return pl.val
		}
	}
	return p.keyOf(paths[0])
}

// keyOf is where a key stands, or the section that it is missing in.
func (p *parser) keyOf(path string) *yaml.Node {
	for path != "" {
		if pl, ok := p.at[path]; ok {
			return pl.key
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return p.root
}

// synonyms compares the two spellings of a key when both are given.
func (p *parser) synonyms() {
	for _, k := range keys.all {
		if k.same == "" {
			continue
		}
		a, okA := p.given[k.path]
		b, okB := p.given[k.same]
		if okA && okB && !reflect.DeepEqual(a, b) {
			first, second := p.at[k.path].val, p.at[k.same].val
			if first.Line > second.Line {
				first, second = second, first
			}
			p.add(second, codeSynonyms, k.same, fmt.Sprintf("%s and %s are the same key and differ: line %d and line %d", k.same, k.path, first.Line, second.Line), "delete one of the two")
		}
	}
}

func (p *parser) inputKeys() {
	s := p.spec
	if in, ok := p.at["input"]; ok && in.val.Kind != yaml.MappingNode {
		return // said already
	}
	if !p.has("input.uri") && !p.has("job.input_manifest_s3_uri") && !p.has("input.sql") && !p.has("input.queue") {
		p.add(p.keyOf("input.uri"), codeMissing, "input.uri", "input.uri: is missing; it says where the items come from", "add the section `input:` with `uri: items.jsonl`")
	}
	if !slices.Contains([]string{"csv", "auto"}, s.Input.Format) {
		for _, path := range []string{"input.fields", "input.delimiter", "input.header"} {
			if p.has(path) {
				p.add(p.keyOf(path), codeConflict, path, path+": is for CSV, and input.format is "+s.Input.Format, "delete the line, or write format: csv")
			}
		}
	}
	if s.Input.Header != nil && *s.Input.Header && len(s.Input.Fields) > 0 {
		p.add(p.valueOf("input.header"), codeConflict, "input.header", "input.header: true, but input.fields names the columns itself", "delete one of the two; header: false with fields reads the first row as an item")
	}
	if s.Input.Header != nil && !*s.Input.Header && len(s.Input.Fields) == 0 && !p.has("input.fields") {
		p.add(p.valueOf("input.header"), codeConflict, "input.header", "input.header: false, and nothing names the columns", "add input.fields: [name, …]")
	}
}

// bringsRequests reports whether the input's lines or the provider's template
// are the requests, so that the task needs no prompt.
func (p *parser) bringsRequests() bool {
	_, request := p.spec.Task.Options["request"]
	return p.spec.Input.Format == "openai_batch" || p.spec.Task.Provider == "http" && request
}

func (p *parser) taskKeys() {
	if !p.has("task") {
		return
	}
	t := p.spec.Task
	known := t.Provider != ""
	if env := vendors[t.Provider]; env != "" && !p.has("task.api_key") {
		p.add(p.keyOf("task.provider"), codeNeedsKey, "task.api_key", "task.api_key: is missing; "+t.Provider+" needs one", "add `api_key: env:"+env+"` to task")
	}
	if (t.Provider == "openai_compatible" || t.Provider == "http") && !p.has("task.base_url") {
		p.add(p.keyOf("task.provider"), codeNeedsURL, "task.base_url", "task.base_url: is missing; "+t.Provider+" has no address of its own", "add `base_url: http://localhost:8000/v1` to task")
	}
	if known && !p.has("task.model") && t.Provider != "http" && t.Provider != "sim" && p.spec.Input.Format != "openai_batch" {
		p.add(p.keyOf("task.provider"), codeModel, "task.model", "task.model: is missing; "+t.Provider+" must be told which model answers", "add `model: NAME` to task")
	}
	if t.Endpoint != "" && known && t.Provider != "openai" && t.Provider != "openai_compatible" {
		p.add(p.keyOf("task.endpoint"), codeConflict, "task.endpoint", "task.endpoint: is for the OpenAI family, and task.provider is "+t.Provider, "delete the line")
	}
	prompt, turns := p.has("task.prompt"), p.has("task.messages")
	switch {
	case prompt && turns:
		p.add(p.keyOf("task.messages"), codePrompt, "task.messages", fmt.Sprintf("task.messages: stands beside task.prompt (line %d); a task has one of the two", p.at["task.prompt"].key.Line), "delete one of the two")
	case !prompt && !turns && !p.bringsRequests() && known:
		p.add(p.keyOf("task.prompt"), codePrompt, "task.prompt", "task.prompt: is missing; nothing says what to ask", "add `prompt: \"Summarise: {{ text }}\"` to task")
	case p.spec.Input.Format == "openai_batch":
		p.unused()
	}
	if t.Provider == "sim" && t.Model == "" {
		p.spec.Task.Model = simModel
	}
}

// simModel is the model of the simulator, which has no other need of a name.
const simModel = "sim-1"

// unused refuses what would silently do nothing: with openai_batch input the
// requests are complete.
func (p *parser) unused() {
	for _, path := range []string{"task.prompt", "task.messages", "task.system", "task.params", "task.schema", "tests"} {
		if p.has(path) {
			p.add(p.keyOf(path), codeConflict, path, path+": cannot be used, since the lines of openai_batch input are whole requests", "delete it, or use another input.format")
		}
	}
}

// turns checks that a conversation asks something.
func (p *parser) turns() {
	ms := p.spec.Task.Messages
	if len(ms) > 0 && !slices.ContainsFunc(ms, func(m Message) bool { return m.Role != "assistant" }) {
		p.add(p.keyOf("task.messages"), codeTurns, "task.messages", "task.messages: every turn is the assistant's, so nothing is asked", "add a turn of the user")
	}
}

func (p *parser) testCases() {
	first := map[string]int{}
	for i, t := range p.spec.Tests {
		at := fmt.Sprintf("tests[%d]", i)
		if prev, twice := first[t.Name]; twice && t.Name != "" {
			p.add(p.valueOf(at+".name"), codeTestCase, at, fmt.Sprintf("%s: has the name of tests[%d]", at, prev), "give every case a name of its own")
		}
		first[t.Name] = i
		if t.Answer == "" && t.Prompt == "" && p.has(at+".name") && !p.has(at+".answer") && !p.has(at+".prompt_contains") {
			p.add(p.keyOf(at), codeTestCase, at, at+": checks nothing", "add answer, prompt_contains or both")
		}
	}
}

// vendorURLs is where the providers call that have an address of their own.
var vendorURLs = map[string]string{"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1",
	"gemini": "https://generativelanguage.googleapis.com/v1beta"}

// Address is the URL below which the calls of a spec go, or "" where they leave
// the process for nowhere.
func (s *Spec) Address() string { return cmp.Or(s.Task.BaseURL, vendorURLs[s.Task.Provider]) }
