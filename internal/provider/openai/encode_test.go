package openai_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/openai"
)

func raws(pairs ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

const (
	looseSchema  = `{"type":"object", "properties":{"a":{"type":"string"}}}`
	strictSchema = `{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{"b":{"type":"string"}},` +
		`"required":["b"],"additionalProperties":false}}},"required":["a"],"additionalProperties":false}`
	picture = `[{"type":"text","text":"what?"},{"type":"image_url","image_url":{"url":"https://x.example/a.png","detail":"low"}}]`
)

func msgs(contents ...string) []provider.Message {
	var out []provider.Message
	for i, c := range contents {
		out = append(out, provider.Message{Role: [...]string{"user", "assistant"}[i%2], Content: json.RawMessage(c)})
	}
	return out
}

// The bytes of a call are a promise: a change here changes what a resumed run
// sends.
func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	azure := raws("max_tokens_field", `"max_completion_tokens"`)
	for _, c := range []struct {
		name       string
		factory    provider.Factory
		endpoint   string
		options    map[string]json.RawMessage
		request    provider.Request
		path, want string
		extra      int64 // of the input bound beyond body and frame
	}{
		{"chat", openai.Factory(), "", nil,
			provider.Request{Model: "m", System: "be\nbrief", Messages: msgs(`"a"`, `"b"`, `"c"`), MaxOutputTokens: 5,
				Params: raws("top_p", "1", "temperature", " 0.5 ", "n", "1", "stream", "false", "max_tokens", "5")},
			"/chat/completions", `{"model":"m","messages":[{"role":"system","content":"be\nbrief"},{"role":"user","content":"a"},` +
				`{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"max_completion_tokens":5,"temperature":0.5,"top_p":1}`, 0},
		{"chat, compatible", openai.CompatibleFactory(), "", nil,
			provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":5}`, 0},
		{"chat, compatible, limit by its new name", openai.CompatibleFactory(), "", azure,
			provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_completion_tokens":5}`, 0},
		{"chat, loose schema", openai.Factory(), "", nil,
			provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(looseSchema), SchemaName: "my schema!"},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_completion_tokens":5,"response_format":{"type":"json_schema",` +
				`"json_schema":{"name":"my_schema_","schema":{"type":"object","properties":{"a":{"type":"string"}}},"strict":false}}}`,
			1024 + int64(len(looseSchema))},
		{"chat, strict schema", openai.Factory(), "", nil,
			provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(strictSchema)},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_completion_tokens":5,"response_format":{"type":"json_schema",` +
				`"json_schema":{"name":"answer","schema":` + strictSchema + `,"strict":true}}}`, 1024 + int64(len(strictSchema))},
		{"chat, server without schemas", openai.CompatibleFactory(), "", raws("native_schema", "false"),
			provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(strictSchema)},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":"a"}],"max_tokens":5}`, 0},
		{"chat, picture", openai.Factory(), "", nil,
			provider.Request{Model: "m", Messages: msgs(picture), MaxOutputTokens: 5},
			"/chat/completions", `{"model":"m","messages":[{"role":"user","content":` + picture + `}],"max_completion_tokens":5}`, 8192},
		{"chat, picture for a model that counts it high", openai.Factory(), "", nil,
			provider.Request{Model: "gpt-4o-mini", Messages: msgs(picture), MaxOutputTokens: 5},
			"/chat/completions", `{"model":"gpt-4o-mini","messages":[{"role":"user","content":` + picture + `}],"max_completion_tokens":5}`, 49152},
		{"responses", openai.Factory(), "responses", nil,
			provider.Request{Model: "m", System: "s", Messages: msgs(picture, `[{"type":"text","text":"b"}]`), MaxOutputTokens: 5,
				Schema: json.RawMessage(strictSchema), Params: raws("text", `{"verbosity":"low"}`, "reasoning", `{"effort":"low"}`, "background", "false")},
			"/responses", `{"model":"m","instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"what?"},` +
				`{"type":"input_image","image_url":"https://x.example/a.png","detail":"low"}]},{"role":"assistant","content":[{"type":"output_text","text":"b"}]}],` +
				`"max_output_tokens":5,"text":{"verbosity":"low","format":{"type":"json_schema","name":"answer","schema":` + strictSchema +
				`,"strict":true}},"store":false,"reasoning":{"effort":"low"}}`, 8192 + 1024 + int64(len(strictSchema)+len(`{"verbosity":"low"}`))},
		{"a line", openai.Factory(), "", nil,
			provider.Request{Model: "m", MaxOutputTokens: 5, Endpoint: "/v1/chat/completions",
				Body: json.RawMessage(` {"messages" : [{"role":"user","content":"a"}], "stream": false, "n": 1, "x": null} `)},
			"/chat/completions", `{"messages":[{"role":"user","content":"a"}],"x":null,"model":"m","max_completion_tokens":5}`, 0},
		{"a line with its own model and limit", openai.CompatibleFactory(), "", nil,
			provider.Request{Model: "m", MaxOutputTokens: 5, Endpoint: "/v1/chat/completions",
				Body: json.RawMessage(`{"model":"own","messages":[{"role":"user","content":` + picture + `}],"max_tokens":77}`)},
			"/chat/completions", `{"model":"own","messages":[{"role":"user","content":` + picture + `}],"max_tokens":77}`, 8192},
		{"a line for responses", openai.Factory(), "", nil,
			provider.Request{Model: "m", MaxOutputTokens: 5, Endpoint: "/v1/responses", Body: json.RawMessage(`{"model":"own","input":"a"}`)},
			"/responses", `{"model":"own","input":"a","max_output_tokens":5}`, 0},
	} {
		p := open(t, c.factory, provider.Config{BaseURL: "http://x.invalid", Endpoint: c.endpoint, Options: c.options})
		got, err := p.Encode(c.request)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Path != c.path || string(got.Body) != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, got.Path, got.Body, c.want)
		}
		if want := int64(len(c.want)) + 64 + c.extra; got.InputBound != want {
			t.Errorf("%s: input bound %d, want %d", c.name, got.InputBound, want)
		}
		limit := int64(5)
		if strings.Contains(c.want, "77") {
			limit = 77
		}
		if got.OutputBound != limit {
			t.Errorf("%s: output bound %d, want %d", c.name, got.OutputBound, limit)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	with := func(endpoint string, pairs ...string) provider.Request {
		return provider.Request{Model: "m", Messages: msgs(`"a"`), MaxOutputTokens: 5, Params: raws(pairs...), SchemaName: endpoint}
	}
	line := func(endpoint, body string) provider.Request {
		return provider.Request{Model: "m", MaxOutputTokens: 5, Endpoint: endpoint, Body: json.RawMessage(body)}
	}
	schema := with("", "response_format", `{"type":"json_object"}`)
	schema.Schema = json.RawMessage(strictSchema)
	for name, r := range map[string]provider.Request{
		"model":              with("", "model", `"x"`),
		"messages":           with("", "messages", `[]`),
		"stream":             with("", "stream", `true`),
		"n":                  with("", "n", `2`),
		"best_of":            with("", "best_of", `3`),
		"limit":              with("", "max_tokens", `6`),
		"new limit":          with("", "max_completion_tokens", `4`),
		"broken param":       with("", "stop", `{`),
		"two forms":          schema,
		"broken content":     {Model: "m", Messages: msgs(`"a`), MaxOutputTokens: 5},
		"no content":         {Model: "m", Messages: []provider.Message{{Role: "user"}}, MaxOutputTokens: 5},
		"no limit":           {Model: "m", Messages: msgs(`"a"`)},
		"background":         with("responses", "background", "true"),
		"previous":           with("responses", "previous_response_id", `"r"`),
		"web search":         with("", "web_search_options", "{}"),
		"hosted tool":        with("responses", "tools", `[{"type":"function"},{"type":"web_search"}]`),
		"tools no list":      with("", "tools", `{}`),
		"line: search":       line("/v1/responses", `{"input":"a","tools":[{"type":"web_search"}]}`),
		"stored prompt":      with("responses", "prompt", `{"id":"p"}`),
		"format twice":       {Model: "m", SchemaName: "responses", Messages: msgs(`"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(strictSchema), Params: raws("text", `{"format":{}}`)},
		"odd part":           {Model: "m", SchemaName: "responses", Messages: msgs(`[{"type":"hologram"}]`), MaxOutputTokens: 5},
		"audio in responses": {Model: "m", SchemaName: "responses", Messages: msgs(`[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]`), MaxOutputTokens: 5},
		"line: embeddings":   line("/v1/embeddings", `{"input":"a"}`),
		"line: stream":       line("", `{"messages":[],"stream":true}`),
		"line: n":            line("", `{"messages":[],"n":2}`),
		"line: no messages":  line("", `{"model":"m"}`),
		"line: twice":        line("", `{"messages":[],"model":"a","model":"b"}`),
		"line: limit":        line("", `{"messages":[],"max_tokens":-1}`),
		"line: huge limit":   line("", `{"messages":[],"max_tokens":99999999999}`),
		"line: model":        line("", `{"messages":[],"model":5}`),
		"line: list":         line("", `[]`),
		"line: rest":         line("", `{"messages":[]} x`),
		"line: background":   line("/v1/responses", `{"input":"a","background":true}`),
		"line: previous":     line("/v1/responses", `{"input":"a","previous_response_id":"r"}`),
	} {
		p := open(t, openai.Factory(), provider.Config{Endpoint: r.SchemaName})
		if c, err := p.Encode(r); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
			t.Errorf("%s: %v, %s", name, err, c.Body)
		}
	}
	noLimit := line("", `{"messages":[]}`)
	noLimit.MaxOutputTokens = 0
	if _, err := open(t, openai.Factory(), provider.Config{}).Encode(noLimit); batch.KindOf(err) != batch.Invalid {
		t.Errorf("line without any limit: %v", err)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]provider.Config{
		"no address":       {},
		"relative":         {BaseURL: "localhost:8000/v1"},
		"other scheme":     {BaseURL: "ftp://x.example/"},
		"user in address":  {BaseURL: "https://u:p@x.example/"},
		"query":            {BaseURL: "https://x.example/?key=1"},
		"endpoint":         {BaseURL: "http://x.example", Endpoint: "completions"},
		"unknown option":   {BaseURL: "http://x.example", Options: raws("foo", "1")},
		"type of option":   {BaseURL: "http://x.example", Options: raws("azure", `"yes"`)},
		"limit field":      {BaseURL: "http://x.example", Options: raws("max_tokens_field", `"max"`)},
		"key header":       {BaseURL: "http://x.example", Headers: map[string]string{"authorization": "x"}},
		"idempotency":      {BaseURL: "http://x.example", Headers: map[string]string{"idempotency-key": "x"}},
		"accept-encoding":  {BaseURL: "http://x.example", Headers: map[string]string{"Accept-Encoding": "br"}},
		"header injection": {BaseURL: "http://x.example", Headers: map[string]string{"X-A": "a\r\nX-B: b"}},
		"header name":      {BaseURL: "http://x.example", Headers: map[string]string{"X A": "a"}},
	} {
		if _, err := openai.CompatibleFactory().New(c); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTraits(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]string{"gpt-5-mini": "o200k_base", "gpt-4o": "o200k_base", "gpt-4-turbo": "cl100k_base", "o3": "o200k_base",
		"openai/gpt-oss-120b": "o200k_base", "llama3": "", "mistral-large": ""} {
		p := open(t, openai.Factory(), provider.Config{Model: model})
		if got := p.Traits(); got.Tokenizer != want || got.Host != "api.openai.com" || !got.NativeSchema || got.Name != "openai" {
			t.Errorf("%s: %+v", model, got)
		}
	}
}
