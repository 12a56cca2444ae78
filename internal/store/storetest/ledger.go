package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// The ledger as it must be: a page of plain Go beside the database.
type model struct {
	k      *kit
	id     batch.RunID
	limit  money.Limit
	spent  money.Amount
	held   money.Amount
	atRisk money.Amount
	shards []*page
	target batch.RunState
	dead   []*holding // lost leases, whose holders still talk
	people int
	steps  int
}

// page is one shard of the model.
type page struct {
	state batch.ShardState
	epoch batch.Epoch
	book  *batch.Book
	now   *holding
}

// holding is a lease as its holder knows it.
type holding struct {
	*lease
	worst map[int]money.Amount // on the wire
	lost  map[int]money.Amount // of those, what a take-over found
	told  map[int]bool
}

const (
	modelShards = 3
	modelItems  = 3
)

var modelRuns atomic.Int64

// ledger drives random histories of several workers against the model.
func ledger(k *kit) {
	for range 3 { // of a hundred each
		rapid.Check(k.t, k.history)
	}
}

func (k *kit) history(t *rapid.T) {
	inner := *k
	inner.t = t
	m := newModel(&inner, t)
	t.Repeat(map[string]func(*rapid.T){
		"":        func(*rapid.T) { m.check() },
		"claim":   m.claim,
		"start":   m.startItems,
		"commit":  m.commit,
		"unsend":  m.unsend,
		"topup":   m.topUp,
		"release": m.release,
		"die":     m.die,
		"late":    m.late,
		"zombie":  m.zombie,
		"limit":   m.setLimit,
		"again":   m.goOn,
	})
}

func newModel(k *kit, t *rapid.T) *model {
	m := &model{k: k, id: batch.RunID(fmt.Sprintf("r_%d", modelRuns.Add(1))), limit: money.Limit{
		Tokens: rapid.Int64Range(50, 900).Draw(t, "tokens"), Pico: rapid.SampledFrom([]int64{-1, 50, 900}).Draw(t, "pico"), Retries: 2}}
	r := fresh(string(m.id), modelShards*modelItems, modelItems, modelShards, m.limit)
	k.reap("reaper") // what an earlier history left
	k.ok(k.st.CreateRun(k.ctx, r))
	for range modelShards {
		m.shards = append(m.shards, &page{book: batch.NewBook(modelItems)})
	}
	return m
}

// draw picks one of the leases that are held, or skips.
func (m *model) draw(t *rapid.T) (*page, *holding) {
	var live []*page
	for _, p := range m.shards {
		if p.now != nil {
			live = append(live, p)
		}
	}
	if len(live) == 0 {
		t.SkipNow()
	}
	p := rapid.SampledFrom(live).Draw(t, "lease")
	return p, p.now
}

func amounts(t *rapid.T, most int64) money.Amount {
	return money.Amount{Tokens: rapid.Int64Range(0, most).Draw(t, "tokens"), Pico: money.PicoUSD(rapid.Int64Range(0, most).Draw(t, "pico"))}
}

func (m *model) level() batch.Level {
	return batch.Level{Limit: m.limit, Spent: m.spent, Reserved: m.held, AtRisk: m.atRisk}
}

func (m *model) claim(t *rapid.T) {
	no := rapid.IntRange(0, modelShards-1).Draw(t, "shard")
	p := m.shards[no]
	epoch := p.epoch - batch.Epoch(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "behind"))
	var cs, pending []money.Amount
	for i := range modelItems {
		c := amounts(t, 120)
		cs = append(cs, c)
		if !p.book.Done.Get(i) {
			pending = append(pending, c)
		}
	}
	m.people++
	worker := batch.WorkerID(fmt.Sprintf("%s-w%d", m.id, m.people))
	got, status, _, err := m.k.st.Claim(m.k.ctx, store.Claim{Ref: batch.LeaseRef{Run: m.id, Shard: batch.ShardNo(no), Epoch: epoch}, Worker: worker, Costs: cs})
	m.k.ok(err)
	if p.state != batch.ShardOpen || epoch != p.epoch || m.target != "" {
		same(m.k, "status", status, store.Stale)
		return
	}
	sum, n, _ := batch.Fit([]batch.Level{m.level()}, pending)
	if n == 0 && len(pending) > 0 {
		same(m.k, "status", status, store.Parked)
		p.state = batch.ShardParked
		m.stuck()
		return
	}
	same(m.k, "status", status, store.Claimed)
	p.epoch++
	p.state, p.book.Reserved = batch.ShardLeased, sum
	m.held = m.held.Plus(sum)
	p.now = &holding{lease: &lease{k: m.k, Shard: got}, worst: map[int]money.Amount{}, lost: map[int]money.Amount{}, told: map[int]bool{}}
}

