package worker_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/sqlite"
	"github.com/batchwright/batchwright/internal/worker"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// Every call in these tests can cost 100 tokens at most, and uses 15.
const (
	worstTokens = 100
	inputBound  = 60
	outputBound = 40
)

var (
	usage  = money.Usage{Input: 10, Output: 5}
	card   = money.PriceCard{Provider: "fake", Model: "m", In: 1000, Out: 3000}
	answer = provider.Result{Class: batch.ClassOK, Status: 200, Sent: provider.Answered, Text: "fine", Finish: "stop", Model: "m-1",
		RequestID: "rq", Usage: usage, HasUsage: true}
)

func refusal(c batch.Class, status int) provider.Result {
	return provider.Result{Class: c, Status: status, Sent: provider.Answered, Message: "said no"}
}

// house is a store on disk, with no worker yet.
type house struct {
	t     *testing.T
	ctx   context.Context
	path  string
	db    *sqlite.DB
	codec *segment.Codec
	bells *ringer
	next  int
}

func newHouse(t *testing.T) *house {
	t.Helper()
	codec, err := segment.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() { // nobody pulls a plug here
		if d, err := os.MkdirTemp("/dev/shm", "batchwright-worker-"); err == nil {
			dir = d
			t.Cleanup(func() { _ = os.RemoveAll(d) })
		}
	}
	h := &house{t: t, ctx: context.Background(), path: filepath.Join(dir, "batchwright.db"), codec: codec}
	h.open()
	t.Cleanup(func() { _ = h.db.Close() })
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// open opens the store, again where it was open.
func (h *house) open() {
	h.t.Helper()
	if h.db != nil {
		h.ok(h.db.Close())
	}
	h.bells = newRinger(h.t, h.path)
	db, err := sqlite.Open(h.ctx, sqlite.Config{Path: h.path, Bells: h.bells, Now: time.Now, Between: h.bells.between,
		Pack: func(a batch.Attempt) ([]byte, error) {
			return h.codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
		}})
	h.ok(err)
	h.db = db
}

// ringer keeps bells in the store's file and hands on those of committed
// transactions.
type ringer struct {
	t    *testing.T
	db   *sql.DB
	mu   sync.Mutex
	wake []chan struct{} // of each worker that listens
}

func newRinger(t *testing.T, path string) *ringer {
	t.Helper()
	db, err := sqlite.Handle(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS bell (n INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)"); err != nil {
		t.Fatal(err)
	}
	return &ringer{t: t, db: db}
}

func (r *ringer) Ring(ctx context.Context, tx *sql.Tx, bells []batch.Bell) error {
	for _, b := range bells {
		body, err := json.Marshal(b)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO bell (body) VALUES (?)", string(body)); err != nil {
			return err
		}
	}
	return nil
}

func (r *ringer) between(point string) {
	if !strings.HasPrefix(point, "after ") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, wake := range r.wake {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// deliver lets a worker hear every bell from now on, each in a goroutine of its
// own; one that is answered by an error rings again.
func (r *ringer) deliver(w *worker.Worker) (stop func()) {
	var last int64
	if err := r.db.QueryRow("SELECT coalesce(max(n),0) FROM bell").Scan(&last); err != nil {
		r.t.Fatal(err)
	}
	done, wake := make(chan struct{}), make(chan struct{}, 1)
	r.mu.Lock()
	r.wake = append(r.wake, wake)
	r.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-wake:
			case <-done:
				return
			}
			last = r.since(last, func(b batch.Bell) { wg.Go(func() { r.tell(w, b, done) }) })
		}
	})
	return func() { close(done); wg.Wait() }
}

func (r *ringer) since(last int64, each func(batch.Bell)) int64 {
	rows, err := r.db.Query("SELECT n, body FROM bell WHERE n>? ORDER BY n", last)
	if err != nil {
		r.t.Error(err)
		return last
	}
	defer rows.Close() //nolint:errcheck // a test's read
	for rows.Next() {
		var body string
		var b batch.Bell
		if err := errors.Join(rows.Scan(&last, &body), json.Unmarshal([]byte(body), &b)); err != nil {
			r.t.Error(err)
		}
		each(b)
	}
	if err := rows.Err(); err != nil {
		r.t.Error(err)
	}
	return last
}

