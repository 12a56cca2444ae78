package dispatch

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/store/sqlite"
)

// ears remembers what was heard.
type ears struct {
	mu    sync.Mutex
	times map[batch.Bell]int
	news  chan struct{}
	say   func(batch.Bell, int) error
}

func newEars() *ears { return &ears{times: map[batch.Bell]int{}, news: make(chan struct{}, 10_000)} }

func (e *ears) hear(_ context.Context, b batch.Bell) error {
	e.mu.Lock()
	e.times[b]++
	n := e.times[b]
	e.mu.Unlock()
	e.news <- struct{}{}
	if e.say != nil {
		return e.say(b, n)
	}
	return nil
}

func (e *ears) until(t *testing.T, what string, f func(map[batch.Bell]int) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		e.mu.Lock()
		ok := f(e.times)
		e.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-e.news:
		case <-deadline:
			t.Fatalf("%s has not happened", what)
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func engine(t *testing.T, path string, hear Hear) (*River, *sql.DB) {
	t.Helper()
	db, err := sqlite.Handle(path, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := NewRiver(context.Background(), db, quiet(), hear)
	if err != nil {
		t.Fatal(err)
	}
	return r, db
}

func start(t *testing.T, r *River) (stop func()) {
	t.Helper()
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := r.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// ring rings in a transaction of its own and commits it, or rolls it back.
func ring(t *testing.T, r *River, db *sql.DB, commit bool, bells ...batch.Bell) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ring(context.Background(), tx, bells); err != nil {
		t.Fatal(err)
	}
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

func TestBellsAreHeard(t *testing.T) {
	t.Parallel()
	e := newEars()
	r, db := engine(t, filepath.Join(t.TempDir(), "q.db"), e.hear)
	var bells []batch.Bell
	for i := range int64(100) {
		bells = append(bells, batch.Bell{Kind: batch.BellWork, Run: "r_1", N: i, Epoch: batch.Epoch(i % 3), Queue: []string{"high", "best-effort"}[i%2]})
	}
	bells = append(bells, batch.Bell{Kind: batch.BellSeal, Run: "r_1", N: 4}, batch.Bell{Kind: batch.BellFinish, Run: "r_1"})
	ghost := batch.Bell{Kind: batch.BellWork, Run: "r_ghost", N: 1}
	ring(t, r, db, true, bells[:50]...) // before it runs
	ring(t, r, db, false, ghost)
	start(t, r)
	ring(t, r, db, true, bells[50:]...)
	ring(t, r, db, false, ghost)
	e.until(t, "every bell", func(m map[batch.Bell]int) bool {
		for _, b := range bells {
			b.Queue = "" // a bell need not know how it came
			if m[b] == 0 {
				return false
			}
		}
		return true
	})
	last := batch.Bell{Kind: batch.BellFinish, Run: "r_last"}
	ring(t, r, db, true, last) // rung after the ghost
	e.until(t, "the last bell", func(m map[batch.Bell]int) bool { return m[last] > 0 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.times[ghost] != 0 || len(e.times) != len(bells)+1 {
		t.Fatalf("%d bells were heard, the ghost %d times", len(e.times), e.times[ghost])
	}
}

// A bell that is answered by an error rings again, and one that was not heard
// when the process stopped is heard by the next.
func TestBellsOutliveErrorsAndRestarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "q.db")
	e := newEars()
	e.say = func(b batch.Bell, n int) error {
		if b.Run == "r_hard" && n == 1 {
			return errors.New("not now")
		}
		return nil
	}
	r, db := engine(t, path, e.hear)
	stop := start(t, r)
	hard := batch.Bell{Kind: batch.BellSeal, Run: "r_hard", N: 2}
	ring(t, r, db, true, hard)
	e.until(t, "the second try", func(m map[batch.Bell]int) bool { return m[hard] == 2 })
	stop()
	for i := range 3 {
		ring(t, r, db, true, batch.Bell{Kind: batch.BellFinish, Run: batch.RunID(fmt.Sprint("r_", i))})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	next := newEars()
	again, _ := engine(t, path, next.hear)
	start(t, again)
	next.until(t, "the bells of the last process", func(m map[batch.Bell]int) bool { return len(m) == 3 })
}

// A shard takes as long as it takes, and a stop that does not wait for it ends
// its context.
func TestStopEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan error, 1)
	r, db := engine(t, filepath.Join(t.TempDir(), "q.db"), func(ctx context.Context, _ batch.Bell) error {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	})
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	ring(t, r, db, true, batch.Bell{Kind: batch.BellWork, Run: "r_1"})
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.Stop(ctx) // it says that not everything ended by itself, or nothing
	if err := <-ended; err == nil {
		t.Fatal("it was not told to end")
	}
}
