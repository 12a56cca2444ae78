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

// TestBudgetsUnderAttack draws 2,000 schedules; more with -rapid.checks=N, N for
// each of the twenty.
func TestBudgetsUnderAttack(t *testing.T) {
	t.Parallel()
	var d *DB
	storetest.Attack(t, 20, besieged(&d), wiped(&d))
}
