package provider

import (
	"net/http"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestRetryHint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		h    http.Header
		f    Fault
		want time.Duration
	}{
		{"nothing", nil, Fault{}, 0},
		{"milliseconds", header("Retry-After-Ms", "1500"), Fault{}, 1500 * time.Millisecond},
		{"milliseconds first", header("Retry-After-Ms", "1", "Retry-After", "9"), Fault{}, time.Millisecond},
		{"milliseconds garbage falls back", header("Retry-After-Ms", "x", "Retry-After", "9"), Fault{}, 9 * time.Second},
		{"milliseconds negative fall back", header("Retry-After-Ms", "-1", "Retry-After", "9"), Fault{}, 9 * time.Second},
		{"seconds with spaces", header("Retry-After", " 9 "), Fault{}, 9 * time.Second},
		{"rounded up", header("Retry-After", "0.0000000001"), Fault{}, 1},
		{"zero", header("Retry-After", "0"), Fault{}, 0},
		{"a duration", header("Retry-After", "2m"), Fault{}, 2 * time.Minute},
		{"exponent beyond belief", header("Retry-After", "1e300"), Fault{}, 0},
		{"31 days and more", header("Retry-After", "2678401"), Fault{}, 0},
		{"date on a skewed machine", header("Retry-After", "Mon, 23 Nov 2026 09:00:30 GMT", "Date", "Mon, 23 Nov 2026 09:00:00 GMT"), Fault{}, 30 * time.Second},
		{"date by this machine", header("Retry-After", "Mon, 23 Nov 2026 12:00:30 GMT"), Fault{}, 30 * time.Second},
		{"old date form", header("Retry-After", "Monday, 23-Nov-26 12:00:30 GMT"), Fault{}, 30 * time.Second},
		{"date in the next century", header("Retry-After", "Mon, 23 Nov 2126 12:00:30 GMT"), Fault{}, 0},
		{"field of the body", nil, Fault{Delay: 27 * time.Second, Message: "retry in 5s"}, 27 * time.Second},
		{"text", nil, Fault{Message: "Please try again in 1.005s. Visit x"}, 1005 * time.Millisecond},
		{"text in milliseconds", nil, Fault{Message: "Please try again in 120ms."}, 120 * time.Millisecond},
		{"text in minutes and seconds", nil, Fault{Message: "try again in 6m0s"}, 6 * time.Minute},
		{"text in fractions", nil, Fault{Message: "Try again in 2m59.56s."}, 2*time.Minute + 59560*time.Millisecond},
		{"text in words", nil, Fault{Message: "Please retry after 7 seconds."}, 7 * time.Second},
		{"text in one word", nil, Fault{Message: "Please wait 1 minute"}, time.Minute},
		{"text with a space before ms", nil, Fault{Message: "retry after 250 milliseconds"}, 250 * time.Millisecond},
		{"text without a unit", nil, Fault{Message: "retry in 7"}, 0},
		{"text that only looks like it", nil, Fault{Message: "retry in 7 parsecs"}, 0},
		{"not a hint", nil, Fault{Message: "limit 60s reached"}, 0},
		{"remaining tokens gone", header("X-Ratelimit-Limit-Tokens", "10", "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "3s"), Fault{}, 3 * time.Second},
		{"remaining tokens left", header("X-Ratelimit-Limit-Tokens", "10", "X-Ratelimit-Remaining-Tokens", "1", "X-Ratelimit-Reset-Tokens", "3s"), Fault{}, 0},
		{"plain reset, seconds", header("X-Ratelimit-Reset", "12"), Fault{}, 12 * time.Second},
		{"plain reset, unix time", header("X-Ratelimit-Reset", "1795435212"), Fault{}, 12 * time.Second},
		{"plain reset, past", header("X-Ratelimit-Reset", "1795435000"), Fault{}, 0},
		{"plain reset, standard", header("Ratelimit-Reset", "5"), Fault{}, 5 * time.Second},
	} {
		if got := retryHint(Answer{Header: c.h, At: noon}, c.f); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzHints(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "1e9", "NaN", "-Inf", "9223372036854775807", "Mon, 23 Nov 2026 12:00:30 GMT", "2026-11-23T12:00:45Z", "2m59.56s",
		"9999999h", "try again in 99999999999999h", "0x10p9"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, v, msg string) {
		for _, name := range []string{"Retry-After", "Retry-After-Ms", "X-Ratelimit-Reset", "Anthropic-Ratelimit-Tokens-Reset"} {
			h := header(name, v, "Anthropic-Ratelimit-Tokens-Remaining", "0")
			if d := retryHint(Answer{Header: h, At: noon}, Fault{Message: msg}); d < 0 || d > farthest {
				t.Fatalf("%s %q, %q: %v", name, v, msg, d)
			}
		}
		r := rateOf(Answer{Header: header("X-Ratelimit-Limit-Requests", v, "X-Ratelimit-Remaining-Tokens", v, "X-Ratelimit-Reset-Tokens", v), At: noon}, false)
		for _, n := range []int64{r.LimitRequests, r.LimitTokens, r.RemainingRequests, r.RemainingTokens} {
			if n < -1 || n > 1e12 {
				t.Fatalf("%q: %+v", v, r)
			}
		}
	})
}

func TestRates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		h     http.Header
		daily bool
		want  RateInfo
	}{
		{"nothing", nil, false, NoRate},
		{"OpenAI", header("x-ratelimit-limit-requests", "60", "x-ratelimit-limit-tokens", "150000", "x-ratelimit-remaining-requests", "59",
			"x-ratelimit-remaining-tokens", "149984", "x-ratelimit-reset-requests", "1s", "x-ratelimit-reset-tokens", "6m0s"), false,
			RateInfo{60, 59, 150000, 149984, time.Second, 6 * time.Minute}},
		{"OpenAI with a project's cap", header("x-ratelimit-limit-requests", "60", "x-ratelimit-limit-tokens", "150000", "x-ratelimit-remaining-tokens", "149984",
			"x-ratelimit-limit-project-tokens", "60000", "x-ratelimit-remaining-project-tokens", "57000", "x-ratelimit-reset-project-tokens", "3s"), false,
			RateInfo{60, -1, 60000, 57000, 0, 3 * time.Second}},
		{"Groq: requests are of the day", header("x-ratelimit-limit-requests", "14400", "x-ratelimit-remaining-requests", "14370", "x-ratelimit-reset-requests", "2m59.56s",
			"x-ratelimit-limit-tokens", "18000", "x-ratelimit-remaining-tokens", "17997", "x-ratelimit-reset-tokens", "7.66s"), true,
			RateInfo{-1, -1, 18000, 17997, 0, 7660 * time.Millisecond}},
		{"Azure: seconds", header("x-ratelimit-remaining-requests", "9", "x-ratelimit-remaining-tokens", "900", "x-ratelimit-reset-tokens", "17"), false,
			RateInfo{-1, 9, -1, 900, 0, 17 * time.Second}},
		{"Azure: -1 everywhere", header("x-ratelimit-limit-requests", "-1", "x-ratelimit-remaining-requests", "-1", "x-ratelimit-reset-requests", "0",
			"x-ratelimit-limit-tokens", "0", "x-ratelimit-remaining-tokens", "0"), false, NoRate},
		{"Anthropic", header("anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "49", "anthropic-ratelimit-requests-reset", "2026-11-23T12:00:01Z",
			"anthropic-ratelimit-tokens-limit", "80000", "anthropic-ratelimit-tokens-remaining", "79000", "anthropic-ratelimit-tokens-reset", "2026-11-23T12:00:45Z",
			"anthropic-ratelimit-input-tokens-limit", "99999"), false,
			RateInfo{50, 49, 80000, 79000, time.Second, 45 * time.Second}},
		{"Anthropic, input only", header("anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-input-tokens-limit", "40000",
			"anthropic-ratelimit-input-tokens-remaining", "39000", "anthropic-ratelimit-input-tokens-reset", "2026-11-23T12:00:45Z"), false,
			RateInfo{50, -1, 40000, 39000, 0, 45 * time.Second}},
		{"Mistral", header("x-ratelimit-limit-req-minute", "300", "x-ratelimit-remaining-req-minute", "299", "x-ratelimit-limit-tokens-minute", "50000",
			"x-ratelimit-remaining-tokens-minute", "49000"), false, RateInfo{300, 299, 50000, 49000, 0, 0}},
		{"garbage", header("x-ratelimit-limit-requests", "many", "x-ratelimit-limit-tokens", "9999999999999999999", "x-ratelimit-remaining-tokens", "1.5"), false, NoRate},
	} {
		if got := rateOf(Answer{Header: c.h, At: noon}, c.daily); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	sent := []byte(`{"model":"claude-sonnet-4-5-20250929","messages":[{"content":"my aunt lives in Trieste and likes it"},{"content":"a \"b\"\n\nc \"d\"\te \"f\" g h i j k"}]}`)
	for in, want := range map[string]string{
		"plain":                                       "plain",
		"a\r\n\tb\x00c\u2028d\u200be":                 "a b c d e",
		"see https://u:p@x.example/a?k=v#f":           "see https://x.example/a",
		"path /a?key=sk":                              "path /a",
		"bad: 'input': {'a': 1}":                      "bad: […]",
		"pydantic [input_value='x', y]":               "pydantic [[…]",
		"model claude-sonnet-4-5-20250929 ?":          "model claude-sonnet-4-5-20250929 ?",
		"no: my aunt lives in Trieste and likes it!":  "no: […]!",
		"echo a \"b\"\n\nc \"d\"\te \"f\" g h i j k.": "echo […].",
		"broken \xff utf":                             "broken utf",
	} {
		if got := scrub(in, sent); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	long := scrub(string(make([]byte, 10))+string(bytesOf('é', 1000)), nil)
	if n := len([]rune(long)); n != MessageCap {
		t.Errorf("%d characters", n)
	}
}

func bytesOf(r rune, n int) []rune {
	out := make([]rune, n)
	for i := range out {
		out[i] = r
	}
	return out
}
