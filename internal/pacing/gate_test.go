package pacing

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

func config() Config {
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	return Config{MaxConcurrency: 64, Now: time.Now, Rand: func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64()
	}}
}

// callers runs n loops of Acquire, call, Release until the time is over.
func callers(ctx context.Context, n int, g *Gate, tokens int64, call func() Observation) *sync.WaitGroup {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for g.Acquire(ctx, tokens) == nil {
				g.Release(call())
			}
		})
	}
	return &wg
}

func TestUsesTheWholeRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		rpm, tpm  int64
		est, real int64
		latency   time.Duration
		minutes   int
	}{
		{"rpm 60", 60, 0, 0, 0, time.Second, 5},
		{"rpm 600", 600, 0, 0, 0, 300 * ms, 5},
		{"rpm 30000", 30_000, 0, 0, 0, 50 * ms, 5},
		{"tpm small calls", 0, 600_000, 100, 100, 200 * ms, 5},
		{"tpm calls above the burst", 0, 60_000, 4_000, 4_000, 2 * time.Second, 5},
		{"tpm much over-estimated", 0, 60_000, 4_000, 400, 2 * time.Second, 30},
		{"tpm under-estimated", 0, 600_000, 100, 700, 200 * ms, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.RPM, cfg.TPM = c.rpm, c.tpm
				cfg.MaxConcurrency = 256
				g := NewGate(cfg)
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(c.minutes)*time.Minute)
				defer stop()
				var calls atomic.Int64
				callers(ctx, 300, g, c.est, func() Observation {
					calls.Add(1)
					time.Sleep(c.latency)
					return Observation{Class: batch.ClassOK, Estimated: c.est, Actual: c.real, Latency: c.latency, Sent: true}
				}).Wait()
				n, limit := float64(calls.Load()), float64(c.rpm)*float64(c.minutes)
				if c.tpm > 0 {
					n, limit = float64(calls.Load()*c.real), float64(c.tpm)*float64(c.minutes)
				}
				// A debt may stand at the end for calls that went under their true size.
				if n < 0.97*limit || n > 1.03*limit {
					t.Errorf("used %.4f of the rate", n/limit)
				}
			})
		})
	}
}

func TestReachesMaximumFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConcurrency = 256
		g := NewGate(cfg)
		ctx, stop := context.WithTimeout(t.Context(), 300*ms)
		defer stop()
		wg := callers(ctx, 400, g, 10, func() Observation {
			time.Sleep(50 * ms)
			return Observation{Class: batch.ClassOK, Latency: 50 * ms, Sent: true}
		})
		time.Sleep(175 * ms)
		if s := g.Snapshot(); s.InFlight != 256 || s.Limit != 256 || s.Why != WhyConcurrency || s.Waiting != 400-256 {
			t.Errorf("after 175 ms: %+v", s)
		}
		wg.Wait()
		if s := g.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("in the end: %+v", s)
		}
	})
}

func TestNobodySoonerThanRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(config())
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		type hint struct{ at, floor time.Time }
		var mu sync.Mutex
		var begun []time.Time
		var hints []hint
		chance := rand.New(rand.NewPCG(3, 4))
		callers(ctx, 100, g, 0, func() Observation {
			mu.Lock()
			begun = append(begun, time.Now())
			bad := chance.IntN(200) == 0
			after := time.Duration(chance.IntN(5000)) * ms
			mu.Unlock()
			time.Sleep(20 * ms)
			if !bad {
				return Observation{Class: batch.ClassOK, Latency: 20 * ms, Sent: true}
			}
			mu.Lock()
			hints = append(hints, hint{time.Now(), time.Now().Add(after)})
			mu.Unlock()
			return Observation{Class: batch.ClassRateLimited, RetryAfter: after, Latency: 20 * ms, Sent: true}
		}).Wait()
		if len(hints) < 5 || len(begun) < 500 {
			t.Fatalf("%d hints in %d calls", len(hints), len(begun))
		}
		for _, h := range hints {
			for _, b := range begun {
				// A call of the same instant may have been let through before the answer was told.
				if b.After(h.at) && b.Before(h.floor) {
					t.Fatalf("a call began %v before the time the provider named", h.floor.Sub(b))
				}
			}
		}
	})
}

