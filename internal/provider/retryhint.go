package provider

import (
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// farthest is the longest hint that is believed; what is longer is garbage.
const farthest = 31 * 24 * time.Hour

// retryHint is how long the provider says to wait, 0 when it does not say. In
// this order: retry-after-ms, retry-after, the reset of an exhausted rate, the
// body. A negative, past, unreadable or absurd value says nothing.
func retryHint(a Answer, f Fault) time.Duration {
	if s := a.Header.Get("Retry-After-Ms"); s != "" {
		if n, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			if d := duration(n, time.Millisecond); d > 0 {
				return d
			}
		}
	}
	if s := strings.TrimSpace(a.Header.Get("Retry-After")); s != "" {
		if d := retryAfter(s, a); d > 0 {
			return d
		}
	}
	if f.Delay > 0 {
		return f.Delay
	}
	if d := exhausted(a); d > 0 {
		return d
	}
	return bodyHint(f.Message)
}

func retryAfter(s string, a Answer) time.Duration {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return duration(n, time.Second)
	}
	if t, err := http.ParseTime(s); err == nil {
		return believable(t.Sub(a.now()))
	}
	return span(s)
}

// exhausted is the longest reset of a rate of which nothing remains.
func exhausted(a Answer) time.Duration {
	r := rateOf(a, false)
	var d time.Duration
	if r.RemainingRequests == 0 {
		d = r.ResetRequests
	}
	if r.RemainingTokens == 0 {
		d = max(d, r.ResetTokens)
	}
	if d == 0 {
		for _, name := range [...]string{"X-Ratelimit-Reset", "Ratelimit-Reset"} {
			if v := a.Header.Get(name); v != "" {
				return resetIn(v, a)
			}
		}
	}
	return d
}

// resetIn reads a reset header: a duration ("6m0s"), a number of seconds, a
// Unix time in seconds or milliseconds, or an RFC 3339 time.
func resetIn(s string, a Answer) time.Duration {
	if s == "" {
		return 0
	}
	if d := span(s); d > 0 {
		return d
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		switch {
		case n > 1e11:
			return believable(time.UnixMilli(int64(min(n, 1e15))).Sub(a.now()))
		case n > 1e9:
			return believable(time.Unix(int64(n), 0).Sub(a.now()))
		}
		return duration(n, time.Second)
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return believable(t.Sub(a.now()))
	}
	return 0
}

// span reads "1s", "6m0s", "2m59.56s", "120ms", "27s"; 0 for anything else.
func span(s string) time.Duration {
	if s == "" || s[len(s)-1] < 'a' { // a plain number is no span
		return 0
	}
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return 0
	}
	return believable(d)
}

func believable(d time.Duration) time.Duration {
	if d <= 0 || d > farthest {
		return 0
	}
	return d
}

// duration is n units, 0 when that is negative, not a number or absurd.
func duration(n float64, unit time.Duration) time.Duration {
	if math.IsNaN(n) || n <= 0 || n > float64(farthest/unit) {
		return 0
	}
	return time.Duration(math.Ceil(n * float64(unit)))
}

var (
	hintText = regexp.MustCompile(`(?i)\b(?:try again|retry|wait|retrying)(?: again)? (?:in|after|for|at least)? ?` +
		`((?:\d+(?:\.\d+)?(?:ms|h|m|s))+\b|\d+(?:\.\d+)? ?(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|hours?)\b)`)
	hintUnits = []struct {
		name string
		unit time.Duration
	}{{"ms", time.Millisecond}, {"milli", time.Millisecond}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
)

// bodyHint finds "try again in 1.005s" and its kin in a message.
func bodyHint(msg string) time.Duration {
	m := hintText.FindStringSubmatch(msg)
	if m == nil {
		return 0
	}
	s := strings.ToLower(m[1])
	if d := span(s); d > 0 {
		return d
	}
	i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if i < 0 {
		return 0
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	if err != nil {
		return 0
	}
	for _, u := range hintUnits {
		if strings.HasPrefix(strings.TrimSpace(s[i:]), u.name) {
			return duration(n, u.unit)
		}
	}
	return 0
}
