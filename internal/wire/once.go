package wire

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// once passes a record on that says what another said a short while ago only
// when that is long over: what fails is tried again many times a second, and a
// person needs to read of it once.
type once struct {
	slog.Handler
	said *said
}

// said is when which text was said last. It is shared by the handlers that are
// made of one.
type said struct {
	mu sync.Mutex
	at map[string]time.Time
}

// silence is how long a text is not repeated; texts are the most that are
// remembered.
const (
	silence = 5 * time.Minute
	texts   = 1000
)

// newOnce is h itself where somebody asked to be told everything.
func newOnce(h slog.Handler, level slog.Level) slog.Handler {
	if level <= slog.LevelDebug {
		return h
	}
	return once{h, &said{at: map[string]time.Time{}}}
}

func (o once) Handle(ctx context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	if o.said.before(text, r.Time) {
		return nil
	}
	return o.Handler.Handle(ctx, r)
}

func (o once) WithAttrs(as []slog.Attr) slog.Handler { return once{o.Handler.WithAttrs(as), o.said} }

func (o once) WithGroup(name string) slog.Handler { return once{o.Handler.WithGroup(name), o.said} }

func (s *said) before(text string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.at[text]; ok && now.Sub(last) < silence {
		return true
	}
	if len(s.at) >= texts {
		clear(s.at)
	}
	s.at[text] = now
	return false
}
