package storetest

import (
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// check holds every level against the model, its limit, and the bill.
func (s *siege) check() {
	k := s.k
	rows, err := k.st.Rows(k.ctx)
	k.ok(err)
	for _, l := range rows {
		key := l.Name + " " + l.Label
		if l.Job != "" {
			key += " " + l.Job
		}
		p := s.rows[key]
		if p == nil {
			p = &purse{limit: l.Limit} // made for a claim that did not fit
		}
		s.judge(key, p, l.Level, l.Excess)
		same(k, key+": held by leases", l.Held, l.Reserved)
		same(k, key+": settled by runs", l.Settled, l.Spent)
		same(k, key+": at risk by runs", l.Risked, l.AtRisk)
	}
	for _, c := range s.runs {
		if s.touched != nil && s.touched != c {
			continue
		}
		var live money.Amount // spent in leases: for a reader no longer reserved
		for _, r := range c.leases {
			live = live.Plus(r.Book.Spent)
		}
		b := k.run(c.id).Budget
		b.Spent, b.Reserved = b.Spent.Minus(live), b.Reserved.Plus(live)
		s.judge(s.own(c), s.row(s.own(c)), b, s.row(s.own(c)).excess)
	}
}

func (s *siege) judge(key string, p *purse, l batch.Level, excess money.Amount) {
	k := s.k
	same(k, key+": spent", l.Spent, p.spent)
	same(k, key+": reserved", l.Reserved, p.held)
	same(k, key+": at risk", l.AtRisk, p.risk)
	same(k, key+": limit", l.Limit, p.limit)
	c := l.Committed()
	if l.Limit.Tokens >= 0 && c.Tokens > l.Limit.Tokens+min(excess.Tokens, p.excess.Tokens) {
		k.t.Fatalf("%s: %d tokens committed, the limit is %d (%d above it when it was lowered)", key, c.Tokens, l.Limit.Tokens, p.excess.Tokens)
	}
	if l.Limit.Pico >= 0 && int64(c.Pico) > l.Limit.Pico+int64(min(excess.Pico, p.excess.Pico)) {
		k.t.Fatalf("%s: %d pico-USD committed, the limit is %d (%d above it when it was lowered)", key, c.Pico, l.Limit.Pico, p.excess.Pico)
	}
	if !p.bill.Within(c) {
		k.t.Fatalf("%s: the provider billed %+v, the ledger has %+v", key, p.bill, c)
	}
}

// comeToEnd lets everything that is in the air end and works what can be
// worked: every run must end, done or stopped, without a hand from outside.
func (s *siege) comeToEnd() {
	k := s.k
	one := money.Amount{Tokens: 7, Pico: 7}
	for _, c := range s.runs {
		for no := range batch.ShardNo(siegeShards) {
			if r := c.leases[no]; r != nil {
				s.landAll(r)
				s.letGo(c, r, money.DimNone)
			}
		}
	}
	for range 40 {
		k.ok(ignored(k.st.Reap(k.ctx, "alive", second, s.ids())))
		busy := false
		for _, c := range s.runs {
			busy = s.work(c, one) || busy
		}
		if !busy {
			break
		}
	}
	for _, c := range s.runs {
		r := k.run(c.id)
		if r.Target != batch.RunStoppedBudget && r.Closed < r.Shards() {
			open, err := k.st.Open(k.ctx, c.id)
			k.ok(err)
			k.t.Fatalf("%s hangs: state %s, target %q, %d of %d shards done, %+v", c.id, r.State, r.Target, r.Closed, r.Shards(), open)
		}
	}
}

func ignored(_ int, err error) error { return err }

// work claims and works what a run has open.
func (s *siege) work(c *camp, one money.Amount) (busy bool) {
	k := s.k
	open, err := k.st.Open(k.ctx, c.id)
	k.ok(err)
	for _, row := range open {
		if row.State != batch.ShardOpen || k.run(c.id).Target != "" {
			continue
		}
		keys := s.keys(c)
		got, status, _, err := k.st.Claim(k.ctx, store.Claim{Ref: row.Ref, Worker: "alive", Costs: slices.Repeat([]money.Amount{one}, siegeItems)})
		k.ok(err)
		if status != store.Claimed {
			continue
		}
		busy = true
		r := &raid{lease: &lease{k: k, Shard: got}, keys: keys, worst: map[int]money.Amount{}, truth: map[int]money.Amount{}}
		s.each(keys, func(p *purse) { p.held = p.held.Plus(got.Book.Reserved) })
		for i := range siegeItems {
			if !r.Book.Done.Get(i) && r.Book.Start(i, one) == nil {
				r.worst[i], r.truth[i] = one, money.Amount{Tokens: 6, Pico: 5}
				s.each(keys, func(p *purse) { p.bill = p.bill.Plus(r.truth[i]) })
			}
		}
		k.ok(r.write(r.delta(true, "")))
		s.landAll(r)
		c.leases[row.Ref.Shard] = r
		s.letGo(c, r, money.DimNone)
	}
	return busy
}

func (s *siege) landAll(r *raid) {
	for len(r.worst) > 0 {
		i := first(r.worst)
		r.Book.Finish(i, batch.End{Worst: r.worst[i], Charge: r.truth[i], State: batch.ItemOK})
		delete(r.worst, i)
		s.k.ok(r.write(r.delta(false, outcomes(r.First, i))))
	}
}
