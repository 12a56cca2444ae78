package providertest

import (
	"encoding/json"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// Golden is a request and the exact call it has to become.
type Golden struct {
	Name    string
	Options map[string]json.RawMessage
	Request provider.Request
	Path    string
	Body    string
	Extra   int64 // of the input bound, beyond the body and its frame
}

// CheckGolden encodes each request. The bytes are a promise: a change of them
// changes what a resumed run sends.
func CheckGolden(t *testing.T, f provider.Factory, list []Golden) {
	t.Helper()
	for _, g := range list {
		p, err := f.New(provider.Config{Provider: f.Name, BaseURL: "http://golden.invalid", Options: g.Options})
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		c, err := p.Encode(g.Request)
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		if c.Path != g.Path || string(c.Body) != g.Body {
			t.Errorf("%s: %s\n got %s\nwant %s", g.Name, c.Path, c.Body, g.Body)
		}
		if want := int64(len(g.Body)) + provider.FrameTokens + g.Extra; c.InputBound != want || c.OutputBound != g.Request.MaxOutputTokens {
			t.Errorf("%s: bounds %d and %d, want %d and %d", g.Name, c.InputBound, c.OutputBound, want, g.Request.MaxOutputTokens)
		}
	}
}

// CheckRefused encodes requests that no call can be made for.
func CheckRefused(t *testing.T, p provider.Provider, list map[string]provider.Request) {
	t.Helper()
	for name, r := range list {
		if c, err := p.Encode(r); batch.KindOf(err) != batch.Invalid || batch.HintOf(err) == "" {
			t.Errorf("%s: %v, %s", name, err, c.Body)
		}
	}
}

// Raws makes a map of JSON values from names and values in turn.
func Raws(pairs ...string) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return m
}

// Turns makes messages from roles and contents in turn.
func Turns(pairs ...string) []provider.Message {
	var out []provider.Message
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, provider.Message{Role: pairs[i], Content: json.RawMessage(pairs[i+1])})
	}
	return out
}