// stuck ends the run when nothing in flight can free money.
func (m *model) stuck() {
	if m.target == "" && !slices.ContainsFunc(m.shards, func(p *page) bool { return p.state == batch.ShardOpen || p.state == batch.ShardLeased }) &&
		slices.ContainsFunc(m.shards, func(p *page) bool { return p.state == batch.ShardParked }) {
		m.target = batch.RunStoppedBudget
	}
}

func (m *model) unpark(except *page) {
	for _, p := range m.shards {
		if p != except && p.state == batch.ShardParked {
			p.state = batch.ShardOpen
		}
	}
}

func (m *model) startItems(t *rapid.T) {
	p, h := m.draw(t)
	for i := range modelItems {
		worst := amounts(t, 120)
		if h.Book.Done.Get(i) || h.Book.Started.Get(i) {
			continue
		}
		if h.Book.Attempts[i] > 0 {
			worst.Retries = 1
		}
		if h.Book.Start(i, worst) == nil {
			h.worst[i] = worst
		}
	}
	m.k.ok(h.write(h.delta(true, "")))
	p.book = copyBook(h.Book)
}

// wire picks an item on the wire of a lease.
func (h *holding) wire(t *rapid.T) int {
	var is []int
	for i := range h.worst {
		is = append(is, i)
	}
	if len(is) == 0 {
		t.SkipNow()
	}
	slices.Sort(is)
	return rapid.SampledFrom(is).Draw(t, "item")
}

func (m *model) commit(t *rapid.T) {
	p, h := m.draw(t)
	i := h.wire(t)
	w := h.worst[i]
	state := rapid.SampledFrom([]batch.ItemState{batch.ItemOK, batch.ItemFailed, batch.ItemPending}).Draw(t, "state")
	charge := money.Amount{Tokens: rapid.Int64Range(0, w.Tokens).Draw(t, "tokens"), Pico: w.Pico, Retries: w.Retries}
	h.Book.Finish(i, batch.End{Worst: w, Charge: charge, State: state, Usage: money.Usage{Input: charge.Tokens}})
	delete(h.worst, i)
	d := h.delta(false, "A{}")
	if state != batch.ItemPending {
		d.Chunk = []byte(outcomes(h.First, i))
	}
	if rapid.Bool().Draw(t, "reply lost") {
		errs, err := m.k.st.Advance(m.k.ctx, []store.Delta{d})
		m.k.ok(err)
		m.k.ok(errs[0])
	}
	m.k.ok(h.write(d))
	p.book = copyBook(h.Book)
}

func (m *model) unsend(t *rapid.T) {
	p, h := m.draw(t)
	i := h.wire(t)
	h.Book.Unsend(i, h.worst[i])
	delete(h.worst, i)
	m.k.ok(h.write(h.delta(false, "")))
	p.book = copyBook(h.Book)
}

func (m *model) topUp(t *rapid.T) {
	p, h := m.draw(t)
	x := amounts(t, 150)
	x.Retries = rapid.Int64Range(0, 1).Draw(t, "retries")
	_, n, want := batch.Fit([]batch.Level{m.level()}, []money.Amount{x})
	hit, err := m.k.st.TopUp(m.k.ctx, h.Ref, x)
	m.k.ok(err)
	same(m.k, "refused by", hit, want)
	if n == 1 {
		h.Book.Reserved = h.Book.Reserved.Plus(x)
		p.book.Reserved = h.Book.Reserved
		m.held = m.held.Plus(x)
	}
}

