package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/batchwright/batchwright/internal/batch"
)

// gemini is Google's generateContent.
type gemini struct{ model string }

func (gemini) name() string { return "gemini" }

func (gemini) inPath() bool { return true }

type geminiBody struct {
	Contents          []geminiContent `json:"contents"`
	SystemInstruction *geminiContent  `json:"systemInstruction"`
	GenerationConfig  geminiConfig    `json:"generationConfig"`

	CachedContent  *string         `json:"cachedContent"`
	Labels         json.RawMessage `json:"labels"`
	SafetySettings json.RawMessage `json:"safetySettings"`
	ServiceTier    *string         `json:"serviceTier"`
	ToolConfig     json.RawMessage `json:"toolConfig"`
	Tools          json.RawMessage `json:"tools"`
}

type geminiContent struct {
	Role  string `json:"role"`
	Parts []struct {
		Text             json.RawMessage `json:"text"`
		InlineData       json.RawMessage `json:"inlineData"`
		FileData         json.RawMessage `json:"fileData"`
		FunctionCall     json.RawMessage `json:"functionCall"`
		FunctionResponse json.RawMessage `json:"functionResponse"`
		Thought          *bool           `json:"thought"`
		ThoughtSignature *string         `json:"thoughtSignature"`
	} `json:"parts"`
}

type geminiConfig struct {
	MaxOutputTokens    *int64          `json:"maxOutputTokens"`
	Temperature        *float64        `json:"temperature"`
	TopP               *float64        `json:"topP"`
	TopK               *float64        `json:"topK"`
	CandidateCount     *int64          `json:"candidateCount"`
	StopSequences      []string        `json:"stopSequences"`
	ResponseMimeType   string          `json:"responseMimeType"`
	ResponseSchema     json.RawMessage `json:"responseSchema"`
	ResponseJSONSchema json.RawMessage `json:"responseJsonSchema"`

	FrequencyPenalty   *float64        `json:"frequencyPenalty"`
	Logprobs           *int64          `json:"logprobs"`
	MediaResolution    *string         `json:"mediaResolution"`
	PresencePenalty    *float64        `json:"presencePenalty"`
	ResponseLogprobs   *bool           `json:"responseLogprobs"`
	ResponseModalities json.RawMessage `json:"responseModalities"`
	Seed               *int64          `json:"seed"`
	SpeechConfig       json.RawMessage `json:"speechConfig"`
	ThinkingConfig     json.RawMessage `json:"thinkingConfig"`
}

func (g gemini) read(r *Request, k *Knobs) (ask, *failure) {
	var b geminiBody
	if m := readJSON(r.Body, &b, k.Lenient); m != nil {
		switch {
		case m.unknown != "":
			return ask{}, invalid("", "", `Invalid JSON payload received. Unknown name "`+m.unknown+`": Cannot find field.`)
		case m.wrongType != "":
			return ask{}, invalid("", "", "Invalid value at '"+m.wrongType+"'")
		}
		return ask{}, invalid("", "", "Invalid JSON payload received. Unexpected token.")
	}
	a := ask{model: g.model}
	if len(b.Contents) == 0 {
		return a, invalid("", "", "* GenerateContentRequest.contents: contents is not specified")
	}
	if b.SystemInstruction != nil {
		if f := b.SystemInstruction.read(&a, "system_instruction"); f != nil {
			return a, f
		}
	}
	for i := range b.Contents {
		c := &b.Contents[i]
		if c.Role != "" && c.Role != "user" && c.Role != "model" && c.Role != "function" {
			return a, invalid("", "", "Please use a valid role: user, model.")
		}
		if f := c.read(&a, fmt.Sprintf("contents[%d]", i)); f != nil {
			return a, f
		}
	}
	f := b.GenerationConfig.read(&a, r)
	return a, f
}

func (c *geminiContent) read(a *ask, at string) *failure {
	if len(c.Parts) == 0 {
		return invalid("", "", "* GenerateContentRequest."+at+".parts: contents.parts must not be empty.")
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		switch {
		case isString(p.Text):
			a.chars += textLength(p.Text)
		case isSet(p.InlineData) || isSet(p.FileData) || isSet(p.FunctionCall) || isSet(p.FunctionResponse):
			a.extra += imageTokens
		default:
			return invalid("", "", fmt.Sprintf("* GenerateContentRequest.%s.parts[%d].data: required oneof field 'data' must have one initialized field", at, i))
		}
	}
	return nil
}

func (c *geminiConfig) read(a *ask, r *Request) *failure {
	switch {
	case below(c.MaxOutputTokens, 1):
		return invalid("", "", "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.")
	case outside(c.Temperature, 0, 2):
		return invalid("", "", "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].")
	case outside(c.TopP, 0, 1):
		return invalid("", "", "* GenerateContentRequest.generation_config.top_p: top_p must be in the range [0.0, 1.0].")
	case c.CandidateCount != nil && *c.CandidateCount != 1:
		return invalid("", "", "Only one candidate is simulated.")
	case len(c.StopSequences) > 5:
		return invalid("", "", "* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences.")
	}
	if c.MaxOutputTokens != nil {
		a.maxTokens = *c.MaxOutputTokens
	}
	schema := c.ResponseJSONSchema
	if !isSet(schema) {
		schema = c.ResponseSchema
	} else if isSet(c.ResponseSchema) {
		return invalid("", "", "Only one of response_schema and response_json_schema may be set.")
	}
	switch {
	case isSet(schema) && c.ResponseMimeType != "application/json" && c.ResponseMimeType != "text/x.enum":
		return invalid("", "", "Function calling and response schema with response mime type '"+c.ResponseMimeType+"' is unsupported")
	case isSet(schema):
		if _, err := r.schemas.of(schema); err != nil {
			return invalid("", "", "Invalid response schema: "+err.Error())
		}
		a.schema = schema
	case c.ResponseMimeType == "application/json":
		a.jsonObject = true
	}
	return nil
}