func (r *ringer) tell(w *worker.Worker, b batch.Bell, done chan struct{}) {
	for w.Hear(context.Background(), b) != nil {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// crew is one worker of a house and what rings for it.
type crew struct {
	*house
	store store.Store
	w     *worker.Worker
	stop  func()
	once  sync.Once
}

// hire starts a worker. through may stand between it and the store.
func (h *house) hire(through func(store.Store) store.Store, adjust ...func(*worker.Config)) *crew {
	h.t.Helper()
	h.next++
	c := &crew{house: h, store: h.db}
	if through != nil {
		c.store = through(h.db)
	}
	cfg := worker.Config{ID: batch.WorkerID(fmt.Sprintf("w%d", h.next)), Store: c.store, Codec: h.codec, Now: time.Now,
		Rand: func() float64 { return 0 }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Seal: func(context.Context, batch.RunID, int64) error { return nil }, Finish: c.finish}
	for _, a := range adjust {
		a(&cfg)
	}
	c.w = worker.New(cfg)
	h.ok(c.w.Start(h.ctx, false))
	c.stop = h.bells.deliver(c.w)
	h.t.Cleanup(c.leave)
	return c
}

// leave ends the worker in order.
func (c *crew) leave() {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.w.Drain(ctx)
		c.stop()
		c.w.Stop()
	})
}

// finish ends a run as the application does, with nothing to deliver.
func (c *crew) finish(ctx context.Context, id batch.RunID) error {
	r, err := c.store.Run(ctx, id)
	if err != nil || r.State.Ended() || (r.Target == "" && r.Closed < r.Shards() && r.State != batch.RunDelivering) {
		return err
	}
	open, err := c.store.Open(ctx, id)
	if err != nil || slices.ContainsFunc(open, func(s store.Shard) bool { return s.State == batch.ShardLeased }) {
		return err
	}
	final := r.Target
	if final == "" {
		final = batch.Progress{Total: r.Items, OK: r.Counts.OK, Failed: r.Counts.Failed, Skipped: r.Counts.Skipped}.Verdict(0)
	}
	from := []batch.RunState{batch.RunRunning, batch.RunPaused, batch.RunDelivering}
	if err := c.store.Transition(ctx, id, from, batch.RunDelivering, r.Reason); err != nil {
		return err
	}
	return c.store.Transition(ctx, id, []batch.RunState{batch.RunDelivering}, final, r.Reason)
}

// job is a run and the provider it calls.
type job struct {
	id     batch.RunID
	items  int64
	size   int
	window int64
	limit  money.Limit
	policy lease.Policy
	lane   int // concurrency
	work   func(i int64, w *lease.Work)
	fake   *fake
}

func newJob(id string, items int64, size int) *job {
	return &job{id: batch.RunID(id), items: items, size: size, window: 8, limit: money.NoLimit, lane: 8,
		policy: lease.Policy{MaxAttempts: 3, Timeout: 10 * time.Second, OnTruncated: "fail"}, fake: &fake{tries: map[int64]int{}}}
}

// create stores the run, queued.
func (h *house) create(j *job) {
	h.t.Helper()
	h.ok(h.db.CreateRun(h.ctx, store.Run{ID: j.id, Job: "j", State: batch.RunQueued, Spec: []byte("{}"), Queue: "high", Items: j.items,
		ShardSize: j.size, Window: j.window, ItemTokens: -1, CreatedAt: 1, Budget: batch.Level{Limit: j.limit}}))
}

