package provider

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is what an error body says, in one shape for every vendor. Bodies are
// read tolerantly: code may be null, a number or a string, error a string, an
// object or an array, and servers exist that send no wrapper at all.
type Fault struct {
	Message string
	// Tags are every type, code, status and reason named, in lower case, plus
	// quota_per_day and quota_per_minute for quota ids that say so.
	Tags []string
	// Status is the HTTP status that the body itself names, or 0.
	Status int
	// Delay is a retry delay that the body carries as a field, or 0.
	Delay time.Duration
	// Said reports that the body holds an error at all.
	Said bool
}

// FaultOf reads the error in a body; Said is false when there is none.
func FaultOf(body []byte) Fault {
	var f Fault
	var v any
	if json.Unmarshal(bytes.TrimPrefix(body, bom), &v) != nil {
		return f
	}
	f.top(v, 0)
	f.Message = strings.TrimSpace(f.Message)
	f.Said = f.Message != "" || len(f.Tags) > 0 || f.Status != 0 || f.Said
	return f
}

var bom = []byte("\xef\xbb\xbf")

// top reads the outermost value: the wrapper, or the error itself when flat.
func (f *Fault) top(v any, depth int) {
	switch v := v.(type) {
	case string:
		f.say(v)
	case []any:
		if len(v) > 0 && depth < 3 {
			f.top(v[0], depth+1)
		}
	case map[string]any:
		if e, ok := v["error"]; ok && e != nil && e != false {
			f.Said = true
			f.inner(e, depth)
			f.code(v["code"])
			f.tag(v["type"], "error")
			return
		}
		f.inner(v, depth)
	}
}

// inner reads the error value itself.
func (f *Fault) inner(v any, depth int) {
	if depth > 4 {
		return
	}
	switch v := v.(type) {
	case string:
		f.say(v)
	case []any:
		if len(v) > 0 {
			f.inner(v[0], depth+1)
		}
	case map[string]any:
		f.object(v, depth)
	}
}

func (f *Fault) object(v map[string]any, depth int) {
	f.code(v["code"])
	f.code(v["status_code"])
	if n, ok := v["status"].(float64); ok {
		f.number(int(n))
	}
	f.tag(v["type"], "error")
	f.tag(v["status"], "")
	f.tag(v["__type"], "")
	f.tag(v["error_code"], "")
	f.tag(v["reason"], "")
	for _, name := range [...]string{"message", "msg", "Message", "error_message"} {
		if s, ok := v[name].(string); ok {
			f.say(s)
		} else if v[name] != nil {
			f.inner(v[name], depth+1)
		}
	}
	if d, ok := v["detail"]; ok {
		f.fieldErrors(d, depth)
	}
	if e, ok := v["errors"].([]any); ok && len(e) > 0 {
		f.inner(e[0], depth+1)
	}
	if e, ok := v["innererror"].(map[string]any); ok {
		f.tag(e["code"], "")
	}
	switch d := v["details"].(type) {
	case map[string]any:
		f.tag(d["error_code"], "")
	case []any:
		for _, e := range d {
			if m, ok := e.(map[string]any); ok {
				f.rpcDetail(m)
			}
		}
	}
}

// rpcDetail reads one google.rpc detail.
func (f *Fault) rpcDetail(m map[string]any) {
	f.tag(m["reason"], "")
	if s, ok := m["retryDelay"].(string); ok {
		f.Delay = max(f.Delay, span(s))
	}
	violations, _ := m["violations"].([]any)
	for _, v := range violations {
		m, _ := v.(map[string]any)
		id, _ := m["quotaId"].(string)
		switch {
		case strings.Contains(id, "PerDay"):
			f.Tags = append(f.Tags, "quota_per_day")
		case strings.Contains(id, "PerMinute"):
			f.Tags = append(f.Tags, "quota_per_minute")
		}
	}
}

// fieldErrors reads a validation answer: a text, or a list of {loc, msg}. The
// rejected input beside msg is left alone: it is the request.
func (f *Fault) fieldErrors(v any, depth int) {
	list, ok := v.([]any)
	if !ok {
		f.inner(v, depth+1)
		return
	}
	if len(list) == 0 {
		return
	}
	m, ok := list[0].(map[string]any)
	if !ok {
		f.inner(list[0], depth+1)
		return
	}
	var at []string
	loc, _ := m["loc"].([]any)
	for _, l := range loc {
		switch l := l.(type) {
		case string:
			at = append(at, l)
		case float64:
			at = append(at, strconv.Itoa(int(l)))
		}
	}
	if s, ok := m["msg"].(string); ok {
		f.say(strings.TrimPrefix(strings.Join(at, ".")+": "+s, ": "))
	}
	f.tag(m["type"], "")
}

func (f *Fault) say(s string) {
	if f.Message == "" {
		f.Message = s
	}
}

// code reads a code of any JSON type.
func (f *Fault) code(v any) {
	switch v := v.(type) {
	case string:
		f.tag(v, "")
		if n, err := strconv.Atoi(v); err == nil {
			f.number(n)
		}
	case float64:
		f.number(int(v))
	}
}

func (f *Fault) number(n int) {
	if f.Status == 0 && n >= 400 && n <= 599 {
		f.Status = n
	}
}

// tag keeps a name the fault goes by; but is a value that names nothing.
func (f *Fault) tag(v any, but string) {
	s, ok := v.(string)
	if !ok || s == "" || s == but || s == "None" || s == "null" {
		return
	}
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	f.Tags = append(f.Tags, strings.ToLower(s))
}

// header adds what headers say about the fault.
func (f *Fault) headerTags(h http.Header) {
	if s, _, _ := strings.Cut(h.Get("X-Amzn-Errortype"), ":"); s != "" {
		f.Tags = append(f.Tags, strings.ToLower(s))
	}
}
