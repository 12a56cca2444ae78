package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

const (
	// A group of outcomes is written when it is this old or this large, so that
	// what a crash can lose is what was on the wire plus that.
	groupAge   = 25 * time.Millisecond
	groupItems = 200
	// A shard whose items all wait longer than this is handed back meanwhile.
	longWait = 30 * time.Second
	// maxAble is how many items one step looks at to start.
	maxAble = 512
	// maxRaise bounds how far on_truncated: raise doubles the output limit.
	maxRaise = 16
)

// phase is where an item of a leased shard stands.
type phase int

const (
	ready    phase = iota
	starting       // in the group that is being written
	flying         // durable: waits at the gate or is on the wire
	settled        // has its outcome
)

// item is one item of a leased shard.
type item struct {
	Work
	phase  phase
	at     time.Time // not before, while ready
	worst  money.Amount
	n      int           // calls in this lease
	waits  int           // waits in a row that cost no attempt
	output int64         // raised output limit, 0 as the spec says
	last   batch.Class   // of the last attempt
	asked  time.Duration // how long the last look for a leader's answer waited
}

// flight is a call that has ended.
type flight struct {
	i      int
	result provider.Result
	start  time.Time
}

// shard works one lease. Everything in it belongs to the loop's goroutine.
type shard struct {
	w     *Worker
	r     *Run
	ref   batch.LeaseRef
	book  *batch.Book
	seq   int64
	items []item
	costs []money.Amount

	group   segment.Group // committed by the next write
	failed  []store.Failure
	answers []store.Answer
	healed  []batch.Ordinal
	oldest  time.Time // of the group; zero when it is empty
	toStart []int

	sent    *store.Delta // being written
	durable batch.Bits   // items on the wire by the last write that was acknowledged
	sentIdx []int        // items that start with it
	reply   chan error
	ends    chan flight
	wake    chan struct{}
	inAir   int
	waits   context.Context // ends when no call of the lease may start any more
	lose    context.CancelFunc
	from    int             // every item before it is settled
	short   money.Dimension // what refused the last start
	worked  bool            // some call was started in this lease
}

func newShard(w *Worker, r *Run, works []Work) (*shard, error) {
	s := &shard{w: w, r: r, items: make([]item, len(works)), costs: make([]money.Amount, len(works)),
		reply: make(chan error, 1), ends: make(chan flight, len(works)), wake: make(chan struct{}, 1)}
	for i := range works {
		s.items[i].Work = works[i]
		if works[i].Bad != "" || s.copies(&s.items[i]) {
			continue // never called: it holds no money that another could use
		}
		c, err := r.worst(works[i].Call)
		if err != nil {
			return nil, fmt.Errorf("the worst case of item %s: %w", works[i].ID, err)
		}
		s.costs[i], s.items[i].worst = c, c
	}
	return s, nil
}

// begin takes the lease into memory.
func (s *shard) begin(lease store.Shard) {
	s.ref, s.book, s.seq = lease.Ref, lease.Book, lease.Seq
	s.durable = lease.Book.Started
	s.waits, s.lose = context.WithCancel(s.r.waits)
	if s.r.Policy.ItemBudgets && s.book.ItemTokens == nil {
		s.book.ItemTokens = make([]int64, s.book.N)
	}
	for i := range s.items {
		if s.book.Done.Get(i) {
			s.items[i].phase = settled
		}
	}
}

