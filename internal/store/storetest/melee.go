package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

const (
	meleeWorkers = 6
	meleeRuns    = 4
	meleeShards  = 12
	meleeItems   = 3
	meleeSteps   = 150 // of each worker
)

// witness is the provider's own bill, by day and job, and by month.
type witness struct {
	mu   sync.Mutex
	bill map[string]money.Amount
}

func (w *witness) add(keys []string, x money.Amount) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range keys {
		w.bill[k] = w.bill[k].Plus(x)
	}
}

func (w *witness) copy() map[string]money.Amount {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(map[string]money.Amount, len(w.bill))
	for k, v := range w.bill {
		c[k] = v
	}
	return c
}

// melee is several workers, a controller who raises and lowers, a clock that
// crosses days, and a judge who reads all the while.
type melee struct {
	k      *kit
	zone   *time.Location
	seen   witness
	claims atomic.Int64
	calls  atomic.Int64
	looks  atomic.Int64
}

// Melee works four runs under nested budgets from six goroutines while limits
// are raised and lowered, days pass and workers are taken over. No level may
// be above its limit by one token or one pico-USD in any state that a reader
// can see, and no bill above what the level has spent, holds and has at risk.
func Melee(t *testing.T, open Open) {
	k := newKit(t, open)
	zone, err := time.LoadLocation(siegeZone)
	k.ok(err)
	m := &melee{k: k, zone: zone, seen: witness{bill: map[string]money.Amount{}}}
	k.ok(k.st.SetBudgets(k.ctx, m.budgets(4000, 30_000), nil))
	for i := range meleeRuns {
		r := fresh(fmt.Sprintf("r_%d", i), meleeShards*meleeItems, meleeItems, meleeShards, money.Limit{Tokens: 20_000, Pico: -1, Retries: -1})
		r.Job, r.Draws = []string{"a", "b"}[i%2], []string{"job", "team"}
		k.start(r)
	}
	stop := make(chan struct{})
	var judges, workers sync.WaitGroup
	judges.Go(func() { m.judge(t, stop) })
	for i := range meleeWorkers {
		workers.Go(func() { m.fight(t, i) })
	}
	workers.Go(func() { m.control(t) })
	workers.Wait()
	close(stop)
	judges.Wait()
	m.look(t)
	if m.claims.Load() < 100 || m.calls.Load() < 100 {
		t.Fatalf("only %d claims and %d calls: nothing was proved", m.claims.Load(), m.calls.Load())
	}
	t.Logf("%d claims, %d calls, judged %d times, overshoot 0", m.claims.Load(), m.calls.Load(), m.looks.Load())
}

func (m *melee) budgets(job, team int64) []batch.Budget {
	return []batch.Budget{
		{Name: "job", PerJob: true, Period: batch.PeriodDay, Zone: siegeZone, Limit: money.Limit{Tokens: job, Pico: job, Retries: -1}},
		{Name: "team", Period: batch.PeriodMonth, Zone: siegeZone, Limit: money.Limit{Tokens: team, Pico: -1, Retries: -1}},
	}
}

func (m *melee) keys(job string) [2]string {
	now := m.k.clock.now().In(m.zone)
	return [2]string{"job " + now.Format("2006-01-02") + " " + job, "team " + now.Format("2006-01")}
}

// control raises and lowers, lets days pass, kills workers and resumes runs.
func (m *melee) control(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	limits := [][2]int64{{4000, 30_000}, {200, 30_000}, {9000, 9000}, {-1, 60_000}, {0, 60_000}, {5000, -1}}
	var failed error
	for i := range meleeSteps {
		l := limits[r.IntN(len(limits))]
		err := m.k.st.SetBudgets(m.k.ctx, m.budgets(l[0], l[1]), nil)
		m.k.clock.pass(time.Duration(r.IntN(5)) * time.Hour)
		if i%10 == 9 {
			_, reaped := m.k.st.Reap(m.k.ctx, "reaper", 0, nil)
			err = errors.Join(err, reaped)
		}
		id := batch.RunID(fmt.Sprintf("r_%d", r.IntN(meleeRuns)))
		err = errors.Join(err, m.k.st.Transition(m.k.ctx, id, []batch.RunState{batch.RunRunning}, batch.RunRunning, ""))
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		t.Error(failed)
	}
}

func (m *melee) fight(t *testing.T, who int) {
	r := rand.New(rand.NewPCG(uint64(who), 3))
	for range meleeSteps {
		if err := m.shard(r, batch.WorkerID(fmt.Sprintf("w%d", who))); err != nil && !errors.Is(err, batch.ErrFenced) {
			t.Error(err)
			return
		}
	}
}

func anAmount(r *rand.Rand, most int64) money.Amount {
	return money.Amount{Tokens: r.Int64N(most + 1), Pico: money.PicoUSD(r.Int64N(most + 1))}
}

