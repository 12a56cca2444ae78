package providertest_test

import (
	"encoding/json"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/anthropic"
	"github.com/batchwright/batchwright/internal/provider/gemini"
	"github.com/batchwright/batchwright/internal/provider/httpjson"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/provider/providertest"
)

var schema = json.RawMessage(`{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}},"required":["b","a"],"additionalProperties":false}`)

func requests() []provider.Request {
	user := []provider.Message{{Role: "user", Content: json.RawMessage(`"Say \"hi\" in Zürich\n"`)}}
	return []provider.Request{
		{Model: "m-1", Messages: user, MaxOutputTokens: 100, Fields: json.RawMessage(`{"lang":"de"}`)},
		{Model: "m-1", System: "Be brief.", Messages: user, MaxOutputTokens: 7, Schema: schema, SchemaName: "answer", Fields: json.RawMessage(`{"lang":"de"}`)},
	}
}

func withParams() []provider.Request {
	all := requests()
	r := all[0]
	r.Params = map[string]json.RawMessage{"temperature": json.RawMessage("0.5"), "top_p": json.RawMessage("1"), "seed": json.RawMessage("7"),
		"n": json.RawMessage("1"), "stream": json.RawMessage("false")}
	return append(all, r)
}

func subjects() map[string]providertest.Subject {
	return map[string]providertest.Subject{
		"openai":            {Factory: openai.Factory(), Suffix: "/v1", Request: withParams(), Family: "openai"},
		"openai_responses":  {Factory: openai.Factory(), Config: provider.Config{Endpoint: "responses"}, Suffix: "/v1", Request: withParams(), Family: "openai_responses"},
		"openai_compatible": {Factory: openai.CompatibleFactory(), Request: withParams(), Family: "openai_compatible"},
		"anthropic":         {Factory: anthropic.Factory(), Request: withParams(), Family: "anthropic"},
		"gemini":            {Factory: gemini.Factory(), Suffix: "/v1beta", Request: withParams(), Family: "gemini"},
		"http": {Factory: httpjson.Factory(), Request: requests(), Family: "http", Config: provider.Config{Options: map[string]json.RawMessage{
			"path":    json.RawMessage(`"/generate"`),
			"request": json.RawMessage(`{"in":"{{ prompt }}","sys":"{{ system }}","max":"{{ max_output_tokens }}","lang":"{{ item.lang }}"}`),
			"response": json.RawMessage(`{"text":"/out/text","input_tokens":"/usage/in","output_tokens":"/usage/out","finish":"/why",
				"error":"/fault","model":"/m"}`)}}},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, s := range subjects() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Contract(t, s)
		})
	}
}

// The corpus has to stay what it is for: many answers, of every family, that
// end in every class an answer can end in.
func TestCorpusCoverage(t *testing.T) {
	t.Parallel()
	total := 0
	classes := map[batch.Class]int{}
	for name, s := range subjects() {
		list := providertest.Corpus(t, s.Family)
		t.Logf("%s: %d", name, len(list))
		total += len(list)
		for _, r := range list {
			classes[r.Class]++
		}
	}
	t.Logf("%d recorded answers, by class %v", total, classes)
	if total < 250 {
		t.Errorf("%d recorded answers", total)
	}
	for _, c := range batch.Classes()[:15] {
		if classes[c] == 0 {
			t.Errorf("no recorded answer ends in %s", c)
		}
	}
}

func FuzzOpenAI(f *testing.F)           { providertest.FuzzDecode(f, subjects()["openai"]) }
func FuzzOpenAIResponses(f *testing.F)  { providertest.FuzzDecode(f, subjects()["openai_responses"]) }
func FuzzOpenAICompatible(f *testing.F) { providertest.FuzzDecode(f, subjects()["openai_compatible"]) }
func FuzzAnthropic(f *testing.F)        { providertest.FuzzDecode(f, subjects()["anthropic"]) }
func FuzzGemini(f *testing.F)           { providertest.FuzzDecode(f, subjects()["gemini"]) }
func FuzzHTTP(f *testing.F)             { providertest.FuzzDecode(f, subjects()["http"]) }