func (g gemini) answered(b []byte, a *answer) []byte {
	b = append(b, '{')
	switch {
	case a.null == nullChoices:
		b = append(b, `"candidates":null,`...)
	case !a.noChoice:
		b = append(b, `"candidates":[{"content":{"parts":[`...)
		if a.end != finishFilter && a.end != finishRefuse && a.null != nullContent {
			b = append(b, `{"text":`...)
			b = append(appendString(b, a.text), '}')
		}
		b = append(b, `],"role":"model"},"finishReason":"`...)
		b = append(b, [...]string{"STOP", "MAX_TOKENS", "SAFETY", "PROHIBITED_CONTENT"}[a.end]...)
		b = append(b, `","index":0}],`...)
	}
	if !a.noUsage {
		b = append(b, `"usageMetadata":{"promptTokenCount":`...)
		b = a.count(b, a.sayIn)
		b = append(b, `,"cachedContentTokenCount":`...)
		b = a.count(b, a.cached)
		b = append(b, `,"candidatesTokenCount":`...)
		b = a.count(b, a.sayOut-a.reasoning)
		b = append(b, `,"thoughtsTokenCount":`...)
		b = a.count(b, a.reasoning)
		b = append(b, `,"totalTokenCount":`...)
		b = a.count(b, a.sayIn+a.sayOut)
		b = append(b, `},`...)
	}
	b = append(b, `"modelVersion":`...)
	b = appendString(b, a.model)
	return append(b, '}')
}

// geminiErrors are code, status and message of the faults.
var geminiErrors = map[Fault]struct {
	code            int
	status, message string
}{
	FaultRateLimit:      {429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."},
	FaultBadHint:        {429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."},
	FaultRamp:           {429, "RESOURCE_EXHAUSTED", "Resource has been exhausted: please slow down."},
	FaultQuota:          {429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."},
	Fault402:            {402, "FAILED_PRECONDITION", "Your prepayment credits are depleted."},
	FaultSpendLimit:     {400, "FAILED_PRECONDITION", "Your prepayment credits are depleted."},
	FaultAuth:           {403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers without established identity)."},
	FaultTooBig:         {413, "INVALID_ARGUMENT", "Request payload size exceeds the limit."},
	FaultFilter:         {400, "INVALID_ARGUMENT", "The request was blocked by content filtering policy."},
	FaultShouldRetry:    {400, "INVALID_ARGUMENT", "The request could not be read just now."},
	FaultShouldNotRetry: {500, "INTERNAL", "An internal error has occurred."},
	Fault498:            {498, "UNAVAILABLE", "The model is overloaded. Please try again later."},
	Fault408:            {408, "DEADLINE_EXCEEDED", "Request timed out."},
	Fault409:            {409, "ABORTED", "The operation was aborted."},
	Fault500:            {500, "INTERNAL", "An internal error has occurred. Please retry."},
	Fault503:            {503, "UNAVAILABLE", "The model is overloaded. Please try again later."},
	Fault504:            {504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."},
	Fault529:            {529, "UNAVAILABLE", "The model is overloaded. Please try again later."},
	FaultErrorIn200:     {500, "INTERNAL", "An internal error has occurred. Please retry."},
}

func (g gemini) failed(b []byte, f *failure) ([]byte, int) {
	e, ok := geminiErrors[f.fault]
	if !ok {
		e.code, e.status, e.message = 400, "INVALID_ARGUMENT", f.message
	}
	if ok && f.message != "" {
		e.message = f.message
	}
	status := e.code
	switch {
	case f.fault == FaultContext:
		e.message = fmt.Sprintf("The input token count (%d) exceeds the maximum number of tokens allowed (%d).", f.ask.inputTokens(), f.context)
	case f.fault == FaultErrorIn200:
		status = http.StatusOK
	case f.status == http.StatusNotFound:
		e.code, e.status, status = f.status, "NOT_FOUND", f.status
	case f.status != 0:
		e.code, status = f.status, f.status
	}
	b = append(b, `{"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, e.message)
	b = append(b, `,"status":"`...)
	b = append(b, e.status...)
	b = append(b, '"')
	if f.fault == FaultRateLimit || f.fault == FaultQuota {
		b = g.details(b, f)
	}
	return append(b, `}}`...), status
}

// details name the quota and when to come back.
func (g gemini) details(b []byte, f *failure) []byte {
	quota := "GenerateRequestsPerMinutePerProjectPerModel"
	if f.fault == FaultQuota {
		quota = "GenerateRequestsPerDayPerProjectPerModel"
	}
	b = append(b, `,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":`+
		`"generativelanguage.googleapis.com/generate_content_requests","quotaId":"`...)
	b = append(b, quota...)
	b = append(b, `","quotaDimensions":{"location":"global","model":`...)
	b = appendString(b, g.model)
	b = append(b, `}}]}`...)
	if f.fault == FaultRateLimit && f.retry > 0 {
		b = append(b, `,{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
		b = strconv.AppendFloat(b, float64(f.retry)/1000, 'f', -1, 64)
		b = append(b, `s"}`...)
	}
	return append(b, ']')
}

func (g gemini) failedInside(b []byte, _ *answer) []byte {
	b, _ = g.failed(b, &failure{fault: FaultErrorIn200})
	return b
}

func (gemini) class(f Fault) batch.Class {
	if f == FaultRefuse {
		return batch.ClassFiltered
	}
	return faultTable[f].class
}

func (gemini) rates(h []string, _ *levels) []string { return h }

func (gemini) hints(h []string, _ *failure) []string { return h }
