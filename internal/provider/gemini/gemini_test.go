package gemini_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/gemini"
	"github.com/batchwright/batchwright/internal/provider/providertest"
	"github.com/batchwright/batchwright/internal/secret"
)

const schema = `{"type":"object","properties":{"a":{"type":"string"}}}`

func TestGoldenBodies(t *testing.T) {
	t.Parallel()
	raws, turns := providertest.Raws, providertest.Turns
	providertest.CheckGolden(t, gemini.Factory(), []providertest.Golden{
		{Name: "plain", Path: "/models/g-1:generateContent",
			Request: provider.Request{Model: "g-1", System: "s", Messages: turns("system", `"t"`, "user", `"a"`, "assistant", `"b"`), MaxOutputTokens: 5,
				Params: raws("top_p", "1", "temperature", "0.5", "n", "1", "safetySettings", "[]", "generationConfig", `{"seed": 7, "candidateCount": 1}`)},
			Body: `{"systemInstruction":{"parts":[{"text":"s\n\nt"}]},"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]}],` +
				`"generationConfig":{"maxOutputTokens":5,"seed":7,"temperature":0.5,"topP":1},"safetySettings":[]}`},
		{Name: "schema", Path: "/models/g:generateContent", Extra: 1024 + int64(len(schema)),
			Request: provider.Request{Model: "models/g", Messages: turns("user", `"a"`), MaxOutputTokens: 5, Schema: json.RawMessage(schema)},
			Body: `{"contents":[{"role":"user","parts":[{"text":"a"}]}],"generationConfig":{"maxOutputTokens":5,"responseMimeType":"application/json",` +
				`"responseJsonSchema":` + schema + `}}`},
		{Name: "media", Path: "/tunedModels/t:generateContent", Extra: 3 * 8192,
			Request: provider.Request{Model: "tunedModels/t", MaxOutputTokens: 5, Messages: turns("user", `[{"type":"text","text":"a"},
				{"type":"image_url","image_url":{"url":"https://x.example/a.PNG?x=1"}},{"type":"file","file":{"file_id":"gs://b/f.pdf"}},
				{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}]`)},
			Body: `{"contents":[{"role":"user","parts":[{"text":"a"},{"fileData":{"mimeType":"image/png","fileUri":"https://x.example/a.PNG?x=1"}},` +
				`{"fileData":{"mimeType":"application/pdf","fileUri":"gs://b/f.pdf"}},{"inlineData":{"mimeType":"audio/wav","data":"AA"}}]}],"generationConfig":{"maxOutputTokens":5}}`},
		{Name: "a model's name is one segment", Path: "/models/a%2Fb%3Fkey=1%23:generateContent",
			Request: provider.Request{Model: "a/b?key=1#", Messages: turns("user", `"a"`), MaxOutputTokens: 5},
			Body:    `{"contents":[{"role":"user","parts":[{"text":"a"}]}],"generationConfig":{"maxOutputTokens":5}}`},
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	p, err := gemini.Factory().New(provider.Config{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(pairs ...string) provider.Request {
		return provider.Request{Model: "g", Messages: providertest.Turns("user", `"a"`), MaxOutputTokens: 5, Params: providertest.Raws(pairs...)}
	}
	form := with("generationConfig", `{"responseSchema":{}}`)
	form.Schema = json.RawMessage(schema)
	providertest.CheckRefused(t, p, map[string]provider.Request{
		"limit": with("maxOutputTokens", "6"), "limit inside": with("generationConfig", `{"maxOutputTokens":6}`), "candidates": with("candidateCount", "2"),
		"candidates inside": with("generationConfig", `{"candidateCount":2}`), "contents": with("contents", "[]"), "cache": with("cachedContent", `"c"`),
		"search": with("tools", `[{"googleSearch":{}}]`), "search beside functions": with("tools", `[{"functionDeclarations":[],"googleSearch":{}}]`),
		"picture in system": {Model: "g", MaxOutputTokens: 5, Messages: providertest.Turns("system", `[{"type":"image_url","image_url":{"url":"x"}}]`, "user", `"a"`)},
		"twice":             with("top_p", "1", "generationConfig", `{"topP":1}`), "config is a list": with("generationConfig", "[]"), "form twice": form,
		"ready body": {Body: json.RawMessage(`{}`), MaxOutputTokens: 5}, "no user": {Model: "g", MaxOutputTokens: 5},
		"tool role": {Model: "g", MaxOutputTokens: 5, Messages: providertest.Turns("tool", `"a"`)},
	})
}

func TestKeyHeader(t *testing.T) {
	t.Parallel()
	for bearer, header := range map[string]string{"false": "X-Goog-Api-Key", "true": "Authorization"} {
		var seen *http.Request
		via := providertest.Wire(func(r *http.Request) (*http.Response, error) {
			seen = r
			return providertest.Reply(503, nil, "")(r)
		})
		p, err := gemini.Factory().New(provider.Config{BaseURL: "http://x.invalid/v1", Key: func() secret.Secret { return secret.New("k") }, Client: &http.Client{Transport: via},
			Options: providertest.Raws("bearer", bearer)})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Encode(provider.Request{Model: "a/b", Messages: providertest.Turns("user", `"a"`), MaxOutputTokens: 5})
		if err != nil {
			t.Fatal(err)
		}
		p.Do(t.Context(), c, "id")
		if got := seen.Header.Get(header); got != "k" && got != "Bearer k" || seen.URL.RawQuery != "" ||
			seen.URL.EscapedPath() != "/v1/models/a%2Fb:generateContent" {
			t.Errorf("bearer %s: %s %v", bearer, seen.URL, seen.Header)
		}
	}
}
