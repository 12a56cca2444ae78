package spec

import (
	"encoding/json"

	"github.com/batchwright/batchwright/internal/money"
)

var inputKeys = []key{
	{path: "input.uri", kind: kInputURI, work: true, example: "items.jsonl", wrong: []string{"path", "file", "url", "s3_uri", "input_uri", "source"},
		doc: "Path, glob or folder relative to the spec, file://, s3://, gs://, azblob://, or `-` for standard input.",
		set: func(s *Spec, v value) { s.Input.URI = v.text }, get: func(s *Spec) any { return orNil(s.Input.URI) }},
	{path: "input.format", kind: kEnum, work: true, def: "auto", enum: []string{"auto", "jsonl", "csv", "json", "parquet", "openai_batch"}, example: "jsonl", wrong: []string{"type"},
		doc: "Form of the input; auto goes by the name's ending and the first bytes. openai_batch lines carry whole requests.",
		set: func(s *Spec, v value) { s.Input.Format = v.text }, get: func(s *Spec) any { return s.Input.Format }},
	{path: "input.id", kind: kText, work: true, example: "ticket_id", wrong: []string{"id_field", "key", "primary_key", "id_column"},
		doc: "Field that names an item. Left out: its place in the input.",
		set: func(s *Spec, v value) { s.Input.ID = v.text }, get: func(s *Spec) any { return orNil(s.Input.ID) }},
	{path: "input.fields", kind: kTexts, work: true, example: "[id, text]", wrong: []string{"columns", "names"},
		doc: "Column names of a CSV without a header row.",
		set: func(s *Spec, v value) { s.Input.Fields = v.texts }, get: func(s *Spec) any { return listOrNil(s.Input.Fields) }},
	{path: "input.delimiter", kind: kDelimiter, work: true, example: `";"`, wrong: []string{"separator", "sep"},
		doc: "Column separator of a CSV, one character. Left out: a comma.",
		set: func(s *Spec, v value) { s.Input.Delimiter = v.text }, get: func(s *Spec) any { return orNil(s.Input.Delimiter) }},
	{path: "input.header", kind: kBool, work: true, example: "false", wrong: []string{"has_header", "headers"},
		doc: "Whether a CSV's first row names its columns. Left out: yes, unless fields are given.",
		set: func(s *Spec, v value) { s.Input.Header = &v.yes }, get: func(s *Spec) any {
			if s.Input.Header == nil {
				return nil
			}
			return *s.Input.Header
		}},
	{path: "input.on_bad_item", kind: kEnum, work: true, def: "fail", enum: badItemWays, example: "quarantine", wrong: []string{"on_error", "bad_items"},
		doc: "An item that cannot be read: fail refuses the run before money is spent, quarantine sets the item aside as failed.",
		set: func(s *Spec, v value) { s.Input.OnBadItem = v.text }, get: func(s *Spec) any { return s.Input.OnBadItem }},
	{path: "input.limit", kind: kInt, work: true, min: 1, max: maxInt, example: "100", wrong: []string{"max_items", "first", "head", "sample"},
		doc: "Take only this many items from the start. Left out: all.",
		set: func(s *Spec, v value) { s.Input.Limit = v.n }, get: func(s *Spec) any { return orNil(s.Input.Limit) }},
	{path: "input.cursor", kind: kText, work: true, later: []string{"*"}, example: "id",
		doc: "Field of an append-only source by which a run takes only what is newer than the last one took.",
		set: func(s *Spec, v value) { s.Input.Cursor = v.text }, get: func(s *Spec) any { return orNil(s.Input.Cursor) }},
	{path: "input.sql", kind: kProse, work: true, long: true, later: []string{"*"}, example: `"select id, text from tickets"`, wrong: []string{"query"},
		doc: "Query whose rows are the items.",
		set: func(s *Spec, v value) { s.Input.SQL = v.text }, get: func(s *Spec) any { return orNil(s.Input.SQL) }},
	{path: "input.queue", kind: kText, work: true, later: []string{"*"}, example: "sqs://tickets",
		doc: "Message queue whose messages are the items.",
		set: func(s *Spec, v value) { s.Input.Queue = v.text }, get: func(s *Spec) any { return orNil(s.Input.Queue) }},
}

