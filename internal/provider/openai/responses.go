package openai

import (
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

const noContext = "give the whole context in the prompt: what the provider adds by reference has no bound"

var responsesGuard = provider.Guard{
	Own: map[string]string{"model": "set task.model", "input": "set task.prompt", "instructions": "set task.system",
		"stream_options": "remove it", "previous_response_id": noContext, "conversation": noContext, "prompt": noContext},
	Limits: []string{"max_output_tokens", "max_tokens", "max_completion_tokens"},
	One:    []string{"n"},
	Off:    []string{"stream", "background"},
	Tools:  []string{"function", "custom"},
}

func (a *adapter) encodeResponses(r provider.Request) (provider.Call, error) {
	params, err := responsesGuard.Check(r.Params, r.MaxOutputTokens)
	if err != nil {
		return provider.Call{}, err
	}
	schema := a.schemaOf(r)
	o := provider.NewObject(512 + len(r.System) + len(schema))
	o.Text("model", r.Model)
	if r.System != "" {
		o.Text("instructions", r.System)
	}
	o.List("input")
	media := 0
	for _, m := range r.Messages {
		n, err := putTurn(o, m)
		if err != nil {
			return provider.Call{}, err
		}
		media += n
	}
	o.EndList()
	o.Int("max_output_tokens", r.MaxOutputTokens)
	if err := a.putTextFormat(o, r, schema, params["text"]); err != nil {
		return provider.Call{}, err
	}
	if _, set := params["store"]; !set {
		o.Raw("store", json.RawMessage("false"))
	}
	rest := make(map[string]json.RawMessage, len(params))
	for name, v := range params {
		if name != "text" {
			rest[name] = v
		}
	}
	o.Params(rest)
	return finish(o, responsesPath, r.Model, r.MaxOutputTokens, media, len(schema)+len(params["tools"])+len(params["text"]))
}

// putTextFormat writes the text settings, with the schema among the user's own.
func (a *adapter) putTextFormat(o *provider.Object, r provider.Request, schema, own json.RawMessage) error {
	if schema == nil {
		if own != nil {
			o.Raw("text", own)
		}
		return nil
	}
	o.Open("text")
	if own != nil {
		fields, err := provider.Fields(own)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.Name == "format" {
				return twice("text.format")
			}
			o.Raw(f.Name, f.Value)
		}
	}
	o.Open("format")
	o.Text("type", "json_schema")
	a.putSchema(o, r, schema)
	o.Close()
	o.Close()
	return nil
}

// putTurn writes one message; it returns how many of its parts are no text.
func putTurn(o *provider.Object, m provider.Message) (int, error) {
	if provider.JSONText(m.Content) {
		message(o, m.Role, func() { o.Raw("content", m.Content) })
		return 0, nil
	}
	parts, err := provider.PartsOf(m.Content)
	if err != nil {
		return 0, err
	}
	media := 0
	message(o, m.Role, func() {
		o.List("content")
		for _, p := range parts {
			o.Element()
			if p.Kind != "text" {
				media++
			}
			err = putPart(o, m.Role, p, err)
			o.Close()
		}
		o.EndList()
	})
	return media, err
}

func putPart(o *provider.Object, role string, p provider.Part, err error) error {
	link := p.URL
	if p.Inline != "" {
		link = "data:" + p.Mime + ";base64," + p.Inline
	}
	switch {
	case p.Kind == "text" && role == "assistant":
		o.Text("type", "output_text")
		o.Text("text", p.Text)
	case p.Kind == "text":
		o.Text("type", "input_text")
		o.Text("text", p.Text)
	case p.Kind == "image":
		o.Text("type", "input_image")
		o.Text("image_url", link)
		if p.Detail != "" {
			o.Text("detail", p.Detail)
		}
	case p.Kind == "file":
		o.Text("type", "input_file")
		if p.ID != "" {
			o.Text("file_id", p.ID)
		}
		if p.Name != "" {
			o.Text("filename", p.Name)
		}
		if link != "" {
			o.Text("file_data", link)
		}
	default:
		return &batch.Error{Kind: batch.Invalid, Op: "encode request", Msg: "the Responses API takes no " + p.Kind + " part",
			Hint: "use task.endpoint: chat"}
	}
	return err
}