func (m *model) release(t *rapid.T) {
	p, h := m.draw(t)
	if len(h.worst) > 0 {
		t.SkipNow()
	}
	stuck := rapid.SampledFrom([]money.Dimension{money.DimNone, money.DimNone, money.DimTokens}).Draw(t, "stuck")
	m.k.ok(m.k.st.Release(m.k.ctx, h.Ref, 0, stuck))
	s := p.book.Settle()
	m.held, m.spent = m.held.Minus(s.Release), m.spent.Plus(s.Spent)
	p.now, p.state = nil, batch.ShardOpen
	switch {
	case p.book.Pending() == 0:
		p.state = batch.ShardDone
	case stuck != money.DimNone:
		p.state = batch.ShardParked
	}
	if m.target != "" {
		return
	}
	if freed := s.Release.Minus(s.Spent); freed.Tokens > 0 || freed.Pico > 0 || p.state == batch.ShardDone {
		m.unpark(p)
	}
	m.stuck()
}

// die loses every lease: their holders do not beat for an hour.
func (m *model) die(*rapid.T) {
	m.k.clock.pass(time.Hour)
	n := 0
	for _, p := range m.shards {
		h := p.now
		if h == nil {
			continue
		}
		n++
		s := p.book.TakeOver()
		m.held, m.spent, m.atRisk = m.held.Minus(s.Release), m.spent.Plus(s.Spent), m.atRisk.Plus(s.AtRisk)
		for _, i := range s.Unknown {
			h.lost[i] = h.worst[i]
		}
		p.epoch++
		p.now, p.state = nil, batch.ShardOpen
		m.dead = append(m.dead, h)
		if freed := s.Release.Minus(s.Spent).Minus(s.AtRisk); m.target == "" && (freed.Tokens > 0 || freed.Pico > 0) {
			m.unpark(p)
		}
	}
	taken, err := m.k.st.Reap(m.k.ctx, "reaper", second, nil)
	m.k.ok(err)
	same(m.k, "taken over", taken, n)
}

func (m *model) zombieOf(t *rapid.T) *holding {
	if len(m.dead) == 0 {
		t.SkipNow()
	}
	return rapid.SampledFrom(m.dead).Draw(t, "zombie")
}

// zombie writes with a lease that was lost: nothing may change.
func (m *model) zombie(t *rapid.T) {
	h := m.zombieOf(t)
	b := batch.NewBook(modelItems)
	b.Close(0, batch.ItemOK)
	d := store.Delta{Ref: h.Ref, Seq: 77, Book: b, Chunk: []byte(outcomes(h.First, 0, 1, 2))}
	m.k.is(h.write(d), batch.ErrFenced)
	m.k.is(m.k.st.Release(m.k.ctx, h.Ref, 0, money.DimNone), batch.ErrFenced)
	_, err := m.k.st.TopUp(m.k.ctx, h.Ref, money.Amount{Retries: 0})
	m.k.is(err, batch.ErrFenced)
}

// late tells the truth about any item of a lost lease, lost or not.
func (m *model) late(t *rapid.T) {
	h := m.zombieOf(t)
	i := rapid.IntRange(0, modelItems-1).Draw(t, "item")
	p := m.shards[h.Ref.Shard]
	worst, unknown := h.lost[i]
	charge := money.Amount{Tokens: worst.Tokens / 2, Pico: worst.Pico / 3, Retries: worst.Retries}
	kept, err := m.k.st.Late(m.k.ctx, store.Late{Ref: h.Ref, Index: i, Worst: worst, Charge: charge, State: batch.ItemOK,
		Outcome: &store.Delta{Chunk: []byte(outcomes(h.First, i)), Late: []byte("L")}})
	m.k.ok(err)
	if !unknown || h.told[i] {
		same(m.k, "kept", kept, false)
		return
	}
	h.told[i] = true
	m.atRisk, m.spent = m.atRisk.Minus(worst), m.spent.Plus(charge)
	free := (p.state == batch.ShardOpen || p.state == batch.ShardParked) && !p.book.Done.Get(i)
	same(m.k, "kept", kept, free)
	if free {
		p.book.Close(i, batch.ItemOK)
		p.state = batch.ShardOpen
	}
	if freed := worst.Minus(charge); m.target == "" && (freed.Tokens > 0 || freed.Pico > 0) {
		m.unpark(nil)
	}
}

