package lease

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/store"
)

// Landed takes the end of a call: what it cost, and what becomes of its item.
func (m *Machine) Landed(now time.Time, f Landing) {
	it := &m.items[f.Item]
	m.inAir--
	m.short = money.DimNone // money may have become free
	res := f.Result
	if res.Sent == provider.NotSent && res.Class != batch.ClassOK { // guard: NO_BYTE_LEFT
		m.takeBack(now, f, it)
		return
	}
	var value json.RawMessage
	if res.Class == batch.ClassOK || (res.Class == batch.ClassTruncated && m.cfg.Policy.OnTruncated == "accept") {
		v, err := m.cfg.Check(res.Text)
		if err != nil {
			res.Class, res.Message = batch.ClassInvalidOutput, err.Error()
		}
		value = v
	}
	it.last = res.Class
	held := it.worst // decide may raise it for the next attempt
	charge, estimated := m.charge(it, res)
	state := m.decide(f.Item, it, res, value != nil)
	end := batch.End{Worst: held, Charge: charge, Free: res.Class.Traits().Free,
		Lost: estimated && res.Class.Traits().PerhapsPaid, State: state}
	if res.HasUsage {
		end.Usage = res.Usage
	}
	if end.Free {
		end.Charge.Retries = 0
	}
	breach := m.book.Finish(f.Item, end)
	m.group.Attempts = append(m.group.Attempts, batch.Attempt{Ordinal: it.Ordinal, ID: it.ID, Shard: m.ref.Shard, Epoch: m.ref.Epoch,
		N: it.n, Class: res.Class, Message: res.Message, Status: res.Status, Usage: end.Usage, Reserved: held, Charged: end.Charge,
		Estimated: estimated, Model: res.Model, RequestID: res.RequestID, StartedAt: f.Start.UnixMicro(), LatencyUS: res.Latency.Microseconds()})
	m.touch(now)
	if end.State == batch.ItemPending {
		m.again(now, it, res)
	} else {
		m.outcome(now, f.Item, batch.Outcome{State: end.State, Class: res.Class, Message: message(end.State, res), Output: accepted(end.State, value),
			Usage: end.Usage, Model: res.Model, Finish: res.Finish})
	}
	if breach {
		m.fail(fmt.Sprintf("reserve_breach: item %s was billed %d tokens, %s USD; reserved were %d, %s USD",
			it.ID, end.Charge.Tokens, end.Charge.Pico, held.Tokens, held.Pico))
	}
}

func message(st batch.ItemState, r provider.Result) string {
	if st == batch.ItemOK {
		return ""
	}
	return r.Message
}

func accepted(st batch.ItemState, v json.RawMessage) json.RawMessage {
	if st == batch.ItemOK {
		return v
	}
	return nil
}

// takeBack is T5: surely no byte was written.
func (m *Machine) takeBack(now time.Time, f Landing, it *item) {
	m.book.Unsend(f.Item, it.worst)
	it.phase = ready
	it.last = batch.ClassUnsent
	m.touch(now)
	if m.stopped || m.stage != working || f.Start.IsZero() {
		return
	}
	n, since := m.cfg.Lane.Unreached(now)
	if since >= m.cfg.UnreachableAfter && n >= 3 {
		m.pause("unreachable: " + f.Result.Message)
		return
	}
	it.waits++
	it.at = now.Add(m.backoff(it.waits))
}

// charge says what a call cost, and whether that is a guess. What perhaps was
// paid is charged at its worst case.
func (m *Machine) charge(it *item, res provider.Result) (money.Amount, bool) {
	t := res.Class.Traits()
	retries := it.worst.Retries
	if res.HasUsage { // whatever the class: an error inside an answer can be billed
		c, err := m.cost(res.Usage)
		if err != nil { // beyond all arithmetic: its tokens are a breach that stops the run
			c.Pico = it.worst.Pico
		}
		c.Retries = retries
		return c, err != nil
	}
	// An error status without usage (a filter that answers 400) is not billed.
	silent := t.Billed && !res.HasUsage && res.Status < 300
	if res.Sent == provider.MaybeRun || t.PerhapsPaid || silent { // guard: WORST_CASE
		return it.worst, true
	}
	return money.Amount{Retries: retries}, false
}

