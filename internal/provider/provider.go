// Package provider is the port to every LLM API: one request in, one classed
// result out. An adapter only translates. It does not retry, pace, log, read
// the environment or decide what a class means; those are composed around it.
package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/secret"
)

// Message is one turn of a conversation. Content is a JSON string or a JSON
// array of parts in the OpenAI form ({"type":"text","text":...}).
type Message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// Request is one item's call, before a vendor's form is put on it.
type Request struct {
	Model    string
	System   string // rendered; empty when there is none
	Messages []Message
	// Body is a ready request body of an OpenAI batch file line; the other
	// fields but Model (when the body names none) and MaxOutputTokens (when the
	// body has no such limit) are then empty. Endpoint is the line's url.
	Body            json.RawMessage
	Endpoint        string
	MaxOutputTokens int64
	Params          map[string]json.RawMessage // passed through as they are
	Schema          json.RawMessage            // JSON Schema of the answer, or nil
	SchemaName      string
	// Fields is the item, for adapters whose request is a template (http).
	Fields json.RawMessage
}

// Call is a request in the vendor's form. It is a pure function of Request and
// the adapter's configuration: same bytes on another machine, day and zone
// (I5). It carries no key and no header that changes between attempts.
type Call struct {
	Method string // POST where empty
	Path   string // joined to the base URL
	Body   []byte
	// InputBound is an upper bound of the input tokens the provider can bill:
	// a token is at least one byte of text, so the length of the body bounds
	// it, plus a stated number for every part whose size is not in the body
	// (an image by URL).
	InputBound int64
	// OutputBound is the most output tokens the call can be billed: the limit
	// that the body sends.
	OutputBound int64
}

// Sent says how far a request got.
type Sent int

// How far a request got.
const (
	NotSent  Sent = iota // surely unsent: no byte of the request was written
	MaybeRun             // bytes were written and no whole answer came back
	Answered             // a whole HTTP answer came back
)

// Result is the classed end of one call.
type Result struct {
	Class     batch.Class
	Message   string // one line for a person; never the payload, never a key
	Status    int    // HTTP status, 0 without an answer
	Sent      Sent
	Text      string // the answer, for ok, truncated and invalid_output
	Finish    string // the vendor's finish reason, verbatim
	Model     string // as the answer names it
	RequestID string
	Usage     money.Usage
	// HasUsage is false when the answer carried none that can be true; the call
	// is then charged at its reservation.
	HasUsage bool
	// RetryAfter is the provider's own hint, 0 without one: a floor, not a wish.
	RetryAfter time.Duration
	Rate       RateInfo
	Latency    time.Duration
}

// RateInfo is what the rate headers of an answer say. Limits are per minute;
// -1 means not said.
type RateInfo struct {
	LimitRequests, RemainingRequests int64
	LimitTokens, RemainingTokens     int64
	ResetRequests, ResetTokens       time.Duration
}

// NoRate says nothing about rates.
var NoRate = RateInfo{-1, -1, -1, -1, 0, 0}

// Provider is one API, configured for one key and model.
type Provider interface {
	// Encode puts the vendor's form on a request. It is pure. An error means
	// that no call can be made for this item (Kind Invalid).
	Encode(Request) (Call, error)
	// Do makes the call once and classes what came back. It never returns
	// before the exchange ended or ctx did; it never retries and follows no
	// redirect. id is the X-Client-Request-Id of this attempt (ASCII, ≤ 128).
	Do(ctx context.Context, c Call, id string) Result
	// Traits are facts about the API that others decide by.
	Traits() Traits
}

// Traits are facts about an API, as data.
type Traits struct {
	Name         string // "openai"
	Host         string // host the key is bound to; part of the pacing key
	NativeSchema bool   // takes a JSON Schema of the answer itself
	Tokenizer    string // name of a public tokenizer for the model ("o200k_base"), or ""
}

// Config is what every adapter is built from.
type Config struct {
	Provider string // the spec's task.provider
	BaseURL  string // empty: the vendor's own
	Model    string // the spec's task.model
	Endpoint string // "chat" or "responses" for the OpenAI family, else ""
	// Key returns the secret when a call is made. It is attached to requests to
	// the hosts that it is bound to, and to no other.
	Key     func() secret.Secret
	Headers map[string]string // extra headers, no secrets
	// Options are adapter settings by name (Azure's api-version, the http
	// provider's request and response templates, the simulator's knobs).
	Options map[string]json.RawMessage
	// Client does the exchange; its transport is shared and tuned by the caller.
	Client *http.Client
}
