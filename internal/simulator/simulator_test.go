package simulator_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/simulator"
)

func chatBody(text string) string {
	return fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%q}],"max_tokens":100}`, text)
}

// Faults and answers must not depend on the order in which requests come.
func TestRunsRepeatWhateverTheOrder(t *testing.T) {
	t.Parallel()
	const faults = "seed=5,500:0.2,429:0.1,drop:0.1,length:0.1,latency=uniform:0s:1us"
	run := func(order []int) (map[int]string, simulator.Totals) {
		s := inProcess(t, faults)
		got := map[int]string{}
		for range 3 { // every request comes three times
			for _, i := range order {
				p := send(t, s, chatPath, chatBody(fmt.Sprint("item ", i)))
				got[i] += fmt.Sprintf("%d %d %s\n", p.Status, p.Manner, p.Body)
			}
		}
		return got, s.Totals()
	}
	order := rand.New(rand.NewPCG(1, 1)).Perm(200)
	a, billA := run(order)
	rand.New(rand.NewPCG(2, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	b, billB := run(order)
	if !reflect.DeepEqual(a, b) || billA.BilledOutputTokens != billB.BilledOutputTokens || !reflect.DeepEqual(billA.ByFault, billB.ByFault) {
		t.Error("another order gave other answers or faults")
	}
	for name, want := range map[string]float64{"500": 0.2, "429": 0.1, "drop": 0.1, "length": 0.1} {
		if got := float64(billA.ByFault[name]) / 600; got < want*0.7 || got > want*1.3 {
			t.Errorf("%s came in %.3f of the calls, want about %.2f", name, got, want)
		}
	}
	recovered := 0
	for _, answers := range a {
		if strings.HasPrefix(answers, "500") && strings.Contains(answers, "\n200") {
			recovered++
		}
	}
	if recovered < 20 {
		t.Errorf("only %d requests that failed first succeeded later", recovered)
	}
}

func TestScriptMarkersAndPoison(t *testing.T) {
	t.Parallel()
	s := inProcess(t, "nth:2=500,nth:4-5=429,poison=DROP TABLE,filtered=bomb")
	var got []int
	for i := range 6 {
		got = append(got, send(t, s, chatPath, chatBody(fmt.Sprint(i))).Status)
	}
	if want := []int{200, 500, 200, 429, 429, 200}; !reflect.DeepEqual(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	s = inProcess(t, "seen:1-2=503,poison=DROP TABLE,filtered=bomb")
	for i, want := range []int{503, 503, 200, 200} {
		for _, text := range []string{"a", "b"} {
			if p := send(t, s, chatPath, chatBody(text)); p.Status != want {
				t.Errorf("time %d of %s: %d, want %d", i+1, text, p.Status, want)
			}
		}
	}
	for range 3 {
		if p := send(t, s, chatPath, chatBody("x; DROP TABLE y")); p.Status != 400 || !strings.Contains(string(p.Body), "invalid_request_error") {
			t.Errorf("poison: %d %s", p.Status, p.Body)
		}
		if p := send(t, s, chatPath, chatBody("a bomb")); p.Status != 400 || !strings.Contains(string(p.Body), "content_policy_violation") {
			t.Errorf("filtered: %d %s", p.Status, p.Body)
		}
		if p := send(t, s, chatPath, chatBody("now @@sim:409.")); p.Status != 409 {
			t.Errorf("marker: %d", p.Status)
		}
	}
	if p := send(t, inProcess(t, ""), chatPath, chatBody("@@sim:4299 and @@sim:what")); p.Status != 200 {
		t.Errorf("a marker without a fault's name: %d", p.Status)
	}
}

func TestKnobsParseAndPrint(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "429:0.05,500:0.01,timeout:0.005,badjson:0.01,empty:0.01,truncate:0.01,length:0.02,refuse:0.01,filter:0.01,drop:0.01,reset:0.01,slow:0.01,quota:0,auth:0,context:0",
		"nth:17=500", "seed=3,nth:1-4=429,seen:2=drop,latency=lognormal:50ms:0.5,rpm=60,tpm=1000,concurrency=4,burst=0.5,charge=max",
		"latency=uniform:10ms:90ms", "latency=bimodal:50ms:2s:0.01", "latency=50ms", "poison=a:b=c,filtered=x",
		"retry_after=1s,hang=1m,slow=3,words=9,cached=0.5,reasoning=0.1,context=100,cap=length,lenient=true",
		"nth:5-=auth,nth:3=cut@120,seen:1=rst@0", "rpd=9,hint=date,quota=x,key=k,cut=0,drip=5ms,huge=9,location=http://a.b:1/c?d=e", "chaos=0.3",
	} {
		k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		back, err := simulator.ParseKnobs(simulator.DefaultKnobs(), k.String())
		if err != nil || !reflect.DeepEqual(k, back) {
			t.Errorf("%q prints as %q, which reads as %+v (%v)", text, k, back, err)
		}
	}
	for _, text := range []string{"429", "429:2", "429:-0.1", "429:NaN", "ok:0.1", "what:0.1", "what=1", "nth:0=500", "nth:5-4=500",
		"nth:5", "nth:5=what", "latency=fast", "latency=uniform:9ms:1ms", "latency=lognormal:1ms:NaN", "rpm=-1", "rpm=x", "burst=0",
		"charge=some", "429:0.6,500:0.6", "cached=1.5", "lenient=maybe",
		"nth:1=500@3", "nth:1=cut@", "nth:1=cut@x", "nth:1=cut@-1", "hint=what", "chaos=2", "cut=-1", "drip=x", "huge=-1", "rpd=x"} {
		if _, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text); batch.KindOf(err) != batch.Usage || batch.HintOf(err) == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseKnobs(f *testing.F) {
	f.Add("429:0.05,nth:1-4=429,latency=lognormal:50ms:0.5,poison=x")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text)
		if err != nil {
			return
		}
		back, err := simulator.ParseKnobs(simulator.DefaultKnobs(), k.String())
		if err != nil || back.String() != k.String() {
			t.Errorf("%q prints as %q, which reads as %q (%v)", text, k, back, err)
		}
	})
}

var answerSchemas = []string{
	labelSchema,
	`{"type":"object","properties":{"n":{"type":"integer","minimum":1,"maximum":5},"x":{"type":"number","exclusiveMinimum":0,"maximum":1},"tags":{"type":"array","items":{"type":"string","maxLength":6},"minItems":2,"maxItems":4},"at":{"type":"string","format":"date-time"},"who":{"type":"string","format":"email"},"id":{"type":"string","format":"uuid"}},"required":["n","x","tags","at","who","id"]}`,
	`{"type":"array","items":{"enum":["a","b","c"]},"minItems":3,"maxItems":3,"uniqueItems":true}`,
	`{"$defs":{"node":{"type":"object","properties":{"name":{"type":"string","minLength":12},"kids":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["name","kids"],"additionalProperties":false}},"$ref":"#/$defs/node"}`,
	`{"anyOf":[{"type":"string"},{"type":"null"},{"type":"object","properties":{"k":{"const":7}},"required":["k"]}]}`,
	`{"allOf":[{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]},{"properties":{"b":{"type":["integer","null"],"multipleOf":5}},"required":["b"]}]}`,
	`{"type":"object","required":["free"],"additionalProperties":{"type":"integer","minimum":-3,"maximum":-3}}`,
	`{"type":"string","minLength":3,"maxLength":3}`, `{"type":"boolean"}`, `{"type":"null"}`, `{}`,
}

func TestAnswersSatisfyTheSchema(t *testing.T) {
	t.Parallel()
	s := inProcess(t, "")
	for _, raw := range answerSchemas {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("s.json", doc); err != nil {
			t.Fatal(err)
		}
		sch, err := c.Compile("s.json")
		if err != nil {
			t.Fatal(err)
		}
		different := map[string]bool{}
		for i := range 200 {
			p := send(t, s, chatPath, fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":"%d"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":%s}}}`, i, raw))
			text := content(t, p)
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err == nil {
				err = sch.Validate(v)
			}
			if err != nil {
				t.Fatalf("%s\n%s\n%v", raw, text, err)
			}
			different[text] = true
		}
		if len(different) < 2 && !strings.Contains(raw, "null\"}") && !strings.Contains(raw, "-3") {
			t.Errorf("%s: always the same answer", raw)
		}
	}
}

