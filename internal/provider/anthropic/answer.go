package anthropic

import (
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// finishes are the stop reasons. A refusal is the vendor's classifier's, not
// the model's own answer, so it counts as filtered.
var finishes = map[string]provider.Finish{
	"end_turn":      {Class: batch.ClassOK},
	"stop_sequence": {Class: batch.ClassOK},
	"max_tokens":    {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"refusal":       {Class: batch.ClassFiltered, Detail: "the provider's safety classifier refused"},
	"model_context_window_exceeded": {Class: batch.ClassContextTooLong,
		Detail: "the prompt and the answer do not fit the model's context window"},
	"pause_turn": {Class: batch.ClassInvalidOutput, Detail: "the answer paused in the middle, which is not supported"},
}

type answer struct {
	Type    string `json:"type"`
	Model   string `json:"model"`
	Content []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
	StopReason  string `json:"stop_reason"`
	StopDetails struct {
		Category string `json:"category"`
	} `json:"stop_details"`
	Usage *struct {
		Input      provider.Count `json:"input_tokens"`
		CacheWrite provider.Count `json:"cache_creation_input_tokens"`
		CacheRead  provider.Count `json:"cache_read_input_tokens"`
		Output     provider.Count `json:"output_tokens"`
		Details    struct {
			Thinking provider.Count `json:"thinking_tokens"`
		} `json:"output_tokens_details"`
	} `json:"usage"`
	Error     json.RawMessage `json:"error"`
	RequestID string          `json:"request_id"`
}

// Decode classes an answer of the Messages API.
func (a *adapter) Decode(_ string, ans provider.Answer) provider.Result {
	var v answer
	bad := provider.Unmarshal(ans.Body, &v) != nil
	var r provider.Result
	switch {
	case ans.Status/100 != 2, provider.Present(v.Error), v.Type == "error":
		r = provider.Classify(ans)
	case bad:
		r = provider.Unreadable(ans, "the answer is not JSON")
	case v.Type != "message" && v.Content == nil && v.StopReason == "":
		if f := provider.FaultOf(ans.Body); f.Said && v.Type == "" {
			r = provider.ClassifyFault(ans, f)
		} else {
			r = provider.Unreadable(ans, "the answer is no message")
		}
	default:
		r = v.result(ans)
	}
	r.Model, r.RequestID = v.Model, v.RequestID
	if u := v.Usage; u != nil && !bad {
		// Cached tokens are not part of input_tokens here; they are in a Usage.
		t := provider.Tally{Input: u.Input, Cached: u.CacheRead, CacheWrite: u.CacheWrite, Output: u.Output, Reasoning: u.Details.Thinking}
		if u.Input >= 0 && u.CacheRead >= 0 && u.CacheWrite >= 0 && max(u.Input, u.CacheRead, u.CacheWrite) < 1<<40 {
			t.Input += u.CacheRead + u.CacheWrite
		}
		r.Take(t)
	}
	return r
}

func (v *answer) result(a provider.Answer) provider.Result {
	r := provider.Result{Status: a.Status, Sent: provider.Answered, Rate: provider.NoRate}
	text, tool := v.text()
	if text == "" && (tool || v.StopReason == "tool_use") {
		r.Class, r.Message, r.Finish = batch.ClassInvalidOutput, "the answer is a tool call, and tool calls are not supported", v.StopReason
		return r
	}
	r.Settle(finishes, v.StopReason, text)
	if v.StopReason == "refusal" && v.StopDetails.Category != "" {
		r.Message += ": " + v.StopDetails.Category
	}
	return r
}

func (v *answer) text() (text string, tool bool) {
	if len(v.Content) == 1 && v.Content[0].Type == "text" {
		return v.Content[0].Text, false
	}
	var b strings.Builder
	for _, c := range v.Content {
		switch c.Type {
		case "text":
			b.WriteString(c.Text)
		case "tool_use", "server_tool_use", "mcp_tool_use":
			tool = true
		}
	}
	return b.String(), tool
}
