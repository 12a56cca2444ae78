package secret

import (
	"io"
	"sync"
)

// glimpse is how many bytes of what may be a secret's beginning are passed on
// before more is known: a line that happens to end so is not kept waiting.
const glimpse = 3

// Writer takes secrets out of what is written through it, also those that are
// spread over several writes. It keeps back only what may be the beginning of
// one, until the next Write or Flush.
type Writer struct {
	mu   sync.Mutex
	to   io.Writer
	by   func() *matcher
	kept []byte // what may be the beginning of a secret
	sent int    // so much of kept is passed on already, at most glimpse
	out  []byte
}

// Writer returns a writer to w that leaves out what Text leaves out.
func (r *Redactor) Writer(w io.Writer) *Writer { return &Writer{to: w, by: r.all.Load} }

// PayloadWriter returns a writer to w that leaves out what Payload leaves out.
func (r *Redactor) PayloadWriter(w io.Writer) *Writer { return &Writer{to: w, by: r.long.Load} }

// Write passes p on without secrets. It reports the whole of p as written where
// it is passed on or kept.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by() == nil && len(w.kept) == 0 {
		return w.to.Write(p)
	}
	w.kept = append(w.kept, p...)
	if err := w.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what was kept back, as the end of all text.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pass(true)
}

func (w *Writer) pass(last bool) error {
	m, text := w.by(), string(w.kept)
	if m == nil {
		m = &matcher{}
	}
	w.out = w.out[:0]
	done, keep := w.sent, len(text)
	for i := 0; i < len(text); {
		at, ok, open := m.next(text, i, last)
		if open >= 0 {
			keep = open
		}
		if !ok {
			break
		}
		if at.from > done {
			w.out = append(w.out, text[done:at.from]...)
		}
		w.out = append(w.out, Redacted...)
		done, i = at.to, at.to
	}
	end := keep
	if len(text)-keep <= glimpse {
		end = len(text)
	}
	if end > done {
		w.out = append(w.out, text[done:end]...)
		done = end
	}
	w.kept = append(w.kept[:0], text[keep:]...)
	w.sent = max(done-keep, 0)
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.to.Write(w.out)
	return err
}
