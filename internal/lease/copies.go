package lease

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// dimLeader parks a shard that waits for other shards' answers: it is opened
// again when a lease is handed back.
const dimLeader money.Dimension = "leader"

// longAsked is how long the looks for a leader's answer are apart when it has
// been waited for long: the leader may need what this lease holds.
const longAsked = time.Second

// onlyCopies reports whether every item left has long waited for another's
// answer.
func (m *Machine) onlyCopies() bool {
	for i := range m.items {
		if it := &m.items[i]; it.phase != settled && (!m.copies(it) || it.asked < longAsked) {
			return false
		}
	}
	return true
}

func (m *Machine) copies(it *item) bool { return it.Leader >= 0 && !m.cfg.Policy.Retried }

// known is a leader's outcome that a copy may rest on: one that is committed,
// or that is committed with or before the copy since both are of this lease.
func (m *Machine) known(leader batch.Ordinal) (batch.Outcome, bool) {
	if o, ok := m.local[leader]; ok {
		return o, true
	}
	return m.cfg.Answers.Known(leader)
}

// copy gives item i its leader's outcome. It was not called: it used nothing,
// and names what it copies.
func (m *Machine) copy(now time.Time, i int, o batch.Outcome) {
	m.close(now, i, batch.Outcome{State: o.State, Class: o.Class, Message: o.Message, Output: o.Output, Model: o.Model, Finish: o.Finish, CopyOf: o.ID})
}

func (m *Machine) askLeaders(idx []int) {
	keys := make([][]byte, len(idx))
	for k, i := range idx {
		keys[k] = leaderKey(m.items[i].Leader)
	}
	m.asking = idx
	m.out.Ask = &Question{Scope: string(m.row.Ref.Run), Keys: keys}
}

// reuse asks for answers of earlier runs to the same requests.
func (m *Machine) reuse() {
	var keys [][]byte
	for i := range m.items {
		if it := &m.items[i]; it.phase == ready && it.Bad == "" {
			keys, m.asking = append(keys, it.Hash[:]), append(m.asking, i)
		}
	}
	if len(keys) == 0 {
		return
	}
	m.stage = reusing
	m.out.Ask = &Question{Scope: store.CacheScope, Keys: keys}
}

// Answered takes the reply of an Ask: a body for each key, nil where none is.
func (m *Machine) Answered(now time.Time, bodies [][]byte, err error) {
	idx := m.asking
	m.asking = nil
	switch m.stage {
	case reusing:
		m.stage = working
		if err != nil { // handed back untouched; the bell rings again
			m.cause, m.stopped = err, true
			return
		}
		for k, body := range bodies {
			if o, ok := decode(body); ok && o.State == batch.ItemOK {
				m.close(now, idx[k], batch.Outcome{State: batch.ItemOK, Class: o.Class, Output: o.Output, Model: o.Model, Finish: o.Finish, Cached: true})
			}
		}
	case working:
		for k, i := range idx {
			if err == nil {
				if o, ok := decode(bodies[k]); ok {
					m.copy(now, i, o)
					continue
				}
			}
			it := &m.items[i]
			it.asked = min(max(2*it.asked, 20*time.Millisecond), longAsked)
			it.at = now.Add(it.asked)
		}
	}
}

func decode(body []byte) (o batch.Outcome, ok bool) {
	return o, body != nil && json.Unmarshal(body, &o) == nil
}

func leaderKey(o batch.Ordinal) []byte { return binary.BigEndian.AppendUint64(nil, uint64(o)) }

func (m *Machine) answer(now time.Time, scope string, key []byte, o batch.Outcome) store.Answer {
	body, err := json.Marshal(o)
	if err != nil { // outcomes are made of JSON values that were checked
		panic(fmt.Sprintf("encode answer of %s: %v", o.ID, err))
	}
	return store.Answer{Scope: scope, Key: key, Body: body, At: now.UnixMicro()}
}
