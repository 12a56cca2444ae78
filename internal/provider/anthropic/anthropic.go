// Package anthropic speaks the Messages API.
package anthropic

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// Factory registers Anthropic.
func Factory() provider.Factory {
	return provider.Factory{Name: "anthropic", Doc: "Anthropic: Messages", NeedsKey: true, New: open}
}

const messagesPath = "/v1/messages"

type adapter struct {
	end    *provider.Endpoint
	traits provider.Traits
}

func open(c provider.Config) (provider.Provider, error) {
	schema := true
	if err := provider.ReadOptions(c, map[string]any{"native_schema": &schema}); err != nil {
		return nil, err
	}
	// Both forms of the address are in use.
	c.BaseURL = strings.TrimSuffix(strings.TrimRight(c.BaseURL, "/"), "/v1")
	e, err := provider.NewEndpoint(c, provider.EndpointOptions{URL: "https://api.anthropic.com", KeyHeader: "X-Api-Key", NeedsKey: true,
		Header: map[string]string{"Anthropic-Version": "2023-06-01"}})
	if err != nil {
		return nil, err
	}
	return &adapter{end: e, traits: provider.Traits{Name: c.Provider, Host: e.Host(), NativeSchema: schema}}, nil
}

func (a *adapter) Traits() provider.Traits { return a.traits }

func (a *adapter) Do(ctx context.Context, c provider.Call, id string) provider.Result {
	return a.end.Exchange(ctx, c, id, func(ans provider.Answer) provider.Result { return a.Decode(c.Path, ans) })
}

var guard = provider.Guard{
	Own: map[string]string{"model": "set task.model", "messages": "set task.prompt", "system": "set task.system",
		"container": "give the whole context in the prompt", "mcp_servers": "give the whole context in the prompt"},
	Limits: []string{"max_tokens", "max_output_tokens", "max_completion_tokens"},
	One:    []string{"n"},
	Off:    []string{"stream"},
	Tools:  []string{"custom", "name", "description", "input_schema", "strict", "cache_control"}, // a tool of one's own needs no type
}

func (a *adapter) Encode(r provider.Request) (provider.Call, error) {
	switch {
	case len(r.Body) > 0:
		return provider.Call{}, &batch.Error{Kind: batch.Invalid, Op: "encode request", Msg: "ready request bodies are in OpenAI's form",
			Hint: "use provider openai or openai_compatible, or give items and task.prompt"}
	case r.MaxOutputTokens <= 0:
		return provider.Call{}, &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.max_output_tokens",
			Msg: "a call without a limit of output tokens has no bound", Hint: "set task.max_output_tokens above 0"}
	}
	params, err := guard.Check(r.Params, r.MaxOutputTokens)
	if err != nil {
		return provider.Call{}, err
	}
	turns, err := turnsOf(r)
	if err != nil {
		return provider.Call{}, err
	}
	o := provider.NewObject(turns.size + len(r.Schema) + 512)
	o.Text("model", r.Model)
	o.Int("max_tokens", r.MaxOutputTokens)
	if turns.system != "" {
		o.Text("system", turns.system)
	}
	turns.put(o)
	schema := r.Schema
	if !a.traits.NativeSchema {
		schema = nil
	}
	if err := putOutput(o, schema, params["output_config"]); err != nil {
		return provider.Call{}, err
	}
	if _, has := params["output_config"]; has {
		rest := make(map[string]json.RawMessage, len(params))
		for n, v := range params {
			if n != "output_config" {
				rest[n] = v
			}
		}
		params = rest
	}
	o.Params(params)
	body, err := o.Bytes()
	if err != nil {
		return provider.Call{}, err
	}
	return provider.Call{Path: messagesPath, Body: body, OutputBound: r.MaxOutputTokens,
		InputBound: provider.InputBound(body, r.Model, turns.media, len(schema)+len(params["tools"]))}, nil
}

// putOutput writes output_config: the schema among the user's own settings.
func putOutput(o *provider.Object, schema, own json.RawMessage) error {
	if len(schema) == 0 {
		if own != nil {
			o.Raw("output_config", own)
		}
		return nil
	}
	o.Open("output_config")
	if own != nil {
		fields, err := provider.Fields(own)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.Name == "format" {
				return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.params.output_config.format",
					Msg: "the output's form is given twice", Hint: "keep either task.schema or the parameter"}
			}
			o.Raw(f.Name, f.Value)
		}
	}
	o.Open("format")
	o.Text("type", "json_schema")
	o.Raw("schema", schema)
	o.Close()
	o.Close()
	return nil
}