var taskKeys = []key{
	{path: "task.provider", kind: kEnum, work: true, need: true, enum: []string{"openai", "openai_compatible", "anthropic", "gemini", "http", "sim"}, example: "openai",
		wrong: []string{"vendor", "backend", "api"},
		doc:   "Which API is called. sim is built in, needs no key and costs nothing.",
		set:   func(s *Spec, v value) { s.Task.Provider = v.text }, get: func(s *Spec) any { return s.Task.Provider }},
	{path: "task.base_url", kind: kURL, work: true, example: "http://localhost:8000/v1", wrong: []string{"url", "api_base", "host", "server", "baseurl"},
		doc: "Where the API is. Required for openai_compatible and http; the vendor's own when left out.",
		set: func(s *Spec, v value) { s.Task.BaseURL = v.text }, get: func(s *Spec) any { return orNil(s.Task.BaseURL) }},
	{path: "task.api_key", kind: kSecretRef, example: "env:OPENAI_API_KEY", wrong: []string{"key", "token", "apikey", "secret", "api_token", "api_key_env"},
		doc: "Where the key is read from when a call is made: env:NAME or file:PATH, never the key itself. Required for openai, anthropic and gemini.",
		set: func(s *Spec, v value) { s.Task.APIKey = v.text }, get: func(s *Spec) any { return orNil(s.Task.APIKey) }},
	{path: "task.model", kind: kText, work: true, example: "gpt-4.1-mini", wrong: []string{"engine", "deployment", "model_name", "model_id"},
		doc: "Model name as the provider spells it. Not needed for http and sim, nor when every line of openai_batch input names one.",
		set: func(s *Spec, v value) { s.Task.Model = v.text }, get: func(s *Spec) any { return orNil(s.Task.Model) }},
	{path: "task.endpoint", kind: kEnum, work: true, enum: []string{"chat", "responses"}, example: "responses", wrong: []string{"api_type", "mode"},
		doc: "Which API of the OpenAI family: chat completions or responses. Left out: chat.",
		set: func(s *Spec, v value) { s.Task.Endpoint = v.text }, get: func(s *Spec) any { return orNil(s.Task.Endpoint) }},
	{path: "task.lane", kind: kEnum, work: true, def: "sync", enum: []string{"sync", "submission", "auto"}, later: []string{"submission", "auto"}, example: "sync",
		doc: "How items are called: sync calls the API item by item; submission hands the provider files of requests.",
		set: func(s *Spec, v value) { s.Task.Lane = v.text }, get: func(s *Spec) any { return s.Task.Lane }},
	{path: "task.system", kind: kProse, work: true, long: true, example: `"You summarise support tickets."`, wrong: []string{"system_prompt", "instructions"},
		doc: "System prompt, a template like prompt.",
		set: func(s *Spec, v value) { s.Task.System = v.text }, get: func(s *Spec) any { return orNil(s.Task.System) }},
	{path: "task.prompt", kind: kProse, work: true, long: true, example: `"Summarise: {{ text }}"`, wrong: []string{"template", "user_prompt", "user", "content", "input", "text"},
		doc: "Template of the question; an item's fields are its names: `{{ text }}`. `file:PATH` reads it from a file beside the spec.",
		set: func(s *Spec, v value) { s.Task.Prompt = v.text }, get: func(s *Spec) any { return orNil(s.Task.Prompt) }},
	{path: "task.messages", kind: kList, work: true, long: true, wrong: []string{"turns", "conversation", "chat"}, doc: "Several turns instead of prompt."},
	{path: "task.messages[].role", kind: kEnum, work: true, need: true, enum: []string{"user", "assistant"}, example: "user",
		doc: "Who speaks. The system prompt stands in task.system.",
		set: func(s *Spec, v value) { lastOf(s.Task.Messages).Role = v.text }},
	{path: "task.messages[].content", kind: kProse, work: true, need: true, long: true, example: `"Summarise: {{ text }}"`, wrong: []string{"text", "prompt"},
		doc: "What is said, a template like prompt.",
		set: func(s *Spec, v value) { lastOf(s.Task.Messages).Content = v.text }},
	{path: "task.max_output_tokens", kind: kInt, work: true, def: "1024", min: 1, max: 10_000_000, example: "300", wrong: []string{"max_tokens", "max_completion_tokens", "output_tokens", "max_new_tokens"},
		doc: "The most tokens an answer may have; it bounds what a call can cost.",
		set: func(s *Spec, v value) { s.Task.MaxOutputTokens = v.n }, get: func(s *Spec) any { return s.Task.MaxOutputTokens }},
	{path: "task.params", kind: kJSONMap, work: true, example: "{temperature: 0}", wrong: []string{"parameters", "model_params", "temperature", "top_p", "seed"},
		doc: "Further parameters of the request, passed on as they are.",
		set: func(s *Spec, v value) { s.Task.Params = v.raws }, get: func(s *Spec) any { return mapOrNil(s.Task.Params) }},
	{path: "task.schema", kind: kSchema, work: true, long: true, example: "file:answer.schema.json", wrong: []string{"json_schema", "response_format", "output_schema", "response_schema"},
		doc: "JSON Schema an answer must satisfy, written in place or `file:PATH`.",
		set: func(s *Spec, v value) { s.Task.Schema = v.raw }, get: func(s *Spec) any { return rawOrNil(s.Task.Schema) }},
	{path: "task.headers", kind: kTextMap, work: true, example: `{X-Team: support}`, wrong: []string{"extra_headers"},
		doc: "Further HTTP headers, none of them secret.",
		set: func(s *Spec, v value) { s.Task.Headers = v.pairs }, get: func(s *Spec) any { return mapOrNil(s.Task.Headers) }},
	{path: "task.options", kind: kJSONMap, work: true, example: "{api_version: 2024-10-21}", wrong: []string{"settings", "adapter", "config"},
		doc: "Settings of the provider's adapter.",
		set: func(s *Spec, v value) { s.Task.Options = v.raws }, get: func(s *Spec) any { return mapOrNil(s.Task.Options) }},
	{path: "task.on_truncated", kind: kEnum, work: true, def: "fail", enum: []string{"accept", "fail", "raise"}, example: "accept",
		doc: "An answer cut at max_output_tokens: accept keeps it, fail fails the item, raise tries again with a higher limit.",
		set: func(s *Spec, v value) { s.Task.OnTruncated = v.text }, get: func(s *Spec) any { return s.Task.OnTruncated }},
	{path: "task.price", kind: kSection, wrong: []string{"prices", "pricing", "cost"}, doc: "What the model costs, instead of the built-in price table."},
	{path: "task.price.input_usd_per_mtok", kind: kPrice, need: true, example: "0.40", wrong: []string{"input", "in", "input_price"},
		doc: "US dollars per million input tokens, at most 6 decimals.",
		set: func(s *Spec, v value) { priceOf(s).In = money.PicoUSD(v.n) }, get: priceText(func(c *money.PriceCard) money.PicoUSD { return c.In }, true)},
	{path: "task.price.output_usd_per_mtok", kind: kPrice, need: true, example: "1.60", wrong: []string{"output", "out", "output_price"},
		doc: "US dollars per million output tokens, at most 6 decimals.",
		set: func(s *Spec, v value) { priceOf(s).Out = money.PicoUSD(v.n) }, get: priceText(func(c *money.PriceCard) money.PicoUSD { return c.Out }, true)},
	{path: "task.price.cached_usd_per_mtok", kind: kPrice, min: 1, example: "0.10", wrong: []string{"cached", "cache_read", "cached_price"},
		doc: "US dollars per million input tokens read from the provider's prompt cache. Left out: as input.",
		set: func(s *Spec, v value) { priceOf(s).CacheRead = money.PicoUSD(v.n) }, get: priceText(func(c *money.PriceCard) money.PicoUSD { return c.CacheRead }, false)},
}