func TestNoHerdAfterCooldown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConcurrency = 50
		g := NewGate(cfg)
		if err := g.Acquire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		g.Release(Observation{Class: batch.ClassRateLimited, RetryAfter: 2 * time.Second, Sent: true})
		end := g.Snapshot().CooldownUntil
		var mu sync.Mutex
		var begun []time.Duration
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		callers(ctx, 200, g, 0, func() Observation {
			mu.Lock()
			begun = append(begun, time.Since(end))
			mu.Unlock()
			<-ctx.Done()
			return Observation{Class: batch.ClassOK, Sent: true}
		}).Wait()
		if len(begun) != 40 || begun[0] < 0 {
			t.Fatalf("%d calls began, the first %v after the cooldown; want 40 and none before it", len(begun), begun[0])
		}
		for i := 4; i < len(begun); i++ {
			if gap := begun[i] - begun[i-4]; gap < 150*ms {
				t.Fatalf("5 calls within %v after the cooldown", gap)
			}
		}
		if s := g.Snapshot(); s.Cuts != 1 || s.Limit != 40 {
			t.Errorf("%+v, want one cut to 40", s)
		}
	})
}

func TestOneCutPerEpisode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConcurrency = 100
		g := NewGate(cfg)
		limit := g.Snapshot().Limit
		for range limit {
			if err := g.Acquire(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		time.Sleep(time.Second)
		for range limit {
			time.Sleep(20 * ms) // the last answers come after the cooldown ended
			g.Release(Observation{Class: batch.ClassRateLimited, Latency: time.Since(begin), Sent: true})
		}
		if s := g.Snapshot(); s.Cuts != 1 || !s.CooldownUntil.IsZero() {
			t.Errorf("%+v, want one cut, and an answer from before it to add nothing", s)
		}
	})
}

// vendor is a token bucket with a second's burst.
type vendor struct {
	mu     sync.Mutex
	rate   float64
	level  float64
	at     time.Time
	n, bad int64
}

func (v *vendor) call() Observation {
	v.mu.Lock()
	now := time.Now()
	v.level = min(v.rate/60, v.level+now.Sub(v.at).Seconds()*v.rate/60)
	v.at = now
	v.n++
	ok := v.level >= 1
	if ok {
		v.level--
	} else {
		v.bad++
	}
	v.mu.Unlock()
	if !ok {
		time.Sleep(5 * ms)
		return Observation{Class: batch.ClassRateLimited, RetryAfter: time.Second, Latency: 5 * ms, Sent: true}
	}
	time.Sleep(80 * ms)
	return Observation{Class: batch.ClassOK, Latency: 80 * ms, Sent: true}
}

func TestTwoCallersShareOneRateWithoutRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all Gates
		cfg := config()
		cfg.RPM = 6000
		k := Key{Host: "api.example", KeyID: "k1", Model: "m"}
		a, b := all.Get(k, cfg), all.Get(k, cfg)
		if a != b {
			t.Fatal("one key has two gates")
		}
		if all.Get(Key{Host: "api.example", KeyID: "k2", Model: "m"}, cfg) == a {
			t.Fatal("two keys share a gate")
		}
		v := &vendor{rate: 6000, level: 100, at: time.Now()}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		defer stop()
		var fromA, fromB atomic.Int64
		wa := callers(ctx, 40, a, 0, func() Observation { fromA.Add(1); return v.call() })
		wb := callers(ctx, 40, b, 0, func() Observation { fromB.Add(1); return v.call() })
		wa.Wait()
		wb.Wait()
		if v.bad*200 > v.n || float64(v.n-v.bad) < 0.97*2*6000 {
			t.Errorf("%d calls, %d refused; want 0.97 of 12000 and under 0.5 %% refused", v.n, v.bad)
		}
		if d := fromA.Load() - fromB.Load(); d > v.n/10 || d < -v.n/10 {
			t.Errorf("unfair: %d and %d", fromA.Load(), fromB.Load())
		}
	})
}

