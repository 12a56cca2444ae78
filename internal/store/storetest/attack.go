package storetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// Attack drives random schedules of several runs under nested budgets (run, job
// per day, team per month) against a store, with a page of plain Go as the judge
// of the money and a provider's own bill as the witness. After every
// transaction no level may be above its limit by one token or one pico-USD, and
// no bill above what the level has spent, holds or has at risk. At the end every
// run must come to its end. times histories of -rapid.checks schedules each are
// drawn; wipe empties the store between two.
func Attack(t *testing.T, times int, open Open, wipe func(testing.TB)) {
	k := newKit(t, open)
	drawn := 0
	for range times {
		rapid.Check(t, func(t *rapid.T) {
			inner := *k
			inner.t = t
			inner.clock.set(time.Date(2026, 11, 29, 18, 0, 0, 0, time.UTC))
			wipe(k.t.(testing.TB))
			drawn++
			newSiege(&inner, t).run(t)
		})
	}
	t.Logf("%d schedules, overshoot 0 tokens and 0 pico-USD at every level", drawn)
}

const (
	siegeShards = 2
	siegeItems  = 2
	siegeZone   = "Europe/Berlin"
)

// siege is the world as it must be.
type siege struct {
	k       *kit
	zone    *time.Location
	budgets []batch.Budget
	runs    []*camp
	rows    map[string]*purse
	people  int
	touched *camp // by the last action; nil when it was every run
}

// camp is one run.
type camp struct {
	id     batch.RunID
	job    string
	leases map[batch.ShardNo]*raid
	lost   []*raid
	ended  bool // its stop was judged
}

// purse is one budget row: what the model says it holds, and what providers
// have really billed to it.
type purse struct {
	limit             money.Limit
	spent, held, risk money.Amount
	excess            money.Amount
	bill              money.Amount
}

// raid is a lease with the rows it draws on.
type raid struct {
	*lease
	keys  []string
	worst map[int]money.Amount // on the wire
	truth map[int]money.Amount // what the provider bills for it
	told  map[int]bool
}

func newSiege(k *kit, t *rapid.T) *siege {
	zone, err := time.LoadLocation(siegeZone)
	k.ok(err)
	s := &siege{k: k, zone: zone, rows: map[string]*purse{}}
	limit := func(name string, most int64) money.Limit {
		return money.Limit{Tokens: rapid.Int64Range(0, most).Draw(t, name), Pico: rapid.SampledFrom([]int64{-1, most / 3, most}).Draw(t, name+" usd"), Retries: -1}
	}
	s.budgets = []batch.Budget{
		{Name: "job", PerJob: true, Period: batch.PeriodDay, Zone: siegeZone, Limit: limit("job", 900)},
		{Name: "team", Period: batch.PeriodMonth, Zone: siegeZone, Limit: limit("team", 1500)},
	}
	k.ok(k.st.SetBudgets(k.ctx, s.budgets, nil))
	for i, job := range []string{"a", "a", "b"} {
		r := fresh(fmt.Sprintf("r_%d", i), siegeShards*siegeItems, siegeItems, siegeShards, limit("run", 900))
		r.Job, r.Draws = job, []string{"job", "team"}
		k.ok(k.st.CreateRun(k.ctx, r))
		s.runs = append(s.runs, &camp{id: r.ID, job: job, leases: map[batch.ShardNo]*raid{}})
		s.rows[s.own(s.runs[i])] = &purse{limit: r.Budget.Limit}
	}
	return s
}

func (s *siege) run(t *rapid.T) {
	t.Repeat(map[string]func(*rapid.T){
		"":          func(*rapid.T) { s.check() },
		"claim":     s.claim,
		"claim too": s.claim,
		"start":     s.start,
		"land":      s.land,
		"land too":  s.land,
		"unsend":    s.unsend,
		"top up":    s.topUp,
		"release":   s.release,
		"crash":     s.crash,
		"truth":     s.truth,
		"limit":     s.setLimits,
		"own limit": s.setOwn,
		"time":      s.pass,
		"go on":     s.goOn,
	})
	s.comeToEnd()
	s.touched = nil
	s.check()
}