func (m *model) setLimit(t *rapid.T) {
	now := m.level().Committed() // lower than that only stops starts, and check could not judge it
	l := money.Limit{Tokens: now.Tokens + rapid.Int64Range(0, 400).Draw(t, "more"), Pico: -1, Retries: now.Retries + rapid.Int64Range(0, 7).Draw(t, "retries")}
	m.k.ok(m.k.st.SetLimit(m.k.ctx, m.id, l, 0))
	m.limit = l
	if m.target == "" {
		m.unpark(nil)
	}
}

// goOn takes a stop back as a resumed run does.
func (m *model) goOn(*rapid.T) {
	m.k.ok(m.k.st.Transition(m.k.ctx, m.id, []batch.RunState{batch.RunRunning}, batch.RunRunning, ""))
	m.target = ""
	m.unpark(nil)
}

// check holds the store against the model, and both against the invariants.
func (m *model) check() {
	k := m.k
	r := k.run(m.id)
	open, err := k.st.Open(k.ctx, m.id)
	k.ok(err)
	same(k, "target", r.Target, m.target)
	var held, spent money.Amount
	var okays, fails int64
	for _, s := range open {
		p := m.shards[s.Ref.Shard]
		same(k, "state", s.State, p.state)
		same(k, "epoch", s.Ref.Epoch, p.epoch)
		same(k, "reserved of a lease", s.Book.Reserved, p.book.Reserved)
		same(k, "open of a lease", s.Book.Open, p.book.Open)
		same(k, "spent of a lease", s.Book.Spent, p.book.Spent)
		if string(s.Book.Done) != string(p.book.Done) || string(s.Book.Started) != string(p.book.Started) ||
			string(s.Book.Attempts) != string(p.book.Attempts) || string(s.Book.Lost) != string(p.book.Lost) {
			k.t.Fatalf("book is %+v, want %+v", s.Book, p.book)
		}
		if !s.Book.Open.Plus(s.Book.Spent).Within(s.Book.Reserved) {
			k.t.Fatalf("overdrawn: %+v", s.Book)
		}
		held, spent = held.Plus(s.Book.Reserved), spent.Plus(s.Book.Spent)
	}
	for _, p := range m.shards {
		okays, fails = okays+p.book.OK, fails+p.book.Failed
	}
	same(k, "ok", r.Counts.OK, okays)
	same(k, "failed", r.Counts.Failed, fails)
	same(k, "spent", r.Budget.Spent.Minus(spent), m.spent)
	same(k, "reserved", r.Budget.Reserved.Plus(spent), m.held)
	same(k, "leases hold what the budget holds", held, m.held)
	same(k, "at risk", r.Budget.AtRisk, m.atRisk)
	if d := m.limit.Exceeded(money.Amount{}, r.Budget.Committed()); d != money.DimNone {
		k.t.Fatalf("committed %+v passes the %s limit %+v", r.Budget.Committed(), d, m.limit)
	}
	if m.steps++; m.steps%4 != 0 {
		return
	}
	per, _ := k.committed(m.id)
	for o := range batch.Ordinal(modelShards * modelItems) {
		want := 0
		if m.shards[o/modelItems].book.Done.Get(int(o % modelItems)) {
			want = 1
		}
		same(k, "outcomes of an item", per[o], want)
	}
}
