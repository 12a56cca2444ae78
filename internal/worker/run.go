package worker

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/provider"
)

// Run is one run as a worker sees it. The application makes it; every function
// in it is safe for concurrent use.
type Run struct {
	ID     batch.RunID
	Policy lease.Policy
	Lane   *Lane
	// Prepare loads items, verifies that they are what the manifest froze,
	// renders and encodes them. ErrInputChanged stops the run.
	Prepare func(ctx context.Context, first batch.Ordinal, n int) ([]lease.Work, error)
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

	finishFailed int // in a row; under finish
	answers      answers
}

// answers are the committed outcomes of leaders, while this process lives.
type answers struct{ m sync.Map }

func (a *answers) Known(leader batch.Ordinal) (batch.Outcome, bool) {
	v, ok := a.m.Load(leader)
	if !ok {
		return batch.Outcome{}, false
	}
	return v.(batch.Outcome), true
}

func (a *answers) Tell(o batch.Outcome) { a.m.Store(o.Ordinal, o) }

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
