package lease

import (
	"errors"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

// worst is the most a call can cost; whether it is a retry is for whoever
// starts it to say.
func (m *Machine) worst(c provider.Call) (money.Amount, error) {
	tokens, err := money.Add(c.InputBound, c.OutputBound)
	if err != nil {
		return money.Amount{}, err
	}
	a := money.Amount{Tokens: tokens}
	if m.cfg.Price != nil {
		a.Pico, err = m.cfg.Price.Worst(c.InputBound, c.OutputBound)
	}
	return a, err
}

// cost is what a usage costs.
func (m *Machine) cost(u money.Usage) (money.Amount, error) {
	a := money.Amount{Tokens: u.Total()}
	var err error
	if m.cfg.Price != nil {
		a.Pico, err = m.cfg.Price.Cost(u)
	}
	return a, err
}

// choose starts ready items in order as far as the lane and the lease allow.
// It returns when the next waiting item is ready, if one waits, and whether
// copies alone wait.
func (m *Machine) choose(now time.Time) (next time.Time, waiting, copies bool) {
	copies = true
	var able, ask []int
	for m.from < len(m.items) && m.items[m.from].phase == settled {
		m.from++
	}
	for i := m.from; i < len(m.items) && len(able) < maxAble; i++ {
		it := &m.items[i]
		switch {
		case it.phase != ready:
		case it.at.After(now):
			if !waiting || it.at.Before(next) {
				next, waiting = it.at, true
			}
			copies = copies && m.copies(it)
		case it.Bad != "":
			m.close(now, i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassBadItem, Message: it.Bad})
		case m.copies(it):
			if o, ok := m.known(it.Leader); ok {
				m.copy(now, i, o)
			} else {
				ask = append(ask, i)
			}
		case int(m.book.Lost[i]) > batch.MaxLost:
			m.close(now, i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassUnknown,
				Message: fmt.Sprintf("its worker was lost %d times while it was on the wire", m.book.Lost[i])})
		case m.overItemBudget(i):
			m.close(now, i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassItemBudget,
				Message: fmt.Sprintf("its token budget of %d does not cover the worst case of a call, %d, after %d used",
					it.Budget, it.worst.Tokens, m.book.ItemTokens[i])})
		default:
			able = append(able, i)
		}
	}
	if len(ask) > 0 {
		m.askLeaders(ask)
	}
	if len(able) > 0 && m.short == money.DimNone {
		m.start(able)
	}
	return next, waiting, copies
}

func (m *Machine) overItemBudget(i int) bool {
	it := &m.items[i]
	return it.Budget >= 0 && m.book.ItemTokens != nil && m.book.ItemTokens[i]+it.worst.Tokens > it.Budget
}

// start puts items into the next group, as many as the lane allows.
func (m *Machine) start(able []int) {
	got := m.cfg.Lane.Take(len(able))
	used := 0
	for _, i := range able[:got] {
		if !m.startOne(i) {
			break
		}
		used++
	}
	if used < got {
		m.cfg.Lane.Put(got - used)
	}
}

// startOne is T2 in memory; false when the lease does not hold enough, and
// more was asked for.
func (m *Machine) startOne(i int) bool {
	it := &m.items[i]
	worst := it.worst
	worst.Retries = 0
	if m.book.Attempts[i] > 0 {
		worst.Retries = 1
	}
	if err := m.book.Start(i, worst); err != nil { // ErrOverdrawn: it is all that Start returns
		need := worst.Minus(m.book.Free())
		need = money.Amount{Tokens: max(need.Tokens, 0), Pico: max(need.Pico, 0), Retries: max(need.Retries, 0)}
		m.topping = &topping{i, need}
		m.out.TopUp = &need
		return false
	}
	it.phase, it.worst = starting, worst
	it.n++
	m.toStart = append(m.toStart, i)
	m.worked = true
	return true
}

// ToppedUp takes the reply of a TopUp: the dimension that refused it, or an
// error of the store. A top-up whose reply was lost is held by the row until
// the lease is handed back; asking again is safe.
func (m *Machine) ToppedUp(now time.Time, hit money.Dimension, err error) {
	t := m.topping
	m.topping = nil
	if t == nil || m.stage != working {
		return
	}
	it := &m.items[t.item]
	switch {
	case errors.Is(err, batch.ErrFenced):
		m.fence()
	case err != nil: // the store's trouble, not the budget's
		it.at = now.Add(time.Second)
	case hit == money.DimRetries:
		m.close(now, t.item, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassRetryBudget,
			Message: "the run's retry budget is used up; the last attempt ended as " + string(it.last)})
	case hit != money.DimNone:
		m.short = hit
	default:
		m.book.Reserved = m.book.Reserved.Plus(t.need)
	}
}