// Without a configured rate the gate still finds one: it must neither storm nor starve.
func TestFindsAnUnknownRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConcurrency = 256
		g := NewGate(cfg)
		v := &vendor{rate: 6000, level: 100, at: time.Now()}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
		defer stop()
		callers(ctx, 300, g, 0, v.call).Wait()
		good := float64(v.n-v.bad) / (5 * 6000)
		if good < 0.5 || float64(v.bad)/float64(v.n) > 0.1 {
			t.Errorf("%.3f of the rate used, %d of %d refused", good, v.bad, v.n)
		}
		t.Logf("%.3f of an unknown rate used, %.4f refused, %+v", good, float64(v.bad)/float64(v.n), g.Snapshot())
	})
}

func TestFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.TPM, cfg.MaxConcurrency = 60_000, 1
		g := NewGate(cfg)
		if err := g.Acquire(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := g.Acquire(t.Context(), int64(1+(i%3)*5000)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				g.Release(obs(batch.ClassOK))
			})
			synctest.Wait()
		}
		g.Release(obs(batch.ClassOK))
		wg.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConcurrency = 1
		g := NewGate(cfg)
		if err := g.Acquire(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { errs <- g.Acquire(ctx, 0) }()
		synctest.Wait()
		go func() { errs <- g.Acquire(t.Context(), 0) }()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Fatalf("a cancelled caller got %v", err)
		}
		g.Release(obs(batch.ClassOK))
		if err := <-errs; err != nil {
			t.Fatalf("the caller behind a cancelled one got %v", err)
		}
		if err := g.Acquire(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Fatalf("an ended context acquired: %v", err)
		}
		if s := g.Snapshot(); s.InFlight != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Cancellation at the very moment of a grant must lose neither slot nor turn.
func TestCancelRacesGrant(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.MaxConcurrency = 4
	g := NewGate(cfg)
	var wg sync.WaitGroup
	var open, most atomic.Int64
	for i := range 64 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%2 == 0 {
					go cancel()
				}
				if g.Acquire(ctx, 1) == nil {
					if n := open.Add(1); n > most.Load() {
						most.Store(n)
					}
					open.Add(-1)
					g.Release(Observation{Class: batch.ClassOK, Sent: true})
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if s := g.Snapshot(); s.InFlight != 0 || s.Waiting != 0 || most.Load() > 4 {
		t.Errorf("%+v, at most %d open", s, most.Load())
	}
}

func TestReconfigureWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.RPM = 1
		g := NewGate(cfg)
		done := make(chan error, 2)
		for range 2 {
			go func() { done <- g.Acquire(t.Context(), 0) }()
		}
		<-done
		synctest.Wait()
		if s := g.Snapshot(); s.Why != WhyRPM || s.Waiting != 1 {
			t.Fatalf("%+v", s)
		}
		begin := time.Now()
		cfg.RPM = 0
		g.Reconfigure(cfg)
		<-done
		if d := time.Since(begin); d != 0 {
			t.Errorf("woke after %v", d)
		}
	})
}

func BenchmarkGate(b *testing.B) {
	for _, c := range []struct {
		name string
		rpm  int64
	}{{"unlimited", 0}, {"rates", 1 << 40}} {
		b.Run(c.name, func(b *testing.B) {
			cfg := config()
			cfg.RPM, cfg.TPM = c.rpm, c.rpm
			g := NewGate(cfg)
			b.ReportAllocs()
			for b.Loop() {
				_ = g.Acquire(b.Context(), 100)
				g.Release(Observation{Class: batch.ClassOK, Estimated: 100, Actual: 90, Sent: true})
			}
		})
	}
	b.Run("contended", func(b *testing.B) {
		g := NewGate(config())
		b.SetParallelism(128)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = g.Acquire(b.Context(), 100)
				g.Release(Observation{Class: batch.ClassOK, Sent: true})
			}
		})
	})
}