// own names the run's own row.
func (s *siege) own(c *camp) string { return "own " + string(c.id) }

// keys are the rows that a claim of the run takes from now: worked out from the
// calendar on the wall, not from the store's periods.
func (s *siege) keys(c *camp) []string {
	now := s.k.clock.now().In(s.zone)
	return []string{s.own(c), "job " + now.Format("2006-01-02") + " " + c.job, "team " + now.Format("2006-01")}
}

// row is the purse of a key, empty when nothing was taken of it yet.
func (s *siege) row(key string) *purse {
	p := s.rows[key]
	if p == nil {
		p = &purse{limit: s.budgets[0].Limit}
		if key[:4] == "team" {
			p.limit = s.budgets[1].Limit
		}
		s.rows[key] = p
	}
	return p
}

// fits is the rule of all rules: spent + reserved + at risk + x <= limit.
func (s *siege) fits(keys []string, x money.Amount) bool {
	for _, key := range keys {
		p := s.row(key)
		c := p.committed()
		if p.limit.Tokens >= 0 && x.Tokens > 0 && c.Tokens+x.Tokens > p.limit.Tokens ||
			p.limit.Pico >= 0 && x.Pico > 0 && int64(c.Pico+x.Pico) > p.limit.Pico {
			return false
		}
	}
	return true
}

func (p *purse) committed() money.Amount { return p.spent.Plus(p.held).Plus(p.risk) }

// each changes every row of some keys.
func (s *siege) each(keys []string, f func(*purse)) {
	for _, key := range keys {
		f(s.row(key))
	}
}

func (s *siege) anyRun(t *rapid.T) *camp {
	s.touched = rapid.SampledFrom(s.runs).Draw(t, "run")
	return s.touched
}

// anyLease draws one of the leases that are held, or skips.
func (s *siege) anyLease(t *rapid.T, which func(*raid) bool) (*camp, *raid) {
	type pick struct {
		c *camp
		r *raid
	}
	var live []pick
	for _, c := range s.runs {
		for no := range batch.ShardNo(siegeShards) {
			if r := c.leases[no]; r != nil && which(r) {
				live = append(live, pick{c, r})
			}
		}
	}
	if len(live) == 0 {
		t.SkipNow()
	}
	p := live[rapid.IntRange(0, len(live)-1).Draw(t, "lease")]
	s.touched = p.c
	return p.c, p.r
}

func (s *siege) claim(t *rapid.T) {
	c, no := s.anyRun(t), batch.ShardNo(rapid.IntRange(0, siegeShards-1).Draw(t, "shard"))
	row := s.k.shard(c.id, no)
	costs := []money.Amount{amounts(t, 300), amounts(t, 300)}
	s.people++
	got, status, _, err := s.k.st.Claim(s.k.ctx, store.Claim{Ref: row.Ref, Worker: batch.WorkerID(fmt.Sprintf("w%d", s.people)), Costs: costs})
	s.k.ok(err)
	if status == store.Stale {
		return
	}
	keys := s.keys(c)
	var sum money.Amount
	n, pending := 0, 0
	for i, x := range costs {
		if row.Book.Done.Get(i) {
			continue
		}
		pending++
		if n == pending-1 && s.fits(keys, sum.Plus(x)) {
			sum, n = sum.Plus(x), n+1
		}
	}
	if n == 0 && pending > 0 {
		same(s.k, "status", status, store.Parked)
		s.judgeStop(c)
		return
	}
	same(s.k, "status", status, store.Claimed)
	same(s.k, "reserved", got.Book.Reserved, sum)
	s.each(keys, func(p *purse) { p.held = p.held.Plus(sum) })
	c.leases[no] = &raid{lease: &lease{k: s.k, Shard: got}, keys: keys, worst: map[int]money.Amount{}, truth: map[int]money.Amount{}, told: map[int]bool{}}
}

