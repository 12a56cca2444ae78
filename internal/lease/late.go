package lease

import (
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

// fence ends a lease that was taken over: nothing more is started, and calls
// in the air are waited for.
func (m *Machine) fence() {
	m.stage, m.out.Lose = losing, true
}

// tell says the truth, once (T4), about every call that was on the wire, or
// that had not been committed yet, when the lease was lost.
func (m *Machine) tell(now time.Time) {
	if m.sent != nil {
		m.unsend(m.sent)
	}
	outs := map[batch.Ordinal]batch.Outcome{}
	for _, o := range m.group.Outcomes {
		outs[o.Ordinal] = o
	}
	lost := make([]*batch.Attempt, len(m.items))
	for k := range m.group.Attempts {
		a := &m.group.Attempts[k]
		lost[a.Ordinal-m.items[0].Ordinal] = a
	}
	for i := range m.items {
		if it := &m.items[i]; lost[i] == nil && m.perhapsStarted(i) { // taken for perhaps paid, and surely unsent
			lost[i] = &batch.Attempt{Ordinal: it.Ordinal, ID: it.ID, Shard: m.ref.Shard, Epoch: m.ref.Epoch, N: it.n,
				Class: batch.ClassUnsent, Reserved: it.worst, StartedAt: now.UnixMicro()}
		}
	}
	for i, a := range lost {
		if a != nil {
			m.out.Late = append(m.out.Late, m.late(now, i, *a, outs))
		}
	}
	m.stage = telling
	if len(m.out.Late) == 0 {
		m.end(nil)
	}
}

// perhapsStarted reports whether the store has item i as on the wire, by the
// last write that was acknowledged or the one that was not.
func (m *Machine) perhapsStarted(i int) bool {
	return m.durable.Get(i) || (m.sent != nil && m.sent.Book.Started.Get(i))
}

func (m *Machine) late(now time.Time, i int, a batch.Attempt, outs map[batch.Ordinal]batch.Outcome) store.Late {
	charge := a.Charged
	a.Charged = a.Charged.Minus(a.Reserved) // a correction of what the take-over charged
	only := m.encode(segment.Group{Attempts: []batch.Attempt{a}})
	l := store.Late{Ref: m.ref, Index: i, Worst: a.Reserved, Charge: charge, Usage: a.Usage, State: batch.ItemPending,
		Outcome: &store.Delta{Chunk: only, Late: only}}
	if o, ok := outs[a.Ordinal]; ok {
		d := m.beside(now, i, o)
		d.Chunk, d.Late = m.encode(segment.Group{Outcomes: []batch.Outcome{o}, Attempts: []batch.Attempt{a}}), only
		l.State, l.Outcome = o.State, &d
	}
	return l
}

func (m *Machine) encode(g segment.Group) []byte {
	chunk, err := m.cfg.Codec.Encode(g)
	if err != nil { // an outcome that cannot be written is a bug of ours
		panic(fmt.Sprintf("encode group of %s: %v", m.ref, err))
	}
	return chunk
}

// Told says that every Late was taken, or will never be.
func (m *Machine) Told() { m.end(nil) }
