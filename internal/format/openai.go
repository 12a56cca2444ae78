package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// BatchLine is one line of an OpenAI batch file.
type BatchLine struct {
	CustomID string
	URL      string          // path of the endpoint, "/v1/chat/completions"
	Body     json.RawMessage // the request as it will be sent; aliases the payload
}

// batchURLs are the endpoints that a batch file may name.
func batchURLs() []string {
	return []string{"/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/moderations"}
}

// ParseBatchLine takes apart the payload of an OpenAI batch file's row.
func ParseBatchLine(payload []byte) (BatchLine, error) {
	var d Decoder
	if bad := d.object(payload, 1, 0); bad != nil {
		return BatchLine{}, &batch.Error{Kind: batch.Invalid, Op: "read batch line", Msg: bad.Msg, Hint: bad.Hint}
	}
	row := Row{Payload: payload, Fields: d.scan.Fields, Line: 1}
	if bad := checkBatchLine(&row); bad != nil {
		return BatchLine{}, &batch.Error{Kind: batch.Invalid, Op: "read batch line", Msg: bad.Msg, Hint: bad.Hint}
	}
	var l BatchLine
	l.CustomID, _ = text(row.Field("custom_id"))
	l.URL, _ = text(row.Field("url"))
	l.Body, _ = row.Field("body")
	return l, nil
}

// text is the content of a JSON string.
func text(value []byte, ok bool) (string, bool) {
	if !ok || len(value) == 0 || value[0] != '"' {
		return "", false
	}
	return unquote(value[1 : len(value)-1]), true
}

// AppendText appends the content of a valid JSON string, whose quotes value
// includes. It is not for other values.
func AppendText(dst, value []byte) []byte {
	inside := value[1 : len(value)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return append(dst, inside...)
	}
	return append(dst, unquote(inside)...)
}

// unquote decodes the inside of a valid JSON string.
func unquote(b []byte) string {
	if !slices.Contains(b, '\\') {
		return string(b)
	}
	var s string
	quoted := make([]byte, 0, len(b)+2)
	quoted = append(append(append(quoted, '"'), b...), '"')
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(b) // not reached: the scanner has accepted it
	}
	return s
}

// named reports whether the field of payload has that key.
func (f Field) named(payload []byte, name string) bool {
	key := payload[f.KeyStart:f.KeyEnd]
	return string(key) == name || f.Escaped && unquote(key) == name
}

func checkBatchLine(row *Row) *RowError {
	wrong := func(key, msg, hint string) *RowError {
		e := &RowError{Line: row.Line, Msg: msg, Hint: hint}
		for _, f := range row.Fields {
			if f.named(row.Payload, key) {
				e.Col = column(row.Payload, f.ValueStart)
			}
		}
		return e
	}
	const shape = `a line is {"custom_id": "...", "method": "POST", "url": "/v1/chat/completions", "body": {...}}`
	id, ok := text(row.Field("custom_id"))
	if !ok || id == "" {
		return wrong("custom_id", "custom_id must be a string that is not empty", shape)
	}
	if m, given := row.Field("method"); given && string(m) != `"POST"` {
		return wrong("method", `method must be "POST"`, shape)
	}
	url, ok := text(row.Field("url"))
	if !ok {
		return wrong("url", "url must be a string", shape)
	}
	if !slices.Contains(batchURLs(), url) {
		return wrong("url", fmt.Sprintf("url %.60q is not an endpoint that batch files know", url),
			"use one of "+strings.Join(batchURLs(), ", "))
	}
	if body, ok := row.Field("body"); !ok || body[0] != '{' {
		return wrong("body", "body must be an object", shape)
	}
	return nil
}