// shard claims one and works what it can of it.
func (m *melee) shard(r *rand.Rand, who batch.WorkerID) error {
	n := r.IntN(meleeRuns)
	id, job := batch.RunID(fmt.Sprintf("r_%d", n)), []string{"a", "b"}[n%2]
	s, err := m.k.st.Shard(m.k.ctx, id, batch.ShardNo(r.IntN(meleeShards)))
	if err != nil {
		return err
	}
	var costs []money.Amount
	for range meleeItems {
		costs = append(costs, anAmount(r, 300))
	}
	before := m.keys(job)
	lease, status, _, err := m.k.st.Claim(m.k.ctx, store.Claim{Ref: s.Ref, Worker: who, Costs: costs})
	if err != nil || status != store.Claimed {
		return err
	}
	m.claims.Add(1)
	if before != m.keys(job) { // a day began meanwhile: whose it is cannot be told from here
		return m.k.st.Release(m.k.ctx, lease.Ref, 0, money.DimNone)
	}
	return m.work(r, lease, before[:])
}

// work starts calls, is billed for them, and commits what they cost. The bill
// is the provider's: it is written before the store hears of it.
func (m *melee) work(r *rand.Rand, lease store.Shard, keys []string) error {
	b, seq := lease.Book, lease.Seq
	write := func(starts bool, chunk []byte) error {
		errs, err := m.k.st.Advance(m.k.ctx, []store.Delta{{Ref: lease.Ref, Seq: seq, Book: copyBook(b), Starts: starts, Chunk: chunk}})
		if err == nil {
			err = errs[0]
		}
		return err
	}
	for i := range meleeItems {
		if b.Done.Get(i) {
			continue
		}
		worst := anAmount(r, 300)
		if b.Start(i, worst) != nil {
			hit, err := m.k.st.TopUp(m.k.ctx, lease.Ref, worst)
			if err != nil {
				return err
			}
			if hit != money.DimNone {
				break
			}
			b.Reserved = b.Reserved.Plus(worst)
			if err := b.Start(i, worst); err != nil {
				return err
			}
		}
		if err := write(true, nil); err != nil {
			return err // nothing was sent
		}
		m.calls.Add(1)
		truth := money.Amount{Tokens: r.Int64N(worst.Tokens + 1), Pico: worst.Pico}
		m.seen.add(keys, truth)
		if r.IntN(12) == 0 {
			return nil // its worker is gone: a take-over will find it
		}
		b.Finish(i, batch.End{Worst: worst, Charge: truth, State: []batch.ItemState{batch.ItemOK, batch.ItemPending}[r.IntN(2)]})
		if err := write(false, []byte(outcomes(lease.First, i))); err != nil {
			if errors.Is(err, batch.ErrFenced) {
				return m.late(lease, i, worst, truth)
			}
			return err
		}
		seq++
	}
	return m.k.st.Release(m.k.ctx, lease.Ref, 0, []money.Dimension{money.DimNone, money.DimTokens}[r.IntN(2)])
}

func (m *melee) late(lease store.Shard, i int, worst, truth money.Amount) error {
	_, err := m.k.st.Late(m.k.ctx, store.Late{Ref: lease.Ref, Index: i, Worst: worst, Charge: truth, State: batch.ItemPending,
		Outcome: &store.Delta{Late: []byte("L")}})
	return err
}

func (m *melee) judge(t *testing.T, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			m.look(t)
		}
	}
}

// look reads the bill first and the ledger after: what was billed then is
// spent, held or at risk ever after.
func (m *melee) look(t *testing.T) {
	bill := m.seen.copy()
	rows, err := m.k.st.Rows(m.k.ctx)
	if err != nil {
		t.Error(err)
		return
	}
	m.looks.Add(1)
	for _, l := range rows {
		key := l.Name + " " + l.Label
		if l.Job != "" {
			key += " " + l.Job
		}
		c := l.Committed()
		switch {
		case l.Limit.Tokens >= 0 && c.Tokens > l.Limit.Tokens+l.Excess.Tokens, l.Limit.Pico >= 0 && int64(c.Pico) > l.Limit.Pico+int64(l.Excess.Pico):
			t.Errorf("%s: %+v committed, the limit is %+v, passed by %+v when it was lowered", key, c, l.Limit, l.Excess)
		case !bill[key].Within(c):
			t.Errorf("%s: the provider billed %+v, the ledger has %+v", key, bill[key], c)
		case l.Held != l.Reserved || l.Settled != l.Spent || l.Risked != l.AtRisk:
			t.Errorf("%s: leases hold %+v of %+v reserved, runs left %+v of %+v spent and %+v of %+v at risk",
				key, l.Held, l.Reserved, l.Settled, l.Spent, l.Risked, l.AtRisk)
		}
	}
}
