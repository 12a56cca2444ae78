package openai

import (
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

var chatGuard = provider.Guard{
	Own: map[string]string{"model": "set task.model", "messages": "set task.prompt and task.system",
		"stream_options": "remove it", "web_search_options": noContext},
	Limits: []string{"max_tokens", "max_completion_tokens", "max_output_tokens"},
	One:    []string{"n", "best_of"},
	Off:    []string{"stream"},
	Tools:  []string{"function", "custom"},
}

func (a *adapter) encodeChat(r provider.Request) (provider.Call, error) {
	params, err := chatGuard.Check(r.Params, r.MaxOutputTokens)
	if err != nil {
		return provider.Call{}, err
	}
	schema := a.schemaOf(r)
	if _, both := params["response_format"]; both && schema != nil {
		return provider.Call{}, twice("response_format")
	}
	size := 256 + len(r.System) + len(schema)
	for i := range r.Messages {
		size += len(r.Messages[i].Content) + 32
	}
	o := provider.NewObject(size)
	o.Text("model", r.Model)
	o.List("messages")
	if r.System != "" {
		message(o, "system", func() { o.Text("content", r.System) })
	}
	media := 0
	for _, m := range r.Messages {
		media += provider.Media(m.Content)
		message(o, m.Role, func() { o.Raw("content", m.Content) })
	}
	o.EndList()
	o.Int(a.limit, r.MaxOutputTokens)
	if schema != nil {
		o.Open("response_format")
		o.Text("type", "json_schema")
		o.Open("json_schema")
		a.putSchema(o, r, schema)
		o.Close()
		o.Close()
	}
	o.Params(params)
	return finish(o, chatPath, r.Model, r.MaxOutputTokens, media, len(schema)+len(params["tools"])+len(params["response_format"]))
}

func message(o *provider.Object, role string, content func()) {
	o.Element()
	o.Text("role", role)
	content()
	o.Close()
}

func finish(o *provider.Object, path, model string, limit int64, media, shape int) (provider.Call, error) {
	body, err := o.Bytes()
	if err != nil {
		return provider.Call{}, err
	}
	return provider.Call{Path: path, Body: body, OutputBound: limit,
		InputBound: provider.InputBound(body, model, media, shape)}, nil
}

func twice(name string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.params." + name,
		Msg: "the output's form is given twice", Hint: "keep either task.schema or task.params." + name}
}

// schemaOf is the schema to send: none where the server does not take one.
func (a *adapter) schemaOf(r provider.Request) json.RawMessage {
	if !a.traits.NativeSchema || len(r.Schema) == 0 {
		return nil
	}
	return r.Schema
}

func (a *adapter) putSchema(o *provider.Object, r provider.Request, schema json.RawMessage) {
	strict := false
	if a.strict != nil {
		strict = *a.strict
	} else {
		strict = allowsStrict(schema)
	}
	o.Text("name", provider.SchemaName(r.SchemaName))
	o.Raw("schema", schema)
	if strict {
		o.Raw("strict", json.RawMessage("true"))
	} else {
		o.Raw("strict", json.RawMessage("false"))
	}
}

