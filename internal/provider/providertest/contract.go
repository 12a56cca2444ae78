// Package providertest is the contract of every provider adapter, as tests,
// with a corpus of recorded answers of many servers.
package providertest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/secret"
)

// Key is the secret that no test may find anywhere but in the key's header.
const Key = "sk-secret-0123456789abcdef"

// Subject is one adapter, set up in one way, under the contract.
type Subject struct {
	Factory provider.Factory
	Config  provider.Config    // BaseURL, Key and Client are filled in by the suite
	Suffix  string             // of the base URL, like "/v1"
	Request []provider.Request // requests it takes; the first is used for calls
	Family  string             // of the corpus
}

// Open builds the adapter against a server.
func (s Subject) Open(t testing.TB, url string, via http.RoundTripper) provider.Provider {
	t.Helper()
	c := s.Config
	c.Provider, c.BaseURL = s.Factory.Name, url+s.Suffix
	if c.Key == nil {
		c.Key = func() secret.Secret { return secret.New(Key) }
	}
	if via == nil {
		tr := provider.NewTransport(4)
		t.Cleanup(tr.CloseIdleConnections)
		via = tr
	}
	c.Client = &http.Client{Transport: via}
	p, err := s.Factory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s Subject) call(t testing.TB, p provider.Provider) provider.Call {
	t.Helper()
	c, err := p.Encode(s.Request[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// good is a recorded answer that is ok and has text.
func (s Subject) good(t testing.TB) Recorded {
	t.Helper()
	for _, r := range Corpus(t, s.Family) {
		if r.Class == batch.ClassOK && r.Text != "" && r.Usage != nil {
			return r
		}
	}
	t.Fatal("the corpus has no good answer")
	return Recorded{}
}

// Contract runs every rule that all adapters keep.
func Contract(t *testing.T, s Subject) {
	t.Run("encode is pure", s.encodePure)
	t.Run("corpus", s.corpus)
	t.Run("cut anywhere is never an answer", s.cutAnywhere)
	t.Run("wire", s.wire)
	t.Run("redirect", s.redirect)
	t.Run("key", s.key)
	t.Run("echo", s.echo)
	t.Run("network", s.network)
	t.Run("many at once", s.manyAtOnce)
}

func (s Subject) encodePure(t *testing.T) {
	t.Parallel()
	a, b := s.Open(t, "http://one.invalid", nil), s.Open(t, "http://one.invalid", nil)
	for i, r := range s.Request {
		first, err := a.Encode(r)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		for range 20 {
			again, err := b.Encode(r)
			if err != nil || !bytes.Equal(first.Body, again.Body) || first.Path != again.Path || first.InputBound != again.InputBound {
				t.Fatalf("request %d: not the same call again (%v)\n%s\n%s", i, err, first.Body, again.Body)
			}
		}
		if all := first.Path + string(first.Body); strings.Contains(all, Key) {
			t.Errorf("request %d: the call holds the key", i)
		}
		if first.InputBound < int64(len(first.Body))+64 {
			t.Errorf("request %d: input bound %d of %d bytes", i, first.InputBound, len(first.Body))
		}
		if first.OutputBound <= 0 {
			t.Errorf("request %d: no output bound", i)
		}
	}
	none := s.Request[0]
	none.MaxOutputTokens = 0
	if _, err := a.Encode(none); batch.KindOf(err) != batch.Invalid {
		t.Errorf("without an output limit: %v, want an Invalid error", err)
	}
}

func (s Subject) corpus(t *testing.T) {
	t.Parallel()
	for _, r := range Corpus(t, s.Family) {
		p := s.Open(t, "http://corpus.invalid", Reply(r.Status, r.Headers, r.Bytes()))
		Check(t, r, p.Do(t.Context(), s.call(t, p), "bw-1"))
	}
}

// Check compares a result with what was recorded for it.
func Check(t *testing.T, r Recorded, got provider.Result) {
	t.Helper()
	fail := func(what string, got, want any) { t.Errorf("%s: %s is %v, want %v", r.Name, what, got, want) }
	if got.Class != r.Class {
		fail("class", string(got.Class)+" ("+got.Message+")", r.Class)
	}
	if !got.Class.Known() {
		fail("class", got.Class, "one of the set")
	}
	if got.Sent != provider.Answered || got.Status != r.Status {
		fail("sent and status", [2]int{int(got.Sent), got.Status}, r.Status)
	}
	if got.Text != r.Text {
		fail("text", got.Text, r.Text)
	}
	switch {
	case r.Usage == nil && got.HasUsage:
		fail("usage", got.Usage, "none")
	case r.Usage != nil && (!got.HasUsage || got.Usage != *r.Usage):
		fail("usage", got.Usage, *r.Usage)
	}
	if r.RetryAfterMS != nil && got.RetryAfter != Millis(*r.RetryAfterMS) {
		fail("retry after", got.RetryAfter, Millis(*r.RetryAfterMS))
	}
	if r.Finish != "" && got.Finish != r.Finish {
		fail("finish", got.Finish, r.Finish)
	}
	if r.Message != "" && got.Message != r.Message {
		fail("message", got.Message, r.Message)
	}
	if r.NotMessage != "" && strings.Contains(got.Message, r.NotMessage) {
		fail("message", got.Message, "without "+r.NotMessage)
	}
	if r.RequestID != "" && got.RequestID != r.RequestID {
		fail("request id", got.RequestID, r.RequestID)
	}
	wellFormed(t, r.Name, got)
}

// wellFormed holds for every result of every call.
func wellFormed(t testing.TB, name string, r provider.Result) {
	t.Helper()
	switch {
	case !r.Class.Known():
		t.Errorf("%s: class %q", name, r.Class)
	case r.Class == batch.ClassOK && r.Text == "":
		t.Errorf("%s: ok without text", name)
	case r.Class != batch.ClassOK && r.Message == "":
		t.Errorf("%s: %s without a message", name, r.Class)
	case len([]rune(r.Message)) > provider.MessageCap || strings.ContainsAny(r.Message, "\n\r\x00\x1b"):
		t.Errorf("%s: message %q", name, r.Message)
	case strings.Contains(r.Message+r.Finish+r.Model+r.RequestID, Key):
		t.Errorf("%s: the key leaks", name)
	case r.HasUsage && !r.Usage.Valid():
		t.Errorf("%s: usage %+v", name, r.Usage)
	case r.RetryAfter < 0:
		t.Errorf("%s: retry after %v", name, r.RetryAfter)
	}
}

func (s Subject) redirect(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(thief.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{thief.URL + "/x", "http://%zz/", ""} {
			calls := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				calls++
				if to != "" {
					w.Header().Set("Location", to)
				}
				w.WriteHeader(status)
			}))
			p := s.Open(t, srv.URL, nil)
			r := p.Do(t.Context(), s.call(t, p), "bw-1")
			srv.Close()
			if r.Class != batch.ClassInvalidRequest || r.Status != status || r.Sent != provider.Answered || calls != 1 {
				t.Errorf("%d to %q: %+v after %d calls", status, to, r, calls)
			}
		}
	}
	if reached.Load() != 0 {
		t.Errorf("a redirect was followed %d times", reached.Load())
	}
}

