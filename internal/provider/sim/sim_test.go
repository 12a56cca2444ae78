package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/simulator"
)

func options(pairs ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

func inside(t *testing.T, endpoint string, opts map[string]json.RawMessage) *Adapter {
	t.Helper()
	p, err := Factory().New(provider.Config{Provider: "sim", Model: "m", Endpoint: endpoint, Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Adapter)
}

func overHTTP(t *testing.T, endpoint, faults string) (*Adapter, *simulator.Simulator) {
	t.Helper()
	k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), faults)
	if err != nil {
		t.Fatal(err)
	}
	s := simulator.New(simulator.Config{Knobs: k, Now: time.Now})
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ErrorLog = nil
	srv.Start()
	t.Cleanup(srv.Close)
	p, err := Factory().New(provider.Config{Provider: "sim", BaseURL: srv.URL + "/v1", Model: "m", Endpoint: endpoint,
		Client: &http.Client{Transport: provider.NewTransport(16)}})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Adapter), s
}

func request(text string) provider.Request {
	content, _ := json.Marshal(text)
	return provider.Request{Model: "m", System: "Label the ticket.", MaxOutputTokens: 64,
		Messages: []provider.Message{{Role: "user", Content: content}}}
}

func call(t *testing.T, a *Adapter, text, id string) provider.Result {
	t.Helper()
	c, err := a.Encode(request(text))
	if err != nil {
		t.Fatal(err)
	}
	limit := 5 * time.Second
	if strings.Contains(text, "@@sim:drip") {
		limit = 100 * time.Millisecond
	}
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	return a.Do(ctx, c, id)
}

// Every fault must reach a real client as what it is meant to be, over HTTP and
// in process, by chat and by responses.
func TestEveryFaultIsSeenAsMeant(t *testing.T) {
	t.Parallel()
	type want struct {
		class batch.Class
		sent  provider.Sent
		paid  bool
	}
	wants := map[string]want{
		"429": {batch.ClassRateLimited, provider.Answered, false}, "badhint": {batch.ClassRateLimited, provider.Answered, false},
		"ramp": {batch.ClassRamp, provider.Answered, false}, "quota": {batch.ClassQuotaMoney, provider.Answered, false},
		"auth": {batch.ClassAuth, provider.Answered, false}, "context": {batch.ClassContextTooLong, provider.Answered, false},
		"toobig": {batch.ClassTooBig, provider.Answered, false}, "400": {batch.ClassInvalidRequest, provider.Answered, false},
		"408": {batch.ClassTransient, provider.Answered, false}, "409": {batch.ClassTransient, provider.Answered, false},
		"500": {batch.ClassTransient, provider.Answered, false}, "502": {batch.ClassTransient, provider.Answered, false},
		"503": {batch.ClassCapacity, provider.Answered, false}, "504": {batch.ClassTransient, provider.Answered, false},
		"529": {batch.ClassCapacity, provider.Answered, false}, "200error": {batch.ClassTransient, provider.Answered, false},
		"reset": {batch.ClassUnknown, provider.MaybeRun, false}, "timeout": {batch.ClassUnknown, provider.MaybeRun, false},
		"drop": {batch.ClassUnknown, provider.MaybeRun, true}, "truncate": {batch.ClassUnknown, provider.MaybeRun, true},
		"empty": {batch.ClassUnknown, provider.Answered, true}, "nochoice": {batch.ClassUnknown, provider.Answered, true},
		"length": {batch.ClassTruncated, provider.Answered, true}, "refuse": {batch.ClassRefused, provider.Answered, true},
		"filter": {batch.ClassFiltered, provider.Answered, true}, "nousage": {batch.ClassOK, provider.Answered, true},
		"hugeusage": {batch.ClassOK, provider.Answered, true}, "wrongmodel": {batch.ClassOK, provider.Answered, true},
		"badjson": {batch.ClassOK, provider.Answered, true}, "slow": {batch.ClassOK, provider.Answered, true},
		"402": {batch.ClassQuotaMoney, provider.Answered, false}, "spendlimit": {batch.ClassQuotaMoney, provider.Answered, false},
		"gone": {batch.ClassInvalidRequest, provider.Answered, false}, "redirect": {batch.ClassInvalidRequest, provider.Answered, false},
		"shouldretry": {batch.ClassTransient, provider.Answered, false}, "shouldnotretry": {batch.ClassInvalidRequest, provider.Answered, false},
		"498": {batch.ClassCapacity, provider.Answered, false}, "html": {batch.ClassUnknown, provider.Answered, false},
		"choiceerror": {batch.ClassTransient, provider.Answered, false}, "unbilled": {batch.ClassOK, provider.Answered, false},
		"nullchoices": {batch.ClassUnknown, provider.Answered, true}, "nullcontent": {batch.ClassInvalidOutput, provider.Answered, true},
		"shortlength": {batch.ClassUnknown, provider.Answered, true}, "deflatebomb": {batch.ClassUnknown, provider.Answered, true},
	}
	for _, name := range []string{"stuck", "cut", "rst", "longlength", "drip", "huge", "gzipbomb", "headerflood"} {
		wants[name] = want{batch.ClassUnknown, provider.MaybeRun, true}
	}
	for _, name := range []string{"interim", "goaway", "wrongid", "lowusage", "highusage", "negusage", "overusage", "badutf8", "nul", "bidi", "ansi",
		"script", "formula", "bigtoken"} {
		wants[name] = want{batch.ClassOK, provider.Answered, true}
	}
	for _, name := range simulator.FaultNames() {
		if _, ok := wants[name]; !ok {
			t.Errorf("nothing is said of %s", name)
		}
	}
	for _, endpoint := range []string{"chat", "responses"} {
		web, webSim := overHTTP(t, endpoint, "hang=20ms,huge=67108864")
		in := inside(t, endpoint, options("faults", `"hang=20ms,huge=67108864"`))
		for name, w := range wants {
			for where, a := range map[string]*Adapter{"http": web, "inside": in} {
				s := webSim
				if where == "inside" {
					s = in.Simulator()
				}
				before := s.Totals()
				r := call(t, a, "please @@sim:"+name+" now", endpoint+"-"+name)
				after := s.Totals()
				if endpoint == "responses" && (name == "nochoice" || name == "nullchoices") {
					w.class = batch.ClassInvalidOutput
				}
				if r.Class != w.class || r.Sent != w.sent || after.BilledCalls-before.BilledCalls != map[bool]int64{true: 1}[w.paid] {
					t.Errorf("%s %s %s: %q sent %v billed %d (%s), want %+v", where, endpoint, name, r.Class, r.Sent,
						after.BilledCalls-before.BilledCalls, r.Message, w)
				}
				if after.ByFault[name] == 0 || after.TotalCalls != before.TotalCalls+1 {
					t.Errorf("%s %s %s: the bill says %v", where, endpoint, name, after.ByFault)
				}
				if name == "429" && r.RetryAfter != 50*time.Millisecond {
					t.Errorf("%s 429: hint %v, want 50 ms", where, r.RetryAfter)
				}
				if name == "wrongmodel" && r.Model == "m" || name == "nousage" && r.HasUsage || name == "hugeusage" && r.Usage.Output < 1_000_000 {
					t.Errorf("%s %s: %+v", where, name, r)
				}
			}
		}
	}
}