// loop works until every item has its outcome, the run stops, or nothing more
// can be started, and hands the lease back.
func (s *shard) loop(ctx context.Context) error {
	defer s.lose()
	if err := s.reuse(ctx); err != nil {
		return s.release(ctx, 0, money.DimNone, err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, over, notBefore, stuck := s.step(ctx)
		if over {
			return s.release(ctx, notBefore, stuck, nil)
		}
		timer.Reset(wait)
		stopping := s.r.stopping
		if s.r.stopped() {
			stopping = nil // seen; wait for what is in the air
		}
		select {
		case f := <-s.ends:
			s.land(ctx, f)
			for more := true; more; {
				select {
				case f := <-s.ends:
					s.land(ctx, f)
				default:
					more = false
				}
			}
		case err := <-s.reply:
			if !s.acknowledge(ctx, err) {
				return s.fenced(ctx)
			}
		case <-s.wake:
		case <-stopping:
		case <-timer.C:
		}
	}
}

// step starts what can start, writes what is due, and says how long nothing
// needs to happen; or that the lease is over.
func (s *shard) step(ctx context.Context) (wait time.Duration, over bool, notBefore int64, stuck money.Dimension) {
	now := s.w.cfg.Now()
	next, waiting, copies := time.Time{}, false, false
	if !s.r.stopped() && s.sent == nil {
		next, waiting, copies = s.choose(ctx, now)
	}
	if s.due(now) {
		s.submit()
	}
	idle := s.sent == nil && s.inAir == 0 && s.oldest.IsZero() && len(s.toStart) == 0
	switch {
	case idle && (s.r.stopped() || s.book.Pending() == 0):
		return 0, true, 0, money.DimNone
	case idle && s.short != money.DimNone && (!waiting || copies):
		// Nothing in the air can free more for this lease, and what copies wait
		// for may need what it holds. Handed back, its surplus serves a new
		// claim; if it never started a call, it is stuck.
		if s.worked {
			return 0, true, 0, money.DimNone
		}
		return 0, true, 0, s.short
	case idle && waiting && next.Sub(now) > longWait:
		return 0, true, next.UnixMicro(), money.DimNone
	case idle && waiting && s.onlyCopies():
		if next.Sub(now) >= time.Second {
			return 0, true, 0, dimLeader
		}
	}
	wait = time.Minute
	if waiting {
		wait = min(wait, next.Sub(now))
	}
	if !s.oldest.IsZero() && s.sent == nil {
		wait = min(wait, s.oldest.Add(groupAge).Sub(now))
	}
	return max(wait, 0), false, 0, money.DimNone
}

// dimLeader parks a shard that waits for other shards' answers: it is opened
// again when a lease is handed back.
const dimLeader money.Dimension = "leader"

// onlyCopies reports whether every item left waits for another's answer.
func (s *shard) onlyCopies() bool {
	for i := range s.items {
		if it := &s.items[i]; it.phase != settled && !s.copies(it) {
			return false
		}
	}
	return true
}

func (s *shard) copies(it *item) bool { return it.Leader >= 0 && !s.r.Policy.Retried }

// choose starts ready items in order as far as the lane and the lease allow.
// It returns when the next waiting item is ready, if one waits, and whether
// copies alone wait.
func (s *shard) choose(ctx context.Context, now time.Time) (next time.Time, waiting, copies bool) {
	copies = true
	note := func(t time.Time) {
		if !waiting || t.Before(next) {
			next, waiting = t, true
		}
	}
	var able []int
	for s.from < len(s.items) && s.items[s.from].phase == settled {
		s.from++
	}
	for i := s.from; i < len(s.items) && len(able) < maxAble; i++ {
		it := &s.items[i]
		switch {
		case it.phase != ready:
		case it.at.After(now):
			note(it.at)
			copies = copies && s.copies(it)
		case it.Bad != "":
			s.close(i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassBadItem, Message: it.Bad})
		case s.copies(it):
			if !s.copy(ctx, i, now) {
				note(it.at)
			}
		case int(s.book.Lost[i]) > batch.MaxLost:
			s.close(i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassUnknown,
				Message: fmt.Sprintf("its worker was lost %d times while it was on the wire", s.book.Lost[i])})
		case s.overItemBudget(i):
			s.close(i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassItemBudget,
				Message: fmt.Sprintf("its token budget of %d does not cover the worst case of a call, %d, after %d used",
					it.Budget, it.worst.Tokens, s.book.ItemTokens[i])})
		default:
			able = append(able, i)
		}
	}
	if len(able) == 0 || s.short != money.DimNone {
		return next, waiting, copies
	}
	s.start(ctx, able)
	for _, i := range able {
		if it := &s.items[i]; it.phase == ready && it.at.After(now) {
			note(it.at) // the store did not answer
			copies = false
		}
	}
	return next, waiting, copies
}

func (s *shard) overItemBudget(i int) bool {
	it := &s.items[i]
	return it.Budget >= 0 && s.book.ItemTokens != nil && s.book.ItemTokens[i]+it.worst.Tokens > it.Budget
}

// start puts items into the next group, as many as the lane allows.
func (s *shard) start(ctx context.Context, able []int) {
	got := s.r.Lane.take(len(able), s.wake)
	used := 0
	for _, i := range able[:got] {
		if !s.startOne(ctx, i) {
			if s.items[i].phase == settled {
				continue // it failed for good; the next may start
			}
			break
		}
		used++
	}
	if used < got {
		s.r.Lane.put(got - used)
	}
}

