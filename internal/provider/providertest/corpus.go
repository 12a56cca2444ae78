package providertest

import (
	"embed"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

//go:embed testdata/hostile/*.json
var hostile embed.FS

// Recorded is one answer of a server, and what must be made of it. A field
// that is not given is not checked, but for Usage: without it the answer must
// carry none.
type Recorded struct {
	Name    string            `json:"name"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	// Body is the body as text when it is a JSON string, else the JSON itself.
	Body json.RawMessage `json:"body"`

	Class        batch.Class  `json:"class"`
	Text         string       `json:"text"`
	Finish       string       `json:"finish"`
	Usage        *money.Usage `json:"usage"`
	RetryAfterMS *float64     `json:"retry_after_ms"`
	Message      string       `json:"message"`
	NotMessage   string       `json:"not_message"` // what the message must not hold
	RequestID    string       `json:"request_id"`
}

// Bytes is the body as it goes over the wire.
func (r Recorded) Bytes() string {
	var s string
	if json.Unmarshal(r.Body, &s) == nil && len(r.Body) > 0 && r.Body[0] == '"' {
		return s
	}
	return string(r.Body)
}

// Corpus returns the recorded answers of one family (a file's name without its
// ending): openai, openai_responses, openai_compatible, anthropic, gemini, http.
func Corpus(t testing.TB, family string) []Recorded {
	t.Helper()
	raw, err := hostile.ReadFile("testdata/hostile/" + family + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var list []Recorded
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		t.Fatal(family, err)
	}
	return list
}

// Wire is an http.RoundTripper that answers without a network.
type Wire func(*http.Request) (*http.Response, error)

// RoundTrip answers.
func (w Wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// Reply is a Wire that always gives this answer.
func Reply(status int, headers map[string]string, body string) Wire {
	return func(r *http.Request) (*http.Response, error) {
		h := make(http.Header, len(headers))
		for k, v := range headers {
			h.Set(k, v)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r,
			ContentLength: int64(len(body))}, nil
	}
}

// Millis turns the corpus's milliseconds into a duration.
func Millis(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
