package manifest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// Difference is what a new manifest has against an old one, item by id.
type Difference struct {
	Added, Removed, Changed int64
	// The first examples, in the order of their table of ids.
	AddedIDs, RemovedIDs, ChangedIDs []string
}

// Empty reports whether both lists hold the same items; their order may differ.
func (d Difference) Empty() bool { return d.Added == 0 && d.Removed == 0 && d.Changed == 0 }

// Diff compares two manifests by id in one pass over both tables of ids, with
// flat memory. It names up to examples ids of each sort. An item has changed
// when its payload has, or whether it is bad.
func Diff(ctx context.Context, from, to *Manifest, examples int) (Difference, error) {
	var d Difference
	if from.Digest() == to.Digest() {
		return d, nil
	}
	c := comparer{ctx: ctx, from: from, to: to, limit: examples, d: &d}
	err := c.run()
	return d, err
}

// tableID is one entry of a table of ids.
type tableID struct {
	hash    uint64
	ordinal batch.Ordinal
	payload [8]byte
}

// idTable reads the table of ids in order.
type idTable struct{ r *bufio.Reader }

func (m *Manifest) idTable() *idTable {
	return &idTable{bufio.NewReaderSize(io.NewSectionReader(m.ids, 0, m.Count()*idSize), 64<<10)}
}

func (t *idTable) next() (id tableID, err error) {
	var rec [idSize]byte
	if _, err := io.ReadFull(t.r, rec[:]); err != nil {
		return id, err
	}
	id.hash, id.ordinal = binary.BigEndian.Uint64(rec[:]), batch.Ordinal(binary.BigEndian.Uint64(rec[8:]))
	copy(id.payload[:], rec[16:])
	return id, nil
}

// comparer walks two tables of ids, group of equal hashes by group.
type comparer struct {
	ctx      context.Context
	from, to *Manifest
	limit    int
	d        *Difference
}

// group reads the entries of one hash.
type group struct {
	t    *idTable
	next tableID
	end  bool
	ids  []tableID
}

func newGroup(t *idTable) (*group, error) {
	g := &group{t: t}
	err := g.step()
	return g, err
}

func (g *group) step() error {
	id, err := g.t.next()
	if err == io.EOF {
		g.end, err = true, nil
	}
	g.next = id
	return err
}

// take collects the entries of the hash that comes next.
func (g *group) take() error {
	g.ids = g.ids[:0]
	for hash := g.next.hash; !g.end && g.next.hash == hash; {
		g.ids = append(g.ids, g.next)
		if err := g.step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparer) run() error {
	a, err := newGroup(c.from.idTable())
	if err != nil {
		return c.from.list.damaged(0, err)
	}
	b, err := newGroup(c.to.idTable())
	if err != nil {
		return c.to.list.damaged(0, err)
	}
	for !a.end || !b.end {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		a.ids, b.ids = a.ids[:0], b.ids[:0]
		left := !a.end && (b.end || a.next.hash <= b.next.hash)
		right := !b.end && (a.end || b.next.hash <= a.next.hash)
		if left {
			if err := a.take(); err != nil {
				return c.from.list.damaged(0, err)
			}
		}
		if right {
			if err := b.take(); err != nil {
				return c.to.list.damaged(0, err)
			}
		}
		if err := c.compare(a.ids, b.ids); err != nil {
			return err
		}
	}
	return nil
}

// compare settles the entries of one hash; mostly one on each side.
func (c *comparer) compare(a, b []tableID) error {
	if len(a) == 1 && len(b) == 1 && a[0].payload == b[0].payload {
		// 64 bits of the id and 64 of the content agree.
		return c.sameOrBad(a[0], b[0])
	}
	old := map[string]Entry{}
	for _, id := range a {
		e, err := one(c.from, id)
		if err != nil {
			return err
		}
		old[e.ID] = e
	}
	for _, id := range b {
		e, err := one(c.to, id)
		if err != nil {
			return err
		}
		o, ok := old[e.ID]
		delete(old, e.ID)
		switch {
		case !ok:
			c.note(&c.d.Added, &c.d.AddedIDs, e.ID)
		case !bytes.Equal(o.Payload[:], e.Payload[:]) || (o.Bad == "") != (e.Bad == ""):
			c.note(&c.d.Changed, &c.d.ChangedIDs, e.ID)
		}
	}
	for _, id := range a {
		e, err := one(c.from, id)
		if err != nil {
			return err
		}
		if _, gone := old[e.ID]; gone {
			c.note(&c.d.Removed, &c.d.RemovedIDs, e.ID)
		}
	}
	return nil
}

// sameOrBad looks at whether one of two equal items is bad; that is not in the
// table, and needs no look when neither list has bad items.
func (c *comparer) sameOrBad(a, b tableID) error {
	if c.from.header.Counts.Bad == 0 && c.to.header.Counts.Bad == 0 {
		return nil
	}
	x, err := one(c.from, a)
	if err != nil {
		return err
	}
	y, err := one(c.to, b)
	if err != nil {
		return err
	}
	if (x.Bad == "") != (y.Bad == "") {
		c.note(&c.d.Changed, &c.d.ChangedIDs, y.ID)
	}
	return nil
}

func one(m *Manifest, id tableID) (Entry, error) {
	e, err := m.Read(id.ordinal, 1)
	if err == nil && len(e) != 1 {
		err = m.list.damaged(id.ordinal, nil)
	}
	if err != nil {
		return Entry{}, err
	}
	return e[0], nil
}

func (c *comparer) note(n *int64, ids *[]string, id string) {
	*n++
	if len(*ids) < c.limit {
		*ids = append(*ids, id)
	}
}
