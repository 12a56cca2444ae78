package httpjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// pointers say where an answer holds what; an empty list of steps with set
// false means that the answer does not hold it.
type pointers struct {
	text, input, output, finish, fault, model pointer
}

type pointer struct {
	steps []string
	set   bool
}

type rawPointers struct {
	Text         *string `json:"text"`
	InputTokens  *string `json:"input_tokens"`
	OutputTokens *string `json:"output_tokens"`
	Finish       *string `json:"finish"`
	Error        *string `json:"error"`
	Model        *string `json:"model"`
}

func (r rawPointers) compile() (pointers, error) {
	var p pointers
	if r.Text == nil {
		return p, bad("task.options.response.text", "the http provider needs to know where the answer's text is",
			`give a JSON pointer, like /choices/0/text; "" is the whole answer`)
	}
	for _, one := range []struct {
		name string
		from *string
		to   *pointer
	}{{"text", r.Text, &p.text}, {"input_tokens", r.InputTokens, &p.input}, {"output_tokens", r.OutputTokens, &p.output},
		{"finish", r.Finish, &p.finish}, {"error", r.Error, &p.fault}, {"model", r.Model, &p.model}} {
		if one.from == nil {
			continue
		}
		if *one.from != "" && (*one.from)[0] != '/' {
			return p, bad("task.options.response."+one.name, fmt.Sprintf("%q is not a JSON pointer", *one.from), "begin it with a slash, like /output/text")
		}
		one.to.set = true
		for _, s := range strings.Split(*one.from, "/")[1:] {
			one.to.steps = append(one.to.steps, strings.NewReplacer("~1", "/", "~0", "~").Replace(s))
		}
	}
	return p, nil
}

func (p pointer) find(v any) (any, bool) {
	if !p.set {
		return nil, false
	}
	for _, s := range p.steps {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[s]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(s)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, v != nil
}

// finishes are the reasons of many APIs; any other is taken for a whole answer.
var finishes = map[string]provider.Finish{
	"length":         {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"max_tokens":     {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"MAX_TOKENS":     {Class: batch.ClassTruncated, Detail: "cut at max_output_tokens"},
	"content_filter": {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},
	"SAFETY":         {Class: batch.ClassFiltered, Detail: "the provider's content filter cut the answer"},
	"refusal":        {Class: batch.ClassRefused, Detail: "the model refused"},
	"error":          {Class: batch.ClassTransient, Detail: "the provider ended the answer with an error"},
	"abort":          {Class: batch.ClassTransient, Detail: "the server aborted the answer"},
}

// Decode classes an answer by the pointers.
func (a *adapter) Decode(_ string, ans provider.Answer) provider.Result {
	if ans.Status/100 != 2 {
		return a.refusal(ans)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(ans.Body))
	d.UseNumber()
	if !json.Valid(ans.Body) || d.Decode(&v) != nil {
		return provider.Unreadable(ans, "the answer is not JSON")
	}
	if f, ok := a.fault(v); ok {
		return provider.ClassifyFault(ans, f)
	}
	at, ok := a.read.text.find(v)
	if !ok {
		if f := provider.FaultOf(ans.Body); f.Said && !a.read.fault.set {
			return provider.ClassifyFault(ans, f)
		}
		return provider.Unreadable(ans, "the answer holds nothing at the text pointer")
	}
	r := provider.Result{Class: batch.ClassOK, Status: ans.Status, Sent: provider.Answered, Rate: provider.NoRate}
	reason := ""
	if f, ok := a.read.finish.find(v); ok {
		reason, _ = f.(string)
	}
	text := textOf(at)
	switch f, known := finishes[reason]; {
	case known:
		r.Settle(finishes, reason, text)
		r.Message = f.Detail
	case text == "":
		r.Class, r.Message = batch.ClassInvalidOutput, "the answer is empty"
	default:
		r.Text = text
	}
	r.Finish = reason
	if m, ok := a.read.model.find(v); ok {
		r.Model, _ = m.(string)
	}
	a.usage(&r, v)
	return r
}

// refusal classes a failure whose error may stand where only the pointer knows.
func (a *adapter) refusal(ans provider.Answer) provider.Result {
	var v any
	if json.Unmarshal(ans.Body, &v) == nil {
		if f, ok := a.fault(v); ok {
			return provider.ClassifyFault(ans, f)
		}
	}
	return provider.Classify(ans)
}

func (a *adapter) fault(v any) (provider.Fault, bool) {
	e, ok := a.read.fault.find(v)
	if !ok || e == false || e == "" {
		return provider.Fault{}, false
	}
	raw, err := json.Marshal(e)
	if err != nil || !provider.Present(raw) {
		return provider.Fault{}, false
	}
	return provider.FaultOf(raw), true
}

func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

// usage needs both numbers: half a usage is none.
func (a *adapter) usage(r *provider.Result, v any) {
	in, ok1 := a.read.input.find(v)
	out, ok2 := a.read.output.find(v)
	if !ok1 || !ok2 {
		return
	}
	var t provider.Tally
	for _, n := range []struct {
		from any
		to   *provider.Count
	}{{in, &t.Input}, {out, &t.Output}} {
		raw, err := json.Marshal(n.from)
		if err != nil || n.to.UnmarshalJSON(raw) != nil {
			return
		}
	}
	r.Take(t)
}
