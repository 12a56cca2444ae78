package simulator_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/anthropic"
	"github.com/batchwright/batchwright/internal/provider/gemini"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/simulator"
)

func knobs(t testing.TB, text string) simulator.Knobs {
	t.Helper()
	k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serve(t *testing.T, cfg simulator.Config) (*simulator.Simulator, string) {
	t.Helper()
	cfg.Now = time.Now
	s := simulator.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// client is a real adapter pointed at a simulator.
type client struct {
	name     string
	factory  provider.Factory
	path     string
	endpoint string
	options  map[string]json.RawMessage
}

var clients = []client{
	{name: "openai chat", factory: openai.Factory(), path: "/v1"},
	{name: "openai responses", factory: openai.Factory(), path: "/v1", endpoint: "responses"},
	{name: "azure", factory: openai.Factory(), path: "/openai/deployments/m", options: map[string]json.RawMessage{"azure": json.RawMessage("true"), "api_version": json.RawMessage(`"2024-10-21"`)}},
	{name: "openai_compatible", factory: openai.CompatibleFactory(), path: "/v1"},
	{name: "anthropic", factory: anthropic.Factory(), path: ""},
	{name: "gemini", factory: gemini.Factory(), path: "/v1beta"},
}

func (c client) open(t *testing.T, url, key string) provider.Provider {
	t.Helper()
	p, err := c.factory.New(provider.Config{Provider: c.factory.Name, BaseURL: url + c.path, Model: "m", Endpoint: c.endpoint,
		Key: func() secret.Secret { return secret.New(key) }, Options: c.options, Client: &http.Client{Transport: provider.NewTransport(8)}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(t *testing.T, p provider.Provider, text string, schema string) (provider.Call, provider.Result) {
	t.Helper()
	content, _ := json.Marshal(text)
	r := provider.Request{Model: "m", System: "Label the ticket.", MaxOutputTokens: 200,
		Messages: []provider.Message{{Role: "user", Content: content}}}
	if schema != "" {
		r.Schema, r.SchemaName = json.RawMessage(schema), "label"
	}
	c, err := p.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	limit := 10 * time.Second
	if text == "@@sim:drip" {
		limit = 100 * time.Millisecond
	}
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	return c, p.Do(ctx, c, "")
}

const labelSchema = `{"type":"object","properties":{"label":{"type":"string","enum":["refund","login"]},"urgent":{"type":"boolean"}},"required":["label","urgent"],"additionalProperties":false}`

// Every dialect must be accepted and understood by the adapter that was written
// for the real vendor, for good answers and for every fault; and the bill must
// class a call as the adapter does.
func TestAdaptersUnderstandEveryDialect(t *testing.T) {
	t.Parallel()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, url := serve(t, simulator.Config{Knobs: knobs(t, "cached=0.5,reasoning=0.5,hang=10ms,context=100000,huge=67108864"), Key: "k-right"})
			p := c.open(t, url, "k-right")
			call, r := ask(t, p, "My card was charged twice. Ünïcode \"quoted\"\n", "")
			if r.Class != batch.ClassOK || r.Text == "" || !r.HasUsage || r.Usage.Cached == 0 || r.Usage.Reasoning == 0 || r.RequestID == "" {
				t.Fatalf("%+v", r)
			}
			if b := s.Totals(); b.BilledInputTokens != r.Usage.Input || b.BilledOutputTokens != r.Usage.Output {
				t.Errorf("usage %+v, bill %d and %d", r.Usage, b.BilledInputTokens, b.BilledOutputTokens)
			}
			if r.Usage.Input > call.InputBound || r.Usage.Output > call.OutputBound {
				t.Errorf("usage %+v above the bounds", r.Usage)
			}
			_, r = ask(t, p, "by schema", labelSchema)
			var v struct {
				Label  string
				Urgent *bool
			}
			if err := json.Unmarshal([]byte(r.Text), &v); err != nil || (v.Label != "refund" && v.Label != "login") || v.Urgent == nil {
				t.Errorf("schema: %+v", r)
			}
			if _, r = ask(t, c.open(t, url, "k-wrong"), "x", ""); r.Class != batch.ClassAuth {
				t.Errorf("a wrong key: %+v", r)
			}
			faults(t, s, p)
		})
	}
}

func faults(t *testing.T, s *simulator.Simulator, p provider.Provider) {
	t.Helper()
	for _, name := range simulator.FaultNames() {
		before := s.Totals()
		_, r := ask(t, p, "@@sim:"+name, "")
		after := s.Totals()
		if after.ByFault[name] != before.ByFault[name]+1 {
			t.Errorf("%s: not seen as a fault: %+v", name, r)
			continue
		}
		want := r.Class
		switch name {
		case "badjson", "hugeusage": // what they spoil, only the caller can judge
			want = map[string]batch.Class{"badjson": batch.ClassInvalidOutput, "hugeusage": batch.ClassBreach}[name]
		}
		if after.ByClass[want] != before.ByClass[want]+1 {
			t.Errorf("%s: the adapter says %q (%s), the bill has %v before and %v after", name, r.Class, r.Message, before.ByClass, after.ByClass)
		}
		untold := name == "nousage" || name == "negusage" || name == "overusage"
		if r.Class == batch.ClassOK && r.HasUsage == untold {
			t.Errorf("%s: usage %v", name, r.HasUsage)
		}
		if name == "badjson" && json.Valid([]byte(r.Text)) {
			t.Errorf("badjson gave JSON: %s", r.Text)
		}
	}
}

func TestRateHeadersAndHints(t *testing.T) {
	t.Parallel()
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, url := serve(t, simulator.Config{Knobs: knobs(t, "rpm=6,tpm=600000,burst=20")})
			p := c.open(t, url, "k")
			for i := range 2 {
				_, r := ask(t, p, "x", "")
				if r.Class != batch.ClassOK {
					t.Fatalf("call %d: %+v", i, r)
				}
				if c.name != "gemini" && (r.Rate.LimitRequests != 6 || r.Rate.RemainingRequests != int64(1-i) || r.Rate.LimitTokens != 600000) {
					t.Errorf("call %d: %+v", i, r.Rate)
				}
			}
			_, r := ask(t, p, "x", "")
			if r.Class != batch.ClassRateLimited || r.RetryAfter < 8*time.Second || r.RetryAfter > 10*time.Second {
				t.Errorf("the third call: %+v", r)
			}
			if b := s.Totals(); b.BilledCalls != 2 || b.ByClass[batch.ClassRateLimited] != 1 {
				t.Errorf("%+v", b)
			}
			s.Reset()
			if _, r := ask(t, p, "x", ""); r.Class != batch.ClassOK || s.Totals().TotalCalls != 1 {
				t.Errorf("after a reset: %+v", r)
			}
		})
	}
}
