package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// rateNames are the headers of one vendor's rates, canonical.
type rateNames struct {
	limitReq, remReq, resetReq string
	limitTok, remTok, resetTok string
}

// The families in use. The first whose limit or remaining header is there
// wins. Anthropic's plain token headers are the strictest of its several.
var rateFamilies = []rateNames{
	{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
		"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
	{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset",
		"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
	{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset",
		"Anthropic-Ratelimit-Input-Tokens-Limit", "Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"},
	{"X-Ratelimit-Limit-Req-Minute", "X-Ratelimit-Remaining-Req-Minute", "",
		"X-Ratelimit-Limit-Tokens-Minute", "X-Ratelimit-Remaining-Tokens-Minute", ""},
}

// A project's own cap, stricter than the organisation's when it is there.
const (
	projectLimit     = "X-Ratelimit-Limit-Project-Tokens"
	projectRemaining = "X-Ratelimit-Remaining-Project-Tokens"
	projectReset     = "X-Ratelimit-Reset-Project-Tokens"
)

// rateOf reads the rate headers of an answer. daily says that its request
// numbers count per day: they are then left out, since RateInfo is per minute.
func rateOf(a Answer, daily bool) RateInfo {
	r := NoRate
	for i := range rateFamilies {
		n := &rateFamilies[i]
		if first(a.Header, n.limitTok) == "" && first(a.Header, n.remTok) == "" &&
			(i == 1 || first(a.Header, n.limitReq) == "" && first(a.Header, n.remReq) == "") {
			continue
		}
		if !daily {
			r.LimitRequests, r.RemainingRequests, r.ResetRequests = bucket(a, n.limitReq, n.remReq, n.resetReq)
		}
		r.LimitTokens, r.RemainingTokens, r.ResetTokens = bucket(a, n.limitTok, n.remTok, n.resetTok)
		break
	}
	if first(a.Header, projectLimit) != "" {
		limit, rest, reset := bucket(a, projectLimit, projectRemaining, projectReset)
		if limit > 0 && (r.LimitTokens < 0 || limit < r.LimitTokens) {
			r.LimitTokens, r.RemainingTokens, r.ResetTokens = limit, rest, reset
		}
	}
	return r
}

// bucket reads one rate. A limit of 0 or less is a known fault of some
// gateways; then the whole bucket is unknown.
func bucket(a Answer, limit, rest, reset string) (int64, int64, time.Duration) {
	ls, rs := first(a.Header, limit), first(a.Header, rest)
	l, m := number(ls), number(rs)
	if ls != "" && l <= 0 || ls == "" && m < 0 {
		return -1, -1, 0
	}
	if l == 0 {
		l = -1
	}
	var d time.Duration
	if reset != "" {
		d = resetIn(first(a.Header, reset), a)
	}
	return l, m, d
}

func number(s string) int64 {
	if s == "" {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > 1e12 {
		return -1
	}
	return n
}

func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
