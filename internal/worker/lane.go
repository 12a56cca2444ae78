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
	ahead   int // calls that may be started ahead of the open ones
	easy    int // looks in a row at which the lead was more than was needed
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

// least is the smallest lead on a limit of open calls; the largest is the limit.
func least(limit int) int { return max(limit/4, 2) }

// easyLooks is how long a lead must have been too large before it shrinks by
// one: a write that takes long comes now and then, and is to be ridden out.
const easyLooks = 200

// take asks for up to n starts and returns how many it got. When it got fewer,
// wake is told once more can be had.
//
// The lead follows what the store needs: it grows when places at the gate are
// free while all that may be started is still being written, and shrinks while
// more calls than it needs wait at the gate.
func (l *Lane) take(n int, wake chan struct{}) int {
	g := l.Gate.Snapshot()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = min(max(l.ahead, least(g.Limit)), g.Limit)
	switch full := l.held >= g.Limit+l.ahead; {
	case full && g.Waiting == 0 && g.InFlight < g.Limit:
		l.ahead = min(l.ahead+l.ahead/4+1, g.Limit)
	case g.Waiting > l.ahead/2:
		if l.easy++; l.easy >= easyLooks {
			l.ahead, l.easy = max(l.ahead-1, least(g.Limit)), 0
		}
	}
	got := max(0, min(n, g.Limit+l.ahead-l.held))
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
