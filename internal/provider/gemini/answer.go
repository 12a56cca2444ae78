package gemini

import (
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

var (
	blocked = provider.Finish{Class: batch.ClassFiltered, Detail: "the provider's safety filter cut the answer"}
	failed  = provider.Finish{Class: batch.ClassInvalidOutput, Detail: "the model could not finish its answer"}
	tools   = provider.Finish{Class: batch.ClassInvalidOutput, Detail: "the answer is a tool call, and tool calls are not supported"}

	finishes = map[string]provider.Finish{
		"STOP":       {Class: batch.ClassOK},
		"MAX_TOKENS": {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
		"SAFETY":     blocked, "RECITATION": blocked, "BLOCKLIST": blocked, "PROHIBITED_CONTENT": blocked, "SPII": blocked,
		"IMAGE_SAFETY": blocked, "IMAGE_PROHIBITED_CONTENT": blocked, "IMAGE_RECITATION": blocked,
		"FINISH_REASON_UNSPECIFIED": {Class: batch.ClassUnknown, Detail: "the answer gives no finish reason"},
		"LANGUAGE":                  failed, "OTHER": failed, "IMAGE_OTHER": failed, "NO_IMAGE": failed, "MALFORMED_RESPONSE": failed,
		"MALFORMED_FUNCTION_CALL": tools, "UNEXPECTED_TOOL_CALL": tools, "TOO_MANY_TOOL_CALLS": tools,
	}
)

type answer struct {
	Candidates []struct {
		Content struct {
			Parts []struct {
				Text    string          `json:"text"`
				Thought bool            `json:"thought"`
				Call    json.RawMessage `json:"functionCall"`
			} `json:"parts"`
		} `json:"content"`
		FinishReason string `json:"finishReason"`
	} `json:"candidates"`
	PromptFeedback struct {
		BlockReason string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage *struct {
		Prompt     provider.Count `json:"promptTokenCount"`
		Cached     provider.Count `json:"cachedContentTokenCount"`
		Candidates provider.Count `json:"candidatesTokenCount"`
		Thoughts   provider.Count `json:"thoughtsTokenCount"`
		Tools      provider.Count `json:"toolUsePromptTokenCount"`
		Total      provider.Count `json:"totalTokenCount"`
	} `json:"usageMetadata"`
	Model      string          `json:"modelVersion"`
	ResponseID string          `json:"responseId"`
	Error      json.RawMessage `json:"error"`
}

// Decode classes an answer of generateContent.
func (a *adapter) Decode(_ string, ans provider.Answer) provider.Result {
	if ans.Status/100 != 2 {
		return provider.Classify(ans)
	}
	var v answer
	if provider.Unmarshal(ans.Body, &v) != nil {
		return provider.Unreadable(ans, "the answer is not JSON")
	}
	r := v.result(ans)
	r.Model, r.RequestID = v.Model, v.ResponseID
	if u := v.Usage; u != nil {
		// Thoughts are not part of the candidates' tokens here; they are billed
		// as output, and so they are in a Usage.
		t := provider.Tally{Input: u.Prompt, Cached: u.Cached, Output: u.Candidates, Reasoning: u.Thoughts, Total: u.Total}
		if min(u.Prompt, u.Tools, u.Candidates, u.Thoughts) >= 0 && max(u.Prompt, u.Tools, u.Candidates, u.Thoughts) < 1<<40 {
			t.Input += u.Tools
			t.Output += u.Thoughts
		} else {
			t.Input = -1
		}
		r.Take(t)
	}
	return r
}

func (v *answer) result(a provider.Answer) provider.Result {
	r := provider.Result{Status: a.Status, Sent: provider.Answered, Rate: provider.NoRate}
	switch {
	case provider.Present(v.Error):
		return provider.Classify(a)
	case len(v.Candidates) == 0 && v.PromptFeedback.BlockReason != "":
		r.Class, r.Finish = batch.ClassFiltered, v.PromptFeedback.BlockReason
		r.Message = "the provider's safety filter blocked the prompt"
		return r
	case len(v.Candidates) == 0:
		if f := provider.FaultOf(a.Body); f.Said && v.Usage == nil {
			return provider.ClassifyFault(a, f)
		}
		return provider.Unreadable(a, "the answer has no candidates")
	}
	c := &v.Candidates[0]
	text, call := "", false
	if len(c.Content.Parts) == 1 && !c.Content.Parts[0].Thought {
		text, call = c.Content.Parts[0].Text, c.Content.Parts[0].Call != nil
	} else {
		var b strings.Builder
		for _, p := range c.Content.Parts {
			call = call || p.Call != nil
			if !p.Thought {
				b.WriteString(p.Text)
			}
		}
		text = b.String()
	}
	if text == "" && call && c.FinishReason == "STOP" {
		r.Class, r.Message, r.Finish = tools.Class, tools.Detail, c.FinishReason
		return r
	}
	r.Settle(finishes, c.FinishReason, text)
	return r
}
