package openai_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/secret"
)

func open(t *testing.T, f provider.Factory, c provider.Config) provider.Provider {
	t.Helper()
	c.Provider = f.Name
	p, err := f.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(text string) provider.Request {
	content := json.RawMessage(`"` + text + `"`)
	return provider.Request{Model: "gpt-5-mini", Messages: []provider.Message{{Role: "user", Content: content}}, MaxOutputTokens: 100}
}

func TestChatCall(t *testing.T) {
	t.Parallel()
	var path, auth, id, body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, auth, id, body = r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("X-Client-Request-Id"), string(b)
		w.Header().Set("X-Request-Id", "req_1")
		w.Header().Set("X-Ratelimit-Limit-Requests", "60")
		w.Header().Set("X-Ratelimit-Remaining-Requests", "59")
		w.Header().Set("X-Ratelimit-Reset-Requests", "1s")
		io.WriteString(w, `{"id":"c","object":"chat.completion","model":"gpt-5-mini-1","choices":[{"index":0,"finish_reason":"stop",
			"message":{"role":"assistant","content":"hi","refusal":null}}],
			"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},
			"completion_tokens_details":{"reasoning_tokens":3}}}`)
	}))
	t.Cleanup(srv.Close)
	p := open(t, openai.Factory(), provider.Config{BaseURL: srv.URL + "/v1/", Key: func() secret.Secret { return secret.New("sk-test\n") }})
	c, err := p.Encode(ask("say <hi>"))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Do(t.Context(), c, "bw-1")
	if r.Class != batch.ClassOK || r.Text != "hi" || r.Finish != "stop" || r.Model != "gpt-5-mini-1" || r.RequestID != "req_1" ||
		r.Sent != provider.Answered || r.Status != 200 || r.Latency <= 0 {
		t.Errorf("result %+v", r)
	}
	if want := (money.Usage{Input: 9, Output: 5, Cached: 4, Reasoning: 3}); !r.HasUsage || r.Usage != want {
		t.Errorf("usage %+v", r.Usage)
	}
	if r.Rate.LimitRequests != 60 || r.Rate.RemainingRequests != 59 || r.Rate.LimitTokens != -1 {
		t.Errorf("rate %+v", r.Rate)
	}
	if path != "/v1/chat/completions" || auth != "Bearer sk-test" || id != "bw-1" {
		t.Errorf("sent path %q auth %q id %q", path, auth, id)
	}
	want := `{"model":"gpt-5-mini","messages":[{"role":"user","content":"say <hi>"}],"max_completion_tokens":100}`
	if body != want {
		t.Errorf("sent %s", body)
	}
	if c.InputBound != int64(len(want))+64 || c.OutputBound != 100 {
		t.Errorf("bounds %d %d", c.InputBound, c.OutputBound)
	}
}

func TestAzure(t *testing.T) {
	t.Parallel()
	var url, key, auth string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		url, key, auth = r.URL.String(), r.Header.Get("api-key"), r.Header.Get("Authorization")
		w.Header().Set("Retry-After-Ms", "1500")
		w.WriteHeader(429)
		io.WriteString(w, `{"error":{"code":"429","message":"Requests have exceeded token rate limit. Please retry after 7 seconds."}}`)
	}))
	t.Cleanup(srv.Close)
	p := open(t, openai.CompatibleFactory(), provider.Config{BaseURL: srv.URL + "/openai/deployments/d", Key: func() secret.Secret { return secret.New("k") },
		Options: map[string]json.RawMessage{"azure": json.RawMessage("true"), "api_version": json.RawMessage(`"2024-10-21"`)}})
	c, err := p.Encode(ask("x"))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Do(t.Context(), c, "")
	if r.Class != batch.ClassRateLimited || r.RetryAfter.String() != "1.5s" || r.Sent != provider.Answered {
		t.Errorf("result %+v", r)
	}
	if url != "/openai/deployments/d/chat/completions?api-version=2024-10-21" || key != "k" || auth != "" {
		t.Errorf("url %q api-key %q authorization %q", url, key, auth)
	}
}
