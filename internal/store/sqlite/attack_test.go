package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/storetest"
)

// besieged is a store that rings no bells and can be emptied.
func besieged(keep **DB) storetest.Open {
	return func(t testing.TB, clock func() time.Time) (store.Store, func() store.Store, func() []batch.Bell) {
		d := opened(t, Config{Path: filepath.Join(fast(t), "batchwright.db"), Now: clock})
		*keep = d
		return d, func() store.Store { return d }, func() []batch.Bell { return nil }
	}
}

func wiped(d **DB) func(testing.TB) {
	return func(t testing.TB) {
		for _, table := range []string{"run", "budget", "shared_budget", "run_budget", "share", "shard", "chunk", "lost", "worker", "failure", "answer"} {
			if _, err := (*d).write.Exec("DELETE FROM " + table); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBudgetsUnderAttack draws 2,000 schedules; with -rapid.checks=N it draws
// N twenty times.
func TestBudgetsUnderAttack(t *testing.T) {
	t.Parallel()
	for _, half := range []string{"one", "two"} {
		t.Run(half, func(t *testing.T) {
			t.Parallel()
			var d *DB
			storetest.Attack(t, 10, besieged(&d), wiped(&d))
		})
	}
}

// TestBudgetsUnderConcurrentAttack is the same with goroutines that do not wait
// for each other.
func TestBudgetsUnderConcurrentAttack(t *testing.T) {
	t.Parallel()
	var d *DB
	storetest.Melee(t, besieged(&d))
}
