package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// encodeBody passes the ready body of a batch file's line on. Its own model,
// messages and limit are honoured; what it may not ask for is refused, and
// what it leaves out (model, limit) is added at its end.
func (a *adapter) encodeBody(r provider.Request) (provider.Call, error) {
	path, err := a.pathOf(r.Endpoint)
	if err != nil {
		return provider.Call{}, err
	}
	fields, err := provider.Fields(r.Body)
	if err != nil {
		return provider.Call{}, err
	}
	o := provider.NewObject(len(r.Body) + 128)
	var b lineBody
	for _, f := range fields {
		keep, err := b.take(f, path)
		if err != nil {
			return provider.Call{}, err
		}
		if keep {
			o.Raw(f.Name, f.Value)
		}
	}
	if b.model == "" {
		if r.Model == "" {
			return provider.Call{}, badLine("model", "the line names no model", "set task.model")
		}
		b.model = r.Model
		o.Text("model", r.Model)
	}
	if b.limit == 0 {
		if r.MaxOutputTokens <= 0 {
			return provider.Call{}, noLimit()
		}
		b.limit = r.MaxOutputTokens
		if path == responsesPath {
			o.Int("max_output_tokens", b.limit)
		} else {
			o.Int(a.limit, b.limit)
		}
	}
	if !b.asks {
		return provider.Call{}, badLine("messages", "the line holds no messages", "give messages, or input for /v1/responses")
	}
	return finish(o, path, b.model, b.limit, b.media, b.shape)
}

func (a *adapter) pathOf(endpoint string) (string, error) {
	switch strings.TrimSuffix(endpoint, "/") {
	case "":
		return a.path, nil
	case "/v1/chat/completions", "/chat/completions":
		return chatPath, nil
	case "/v1/responses", "/responses":
		return responsesPath, nil
	}
	return "", &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "url",
		Msg: fmt.Sprintf("lines for %q are not supported", endpoint), Hint: "use /v1/chat/completions or /v1/responses"}
}

// lineBody is what matters of a line's body.
type lineBody struct {
	model string
	limit int64
	media int
	shape int
	asks  bool
}

// take looks at one field and reports whether it is sent.
func (b *lineBody) take(f provider.Field, path string) (bool, error) {
	value := string(bytes.TrimSpace(f.Value))
	guard := chatGuard
	if path == responsesPath {
		guard = responsesGuard
	}
	switch f.Name {
	case "model":
		if json.Unmarshal(f.Value, &b.model) != nil || b.model == "" {
			return false, badLine("model", "the line's model is not a name", "give a string")
		}
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		if value == "null" {
			return false, nil
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n <= 0 || n > 1<<31 {
			return false, badLine(f.Name, "the line's output limit is not a number of tokens", "give a whole number above 0")
		}
		b.limit = max(b.limit, n)
	case "messages", "input":
		b.asks = true
		b.media += mediaIn(f.Value)
	case "response_format", "text", "functions":
		b.shape += len(f.Value)
	case "instructions":
	default:
		if f.Name == "tools" {
			b.shape += len(f.Value)
		}
		rest, err := guard.Check(map[string]json.RawMessage{f.Name: f.Value}, 0)
		if err != nil {
			if e, ok := errors.AsType[*batch.Error](err); ok {
				err = badLine(f.Name, e.Msg, e.Hint)
			}
			return false, err
		}
		return len(rest) == 1, nil
	}
	return true, nil
}

// mediaIn counts the parts that are no text in a list of messages.
func mediaIn(raw json.RawMessage) int {
	if provider.JSONText(raw) {
		return 0
	}
	var list []struct {
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return 0
	}
	n := 0
	for _, m := range list {
		n += provider.Media(m.Content)
	}
	return n
}

func badLine(field, msg, hint string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "body." + field, Msg: msg, Hint: hint}
}