// judgeStop judges a run that was just stopped: nothing may be in flight that
// could free money for it.
func (s *siege) judgeStop(c *camp) {
	was := c.ended
	if c.ended = s.k.run(c.id).Target == batch.RunStoppedBudget; was || !c.ended {
		return
	}
	if len(c.leases) > 0 {
		s.k.t.Fatalf("%s was stopped while it holds leases", c.id)
	}
	for _, key := range s.keys(c) {
		if h := s.row(key).held; h.Tokens > 0 || h.Pico > 0 {
			s.k.t.Fatalf("%s was stopped while a lease holds %+v of %s", c.id, h, key)
		}
	}
}

func (s *siege) start(t *rapid.T) {
	_, r := s.anyLease(t, func(*raid) bool { return true })
	for i := range siegeItems {
		if r.Book.Done.Get(i) || r.Book.Started.Get(i) {
			continue
		}
		worst := amounts(t, 300)
		if r.Book.Start(i, worst) != nil {
			continue
		}
		// The provider will bill up to the worst case, whoever hears of it.
		r.worst[i] = worst
		r.truth[i] = money.Amount{Tokens: rapid.Int64Range(0, worst.Tokens).Draw(t, "billed"), Pico: worst.Pico}
		s.each(r.keys, func(p *purse) { p.bill = p.bill.Plus(r.truth[i]) })
	}
	s.k.ok(r.write(r.delta(true, "")))
}

func flying(r *raid) bool { return len(r.worst) > 0 }

// land commits what a call on the wire cost.
func (s *siege) land(t *rapid.T) {
	_, r := s.anyLease(t, flying)
	i := first(r.worst)
	end := batch.End{Worst: r.worst[i], Charge: r.truth[i], State: rapid.SampledFrom([]batch.ItemState{batch.ItemOK, batch.ItemPending}).Draw(t, "state")}
	if rapid.IntRange(0, 4).Draw(t, "unknown") == 0 {
		end.Charge, end.Lost = r.worst[i], true // nobody knows: its worst case
	}
	r.Book.Finish(i, end)
	delete(r.worst, i)
	s.k.ok(r.write(r.delta(false, outcomes(r.First, i))))
}

func first(m map[int]money.Amount) int { return slices.Min(slices.Collect(maps.Keys(m))) }

// unsend takes a call back that surely never left: it is not billed.
func (s *siege) unsend(t *rapid.T) {
	_, r := s.anyLease(t, flying)
	i := first(r.worst)
	r.Book.Unsend(i, r.worst[i])
	s.each(r.keys, func(p *purse) { p.bill = p.bill.Minus(r.truth[i]) })
	delete(r.worst, i)
	s.k.ok(r.write(r.delta(false, "")))
}

func (s *siege) topUp(t *rapid.T) {
	_, r := s.anyLease(t, func(*raid) bool { return true })
	x := amounts(t, 200)
	fit := s.fits(r.keys, x)
	hit, err := s.k.st.TopUp(s.k.ctx, r.Ref, x)
	s.k.ok(err)
	same(s.k, "top-up fits", hit == money.DimNone, fit)
	if fit {
		r.Book.Reserved = r.Book.Reserved.Plus(x)
		s.each(r.keys, func(p *purse) { p.held = p.held.Plus(x) })
	}
}

func (s *siege) release(t *rapid.T) {
	c, r := s.anyLease(t, func(r *raid) bool { return !flying(r) })
	stuck := rapid.SampledFrom([]money.Dimension{money.DimNone, money.DimNone, money.DimTokens}).Draw(t, "stuck")
	s.letGo(c, r, stuck)
}

func (s *siege) letGo(c *camp, r *raid, stuck money.Dimension) {
	s.k.ok(s.k.st.Release(s.k.ctx, r.Ref, 0, stuck))
	end := r.Book.Settle()
	s.each(r.keys, func(p *purse) { p.held, p.spent = p.held.Minus(end.Release), p.spent.Plus(end.Spent) })
	delete(c.leases, r.Ref.Shard)
	for _, c := range s.runs {
		if len(c.leases) == 0 {
			s.judgeStop(c)
		}
	}
}

