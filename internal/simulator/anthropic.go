package simulator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// messages is Anthropic's Messages API.
type messages struct{}

func (messages) name() string { return "anthropic" }

type messagesBody struct {
	Model         *string           `json:"model"`
	MaxTokens     *int64            `json:"max_tokens"`
	Messages      []messagesTurn    `json:"messages"`
	System        json.RawMessage   `json:"system"`
	Temperature   *float64          `json:"temperature"`
	TopP          *float64          `json:"top_p"`
	TopK          *int64            `json:"top_k"`
	StopSequences []string          `json:"stop_sequences"`
	Stream        bool              `json:"stream"`
	OutputConfig  *messagesOutput   `json:"output_config"`
	Metadata      *messagesMetadata `json:"metadata"`

	CacheControl json.RawMessage `json:"cache_control"`
	Container    json.RawMessage `json:"container"`
	InferenceGeo *string         `json:"inference_geo"`
	ServiceTier  *string         `json:"service_tier"`
	Speed        *string         `json:"speed"`
	Thinking     json.RawMessage `json:"thinking"`
	ToolChoice   json.RawMessage `json:"tool_choice"`
	Tools        json.RawMessage `json:"tools"`
}

type messagesTurn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

type messagesOutput struct {
	Effort *string `json:"effort"`
	Format *struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	} `json:"format"`
}

type messagesMetadata struct {
	UserID *string `json:"user_id"`
}

func (messages) read(r *Request, k *Knobs) (ask, *failure) {
	if r.Header.Get("Anthropic-Version") == "" {
		return ask{}, invalid("", "", "anthropic-version: header is required")
	}
	var b messagesBody
	if m := readJSON(r.Body, &b, k.Lenient); m != nil {
		switch {
		case m.unknown != "":
			return ask{}, invalid("", "", m.unknown+": Extra inputs are not permitted")
		case m.wrongType != "":
			return ask{}, invalid("", "", m.wrongType+": Input has the wrong type")
		}
		return ask{}, invalid("", "", "The request body is not valid JSON")
	}
	var a ask
	if f := b.check(); f != nil {
		return a, f
	}
	a.model, a.maxTokens = *b.Model, *b.MaxTokens
	if f := readBlocks(b.System, "system", true, &a); f != nil {
		return a, f
	}
	for i, m := range b.Messages {
		at := fmt.Sprintf("messages.%d", i)
		if m.Role != "user" && m.Role != "assistant" {
			return a, invalid("", "", at+".role: Input should be 'user' or 'assistant'")
		}
		if f := readBlocks(m.Content, at+".content", false, &a); f != nil {
			return a, f
		}
	}
	if b.Messages[0].Role != "user" {
		return a, invalid("", "", `messages: first message must use the "user" role`)
	}
	f := b.OutputConfig.read(&a, r)
	return a, f
}

func (b *messagesBody) check() *failure {
	switch {
	case b.Model == nil || *b.Model == "":
		return invalid("", "", "model: Field required")
	case b.MaxTokens == nil:
		return invalid("", "", "max_tokens: Field required")
	case *b.MaxTokens < 1:
		return invalid("", "", "max_tokens: Input should be greater than or equal to 1")
	case len(b.Messages) == 0:
		return invalid("", "", "messages: at least one message is required")
	case len(b.Messages) > 100_000:
		return invalid("", "", "messages: at most 100000 messages are allowed")
	case outside(b.Temperature, 0, 1):
		return invalid("", "", "temperature: range: 0..1")
	case outside(b.TopP, 0, 1):
		return invalid("", "", "top_p: range: 0..1")
	case below(b.TopK, 0):
		return invalid("", "", "top_k: Input should be greater than or equal to 0")
	case b.Stream:
		return invalid("", "", "stream: streams are not simulated")
	}
	return nil
}

func readBlocks(raw json.RawMessage, at string, optional bool, a *ask) *failure {
	if !isSet(raw) && optional {
		return nil
	}
	if isString(raw) {
		n := textLength(raw)
		a.chars += n
		if n == 0 && !optional {
			return invalid("", "", at+": text content must be non-empty")
		}
		return nil
	}
	var blocks []struct {
		Type string          `json:"type"`
		Text json.RawMessage `json:"text"`
	}
	if !isArray(raw) || json.Unmarshal(raw, &blocks) != nil {
		return invalid("", "", at+": Input should be a valid string or list of content blocks")
	}
	for i, p := range blocks {
		switch p.Type {
		case "text":
			if textLength(p.Text) == 0 {
				return invalid("", "", fmt.Sprintf("%s.%d: text content blocks must be non-empty", at, i))
			}
			a.chars += textLength(p.Text)
		case "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result":
			a.extra += imageTokens
		default:
			return invalid("", "", fmt.Sprintf("%s.%d: Input tag '%s' found using 'type' does not match any of the expected tags", at, i, p.Type))
		}
	}
	return nil
}

func (o *messagesOutput) read(a *ask, r *Request) *failure {
	if o == nil || o.Format == nil {
		return nil
	}
	if o.Format.Type != "json_schema" || !isObject(o.Format.Schema) {
		return invalid("", "", "output_config.format: Input should be of type json_schema with a schema")
	}
	s, err := r.schemas.of(o.Format.Schema)
	if err == nil {
		err = s.closed()
	}
	if err != nil {
		return invalid("", "", "output_config.format.schema: "+err.Error())
	}
	a.schema = o.Format.Schema
	return nil
}

