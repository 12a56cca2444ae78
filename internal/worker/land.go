package worker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

// observe is what the gate learns of a call.
func observe(r provider.Result, est int64) pacing.Observation {
	return pacing.Observation{Class: r.Class, RetryAfter: r.RetryAfter, Estimated: est, Actual: r.Usage.Total(),
		Latency: r.Latency, Sent: r.Sent != provider.NotSent}
}

// land takes the end of a call: what it cost, and what becomes of its item.
func (s *shard) land(ctx context.Context, f flight) {
	it := &s.items[f.i]
	s.inAir--
	s.short = money.DimNone // money may have become free
	res := f.result
	if res.Sent == provider.NotSent && res.Class != batch.ClassOK {
		s.takeBack(ctx, f, it)
		return
	}
	var value json.RawMessage
	if res.Class == batch.ClassOK || (res.Class == batch.ClassTruncated && s.r.Policy.OnTruncated == "accept") {
		v, err := s.r.Check(res.Text)
		if err != nil {
			res.Class, res.Message = batch.ClassInvalidOutput, err.Error()
		}
		value = v
	}
	it.last = res.Class
	held := it.worst // decide may raise it for the next attempt
	charge, estimated := s.charge(it, res)
	state := s.decide(f.i, it, res, value != nil)
	end := batch.End{Worst: held, Charge: charge, Free: res.Class.Traits().Free,
		Lost: estimated && res.Class.Traits().PerhapsPaid, State: state}
	if res.HasUsage {
		end.Usage = res.Usage
	}
	if end.Free {
		end.Charge.Retries = 0
	}
	breach := s.book.Finish(f.i, end)
	s.group.Attempts = append(s.group.Attempts, batch.Attempt{Ordinal: it.Ordinal, ID: it.ID, Shard: s.ref.Shard, Epoch: s.ref.Epoch,
		N: it.n, Class: res.Class, Message: res.Message, Status: res.Status, Usage: end.Usage, Reserved: held, Charged: end.Charge,
		Estimated: estimated, Model: res.Model, RequestID: res.RequestID, StartedAt: f.start.UnixMicro(), LatencyUS: res.Latency.Microseconds()})
	s.touch()
	if end.State == batch.ItemPending {
		s.again(ctx, it, res)
	} else {
		s.outcome(f.i, batch.Outcome{State: end.State, Class: res.Class, Message: message(end.State, res), Output: accepted(end.State, value),
			Usage: end.Usage, Model: res.Model, Finish: res.Finish})
	}
	if breach {
		s.w.end(ctx, s.r, batch.RunFailed, fmt.Sprintf("reserve_breach: item %s was billed %d tokens, %s USD; reserved were %d, %s USD",
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
func (s *shard) takeBack(ctx context.Context, f flight, it *item) {
	s.book.Unsend(f.i, it.worst)
	it.phase = ready
	it.last = batch.ClassUnsent
	s.touch()
	if s.r.stopped() {
		return
	}
	n, since := s.r.Lane.unreachable()
	if since >= s.w.cfg.UnreachableAfter && n >= 3 {
		s.w.pause(ctx, s.r, "unreachable: "+f.result.Message)
		return
	}
	it.waits++
	it.at = s.w.cfg.Now().Add(s.backoff(it.waits))
}

// charge says what a call cost, and whether that is a guess. What perhaps was
// paid is charged at its worst case.
func (s *shard) charge(it *item, res provider.Result) (money.Amount, bool) {
	t := res.Class.Traits()
	retries := it.worst.Retries
	if res.HasUsage { // whatever the class: an error inside an answer can be billed
		c, err := s.r.cost(res.Usage)
		if err != nil { // beyond all arithmetic: its tokens are a breach that stops the run
			c.Pico = it.worst.Pico
		}
		c.Retries = retries
		return c, err != nil
	}
	// An error status without usage (a filter that answers 400) is not billed.
	silent := t.Billed && !res.HasUsage && res.Status < 300
	if res.Sent == provider.MaybeRun || t.PerhapsPaid || silent {
		return it.worst, true
	}
	return money.Amount{Retries: retries}, false
}

// decide gives the item its state after an attempt: its outcome, or pending.
func (s *shard) decide(i int, it *item, res provider.Result, usable bool) batch.ItemState {
	t := res.Class.Traits()
	switch {
	case usable:
		return batch.ItemOK
	case t.Free: // rate limits and refused lanes never use up an item
		return batch.ItemPending
	case res.Class == batch.ClassTruncated && s.r.Policy.OnTruncated == "raise" && s.raise(it):
	case !t.Retry:
		return batch.ItemFailed
	}
	if int(s.book.Attempts[i]) >= s.r.Policy.MaxAttempts {
		return batch.ItemFailed
	}
	return batch.ItemPending
}

// raise doubles the output limit of an item's next attempt.
func (s *shard) raise(it *item) bool {
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
	w, err := s.r.worst(c)
	if err != nil {
		return false
	}
	it.Call, it.worst = c, money.Amount{Tokens: w.Tokens, Pico: w.Pico, Retries: it.worst.Retries}
	return true
}

// again sets when an item is tried next. It waits in the shard, not in a place
// on the lane.
func (s *shard) again(ctx context.Context, it *item, res provider.Result) {
	it.phase = ready
	if res.Class.Traits().StopsLane {
		s.w.pause(ctx, s.r, string(res.Class)+": "+res.Message)
		return
	}
	it.waits++
	d := s.backoff(it.waits)
	if res.Class.Traits().Cooldown {
		d = s.backoff(min(it.waits, 3)) // the gate's cooldown is what spaces these
	}
	if res.RetryAfter > 0 { // a floor, and jitter only above it
		d = res.RetryAfter + time.Duration(s.w.cfg.Rand()*float64(min(res.RetryAfter/4, 5*time.Second)))
	}
	if res.Class == batch.ClassInvalidOutput || res.Class == batch.ClassTruncated {
		d = 0 // the provider is well; asking again at once harms nobody
	}
	it.at = s.w.cfg.Now().Add(d)
}

// backoff is exponential with full jitter: 0.5 s doubling to 60 s.
func (s *shard) backoff(n int) time.Duration {
	top := math.Min(60, 0.5*math.Pow(2, float64(min(n-1, 10))))
	return time.Duration(s.w.cfg.Rand() * top * float64(time.Second))
}

// close gives an item its outcome without a call.
func (s *shard) close(i int, o batch.Outcome) {
	s.book.Close(i, o.State)
	s.outcome(i, o)
}

// outcome puts an outcome into the next group.
func (s *shard) outcome(i int, o batch.Outcome) {
	it := &s.items[i]
	it.phase = settled
	o.Ordinal, o.ID, o.Epoch, o.Attempt = it.Ordinal, it.ID, s.ref.Epoch, it.n
	s.group.Outcomes = append(s.group.Outcomes, o)
	s.touch()
	if it.Leads {
		s.r.answers.Store(it.Ordinal, o)
	}
	d := s.beside(i, o)
	s.failed = append(s.failed, d.Failed...)
	s.healed = append(s.healed, d.Healed...)
	s.answers = append(s.answers, d.Answers...)
}

// beside is what is written with the outcome of item i.
func (s *shard) beside(i int, o batch.Outcome) (d store.Delta) {
	it := &s.items[i]
	switch {
	case o.State == batch.ItemFailed:
		d.Failed = []store.Failure{{Run: s.r.ID, Ordinal: o.Ordinal, ID: o.ID, Class: o.Class, Message: o.Message,
			Attempts: int(s.book.Attempts[i]) + int(s.book.Lost[i])}}
	case s.r.Policy.Retried:
		d.Healed = []batch.Ordinal{o.Ordinal}
	}
	if it.Leads {
		d.Answers = append(d.Answers, s.answer(string(s.r.ID), leaderKey(it.Ordinal), o))
	}
	if s.r.Policy.Cache && o.State == batch.ItemOK && !o.Cached && o.CopyOf == "" && o.Class == batch.ClassOK {
		d.Answers = append(d.Answers, s.answer(store.CacheScope, it.Hash[:], o))
	}
	return d
}

func (s *shard) answer(scope string, key []byte, o batch.Outcome) store.Answer {
	body, err := json.Marshal(o)
	if err != nil { // outcomes are made of JSON values that were checked
		panic(fmt.Sprintf("encode answer of %s: %v", o.ID, err))
	}
	return store.Answer{Scope: scope, Key: key, Body: body, At: s.w.cfg.Now().UnixMicro()}
}

func leaderKey(o batch.Ordinal) []byte { return binary.BigEndian.AppendUint64(nil, uint64(o)) }

func (s *shard) touch() {
	if s.oldest.IsZero() {
		s.oldest = s.w.cfg.Now()
	}
}

// copy gives an item the outcome of its leader, if there is one yet.
func (s *shard) copy(ctx context.Context, i int, now time.Time) bool {
	it := &s.items[i]
	var o batch.Outcome
	if v, ok := s.r.answers.Load(it.Leader); ok {
		o = v.(batch.Outcome)
	} else {
		bodies, err := s.w.cfg.Store.Answers(ctx, string(s.r.ID), [][]byte{leaderKey(it.Leader)})
		if err != nil || bodies[0] == nil || json.Unmarshal(bodies[0], &o) != nil {
			it.asked = min(max(2*it.asked, 20*time.Millisecond), time.Second)
			it.at = now.Add(it.asked)
			return false
		}
	}
	// The copy was not called: it used nothing and names what it copies.
	s.close(i, batch.Outcome{State: o.State, Class: o.Class, Message: o.Message, Output: o.Output, Model: o.Model, Finish: o.Finish, CopyOf: o.ID})
	return true
}

// reuse takes answers of earlier runs for items whose request is the same.
func (s *shard) reuse(ctx context.Context) error {
	if !s.r.Policy.Cache {
		return nil
	}
	var keys [][]byte
	var idx []int
	for i := range s.items {
		if it := &s.items[i]; it.phase == ready && it.Bad == "" {
			keys, idx = append(keys, it.Hash[:]), append(idx, i)
		}
	}
	bodies, err := s.w.cfg.Store.Answers(ctx, store.CacheScope, keys)
	if err != nil {
		return err
	}
	for k, body := range bodies {
		var o batch.Outcome
		if body == nil || json.Unmarshal(body, &o) != nil || o.State != batch.ItemOK {
			continue
		}
		s.close(idx[k], batch.Outcome{State: batch.ItemOK, Class: o.Class, Output: o.Output, Model: o.Model, Finish: o.Finish, Cached: true})
	}
	return nil
}

// release hands the lease back.
func (s *shard) release(ctx context.Context, notBefore int64, stuck money.Dimension, cause error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := s.w.cfg.Store.Release(ctx, s.ref, notBefore, stuck)
		if err == nil || errors.Is(err, batch.ErrFenced) {
			return cause
		}
		s.w.fault(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// fenced ends a lease that was taken over: nothing more is started. The truth
// about every call that was on the wire, or that had not been committed yet,
// is told once (T4).
func (s *shard) fenced(ctx context.Context) error {
	s.lose()
	lost := map[int]*batch.Attempt{}
	if s.sent != nil && s.sent.Chunk != nil {
		if g, err := s.w.cfg.Codec.Decode(s.sent.Chunk); err == nil {
			s.group.Attempts = append(g.Attempts, s.group.Attempts...)
			s.group.Outcomes = append(g.Outcomes, s.group.Outcomes...)
		}
	}
	for s.inAir > 0 {
		s.land(ctx, <-s.ends)
	}
	outs := map[batch.Ordinal]batch.Outcome{}
	for _, o := range s.group.Outcomes {
		outs[o.Ordinal] = o
	}
	for k := range s.group.Attempts {
		a := &s.group.Attempts[k]
		lost[int(a.Ordinal-s.items[0].Ordinal)] = a
	}
	for i := range s.items {
		if it := &s.items[i]; lost[i] == nil && s.perhapsStarted(i) { // taken for perhaps paid, and surely unsent
			lost[i] = &batch.Attempt{Ordinal: it.Ordinal, ID: it.ID, Shard: s.ref.Shard, Epoch: s.ref.Epoch, N: it.n,
				Class: batch.ClassUnsent, Reserved: it.worst, StartedAt: s.w.cfg.Now().UnixMicro()}
		}
	}
	for i, a := range lost {
		if err := s.late(ctx, i, *a, outs); err != nil {
			s.w.fault(err)
		}
	}
	return nil
}

// perhapsStarted reports whether the store has item i as on the wire, by the
// last write that was acknowledged or the one that was not.
func (s *shard) perhapsStarted(i int) bool {
	return s.durable.Get(i) || (s.sent != nil && s.sent.Book.Started.Get(i))
}

func (s *shard) late(ctx context.Context, i int, a batch.Attempt, outs map[batch.Ordinal]batch.Outcome) error {
	charge := a.Charged
	a.Charged = a.Charged.Minus(a.Reserved) // a correction of what the take-over charged
	only, err := s.w.cfg.Codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
	if err != nil {
		return err
	}
	l := store.Late{Ref: s.ref, Index: i, Worst: a.Reserved, Charge: charge, Usage: a.Usage, State: batch.ItemPending,
		Outcome: &store.Delta{Chunk: only, Late: only}}
	if o, ok := outs[a.Ordinal]; ok {
		both, err := s.w.cfg.Codec.Encode(segment.Group{Outcomes: []batch.Outcome{o}, Attempts: []batch.Attempt{a}})
		if err != nil {
			return err
		}
		d := s.beside(i, o)
		d.Chunk, d.Late = both, only
		l.State, l.Outcome = o.State, &d
	}
	return s.w.insist(ctx, s.r, func() error {
		_, err := s.w.cfg.Store.Late(ctx, l)
		return err
	})
}