func (s Subject) key(t *testing.T) {
	t.Parallel()
	calls := 0
	var seen http.Header
	via := Wire(func(r *http.Request) (*http.Response, error) {
		calls++
		seen = r.Header.Clone()
		return Reply(400, nil, `{"error":{"message":"bad `+Key+` key"},"fault":"bad `+Key+` key"}`)(r)
	})
	p := s.Open(t, "http://key.invalid", via)
	r := p.Do(t.Context(), s.call(t, p), "bw-1")
	wellFormed(t, "key", r)
	if !strings.Contains(r.Message, secret.Redacted) {
		t.Errorf("message %q", r.Message)
	}
	if seen.Get("X-Client-Request-Id") != "bw-1" || seen.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", seen)
	}
	s.keyEverywhere(t)
	s.keyBound(t)
	// The same call, for another holder of a key.
	for _, k := range []string{"a\nb", "a\x00b", "schlüssel"} {
		other := s
		other.Config.Key = func() secret.Secret { return secret.New(k) }
		calls = 0
		p := other.Open(t, "http://key.invalid", via)
		r := p.Do(t.Context(), s.call(t, p), "bw-1")
		if r.Class != batch.ClassAuth || r.Sent != provider.NotSent || calls != 0 {
			t.Errorf("key %q: %+v, %d calls", k, r, calls)
		}
	}
	other := s
	other.Config.Key = func() secret.Secret { return secret.New(" \n") }
	calls = 0
	p = other.Open(t, "http://key.invalid", via)
	r = p.Do(t.Context(), s.call(t, p), "bad id\n")
	if s.Factory.NeedsKey && (r.Class != batch.ClassAuth || r.Sent != provider.NotSent || calls != 0) {
		t.Errorf("no key: %+v, %d calls", r, calls)
	}
	if !s.Factory.NeedsKey && (calls != 1 || seen.Get("X-Client-Request-Id") != "" || seen.Get("Authorization") != "") {
		t.Errorf("no key: %d calls, headers %v", calls, seen)
	}
}

// echo: an error that repeats the prompt does not carry it into a message.
func (s Subject) echo(t *testing.T) {
	t.Parallel()
	via := Wire(func(r *http.Request) (*http.Response, error) {
		body := new(bytes.Buffer)
		if _, err := body.ReadFrom(r.Body); err != nil {
			return nil, err
		}
		text := strings.NewReplacer(`\`, ``, `"`, ``, "{", "", "}", "").Replace(body.String())
		return Reply(400, nil, `{"error":{"message":"cannot read: `+text+`"}}`)(r)
	})
	p := s.Open(t, "http://echo.invalid", via)
	secret := "the patient was born in Trieste in 1971 and takes lithium"
	req := s.Request[0]
	req.System = secret
	req.Messages = []provider.Message{{Role: "user", Content: []byte(`"` + secret + `"`)}}
	if len(req.Body) > 0 {
		return // the prompt is inside the body
	}
	c, err := p.Encode(req)
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Do(t.Context(), c, ""); strings.Contains(r.Message, "Trieste") || strings.Contains(r.Message, "lithium") {
		t.Errorf("message %q", r.Message)
	}
}

func (s Subject) manyAtOnce(t *testing.T) {
	t.Parallel()
	good := s.good(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte(good.Bytes())); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	p := s.Open(t, srv.URL, nil)
	c := s.call(t, p)
	results := make(chan provider.Result)
	for range 16 {
		go func() {
			for range 8 {
				results <- p.Do(t.Context(), c, "bw-1")
			}
		}()
	}
	for range 16 * 8 {
		if r := <-results; r.Class != batch.ClassOK || r.Text != good.Text || r.Latency <= 0 {
			t.Errorf("result %+v", r)
		}
	}
}
