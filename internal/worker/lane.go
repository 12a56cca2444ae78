package worker

import (
	"slices"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/provider"
)

// Lane is what all runs share that call one model with one key: the gate that
// paces them, and the bound on how many calls are started ahead of it.
//
// A call must be started in the store before it is sent (T2), and the write
// takes a few milliseconds. So a few more calls are started than may be open,
// and wait at the gate: when a place frees, the next call goes at once. What is
// started ahead is what a crash can add to the calls whose fate is unknown, so
// the lead stays small.
type Lane struct {
	Gate *pacing.Gate
	now  func() time.Time

	mu      sync.Mutex
	held    int
	waiting []chan struct{}

	// Estimate of what a call uses, learned from answers, in thousandths of
	// its input bound and in output tokens.
	inPerMille, outTokens int64
	learned               int64

	// Since when nothing of the provider has been reached.
	unreachedSince time.Time
	unreached      int
}

// NewLane makes the lane of a gate.
func NewLane(g *pacing.Gate, now func() time.Time) *Lane {
	return &Lane{Gate: g, now: now, inPerMille: 250}
}

// lead is how many calls are started ahead of limit open ones.
func lead(limit int) int { return min(max(limit/4, 2), 256) }

// take asks for up to n starts and returns how many it got. When it got fewer,
// wake is told once more can be had.
func (l *Lane) take(n int, wake chan struct{}) int {
	limit := l.Gate.Snapshot().Limit
	l.mu.Lock()
	defer l.mu.Unlock()
	got := max(0, min(n, limit+lead(limit)-l.held))
	l.held += got
	if got < n && !slices.Contains(l.waiting, wake) {
		l.waiting = append(l.waiting, wake)
	}
	return got
}

// put gives n starts back.
func (l *Lane) put(n int) {
	l.mu.Lock()
	l.held -= n
	wakes := l.waiting
	if len(wakes) > 8 {
		wakes = wakes[:8]
	}
	l.waiting = l.waiting[len(wakes):]
	l.mu.Unlock()
	for _, w := range wakes {
		select {
		case w <- struct{}{}:
		default: // it is awake already
		}
	}
}

// estimate is the tokens a call will probably use, for pacing alone.
func (l *Lane) estimate(c provider.Call) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.outTokens
	if l.learned == 0 {
		out = c.OutputBound / 2
	}
	return c.InputBound*l.inPerMille/1000 + min(out, c.OutputBound) + 1
}

// learn corrects the estimate by an answer: an average that forgets.
func (l *Lane) learn(c provider.Call, r provider.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Sent != provider.NotSent {
		l.unreached = 0
	}
	if !r.HasUsage || c.InputBound == 0 {
		return
	}
	in := r.Usage.Input * 1000 / c.InputBound
	if l.learned++; l.learned == 1 {
		l.inPerMille, l.outTokens = in, r.Usage.Output
		return
	}
	l.inPerMille += (in - l.inPerMille) / 16
	l.outTokens += (r.Usage.Output - l.outTokens) / 16
}

// unreachable counts a call that could not be sent at all, and reports how
// long nothing has got through.
func (l *Lane) unreachable() (n int, since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unreached == 0 {
		l.unreachedSince = l.now()
	}
	l.unreached++
	return l.unreached, l.now().Sub(l.unreachedSince)
}
