package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hintForm appends how long to wait, d from now, in one form.
type hintForm func(h []string, d time.Duration, now time.Time) []string

func one(name, value string) []string { return []string{name, value} }

// hintForms are the forms in which servers say it, and the ways they get wrong.
var hintForms = map[string]hintForm{
	"none": func(h []string, _ time.Duration, _ time.Time) []string { return h },
	"body": func(h []string, _ time.Duration, _ time.Time) []string { return h }, // in the message
	"ms": func(h []string, d time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After-Ms", fmt.Sprint(d.Milliseconds()))...)
	},
	"seconds": func(h []string, d time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", fmt.Sprint(seconds(d)))...)
	},
	"fraction": func(h []string, d time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", strconv.FormatFloat(d.Seconds(), 'f', -1, 64))...)
	},
	"date": func(h []string, d time.Duration, now time.Time) []string {
		return append(h, one("Retry-After", now.Add(d+time.Second).UTC().Format(http.TimeFormat))...)
	},
	"past": func(h []string, _ time.Duration, now time.Time) []string {
		return append(h, one("Retry-After", now.Add(-time.Hour).UTC().Format(http.TimeFormat))...)
	},
	"duration": func(h []string, d time.Duration, _ time.Time) []string {
		return append(h, "X-Ratelimit-Limit-Requests", "60", "X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", d.String())
	},
	"rfc3339": func(h []string, d time.Duration, now time.Time) []string {
		return append(h, "Anthropic-Ratelimit-Tokens-Limit", "60000", "Anthropic-Ratelimit-Tokens-Remaining", "0",
			"Anthropic-Ratelimit-Tokens-Reset", now.Add(d+time.Second).UTC().Format(time.RFC3339))
	},
	"epoch": func(h []string, d time.Duration, now time.Time) []string {
		return append(h, one("X-Ratelimit-Reset", fmt.Sprint(now.Add(d+time.Second).Unix()))...)
	},
	"epochms": func(h []string, d time.Duration, now time.Time) []string {
		return append(h, one("X-Ratelimit-Reset", fmt.Sprint(now.Add(d).UnixMilli()))...)
	},
	"minus1": func(h []string, _ time.Duration, _ time.Time) []string {
		return append(h, "X-Ratelimit-Limit-Requests", "-1", "X-Ratelimit-Remaining-Requests", "-1", "X-Ratelimit-Reset-Requests", "0")
	},
	"garbage": func(h []string, _ time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", "soon; q=\xff")...)
	},
	"negative": func(h []string, _ time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", "-30")...)
	},
	"forever": func(h []string, _ time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", "1000000000")...)
	},
	"day": func(h []string, _ time.Duration, _ time.Time) []string {
		return append(h, one("Retry-After", "52758")...)
	},
}

// HintNames lists the values of the knob hint.
func HintNames() []string { return append([]string{"vendor"}, slices.Sorted(maps.Keys(hintForms))...) }

func hintNamed(name string) (string, error) {
	if name == "vendor" {
		return "", nil
	}
	if hintForms[name] == nil {
		return "", fmt.Errorf("no form of a hint is named %q: %s", name, strings.Join(HintNames(), " "))
	}
	return name, nil
}

// hint appends how long to wait, in the vendor's form or the knob's.
func (x *exchange) hint(h []string, f *failure) []string {
	if x.k.Hint == "" || f.fault != FaultRateLimit {
		return x.d.hints(h, f)
	}
	d := time.Duration(f.retry) * time.Millisecond
	if f.retry = 0; x.k.Hint == "body" {
		f.message = fmt.Sprintf("Rate limit reached. Please try again in %s.", d)
	}
	return hintForms[x.k.Hint](h, d, x.s.cfg.Now())
}