// decide gives the item its state after an attempt: its outcome, or pending.
func (m *Machine) decide(i int, it *item, res provider.Result, usable bool) batch.ItemState {
	t := res.Class.Traits()
	switch {
	case usable:
		return batch.ItemOK
	case t.Free: // rate limits and refused lanes never use up an item
		return batch.ItemPending
	case res.Class == batch.ClassTruncated && m.cfg.Policy.OnTruncated == "raise" && m.raise(it):
	case !t.Retry:
		return batch.ItemFailed
	}
	if int(m.book.Attempts[i]) >= m.cfg.Policy.MaxAttempts {
		return batch.ItemFailed
	}
	return batch.ItemPending
}

// raise doubles the output limit of an item's next attempt.
func (m *Machine) raise(it *item) bool {
	if it.Raise == nil {
		return false
	}
	limit := max(it.output, it.Call.OutputBound)
	if it.output == 0 {
		it.output = limit
	}
	if limit*2 > it.output*maxRaise {
		return false
	}
	c, err := it.Raise(limit * 2)
	if err != nil {
		return false
	}
	w, err := m.worst(c)
	if err != nil {
		return false
	}
	it.Call, it.worst = c, money.Amount{Tokens: w.Tokens, Pico: w.Pico, Retries: it.worst.Retries}
	return true
}

// again sets when an item is tried next. It waits in the shard, not in a place
// on the lane.
func (m *Machine) again(now time.Time, it *item, res provider.Result) {
	it.phase = ready
	if res.Class.Traits().StopsLane {
		m.pause(string(res.Class) + ": " + res.Message)
		return
	}
	it.waits++
	d := m.backoff(it.waits)
	if res.Class.Traits().Cooldown {
		d = m.backoff(min(it.waits, 3)) // the gate's cooldown is what spaces these
	}
	if res.RetryAfter > 0 { // a floor, and jitter only above it
		d = res.RetryAfter + time.Duration(m.cfg.Rand()*float64(min(res.RetryAfter/4, 5*time.Second)))
	}
	if res.Class == batch.ClassInvalidOutput || res.Class == batch.ClassTruncated {
		d = 0 // the provider is well; asking again at once harms nobody
	}
	it.at = now.Add(d)
}

// backoff is exponential with full jitter: 0.5 s doubling to 60 s.
func (m *Machine) backoff(n int) time.Duration {
	top := math.Min(60, 0.5*math.Pow(2, float64(min(n-1, 10))))
	return time.Duration(m.cfg.Rand() * top * float64(time.Second))
}

// close gives an item its outcome without a call.
func (m *Machine) close(now time.Time, i int, o batch.Outcome) {
	m.book.Close(i, o.State)
	m.outcome(now, i, o)
}

// outcome puts an outcome into the next group.
func (m *Machine) outcome(now time.Time, i int, o batch.Outcome) {
	it := &m.items[i]
	it.phase = settled
	o.Ordinal, o.ID, o.Epoch, o.Attempt = it.Ordinal, it.ID, m.ref.Epoch, it.n
	m.group.Outcomes = append(m.group.Outcomes, o)
	m.touch(now)
	if it.Leads {
		if m.local == nil {
			m.local = map[batch.Ordinal]batch.Outcome{}
		}
		m.local[it.Ordinal] = o
		m.leads = append(m.leads, o)
	}
	d := m.beside(now, i, o)
	m.failed = append(m.failed, d.Failed...)
	m.healed = append(m.healed, d.Healed...)
	m.answers = append(m.answers, d.Answers...)
}

// beside is what is written with the outcome of item i.
func (m *Machine) beside(now time.Time, i int, o batch.Outcome) (d store.Delta) {
	it := &m.items[i]
	switch {
	case o.State == batch.ItemFailed:
		d.Failed = []store.Failure{{Run: m.ref.Run, Ordinal: o.Ordinal, ID: o.ID, Class: o.Class, Message: o.Message,
			Attempts: int(m.book.Attempts[i]) + int(m.book.Lost[i])}}
	case m.cfg.Policy.Retried:
		d.Healed = []batch.Ordinal{o.Ordinal}
	}
	if it.Leads {
		d.Answers = append(d.Answers, m.answer(now, string(m.ref.Run), leaderKey(it.Ordinal), o))
	}
	if m.cfg.Policy.Cache && o.State == batch.ItemOK && !o.Cached && o.CopyOf == "" && o.Class == batch.ClassOK {
		d.Answers = append(d.Answers, m.answer(now, store.CacheScope, it.Hash[:], o))
	}
	return d
}

func (m *Machine) touch(now time.Time) {
	if m.oldest.IsZero() {
		m.oldest = now
	}
}
