// Package openai speaks the Chat Completions and Responses APIs: OpenAI's own,
// Azure's, and those of the many servers compatible with them.
package openai

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// Factory registers OpenAI itself.
func Factory() provider.Factory {
	return provider.Factory{Name: "openai", Doc: "OpenAI: Chat Completions and Responses", NeedsKey: true,
		New: func(c provider.Config) (provider.Provider, error) { return open(c, false) }}
}

// CompatibleFactory registers every server that speaks OpenAI's API: vLLM,
// llama.cpp, Ollama, Groq, Mistral, OpenRouter, LiteLLM, Azure.
func CompatibleFactory() provider.Factory {
	return provider.Factory{Name: "openai_compatible", Doc: "any server with OpenAI's API at task.base_url", NeedsKey: false,
		New: func(c provider.Config) (provider.Provider, error) { return open(c, true) }}
}

// The paths of the two APIs, joined to the base URL.
const (
	chatPath      = "/chat/completions"
	responsesPath = "/responses"
)

type adapter struct {
	end    *provider.Endpoint
	model  string
	path   string
	limit  string // the chat field of the output limit
	strict *bool  // of the schema; nil: as strict as the schema allows
	traits provider.Traits
}

type options struct {
	apiVersion string
	azure      bool
	limit      string
	strict     *bool
	schema     bool
}

func readOptions(c provider.Config, compatible bool) (options, error) {
	o := options{limit: "max_completion_tokens", schema: true}
	if compatible {
		o.limit = "max_tokens"
	}
	err := provider.ReadOptions(c, map[string]any{"api_version": &o.apiVersion, "azure": &o.azure, "max_tokens_field": &o.limit,
		"strict": &o.strict, "native_schema": &o.schema})
	if err == nil && o.limit != "max_tokens" && o.limit != "max_completion_tokens" {
		err = &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.options.max_tokens_field",
			Msg: fmt.Sprintf("%q is no field of Chat Completions", o.limit), Hint: "use max_tokens or max_completion_tokens"}
	}
	return o, err
}

func open(c provider.Config, compatible bool) (provider.Provider, error) {
	o, err := readOptions(c, compatible)
	if err != nil {
		return nil, err
	}
	a := &adapter{model: c.Model, limit: o.limit, strict: o.strict}
	switch c.Endpoint {
	case "", "chat":
		a.path = chatPath
	case "responses":
		a.path = responsesPath
	default:
		return nil, &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.endpoint",
			Msg: fmt.Sprintf("unknown endpoint %q", c.Endpoint), Hint: "use chat or responses"}
	}
	e := provider.EndpointOptions{URL: "https://api.openai.com/v1", KeyHeader: "Authorization", KeyPrefix: "Bearer ", NeedsKey: !compatible}
	if compatible {
		e.URL = ""
		if c.BaseURL == "" {
			return nil, &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.base_url",
				Msg: "openai_compatible needs the server's address", Hint: "set task.base_url, like http://localhost:8000/v1"}
		}
	}
	if o.azure {
		e.KeyHeader, e.KeyPrefix = "Api-Key", ""
	}
	if o.apiVersion != "" {
		e.Query = url.Values{"api-version": {o.apiVersion}}
	}
	// Groq's request headers count per day.
	e.DailyRequests = strings.Contains(c.BaseURL, "groq.com")
	if a.end, err = provider.NewEndpoint(c, e); err != nil {
		return nil, err
	}
	a.traits = provider.Traits{Name: c.Provider, Host: a.end.Host(), NativeSchema: o.schema, Tokenizer: tokenizer(c.Model)}
	return a, nil
}

// tokenizers maps the beginning of a model's name to its public tokenizer; the
// first that fits wins.
var tokenizers = []struct{ prefix, name string }{
	{"gpt-4o", "o200k_base"}, {"chatgpt-4o", "o200k_base"}, {"gpt-4.1", "o200k_base"}, {"gpt-4.5", "o200k_base"},
	{"gpt-4", "cl100k_base"}, {"gpt-3.5", "cl100k_base"}, {"gpt-oss", "o200k_base"}, {"gpt-", "o200k_base"},
	{"o1", "o200k_base"}, {"o3", "o200k_base"}, {"o4", "o200k_base"},
}

func tokenizer(model string) string {
	model = model[strings.LastIndexByte(model, '/')+1:]
	for _, t := range tokenizers {
		if strings.HasPrefix(model, t.prefix) {
			return t.name
		}
	}
	return ""
}

func (a *adapter) Traits() provider.Traits { return a.traits }

func (a *adapter) Do(ctx context.Context, c provider.Call, id string) provider.Result {
	return a.end.Exchange(ctx, c, id, func(ans provider.Answer) provider.Result { return a.Decode(c.Path, ans) })
}

// Decode classes an answer of the API that path belongs to.
func (a *adapter) Decode(path string, ans provider.Answer) provider.Result {
	switch {
	case ans.Status/100 != 2:
		return provider.Classify(ans)
	case path == responsesPath:
		return decodeResponses(ans)
	}
	return decodeChat(ans)
}

func (a *adapter) Encode(r provider.Request) (provider.Call, error) {
	switch {
	case len(r.Body) > 0:
		return a.encodeBody(r)
	case r.MaxOutputTokens <= 0:
		return provider.Call{}, noLimit()
	case a.path == responsesPath:
		return a.encodeResponses(r)
	}
	return a.encodeChat(r)
}

func noLimit() error {
	return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.max_output_tokens",
		Msg: "a call without a limit of output tokens has no bound", Hint: "set task.max_output_tokens above 0"}
}
