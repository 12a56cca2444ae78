package lease_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
)

const (
	inputBound, outputBound = 60, 40
	worstTokens             = inputBound + outputBound
)

var card = money.PriceCard{Provider: "fake", Model: "m", In: 1000, Out: 3000}

// job is a run, what the provider says it was paid for it, and what was seen
// committed of it.
type job struct {
	id     batch.RunID
	items  int64
	size   int
	policy lease.Policy
	dupes  bool
	budget int64 // of each item in tokens, -1 none
	limit  money.Limit

	bill    map[string]money.Amount // by attempt
	paid    money.Amount
	ledger  money.Amount // spent, reserved and at risk when last looked at
	seen    map[batch.Ordinal]string
	again   map[batch.Ordinal]bool // made pending again by a person
	stopAt  time.Time              // when a cancel was acknowledged
	ended   bool
	retried int
	breach  bool
}

func check(text string) (json.RawMessage, error) {
	if strings.HasPrefix(text, "bad") {
		return nil, errors.New("does not fit the schema")
	}
	return json.Marshal(text)
}

// leader is whose answer item o copies, -1 none: every fifth item copies the
// first one of its ten.
func (j *job) leader(o int64) int64 {
	if j.dupes && o%5 == 3 && o%10 != 0 {
		return o - o%10
	}
	return -1
}

func (j *job) leads(o int64) bool { return j.dupes && o%10 == 0 && o+3 < j.items }

func (j *job) prepare(first batch.Ordinal, n int) []lease.Work {
	ws := make([]lease.Work, n)
	for k := range ws {
		o := int64(first) + int64(k)
		ws[k] = lease.Work{Ordinal: batch.Ordinal(o), ID: fmt.Sprint("item-", o), Leader: batch.Ordinal(j.leader(o)), Leads: j.leads(o), Budget: j.budget,
			Call: provider.Call{Body: []byte(fmt.Sprint(o)), InputBound: inputBound, OutputBound: outputBound}}
		ws[k].Hash[0], ws[k].Hash[1] = byte(o), byte(o>>8)
	}
	return ws
}

// begin draws what the world is made of.
func (w *world) begin() {
	r := w.rng
	level := func(top float64) float64 {
		if r.IntN(3) == 0 {
			return 0
		}
		return r.Float64() * top
	}
	w.plan = plan{crash: level(0.06), fail: level(0.1), freeze: level(0.06), loseBell: level(0.3), provider: level(0.5),
		alone: r.IntN(3) == 0, operator: r.IntN(2) == 0}
	if w.plan.alone {
		w.plan.freeze = 0 // one process that stands still is only slow
	}
	n := 1 + r.IntN(3)
	shared := n > 1 && r.IntN(2) == 0
	draws := map[batch.RunID][]string{}
	var whole int64
	for k := range n {
		j := &job{id: batch.RunID(fmt.Sprintf("r_%d_%d", w.seed, k)), items: int64(1 + r.IntN(40)), size: 1 + r.IntN(8), dupes: r.IntN(3) == 0, budget: -1,
			limit: money.NoLimit, bill: map[string]money.Amount{}, seen: map[batch.Ordinal]string{}, again: map[batch.Ordinal]bool{},
			policy: lease.Policy{MaxAttempts: 1 + r.IntN(4), Timeout: 10 * time.Second, OnTruncated: []string{"accept", "fail"}[r.IntN(2)]}}
		if r.IntN(6) == 0 {
			j.budget, j.policy.ItemBudgets = worstTokens*int64(1+r.IntN(3)), true
		}
		if r.IntN(2) == 0 { // from far too little to plenty
			j.limit.Tokens = worstTokens * int64(1+r.IntN(int(j.items)*2))
		}
		if r.IntN(4) == 0 {
			worst, _ := card.Worst(inputBound, outputBound)
			j.limit.Pico = int64(worst) * int64(1+r.IntN(int(j.items)*2))
		}
		if r.IntN(5) == 0 {
			j.limit.Retries = int64(r.IntN(10))
		}
		whole += j.items * worstTokens
		if shared {
			draws[j.id] = []string{w.team()}
		}
		w.jobs = append(w.jobs, j)
	}
	for _, j := range w.jobs {
		if err := w.h.db.CreateRun(bg, store.Run{ID: j.id, Job: "j", State: batch.RunQueued, Spec: []byte("{}"), Queue: "high", Items: j.items,
			ShardSize: j.size, Window: int64(2 + r.IntN(4)), ItemTokens: -1, CreatedAt: 1, Budget: batch.Level{Limit: j.limit}}); err != nil {
			w.bad("create run: %v", err)
		}
	}
	if shared {
		l := money.NoLimit
		l.Tokens = max(worstTokens, whole*int64(20+r.IntN(120))/100)
		err := w.h.db.SetBudgets(bg, []batch.Budget{{Name: w.team(), Period: batch.PeriodTotal, Limit: l}}, draws)
		if err != nil {
			w.bad("set budgets: %v", err)
		}
	} else if err := w.h.db.SetBudgets(bg, nil, nil); err != nil {
		w.bad("set budgets: %v", err)
	}
	for _, j := range w.jobs {
		w.after(nil, w.soon(2*time.Second), "go", func() { w.resume(j) })
	}
	procs := 1
	if !w.plan.alone {
		procs += r.IntN(3)
	}
	for range procs {
		w.spawn()
	}
	w.after(nil, time.Second, "look", w.look)
}

