package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// chat is OpenAI's chat completions, also in Azure's form.
type chat struct {
	azure bool
	model string // Azure names the deployment in the path
}

func (c chat) name() string {
	if c.azure {
		return "azure"
	}
	return "openai.chat"
}

type chatBody struct {
	Model               *string         `json:"model"`
	Messages            []chatMessage   `json:"messages"`
	MaxTokens           *int64          `json:"max_tokens"`
	MaxCompletionTokens *int64          `json:"max_completion_tokens"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	N                   *int64          `json:"n"`
	Stop                json.RawMessage `json:"stop"`
	Stream              bool            `json:"stream"`
	ResponseFormat      *chatFormat     `json:"response_format"`
	Metadata            map[string]any  `json:"metadata"`
	TopLogprobs         *int64          `json:"top_logprobs"`

	Audio                json.RawMessage `json:"audio"`
	FrequencyPenalty     *float64        `json:"frequency_penalty"`
	FunctionCall         json.RawMessage `json:"function_call"`
	Functions            json.RawMessage `json:"functions"`
	LogitBias            json.RawMessage `json:"logit_bias"`
	Logprobs             *bool           `json:"logprobs"`
	Modalities           json.RawMessage `json:"modalities"`
	ParallelToolCalls    *bool           `json:"parallel_tool_calls"`
	Prediction           json.RawMessage `json:"prediction"`
	PresencePenalty      *float64        `json:"presence_penalty"`
	PromptCacheKey       *string         `json:"prompt_cache_key"`
	PromptCacheOptions   json.RawMessage `json:"prompt_cache_options"`
	PromptCacheRetention *string         `json:"prompt_cache_retention"`
	ReasoningEffort      *string         `json:"reasoning_effort"`
	SafetyIdentifier     *string         `json:"safety_identifier"`
	Seed                 *int64          `json:"seed"`
	ServiceTier          *string         `json:"service_tier"`
	Store                *bool           `json:"store"`
	StreamOptions        json.RawMessage `json:"stream_options"`
	ToolChoice           json.RawMessage `json:"tool_choice"`
	Tools                json.RawMessage `json:"tools"`
	User                 *string         `json:"user"`
	Verbosity            *string         `json:"verbosity"`
	WebSearchOptions     json.RawMessage `json:"web_search_options"`
}

type chatMessage struct {
	Role         string          `json:"role"`
	Content      json.RawMessage `json:"content"`
	Name         *string         `json:"name"`
	ToolCalls    json.RawMessage `json:"tool_calls"`
	ToolCallID   *string         `json:"tool_call_id"`
	Refusal      json.RawMessage `json:"refusal"`
	Audio        json.RawMessage `json:"audio"`
	FunctionCall json.RawMessage `json:"function_call"`
}

type chatFormat struct {
	Type       string          `json:"type"`
	JSONSchema *namedSchema    `json:"json_schema"`
	Grammar    json.RawMessage `json:"grammar"`
}

type namedSchema struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict"`
}

func openAIMisread(m *misread) *failure {
	switch {
	case m.unknown != "":
		return invalid(m.unknown, "unknown_parameter", "Unrecognized request argument supplied: "+m.unknown)
	case m.wrongType != "":
		return invalid(m.wrongType, "invalid_type", "Invalid type for '"+m.wrongType+"'.")
	}
	return invalid("", "", "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "+
		"your HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)")
}

func (c chat) read(r *Request, k *Knobs) (ask, *failure) {
	if a, ok := quickChat(r.Body); ok && !c.azure {
		return a, nil
	}
	return c.readFull(r, k)
}

func (c chat) readFull(r *Request, k *Knobs) (ask, *failure) {
	var b chatBody
	if m := readJSON(r.Body, &b, k.Lenient); m != nil {
		return ask{}, openAIMisread(m)
	}
	a := ask{model: c.model}
	if !c.azure {
		if b.Model == nil || *b.Model == "" {
			return a, invalid("model", "", "you must provide a model parameter")
		}
		a.model = *b.Model
	}
	if f := b.check(); f != nil {
		return a, f
	}
	for i := range b.Messages {
		if f := b.Messages[i].read(&a, i); f != nil {
			return a, f
		}
	}
	for _, n := range []*int64{b.MaxTokens, b.MaxCompletionTokens} {
		if n != nil {
			a.maxTokens = *n
		}
	}
	f := b.ResponseFormat.read(&a, r)
	return a, f
}

