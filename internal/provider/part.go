package provider

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Part is one piece of a message: a text, or a medium by URL or inline.
type Part struct {
	Kind   string // text | image | file | audio
	Text   string
	URL    string // of an image or file that the provider fetches itself
	ID     string // of a file the provider holds
	Mime   string // of Inline
	Inline string // base64
	Name   string
	// Detail is how closely an image is to be looked at, as the user wrote it.
	Detail string
}

// PartsOf reads a message's content in the OpenAI form: a JSON string or a list
// of parts (text, image_url, file, input_audio). Anything else is an error of
// Kind Invalid.
func PartsOf(content json.RawMessage) ([]Part, error) {
	if JSONText(content) {
		var s string
		if json.Unmarshal(content, &s) != nil {
			return nil, invalid("a message's content is not valid JSON", "give a string or a list of parts")
		}
		return []Part{{Kind: "text", Text: s}}, nil
	}
	var list []wirePart
	if json.Unmarshal(content, &list) != nil {
		return nil, invalid("a message's content is neither a string nor a list of parts", "give a string or a list of parts")
	}
	out := make([]Part, 0, len(list))
	for i, w := range list {
		p, ok := w.part()
		if !ok {
			return nil, &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: fmt.Sprintf("content[%d]", i),
				Msg:  fmt.Sprintf("a part of type %q is not supported here", printable(w.Type, 40)),
				Hint: "use text, image_url, file or input_audio"}
		}
		out = append(out, p)
	}
	return out, nil
}

type wirePart struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	ImageURL *struct {
		URL    string `json:"url"`
		Detail string `json:"detail"`
	} `json:"image_url"`
	File *struct {
		Inline string `json:"file_data"`
		ID     string `json:"file_id"`
		Name   string `json:"filename"`
	} `json:"file"`
	Audio *struct {
		Inline string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
}

func (w wirePart) part() (Part, bool) {
	switch {
	case w.Type == "text" && w.Text != nil:
		return Part{Kind: "text", Text: *w.Text}, true
	case w.Type == "image_url" && w.ImageURL != nil && w.ImageURL.URL != "":
		p := Part{Kind: "image", Detail: w.ImageURL.Detail}
		p.locate(w.ImageURL.URL)
		return p, true
	case w.Type == "file" && w.File != nil && w.File.Inline+w.File.ID != "":
		p := Part{Kind: "file", ID: w.File.ID, Name: w.File.Name}
		if w.File.Inline != "" {
			p.locate(w.File.Inline)
		}
		return p, true
	case w.Type == "input_audio" && w.Audio != nil && w.Audio.Inline != "":
		return Part{Kind: "audio", Mime: "audio/" + w.Audio.Format, Inline: w.Audio.Inline}, true
	}
	return Part{}, false
}

// locate splits a data URL, and keeps any other as it is.
func (p *Part) locate(u string) {
	if rest, ok := strings.CutPrefix(u, "data:"); ok {
		if mime, inline, ok := strings.Cut(rest, ";base64,"); ok {
			p.Mime, p.Inline = mime, inline
			return
		}
	}
	p.URL = u
}

// Media counts the parts of a content that are no text, without refusing any.
func Media(content json.RawMessage) int {
	if JSONText(content) {
		return 0
	}
	var list []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(content, &list) != nil {
		return 0
	}
	n := 0
	for _, p := range list {
		switch p.Type {
		case "text", "input_text", "output_text", "refusal":
		default:
			n++
		}
	}
	return n
}