type responsesAnswer struct {
	ID         string          `json:"id"`
	Object     string          `json:"object"`
	Model      string          `json:"model"`
	Status     string          `json:"status"`
	Error      json.RawMessage `json:"error"`
	Incomplete struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Output []struct {
		Type    string `json:"type"`
		Content []struct {
			Type    string `json:"type"`
			Text    string `json:"text"`
			Refusal string `json:"refusal"`
		} `json:"content"`
	} `json:"output"`
	Usage *struct {
		Input  provider.Count `json:"input_tokens"`
		Output provider.Count `json:"output_tokens"`
		Total  provider.Count `json:"total_tokens"`
		In     struct {
			Cached     provider.Count `json:"cached_tokens"`
			CacheWrite provider.Count `json:"cache_write_tokens"`
		} `json:"input_tokens_details"`
		Out struct {
			Reasoning provider.Count `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	} `json:"usage"`
}

// responsesFinishes are keyed by status, or by status and reason when
// incomplete.
var responsesFinishes = map[string]provider.Finish{
	"completed":                    {Class: batch.ClassOK},
	"incomplete:max_output_tokens": {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"incomplete:content_filter":    {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},
	"incomplete:max_messages":      {Class: batch.ClassInvalidOutput, Detail: "the answer is incomplete: max_messages"},
	"incomplete:steered":           {Class: batch.ClassInvalidOutput, Detail: "the answer is incomplete: steered"},
	"incomplete":                   {Class: batch.ClassInvalidOutput, Detail: "the answer is incomplete and does not say why"},
	"failed":                       {Class: batch.ClassUnknown, Detail: "the answer failed and does not say why"},
	"cancelled":                    {Class: batch.ClassUnknown, Detail: "the answer was cancelled"},
	"in_progress":                  {Class: batch.ClassUnknown, Detail: "the answer is still being made"},
	"queued":                       {Class: batch.ClassUnknown, Detail: "the answer is still being made"},
}

func decodeResponses(a provider.Answer) provider.Result {
	var v responsesAnswer
	if provider.Unmarshal(a.Body, &v) != nil {
		return provider.Unreadable(a, "the answer is not JSON")
	}
	r := responsesResult(a, &v)
	r.Model = v.Model
	if u := v.Usage; u != nil {
		r.Take(provider.Tally{Input: u.Input, Cached: u.In.Cached, CacheWrite: u.In.CacheWrite, Output: u.Output,
			Reasoning: u.Out.Reasoning, Total: u.Total})
	}
	return r
}

func responsesResult(a provider.Answer, v *responsesAnswer) provider.Result {
	if provider.Present(v.Error) {
		r := provider.Classify(a)
		r.Finish = v.Status
		return r
	}
	if v.Status == "" && len(v.Output) == 0 {
		if f := provider.FaultOf(a.Body); f.Said && v.Usage == nil {
			return provider.ClassifyFault(a, f)
		}
		return provider.Unreadable(a, "the answer has no status and no output")
	}
	var text strings.Builder
	refusal, tool := false, false
	for i := range v.Output {
		tool = tool || strings.HasSuffix(v.Output[i].Type, "_call")
		if v.Output[i].Type != "message" {
			continue
		}
		for j := range v.Output[i].Content {
			c := &v.Output[i].Content[j]
			switch c.Type {
			case "output_text":
				text.WriteString(c.Text)
			case "refusal":
				refusal = true
			}
		}
	}
	finish := v.Status
	if finish == "incomplete" && v.Incomplete.Reason != "" {
		finish += ":" + v.Incomplete.Reason
	}
	r := provider.Result{Status: a.Status, Sent: provider.Answered, Rate: provider.NoRate}
	switch {
	case refusal && v.Status == "completed":
		r.Class, r.Message = batch.ClassRefused, "the model refused"
	case text.Len() == 0 && tool && v.Status == "completed":
		r.Class, r.Message = batch.ClassInvalidOutput, "the answer is a tool call, and tool calls are not supported"
	default:
		r.Settle(responsesFinishes, finish, text.String())
	}
	r.Finish = finish
	return r
}
