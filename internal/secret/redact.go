package secret

import (
	"strings"
	"sync"
	"sync/atomic"
)

// How long a value must be to be taken out of texts. What is shorter is a word
// like any other: taking it out would tell nothing, and damage the text.
const (
	// Shortest is for what people read: messages, logs, errors.
	Shortest = 8
	// ShortestPayload is for what was paid for: an answer may say "lm-studio",
	// and keep it, although that is what somebody's server takes for a key.
	ShortestPayload = 16
)

// Redactor takes the values of secrets out of texts: as they are and in any
// case of letters, escaped for URLs, JSON, HTML and Go, also in part and twice
// over, in base64 of both alphabets at every alignment, and as hex or decimal
// bytes. Of long values the first half counts as the whole, so that a text which
// somebody else cut is caught too.
//
// It is for use before a text is cut, wrapped or stored. The zero value knows no
// secrets; all methods may be called from many goroutines.
type Redactor struct {
	mu    sync.Mutex
	known map[string]bool
	all   atomic.Pointer[matcher]
	long  atomic.Pointer[matcher]
}

// Add makes secrets known.
func (r *Redactor) Add(secrets ...Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all, long []*form
	for _, s := range secrets {
		v := s.Reveal()
		if len(v) < Shortest || r.known[v] {
			continue
		}
		if r.known == nil {
			r.known = map[string]bool{}
		}
		r.known[v] = true
		fs := formsOf(v)
		all = append(all, fs...)
		if len(v) >= ShortestPayload {
			long = append(long, fs...)
		}
	}
	r.all.Store(r.all.Load().with(all))
	r.long.Store(r.long.Load().with(long))
}

// Text returns text without any known secret. A text that holds none is
// returned as it is.
func (r *Redactor) Text(text string) string { return r.all.Load().replace(text) }

// Payload is Text for what was paid for: short values stay.
func (r *Redactor) Payload(text string) string { return r.long.Load().replace(text) }

// Bytes is Text of bytes.
func (r *Redactor) Bytes(text []byte) []byte { return r.all.Load().bytes(text) }

// PayloadBytes is Payload of bytes.
func (r *Redactor) PayloadBytes(text []byte) []byte { return r.long.Load().bytes(text) }

func (m *matcher) bytes(text []byte) []byte {
	if m == nil {
		return text
	}
	s := string(text)
	if out := m.replace(s); out != s {
		return []byte(out)
	}
	return text
}

// span is a part of a text.
type span struct{ from, to int }

// replace puts Redacted in the place of every match.
func (m *matcher) replace(text string) string {
	if m == nil {
		return text
	}
	var b strings.Builder
	done := 0
	for i := 0; i < len(text); {
		at, ok, _ := m.next(text, i, true)
		if !ok {
			break
		}
		from := max(at.from, done)
		b.WriteString(text[done:from])
		b.WriteString(Redacted)
		done, i = at.to, at.to
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}