func (w *world) team() string { return fmt.Sprint("team-", w.seed) }

// resume sets a run going; every process takes it up anew.
func (w *world) resume(j *job) {
	w.wrote = true
	err := w.h.db.Transition(bg, j.id, []batch.RunState{batch.RunQueued, batch.RunPaused, batch.RunStoppedBudget, batch.RunSucceeded, batch.RunPartial,
		batch.RunFailed}, batch.RunRunning, "")
	w.note("operator: %s goes on: %v", j.id, err)
	if err == nil {
		j.stopAt = time.Time{}
		w.fresh(j)
	}
}

// fresh makes every process know a run as one that was just given to it.
func (w *world) fresh(j *job) {
	for _, p := range w.procs {
		for k, r := range p.runs {
			if r.job == j {
				r.stopped = true
				p.runs[k] = &work{job: j, answers: map[batch.Ordinal]batch.Outcome{}}
			}
		}
	}
}

// look is the person: what is paused goes on, and now and then something is
// changed under way.
func (w *world) look() {
	w.after(nil, time.Second, "look", w.look)
	for _, j := range w.jobs {
		if j.ended {
			continue
		}
		r, err := w.h.db.Run(bg, j.id)
		if err != nil {
			w.bad("read run: %v", err)
			return
		}
		switch {
		case r.State == batch.RunPaused && w.rng.IntN(4) == 0:
			w.resume(j)
		case r.State.Ended():
			w.atEnd(j, r)
		case r.State == batch.RunRunning && w.plan.operator && w.chance(0.08):
			w.meddle(j, r)
		}
	}
}

// atEnd tries failed items again, or more money, before it lets a run be.
func (w *world) atEnd(j *job, r store.Run) {
	switch {
	case r.State == batch.RunStoppedBudget && r.Budget.Limit != money.NoLimit && w.rng.IntN(2) == 0:
		w.setLimit(j, r, money.NoLimit)
		w.resume(j)
	case j.retried < 2 && w.plan.operator && (r.State == batch.RunPartial || r.State == batch.RunFailed) && !j.breach && w.rng.IntN(2) == 0:
		fs, err := w.h.db.Failures(bg, j.id, "", -1, 100)
		if err != nil || len(fs) == 0 {
			j.ended = err == nil
			return
		}
		var os []batch.Ordinal
		for _, f := range fs {
			os = append(os, f.Ordinal)
		}
		w.wrote = true
		if err := w.h.db.Reopen(bg, j.id, os); err != nil {
			w.bad("retry: %v", err)
			return
		}
		w.note("operator: retry %d failed of %s", len(os), j.id)
		j.retried++
		j.policy.Retried = true
		for _, o := range os {
			j.again[o] = true
		}
		w.resume(j)
	default:
		j.ended = true
	}
}

func (w *world) setLimit(j *job, r store.Run, l money.Limit) {
	w.wrote = true
	if err := w.h.db.SetLimit(bg, j.id, l, 0); err != nil {
		w.bad("set limit: %v", err)
	}
	w.note("operator: limit of %s is %d tokens, %d pico-USD, %d retries", j.id, l.Tokens, l.Pico, l.Retries)
	j.limit = l
}

