package gemini

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/batchwright/batchwright/internal/provider"
)

// putContents writes systemInstruction and contents; it returns how many parts
// are no text.
func putContents(o *provider.Object, r provider.Request) (int, error) {
	system, media := r.System, 0
	type turn struct {
		role  string
		parts []provider.Part
	}
	var turns []turn
	for i, m := range r.Messages {
		parts, err := provider.PartsOf(m.Content)
		if err != nil {
			return 0, err
		}
		role := "user"
		switch m.Role {
		case "user":
		case "assistant", "model":
			role = "model"
		case "system", "developer":
			for _, p := range parts {
				if p.Kind != "text" {
					return 0, bad(fmt.Sprintf("messages[%d]", i), "a system message can hold only text", "move the "+p.Kind+" to a user message")
				}
				if system != "" {
					system += "\n\n"
				}
				system += p.Text
			}
			continue
		default:
			return 0, bad(fmt.Sprintf("messages[%d]", i), fmt.Sprintf("generateContent has no role %q", m.Role), "use system, user or assistant")
		}
		turns = append(turns, turn{role, parts})
	}
	if len(turns) == 0 {
		return 0, bad("messages", "there is no user message", "set task.prompt")
	}
	if system != "" {
		o.Open("systemInstruction")
		o.List("parts")
		o.Element()
		o.Text("text", system)
		o.Close()
		o.EndList()
		o.Close()
	}
	o.List("contents")
	for _, t := range turns {
		o.Element()
		o.Text("role", t.role)
		o.List("parts")
		for _, p := range t.parts {
			if p.Kind != "text" {
				media++
			}
			o.Element()
			putPart(o, p)
			o.Close()
		}
		o.EndList()
		o.Close()
	}
	o.EndList()
	return media, nil
}

func putPart(o *provider.Object, p provider.Part) {
	switch {
	case p.Kind == "text":
		o.Text("text", p.Text)
	case p.Inline != "":
		o.Open("inlineData")
		o.Text("mimeType", p.Mime)
		o.Text("data", p.Inline)
		o.Close()
	default:
		link := p.URL
		if link == "" {
			link = p.ID
		}
		o.Open("fileData")
		if t := mimeOf(link, p.Kind); t != "" {
			o.Text("mimeType", t)
		}
		o.Text("fileUri", link)
		o.Close()
	}
}

// mimes are those of the media the API takes, by extension. The system's own
// table is not asked: it differs between machines, and the request must not.
var mimes = map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
	".heic": "image/heic", ".heif": "image/heif", ".gif": "image/gif", ".pdf": "application/pdf", ".txt": "text/plain",
	".mp3": "audio/mp3", ".wav": "audio/wav", ".mp4": "video/mp4"}

func mimeOf(link, kind string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	if t, ok := mimes[strings.ToLower(path.Ext(u.Path))]; ok {
		return t
	}
	if kind == "image" {
		return "image/jpeg"
	}
	return ""
}
