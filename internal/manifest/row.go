package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/format"
)

// draftItem is a row on its way to an entry. Slices of it are spans of the
// arena of its job.
type draftItem struct {
	payload  Sum
	key      Sum
	idHash   uint64
	id       span
	body     span // the payload, where it has to be copied
	offset   int64
	length   int64
	size     int64
	line     int64
	budget   int64
	keyed    bool
	derived  bool // the id was made from the content
	bad      *format.RowError
	fallback bool // there is no id to be had from the row
}

type span struct{ start, end int }

// maker makes draft items of rows. It is for one goroutine.
type maker struct {
	cfg     *Config
	scratch []byte
}

// item takes one row apart. arena is grown by what the item keeps.
func (m *maker) item(row *format.Row, arena []byte, copyBody bool) (draftItem, []byte) {
	d := draftItem{offset: row.Offset, length: row.Length, line: row.Line, budget: NoBudget, bad: row.Err}
	if d.bad != nil {
		d.payload, d.fallback = sha256.Sum256(row.Raw), true
		return d, arena
	}
	d.payload, d.size = sha256.Sum256(row.Payload), int64(len(row.Payload))
	at := len(arena)
	arena = m.id(&d, row, arena)
	d.id = span{at, len(arena)}
	d.idHash = hashID(arena[at:])
	if d.bad == nil {
		d.bad = m.present(row)
	}
	if d.bad == nil {
		d.bad = m.budget(&d, row)
	}
	if d.bad == nil {
		d.bad = m.key(&d, row)
	}
	if copyBody && d.bad == nil {
		at = len(arena)
		arena = append(arena, row.Payload...)
		d.body = span{at, len(arena)}
	}
	return d, arena
}

// hashID is what ids are sorted and found by.
func hashID(id []byte) uint64 {
	sum := sha256.Sum256(id)
	return firstWord(sum[:])
}

func firstWord(sum []byte) uint64 { return binary.BigEndian.Uint64(sum) }

// id appends the item's id: the field that the spec names, else custom_id, else
// one made from the content.
func (m *maker) id(d *draftItem, row *format.Row, arena []byte) []byte {
	name := m.cfg.ID
	if name == "" {
		if v, ok := row.Field("custom_id"); ok && string(v) != "null" && string(v) != `""` {
			name = "custom_id"
		}
	}
	if name == "" {
		d.derived = true
		return hex.AppendEncode(arena, d.payload[:8])
	}
	v, ok := row.Field(name)
	at := len(arena)
	switch {
	case !ok:
		d.bad = missing(row, name, "names the item (input.id)")
	case v[0] == '"':
		arena = format.AppendText(arena, v)
	case v[0] == '-' || v[0] >= '0' && v[0] <= '9':
		arena = append(arena, v...)
	default:
		d.bad = wrongField(row, name, "must be a string or a number to name the item")
	}
	id := arena[at:]
	switch {
	case d.bad != nil:
	case len(id) == 0:
		d.bad = wrongField(row, name, "is empty and cannot name the item")
	case len(id) > MaxID:
		d.bad = wrongField(row, name, fmt.Sprintf("is longer than %d bytes and cannot name the item", MaxID))
	case bytes.ContainsFunc(id, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		d.bad = wrongField(row, name, "holds a control character and cannot name the item")
	}
	if d.bad != nil {
		d.fallback = true
		return arena[:at]
	}
	return arena
}

// present checks that the fields are there which the prompt and the evaluation need.
func (m *maker) present(row *format.Row) *format.RowError {
	for _, name := range m.cfg.RequiredFields {
		if _, ok := row.Field(name); !ok {
			return missing(row, name, "is used by the prompt")
		}
	}
	for _, name := range m.cfg.ExpectedFields {
		if _, ok := row.Field(name); !ok {
			return missing(row, name, "is the expected answer (evaluate.expected)")
		}
	}
	return nil
}

func missing(row *format.Row, name, why string) *format.RowError {
	return &format.RowError{Line: row.Line, Msg: fmt.Sprintf("the field %q is missing; it %s", name, why),
		Hint: "add it to the row, name another field in the spec, or set input.on_bad_item: quarantine"}
}

func wrongField(row *format.Row, name, msg string) *format.RowError {
	return &format.RowError{Line: row.Line, Msg: fmt.Sprintf("the field %q %s", name, msg),
		Hint: "correct the row, or set input.on_bad_item: quarantine"}
}

// budget reads the item's own token budget.
func (m *maker) budget(d *draftItem, row *format.Row) *format.RowError {
	name := m.cfg.TokenBudgetField
	if name == "" {
		return nil
	}
	v, ok := row.Field(name)
	if !ok || string(v) == "null" || string(v) == `""` {
		return nil
	}
	if v[0] == '"' {
		v = v[1 : len(v)-1] // every field of a CSV is a string
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		return wrongField(row, name, "must be a whole number of tokens, 0 or more")
	}
	d.budget = n
	return nil
}

// key hashes what makes the item's request.
func (m *maker) key(d *draftItem, row *format.Row) *format.RowError {
	switch {
	case m.cfg.Render != nil:
		key, err := m.cfg.Render(row.Payload)
		if err != nil {
			bad := &format.RowError{Line: row.Line, Msg: err.Error()}
			if e, ok := errors.AsType[*batch.Error](err); ok {
				bad.Msg, bad.Hint = e.Msg, e.Hint
				if bad.Msg == "" {
					bad.Msg = err.Error()
				}
			}
			return bad
		}
		d.key, d.keyed = sha256.Sum256(key), true
	case m.cfg.KeyFields != nil:
		b := m.scratch[:0]
		for _, name := range m.cfg.KeyFields {
			v, ok := row.Field(name)
			if !ok {
				b = append(b, 0)
				continue
			}
			b = binary.AppendUvarint(append(b, 1), uint64(len(v)))
			b = append(b, v...)
		}
		m.scratch = b
		d.key, d.keyed = sha256.Sum256(b), true
	}
	return nil
}