func (w *world) meddle(j *job, r store.Run) {
	switch w.rng.IntN(5) {
	case 0:
		w.wrote = true
		w.note("operator: pause %s", j.id)
		if err := w.h.db.Transition(bg, j.id, []batch.RunState{batch.RunRunning}, batch.RunPaused, "paused"); err != nil {
			w.bad("pause: %v", err)
		}
		j.stopAt = w.now
	case 1:
		w.wrote = true
		w.note("operator: cancel %s", j.id)
		if err := w.h.db.SetTarget(bg, j.id, batch.RunCancelled, "cancelled"); err != nil && batch.KindOf(err) != batch.Conflict {
			w.bad("cancel: %v", err)
		}
		j.stopAt = w.now
	default:
		l := r.Budget.Limit
		if c := r.Budget.Committed(); l.Tokens < 0 || w.rng.IntN(2) == 0 {
			l.Tokens = max(0, c.Tokens-int64(w.rng.IntN(3))*worstTokens) // at or below what is committed
		} else {
			l.Tokens = c.Tokens + int64(w.rng.IntN(10))*worstTokens
		}
		w.setLimit(j, r, l)
	}
}

// serve is the provider: what a call comes to, and what it is billed at. It
// keeps its own bill, by attempt.
func (w *world) serve(j *job, f lease.Flight) (provider.Result, time.Duration) {
	latency := time.Duration(20+w.rng.IntN(400)) * time.Millisecond
	if !j.stopAt.IsZero() && w.now.Sub(j.stopAt) > 2*time.Second {
		w.bad("I15: call %s was made %v after the run was stopped", f.ID, w.now.Sub(j.stopAt))
	}
	if _, twice := j.bill[f.ID]; twice {
		w.bad("one attempt id for two calls: %s", f.ID)
	}
	u := money.Usage{Input: int64(1 + w.rng.IntN(inputBound)), Output: int64(1 + w.rng.IntN(outputBound))}
	res := provider.Result{Class: batch.ClassOK, Status: 200, Sent: provider.Answered, Text: "fine " + string(f.Call.Body), Finish: "stop", Model: "m-1", Usage: u, HasUsage: true}
	refused := func(c batch.Class, status int) provider.Result {
		return provider.Result{Class: c, Status: status, Sent: provider.Answered, Message: "said no"}
	}
	kind := -1
	if w.chance(w.plan.provider) {
		kind = w.rng.IntN(12)
	}
	switch kind {
	case 0:
		res = refused(batch.ClassRateLimited, 429)
		res.RetryAfter = time.Second
	case 1:
		res = refused(batch.ClassTransient, 500)
	case 2: // cut: billed, and nobody knows
		res = provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "cut"}
		w.charge(j, f.ID, u)
		return res, latency
	case 3: // cut, and not billed
		return provider.Result{Class: batch.ClassUnknown, Sent: provider.MaybeRun, Message: "cut"}, 10 * time.Second
	case 4:
		return provider.Result{Class: batch.ClassUnsent, Sent: provider.NotSent, Message: "refused"}, time.Millisecond
	case 5:
		res.Class, res.Text = batch.ClassOK, "bad"
	case 6:
		res.Class, res.Finish = batch.ClassTruncated, "length"
	case 7:
		res.Class, res.Text = batch.ClassRefused, ""
	case 8: // billed without saying how much
		res.HasUsage, res.Usage = false, money.Usage{}
	case 9:
		res = refused(batch.ClassAuth, 401)
		if w.rng.IntN(5) > 0 {
			res = refused(batch.ClassCapacity, 529)
		}
	case 10:
		res = refused(batch.ClassInvalidRequest, 400)
	}
	if res.Status == 200 {
		w.charge(j, f.ID, u)
	}
	return res, latency
}

func (w *world) charge(j *job, id string, u money.Usage) {
	pico, err := card.Cost(u)
	if err != nil {
		w.bad("price: %v", err)
	}
	a := money.Amount{Tokens: u.Total(), Pico: pico}
	j.bill[id] = a
	j.paid = j.paid.Plus(a)
	if j.paid.Tokens > j.ledger.Tokens || j.paid.Pico > j.ledger.Pico {
		w.bad("I4: %s is billed %v, the ledger holds %v", j.id, j.paid, j.ledger)
	}
}

// committed looks at outcomes in the moment they are committed.
func (w *world) committed(ds []store.Delta, errs []error) {
	for i, d := range ds {
		if errs[i] != nil || d.Chunk == nil {
			continue
		}
		g, err := w.h.codec.Decode(d.Chunk)
		if err != nil {
			w.bad("decode: %v", err)
			return
		}
		s, err := w.h.db.Shard(bg, d.Ref.Run, d.Ref.Shard)
		if err != nil || s.Ref.Epoch != d.Ref.Epoch {
			w.bad("I8: a commit of %s, and the row is at %d (%v)", d.Ref, s.Ref.Epoch, err)
		}
		for _, o := range g.Outcomes {
			w.outcome(d.Ref.Run, o)
		}
	}
}

