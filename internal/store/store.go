// Package store is the port to the truth: runs, shards, money and outcomes.
// Each method is one transaction, and is safe to call again with the same
// arguments. Lease time is judged by the clock of the database. Every error of
// the database itself is Kind Unavailable; the caller may call again.
package store

import (
	"context"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// Store is everything one process needs of the truth.
type Store interface {
	Runs
	Leases
	Budgets
	Outcomes
	Close() error
}

// Run is one execution of one job version on one manifest.
type Run struct {
	ID             batch.RunID
	Job            string
	Key            string // --run-key; unique for ever where not empty
	State          batch.RunState
	Target         batch.RunState // where a stop that was asked for will end; "" = by verdict
	Reason         string         // why it is in this state, one line for a person
	Spec           []byte         // the frozen spec, canonical JSON
	SpecDigest     string
	WorkDigest     string // of the part of the spec that decides requests and outcomes
	InputKey       string // identity of the input as given: what "the same input" means
	ManifestDigest string
	ManifestDir    string // relative to the data directory
	OutputURI      string
	Queue          string // high | best-effort
	Items          int64
	ShardSize      int
	Window         int64 // shards kept open ahead of the work
	Opened, Closed int64 // shards ever opened, shards done
	Price          []byte
	PriceVersion   string
	Plan           []byte
	ItemTokens     int64 // per item; -1 none
	Retried        int64 // how often items were made pending again
	CreatedAt      int64 // unix microseconds, as all times
	StartedAt      int64
	EndedAt        int64
	DeadlineAt     int64 // 0 none
	ActiveUS       int64 // time spent running, over all processes
	Budget         batch.Level
	Draws          []string       // names of the shared budgets it draws on as well
	Short          batch.Shortage // what refused it money the last time it was refused
	Counts         Counts         // of closed shards in Run; of all shards in Live
}

// Shards is how many shards the run has.
func (r Run) Shards() int64 { return (r.Items + int64(r.ShardSize) - 1) / int64(r.ShardSize) }

// StretchShards is how many contiguous shards are sealed into one segment.
func (r Run) StretchShards() int64 { return max(1, 2000/int64(r.ShardSize)) }

// Span is the ordinals of shard s: the first and how many.
func (r Run) Span(s batch.ShardNo) (first batch.Ordinal, n int) {
	f := int64(s) * int64(r.ShardSize)
	return batch.Ordinal(f), int(min(int64(r.ShardSize), r.Items-f))
}

// Counts are sums over attempts and outcomes.
type Counts struct {
	OK, Failed, Skipped int64
	Calls, Unknown      int64
	Usage               money.Usage
}

// Filter selects runs; zero fields match everything. Newest first.
type Filter struct {
	Job    string
	Key    string
	States []batch.RunState
	Limit  int
}

// Runs is the life of runs.
type Runs interface {
	// CreateRun stores the run with its budget, opens the first shards and
	// rings for them. Conflict when the key exists.
	CreateRun(ctx context.Context, r Run) error
	// Run returns a run with live counts and money: closed shards plus what
	// open ones have committed. NotFound when there is none.
	Run(ctx context.Context, id batch.RunID) (Run, error)
	List(ctx context.Context, f Filter) ([]Run, error)
	// Transition moves a run from one of from to "to" and sets its reason; a
	// run in another state is a Conflict that says which. Into running it opens
	// parked shards and rings for all that are open.
	Transition(ctx context.Context, id batch.RunID, from []batch.RunState, to batch.RunState, reason string) error
	// SetTarget asks a live run to stop and end at target ("" takes it back).
	// With no lease left it rings to finish at once.
	SetTarget(ctx context.Context, id batch.RunID, target batch.RunState, reason string) error
	// SetLimit replaces the run's own limit, parked shards are opened again.
	SetLimit(ctx context.Context, id batch.RunID, l money.Limit, deadlineAt int64) error
	// Reopen makes items pending again for a retry: their outcomes are replaced
	// when a new one is committed. The run must have ended.
	Reopen(ctx context.Context, id batch.RunID, items []batch.Ordinal) error
}

// Shard is one shard's row.
type Shard struct {
	Ref   batch.LeaseRef
	State batch.ShardState
	Owner batch.WorkerID
	First batch.Ordinal
	Seq   int64 // chunks written under this epoch
	// Draw is the set of budget rows that the lease took its money from when it
	// was claimed, and that it is settled on; 0 is the run's own alone.
	Draw int64
	Book *batch.Book
}

// ClaimStatus is how a claim ended.
type ClaimStatus int

// How a claim ended.
const (
	Claimed ClaimStatus = iota
	Stale               // the shard is not open at this epoch, or the run is not running: a no-op
	Parked              // no budget fits one item; Hit says which dimension
)

// Claim asks for one shard.
type Claim struct {
	Ref    batch.LeaseRef // Epoch: the epoch the bell was rung at
	Worker batch.WorkerID
	// Costs is the worst case of one call of each item, by its place in the
	// shard; items that are done are passed over.
	Costs []money.Amount
}

// Delta is one group's writes to one lease: starts (T2), commits (T3) and
// takings-back (T5), as the book they lead to. All or nothing.
type Delta struct {
	Ref    batch.LeaseRef
	Seq    int64 // of the chunk, from 0 in each epoch; a chunk is written once
	Book   *batch.Book
	Starts bool // the guard open+spent <= reserved applies
	Chunk  []byte
	// Late is the chunk without its outcomes, for a late answer that is not
	// accepted; unused elsewhere.
	Late   []byte
	Failed []Failure
	// Healed are items whose earlier failure this group replaces by a success.
	Healed []batch.Ordinal
	// Answers are kept for items that share a request: by run and leader, or
	// in the cache across runs.
	Answers []Answer
}

// Failure is a failed item, kept as a row so that it can be asked for.
type Failure struct {
	Run      batch.RunID
	Ordinal  batch.Ordinal
	ID       string
	Class    batch.Class
	Message  string
	Attempts int
}

// Answer is an outcome that other items may copy.
type Answer struct {
	Scope string // a run id, or CacheScope
	Key   []byte
	Body  []byte // an encoded batch.Outcome
	At    int64
}

// CacheScope is the scope of answers that are kept across runs.
const CacheScope = "cache"

// Late is the truth about a call whose lease was lost (T4).
type Late struct {
	Ref     batch.LeaseRef // the lost lease
	Index   int
	Worst   money.Amount
	Charge  money.Amount
	Outcome *Delta // chunk, failed and answers to keep if nobody has the item; nil keeps none
	State   batch.ItemState
	Usage   money.Usage
}

// Leases is the money protocol.
type Leases interface {
	// Shard reads one row, with no lock.
	Shard(ctx context.Context, run batch.RunID, s batch.ShardNo) (Shard, error)
	// Claim is T1: in one transaction the epoch grows by one and the worst case
	// of as many pending items as fit is reserved on every budget of the run.
	Claim(ctx context.Context, c Claim) (Shard, ClaimStatus, money.Dimension, error)
	// TopUp reserves x more for the lease, on every budget, or nothing.
	TopUp(ctx context.Context, ref batch.LeaseRef, x money.Amount) (money.Dimension, error)
	// Advance is T2, T3 and T5 of many leases in one transaction. errs[i] is
	// ErrFenced when lease i is no longer current, batch.ErrOverdrawn when its
	// guard refused; nothing of such a delta is kept. err means that nothing of
	// any was.
	Advance(ctx context.Context, ds []Delta) (errs []error, err error)
	// Release hands a lease back with nothing on the wire: its money goes to
	// the run's budgets, the shard is done, open at notBefore, or, when stuck
	// names a dimension, parked. It opens the next shard and rings.
	Release(ctx context.Context, ref batch.LeaseRef, notBefore int64, stuck money.Dimension) error
	// Late is T4. kept says whether the outcome was taken.
	Late(ctx context.Context, l Late) (kept bool, err error)
	// Reap beats for worker, takes over every lease whose worker has not beaten
	// for stale microseconds, and audits the runs in scope: it rings again for
	// what is ready and whose bell seems lost. With stale 0 every other worker
	// is known to be dead, and every bell to be lost.
	Reap(ctx context.Context, worker batch.WorkerID, stale int64, scope []batch.RunID) (taken int, err error)
}

// Level is one row of a budget and what it counts.
type Level struct {
	batch.Level
	Name        string // of the shared budget; "" is a run's own
	Job         string // of a counter per job
	Period      batch.Period
	Label       string // of the period: 2026-11-23, 2026-W48, 2026-11, total
	Zone        string
	From, Until int64 // unix microseconds; 0: no bound
	// Excess is by how much the limit was passed when it was lowered, or by a
	// bill above its reservation. Committed never passes limit plus excess.
	Excess money.Amount
	// Held is what leases hold of it now, summed from the leases.
	Held money.Amount
	// Settled is what all runs have left on it, summed from their shares: spent,
	// and at risk.
	Settled, Risked money.Amount
}

// Share is what the leases of one run have left on one shared budget's row.
type Share struct {
	Run           batch.RunID
	Budget        string // the row's id
	Spent, AtRisk money.Amount
}

// Budgets are limits that runs share. A run draws on those it was told to
// (Run.Draws, SetDraws); which row of each, its period and counter, is decided
// by the clock of the database when a lease is claimed, and the lease keeps it:
// a call counts for the period in which its lease was claimed.
type Budgets interface {
	// SetBudgets replaces the shared budgets, and what the runs in draws draw on
	// from their next claim on. Limits hold at once: a higher one opens parked
	// shards, a lower one keeps calls from starting and takes nothing back. What
	// a budget that is gone has counted is kept.
	SetBudgets(ctx context.Context, bs []batch.Budget, draws map[batch.RunID][]string) error
	// SetDraws says which shared budgets a run draws on from its next claim on.
	SetDraws(ctx context.Context, run batch.RunID, names []string) error
	// Budgets returns the shared budgets in the order of their names.
	Budgets(ctx context.Context) ([]batch.Budget, error)
	// Levels returns, of each of bs, the row that a claim of job would take from
	// now, in the order in which they are taken. Limits are those of bs; a row
	// that nothing was taken from yet is empty. What leases have charged counts
	// as spent, as in Run.
	Levels(ctx context.Context, bs []batch.Budget, job string) ([]Level, error)
	// Rows returns every row of the shared budgets as it stands in the ledger,
	// by name, newest period first.
	Rows(ctx context.Context) ([]Level, error)
	// Shares returns what runs have left on the rows of shared budgets; of all
	// runs when run is "".
	Shares(ctx context.Context, run batch.RunID) ([]Share, error)
}

// Chunk is one committed group of outcomes and attempts of one shard.
type Chunk struct {
	Row   int64 // grows with every commit of the store
	Shard batch.ShardNo
	Epoch batch.Epoch
	Seq   int64
	Body  []byte
}

// Segment points at a sealed file of outcomes and its attempts.
type Segment struct {
	Run           batch.RunID
	Stretch       int64
	Name          string // content-addressed: the sha256 of the file's bytes
	Bytes         int64
	Rows          int64
	Attempts      string // name of the file of attempts
	AttemptsBytes int64
	AttemptsRows  int64
}

// Outcomes is what was committed, and its way to cold storage.
type Outcomes interface {
	// Chunks visits the chunks of a range of shards in the order of commit.
	Chunks(ctx context.Context, run batch.RunID, from, to batch.ShardNo, visit func(Chunk) error) error
	Segments(ctx context.Context, run batch.RunID) ([]Segment, error)
	// Seal switches the pointer of a stretch to seg, deletes the chunks that
	// are in it (rows up to throughRow) and the rows of done shards.
	Seal(ctx context.Context, seg Segment, throughRow int64) error
	// Failures lists failed items by class ("" all), in manifest order.
	Failures(ctx context.Context, run batch.RunID, class batch.Class, after batch.Ordinal, limit int) ([]Failure, error)
	// Answers returns the bodies found for keys, nil where none is.
	Answers(ctx context.Context, scope string, keys [][]byte) ([][]byte, error)
	// Open lists the rows of shards that are not sealed away, in order.
	Open(ctx context.Context, run batch.RunID) ([]Shard, error)
	// History returns recent runs of a job with this work digest that have
	// counts, newest first: what a plan estimates from.
	History(ctx context.Context, job, workDigest string, limit int) ([]Run, error)
}