func (b *chatBody) check() *failure {
	switch {
	case len(b.Messages) == 0:
		return invalid("messages", "empty_array", "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.")
	case b.MaxTokens != nil && b.MaxCompletionTokens != nil:
		return invalid("max_tokens", "invalid_parameter_combination", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	case below(b.MaxTokens, 1) || below(b.MaxCompletionTokens, 1):
		return invalid("max_tokens", "integer_below_min_value", "Invalid value: expected a value >= 1 for the output limit.")
	case outside(b.Temperature, 0, 2):
		return invalid("temperature", "decimal_out_of_range", "Invalid 'temperature': expected a value between 0 and 2.")
	case outside(b.TopP, 0, 1):
		return invalid("top_p", "decimal_out_of_range", "Invalid 'top_p': expected a value between 0 and 1.")
	case outside(b.PresencePenalty, -2, 2) || outside(b.FrequencyPenalty, -2, 2):
		return invalid("presence_penalty", "decimal_out_of_range", "Invalid penalty: expected a value between -2 and 2.")
	case b.N != nil && *b.N != 1:
		return invalid("n", "unsupported_value", "Only one choice is simulated: 'n' must be 1.")
	case b.TopLogprobs != nil && (*b.TopLogprobs < 0 || *b.TopLogprobs > 20):
		return invalid("top_logprobs", "integer_out_of_range", "Invalid 'top_logprobs': expected a value between 0 and 20.")
	case b.Stream:
		return invalid("stream", "unsupported_value", "Streams are not simulated: 'stream' must be false.")
	case !validStop(b.Stop):
		return invalid("stop", "invalid_type", "Invalid 'stop': expected a string or an array of 1 to 4 strings.")
	}
	return checkMetadata(b.Metadata)
}

func below(n *int64, least int64) bool { return n != nil && *n < least }

func outside(x *float64, low, high float64) bool { return x != nil && !(*x >= low && *x <= high) }

func validStop(raw json.RawMessage) bool {
	if !isSet(raw) || isString(raw) {
		return true
	}
	var list []string
	return json.Unmarshal(raw, &list) == nil && len(list) >= 1 && len(list) <= 4
}

func checkMetadata(m map[string]any) *failure {
	if len(m) > 16 {
		return invalid("metadata", "object_above_max_properties", "Invalid 'metadata': too many properties, at most 16.")
	}
	for key, v := range m {
		s, ok := v.(string)
		if !ok || len(key) > 64 || len(s) > 512 {
			return invalid("metadata", "invalid_type", "Invalid 'metadata': keys up to 64 and string values up to 512 characters.")
		}
	}
	return nil
}

func (m *chatMessage) read(a *ask, i int) *failure {
	at := func(field string) string { return fmt.Sprintf("messages[%d].%s", i, field) }
	switch m.Role {
	case "system", "developer", "user", "tool", "function":
	case "assistant":
		if !isSet(m.Content) && (isSet(m.ToolCalls) || isSet(m.Refusal) || isSet(m.FunctionCall)) {
			return nil
		}
	default:
		return invalid(at("role"), "invalid_value", fmt.Sprintf("Invalid value: '%s'. Supported values are: 'system', "+
			"'assistant', 'user', 'function', 'tool', and 'developer'.", m.Role))
	}
	if isString(m.Content) {
		a.chars += textLength(m.Content)
		return nil
	}
	if !isArray(m.Content) {
		return invalid(at("content"), "invalid_type", "Invalid type for '"+at("content")+"': expected one of a string or array of objects.")
	}
	var parts []struct {
		Type string          `json:"type"`
		Text json.RawMessage `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil || len(parts) == 0 {
		return invalid(at("content"), "invalid_type", "Invalid '"+at("content")+"': expected a non-empty array of objects.")
	}
	for _, p := range parts {
		switch p.Type {
		case "text", "refusal":
			if p.Type == "text" && !isString(p.Text) {
				return invalid(at("content"), "missing_required_parameter", "Missing required parameter: 'text'.")
			}
			a.chars += textLength(p.Text)
		case "image_url", "input_audio", "file":
			a.extra += imageTokens
		default:
			return invalid(at("content"), "invalid_value", "Invalid value: '"+p.Type+"'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', and 'file'.")
		}
	}
	return nil
}

func (f *chatFormat) read(a *ask, r *Request) *failure {
	if f == nil {
		return nil
	}
	switch f.Type {
	case "text":
		return nil
	case "json_object":
		a.jsonObject = true
		return mustSayJSON(r.Body)
	case "json_schema":
		if f.JSONSchema == nil {
			return invalid("response_format.json_schema", "missing_required_parameter", "Missing required parameter: 'response_format.json_schema'.")
		}
		return f.JSONSchema.read(a, r, "response_format")
	}
	return invalid("response_format.type", "invalid_value", "Invalid value: '"+f.Type+"'. Supported values are: 'json_object', 'json_schema', and 'text'.")
}

func mustSayJSON(body []byte) *failure {
	// The answer's own format object says it once; the messages must say it too.
	if bytes.Count(bytes.ToLower(body), []byte("json")) < 2 {
		return invalid("messages", "", "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.")
	}
	return nil
}

var schemaName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (n *namedSchema) read(a *ask, r *Request, param string) *failure {
	if !schemaName.MatchString(n.Name) {
		return invalid(param+".name", "invalid_value", "Invalid '"+param+"': the schema's name must match '^[a-zA-Z0-9_-]{1,64}$'.")
	}
	if !isObject(n.Schema) {
		return invalid(param+".schema", "invalid_type", "Invalid type for '"+param+"': the schema must be an object.")
	}
	s, err := r.schemas.of(n.Schema)
	if err == nil && n.Strict != nil && *n.Strict {
		err = s.strict()
	}
	if err != nil {
		return invalid(param, "invalid_json_schema", "Invalid schema for "+param+" '"+n.Name+"': "+err.Error())
	}
	a.schema = n.Schema
	return nil
}
