package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// ask is what a request asks for, whatever its dialect.
type ask struct {
	model      string
	chars      int64 // characters of all text in the input
	extra      int64 // tokens of parts that are not text
	maxTokens  int64 // output limit; 0 when the request has none
	schema     json.RawMessage
	jsonObject bool // any JSON object is wanted
}

// imageTokens is what one image or other part counts.
const imageTokens = 85

func (a *ask) inputTokens() int64 { return max(1, (a.chars+3)/4+a.extra) }

// finish is why an answer ended.
type finish int

const (
	finishStop finish = iota
	finishLength
	finishFilter
	finishRefuse
)

// answer is a generation, before a dialect's form is put on it.
type answer struct {
	id        digest
	model     string
	text      string
	end       finish
	in, out   int64
	cached    int64
	reasoning int64
	noUsage   bool
	noChoice  bool
	null      null

	// What the answer says it used, where that is not what is billed.
	sayIn, sayOut int64
	odd           string // stands for every number of tokens
}

// null is the part of an answer that is null.
type null int

const (
	nothingNull null = iota
	nullChoices
	nullContent
)

// failure is an error answer, before a dialect's form is put on it.
type failure struct {
	fault   Fault
	message string // for requests that are invalid
	param   string
	code    string
	status  int // where it differs from the fault's
	ask     ask
	context int64
	retry   int64 // hint in milliseconds; 0 none
}

// dialect is one vendor's form of request and answer.
type dialect interface {
	name() string
	// read checks a request as the vendor does and says what it asks for.
	read(r *Request, k *Knobs) (ask, *failure)
	// answered appends the body of a successful answer.
	answered(b []byte, a *answer) []byte
	// failed appends the body of an error answer and gives its status.
	failed(b []byte, f *failure) ([]byte, int)
	// failedInside appends the body of an answer that has its error inside.
	failedInside(b []byte, a *answer) []byte
	// rates appends the vendor's rate headers as name, value pairs.
	rates(h []string, l *levels) []string
	// hints appends the vendor's headers of a refusal for now.
	hints(h []string, f *failure) []string
	// class is what a right client of the dialect makes of a fault.
	class(f Fault) batch.Class
}

// dialectAt finds the dialect of a path, or nil.
func dialectAt(path string) dialect {
	switch path {
	case "/v1/chat/completions", "/openai/v1/chat/completions":
		return chat{}
	case "/v1/responses", "/openai/v1/responses":
		return responses{}
	case "/v1/messages":
		return messages{}
	}
	if name := between(path, "/openai/deployments/", "/chat/completions"); name != "" {
		return chat{azure: true, model: name}
	}
	if name := between(path, "/v1beta/models/", ":generateContent"); name != "" {
		return gemini{model: name}
	}
	return nil
}

// between is the one path segment between a prefix and a suffix, or "".
func between(path, prefix, suffix string) string {
	rest, ok := strings.CutPrefix(path, prefix)
	name, ok2 := strings.CutSuffix(rest, suffix)
	if !ok || !ok2 || strings.Contains(name, "/") {
		return ""
	}
	return name
}

// misread says how a body failed to be read.
type misread struct {
	unparsable bool
	unknown    string // the field nobody knows
	wrongType  string // the field of a wrong type
}

// readJSON decodes a body once. With lenient, unknown fields are let through.
func readJSON(body []byte, into any, lenient bool) *misread {
	dec := json.NewDecoder(bytes.NewReader(body))
	if !lenient {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return &misread{wrongType: wrong.Field}
		}
		if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return &misread{unknown: strings.Trim(field, `"`)}
		}
		return &misread{unparsable: true}
	}
	if len(bytes.TrimSpace(body[dec.InputOffset():])) > 0 {
		return &misread{unparsable: true}
	}
	return nil
}

func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func isArray(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// textLength counts the characters of a JSON string.
func textLength(raw json.RawMessage) int64 {
	if !isString(raw) {
		return 0
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return int64(utf8.RuneCount(raw) - 2)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return int64(len(raw))
	}
	return int64(utf8.RuneCountInString(s))
}

func invalid(param, code, message string) *failure {
	return &failure{fault: FaultInvalid, param: param, code: code, message: message}
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		from = i + 1
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
