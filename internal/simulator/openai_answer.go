package simulator

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// created stands in answers for the time they were made: an answer has no clock.
const created = 1763900000

func (c chat) answered(b []byte, a *answer) []byte {
	b = append(b, `{"id":"chatcmpl-`...)
	b = hex.AppendEncode(b, a.id[:])
	b = append(b, `","object":"chat.completion","created":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `,"model":`...)
	b = appendString(b, a.model)
	b = append(b, `,"choices":[`...)
	switch {
	case a.null == nullChoices:
		b = append(b[:len(b)-1], "null"...)
	case !a.noChoice:
		b = append(b, `{"index":0,"message":{"role":"assistant","content":`...)
		switch {
		case a.null == nullContent:
			b = append(b, `null,"refusal":null`...)
		case a.end == finishRefuse:
			b = append(b, `null,"refusal":`...)
			b = appendString(b, a.text)
		default:
			b = appendString(b, a.text)
			b = append(b, `,"refusal":null`...)
		}
		b = append(b, `,"annotations":[]},"logprobs":null,"finish_reason":"`...)
		b = append(b, [...]string{"stop", "length", "content_filter", "stop"}[a.end]...)
		b = append(b, `"}`...)
	}
	if a.null != nullChoices {
		b = append(b, ']')
	}
	if !a.noUsage {
		b = append(b, `,"usage":{"prompt_tokens":`...)
		b = a.count(b, a.sayIn)
		b = append(b, `,"completion_tokens":`...)
		b = a.count(b, a.sayOut)
		b = append(b, `,"total_tokens":`...)
		b = a.count(b, a.sayIn+a.sayOut)
		b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
		b = a.count(b, a.cached)
		b = append(b, `},"completion_tokens_details":{"reasoning_tokens":`...)
		b = a.count(b, a.reasoning)
		b = append(b, `}}`...)
	}
	return append(b, `,"service_tier":"default"}`...)
}

// openAIErrors are status, type, code and message of the faults.
var openAIErrors = map[Fault][3]string{
	FaultRateLimit:      {"requests", "rate_limit_exceeded", "Rate limit reached in organization org-sim."},
	FaultBadHint:        {"requests", "rate_limit_exceeded", "Rate limit reached in organization org-sim."},
	FaultRamp:           {"slow_down", "slow_down", "Slow down: your request rate grew too fast. Go back to the original rate, hold it and then grow slowly."},
	FaultQuota:          {"insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."},
	Fault402:            {"billing_error", "payment_required", "Payment required."},
	FaultSpendLimit:     {"invalid_request_error", "organization_spend_limit_exceeded", "You have reached your specified API usage limits."},
	FaultAuth:           {"invalid_request_error", "invalid_api_key", "Incorrect API key provided."},
	FaultTooBig:         {"invalid_request_error", "request_too_large", "The request body is too large."},
	FaultShouldRetry:    {"invalid_request_error", "", "The request could not be read just now."},
	FaultShouldNotRetry: {"server_error", "", "The server had an error that asking again will not mend."},
	Fault498:            {"server_error", "capacity_exceeded", "The flex tier is busy."},
	Fault408:            {"server_error", "", "Request timed out."},
	Fault409:            {"invalid_request_error", "conflict", "The resource was updated by another request."},
	Fault500:            {"server_error", "", "The server had an error while processing your request. Sorry about that!"},
	Fault503:            {"server_error", "server_is_overloaded", "The server is currently overloaded with other requests."},
	Fault504:            {"server_error", "", "Gateway timeout."},
	Fault529:            {"server_error", "server_is_overloaded", "The server is overloaded."},
	FaultErrorIn200:     {"server_error", "server_error", "Provider returned error."},
}

func (c chat) failed(b []byte, f *failure) ([]byte, int) {
	status := faultTable[f.fault].status
	typ, code, message := "invalid_request_error", f.code, f.message
	if e, ok := openAIErrors[f.fault]; ok {
		typ, code = e[0], e[1]
		if f.code != "" {
			code = f.code
		}
		if message == "" {
			message = e[2]
		}
	}
	switch f.fault {
	case FaultContext:
		code = "context_length_exceeded"
		message = fmt.Sprintf("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. "+
			"Please reduce the length of the messages.", f.context, f.ask.inputTokens())
	case FaultFilter:
		code, status = "content_policy_violation", 400
		message = "Your request was rejected as a result of our safety system."
		if c.azure {
			code = "content_filter"
			message = "The response was filtered due to the prompt triggering the content management policy."
		}
	case FaultErrorIn200:
		status = 200
	case FaultRateLimit:
		if f.retry > 0 {
			message += fmt.Sprintf(" Please try again in %s.", time.Duration(f.retry)*time.Millisecond)
		}
	}
	if f.status != 0 {
		status = f.status
	}
	b = append(b, `{"error":{"message":`...)
	b = appendString(b, message)
	b = append(b, `,"type":`...)
	b = appendString(b, typ)
	b = append(b, `,"param":`...)
	b = appendOrNull(b, f.param)
	b = append(b, `,"code":`...)
	b = appendOrNull(b, code)
	return append(b, `}}`...), status
}

func (c chat) failedInside(b []byte, a *answer) []byte {
	b = append(b, `{"id":"chatcmpl-`...)
	b = hex.AppendEncode(b, a.id[:])
	b = append(b, `","object":"chat.completion","created":`...)
	b = strconv.AppendInt(b, created, 10)
	b = append(b, `,"model":`...)
	b = appendString(b, a.model)
	return append(b, `,"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"error",`+
		`"error":{"code":502,"message":"Provider returned error"}}]}`...)
}

func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func (c chat) class(f Fault) batch.Class { return faultTable[f].class }

func (c chat) rates(h []string, l *levels) []string {
	reset := func(d time.Duration) string { return d.Round(time.Millisecond).String() }
	if c.azure {
		reset = func(d time.Duration) string { return strconv.FormatInt(seconds(d), 10) }
	}
	if l.rpm > 0 {
		h = append(h, "X-Ratelimit-Limit-Requests", strconv.FormatInt(l.rpm, 10),
			"X-Ratelimit-Remaining-Requests", strconv.FormatInt(l.leftRequests, 10),
			"X-Ratelimit-Reset-Requests", reset(l.resetRequests))
	}
	if l.tpm > 0 {
		h = append(h, "X-Ratelimit-Limit-Tokens", strconv.FormatInt(l.tpm, 10),
			"X-Ratelimit-Remaining-Tokens", strconv.FormatInt(l.leftTokens, 10),
			"X-Ratelimit-Reset-Tokens", reset(l.resetTokens))
	}
	return h
}

func (c chat) hints(h []string, f *failure) []string {
	if f.fault == FaultBadHint {
		return append(h, "Retry-After", "soon", "Retry-After-Ms", "-1", "X-Ratelimit-Reset-Requests", strings.Repeat("9", 40))
	}
	if f.retry > 0 {
		h = append(h, "Retry-After", strconv.FormatInt((f.retry+999)/1000, 10), "Retry-After-Ms", strconv.FormatInt(f.retry, 10))
	}
	return h
}

// seconds rounds up to whole seconds.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (c chat) inPath() bool { return c.azure }