func TestInsideAndOverHTTPAnswerAlike(t *testing.T) {
	t.Parallel()
	in := inside(t, "", options("seed", "9"))
	web, _ := overHTTP(t, "", "seed=9")
	for i := range 20 {
		text := fmt.Sprint("ticket ", i)
		a, b := call(t, in, text, ""), call(t, web, text, "")
		if a.Class != batch.ClassOK || a.Text != b.Text || a.Usage != b.Usage || !a.HasUsage || a.Text == "" {
			t.Fatalf("%+v\n%+v", a, b)
		}
		if again := call(t, in, text, ""); again.Text != a.Text {
			t.Fatal("the same request got another answer")
		}
	}
	if other := call(t, inside(t, "", options("seed", "10")), "ticket 1", ""); other.Text == call(t, in, "ticket 1", "").Text {
		t.Error("another seed gives the same answer")
	}
}

func TestUsageIsWithinWhatWasReserved(t *testing.T) {
	t.Parallel()
	a := inside(t, "", options("faults", `"words=500"`))
	schema := json.RawMessage(`{"type":"object","properties":{"label":{"type":"string","enum":["a","b"]},"why":{"type":"string"}},"required":["label","why"],"additionalProperties":false}`)
	for i := range 50 {
		r := request(strings.Repeat("é\n", i))
		if i%2 == 0 {
			r.Schema = schema
		}
		c, err := a.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got := a.Do(t.Context(), c, "")
		if !got.HasUsage || got.Usage.Input > c.InputBound || got.Usage.Output > c.OutputBound {
			t.Fatalf("%+v above the bounds %d and %d", got.Usage, c.InputBound, c.OutputBound)
		}
		if i%2 == 0 {
			var v struct{ Label, Why string }
			if err := json.Unmarshal([]byte(got.Text), &v); err != nil || (v.Label != "a" && v.Label != "b") || v.Why == "" {
				t.Fatalf("%q is not by the schema", got.Text)
			}
		}
	}
}

