package anthropic

import (
	"encoding/json"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
)

// turns is a conversation in the vendor's form: the system text stands apart,
// and only user and assistant speak.
type turns struct {
	system string
	list   []turn
	media  int
	size   int
}

type turn struct {
	role  string
	raw   json.RawMessage // a JSON string as it came
	parts []provider.Part // otherwise
}

func turnsOf(r provider.Request) (turns, error) {
	t := turns{system: r.System, size: len(r.System)}
	for i, m := range r.Messages {
		t.size += len(m.Content) + 64
		switch m.Role {
		case "system", "developer":
			parts, err := provider.PartsOf(m.Content)
			if err != nil {
				return t, err
			}
			for _, p := range parts {
				if p.Kind != "text" {
					return t, badTurn(i, "a system message can hold only text")
				}
				if t.system != "" {
					t.system += "\n\n"
				}
				t.system += p.Text
			}
		case "user", "assistant":
			one := turn{role: m.Role, raw: m.Content}
			if !provider.JSONText(m.Content) {
				parts, err := provider.PartsOf(m.Content)
				if err != nil {
					return t, err
				}
				one.raw, one.parts = nil, parts
			}
			t.list = append(t.list, one)
		default:
			return t, badTurn(i, fmt.Sprintf("the Messages API has no role %q", m.Role))
		}
	}
	if len(t.list) == 0 {
		return t, badTurn(0, "there is no user message")
	}
	for i := range t.list {
		for _, p := range t.list[i].parts {
			if p.Kind == "audio" {
				return t, badTurn(i, "the Messages API takes no audio")
			}
			if p.Kind != "text" {
				t.media++
			}
		}
	}
	return t, nil
}

func badTurn(i int, msg string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: fmt.Sprintf("messages[%d]", i), Msg: msg,
		Hint: "use user and assistant messages with text, image_url and file parts"}
}

func (t *turns) put(o *provider.Object) {
	o.List("messages")
	for _, one := range t.list {
		o.Element()
		o.Text("role", one.role)
		if one.raw != nil {
			o.Raw("content", one.raw)
		} else {
			o.List("content")
			for _, p := range one.parts {
				o.Element()
				putPart(o, p)
				o.Close()
			}
			o.EndList()
		}
		o.Close()
	}
	o.EndList()
}

func putPart(o *provider.Object, p provider.Part) {
	if p.Kind == "text" {
		o.Text("type", "text")
		o.Text("text", p.Text)
		return
	}
	kind := "image"
	if p.Kind == "file" {
		kind = "document"
	}
	o.Text("type", kind)
	o.Open("source")
	switch {
	case p.Inline != "":
		o.Text("type", "base64")
		o.Text("media_type", p.Mime)
		o.Text("data", p.Inline)
	case p.ID != "":
		o.Text("type", "file")
		o.Text("file_id", p.ID)
	default:
		o.Text("type", "url")
		o.Text("url", p.URL)
	}
	o.Close()
}
