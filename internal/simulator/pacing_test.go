package simulator_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/pacing"
)

// A gate that knows the vendor's rates must use them whole and hardly ever be
// told to wait.
func TestPacingUsesTheVendorsRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		knobs    string
		cfg      pacing.Config
		minutes  int
		estimate int64
	}{
		{"latency=lognormal:400ms:0.6,rpm=600", pacing.Config{RPM: 600}, 2, 0},
		{"latency=lognormal:100ms:0.6,rpm=3000", pacing.Config{RPM: 3000}, 1, 0},
		{"latency=uniform:200ms:2s,tpm=120000,words=40", pacing.Config{TPM: 120_000}, 3, 105},
		{"latency=uniform:200ms:2s,tpm=120000,charge=max", pacing.Config{TPM: 120_000, KeepEstimate: true}, 3, 105},
	} {
		t.Run(c.knobs, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := inProcess(t, c.knobs)
				c.cfg.MaxConcurrency, c.cfg.Now, c.cfg.Rand = 128, time.Now, func() float64 { return 0.5 }
				g := pacing.NewGate(c.cfg)
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(c.minutes)*time.Minute)
				defer stop()
				var wg sync.WaitGroup
				var mu sync.Mutex
				n := 0
				for range 150 {
					wg.Go(func() {
						for g.Acquire(ctx, c.estimate) == nil {
							mu.Lock()
							n++
							i := n
							mu.Unlock()
							begin := time.Now()
							p := send(t, s, chatPath, chatBody(fmt.Sprintf("number %06d of many.", i)))
							o := pacing.Observation{Class: batch.ClassOK, Estimated: c.estimate, Latency: time.Since(begin), Sent: true}
							if p.Status == 429 {
								o.Class, o.RetryAfter = batch.ClassRateLimited, time.Second
							} else {
								o.Actual = usage(t, p)
							}
							g.Release(o)
						}
					})
				}
				wg.Wait()
				b := s.Totals()
				refused := float64(b.ByClass[batch.ClassRateLimited]) / float64(b.TotalCalls)
				used, most := float64(b.BilledCalls), float64(c.cfg.RPM)
				switch {
				case c.cfg.KeepEstimate:
					used, most = float64(b.BilledCalls*c.estimate), float64(c.cfg.TPM)
				case c.cfg.TPM > 0:
					used, most = float64(b.BilledInputTokens+b.BilledOutputTokens), float64(c.cfg.TPM)
				}
				used /= most * float64(c.minutes)
				t.Logf("%.4f of the rate, %.4f refused, %d calls", used, refused, b.TotalCalls)
				if used < 0.97 || refused > 0.005 {
					t.Errorf("%.4f of the rate used, %.4f of the calls refused", used, refused)
				}
			})
		})
	}
}