var restKeys = []key{
	{path: "evaluate.expected", kind: kText, need: true, example: "label", wrong: []string{"label", "field", "answer"},
		doc: "Item field that holds the right answer.",
		set: func(s *Spec, v value) { evaluateOf(s).Expected = v.text }, get: func(s *Spec) any {
			if s.Evaluate == nil {
				return nil
			}
			return orNil(s.Evaluate.Expected)
		}},
	{path: "evaluate.path", kind: kText, example: "label", wrong: []string{"key", "actual"},
		doc: "Key of the answer's object to compare. Left out: the whole answer.",
		set: func(s *Spec, v value) { evaluateOf(s).Path = v.text }, get: func(s *Spec) any {
			if s.Evaluate == nil {
				return nil
			}
			return orNil(s.Evaluate.Path)
		}},
	{path: "tests[].name", kind: kText, need: true, example: "empty ticket", wrong: []string{"id", "title"},
		doc: "What the case is called, once in a spec.",
		set: func(s *Spec, v value) { lastOf(s.Tests).Name = v.text }},
	{path: "tests[].item", kind: kJSONMap, need: true, long: true, example: `{text: "hello"}`, wrong: []string{"input", "row", "fields"},
		doc: "The item's fields.",
		set: func(s *Spec, v value) { lastOf(s.Tests).Item = v.raw }},
	{path: "tests[].answer", kind: kProse, long: true, example: `"A greeting."`, wrong: []string{"response", "output", "reply"},
		doc: "What the provider is taken to answer.",
		set: func(s *Spec, v value) { lastOf(s.Tests).Answer = v.text }},
	{path: "tests[].expect", kind: kEnum, enum: classNames(), example: "invalid_output", wrong: []string{"class", "outcome", "expected"},
		doc: "The class the item must end as. Left out: ok.",
		set: func(s *Spec, v value) { lastOf(s.Tests).Expect = v.text }},
	{path: "tests[].prompt_contains", kind: kProse, long: true, example: `"hello"`, wrong: []string{"contains", "prompt"},
		doc: "Text that the rendered prompt must contain.",
		set: func(s *Spec, v value) { lastOf(s.Tests).Prompt = v.text }},
}

func lastOf[T any](list []T) *T { return &list[len(list)-1] }

func evaluateOf(s *Spec) *Evaluate {
	if s.Evaluate == nil {
		s.Evaluate = &Evaluate{}
	}
	return s.Evaluate
}

func priceOf(s *Spec) *money.PriceCard {
	if s.Task.Price == nil {
		s.Task.Price = &money.PriceCard{Source: "spec"}
	}
	return s.Task.Price
}

// picoPerMtok is how many pico-USD per token one pico-USD-exact dollar amount
// per million tokens is divided by.
const picoPerMtok = 1_000_000

func priceText(pick func(*money.PriceCard) money.PicoUSD, zero bool) func(*Spec) any {
	return func(s *Spec) any {
		if s.Task.Price == nil {
			return nil
		}
		p := pick(s.Task.Price)
		if p == 0 && !zero {
			return nil
		}
		return json.RawMessage((p * picoPerMtok).String())
	}
}
