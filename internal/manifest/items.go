package manifest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/format"
	"github.com/batchwright/batchwright/internal/source"
)

// maxOpen is how many in-place sources are held open.
const maxOpen = 16

// maxSpan is the most that is read at once to serve neighbouring items.
const maxSpan = 4 << 20

// Items returns up to n items from first on; fewer only at the end. Every
// payload is proven to be the bytes that the manifest was built from; when one
// is not, the error wraps batch.ErrInputChanged and nothing is returned.
// The payloads are the caller's.
func (m *Manifest) Items(ctx context.Context, first batch.Ordinal, n int) ([]Item, error) {
	entries, err := m.Read(first, n)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(entries))
	for i := 0; i < len(entries); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		j := m.neighbours(entries, i)
		if err := m.load(entries[i:j], items[i:j]); err != nil {
			return nil, err
		}
		i = j
	}
	return items, nil
}

// neighbours returns the end of the entries from i on that one read can serve.
func (m *Manifest) neighbours(entries []Entry, i int) int {
	e := &entries[i]
	j := i + 1
	for ; j < len(entries); j++ {
		f := &entries[j]
		if f.Source != e.Source && !f.where.spooled || f.where.spooled != e.where.spooled || f.where.offset < e.where.offset ||
			f.where.offset+f.where.length-e.where.offset > maxSpan || f.Bad != "" || e.Bad != "" {
			break
		}
	}
	return j
}

// load reads the bytes of entries that lie close together in one file.
func (m *Manifest) load(entries []Entry, items []Item) error {
	start := entries[0].where.offset
	if entries[0].Bad != "" {
		items[0] = Item{Entry: entries[0]}
		return nil
	}
	last := entries[len(entries)-1].where
	raw := make([]byte, last.offset+last.length-start)
	var src Source
	if s := entries[0].Source; s < len(m.header.Sources) {
		src = m.header.Sources[s]
	}
	layout := format.Layout{Kind: format.Kind(src.Format), Delimiter: src.Delimiter, Columns: src.Columns}
	var err error
	if entries[0].where.spooled {
		layout = format.Layout{Kind: format.JSONL}
		if m.payload == nil {
			return m.list.damaged(entries[0].Ordinal, nil)
		}
		_, err = m.payload.ReadAt(raw, start)
	} else {
		err = m.readSource(entries[0].Source, raw, start)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		if batch.KindOf(err) == batch.NotFound {
			return m.changed(&entries[0], "the file is gone")
		}
		if batch.MachineFault(err) && batch.KindOf(err) != batch.Unavailable {
			err = &batch.Error{Kind: batch.Unavailable, Op: "read input", Ref: blob.Redact(src.URI), Err: err,
				Hint: "when the file can be read again, run the same command"}
		}
		return err
	}
	again := layout.Again()
	for i := range entries {
		e := &entries[i]
		at := e.where.offset - start
		body := raw[at : at+e.where.length : at+e.where.length]
		if layout.Kind == format.CSV {
			if body, err = again.Payload(make([]byte, 0, e.Size), body); err != nil {
				return m.changed(e, "the row cannot be read any more")
			}
		}
		if Sum(sha256.Sum256(body)) != e.Payload {
			return m.changed(e, "the row has other bytes")
		}
		items[i] = Item{Entry: *e, Payload: body}
	}
	return nil
}

// changed is the error for an item whose bytes are not those of the manifest.
func (m *Manifest) changed(e *Entry, why string) error {
	if e.where.spooled {
		return m.list.damaged(e.Ordinal, errors.New(why))
	}
	return &batch.Error{Kind: batch.Conflict, Op: "read input", Err: batch.ErrInputChanged,
		Ref:  fmt.Sprintf("%s:%d", blob.Redact(m.header.Sources[e.Source].URI), e.Line),
		Msg:  fmt.Sprintf("item %d (%s): %s", e.Ordinal, e.ID, why),
		Hint: "put the input back as it was, or start a new run with --new"}
}

// readSource reads from an in-place source. A short file leaves the rest zero:
// the hash then tells.
func (m *Manifest) readSource(index int, b []byte, off int64) error {
	for {
		f, err := m.source(index)
		if err != nil {
			return err
		}
		_, err = f.ReadAt(b, off)
		if !errors.Is(err, fs.ErrClosed) {
			return err
		}
		// Others pushed it out between the two calls: open it again.
		if m.closed.Load() {
			return err
		}
	}
}

// source returns the open file of a source; the least used one is closed for it.
func (m *Manifest) source(index int) (io.ReaderAt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, s := range m.opened {
		if s.index == index {
			m.opened = append(append(m.opened[:i], m.opened[i+1:]...), s)
			return s.file, nil
		}
	}
	if index >= len(m.header.Sources) {
		return nil, m.list.damaged(0, nil)
	}
	f, err := m.file(index).OpenAt()
	if err != nil {
		return nil, err
	}
	if len(m.opened) == maxOpen {
		_ = m.opened[0].file.Close()
		m.opened = append(m.opened[:0], m.opened[1:]...)
	}
	m.opened = append(m.opened, openSource{index, f})
	return f, nil
}

func (m *Manifest) file(index int) source.File {
	s := m.header.Sources[index]
	return source.Reopen(s.URI, source.Facts{Size: s.Size, ModTime: s.ModTime, ETag: s.ETag, Version: s.Version}, m.blobs)
}