// startOne is T2 in memory; false when the lease does not hold enough.
func (s *shard) startOne(ctx context.Context, i int) bool {
	it := &s.items[i]
	worst := it.worst
	worst.Retries = 0
	if s.book.Attempts[i] > 0 {
		worst.Retries = 1
	}
	err := s.book.Start(i, worst)
	if errors.Is(err, batch.ErrOverdrawn) {
		free := s.book.Free()
		need := worst.Minus(free)
		need = money.Amount{Tokens: max(need.Tokens, 0), Pico: max(need.Pico, 0), Retries: max(need.Retries, 0)}
		hit, terr := s.w.cfg.Store.TopUp(ctx, s.ref, need)
		switch {
		case terr != nil: // the store's trouble, not the budget's
			it.at = s.w.cfg.Now().Add(time.Second)
			return false
		case hit == money.DimRetries:
			s.close(i, batch.Outcome{State: batch.ItemFailed, Class: batch.ClassRetryBudget,
				Message: "the run's retry budget is used up; the last attempt ended as " + string(it.last)})
			return false
		case hit != money.DimNone:
			s.short = hit
			return false
		}
		s.book.Reserved = s.book.Reserved.Plus(need)
		err = s.book.Start(i, worst)
	}
	if err != nil {
		s.short = money.DimTokens
		return false
	}
	it.phase, it.worst = starting, worst
	it.n++
	s.toStart = append(s.toStart, i)
	s.worked = true
	return true
}

// due reports whether a write should go now.
func (s *shard) due(now time.Time) bool {
	if s.sent != nil {
		return false
	}
	if len(s.toStart) > 0 || len(s.group.Outcomes) >= groupItems {
		return true
	}
	if s.oldest.IsZero() {
		return false
	}
	return s.inAir == 0 || now.Sub(s.oldest) >= groupAge
}

// submit sends the group to the committer.
func (s *shard) submit() {
	d := &store.Delta{Ref: s.ref, Seq: s.seq, Book: clone(s.book), Starts: len(s.toStart) > 0,
		Failed: s.failed, Answers: s.answers, Healed: s.healed}
	if len(s.group.Outcomes)+len(s.group.Attempts) > 0 {
		chunk, err := s.w.cfg.Codec.Encode(s.group)
		if err != nil { // an outcome that cannot be written is a bug of ours
			panic(fmt.Sprintf("encode group of %s: %v", s.ref, err))
		}
		d.Chunk = chunk
		s.seq++
	}
	items := len(s.toStart) + len(s.group.Outcomes)
	s.sent, s.sentIdx = d, s.toStart
	s.group, s.failed, s.answers, s.healed, s.toStart, s.oldest = segment.Group{}, nil, nil, nil, nil, time.Time{}
	s.w.commit.in <- write{*d, items, s.reply}
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

// acknowledge takes the committer's answer; false means the lease is lost.
func (s *shard) acknowledge(ctx context.Context, err error) bool {
	idx := s.sentIdx
	s.sentIdx = nil
	if err != nil {
		s.r.Lane.put(len(idx))
		if errors.Is(err, batch.ErrOverdrawn) {
			s.w.cfg.Log.Error("a lease was overdrawn", "lease", s.ref.String())
		}
		return false
	}
	s.durable, s.sent = s.sent.Book.Started, nil
	for _, i := range idx {
		s.items[i].phase = flying
		s.inAir++
		go s.fly(i, s.items[i])
	}
	return true
}

// fly makes one call: it waits at the gate, calls, and reports. What it needs
// of the item was copied, since the loop goes on.
func (s *shard) fly(i int, it item) {
	l := s.r.Lane
	est := l.estimate(it.Call)
	if err := l.Gate.Acquire(s.waits, est); err != nil {
		l.put(1)
		s.ends <- flight{i: i, result: provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "stopped before it was sent"}}
		return
	}
	start := s.w.cfg.Now()
	ctx, stop := context.WithTimeout(s.r.calls, s.r.Policy.Timeout)
	id := fmt.Sprintf("bw-%s-%d-%d-%d", s.ref.Run, it.Ordinal, s.ref.Epoch, it.n)
	res := s.r.Call(ctx, it.Call, id)
	stop()
	res.Latency = s.w.cfg.Now().Sub(start)
	l.Gate.Release(observe(res, est))
	l.put(1)
	l.learn(it.Call, res)
	s.ends <- flight{i, res, start}
}
