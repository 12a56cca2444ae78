package lease_test

import (
	"flag"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("simulation.seeds", 2000, "how many worlds are played")
	from  = flag.Uint64("simulation.from", 1, "the first seed")
	trace = flag.Bool("simulation.trace", false, "print everything that happens; for one seed")
)

// worldsPerHouse bounds how large a store grows.
const worldsPerHouse = 250

// TestSimulation plays worlds: the engine's own machines and the real store,
// with virtual time, a provider that keeps its own bill, processes that die or
// stand still, bells that get lost, and a store that does not answer or whose
// reply is lost at any call. The invariants are checked after every write. One
// seed makes one world:
//
//	go test ./internal/lease -run TestSimulation -simulation.seeds 1 -simulation.from SEED -simulation.trace
func TestSimulation(t *testing.T) {
	var tell io.Writer
	if *trace {
		tell = os.Stdout
	}
	began := time.Now()
	var next, steps, faults atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				k := next.Add(worldsPerHouse) - worldsPerHouse
				if k >= *seeds || t.Failed() {
					return
				}
				h, err := newHouse()
				if err != nil {
					t.Error(err)
					return
				}
				for i := k; i < min(k+worldsPerHouse, *seeds) && !t.Failed(); i++ {
					w := newWorld(h, *from+i, tell)
					if err := w.play(); err != nil {
						t.Errorf("seed %d, after %v and %d steps: %v\nplay it again: go test ./internal/lease -run TestSimulation -simulation.seeds 1 -simulation.from %d -simulation.trace",
							w.seed, w.now.Sub(epoch), w.steps, err, w.seed)
					}
					steps.Add(uint64(w.steps))
					faults.Add(uint64(w.faults))
				}
				if err := h.close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d worlds, %d steps, %d faults in %v", *seeds, steps.Load(), faults.Load(), time.Since(began).Round(time.Millisecond))
}

// TestASeedMakesOneWorld plays some seeds twice: everything that happens is
// the same, to the last step.
func TestASeedMakesOneWorld(t *testing.T) {
	t.Parallel()
	digest := func() (ds []uint64) {
		h, err := newHouse()
		if err != nil {
			t.Fatal(err)
		}
		defer h.close() //nolint:errcheck // a test's folder
		for seed := range uint64(12) {
			w := newWorld(h, 1_000_000+seed, nil)
			if err := w.play(); err != nil {
				t.Fatal(err)
			}
			ds = append(ds, w.trace)
		}
		return ds
	}
	a, b := digest(), digest()
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("seed %d made two worlds", 1_000_000+i)
		}
	}
}