// due reports whether a write should go now.
func (m *Machine) due(now time.Time) bool {
	if m.sent != nil {
		return false
	}
	if len(m.toStart) > 0 || len(m.group.Outcomes) >= groupItems {
		return true
	}
	if m.oldest.IsZero() {
		return false
	}
	return m.inAir == 0 || now.Sub(m.oldest) >= groupAge
}

// submit sends the group to the committer.
func (m *Machine) submit() {
	d := store.Delta{Ref: m.ref, Seq: m.seq, Book: clone(m.book), Starts: len(m.toStart) > 0,
		Failed: m.failed, Answers: m.answers, Healed: m.healed}
	if len(m.group.Outcomes)+len(m.group.Attempts) > 0 {
		chunk, err := m.cfg.Codec.Encode(m.group)
		if err != nil { // an outcome that cannot be written is a bug of ours
			panic(fmt.Sprintf("encode group of %s: %v", m.ref, err))
		}
		d.Chunk = chunk
		m.seq++
	}
	m.out.Write = &Write{Delta: d, Items: len(m.toStart) + len(m.group.Outcomes)}
	m.sent, m.sentIdx, m.sentLeads, m.writing = &m.out.Write.Delta, m.toStart, m.leads, true
	m.group, m.failed, m.answers, m.healed, m.leads, m.toStart, m.oldest = segment.Group{}, nil, nil, nil, nil, nil, time.Time{}
}

func clone(b *batch.Book) *batch.Book {
	c := *b
	c.Done, c.Started = append(batch.Bits(nil), b.Done...), append(batch.Bits(nil), b.Started...)
	c.Attempts, c.Lost = append([]byte(nil), b.Attempts...), append([]byte(nil), b.Lost...)
	if b.ItemTokens != nil {
		c.ItemTokens = append([]int64(nil), b.ItemTokens...)
	}
	return &c
}

// Written takes the committer's answer. Only now may a call that starts with
// the write be sent, and only now may another item copy an outcome in it.
func (m *Machine) Written(now time.Time, err error) {
	idx := m.sentIdx
	m.sentIdx, m.writing = nil, false
	switch {
	case m.stage == losing: // fenced while it was written: its starts do not fly
		m.cfg.Lane.Put(len(idx))
		if err == nil {
			m.durable, m.sent = m.sent.Book.Started, nil
		}
		return
	case err != nil:
		m.cfg.Lane.Put(len(idx))
		if errors.Is(err, batch.ErrOverdrawn) {
			m.overdrawn(now, idx)
			return
		}
		m.fence()
		return
	}
	for _, o := range m.sentLeads {
		m.cfg.Answers.Tell(o)
	}
	m.durable, m.sent, m.sentLeads = m.sent.Book.Started, nil, nil
	for _, i := range idx {
		it := &m.items[i]
		it.phase = flying
		m.inAir++
		m.out.Fly = append(m.out.Fly, Flight{Item: i, Call: it.Call,
			ID: fmt.Sprintf("bw-%s-%d-%d-%d", m.ref.Run, it.Ordinal, m.ref.Epoch, it.n)})
	}
}

// overdrawn is an assertion that failed: the row holds less than the machine
// believed. Nothing of the write was kept. Its starts are taken back, the run
// ends, and the outcomes that were paid are written without them.
func (m *Machine) overdrawn(now time.Time, idx []int) {
	for _, i := range idx {
		m.book.Unsend(i, m.items[i].worst)
		m.items[i].phase = ready
	}
	d := m.sent
	m.sent = nil
	m.unsend(d)
	m.oldest = now
	m.fail("the lease " + m.ref.String() + " would have been overdrawn: a fault of batchwright; nothing was sent")
}

// unsend puts what is in a write that was not kept back before what came
// after it.
func (m *Machine) unsend(d *store.Delta) {
	if d.Chunk != nil {
		g, err := m.cfg.Codec.Decode(d.Chunk)
		if err != nil { // it was encoded here
			panic(fmt.Sprintf("decode group of %s: %v", m.ref, err))
		}
		m.seq--
		m.group.Attempts = append(g.Attempts, m.group.Attempts...)
		m.group.Outcomes = append(g.Outcomes, m.group.Outcomes...)
	}
	m.failed = append(d.Failed, m.failed...)
	m.answers = append(d.Answers, m.answers...)
	m.healed = append(d.Healed, m.healed...)
	m.leads = append(m.sentLeads, m.leads...)
	m.sentLeads = nil
}
