package httpjson_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/httpjson"
	"github.com/batchwright/batchwright/internal/provider/providertest"
	"github.com/batchwright/batchwright/internal/secret"
)

func request() provider.Request {
	return provider.Request{Model: "m", System: `s"`, Messages: providertest.Turns("user", `"a \u0041"`, "assistant", `"b"`, "user", `[{"type":"text","text":"c"}]`),
		MaxOutputTokens: 5, Fields: json.RawMessage(`{"n": 12345678901234567890, "s": "x\"<y", "o": {"k": [1, 2]}, "z": null}`), Schema: json.RawMessage(`{"type": "object"}`)}
}

func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	opt := func(request string, more ...string) map[string]json.RawMessage {
		return providertest.Raws(append([]string{"request", request, "response", `{"text":"/t"}`}, more...)...)
	}
	providertest.CheckGolden(t, httpjson.Factory(), []providertest.Golden{
		{Name: "typed and inside", Path: "/v1/x?y=1", Options: opt(`{"p": "{{ prompt }}", "q": "sys: {{system}} / {{ model }} / {{ max_output_tokens }}",
			"max": "{{max_output_tokens}}", "n": "{{ item.n }}", "s": "<{{ item.s }}>", "o": "{{ item.o }}", "k": "{{ item.o.k }}!", "z": "{{ item.z }}", "{{ model }}": 1}`,
			"path", `"/v1/x?y=1"`), Request: request(),
			Body: `{"p":"a A\n\nc","q":"sys: s\" / m / 5","max":5,"n":12345678901234567890,"s":"<x\"<y>","o":{"k":[1,2]},"k":"[1,2]!","z":null,"m":1}`},
		{Name: "messages, schema and item", Options: opt(`{"m": "{{ messages }}", "schema": "{{ schema }}", "item": "{{ item }}"}`), Request: request(),
			Body: `{"m":[{"role":"user","content":"a \u0041"},{"role":"assistant","content":"b"},{"role":"user","content":[{"type":"text","text":"c"}]}],` +
				`"schema":{"type":"object"},"item":{"n":12345678901234567890,"o":{"k":[1,2]},"s":"x\"<y","z":null}}`},
		{Name: "a list", Options: opt(`["{{ prompt }}"]`), Request: request(), Body: `["a A\n\nc"]`},
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]map[string]json.RawMessage{
		"no request":       providertest.Raws("response", `{"text":"/t"}`),
		"no text":          providertest.Raws("request", `{}`, "response", `{}`),
		"no pointer":       providertest.Raws("request", `{}`, "response", `{"text":"t"}`),
		"unknown name":     providertest.Raws("request", `{"a":"{{ promt }}"}`, "response", `{"text":"/t"}`),
		"empty field":      providertest.Raws("request", `{"a":"{{ item. }}"}`, "response", `{"text":"/t"}`),
		"GET":              providertest.Raws("request", `{}`, "response", `{"text":"/t"}`, "method", `"GET"`),
		"path elsewhere":   providertest.Raws("request", `{}`, "response", `{"text":"/t"}`, "path", `"//evil.example/x"`),
		"path whole":       providertest.Raws("request", `{}`, "response", `{"text":"/t"}`, "path", `"https://evil.example/x"`),
		"path joined":      providertest.Raws("request", `{}`, "response", `{"text":"/t"}`, "path", `".evil.example/x"`),
		"unknown option":   providertest.Raws("request", `{}`, "response", `{"text":"/t"}`, "retries", `3`),
		"response is text": providertest.Raws("request", `{}`, "response", `"/t"`),
	} {
		if _, err := httpjson.Factory().New(provider.Config{BaseURL: "http://x.example", Options: options}); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := httpjson.Factory().New(provider.Config{BaseURL: "http://x.example",
		Options: providertest.Raws("request", `{"a":"{{ item.a.b }}","p":"{{ prompt }}"}`, "response", `{"text":"/t"}`)})
	if err != nil {
		t.Fatal(err)
	}
	with := func(fields, content string) provider.Request {
		return provider.Request{MaxOutputTokens: 5, Fields: json.RawMessage(fields), Messages: providertest.Turns("user", content)}
	}
	params := with(`{"a":{"b":1}}`, `"x"`)
	params.Params = providertest.Raws("temperature", "1")
	providertest.CheckRefused(t, p, map[string]provider.Request{
		"missing field": with(`{"a":{}}`, `"x"`), "field of a text": with(`{"a":"b"}`, `"x"`), "no item": with(``, `"x"`), "params": params,
		"picture": with(`{"a":{"b":1}}`, `[{"type":"image_url","image_url":{"url":"x"}}]`), "ready body": {Body: json.RawMessage(`{}`), MaxOutputTokens: 5},
	})
}

func TestMethodKeyAndPointers(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	via := providertest.Wire(func(r *http.Request) (*http.Response, error) {
		seen = r
		return providertest.Reply(200, nil, `[{"a/b":{"~x":"hi"}}]`)(r)
	})
	p, err := httpjson.Factory().New(provider.Config{BaseURL: "http://x.invalid/base/", Key: func() secret.Secret { return secret.New("k") }, Client: &http.Client{Transport: via},
		Options: providertest.Raws("request", `{}`, "response", `{"text":"/0/a~1b/~0x"}`, "method", `"PUT"`, "key_header", `"X-Key"`, "key_prefix", `""`)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Encode(request())
	if err != nil {
		t.Fatal(err)
	}
	r := p.Do(t.Context(), c, "id")
	if seen.Method != "PUT" || seen.URL.String() != "http://x.invalid/base" || seen.Header.Get("X-Key") != "k" || seen.Header.Get("Authorization") != "" {
		t.Errorf("%s %s %v", seen.Method, seen.URL, seen.Header)
	}
	if r.Class != batch.ClassOK || r.Text != "hi" || r.HasUsage {
		t.Errorf("%+v", r)
	}
}
