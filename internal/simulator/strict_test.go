package simulator_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/simulator"
)

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
	geminiPath    = "/v1beta/models/m:generateContent"
)

func send(t *testing.T, s *simulator.Simulator, path, body string) simulator.Reply {
	t.Helper()
	p, ok := s.Do(t.Context(), &simulator.Request{Method: "POST", Path: path, Body: []byte(body),
		Header: http.Header{"Content-Type": {"application/json"}, "Anthropic-Version": {"2023-06-01"}}}, nil)
	if !ok {
		t.Fatalf("no dialect at %s", path)
	}
	return p
}

func inProcess(t testing.TB, text string) *simulator.Simulator {
	return simulator.New(simulator.Config{Knobs: knobs(t, text), Now: time.Now})
}

// Bodies that the vendors refuse must be refused here, or a client's mistake
// would first be seen in production. Those without says must be accepted.
func TestStrictness(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 65)
	for _, c := range []struct{ path, body, says string }{
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}]}`, ""},
		{chatPath, `{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"https://e.com/a.png"}}]}],"temperature":0,"seed":1,"stop":["a"],"metadata":{"a":"b"}}`, ""},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"say json"}],"response_format":{"type":"json_object"}}`, ""},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"user","content":"y"}]}`, ""},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}]`, "not valid JSON"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}]} {}`, "not valid JSON"},
		{chatPath, `[]`, "could not parse"},
		{chatPath, `{"messages":[{"role":"user","content":"x"}]}`, "model"},
		{chatPath, `{"model":"m"}`, "messages"},
		{chatPath, `{"model":"m","messages":[]}`, "empty array"},
		{chatPath, `{"model":"m","messages":[{"role":"human","content":"x"}]}`, "'human'"},
		{chatPath, `{"model":"m","messages":[{"role":"user"}]}`, "messages[0].content"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":null}]}`, "messages[0].content"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":[]}]}`, "non-empty"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":[{"type":"video"}]}]}`, "'video'"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"latency_ms":5}`, "Unrecognized request argument supplied: latency_ms"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":1,"max_completion_tokens":1}`, "at the same time"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}`, ">= 1"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":"5"}`, "Invalid type for 'max_tokens'"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":2.5}`, "temperature"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"stop":["1","2","3","4","5"]}`, "stop"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}`, "stream"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"` + long + `":"v"}}`, "metadata"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}}`, "the word 'json'"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}`, "'xml'"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":{}}}}`, "name"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"thing"}}}}`, "thing"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}}}}`, "additionalProperties"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}`, "Missing 'b'"},
		{chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"#/$defs/no"}}}}`, "not found in the schema"},
		{"/openai/deployments/d/chat/completions", `{"messages":[{"role":"user","content":"x"}]}`, ""},

		{responsesPath, `{"model":"m","input":"x","max_output_tokens":16}`, ""},
		{responsesPath, `{"model":"m","instructions":"i","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]}],"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object"}}}}`, ""},
		{responsesPath, `{"model":"m","input":"x","max_output_tokens":15}`, ">= 16"},
		{responsesPath, `{"model":"m"}`, "input"},
		{responsesPath, `{"model":"m","messages":[]}`, "Unknown parameter: 'messages'"},
		{responsesPath, `{"model":"m","input":[{"role":"tool","content":"x"}]}`, "'tool'"},
		{responsesPath, `{"model":"m","input":"x","text":{"format":{"type":"json_schema","json_schema":{}}}}`, "json_schema"},

		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]}`, ""},
		{messagesPath, `{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens: Field required"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"system","content":"x"}]}`, "'user' or 'assistant'"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"assistant","content":"x"}]}`, "first message"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":""}]}`, "non-empty"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"seed":1}`, "seed: Extra inputs are not permitted"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"temperature":1.5}`, "temperature"},
		{messagesPath, `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}`, "additionalProperties"},

		{geminiPath, `{"contents":[{"parts":[{"text":"x"}]}]}`, ""},
		{geminiPath, `{"contents":[{"role":"user","parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":9,"responseMimeType":"application/json","responseSchema":{"type":"OBJECT","properties":{"a":{"type":"STRING"}}}}}`, ""},
		{geminiPath, `{"contents":[]}`, "contents is not specified"},
		{geminiPath, `{"contents":[{"role":"assistant","parts":[{"text":"x"}]}]}`, "valid role"},
		{geminiPath, `{"contents":[{"parts":[]}]}`, "must not be empty"},
		{geminiPath, `{"contents":[{"parts":[{}]}]}`, "one initialized field"},
		{geminiPath, `{"contents":[{"parts":[{"text":"x"}]}],"max_tokens":1}`, `Unknown name \"max_tokens\"`},
		{geminiPath, `{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseSchema":{"type":"object"}}}`, "mime type"},
	} {
		s := inProcess(t, "")
		p := send(t, s, c.path, c.body)
		switch {
		case c.says == "" && p.Status != 200:
			t.Errorf("refused %s: %d %s", c.body, p.Status, p.Body)
		case c.says != "" && (p.Status != 400 || !strings.Contains(string(p.Body), c.says)):
			t.Errorf("%s\n  got %d %s\n  want 400 with %q", c.body, p.Status, p.Body, c.says)
		case c.says != "" && (s.Totals().BilledCalls != 0 || s.Totals().ByClass[batch.ClassInvalidRequest] != 1):
			t.Errorf("a refused request is on the bill: %+v", s.Totals())
		}
	}
}

func TestLenientTakesUnknownFields(t *testing.T) {
	t.Parallel()
	if p := send(t, inProcess(t, "lenient=true"), chatPath, `{"model":"m","messages":[{"role":"user","content":"x"}],"guided_json":{}}`); p.Status != 200 {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

func TestTransportIsChecked(t *testing.T) {
	t.Parallel()
	s := simulator.New(simulator.Config{Knobs: knobs(t, "context=20"), Models: []string{"m"}, Key: "right", Now: time.Now})
	good := `{"model":"m","messages":[{"role":"user","content":"x"}]}`
	for _, c := range []struct {
		name, method, typ, key, id, body string
		status                           int
	}{
		{"all is well", "POST", "application/json; charset=utf-8", "right", "run-1", good, 200},
		{"no key", "POST", "application/json", "", "", good, 401},
		{"wrong key", "POST", "application/json", "wrong", "", good, 401},
		{"wrong method", "GET", "application/json", "right", "", good, 405},
		{"wrong type", "POST", "text/plain", "right", "", good, 415},
		{"id not ASCII", "POST", "application/json", "right", "ü", good, 400},
		{"id too long", "POST", "application/json", "right", strings.Repeat("i", 513), good, 400},
		{"no such model", "POST", "application/json", "right", "", `{"model":"z","messages":[{"role":"user","content":"x"}]}`, 404},
		{"context", "POST", "application/json", "right", "", `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", 90) + `"}]}`, 400},
		{"context with the output", "POST", "application/json", "right", "", `{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":20}`, 400},
	} {
		h := http.Header{"Content-Type": {c.typ}}
		if c.key != "" {
			h.Set("Authorization", "Bearer "+c.key)
		}
		if c.id != "" {
			h.Set("X-Client-Request-Id", c.id)
		}
		p, _ := s.Do(t.Context(), &simulator.Request{Method: c.method, Path: chatPath, Header: h, Body: []byte(c.body)}, nil)
		if p.Status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, p.Status, p.Body, c.status)
		}
	}
}