// add gives the worker a run, adjusted. One that is not running yet is stopped
// by the next beat, so the run is set going first.
func (c *crew) add(j *job, adjust ...func(*worker.Run)) *worker.Run {
	now := time.Now
	g := pacing.NewGate(pacing.Config{MaxConcurrency: j.lane, Now: time.Now, Rand: func() float64 { return 0 }})
	r := &worker.Run{ID: j.id, Policy: j.policy, Lane: worker.NewLane(g, now), Price: &card, Call: j.fake.call, Prepare: j.prepare,
		Check: func(text string) (json.RawMessage, error) {
			if strings.HasPrefix(text, "bad") {
				return nil, errors.New("does not fit the schema")
			}
			return json.Marshal(text)
		}}
	for _, a := range adjust {
		a(r)
	}
	c.w.Add(r)
	return r
}

func (j *job) prepare(_ context.Context, first batch.Ordinal, n int) ([]lease.Work, error) {
	ws := make([]lease.Work, n)
	for k := range ws {
		o := int64(first) + int64(k)
		ws[k] = lease.Work{Ordinal: batch.Ordinal(o), ID: fmt.Sprint("item-", o), Leader: -1, Budget: -1,
			Call: provider.Call{Body: []byte(strconv.FormatInt(o, 10)), InputBound: inputBound, OutputBound: outputBound}}
		ws[k].Hash[0], ws[k].Hash[1] = byte(o), byte(o>>8)
		if j.work != nil {
			j.work(o, &ws[k])
		}
	}
	return ws, nil
}

// begin adds a run and moves it to running.
func (c *crew) begin(j *job) *worker.Run {
	c.t.Helper()
	c.create(j)
	return c.goOn(j)
}

// goOn works a run that stands still.
func (c *crew) goOn(j *job, adjust ...func(*worker.Run)) *worker.Run {
	c.t.Helper()
	c.ok(c.store.Transition(c.ctx, j.id, batch.RunStates(), batch.RunRunning, ""))
	r := c.add(j, adjust...)
	c.ringAgain(j.id)
	return r
}

// ringAgain rings for every open shard of a run, since a worker may not have
// known of it when the first bell came.
func (h *house) ringAgain(id batch.RunID) {
	h.t.Helper()
	open, err := h.db.Open(h.ctx, id)
	h.ok(err)
	var bells []batch.Bell
	for _, s := range open {
		if s.State == batch.ShardOpen {
			bells = append(bells, batch.Bell{Kind: batch.BellWork, Run: id, N: int64(s.Ref.Shard), Epoch: s.Ref.Epoch})
		}
	}
	tx, err := h.bells.db.BeginTx(h.ctx, nil)
	h.ok(err)
	h.ok(errors.Join(h.bells.Ring(h.ctx, tx, bells), tx.Commit()))
	h.bells.between("after ringing again")
}

// until polls until f holds.
func (h *house) until(what string, f func() bool) {
	h.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("%s has not happened in %v", what, patience)
		}
	}
}

// comes waits until a run is in a state and returns it.
func (h *house) comes(id batch.RunID, want batch.RunState) store.Run {
	h.t.Helper()
	var r store.Run
	h.until(fmt.Sprintf("run %s %s", id, want), func() bool {
		var err error
		r, err = h.db.Run(h.ctx, id)
		h.ok(err)
		if r.State.Ended() && r.State != want {
			h.t.Fatalf("run %s is %s (%s), want %s", id, r.State, r.Reason, want)
		}
		return r.State == want
	})
	return r
}

// fake is a provider that remembers what it saw and what it billed.
type fake struct {
	mu     sync.Mutex
	calls  int
	billed int64 // tokens
	tries  map[int64]int
	ids    map[string]bool
	// say answers the try-th call (from 1) of item o; nil says fine.
	say func(ctx context.Context, o int64, try int) provider.Result
	// see is called when a call arrives.
	see func(o int64)
}