// chatFinishes are the finish reasons in use. The last group is that of
// servers that stopped for a reason of their own: what is there is a piece.
var chatFinishes = map[string]provider.Finish{
	"stop":           {Class: batch.ClassOK},
	"eos":            {Class: batch.ClassOK},
	"eos_token":      {Class: batch.ClassOK},
	"end_turn":       {Class: batch.ClassOK},
	"stop_sequence":  {Class: batch.ClassOK},
	"STOP":           {Class: batch.ClassOK},
	"length":         {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"max_tokens":     {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"model_length":   {Class: batch.ClassTruncated, Detail: "cut at the model's context length"},
	"MAX_TOKENS":     {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"content_filter": {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},
	"SAFETY":         {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},
	"sensitive":      {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},

	"error":                        {Class: batch.ClassTransient, Detail: "the provider ended the answer with an error"},
	"abort":                        {Class: batch.ClassTransient, Detail: "the server aborted the answer"},
	"network_error":                {Class: batch.ClassTransient, Detail: "the provider ended the answer with an error"},
	"insufficient_system_resource": {Class: batch.ClassCapacity, Detail: "the provider ran out of resources"},
}

type chatAnswer struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Model   string `json:"model"`
	Choices []struct {
		FinishReason string `json:"finish_reason"`
		Message      struct {
			Content   string            `json:"content"`
			Refusal   string            `json:"refusal"`
			ToolCalls []json.RawMessage `json:"tool_calls"`
		} `json:"message"`
		Error json.RawMessage `json:"error"`
	} `json:"choices"`
	Usage *chatUsage      `json:"usage"`
	Error json.RawMessage `json:"error"`
}

type chatUsage struct {
	Prompt     provider.Count `json:"prompt_tokens"`
	Completion provider.Count `json:"completion_tokens"`
	Total      provider.Count `json:"total_tokens"`
	In         struct {
		Cached     provider.Count `json:"cached_tokens"`
		CacheWrite provider.Count `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	Out struct {
		Reasoning provider.Count `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	CacheHit  provider.Count `json:"prompt_cache_hit_tokens"` // DeepSeek
	NumCached provider.Count `json:"num_cached_tokens"`       // Mistral
}

func (u *chatUsage) tally() provider.Tally {
	return provider.Tally{Input: u.Prompt, Cached: max(u.In.Cached, u.CacheHit, u.NumCached), CacheWrite: u.In.CacheWrite,
		Output: u.Completion, Reasoning: u.Out.Reasoning, Total: u.Total}
}

func decodeChat(a provider.Answer) provider.Result {
	var v chatAnswer
	if provider.Unmarshal(a.Body, &v) != nil {
		return provider.Unreadable(a, "the answer is not JSON")
	}
	r := chatResult(a, &v)
	r.Model = v.Model
	if v.Usage != nil {
		r.Take(v.Usage.tally())
	}
	return r
}

func chatResult(a provider.Answer, v *chatAnswer) provider.Result {
	switch {
	case provider.Present(v.Error):
		return provider.Classify(a)
	case len(v.Choices) == 0:
		if f := provider.FaultOf(a.Body); f.Said && (v.Object == "error" || v.Object == "" && v.Usage == nil) {
			return provider.ClassifyFault(a, f)
		}
		return provider.Unreadable(a, "the answer has no choices")
	case provider.Present(v.Choices[0].Error):
		return provider.ClassifyFault(a, provider.FaultOf(v.Choices[0].Error))
	}
	c := &v.Choices[0]
	r := provider.Result{Status: a.Status, Sent: provider.Answered, Rate: provider.NoRate}
	text := c.Message.Content
	if text == "" {
		text = contentParts(a.Body)
	}
	switch {
	case c.Message.Refusal != "":
		r.Class, r.Message, r.Finish = batch.ClassRefused, "the model refused", c.FinishReason
	case text == "" && (len(c.Message.ToolCalls) > 0 || c.FinishReason == "tool_calls" || c.FinishReason == "function_call"):
		r.Class, r.Message, r.Finish = batch.ClassInvalidOutput, "the answer is a tool call, and tool calls are not supported", c.FinishReason
	default:
		r.Settle(chatFinishes, c.FinishReason, text)
	}
	return r
}

// contentParts reads a content that is a list of parts, as some servers send.
func contentParts(body []byte) string {
	var v struct {
		Choices []struct {
			Message struct {
				Content []struct {
					Type string `json:"type"`
					Text string `json:"text"`
				} `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if provider.Unmarshal(body, &v) != nil || len(v.Choices) == 0 {
		return ""
	}
	var b strings.Builder
	for _, p := range v.Choices[0].Message.Content {
		if p.Type == "text" || p.Type == "output_text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}