// crash loses the leases of every worker at once.
func (s *siege) crash(*rapid.T) {
	s.touched = nil
	want := 0
	for _, c := range s.runs {
		for _, no := range slices.Sorted(maps.Keys(c.leases)) {
			r := c.leases[no]
			want++
			end := r.Book.TakeOver()
			s.each(r.keys, func(p *purse) {
				p.held, p.spent, p.risk = p.held.Minus(end.Release), p.spent.Plus(end.Spent), p.risk.Plus(end.AtRisk)
			})
			c.lost = append(c.lost, r)
			delete(c.leases, no)
		}
	}
	same(s.k, "taken over", s.k.reap("reaper", s.ids()...), want)
}

func (s *siege) ids() []batch.RunID {
	var ids []batch.RunID
	for _, c := range s.runs {
		ids = append(ids, c.id)
	}
	return ids
}

// truth is told of a call whose lease was lost, perhaps days ago, perhaps twice.
func (s *siege) truth(t *rapid.T) {
	c := s.anyRun(t)
	if len(c.lost) == 0 {
		t.SkipNow()
	}
	r := rapid.SampledFrom(c.lost).Draw(t, "zombie")
	i := rapid.IntRange(0, siegeItems-1).Draw(t, "item")
	worst, charge := r.worst[i], r.truth[i]
	_, err := s.k.st.Late(s.k.ctx, store.Late{Ref: r.Ref, Index: i, Worst: worst, Charge: charge, State: batch.ItemOK,
		Outcome: &store.Delta{Chunk: []byte(outcomes(r.First, i)), Late: []byte("L")}})
	s.k.ok(err)
	if _, lost := r.worst[i]; lost && !r.told[i] {
		r.told[i] = true
		s.each(r.keys, func(p *purse) { p.risk, p.spent = p.risk.Minus(worst), p.spent.Plus(charge) })
	}
}

// setLimits raises and lowers what runs share, at any moment and below what is
// spent.
func (s *siege) setLimits(t *rapid.T) {
	for i := range s.budgets {
		l := money.Limit{Tokens: rapid.SampledFrom([]int64{-1, 0, 100, 500, 2000}).Draw(t, "tokens"),
			Pico: rapid.SampledFrom([]int64{-1, 50, 900}).Draw(t, "usd"), Retries: -1}
		s.budgets[i].Limit = l
		now := s.k.clock.now().In(s.zone)
		for key, p := range s.rows {
			day, month := "job "+now.Format("2006-01-02"), "team "+now.Format("2006-01")
			here := i == 0 && key[:3] == "job" && (key[:len(day)] == day || !p.held.IsZero()) || i == 1 && key[:4] == "team" && (key == month || !p.held.IsZero())
			if here {
				p.lower(l)
			}
		}
	}
	s.k.ok(s.k.st.SetBudgets(s.k.ctx, s.budgets, nil))
}

// lower sets a limit and notes by how much it is passed already.
func (p *purse) lower(l money.Limit) {
	p.limit, p.excess = l, money.Amount{}
	if c := p.committed(); l.Tokens >= 0 {
		p.excess.Tokens = max(0, c.Tokens-l.Tokens)
	}
	if c := p.committed(); l.Pico >= 0 {
		p.excess.Pico = max(0, c.Pico-money.PicoUSD(l.Pico))
	}
}

func (s *siege) setOwn(t *rapid.T) {
	c := s.anyRun(t)
	l := money.Limit{Tokens: rapid.Int64Range(0, 1500).Draw(t, "tokens"), Pico: -1, Retries: -1}
	s.k.ok(s.k.st.SetLimit(s.k.ctx, c.id, l, 0))
	s.row(s.own(c)).lower(l)
}

func (s *siege) pass(t *rapid.T) {
	s.k.clock.pass(time.Duration(rapid.SampledFrom([]int{1, 9, 23, 24 * 9}).Draw(t, "hours")) * time.Hour)
}

// goOn resumes a run that stopped.
func (s *siege) goOn(t *rapid.T) {
	c := s.anyRun(t)
	s.k.ok(s.k.st.Transition(s.k.ctx, c.id, []batch.RunState{batch.RunRunning}, batch.RunRunning, ""))
	c.ended = false
}
