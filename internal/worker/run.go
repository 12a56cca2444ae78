package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
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

// Run is one run as a worker sees it. The application makes it; every function
// in it is safe for concurrent use.
type Run struct {
	ID     batch.RunID
	Policy Policy
	Lane   *Lane
	// Prepare loads items, verifies that they are what the manifest froze,
	// renders and encodes them. ErrInputChanged stops the run.
	Prepare func(ctx context.Context, first batch.Ordinal, n int) ([]Work, error)
	// Call makes one call. Nothing around it retries.
	Call func(ctx context.Context, c provider.Call, id string) provider.Result
	// Check turns an answer's text into the outcome's value, or says why not.
	Check func(text string) (json.RawMessage, error)
	// Price is nil when the model's price is not known; money is then 0.
	Price *money.PriceCard

	stopOnce sync.Once
	stopping chan struct{}
	halt     context.CancelFunc
	waits    context.Context // ends when no call may start any more
	abort    context.CancelFunc
	calls    context.Context // ends only when answers are not waited for any more
	finish   sync.Mutex      // one seal or finish at a time

	finishFailed int      // in a row; under finish
	answers      sync.Map // leader ordinal -> batch.Outcome, while this process lives
}

// worst is the most a call can cost; whether it is a retry is for whoever
// starts it to say.
func (r *Run) worst(c provider.Call) (money.Amount, error) {
	tokens, err := money.Add(c.InputBound, c.OutputBound)
	if err != nil {
		return money.Amount{}, err
	}
	a := money.Amount{Tokens: tokens}
	if r.Price != nil {
		a.Pico, err = r.Price.Worst(c.InputBound, c.OutputBound)
	}
	return a, err
}

// cost is what a usage costs.
func (r *Run) cost(u money.Usage) (money.Amount, error) {
	a := money.Amount{Tokens: u.Total()}
	var err error
	if r.Price != nil {
		a.Pico, err = r.Price.Cost(u)
	}
	return a, err
}

// stop ends starting: calls on the wire go on, calls that wait for their place
// are taken back.
func (r *Run) stop() { r.stopOnce.Do(func() { close(r.stopping); r.halt() }) }

func (r *Run) stopped() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}