func (w *world) keptLate(l store.Late) {
	g, err := w.h.codec.Decode(l.Outcome.Chunk)
	if err != nil {
		w.bad("decode: %v", err)
		return
	}
	for _, o := range g.Outcomes {
		w.outcome(l.Ref.Run, o)
	}
}

func (w *world) job(id batch.RunID) *job {
	for _, j := range w.jobs {
		if j.id == id {
			return j
		}
	}
	w.bad("no such run: %s", id)
	return w.jobs[0]
}

func outcomeText(o batch.Outcome) string {
	body, _ := json.Marshal(o)
	return string(body)
}

func (w *world) outcome(run batch.RunID, o batch.Outcome) {
	j := w.job(run)
	text := outcomeText(o)
	old, had := j.seen[o.Ordinal]
	switch {
	case had && old == text: // the same write again: its reply was lost
		return
	case had && j.again[o.Ordinal]:
		delete(j.again, o.Ordinal)
	case had:
		w.bad("I2: a second outcome of item %d of %s: %s after %s", o.Ordinal, run, text, old)
	}
	j.seen[o.Ordinal] = text
	if lead := j.leader(int64(o.Ordinal)); o.CopyOf != "" && lead >= 0 {
		// The leader's own outcome is committed before, or with it.
		w.after(nil, 0, "copy", func() {
			if _, ok := j.seen[batch.Ordinal(lead)]; !ok {
				w.bad("item %d of %s copies item %d, which has no committed outcome", o.Ordinal, run, lead)
			}
		})
	}
}

// levelsSQL reads every budget that a run draws on, its own and those it shares.
const levelsSQL = `SELECT r.run_id, r.pos, b.budget_id, b.lim_tok, b.lim_pico, b.lim_retry, b.spent_tok+b.res_tok+b.risk_tok,
 b.spent_pico+b.res_pico+b.risk_pico, b.spent_retry+b.res_retry+b.risk_retry FROM run_budget r JOIN budget b USING (budget_id)
 WHERE r.run_id IN (?,?,?)`

// check holds the ledger to its limits in a committed state, and the bill to
// the ledger. A limit that is lowered below what is committed takes nothing
// back; from then on the ledger may only shrink until it fits.
func (w *world) check() {
	ids := [3]any{}
	for k, j := range w.jobs {
		ids[k] = string(j.id)
	}
	rows, err := w.h.levels.Query(ids[:]...)
	if err != nil {
		w.bad("read budgets: %v", err)
		return
	}
	defer rows.Close() //nolint:errcheck // a test's read
	for rows.Next() {
		var run, id string
		var pos int
		var l, c [3]int64 // tokens, pico-USD, retries
		if err := rows.Scan(&run, &pos, &id, &l[0], &l[1], &l[2], &c[0], &c[1], &c[2]); err != nil {
			w.bad("read budgets: %v", err)
			return
		}
		for k := range l {
			if l[k] >= 0 && c[k] > max(l[k], w.ceiling[id][k]) {
				w.bad("I4: budget %s holds %v; its limit is %v, it held %v", id, c, l, w.ceiling[id])
			}
		}
		w.ceiling[id] = c
		if pos > 0 {
			continue
		}
		j := w.job(batch.RunID(run))
		j.ledger = money.Amount{Tokens: c[0], Pico: money.PicoUSD(c[1]), Retries: c[2]}
		if j.paid.Tokens > c[0] || int64(j.paid.Pico) > c[1] {
			w.bad("I4: %s is billed %v, the ledger holds %v", j.id, j.paid, j.ledger)
		}
	}
	if err := rows.Err(); err != nil {
		w.bad("read budgets: %v", err)
	}
}

// judge looks at what is left when all runs have ended.
func (w *world) judge() error {
	for _, j := range w.jobs {
		if err := w.judgeRun(j); err != nil {
			return fmt.Errorf("%s: %w", j.id, err)
		}
	}
	return nil
}