func content(t *testing.T, p simulator.Reply) string {
	t.Helper()
	var v struct {
		Choices []struct {
			Message      struct{ Content string }
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(p.Body, &v); err != nil || len(v.Choices) != 1 {
		t.Fatalf("%d %s: %v", p.Status, p.Body, err)
	}
	return v.Choices[0].Message.Content
}

func TestOutputLimit(t *testing.T) {
	t.Parallel()
	body := func(format string) string {
		return `{"model":"m","messages":[{"role":"user","content":"json please"}],"max_tokens":3` + format + `}`
	}
	schema := `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":` + labelSchema + `}}`
	for _, c := range []struct{ knobs, format, finish string }{
		{"words=50", "", `"stop"`}, {"words=50,cap=length", "", `"length"`}, {"", schema, `"length"`},
	} {
		s := inProcess(t, c.knobs)
		p := send(t, s, chatPath, body(c.format))
		if b := s.Totals(); !strings.Contains(string(p.Body), `"finish_reason":`+c.finish) || b.BilledOutputTokens != 3 {
			t.Errorf("%+v: %s, billed %d", c, p.Body, b.BilledOutputTokens)
		}
	}
}

func TestBillFileIsWrittenBeforeTheReply(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bill.jsonl")
	f, err := simulator.OpenBill(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, url := serve(t, simulator.Config{Knobs: knobs(t, "500:0.2,drop:0.2"), Bill: f})
	billed := 0
	for i := range 60 {
		body := chatBody(fmt.Sprint(i))
		req, _ := http.NewRequestWithContext(t.Context(), "POST", url+chatPath, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Client-Request-Id", fmt.Sprintf("id-%d", i))
		resp, err := http.DefaultClient.Do(req)
		lost := err != nil
		if !lost {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if !lost && resp.StatusCode != 200 {
			continue
		}
		billed++
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
		var last struct {
			Digest   string
			ClientID string `json:"client_id"`
			Fault    string
			In       int64 `json:"input_tokens"`
		}
		sum := sha256.Sum256([]byte(body))
		if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(lines) != billed || last.ClientID != fmt.Sprintf("id-%d", i) ||
			last.Digest != hex.EncodeToString(sum[:16]) || (last.Fault == "drop") != lost || last.In == 0 {
			t.Fatalf("call %d (lost %v): %d lines, the last %+v, %v", i, lost, len(lines), last, err)
		}
	}
	if b := s.Totals(); b.BilledCalls != int64(billed) || b.LostReplies == 0 || b.ByFault["500"] == 0 {
		t.Errorf("%+v", b)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestNobodyIsAnsweredWithoutABill(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Config{Knobs: simulator.DefaultKnobs(), Bill: full{}, Now: time.Now})
	if p := send(t, s, chatPath, chatBody("x")); p.Manner != simulator.CutBefore {
		t.Errorf("%+v", p)
	}
}

// told passes every bill line on, so that a test can wait for it.
type told chan string

func (c told) Write(b []byte) (int, error) { c <- string(b); return len(b), nil }

func TestADisconnectedClientIsBilled(t *testing.T) {
	t.Parallel()
	lines := make(told, 1)
	s, url := serve(t, simulator.Config{Knobs: knobs(t, "latency=10m"), Bill: lines})
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	req, _ := http.NewRequestWithContext(ctx, "POST", url+chatPath, strings.NewReader(chatBody("x")))
	req.Header.Set("Content-Type", "application/json")
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if line := <-lines; !strings.Contains(line, `"fault":"ok"`) {
		t.Error(line)
	}
	if b := s.Totals(); b.BilledCalls != 1 || b.LostReplies != 1 {
		t.Errorf("%+v", b)
	}
}

func TestExtraPaidCalls(t *testing.T) {
	t.Parallel()
	s := inProcess(t, "seen:1=badjson,seen:2=drop")
	for range 4 { // badjson, drop, ok, ok
		send(t, s, chatPath, chatBody("x"))
	}
	b := s.Totals()
	if b.BilledCalls != 4 || b.UniqueBilled != 1 || b.ExtraPaidCalls != 2 || b.LostReplies != 1 || b.UniqueRequests != 1 {
		t.Errorf("%+v", b)
	}
	if l := s.Lines(); len(l) != 1 || l[0].Billed != 4 || l[0].Final != 3 || l[0].Delivered != 3 || l[0].Seen != 4 {
		t.Errorf("%+v", l)
	}
}

func TestControlPaths(t *testing.T) {
	t.Parallel()
	_, url := serve(t, simulator.Config{Knobs: knobs(t, "seed=4"), Models: []string{"m"}})
	do := func(method, path, body string) (int, map[string]any) {
		req, _ := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Client-Request-Id", "same")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var v map[string]any
		_ = json.NewDecoder(resp.Body).Decode(&v)
		return resp.StatusCode, v
	}
	begin := time.Now().Add(-time.Second).Format(time.RFC3339Nano)
	for range 2 {
		if st, _ := do("POST", chatPath, chatBody("x")); st != 200 {
			t.Fatal(st)
		}
	}
	_, v := do("GET", "/__bill?detail=1&since="+begin, "")
	if v["total_calls"] != 2.0 || v["billed_calls"] != 2.0 || v["extra_paid_calls"] != 1.0 || v["unique_requests_billed"] != 1.0 ||
		v["calls_after"] != 2.0 || v["repeated_client_ids"] != 1.0 || v["peak_concurrency"] != 1.0 || len(v["requests"].([]any)) != 1 {
		t.Errorf("%v", v)
	}
	if _, v := do("GET", fmt.Sprintf("/__bill?since=%d", time.Now().Add(time.Hour).Unix()), ""); v["calls_after"] != 0.0 {
		t.Errorf("%v", v)
	}
	if st, _ := do("GET", "/__bill?since=yesterday", ""); st != 400 {
		t.Error(st)
	}
	if st, v := do("POST", "/__faults", "500:1"); st != 200 || v["knobs"] != "seed=4,500:1" {
		t.Errorf("%d %v", st, v)
	}
	if st, _ := do("POST", chatPath, chatBody("x")); st != 500 {
		t.Error(st)
	}
	if st, v := do("POST", "/__faults?add=1", "rpm=60"); st != 200 || v["knobs"] != "seed=4,500:1,rpm=60" {
		t.Errorf("%d %v", st, v)
	}
	if st, v := do("POST", "/__faults", "nonsense"); st != 400 || v["error"] == nil {
		t.Errorf("%d %v", st, v)
	}
	if st, _ := do("POST", "/__reset", ""); st != 204 {
		t.Error(st)
	}
	if _, v := do("GET", "/__bill", ""); v["total_calls"] != 0.0 {
		t.Errorf("%v", v)
	}
	for path, want := range map[string]int{"/health": 200, "/v1/models": 200, "/__config": 200, "/v1/nothing": 404} {
		if st, _ := do("GET", path, ""); st != want {
			t.Errorf("%s: %d", path, st)
		}
	}
}

func TestLatencyAndPeak(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		latency             string
		least, middle, most time.Duration
	}{
		{"50ms", 50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond},
		{"uniform:10ms:90ms", 10 * time.Millisecond, 50 * time.Millisecond, 90 * time.Millisecond},
		{"lognormal:50ms:0.5", time.Millisecond, 50 * time.Millisecond, time.Second},
	} {
		t.Run(c.latency, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := inProcess(t, "latency="+c.latency)
				const n = 500
				took := make([]time.Duration, n)
				var wg sync.WaitGroup
				begin := time.Now()
				for i := range n {
					wg.Go(func() {
						send(t, s, chatPath, chatBody(fmt.Sprint(i)))
						took[i] = time.Since(begin)
					})
				}
				wg.Wait()
				under := 0
				for _, d := range took {
					if d < c.least || d > c.most {
						t.Fatalf("a call took %v", d)
					}
					if d <= c.middle {
						under++
					}
				}
				if c.least != c.most && (under < n*4/10 || under > n*6/10) {
					t.Errorf("%d of %d calls at or under the median", under, n)
				}
				if b := s.Totals(); b.PeakConcurrency != n || b.InFlight != 0 {
					t.Errorf("%+v", b)
				}
			})
		})
	}
}

func TestConcurrencyLimitAndTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := inProcess(t, "latency=1s,concurrency=4,retry_after=2s")
		var wg sync.WaitGroup
		var mu sync.Mutex
		status := map[int]int{}
		for i := range 10 {
			wg.Go(func() {
				p := send(t, s, chatPath, chatBody(fmt.Sprint(i)))
				mu.Lock()
				status[p.Status]++
				mu.Unlock()
				if h := strings.Join(p.Header, " "); p.Status == 429 && !strings.Contains(h, "Retry-After 2 Retry-After-Ms 2000") {
					t.Error(h)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if status[200] != 4 || status[429] != 6 {
			t.Errorf("%v", status)
		}
		s = inProcess(t, "timeout:1,hang=30s")
		begin := time.Now()
		if p := send(t, s, chatPath, chatBody("x")); p.Manner != simulator.CutBefore || time.Since(begin) != 30*time.Second {
			t.Errorf("%+v after %v", p, time.Since(begin))
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		begin = time.Now()
		s.Do(ctx, &simulator.Request{Method: "POST", Path: chatPath, Body: []byte(chatBody("y")), Header: http.Header{"Content-Type": {"application/json"}}}, nil)
		if b := s.Totals(); time.Since(begin) != time.Second || b.BilledCalls != 0 || b.InFlight != 0 {
			t.Errorf("%+v", b)
		}
	})
}

// The limits of the simulator must be those a vendor enforces: no minute holds
// more than the rate and the burst.
func TestLimitsHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			knobs   string
			minutes int
			want    float64 // billed calls
		}{{"rpm=60", 10, 601}, {"rpm=6000", 1, 6_100}, {"tpm=6000,charge=max", 10, 10 * 6000 / 105}} {
			s := inProcess(t, c.knobs)
			begin := time.Now()
			for i := 0; time.Since(begin) < time.Duration(c.minutes)*time.Minute; i++ {
				if p := send(t, s, chatPath, chatBody(fmt.Sprint("number ", i%10, " of many."))); p.Status == 429 {
					time.Sleep(50 * time.Millisecond)
				}
			}
			if n := float64(s.Totals().BilledCalls); n > c.want*1.01 || n < c.want*0.9 {
				t.Errorf("%s: %v calls, want about %v", c.knobs, n, c.want)
			}
		}
	})
}

func usage(t *testing.T, p simulator.Reply) int64 {
	t.Helper()
	var v struct {
		Usage struct {
			Total int64 `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal(p.Body, &v); err != nil {
		t.Error(err)
	}
	return v.Usage.Total
}
