package manifest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
)

// changes are what is known about items only after all of them were read. They
// are kept by number, so that one pass over the list applies them.
type changes struct{ *sorter }

const (
	changeID     = 'i' // tail: the new id
	changeBad    = 'b' // tail: the message
	changeLeader = 'l' // tail: the leader's number
	changeLeads  = 'L'
)

func (c changes) add(o uint64, kind byte, tail []byte) error {
	return writeError("changes", c.sorter.add(o, o, append([]byte{kind}, tail...)))
}

// linker finds items with equal ids and items with equal requests.
type linker struct {
	b       *builder
	list    *list
	changes changes
	renamed *sorter // (hash, number, payload hash and id) of ids that were numbered
	lateBad bitmap  // made bad here; a leader must be good
	ids     *output
	rec     [idSize]byte
}

// link settles ids and leaders and returns the table of ids, sorted by hash.
func (b *builder) link(ctx context.Context) (ids *output, err error) {
	if err := b.list.flush(); err != nil {
		return nil, err
	}
	l := &linker{b: b, changes: changes{newSorter(b.dir, sortMemory)}, renamed: newSorter(b.dir, sortMemory),
		list: &list{index: b.list.index.draft, heap: b.list.heap.draft, count: b.list.n, table: b.list.table, name: "new manifest"}}
	defer l.changes.close()
	defer l.renamed.close()
	if l.ids, err = newOutput(b.dir, idsFile); err != nil {
		return nil, err
	}
	steps := []func() error{l.linkIDs, l.mergeRenamed, l.linkRequests, l.apply}
	for _, step := range steps {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		l.ids.draft.Discard()
		return nil, err
	}
	return l.ids, nil
}

// bitmap is a set of item numbers, a bit each.
type bitmap []uint64

func (b *bitmap) set(o, count uint64) {
	if *b == nil {
		*b = make(bitmap, count/64+1)
	}
	(*b)[o/64] |= 1 << (o % 64)
}

func (b bitmap) has(o uint64) bool { return b != nil && b[o/64]>>(o%64)&1 == 1 }

// known is an id that a group of equal hashes has had.
type known struct {
	id    []byte
	first uint64
	n     int
}

// hashGroup is the ids of one hash; there is seldom more than one.
type hashGroup struct {
	hash uint64
	ids  []known
}

// find returns what is known of the id, and notes it when it is new.
func (g *hashGroup) find(hash, o uint64, id []byte) (k *known, isNew bool) {
	if hash != g.hash {
		g.hash, g.ids = hash, g.ids[:0]
	}
	for i := range g.ids {
		if bytes.Equal(g.ids[i].id, id) {
			g.ids[i].n++
			return &g.ids[i], false
		}
	}
	if n := len(g.ids); n < cap(g.ids) {
		g.ids = g.ids[:n+1]
	} else {
		g.ids = append(g.ids, known{})
	}
	k = &g.ids[len(g.ids)-1]
	*k = known{append(k.id[:0], id...), o, 1}
	return k, true
}

// linkIDs walks the ids sorted by hash, so that equal ones are neighbours.
func (l *linker) linkIDs() error {
	var g hashGroup
	return l.b.ids.each(func(hash, o uint64, tail []byte) error {
		k, isNew := g.find(hash, o, tail[9:])
		if !isNew {
			return l.duplicate(k, o, tail)
		}
		return l.writeID(hash, o, tail[1:9])
	})
}

// idSize is the size of one entry of the table of ids: hash, number and the
// first bytes of the payload's hash.
const idSize = 24

func (l *linker) writeID(hash, o uint64, payload []byte) error {
	binary.BigEndian.PutUint64(l.rec[:], hash)
	binary.BigEndian.PutUint64(l.rec[8:], o)
	copy(l.rec[16:], payload)
	_, err := l.ids.Write(l.rec[:])
	return writeError(idsFile, err)
}