func (w *world) judgeRun(j *job) error {
	r, err := w.h.db.Run(bg, j.id)
	if err != nil {
		return err
	}
	outs, attempts, err := w.read(j)
	if err != nil {
		return err
	}
	byVerdict := r.State == batch.RunSucceeded || r.State == batch.RunPartial || (r.State == batch.RunFailed && r.Target == "")
	if byVerdict && int64(len(outs)) != j.items {
		return fmt.Errorf("I2: %s with %d outcomes of %d items", r.State, len(outs), j.items)
	}
	if len(outs) != len(j.seen) {
		return fmt.Errorf("I1: %d outcomes are left of %d that were committed", len(outs), len(j.seen))
	}
	for o, text := range j.seen {
		got, ok := outs[o]
		if !ok || outcomeText(got) != text {
			return fmt.Errorf("I1: item %d was committed as %s and is %s", o, text, outcomeText(got))
		}
		of := int64(o)
		if got.CopyOf != "" {
			of = j.leader(of)
		}
		if got.State == batch.ItemOK && string(got.Output) != fmt.Sprintf("%q", fmt.Sprint("fine ", of)) {
			return fmt.Errorf("I6: item %d has the output %s", o, got.Output)
		}
	}
	return w.judgeMoney(j, r, attempts)
}

func (w *world) judgeMoney(j *job, r store.Run, attempts []batch.Attempt) error {
	var sum money.Amount
	named, unknown := map[string]bool{}, map[string]int{}
	for _, a := range attempts {
		sum = sum.Plus(a.Charged)
		if a.N == 0 {
			unknown[fmt.Sprintf("%d-%d", a.Ordinal, a.Epoch)]++
			continue
		}
		id := fmt.Sprintf("bw-%s-%d-%d-%d", j.id, a.Ordinal, a.Epoch, a.N)
		if named[id] && a.Class != batch.ClassUnsent {
			return fmt.Errorf("I8: two records of attempt %s", id)
		}
		named[id] = true
	}
	if !r.Budget.Reserved.IsZero() {
		return fmt.Errorf("ended with %v reserved", r.Budget.Reserved)
	}
	if held := r.Budget.Spent.Plus(r.Budget.AtRisk); sum.Tokens != held.Tokens || sum.Pico != held.Pico {
		return fmt.Errorf("the attempts sum to %v, the ledger to %v", sum, held)
	}
	for id := range j.bill {
		var o, e, n int64
		if _, err := fmt.Sscanf(strings.TrimPrefix(id, "bw-"+string(j.id)+"-"), "%d-%d-%d", &o, &e, &n); err != nil {
			return err
		}
		if !named[id] && unknown[fmt.Sprintf("%d-%d", o, e)] == 0 {
			return fmt.Errorf("I3: the paid call %s is in no record", id)
		}
	}
	return nil
}

// read returns what is left of a run: sealed, and what is not.
func (w *world) read(j *job) (map[batch.Ordinal]batch.Outcome, []batch.Attempt, error) {
	outs := map[batch.Ordinal]batch.Outcome{}
	var attempts []batch.Attempt
	segs, err := w.h.db.Segments(bg, j.id)
	if err != nil {
		return nil, nil, err
	}
	open := func(name string, each func(*segment.Reader) error) error {
		rc, err := w.h.cold.OpenRange(bg, w.h.data.SegmentKey(j.id, name), 0, -1)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
		rd, err := segment.NewReader(bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer rd.Close()
		for err == nil {
			err = each(rd)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	for _, s := range segs {
		err := open(s.Name, func(rd *segment.Reader) error {
			o, err := rd.Outcome()
			if err == nil {
				if _, twice := outs[o.Ordinal]; twice {
					return fmt.Errorf("I2: item %d is twice in the segments", o.Ordinal)
				}
				outs[o.Ordinal] = o
			}
			return err
		})
		if err == nil {
			err = open(s.Attempts, func(rd *segment.Reader) error {
				a, err := rd.Attempt()
				if err == nil {
					attempts = append(attempts, a)
				}
				return err
			})
		}
		if err != nil {
			return nil, nil, err
		}
	}
	err = w.h.db.Chunks(bg, j.id, 0, batch.ShardNo(j.items), func(c store.Chunk) error {
		g, err := w.h.codec.Decode(c.Body)
		for _, o := range g.Outcomes {
			outs[o.Ordinal] = o
		}
		attempts = append(attempts, g.Attempts...)
		return err
	})
	return outs, attempts, err
}

func newWorld(h *house, seed uint64, tell io.Writer) *world {
	w := &world{h: h, seed: seed, rng: rand.New(rand.NewPCG(seed, 20260301)), now: epoch, tell: tell, ceiling: map[string][3]int64{}}
	h.world = w
	return w
}
