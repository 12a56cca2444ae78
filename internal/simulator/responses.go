package simulator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/batchwright/batchwright/internal/batch"
)

// responses is OpenAI's Responses API. Its errors and headers are those of chat.
type responses struct{ chat }

func (responses) name() string { return "openai.responses" }

// class differs from chat's in one: an empty output is an answer that says nothing.
func (responses) class(f Fault) batch.Class {
	if f == FaultNoChoice || f == FaultNullChoices {
		return batch.ClassInvalidOutput
	}
	return faultTable[f].class
}

type responsesBody struct {
	Model           *string         `json:"model"`
	Input           json.RawMessage `json:"input"`
	Instructions    json.RawMessage `json:"instructions"`
	MaxOutputTokens *int64          `json:"max_output_tokens"`
	Temperature     *float64        `json:"temperature"`
	TopP            *float64        `json:"top_p"`
	Text            *responsesText  `json:"text"`
	Stream          bool            `json:"stream"`
	Background      bool            `json:"background"`
	Metadata        map[string]any  `json:"metadata"`
	TopLogprobs     *int64          `json:"top_logprobs"`

	Conversation         json.RawMessage `json:"conversation"`
	Include              json.RawMessage `json:"include"`
	MaxToolCalls         *int64          `json:"max_tool_calls"`
	ParallelToolCalls    *bool           `json:"parallel_tool_calls"`
	PreviousResponseID   *string         `json:"previous_response_id"`
	Prompt               json.RawMessage `json:"prompt"`
	PromptCacheKey       *string         `json:"prompt_cache_key"`
	PromptCacheOptions   json.RawMessage `json:"prompt_cache_options"`
	PromptCacheRetention *string         `json:"prompt_cache_retention"`
	Reasoning            json.RawMessage `json:"reasoning"`
	SafetyIdentifier     *string         `json:"safety_identifier"`
	ServiceTier          *string         `json:"service_tier"`
	Store                *bool           `json:"store"`
	StreamOptions        json.RawMessage `json:"stream_options"`
	ToolChoice           json.RawMessage `json:"tool_choice"`
	Tools                json.RawMessage `json:"tools"`
	Truncation           *string         `json:"truncation"`
	User                 *string         `json:"user"`
}

type responsesText struct {
	Format *struct {
		Type string `json:"type"`
		namedSchema
	} `json:"format"`
	Verbosity *string `json:"verbosity"`
}

type responsesItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// leastOutput is the smallest output limit that the vendor takes.
const leastOutput = 16

func (c responses) read(r *Request, k *Knobs) (ask, *failure) {
	var b responsesBody
	if m := readJSON(r.Body, &b, k.Lenient); m != nil {
		f := openAIMisread(m)
		if m.unknown != "" {
			f.message = "Unknown parameter: '" + m.unknown + "'."
		}
		return ask{}, f
	}
	var a ask
	if b.Model == nil || *b.Model == "" {
		return a, invalid("model", "missing_required_parameter", "Missing required parameter: 'model'.")
	}
	a.model = *b.Model
	if f := b.check(k); f != nil {
		return a, f
	}
	if b.MaxOutputTokens != nil {
		a.maxTokens = *b.MaxOutputTokens
	}
	if isString(b.Instructions) {
		a.chars += textLength(b.Instructions)
	}
	if f := readInput(b.Input, &a); f != nil {
		return a, f
	}
	f := b.Text.read(&a, r)
	return a, f
}

func (b *responsesBody) check(k *Knobs) *failure {
	switch {
	case !k.Lenient && below(b.MaxOutputTokens, leastOutput):
		return invalid("max_output_tokens", "integer_below_min_value",
			fmt.Sprintf("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= %d, but got %d instead.", leastOutput, *b.MaxOutputTokens))
	case below(b.MaxOutputTokens, 1):
		return invalid("max_output_tokens", "integer_below_min_value", "Invalid 'max_output_tokens': expected a value >= 1.")
	case outside(b.Temperature, 0, 2):
		return invalid("temperature", "decimal_out_of_range", "Invalid 'temperature': expected a value between 0 and 2.")
	case outside(b.TopP, 0, 1):
		return invalid("top_p", "decimal_out_of_range", "Invalid 'top_p': expected a value between 0 and 1.")
	case b.Stream || b.Background:
		return invalid("stream", "unsupported_value", "Streams and background answers are not simulated.")
	}
	return checkMetadata(b.Metadata)
}

func readInput(raw json.RawMessage, a *ask) *failure {
	if isString(raw) {
		a.chars += textLength(raw)
		return nil
	}
	var items []responsesItem
	if !isArray(raw) || json.Unmarshal(raw, &items) != nil || len(items) == 0 {
		return invalid("input", "missing_required_parameter", "Missing or invalid parameter: 'input': expected a string or a non-empty array.")
	}
	for i := range items {
		if f := items[i].read(a, i); f != nil {
			return f
		}
	}
	return nil
}

