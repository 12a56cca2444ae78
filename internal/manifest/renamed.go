package manifest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// mergeRenamed puts the numbered ids into the table of ids at their places.
func (l *linker) mergeRenamed() error {
	if l.renamed.n == 0 {
		return nil
	}
	old := l.ids
	if err := old.w.Flush(); err != nil {
		return writeError(idsFile, err)
	}
	defer old.draft.Discard()
	var err error
	if l.ids, err = newOutput(l.b.dir, idsFile); err != nil {
		l.ids = old
		return err
	}
	m := idMerge{l: l, r: bufio.NewReaderSize(io.NewSectionReader(old.draft, 0, old.n), 256<<10)}
	if err := m.next(); err != nil {
		return err
	}
	err = l.renamed.each(func(hash, o uint64, tail []byte) error {
		if err := m.copyUntil(hash, o, tail[8:]); err != nil {
			return err
		}
		return l.writeID(hash, o, tail[:8])
	})
	if err != nil {
		return err
	}
	for !m.done {
		if err := m.copyOne(); err != nil {
			return err
		}
	}
	return nil
}

// idMerge reads the table of ids that was written before.
type idMerge struct {
	l    *linker
	r    *bufio.Reader
	rec  [idSize]byte
	done bool
}

func (m *idMerge) next() error {
	_, err := io.ReadFull(m.r, m.rec[:])
	if err == io.EOF {
		m.done, err = true, nil
	}
	return err
}

func (m *idMerge) copyOne() error {
	if _, err := m.l.ids.Write(m.rec[:]); err != nil {
		return writeError(idsFile, err)
	}
	return m.next()
}

// copyUntil copies what sorts before (hash, o). An id that was given and is the
// same as the numbered one makes the input ambiguous.
func (m *idMerge) copyUntil(hash, o uint64, id []byte) error {
	for !m.done {
		h, at := binary.BigEndian.Uint64(m.rec[:]), binary.BigEndian.Uint64(m.rec[8:])
		if h == hash {
			e, err := m.l.entries(at, o)
			if err != nil {
				return err
			}
			if e[0].ID == string(id) {
				return &batch.Error{Kind: batch.Invalid, Op: "build manifest", Ref: m.l.line(&e[0]),
					Msg:  fmt.Sprintf("id %.80q is also the one that the repeated row at %s gets", id, m.l.line(&e[1])),
					Hint: "name a field with unique values as input.id"}
			}
		}
		if h > hash || h == hash && at > o {
			return nil
		}
		if err := m.copyOne(); err != nil {
			return err
		}
	}
	return nil
}
