package anthropic_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/anthropic"
	"github.com/batchwright/batchwright/internal/provider/providertest"
	"github.com/batchwright/batchwright/internal/secret"
)

const schema = `{"type":"object","properties":{"a":{"type":"string"}}}`

func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	raws, turns := providertest.Raws, providertest.Turns
	providertest.CheckGolden(t, anthropic.Factory(), []providertest.Golden{
		{Name: "plain", Path: "/v1/messages",
			Request: provider.Request{Model: "c", System: "s", Messages: turns("user", `"a"`, "assistant", `"b"`), MaxOutputTokens: 5,
				Params: raws("top_k", "1", "temperature", "0.5", "max_tokens", "5", "stream", "false")},
			Body: `{"model":"c","max_tokens":5,"system":"s","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"temperature":0.5,"top_k":1}`},
		{Name: "system among the messages", Path: "/v1/messages",
			Request: provider.Request{Model: "c", System: "s", Messages: turns("system", `"t"`, "user", `"a"`), MaxOutputTokens: 5},
			Body:    `{"model":"c","max_tokens":5,"system":"s\n\nt","messages":[{"role":"user","content":"a"}]}`},
		{Name: "schema beside an effort", Path: "/v1/messages", Extra: 1024 + int64(len(schema)),
			Request: provider.Request{Model: "c", Messages: turns("user", `"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(schema),
				Params: raws("output_config", `{"effort": "low"}`)},
			Body: `{"model":"c","max_tokens":5,"messages":[{"role":"user","content":"a"}],"output_config":{"effort":"low","format":{"type":"json_schema","schema":` + schema + `}}}`},
		{Name: "schema not sent", Path: "/v1/messages", Options: raws("native_schema", "false"),
			Request: provider.Request{Model: "c", Messages: turns("user", `"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(schema),
				Params: raws("output_config", `{"effort": "low"}`)},
			Body: `{"model":"c","max_tokens":5,"messages":[{"role":"user","content":"a"}],"output_config":{"effort":"low"}}`},
		{Name: "media", Path: "/v1/messages", Extra: 4 * 8192,
			Request: provider.Request{Model: "c", MaxOutputTokens: 5, Messages: turns("user", `[{"type":"text","text":"a"},
				{"type":"image_url","image_url":{"url":"https://x.example/a.png"}},
				{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
				{"type":"file","file":{"file_data":"data:application/pdf;base64,BBBB","filename":"f.pdf"}},
				{"type":"file","file":{"file_id":"file_1"}}]`)},
			Body: `{"model":"c","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a"},` +
				`{"type":"image","source":{"type":"url","url":"https://x.example/a.png"}},` +
				`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},` +
				`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"BBBB"}},` +
				`{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}`},
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	p, err := anthropic.Factory().New(provider.Config{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(pairs ...string) provider.Request {
		return provider.Request{Model: "c", Messages: providertest.Turns("user", `"a"`), MaxOutputTokens: 5, Params: providertest.Raws(pairs...)}
	}
	twice := with("output_config", `{"format":{}}`)
	twice.Schema = json.RawMessage(schema)
	turns := func(pairs ...string) provider.Request {
		return provider.Request{Model: "c", Messages: providertest.Turns(pairs...), MaxOutputTokens: 5}
	}
	providertest.CheckRefused(t, p, map[string]provider.Request{
		"limit": with("max_tokens", "6"), "stream": with("stream", "true"), "system": with("system", `"x"`), "model": with("model", `"x"`),
		"search": with("tools", `[{"type":"web_search_20250305","name":"web_search"}]`), "mcp": with("mcp_servers", "[]"), "form twice": twice, "ready body": {Body: json.RawMessage(`{}`), MaxOutputTokens: 5},
		"tool role": turns("tool", `"a"`), "only system": turns("system", `"a"`), "picture in system": turns("system", `[{"type":"image_url","image_url":{"url":"x"}}]`, "user", `"a"`),
		"audio": turns("user", `[{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]`), "odd part": turns("user", `[{"type":"x"}]`), "number": turns("user", `5`),
	})
}

func TestAddressAndHeaders(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"http://x.invalid", "http://x.invalid/", "http://x.invalid/v1", "http://x.invalid/v1/"} {
		var seen *http.Request
		via := providertest.Wire(func(r *http.Request) (*http.Response, error) {
			seen = r
			return providertest.Reply(529, nil, "")(r)
		})
		p, err := anthropic.Factory().New(provider.Config{BaseURL: base, Key: func() secret.Secret { return secret.New("k") }, Client: &http.Client{Transport: via},
			Headers: map[string]string{"anthropic-beta": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Encode(provider.Request{Model: "c", Messages: providertest.Turns("user", `"a"`), MaxOutputTokens: 5})
		if err != nil {
			t.Fatal(err)
		}
		p.Do(t.Context(), c, "id")
		if seen.URL.String() != "http://x.invalid/v1/messages" || seen.Header.Get("x-api-key") != "k" || seen.Header.Get("anthropic-version") != "2023-06-01" ||
			seen.Header.Get("anthropic-beta") != "x" || seen.Header.Get("Authorization") != "" {
			t.Errorf("%s: %s %v", base, seen.URL, seen.Header)
		}
	}
}