func TestGivingUpIsUnknownAndBilled(t *testing.T) {
	t.Parallel()
	a := inside(t, "", options("latency_ms", "60000"))
	c, err := a.Encode(request("x"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if r := a.Do(ctx, c, ""); r.Class != batch.ClassUnknown || r.Sent != provider.MaybeRun {
		t.Errorf("%+v", r)
	}
	if b := a.Simulator().Totals(); b.BilledCalls != 1 || b.LostReplies != 1 || b.InFlight != 0 {
		t.Errorf("a call given up is billed and lost, the bill says %+v", b)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r := a.Do(ended, c, ""); r.Class != batch.ClassUnsent || a.Simulator().Totals().TotalCalls != 1 {
		t.Errorf("a call of an ended context: %+v", r)
	}
}

func TestBillUnderConcurrency(t *testing.T) {
	t.Parallel()
	const items, workers = 400, 32
	a := inside(t, "", options("faults", `"seed=3,500:0.1,429:0.1,drop:0.05,truncate:0.02,reset:0.05,latency=1ms"`))
	var wg sync.WaitGroup
	work := make(chan int)
	var mu sync.Mutex
	calls, unknown, ok := 0, 0, 0
	for range workers {
		wg.Go(func() {
			for i := range work {
				for n := 0; ; n++ {
					r := call(t, a, fmt.Sprint("item ", i), fmt.Sprintf("%d-%d", i, n))
					mu.Lock()
					calls++
					switch r.Class {
					case batch.ClassOK:
						ok++
					case batch.ClassUnknown:
						unknown++
					}
					mu.Unlock()
					if r.Class == batch.ClassOK {
						break
					}
				}
			}
		})
	}
	for i := range items {
		work <- i
	}
	close(work)
	wg.Wait()
	b := a.Simulator().Totals()
	if b.TotalCalls != int64(calls) || b.UniqueBilled != items || b.ByClass[batch.ClassOK] != int64(ok) ||
		b.ByClass[batch.ClassUnknown] != int64(unknown) || b.ClientIDs != int64(calls) || b.RepeatedClientIDs != 0 {
		t.Errorf("calls %d ok %d unknown %d, bill %+v", calls, ok, unknown, b)
	}
	lost := b.ByFault["drop"] + b.ByFault["truncate"]
	if b.BilledCalls != items+lost || b.LostReplies != lost || b.ExtraPaidCalls != lost || lost == 0 {
		t.Errorf("lost %d, bill %+v", lost, b)
	}
	if b.PeakConcurrency > workers || b.PeakConcurrency < 2 {
		t.Errorf("peak concurrency %d of %d workers", b.PeakConcurrency, workers)
	}
	var in, out, billed int64
	for _, l := range a.Simulator().Lines() {
		in, out, billed = in+l.InputTokens, out+l.OutputTokens, billed+l.Billed
		if l.Delivered != 1 || l.Seen != l.Billed+l.Refused {
			t.Fatalf("%+v", l)
		}
	}
	if in != b.BilledInputTokens || out != b.BilledOutputTokens || billed != b.BilledCalls {
		t.Errorf("the lines sum up to %d, %d, %d; the totals are %+v", in, out, billed, b)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	a := inside(t, "", options("faults", `"429:0.05,latency=9s"`, "latency_ms", "2.5", "seed", "18446744073709551615", "rpm", "600"))
	if got, want := a.Simulator().Knobs().String(), "seed=18446744073709551615,429:0.05,latency=2.5ms,rpm=600"; got != want {
		t.Errorf("knobs %q, want %q", got, want)
	}
	for _, c := range []struct{ name, value, says string }{
		{"faults", `"4290:0.1"`, "4290"}, {"faults", `[1]`, "wrong type"}, {"latency_ms", `"x"`, "latency"},
		{"rpm", `-1`, "whole number"}, {"seed", `"1,rpm=3"`, "one value"}, {"nonsense", `1`, "nonsense"},
	} {
		_, err := Factory().New(provider.Config{Provider: "sim", Model: "m", Options: options(c.name, c.value)})
		if batch.KindOf(err) != batch.Invalid || !strings.Contains(err.Error(), c.says) || batch.HintOf(err) == "" {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		}
	}
	if _, err := Factory().New(provider.Config{BaseURL: "http://localhost:1/v1", Options: options("rpm", "1")}); batch.KindOf(err) != batch.Invalid {
		t.Errorf("options for a simulator elsewhere: %v", err)
	}
	r := request("x")
	r.Params = options("latency_ms", "5")
	if _, err := a.Encode(r); batch.KindOf(err) != batch.Invalid || !strings.Contains(err.Error(), "latency_ms") {
		t.Errorf("a knob among the parameters: %v", err)
	}
	r.Params = options("seed", "5", "temperature", "0")
	if c, err := a.Encode(r); err != nil || !strings.Contains(string(c.Body), `"seed":5`) {
		t.Errorf("%s %v", c.Body, err)
	}
}
