package openai_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/provider/providertest"
	"github.com/batchwright/batchwright/internal/secret"
)

// A request of 4.4 KB and an answer of 2.7 KB with escapes, as in production.
func benchCall(b *testing.B) (provider.Provider, provider.Request, string) {
	b.Helper()
	text := strings.Repeat(`The customer wrote: \"where is my order?\" – \u00e9tat: ouvert.\n`, 66)
	answer := `{"id":"chatcmpl-Abc123","object":"chat.completion","created":1763900000,"model":"gpt-5-mini-2026-01-01","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"` + text[:2135] + `","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":1100,"completion_tokens":520,"total_tokens":1620,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},` +
		`"completion_tokens_details":{"reasoning_tokens":64,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},` +
		`"service_tier":"default","system_fingerprint":null}`
	p, err := openai.Factory().New(provider.Config{Provider: "openai", BaseURL: "http://bench.invalid/v1", Key: func() secret.Secret { return secret.New("sk-0123456789") },
		Client: &http.Client{Transport: providertest.Reply(200, map[string]string{"X-Request-Id": "req_1", "X-Ratelimit-Limit-Requests": "60000",
			"X-Ratelimit-Remaining-Requests": "59999", "X-Ratelimit-Reset-Requests": "1ms", "X-Ratelimit-Limit-Tokens": "150000000",
			"X-Ratelimit-Remaining-Tokens": "149990000", "X-Ratelimit-Reset-Tokens": "4ms"}, answer)}})
	if err != nil {
		b.Fatal(err)
	}
	return p, provider.Request{Model: "gpt-5-mini", System: "Summarise the ticket.", MaxOutputTokens: 600,
		Messages: []provider.Message{{Role: "user", Content: json.RawMessage(`"` + text + `"`)}},
		Params:   map[string]json.RawMessage{"temperature": json.RawMessage("0"), "seed": json.RawMessage("7")}}, answer
}

func BenchmarkEncode(b *testing.B) {
	p, r, _ := benchCall(b)
	b.ReportAllocs()
	for b.Loop() {
		c, err := p.Encode(r)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(c.Body)))
	}
}

func BenchmarkDecode(b *testing.B) {
	p, _, answer := benchCall(b)
	d := p.(provider.Decoder)
	a := provider.Answer{Status: 200, Body: []byte(answer)}
	b.ReportAllocs()
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		if r := d.Decode("/chat/completions", a); r.Class != batch.ClassOK {
			b.Fatal(r)
		}
	}
}

func BenchmarkDo(b *testing.B) {
	p, r, answer := benchCall(b)
	c, err := p.Encode(r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(answer)))
	for b.Loop() {
		if r := p.Do(b.Context(), c, "bw-r_0123456789abc-17-1"); r.Class != batch.ClassOK || !r.HasUsage {
			b.Fatal(r)
		}
	}
}

// The same call over a real connection, by the adapter and by a bare client
// that only reads the body: what is between them is what the adapter costs.
func BenchmarkLoopback(b *testing.B) {
	_, r, answer := benchCall(b)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			io.WriteString(w, answer)
		}
	}))
	defer srv.Close()
	tr := provider.NewTransport(8)
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	p, err := openai.Factory().New(provider.Config{BaseURL: srv.URL, Key: func() secret.Secret { return secret.New("sk-0123456789") }, Client: client})
	if err != nil {
		b.Fatal(err)
	}
	c, err := p.Encode(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("adapter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r := p.Do(b.Context(), c, "bw-1"); r.Class != batch.ClassOK {
				b.Fatal(r)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := client.Post(srv.URL+c.Path, "application/json", bytes.NewReader(c.Body))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}