// duplicate settles an id that an earlier item has: made from the content, it
// gets a number; given, it is a mistake.
func (l *linker) duplicate(k *known, o uint64, tail []byte) error {
	if tail[0] == 1 {
		return l.rename(o, fmt.Sprintf("%s-%d", k.id, k.n), tail[1:9])
	}
	if !l.b.cfg.Quarantine && l.b.bad.full() {
		l.b.bad.n++ // nobody will read where it is
		return nil
	}
	pair, err := l.entries(k.first, o)
	if err != nil {
		return err
	}
	msg := fmt.Sprintf("the id is already that of %s", l.line(&pair[0]))
	l.b.bad.add(&batch.Error{Kind: batch.Invalid, Ref: l.line(&pair[1]), Msg: fmt.Sprintf("id %.80q: %s", k.id, msg),
		Hint: "make ids unique, or name another field as input.id"})
	if !l.b.cfg.Quarantine {
		return nil
	}
	l.lateBad.set(o, uint64(l.list.count))
	if err := l.changes.add(o, changeBad, []byte(message(msg))); err != nil {
		return err
	}
	id := k.id
	if len(id) > MaxID-32 {
		id = id[:MaxID-32]
	}
	return l.rename(o, fmt.Sprintf("%s#duplicate-%d", id, k.n), tail[1:9])
}

func (l *linker) entries(numbers ...uint64) ([]Entry, error) {
	var all []Entry
	for _, o := range numbers {
		e, err := l.list.read(batch.Ordinal(o), 1)
		if err != nil {
			return nil, err
		}
		all = append(all, e...)
	}
	return all, nil
}

func (l *linker) line(e *Entry) string { return fmt.Sprintf("%s:%d", l.b.names[e.Source], e.Line) }

func (l *linker) rename(o uint64, id string, payload []byte) error {
	l.b.dups++
	if err := l.changes.add(o, changeID, []byte(id)); err != nil {
		return err
	}
	return writeError("ids", l.renamed.add(hashID([]byte(id)), o, append(append([]byte{}, payload...), id...)))
}

// linkRequests walks the requests sorted by hash. Equal hashes are equal
// requests: they are SHA-256.
func (l *linker) linkRequests() error {
	var g hashGroup
	return l.b.keys.each(func(hash, o uint64, tail []byte) error {
		if l.lateBad.has(o) {
			return nil
		}
		k, isNew := g.find(hash, o, tail)
		if isNew {
			return nil
		}
		if k.n == 2 {
			if err := l.changes.add(k.first, changeLeads, nil); err != nil {
				return err
			}
		}
		return l.changes.add(o, changeLeader, binary.BigEndian.AppendUint64(nil, k.first))
	})
}

// apply writes the list again with the changes, if there are any.
func (l *linker) apply() error {
	if l.changes.n == 0 {
		return nil
	}
	w, err := newListWriter(l.b.dir)
	if err != nil {
		return err
	}
	old := l.b.list
	r := reviser{in: l.list, out: w}
	err = l.changes.each(func(o, _ uint64, tail []byte) error { return r.change(batch.Ordinal(o), tail) })
	if err == nil {
		err = r.copyTo(batch.Ordinal(l.list.count))
	}
	if err != nil {
		w.discard()
		return err
	}
	old.discard()
	l.b.list = w
	return nil
}

// reviser copies a list and changes entries on the way.
type reviser struct {
	in   *list
	out  *listWriter
	page []Entry
	next batch.Ordinal // of page[0]; what is before it was written
}

// pageSize is how many entries are read at once.
const pageSize = 1024

func (r *reviser) change(o batch.Ordinal, tail []byte) error {
	if err := r.copyTo(o); err != nil {
		return err
	}
	if err := r.load(); err != nil {
		return err
	}
	e := &r.page[0]
	switch tail[0] {
	case changeID:
		e.ID = string(tail[1:])
	case changeBad:
		e.Bad, e.Size = string(tail[1:]), 0
	case changeLeader:
		e.Leader = batch.Ordinal(binary.BigEndian.Uint64(tail[1:]))
	case changeLeads:
		e.Leads = true
	}
	return nil
}

// copyTo writes all entries before o.
func (r *reviser) copyTo(o batch.Ordinal) error {
	for r.next < o {
		if err := r.load(); err != nil {
			return err
		}
		n := min(int64(len(r.page)), int64(o-r.next))
		for i := range r.page[:n] {
			if err := r.out.add(&r.page[i], []byte(r.page[i].ID)); err != nil {
				return err
			}
		}
		r.page = r.page[n:]
		r.next += batch.Ordinal(n)
	}
	return nil
}

func (r *reviser) load() (err error) {
	if len(r.page) == 0 {
		r.page, err = r.in.read(r.next, pageSize)
	}
	return err
}
