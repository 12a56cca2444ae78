// Package gemini speaks Google's generateContent, on the Gemini API and, with
// a bearer token, on Vertex.
package gemini

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// Factory registers Gemini.
func Factory() provider.Factory {
	return provider.Factory{Name: "gemini", Doc: "Google Gemini: generateContent", NeedsKey: true, New: open}
}

type adapter struct {
	end    *provider.Endpoint
	traits provider.Traits
}

func open(c provider.Config) (provider.Provider, error) {
	schema, bearer := true, false
	if err := provider.ReadOptions(c, map[string]any{"native_schema": &schema, "bearer": &bearer}); err != nil {
		return nil, err
	}
	eo := provider.EndpointOptions{URL: "https://generativelanguage.googleapis.com/v1beta", KeyHeader: "X-Goog-Api-Key", NeedsKey: true}
	if bearer {
		eo.KeyHeader, eo.KeyPrefix = "Authorization", "Bearer "
	}
	e, err := provider.NewEndpoint(c, eo)
	if err != nil {
		return nil, err
	}
	return &adapter{end: e, traits: provider.Traits{Name: c.Provider, Host: e.Host(), NativeSchema: schema}}, nil
}

func (a *adapter) Traits() provider.Traits { return a.traits }

func (a *adapter) Do(ctx context.Context, c provider.Call, id string) provider.Result {
	return a.end.Exchange(ctx, c, id, func(ans provider.Answer) provider.Result { return a.Decode(c.Path, ans) })
}

const noContext = "give the whole context in the prompt: what the provider adds by reference has no bound"

var (
	guard = provider.Guard{
		Own: map[string]string{"model": "set task.model", "contents": "set task.prompt", "messages": "set task.prompt",
			"systemInstruction": "set task.system", "system_instruction": "set task.system", "system": "set task.system",
			"cachedContent": noContext, "cached_content": noContext},
		Limits: []string{"maxOutputTokens", "max_output_tokens", "max_tokens", "max_completion_tokens"},
		One:    []string{"candidateCount", "candidate_count", "n"},
		Off:    []string{"stream"},
		Tools:  []string{"functionDeclarations", "function_declarations"},
	}
	// generation names the parameters that stand inside generationConfig, under
	// the names people use for them.
	generation = map[string]string{
		"temperature": "temperature", "topP": "topP", "top_p": "topP", "topK": "topK", "top_k": "topK", "seed": "seed",
		"stopSequences": "stopSequences", "stop_sequences": "stopSequences", "stop": "stopSequences",
		"presencePenalty": "presencePenalty", "presence_penalty": "presencePenalty",
		"frequencyPenalty": "frequencyPenalty", "frequency_penalty": "frequencyPenalty",
		"thinkingConfig": "thinkingConfig", "thinking_config": "thinkingConfig", "mediaResolution": "mediaResolution",
		"responseMimeType": "responseMimeType", "responseSchema": "responseSchema", "responseJsonSchema": "responseJsonSchema",
		"responseLogprobs": "responseLogprobs", "logprobs": "logprobs", "responseModalities": "responseModalities",
	}
	formNames = []string{"responseMimeType", "responseSchema", "responseJsonSchema"}
)

// settings splits parameters into generationConfig and the rest.
func settings(r provider.Request) (config, rest map[string]json.RawMessage, err error) {
	params, err := guard.Check(r.Params, r.MaxOutputTokens)
	if err != nil {
		return nil, nil, err
	}
	config, rest = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	own := params["generationConfig"]
	if own == nil {
		own = params["generation_config"]
	}
	if own != nil {
		fields, err := provider.Fields(own)
		if err != nil {
			return nil, nil, err
		}
		inner := make(map[string]json.RawMessage, len(fields))
		for _, f := range fields {
			inner[f.Name] = f.Value
		}
		if config, err = guard.Check(inner, r.MaxOutputTokens); err != nil {
			return nil, nil, err
		}
	}
	for name, v := range params {
		switch {
		case name == "generationConfig" || name == "generation_config":
		case generation[name] != "":
			if _, both := config[generation[name]]; both {
				return nil, nil, bad("task.params."+name, "this parameter is given twice", "keep one of them")
			}
			config[generation[name]] = v
		default:
			rest[name] = v
		}
	}
	if len(r.Schema) > 0 {
		for _, name := range formNames {
			if _, both := config[name]; both {
				return nil, nil, bad("task.params."+name, "the output's form is given twice", "keep either task.schema or the parameter")
			}
		}
	}
	return config, rest, nil
}

func bad(ref, msg, hint string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: ref, Msg: msg, Hint: hint}
}

func (a *adapter) Encode(r provider.Request) (provider.Call, error) {
	switch {
	case len(r.Body) > 0:
		return provider.Call{}, bad("", "ready request bodies are in OpenAI's form",
			"use provider openai or openai_compatible, or give items and task.prompt")
	case r.MaxOutputTokens <= 0:
		return provider.Call{}, bad("task.max_output_tokens", "a call without a limit of output tokens has no bound",
			"set task.max_output_tokens above 0")
	}
	if !a.traits.NativeSchema {
		r.Schema = nil
	}
	config, rest, err := settings(r)
	if err != nil {
		return provider.Call{}, err
	}
	o := provider.NewObject(1024 + len(r.System) + len(r.Schema))
	media, err := putContents(o, r)
	if err != nil {
		return provider.Call{}, err
	}
	o.Open("generationConfig")
	o.Int("maxOutputTokens", r.MaxOutputTokens)
	if len(r.Schema) > 0 {
		o.Text("responseMimeType", "application/json")
		o.Raw("responseJsonSchema", r.Schema)
	}
	o.Params(config)
	o.Close()
	o.Params(rest)
	body, err := o.Bytes()
	if err != nil {
		return provider.Call{}, err
	}
	return provider.Call{Path: modelPath(r.Model), Body: body, OutputBound: r.MaxOutputTokens,
		InputBound: provider.InputBound(body, r.Model, media, len(r.Schema)+len(rest["tools"]))}, nil
}

// modelPath names the model in the address; "models/x" and "tunedModels/x" are kept.
func modelPath(model string) string {
	segments := strings.Split(model, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	if len(segments) == 1 || !slices.Contains([]string{"models", "tunedModels"}, segments[0]) {
		segments = []string{"models", url.PathEscape(model)}
	}
	return "/" + strings.Join(segments, "/") + ":generateContent"
}