func (m *responsesItem) read(a *ask, i int) *failure {
	at := fmt.Sprintf("input[%d]", i)
	if m.Type != "" && m.Type != "message" {
		return nil // calls of tools and their results carry no text of a user
	}
	switch m.Role {
	case "user", "system", "developer", "assistant":
	default:
		return invalid(at+".role", "invalid_value", "Invalid value: '"+m.Role+"'. Supported values are: 'assistant', 'system', 'developer', and 'user'.")
	}
	if isString(m.Content) {
		a.chars += textLength(m.Content)
		return nil
	}
	var parts []struct {
		Type string          `json:"type"`
		Text json.RawMessage `json:"text"`
	}
	if !isArray(m.Content) || json.Unmarshal(m.Content, &parts) != nil || len(parts) == 0 {
		return invalid(at+".content", "invalid_type", "Invalid type for '"+at+".content': expected one of a string or array of objects.")
	}
	for _, p := range parts {
		switch p.Type {
		case "input_text", "output_text", "refusal":
			a.chars += textLength(p.Text)
		case "input_image", "input_file", "input_audio":
			a.extra += imageTokens
		default:
			return invalid(at+".content", "invalid_value", "Invalid value: '"+p.Type+"'. Supported values are: 'input_text', 'input_image', 'output_text', 'refusal', and 'input_file'.")
		}
	}
	return nil
}

func (t *responsesText) read(a *ask, r *Request) *failure {
	if t == nil || t.Format == nil {
		return nil
	}
	switch t.Format.Type {
	case "text":
		return nil
	case "json_object":
		a.jsonObject = true
		return mustSayJSON(r.Body)
	case "json_schema":
		return t.Format.namedSchema.read(a, r, "text.format")
	}
	return invalid("text.format.type", "invalid_value", "Invalid value: '"+t.Format.Type+"'. Supported values are: 'json_object', 'json_schema', and 'text'.")
}

func (c responses) answered(b []byte, a *answer) []byte {
	status, reason := "completed", "null"
	switch a.end {
	case finishLength:
		status, reason = "incomplete", `{"reason":"max_output_tokens"}`
	case finishFilter:
		status, reason = "incomplete", `{"reason":"content_filter"}`
	}
	b = append(b, `{"id":"resp_`...)
	b = hex.AppendEncode(b, a.id[:])
	b = append(b, `","object":"response","created_at":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `.0,"status":"`...)
	b = append(b, status...)
	b = append(b, `","error":null,"incomplete_details":`...)
	b = append(b, reason...)
	b = append(b, `,"model":`...)
	b = appendString(b, a.model)
	b = append(b, `,"output":[`...)
	switch {
	case a.null == nullChoices:
		b = append(b[:len(b)-1], "null"...)
	case !a.noChoice:
		b = append(b, `{"type":"message","id":"msg_`...)
		b = hex.AppendEncode(b, a.id[:])
		b = append(b, `","status":"`...)
		b = append(b, status...)
		b = append(b, `","role":"assistant","content":[`...)
		switch {
		case a.null == nullContent:
			b = append(b, `{"type":"output_text","annotations":[],"text":null}`...)
		case a.end == finishRefuse:
			b = append(b, `{"type":"refusal","refusal":`...)
			b = append(appendString(b, a.text), '}')
		default:
			b = append(b, `{"type":"output_text","annotations":[],"text":`...)
			b = append(appendString(b, a.text), '}')
		}
		b = append(b, `]}`...)
	}
	if a.null != nullChoices {
		b = append(b, ']')
	}
	if !a.noUsage {
		b = append(b, `,"usage":{"input_tokens":`...)
		b = a.count(b, a.sayIn)
		b = append(b, `,"input_tokens_details":{"cached_tokens":`...)
		b = a.count(b, a.cached)
		b = append(b, `},"output_tokens":`...)
		b = a.count(b, a.sayOut)
		b = append(b, `,"output_tokens_details":{"reasoning_tokens":`...)
		b = a.count(b, a.reasoning)
		b = append(b, `},"total_tokens":`...)
		b = a.count(b, a.sayIn+a.sayOut)
		b = append(b, '}')
	}
	return append(b, `,"service_tier":"default"}`...)
}

func (c responses) failedInside(b []byte, a *answer) []byte {
	b = append(b, `{"id":"resp_`...)
	b = hex.AppendEncode(b, a.id[:])
	b = append(b, `","object":"response","created_at":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `.0,"status":"failed","error":{"code":"server_error","message":"The model failed to generate a response."},`+
		`"incomplete_details":null,"model":`...)
	b = appendString(b, a.model)
	return append(b, `,"output":[],"usage":null}`...)
}
