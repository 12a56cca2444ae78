package pacing

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
)

// Whatever callers and answers come in whatever order, the bounds hold.
func TestStateKeepsItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(0, 20).Draw(t, "min")
		c := Config{MinConcurrency: low, MaxConcurrency: rapid.IntRange(0, 200).Draw(t, "max"),
			RPM: rapid.Int64Range(0, 5000).Draw(t, "rpm"), TPM: rapid.Int64Range(0, 1_000_000).Draw(t, "tpm")}
		s := newState(c, 0)
		var now, floor time.Duration
		var open []int64
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "pass"))
			if len(open) == 0 || rapid.Bool().Draw(t, "start") {
				tokens := rapid.Int64Range(0, 50_000).Draw(t, "tokens")
				wait, why := s.decide(now, tokens)
				if (wait == 0) != (why == WhyNone) || wait < 0 {
					t.Fatalf("wait %v because of %q", wait, why)
				}
				if wait == 0 {
					if now < floor {
						t.Fatalf("started %v before the provider's time", floor-now)
					}
					s.start(now, tokens)
					open = append(open, tokens)
				} else if wait != never {
					// What only time holds back goes when the time is over.
					later := *s
					again, next := later.decide(now+wait, tokens)
					if again > 0 && next == why && why != WhyCooldown && again > time.Microsecond {
						t.Fatalf("%s: told to wait %v, and then %v more", why, wait, again)
					}
				}
			} else {
				o := Observation{Class: rapid.SampledFrom(batch.Classes()).Draw(t, "class"), Estimated: open[0],
					Actual:     rapid.Int64Range(0, 60_000).Draw(t, "actual"),
					RetryAfter: time.Duration(rapid.Int64Range(-1, int64(time.Minute)).Draw(t, "hint")),
					Latency:    time.Duration(rapid.Int64Range(0, int64(now)+1).Draw(t, "latency")), Sent: rapid.Bool().Draw(t, "sent")}
				open = open[1:]
				s.observe(now, o, rapid.Float64Range(0, 0.999).Draw(t, "rnd"))
				if o.Class.Traits().Cooldown {
					floor = max(floor, now+o.RetryAfter)
				}
			}
			if s.limit < float64(s.min) || s.limit > float64(s.max) || s.inflight != len(open) || s.min < 1 || s.max < s.min {
				t.Fatalf("limit %v of [%d,%d], in flight %d of %d", s.limit, s.min, s.max, s.inflight, len(open))
			}
		}
	})
}