func (messages) answered(b []byte, a *answer) []byte {
	b = append(b, `{"id":"msg_`...)
	b = hex.AppendEncode(b, a.id[:])
	b = append(b, `","type":"message","role":"assistant","model":`...)
	b = appendString(b, a.model)
	b = append(b, `,"content":[`...)
	switch {
	case a.null == nullChoices:
		b = append(b[:len(b)-1], "null"...)
	case a.null == nullContent:
		b = append(b, `{"type":"text","text":null}`...)
	case !a.noChoice && a.end != finishFilter && a.end != finishRefuse:
		b = append(b, `{"type":"text","text":`...)
		b = append(appendString(b, a.text), '}')
	}
	if a.null != nullChoices {
		b = append(b, ']')
	}
	b = append(b, `,"stop_reason":`...)
	details := "null"
	switch {
	case a.noChoice:
		b = append(b, "null"...)
	case a.end == finishFilter || a.end == finishRefuse:
		b = append(b, `"refusal"`...)
		details = `{"type":"refusal","category":"general_harms","explanation":null}`
	case a.end == finishLength:
		b = append(b, `"max_tokens"`...)
	default:
		b = append(b, `"end_turn"`...)
	}
	b = append(b, `,"stop_sequence":null,"stop_details":`...)
	b = append(b, details...)
	if !a.noUsage {
		b = append(b, `,"usage":{"input_tokens":`...)
		b = a.count(b, a.sayIn-a.cached)
		b = append(b, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":`...)
		b = a.count(b, a.cached)
		b = append(b, `,"output_tokens":`...)
		b = a.count(b, a.sayOut)
		b = append(b, `,"output_tokens_details":{"thinking_tokens":`...)
		b = a.count(b, a.reasoning)
		b = append(b, `},"service_tier":"standard"}`...)
	}
	return append(b, '}')
}

// anthropicErrors are status, type and message of the faults.
var anthropicErrors = map[Fault]struct {
	status       int
	typ, message string
}{
	FaultRateLimit:      {429, "rate_limit_error", "This request would exceed your organization's rate limit."},
	FaultBadHint:        {429, "rate_limit_error", "This request would exceed your organization's rate limit."},
	FaultRamp:           {429, "rate_limit_error", "This request would exceed your organization's acceleration limit. Please increase your usage more gradually."},
	FaultQuota:          {400, "invalid_request_error", "Your credit balance is too low to access the API. Please go to Plans & Billing to upgrade or purchase credits."},
	Fault402:            {402, "billing_error", "Your organization's billing is not set up."},
	FaultSpendLimit:     {400, "invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01."},
	FaultAuth:           {401, "authentication_error", "invalid x-api-key"},
	FaultTooBig:         {413, "request_too_large", "Request exceeds the maximum size"},
	FaultFilter:         {400, "invalid_request_error", "Output blocked by content filtering policy"},
	FaultShouldRetry:    {400, "invalid_request_error", "The request could not be read just now"},
	FaultShouldNotRetry: {500, "api_error", "Internal server error"},
	Fault498:            {498, "overloaded_error", "Overloaded"},
	Fault408:            {408, "timeout_error", "Request timed out"},
	Fault409:            {409, "conflict_error", "Conflict"},
	Fault500:            {500, "api_error", "Internal server error"},
	Fault503:            {503, "overloaded_error", "Overloaded"},
	Fault504:            {504, "timeout_error", "Request timed out"},
	Fault529:            {529, "overloaded_error", "Overloaded"},
	FaultErrorIn200:     {200, "api_error", "Internal server error"},
}

func (messages) failed(b []byte, f *failure) ([]byte, int) {
	e, ok := anthropicErrors[f.fault]
	if !ok {
		e.status, e.typ, e.message = 400, "invalid_request_error", f.message
	}
	if ok && f.message != "" {
		e.message = f.message
	}
	if f.fault == FaultContext {
		e.message = fmt.Sprintf("prompt is too long: %d tokens > %d maximum", f.ask.inputTokens(), f.context)
	}
	switch {
	case f.status == http.StatusNotFound:
		e.status, e.typ = f.status, "not_found_error"
	case f.status != 0:
		e.status = f.status
	}
	b = append(b, `{"type":"error","error":{"type":`...)
	b = appendString(b, e.typ)
	b = append(b, `,"message":`...)
	b = appendString(b, e.message)
	return append(b, `}}`...), e.status
}

func (m messages) failedInside(b []byte, _ *answer) []byte {
	b, _ = m.failed(b, &failure{fault: FaultErrorIn200})
	return b
}

func (messages) class(f Fault) batch.Class {
	switch f {
	case FaultRefuse:
		return batch.ClassFiltered
	case FaultNullChoices: // its stop reason says that it is whole
		return batch.ClassInvalidOutput
	}
	return faultTable[f].class
}

func (messages) rates(h []string, l *levels) []string {
	add := func(what string, limit, left int64, reset time.Duration) {
		if limit > 0 {
			h = append(h, "Anthropic-Ratelimit-"+what+"-Limit", strconv.FormatInt(limit, 10),
				"Anthropic-Ratelimit-"+what+"-Remaining", strconv.FormatInt(left, 10),
				"Anthropic-Ratelimit-"+what+"-Reset", l.at.Add(reset+time.Second-1).UTC().Format(time.RFC3339))
		}
	}
	add("Requests", l.rpm, l.leftRequests, l.resetRequests)
	// The vendor rounds what remains of tokens to the nearest thousand.
	add("Tokens", l.tpm, (l.leftTokens+500)/1000*1000, l.resetTokens)
	add("Input-Tokens", l.tpm, (l.leftTokens+500)/1000*1000, l.resetTokens)
	return h
}

func (messages) hints(h []string, f *failure) []string {
	switch {
	case f.fault == FaultBadHint:
		return append(h, "Retry-After", "soon")
	case f.retry > 0:
		return append(h, "Retry-After", strconv.FormatInt((f.retry+999)/1000, 10))
	}
	return h
}
