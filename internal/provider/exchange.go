package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/secret"
)

// BodyCap is the most bytes of an answer, after decompression, that an
// exchange reads.
const BodyCap = 32 << 20

// Answer is one whole HTTP answer. Body is only valid until the decoder that
// got it returns: its buffer is used again.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	At     time.Time // when it came, by this machine's clock
}

// now is the provider's clock: the Date header, so that a date in another
// header is read right on a machine whose clock is wrong.
func (a Answer) now() time.Time {
	if t, err := http.ParseTime(a.Header.Get("Date")); err == nil {
		return t
	}
	return a.At
}

// Decoder is what an adapter offers besides Provider: it classes an answer
// that came by another way than Do (a line of a submission's result file).
// path is the Call's; the fields Sent, Rate and Latency are left to the caller.
type Decoder interface {
	Decode(path string, a Answer) Result
}

// Endpoint is where an adapter calls and how it shows its key: one URL, one
// key header, one transport. A redirect is an answer like another.
type Endpoint struct {
	EndpointOptions
	url    string // without query, no slash at its end
	query  string
	host   string
	header http.Header
	key    func() secret.Secret
	guard  atomic.Pointer[guard]
	via    http.RoundTripper
	limit  time.Duration // of the client, on top of the context's; 0: none
	bodies sync.Pool
}

// EndpointOptions is what an adapter decides about its endpoint.
type EndpointOptions struct {
	URL       string // the vendor's own; Config.BaseURL wins
	Query     url.Values
	Header    map[string]string // the vendor's fixed headers; Config.Headers win
	KeyHeader string            // "Authorization", "x-api-key"
	KeyPrefix string            // "Bearer "
	NeedsKey  bool              // without a key nothing is sent: class auth
	BodyCap   int64             // 0: the constant BodyCap
	// DailyRequests says that the request rate headers count per day.
	DailyRequests bool
}

// NewEndpoint checks the URL and headers of a configuration. Errors are of
// Kind Invalid and name what to change.
func NewEndpoint(c Config, o EndpointOptions) (*Endpoint, error) {
	raw := c.BaseURL
	if raw == "" {
		raw = o.URL
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return nil, invalid("task.base_url is not an absolute http or https URL", "write it as https://host/path")
	case u.User != nil:
		return nil, invalid("task.base_url holds a user name or password", "use task.api_key for secrets")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("task.base_url holds a query or a fragment", "give the path only; Azure's api-version goes to task.options.api_version")
	}
	if o.BodyCap == 0 {
		o.BodyCap = BodyCap
	}
	e := &Endpoint{EndpointOptions: o, host: u.Host, url: strings.TrimRight(u.String(), "/"), query: o.Query.Encode(), key: c.Key}
	if e.key == nil {
		e.key = func() secret.Secret { return secret.Secret{} }
	}
	if e.header, err = fixedHeader(c, o); err != nil {
		return nil, err
	}
	if c.Client != nil {
		e.via, e.limit = c.Client.Transport, c.Client.Timeout
	}
	if e.via == nil {
		e.via = NewTransport(64)
	}
	e.bodies.New = func() any { return new(bytes.Buffer) }
	return e, nil
}

// Headers that a spec cannot set: the transport's own, and Idempotency-Key,
// which would make the transport send a POST again by itself.
var ownHeaders = []string{"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Accept-Encoding",
	"Expect", "Te", "Trailer", "Upgrade", "Idempotency-Key", "X-Idempotency-Key", "X-Client-Request-Id"}

func fixedHeader(c Config, o EndpointOptions) (http.Header, error) {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"batchwright"}}
	for k, v := range o.Header {
		h.Set(k, v)
	}
	for k, v := range c.Headers {
		name := textproto.CanonicalMIMEHeaderKey(k)
		if slices.Contains(ownHeaders, name) || strings.EqualFold(name, o.KeyHeader) {
			return nil, invalid(fmt.Sprintf("task.headers sets %s, which is set for every call", name), "remove it")
		}
		if !headerText(k) || strings.ContainsAny(k, " :") || k == "" || !headerText(v) {
			return nil, invalid(fmt.Sprintf("task.headers: %q cannot be sent as a header", name), "use ASCII without control characters")
		}
		h[name] = []string{v}
	}
	return h, nil
}

// Host is the host (and port) the key is bound to.
func (e *Endpoint) Host() string { return e.host }

// Exchange makes the call once and has decode class the whole answer. It
// follows no redirect and never repeats a request that may have run. What ends
// without a whole answer it classes itself: unsent when surely no byte of the
// request was written, otherwise unknown.
func (e *Endpoint) Exchange(ctx context.Context, c Call, id string, decode func(Answer) Result) Result {
	begin := time.Now()
	key := e.key()
	red := e.redactor(key)
	if e.limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, e.limit)
		defer stop()
	}
	r := e.exchange(ctx, c, id, key, red, decode)
	r.Latency = time.Since(begin)
	if r.Message != "" {
		r.Message = scrub(red.Text(r.Message), c.Body)
	}
	r.Text = red.Payload(r.Text)
	r.Model, r.Finish = printable(red.Text(r.Model), 200), printable(red.Text(r.Finish), 100)
	r.RequestID = printable(red.Text(r.RequestID), 128)
	return r
}

// guard is the redactor of the key in use.
type guard struct {
	key secret.Secret
	secret.Redactor
}