func (f *fake) call(ctx context.Context, c provider.Call, id string) provider.Result {
	o, err := strconv.ParseInt(string(c.Body), 10, 64)
	if err != nil {
		return refusal(batch.ClassInvalidRequest, 400)
	}
	f.mu.Lock()
	f.calls++
	f.tries[o]++
	try := f.tries[o]
	if f.ids == nil {
		f.ids = map[string]bool{}
	}
	twice := f.ids[id]
	f.ids[id] = true
	f.mu.Unlock()
	if twice {
		panic("one id for two calls: " + id)
	}
	if f.see != nil {
		f.see(o)
	}
	res := answer
	if f.say != nil {
		res = f.say(ctx, o, try)
	}
	if res.Class == batch.ClassOK && res.Text == "fine" {
		res.Text = fmt.Sprint("fine ", o)
	}
	f.mu.Lock()
	f.billed += res.Usage.Total()
	f.mu.Unlock()
	return res
}

func (f *fake) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// books is everything a run has committed.
type books struct {
	outcomes map[batch.Ordinal]batch.Outcome
	attempts []batch.Attempt
	run      store.Run
}

// of reads the attempts of one item.
func (b books) of(o batch.Ordinal) []batch.Attempt {
	var as []batch.Attempt
	for _, a := range b.attempts {
		if a.Ordinal == o {
			as = append(as, a)
		}
	}
	return as
}

// audit reads a run that stands still and holds it to the invariants: one
// outcome for each item, counts and usage as committed, and a ledger whose
// attempts sum to the budget.
func (h *house) audit(id batch.RunID) books {
	h.t.Helper()
	b := books{outcomes: map[batch.Ordinal]batch.Outcome{}}
	made := map[string]bool{}
	var charged money.Amount
	var used money.Usage
	h.ok(h.db.Chunks(h.ctx, id, 0, 1<<40, func(c store.Chunk) error {
		g, err := h.codec.Decode(c.Body)
		h.ok(err)
		for _, o := range g.Outcomes {
			if old, twice := b.outcomes[o.Ordinal]; twice {
				h.t.Errorf("I2: item %d has two outcomes: %+v and %+v", o.Ordinal, old, o)
			}
			b.outcomes[o.Ordinal] = o
		}
		for _, a := range g.Attempts {
			b.attempts = append(b.attempts, a)
			made[fmt.Sprint(a.Ordinal, a.Epoch, a.N)] = true
			charged, used = charged.Plus(a.Charged), used.Plus(a.Usage)
		}
		return nil
	}))
	run, err := h.db.Run(h.ctx, id)
	h.ok(err)
	b.run = run
	var okays, fails int64
	for _, o := range b.outcomes {
		switch o.State {
		case batch.ItemOK:
			okays++
		case batch.ItemFailed:
			fails++
		}
		if o.Attempt > 0 && o.CopyOf == "" && !made[fmt.Sprint(o.Ordinal, o.Epoch, o.Attempt)] {
			h.t.Errorf("I8: the outcome of item %d names attempt %d of epoch %d, which was not made", o.Ordinal, o.Attempt, o.Epoch)
		}
	}
	if run.Counts.OK != okays || run.Counts.Failed != fails {
		h.t.Errorf("I2: counts are %+v; committed are %d ok, %d failed", run.Counts, okays, fails)
	}
	if run.Counts.Usage != used {
		h.t.Errorf("usage is %+v; attempts sum to %+v", run.Counts.Usage, used)
	}
	if got := run.Budget.Spent.Plus(run.Budget.AtRisk); got != charged {
		h.t.Errorf("I4: spent and at risk are %+v; attempts sum to %+v", got, charged)
	}
	if !run.Budget.Reserved.IsZero() {
		h.t.Errorf("I4: %+v is reserved and nobody works", run.Budget.Reserved)
	}
	fs, err := h.db.Failures(h.ctx, id, "", -1, 0)
	h.ok(err)
	if int64(len(fs)) != fails {
		h.t.Errorf("%d failures can be asked for, %d failed", len(fs), fails)
	}
	return b
}

// all fails unless every item has its ok outcome.
func (h *house) all(j *job) books {
	h.t.Helper()
	h.comes(j.id, batch.RunSucceeded)
	b := h.audit(j.id)
	if int64(len(b.outcomes)) != j.items || b.run.Counts.OK != j.items {
		h.t.Fatalf("%d outcomes, %d ok, of %d items", len(b.outcomes), b.run.Counts.OK, j.items)
	}
	return b
}
