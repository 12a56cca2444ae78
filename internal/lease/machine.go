// Package lease works one shard for one lease: a pure machine, events in and
// orders out. It knows the money protocol, retries and what an answer is worth;
// it does nothing itself. Whoever drives it tells it what happened (a method
// each), calls Next, does what the orders say, and tells it the replies. It
// takes no clock, starts no goroutine and touches no store, so that the worker
// and the simulation of the engine drive the very same code.
//
//	rung -> Read -> Prepare -> Claim -> working ... -> Release -> over
//	                                      \ fenced: Late -> over
package lease

import (
	"encoding/json"
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

// Work is one item, ready to be called.
type Work struct {
	Ordinal batch.Ordinal
	ID      string
	Bad     string // quarantined: never called, failed with this message
	Leader  batch.Ordinal
	Leads   bool
	// Budget is the item's own limit in tokens over all its attempts, -1 none.
	Budget int64
	Call   provider.Call
	// Raise makes the call with another output limit.
	Raise func(maxOutput int64) (provider.Call, error)
	// Hash identifies the request across runs.
	Hash [32]byte
}

// Policy is what a spec says about attempts and answers.
type Policy struct {
	MaxAttempts int
	Timeout     time.Duration // per attempt
	OnTruncated string        // accept | fail | raise
	Cache       bool          // reuse answers of earlier runs
	ItemBudgets bool          // some item has a token budget
	Retried     bool          // items were made pending again: no copies, heal failures
}

// Lane is what a lease needs of the lane it calls on.
type Lane interface {
	// Take asks for up to n starts and returns how many it got. Got fewer, the
	// driver calls Next again once more can be had.
	Take(n int) int
	// Put gives n starts back. A flight's own start is the driver's to give back.
	Put(n int)
	// Unreached counts a call that could not be sent at all, and says how many
	// in a row there were and since when nothing has got through.
	Unreached(now time.Time) (n int, since time.Duration)
}

// Answers are outcomes that were committed in this process and that other
// items of the run may copy.
type Answers interface {
	Known(leader batch.Ordinal) (batch.Outcome, bool)
	Tell(o batch.Outcome)
}

// Held are the leases that are worked in this process.
type Held interface {
	Hold(ref batch.LeaseRef) bool // false when it is held
	LetGo(ref batch.LeaseRef)
}

// Config is what a machine is made of. Its functions must be pure, but for
// those of Lane, Answers and Held, which only remember.
type Config struct {
	Bell   batch.Bell
	Worker batch.WorkerID
	Policy Policy
	// Price is nil when the model's price is not known; money is then 0.
	Price *money.PriceCard
	// Check turns an answer's text into the outcome's value, or says why not.
	Check   func(text string) (json.RawMessage, error)
	Codec   *segment.Codec
	Lane    Lane
	Answers Answers
	Held    Held
	Rand    func() float64 // uniform in [0,1)
	// UnreachableAfter is how long nothing may get through to a provider
	// before the run is paused.
	UnreachableAfter time.Duration
}

// Orders are what is to be done next. Each that has a reply is answered once,
// by the method its comment names.
type Orders struct {
	Read    *batch.Bell   // read the row of the shard it names: RowRead
	Prepare *Span         // load and encode the items: Prepared
	Claim   *store.Claim  // T1: Claimed
	Write   *Write        // T2, T3, T5: Written
	TopUp   *money.Amount // reserve more: ToppedUp
	Ask     *Question     // look for answers: Answered
	Fly     []Flight      // durable: make these calls, Landed each
	Release *Release      // hand the lease back: Released
	Late    []store.Late  // T4, each until it is taken: Told
	Lose    bool          // the lease is lost: no call that waits may start
	Pause   string        // set the run aside for a person, with this reason
	End     string        // end the run as failed, with this reason
	Wake    time.Time     // call Next again then; zero: no need
	Over    bool          // the machine has ended, with Err
	Err     error         // the bell should ring again
}

// Span is a range of items of the manifest.
type Span struct {
	First batch.Ordinal
	N     int
}

// Write is a group for the committer.
type Write struct {
	Delta store.Delta
	Items int // how many starts and outcomes are in it
}

// Question asks for answers kept in the store.
type Question struct {
	Scope string
	Keys  [][]byte
}

// Flight is a call to be made.
type Flight struct {
	Item int
	Call provider.Call
	ID   string // of this attempt, unique for ever
}

// Release says how the lease is handed back.
type Release struct {
	NotBefore int64
	Stuck     money.Dimension
}

// Landing is the end of a flight.
type Landing struct {
	Item   int
	Result provider.Result
	Start  time.Time // zero when nobody tried to send it
}

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

// stage is where the machine stands.
type stage int

const (
	rung stage = iota
	reading
	preparing
	claiming
	doubting // whether the claim was kept
	reusing
	working
	releasing
	losing  // fenced; calls are still in the air
	telling // their truth is being told
	over
)

// Machine is one shard, from its bell to the end of its lease. It is not safe
// for concurrent use.
type Machine struct {
	cfg   Config
	stage stage
	out   Orders
	row   store.Shard
	ref   batch.LeaseRef
	held  bool
	// After a claim whose reply was lost: its error, and when the row is read.
	unsure error
	readAt time.Time
	wait   time.Duration
	book   *batch.Book
	seq    int64
	items  []item
	costs  []money.Amount

	group   segment.Group // committed by the next write
	failed  []store.Failure
	answers []store.Answer
	healed  []batch.Ordinal
	leads   []batch.Outcome // of the group, for other items to copy
	oldest  time.Time       // of the group; zero when it is empty
	toStart []int

	sent      *store.Delta    // being written
	sentIdx   []int           // items that start with it
	sentLeads []batch.Outcome // what others may copy once it is written
	writing   bool            // no reply to it yet
	durable   batch.Bits      // items on the wire by the last write that was acknowledged

	topping *topping
	asking  []int // items an Ask is under way for
	inAir   int
	stopped bool
	cause   error // returned when the lease is handed back
	local   map[batch.Ordinal]batch.Outcome
	from    int             // every item before it is settled
	short   money.Dimension // what refused the last start
	worked  bool            // some call was started in this lease
}

// topping is a TopUp under way.
type topping struct {
	item int
	need money.Amount
}

// New returns a machine that has heard its bell.
func New(cfg Config) *Machine { return &Machine{cfg: cfg} }

// Next decides what is to be done at now.
func (m *Machine) Next(now time.Time) Orders {
	switch m.stage {
	case rung:
		m.out.Read, m.stage = &m.cfg.Bell, reading
	case doubting:
		m.doubt(now)
	case working:
		m.step(now)
	case losing:
		if m.inAir == 0 && !m.writing {
			m.tell(now)
		}
	}
	o := m.out
	m.out = Orders{}
	return o
}

// Ref is the lease; before it is claimed, the one that is to be.
func (m *Machine) Ref() batch.LeaseRef { return m.ref }

// Stop says that the run must start no more calls.
func (m *Machine) Stop() { m.stopped = true }

func (m *Machine) end(err error) {
	if m.held {
		m.cfg.Held.LetGo(m.ref)
		m.held = false
	}
	m.stage, m.out.Over, m.out.Err = over, true, err
}

// RowRead takes the shard's row.
func (m *Machine) RowRead(row store.Shard, err error) {
	switch {
	case err == nil:
	case batch.KindOf(err) == batch.NotFound:
		m.end(nil) // sealed away: the bell is stale
		return
	case m.unsure != nil:
		m.stage = doubting
		return
	default:
		m.end(err)
		return
	}
	if m.unsure != nil {
		m.resolve(row)
		return
	}
	if row.State != batch.ShardOpen || row.Ref.Epoch != m.cfg.Bell.Epoch {
		m.end(nil) // the bell is stale
		return
	}
	// Held from here on, a bell heard twice does nothing: not while the claim is
	// under way, and not with a row that was read before the lease had ended.
	m.ref = row.Ref
	m.ref.Epoch++
	if m.held = m.cfg.Held.Hold(m.ref); !m.held {
		m.end(nil)
		return
	}
	m.row, m.stage = row, preparing
	m.out.Prepare = &Span{First: row.First, N: row.Book.N}
}

// Prepared takes the shard's items, verified against the manifest.
func (m *Machine) Prepared(works []Work, err error) {
	if err == nil {
		err = m.take(works)
		if err != nil {
			m.fail(err.Error())
			m.end(nil)
			return
		}
	}
	switch {
	case errors.Is(err, batch.ErrInputChanged):
		m.fail(err.Error())
		m.end(nil)
	case err != nil:
		m.end(fmt.Errorf("prepare shard %d of %s: %w", m.row.Ref.Shard, m.row.Ref.Run, err))
	default:
		m.stage = claiming
		m.out.Claim = &store.Claim{Ref: m.row.Ref, Worker: m.cfg.Worker, Costs: m.costs}
	}
}

// take keeps the items and what a call of each can cost.
func (m *Machine) take(works []Work) error {
	m.items, m.costs = make([]item, len(works)), make([]money.Amount, len(works))
	for i := range works {
		m.items[i].Work = works[i]
		if works[i].Bad != "" || m.copies(&m.items[i]) {
			continue // never called: it holds no money that another could use
		}
		c, err := m.worst(works[i].Call)
		if err != nil {
			return fmt.Errorf("the worst case of item %s: %w", works[i].ID, err)
		}
		m.costs[i], m.items[i].worst = c, c
	}
	return nil
}

// Claimed takes the reply of the claim. After an error nobody knows whether the
// lease is held: the row is read until it says so, since a lease that nobody
// works would be kept by this worker's heart for ever.
func (m *Machine) Claimed(lease store.Shard, status store.ClaimStatus, err error) {
	switch {
	case err != nil:
		m.unsure, m.stage = err, doubting
	case status != store.Claimed:
		m.end(nil)
	default:
		m.begin(lease)
	}
}

// doubt waits a little longer each time before the row is read again.
func (m *Machine) doubt(now time.Time) {
	switch {
	case m.readAt.IsZero():
		m.wait = min(max(2*m.wait, 50*time.Millisecond), 2*time.Second)
		m.readAt = now.Add(m.wait)
		m.out.Wake = m.readAt
	case m.readAt.After(now):
		m.out.Wake = m.readAt
	default:
		m.readAt = time.Time{}
		m.out.Read, m.stage = &m.cfg.Bell, reading
	}
}

// resolve decides a claim whose reply was lost. One that was not kept is made
// again by the bell.
func (m *Machine) resolve(row store.Shard) {
	if row.State == batch.ShardLeased && row.Owner == m.cfg.Worker && row.Ref.Epoch == m.ref.Epoch {
		m.begin(row)
		return
	}
	m.end(m.unsure)
}

// begin takes the lease into memory.
func (m *Machine) begin(lease store.Shard) {
	m.book, m.seq = lease.Book, lease.Seq
	m.durable = lease.Book.Started
	if m.cfg.Policy.ItemBudgets && m.book.ItemTokens == nil {
		m.book.ItemTokens = make([]int64, m.book.N)
	}
	for i := range m.items {
		if m.book.Done.Get(i) {
			m.items[i].phase = settled
		}
	}
	m.stage = working
	if m.cfg.Policy.Cache {
		m.reuse()
	}
}

// step starts what can start, writes what is due, and says how long nothing
// needs to happen; or that the lease is over.
func (m *Machine) step(now time.Time) {
	next, waiting, copies := time.Time{}, false, false
	if !m.stopped && m.sent == nil && m.topping == nil && m.asking == nil {
		next, waiting, copies = m.choose(now)
	}
	if m.due(now) {
		m.submit()
	}
	idle := m.sent == nil && m.inAir == 0 && m.oldest.IsZero() && len(m.toStart) == 0 && m.topping == nil && m.asking == nil
	switch {
	case idle && (m.stopped || m.book.Pending() == 0):
		m.release(0, money.DimNone)
		return
	case idle && m.short != money.DimNone && (!waiting || copies):
		// Nothing in the air can free more for this lease, and what copies wait
		// for may need what it holds. Handed back, its surplus serves a new
		// claim; if it never started a call, it is stuck.
		if m.worked {
			m.release(0, money.DimNone)
		} else {
			m.release(0, m.short)
		}
		return
	case idle && waiting && next.Sub(now) > longWait:
		m.release(next.UnixMicro(), money.DimNone)
		return
	case idle && waiting && m.onlyCopies():
		m.release(0, dimLeader)
		return
	}
	if waiting {
		m.out.Wake = next
	}
	if !m.oldest.IsZero() && m.sent == nil {
		if due := m.oldest.Add(groupAge); m.out.Wake.IsZero() || due.Before(m.out.Wake) {
			m.out.Wake = due
		}
	}
}

func (m *Machine) release(notBefore int64, stuck money.Dimension) {
	m.stage = releasing
	m.out.Release = &Release{NotBefore: notBefore, Stuck: stuck}
}

// Released takes the reply of the release; an error is one that repeating it
// did not mend. A lease that was taken over meanwhile had nothing on the wire.
func (m *Machine) Released(err error) {
	if err == nil || errors.Is(err, batch.ErrFenced) {
		err = m.cause
	}
	m.end(err)
}

// fail ends the run as failed.
func (m *Machine) fail(reason string) {
	m.stopped = true
	if m.out.End == "" {
		m.out.End = reason
	}
}

// pause sets the run aside for a person.
func (m *Machine) pause(reason string) {
	m.stopped = true
	if m.out.Pause == "" {
		m.out.Pause = reason
	}
}
