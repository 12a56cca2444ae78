package provider

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// rule maps one kind of refusal to a class. All conditions that it states must
// hold; the first rule that matches decides.
type rule struct {
	class batch.Class
	// status lists HTTP statuses; a digit stands for its hundred, 0 for a fault
	// inside a 2xx that names no status itself. Empty: any.
	status []int
	tags   []string // any of the fault's tags equals one of these. Empty: any.
	text   []string // its message, in lower case, contains one of these. Empty: any.
}

// rules is the whole table, for every vendor. Names of vendors' codes do not
// collide, so there is one table and not one for each; what collides (a 429,
// a 400) is told apart by the order: money first, since a retry cannot mend
// it, then what is wrong with the item, then who may call, then the pace.
var rules = []rule{
	// Money and quota.
	{class: batch.ClassQuotaMoney, tags: []string{"quota_per_day"}},
	{class: batch.ClassQuotaMoney, tags: []string{"insufficient_quota", "credit_balance_exhausted",
		"organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded",
		"billing_hard_limit_reached", "billing_not_active", "billing_error", "enforced_spend_limit_reached",
		"budget_exceeded", "insufficient_balance", "insufficient_credits", "exceeded_current_quota_error", "payment_required"}},
	{class: batch.ClassQuotaMoney, text: []string{"credit balance is too low", "reached your specified api usage limits",
		"reached your api usage limits", "prepayment credits", "prepaid credits", "prepay balance", "budget has been exceeded",
		"insufficient balance", "insufficient credits"}},
	{class: batch.ClassQuotaMoney, status: []int{402}},
	{class: batch.ClassRateLimited, tags: []string{"quota_per_minute"}},
	// The item itself.
	{class: batch.ClassFiltered, tags: []string{"content_filter", "content_policy_violation", "invalid_prompt", "bio_policy",
		"misalignment_policy_violation", "cyber_policy", "cyber_policy_violation", "moderation_blocked",
		"responsibleaipolicyviolation", "data_inspection_failed", "content_filtered"}},
	{class: batch.ClassFiltered, text: []string{"blocked by content filtering policy", "requires moderation on",
		"content management policy"}},
	{class: batch.ClassTooBig, status: []int{413, 414}},
	{class: batch.ClassTooBig, tags: []string{"request_too_large", "string_above_max_length"}},
	// A request larger than the rate limit of a whole minute waits for ever.
	{class: batch.ClassTooBig, text: []string{"request too large for", "payload size exceeds"}},
	{class: batch.ClassContextTooLong, tags: []string{"context_length_exceeded", "exceed_context_size_error",
		"contextwindowexceedederror", "context_window_exceeded", "model_context_window_exceeded"}},
	{class: batch.ClassContextTooLong, status: []int{0, 400, 422, 500}, text: []string{"maximum context length",
		"context length is only", "context_length_exceeded", "prompt is too long", "exceeds the available context size",
		"exceed context limit", "exceeds the maximum number of tokens", "input is too long for requested model",
		"exceeds the context window", "contextwindowexceedederror", "max_new_tokens` must be", "maximum model length"}},
	// Who may call.
	{class: batch.ClassAuth, tags: []string{"authentication_error", "invalid_authentication_error", "invalid_api_key",
		"api_key_invalid", "permission_error", "permission_denied", "unauthenticated", "unsupported_country_region_territory",
		"accessdeniedexception", "unrecognizedclientexception", "expiredtokenexception", "invalid_organization",
		"account_deactivated", "mismatched_organization"}},
	{class: batch.ClassAuth, status: []int{400}, text: []string{"incorrect api key", "api key not valid", "invalid api key",
		"api key expired", "location is not supported", "free tier is not available"}},
	{class: batch.ClassAuth, status: []int{401, 403, 407}},
	// The pace.
	{class: batch.ClassRamp, tags: []string{"slow_down"}},
	{class: batch.ClassRamp, status: []int{0, 429, 503}, text: []string{"acceleration limit", "slow down", "more gradually"}},
	{class: batch.ClassCapacity, tags: []string{"overloaded_error", "server_is_overloaded", "server_overloaded",
		"engine_overloaded", "engine_overloaded_error", "capacity_exceeded", "service_tier_capacity_exceeded",
		"resource_unavailable", "no_capacity", "nocapacity", "unavailable", "serviceunavailableexception", "modelnotreadyexception"}},
	{class: batch.ClassCapacity, status: []int{0, 429, 5}, text: []string{"resource unavailable", "overloaded", "server busy",
		"at capacity", "capacity exceeded"}},
	{class: batch.ClassCapacity, status: []int{498, 503, 529}},
	{class: batch.ClassRateLimited, tags: []string{"rate_limit_exceeded", "rate_limit_error", "resource_exhausted",
		"throttlingexception", "too_many_requests", "rate_limit_reached_error"}},
	{class: batch.ClassRateLimited, status: []int{429}},
	// What passes, and what never will.
	{class: batch.ClassInvalidRequest, status: []int{501, 505}},
	{class: batch.ClassTransient, status: []int{0, 408, 409, 425, 5}, tags: []string{"server_error", "api_error", "internal",
		"internal_error", "internal_server_error", "timeout_error", "timeout", "deadline_exceeded", "conflict_error", "aborted",
		"vector_store_timeout", "insufficient_system_resource"}},
	{class: batch.ClassTransient, status: []int{408, 409, 425, 5}},
	{class: batch.ClassInvalidRequest, status: []int{3, 4}},
	{class: batch.ClassInvalidRequest, tags: []string{"invalid_request_error", "invalid_argument", "failed_precondition",
		"not_found", "not_found_error", "model_not_found", "data_residency_mismatch", "badrequesterror", "unsupported_parameter",
		"invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "image_parse_error"}},
	{class: batch.ClassUnknown},
}

// shouldRetry is what x-should-retry makes of a class, by the header's value:
// the provider knows better than a table. Money, keys and what is wrong with
// the item are not for it to overrule.
var shouldRetry = map[string]map[batch.Class]batch.Class{
	"true": {batch.ClassInvalidRequest: batch.ClassTransient},
	"false": {batch.ClassRateLimited: batch.ClassQuotaMoney, batch.ClassRamp: batch.ClassQuotaMoney,
		batch.ClassCapacity: batch.ClassInvalidRequest, batch.ClassTransient: batch.ClassInvalidRequest},
}

// Classify classes an answer that is a failure: not a 2xx, or a 2xx with an
// error in it. Message is the vendor's own text, or the status in words.
func Classify(a Answer) Result { return ClassifyFault(a, FaultOf(a.Body)) }

// ClassifyFault is Classify for an error found elsewhere than at the top of
// the body (inside a choice, at the end of a pointer).
func ClassifyFault(a Answer, f Fault) Result {
	f.headerTags(a.Header)
	status := a.Status
	if status/100 == 2 {
		status = f.Status // 0 when the body names none
	}
	r := Result{Class: match(status, f), Status: a.Status, Sent: Answered, Rate: NoRate}
	if c, ok := shouldRetry[strings.ToLower(a.Header.Get("X-Should-Retry"))][r.Class]; ok {
		r.Class = c
	}
	r.RetryAfter = retryHint(a, f)
	if r.RetryAfter > HintCap {
		// Nobody waits for minutes on end for a pace: that is a quota.
		switch r.Class {
		case batch.ClassRateLimited, batch.ClassRamp:
			r.Class = batch.ClassQuotaMoney
		case batch.ClassQuotaMoney:
		default:
			r.RetryAfter = HintCap
		}
	}
	if !r.Class.Traits().Retry {
		r.RetryAfter = 0
	}
	r.Message = scrub(f.Message, nil)
	if r.Message == "" {
		r.Message = statusText(a.Status, f)
	}
	return r
}

// HintCap is the longest wait that is still a matter of pace.
const HintCap = 10 * time.Minute

func match(status int, f Fault) batch.Class {
	text := strings.ToLower(f.Message)
	for _, r := range rules {
		if r.matches(status, f.Tags, text) {
			return r.class
		}
	}
	return batch.ClassUnknown
}

func (r rule) matches(status int, tags []string, text string) bool {
	if len(r.status) > 0 && !slices.Contains(r.status, status) && (status < 100 || !slices.Contains(r.status, status/100)) {
		return false
	}
	if len(r.tags) > 0 && !slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(r.tags, t) }) {
		return false
	}
	return len(r.text) == 0 || slices.ContainsFunc(r.text, func(t string) bool { return strings.Contains(text, t) })
}

func statusText(status int, f Fault) string {
	if status/100 == 3 {
		return "HTTP " + strconv.Itoa(status) + ": the provider redirects, which is refused; check base_url"
	}
	s := "HTTP " + strconv.Itoa(status)
	if t := http.StatusText(status); t != "" {
		s += " " + t
	}
	if len(f.Tags) > 0 {
		s += ": " + printable(f.Tags[0], 80)
	}
	return s
}
