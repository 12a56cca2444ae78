package worker

import (
	"context"
	"time"

	"github.com/batchwright/batchwright/internal/store"
)

// committer writes the starts and commits of all shards of the process in
// shared transactions, so that one fsync serves many calls.
type committer struct {
	leases store.Leases
	in     chan write
	now    func() time.Time
	fault  func(error) // tells a person that the store does not answer
}

type write struct {
	delta store.Delta
	items int
	done  chan<- error // one, buffered
}

// A group is written at once when the last one is this long ago, and after
// the rest of it otherwise.
const (
	pauseLight = 2 * time.Millisecond
	pauseHeavy = 8 * time.Millisecond
	heavyItems = 24
)

// run writes until in is closed. It never gives up a write: what was paid is
// kept in memory until the store takes it, and no call starts meanwhile, since
// a start is a write too. The writes are absolute, so repeating one that may
// have happened is harmless.
func (c *committer) run(ctx context.Context) {
	var last time.Time
	pause := pauseLight
	for w := range c.in {
		group := []write{w}
		if wait := pause - c.now().Sub(last); wait > 0 {
			time.Sleep(wait)
		}
		group = c.drain(group)
		last = c.now()
		c.write(ctx, group)
		items := 0
		for _, w := range group {
			items += w.items
		}
		pause = pauseLight
		if items >= heavyItems {
			pause = pauseHeavy
		}
	}
}

func (c *committer) drain(group []write) []write {
	for {
		select {
		case w, ok := <-c.in:
			if !ok {
				return group
			}
			group = append(group, w)
		default:
			return group
		}
	}
}

func (c *committer) write(ctx context.Context, group []write) {
	ds := make([]store.Delta, len(group))
	for i, w := range group {
		ds[i] = w.delta
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		errs, err := c.leases.Advance(ctx, ds)
		if err == nil {
			for i, w := range group {
				w.done <- errs[i]
			}
			return
		}
		c.fault(err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			for _, w := range group {
				w.done <- err
			}
			return
		}
	}
}