// redactor takes the key out of what a provider says: some quote it, and an
// echo of the request has it whole.
func (e *Endpoint) redactor(key secret.Secret) *secret.Redactor {
	g := e.guard.Load()
	if g == nil || !g.key.Same(key) {
		g = &guard{key: key}
		g.Add(key)
		e.guard.Store(g)
	}
	return &g.Redactor
}

// body is the answer without the key, before anything is read from it or cut. A
// failure is words; an answer was paid for, and changed only for what cannot be
// a word.
func body(red *secret.Redactor, status int, b []byte) []byte {
	if status/100 == 2 {
		return red.PayloadBytes(b)
	}
	return red.Bytes(b)
}

func (e *Endpoint) exchange(ctx context.Context, c Call, id string, key secret.Secret, red *secret.Redactor, decode func(Answer) Result) Result {
	req, t, fault := e.request(ctx, c, id, key)
	if fault != nil {
		return *fault
	}
	// The transport itself, not a client around it: nothing can follow a
	// redirect, keep a cookie or add a header.
	failpoint.Hit("send.before")
	resp, err := e.via.RoundTrip(req)
	if err != nil {
		return cut(ctx, err, t, 0)
	}
	failpoint.Hit("send.headers")
	defer resp.Body.Close()
	buf := e.bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 1<<20 { // a rare huge answer must not be kept
			buf.Reset()
			e.bodies.Put(buf)
		}
	}()
	most := e.most(c)
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, most+1))
	if err == nil && n > most {
		err = errTooLong
	}
	if err != nil {
		r := cut(ctx, err, nil, resp.StatusCode)
		r.RequestID = requestID(resp.Header) // with it the vendor can say what became of the call
		return r
	}
	failpoint.Hit("send.body")
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body(red, resp.StatusCode, buf.Bytes()), At: time.Now()}
	r := decode(a)
	r.Status, r.Sent = a.Status, Answered
	if r.RequestID == "" {
		r.RequestID = requestID(a.Header)
	}
	r.Rate = rateOf(a, e.DailyRequests)
	return r
}

// request builds the HTTP request, or says why none can be made.
func (e *Endpoint) request(ctx context.Context, c Call, id string, key secret.Secret) (*http.Request, *sendTrace, *Result) {
	unsent := func(class batch.Class, msg string) (*http.Request, *sendTrace, *Result) {
		return nil, nil, &Result{Class: class, Message: msg, Sent: NotSent, Rate: NoRate}
	}
	switch {
	case ctx.Err() != nil:
		return unsent(batch.ClassUnsent, "stopped before the request was sent")
	case key.IsZero() && e.NeedsKey:
		return unsent(batch.ClassAuth, "no API key")
	case !key.Sendable():
		return unsent(batch.ClassAuth, "the API key holds characters that a header cannot carry")
	}
	target := e.url + c.Path
	if e.query != "" {
		target += "?" + e.query
	}
	method := c.Method
	if method == "" {
		method = http.MethodPost
	}
	t := new(sendTrace)
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, t.hooks()), method, target, bytes.NewReader(c.Body))
	if err != nil {
		return unsent(batch.ClassInvalidRequest, "the call's address cannot be used")
	}
	req.Header = make(http.Header, len(e.header)+2)
	for k, v := range e.header {
		req.Header[k] = v
	}
	switch {
	case req.URL.Host != e.host || req.URL.User != nil:
		return unsent(batch.ClassInvalidRequest, "the call's path leads to another host")
	case key.IsZero():
	case !key.For(req.URL):
		return unsent(batch.ClassAuth, "the key may not be sent to this host; batchwright validate says how to allow it")
	default:
		req.Header.Set(e.KeyHeader, e.KeyPrefix+key.Reveal())
	}
	if id != "" && len(id) <= 128 && headerText(id) {
		req.Header["X-Client-Request-Id"] = []string{id}
	}
	return req, t, nil
}

// most is how many bytes an answer to a call can have: what is around it, and
// the longest tokens there are, escaped, for as many as it may have. A body
// beyond it is no answer, and is not read into memory that a lane of such calls
// would take all of.
func (e *Endpoint) most(c Call) int64 {
	if c.OutputBound <= 0 {
		return e.BodyCap
	}
	return min(e.BodyCap, 4<<20+256*min(c.OutputBound, e.BodyCap))
}

var errTooLong = errors.New("the answer is larger than any answer can be")

// cut classes an exchange that ended without a whole answer.
func cut(ctx context.Context, err error, t *sendTrace, status int) Result {
	r := Result{Class: batch.ClassUnknown, Sent: MaybeRun, Status: status, Rate: NoRate}
	if t != nil && t.unsent() {
		r.Class, r.Sent = batch.ClassUnsent, NotSent
	}
	r.Message = cause(ctx, err)
	return r
}

// requestID is the provider's own name of the exchange, by the headers in use.
func requestID(h http.Header) string {
	for _, k := range [...]string{"X-Request-Id", "Request-Id", "Apim-Request-Id", "X-Litellm-Call-Id", "X-Amzn-Requestid"} {
		if v := h[k]; len(v) > 0 && v[0] != "" {
			return v[0]
		}
	}
	return ""
}

func invalid(msg, hint string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "provider", Msg: msg, Hint: hint}
}
