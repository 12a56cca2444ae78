package report

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// dice is a fixed sequence: the examples never change between machines.
type dice uint64

func (d *dice) roll(n int64) int64 {
	*d = *d*6364136223846793005 + 1442695040888963407
	return int64(uint64(*d)>>33) % n
}

var t0 = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

// exampleRun plays a run of n items on a provider that has a bad quarter of an
// hour, of which the first done items get their outcome.
func exampleRun(n, done int64, meta Run) Run {
	var b Builder
	d := dice(7)
	var attempts []batch.Attempt
	labels := []string{"billing", "delivery", "refund", "login", "other"}
	for i := range done {
		at := t0.UnixMicro() + i*47*60*1_000_000/n
		id := fmt.Sprintf("ticket-%05d", i+1)
		o := batch.Outcome{Ordinal: batch.Ordinal(i), ID: id, State: batch.ItemOK, Class: batch.ClassOK, Attempt: 1}
		call := func(class batch.Class, msg string, us int64) {
			a := batch.Attempt{Ordinal: o.Ordinal, ID: id, N: o.Attempt, Class: class, Message: msg, StartedAt: at, LatencyUS: us}
			if class.Traits().Billed {
				a.Usage = money.Usage{Input: 210 + d.roll(120), Output: 30 + d.roll(40), Cached: 64 * d.roll(3)}
				a.Charged = money.Amount{Tokens: a.Usage.Total(), Pico: money.PicoUSD(a.Usage.Input*150_000 + a.Usage.Output*600_000)}
			}
			if class == batch.ClassUnknown {
				a.Charged, a.Estimated = money.Amount{Tokens: 900, Pico: 300_000_000}, true
			}
			if o.Attempt > 1 {
				a.Charged.Retries = 1
			}
			attempts = append(attempts, a)
			at += us + 1_000_000
		}
		minute := i * 47 / n
		retry := func(class batch.Class, msg string, us int64) { call(class, msg, us); o.Attempt++ }
		if minute >= 9 && minute < 24 && d.roll(100) < 16-2*max(minute-16, 16-minute) {
			retry(batch.ClassRateLimited, "rate limit reached for requests", 280_000)
		}
		if d.roll(900) == 0 || minute == 31 && d.roll(30) == 0 {
			retry(batch.ClassTransient, "502 bad gateway", 900_000)
		}
		if minute == 31 && d.roll(60) == 0 {
			retry(batch.ClassUnknown, "no answer in 120 s", 120_000_000)
		}
		us := 600_000 + d.roll(1_400_000)
		if d.roll(12) == 0 {
			us = us*3 + d.roll(6_000_000)
		}
		switch roll := d.roll(1000); {
		case roll < 5:
			o.Class, o.Message = batch.ClassInvalidOutput, fmt.Sprintf(`$.sentiment: missing field "sentiment" (at byte %d)`, 40+d.roll(60))
		case roll < 7:
			o.Class, o.Message = batch.ClassFiltered, "blocked by the provider's content filter: category \"violence\""
		case roll < 8 && i%3 == 0:
			o.Class, o.Message = batch.ClassContextTooLong, fmt.Sprintf("maximum context length is 8192 tokens, requested %d", 8200+d.roll(4000))
		}
		if o.Class != batch.ClassOK {
			o.State = batch.ItemFailed
		} else {
			want := labels[d.roll(5)]
			got := want
			if d.roll(14) == 0 {
				got = labels[d.roll(5)]
			}
			b.AddComparison(want, got, want == got)
		}
		call(o.Class, o.Message, us)
		b.AddOutcome(o)
	}
	for _, a := range attempts {
		b.AddAttempt(a)
	}
	meta.Items.Total = n
	return b.Finish(meta)
}

func meta(state batch.RunState) Run {
	return Run{ID: "r_06f3k2m9q7w1x", Job: "nightly-support-summaries", State: state, Provider: "openai", Model: "gpt-4o-mini",
		PriceVersion: "openai/gpt-4o-mini, checked 2026-11-01", SpecFile: "job.yaml",
		SpecDigest:     "sha256:5f0b7c1e9d3a4f628b17c0de5a9e83b46f2d1c7a8e905b34d6f1a2c3e4b5d607",
		ManifestDigest: "sha256:c41d8f20b7e65a3918d4f6b2c0a7e5391f8d6b4c2a0e8f7d5b3c1a9e7f6d4b20",
		StartedAt:      t0, EndedAt: t0.Add(47*time.Minute + 12*time.Second),
		Budget:     Budget{Tokens: money.Unlimited, Pico: int64(money.USD), Retries: money.Unlimited},
		Evaluation: &Evaluation{Field: "category"},
		Timeline: []Event{
			{t0, "started", "by its schedule, “0 2 * * *”"},
			{t0.Add(14 * time.Minute), "rate_limited", "429 from the provider: pace 1.0 → 0.6"},
			{t0.Add(25 * time.Minute), "pace_restored", "0.6 → 1.0"},
			{t0.Add(31 * time.Minute), "worker_lost", "w5 did not answer for 20 s; its 12 leases were taken over"},
			{t0.Add(47 * time.Minute), "delivered", "5 files"},
		},
	}
}

func partialExample() Run {
	r := exampleRun(12_000, 12_000, meta(batch.RunPartial))
	r.ThresholdPPM = 5_000
	r.Plan = []PlanRow{
		{"items", UnitCount, 12_000, 12_000}, {PlanCost, UnitPicoUSD, 780_000_000_000, int64(r.Cost.Total())},
		{"input tokens", UnitTokens, 3_180_000, r.Tokens.Input}, {"output tokens", UnitTokens, 640_000, r.Tokens.Output},
		{"calls", UnitCount, 12_000, r.Attempts}, {PlanDuration, UnitMillis, 44 * 60_000, r.elapsed().Milliseconds()},
	}
	r.Outputs = []Output{
		{"results.jsonl", "", "jsonl", r.Items.OK, 2_911_204, "9b74c9897bac770ffc029102a200c5de6f1f5f1e5b1d0f4c8e6b3d7a2c9e0f11"},
		{"results.parquet", "", "parquet", r.Items.OK, 811_090, "0cc175b9c0f1b6a831c399e2697726612f9d0e8a7b6c5d4e3f2a1b0c9d8e7f60"},
		{"failed.jsonl", "", "jsonl", r.Items.Failed, 9_120, "92eb5ffee6ae2fec3ad71c777531578f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d"},
		{"ledger.jsonl", "", "jsonl", r.Attempts, 4_702_881, "4a8a08f09d37b73795649038408b5f33d1c0b9a8f7e6d5c4b3a291807f6e5d4c"},
	}
	return r
}

func stoppedExample() Run {
	m := meta(batch.RunStoppedBudget)
	m.StoppedBy, m.Budget.Tokens, m.Budget.Pico = money.DimTokens, 2_000_000, money.Unlimited
	m.EndedAt = t0.Add(25 * time.Minute)
	m.Timeline = m.Timeline[:2]
	return exampleRun(12_000, 6_260, m)
}

func greenExample() Run {
	m := meta(batch.RunSucceeded)
	m.Evaluation, m.Timeline = nil, nil
	var b Builder
	for i := range int64(200) {
		b.AddOutcome(batch.Outcome{Ordinal: batch.Ordinal(i), ID: fmt.Sprint("row-", i), State: batch.ItemOK, Class: batch.ClassOK, Attempt: 1})
	}
	for i := range int64(200) {
		b.AddAttempt(batch.Attempt{Ordinal: batch.Ordinal(i), N: 1, Class: batch.ClassOK, StartedAt: t0.UnixMicro() + i*40_000, LatencyUS: 40_000 + i*i*11,
			Usage: money.Usage{Input: 100, Output: 20}, Charged: money.Amount{Tokens: 120, Pico: 27_000_000}})
	}
	m.Items.Total, m.EndedAt = 200, t0.Add(8400*time.Millisecond)
	m.Budget.Pico = int64(money.USD)
	return b.Finish(m)
}

func singleExample() Run {
	m := Run{ID: "r_1", Job: "one", State: batch.RunSucceeded, Budget: Budget{Tokens: -1, Pico: -1, Retries: -1}, StartedAt: t0, EndedAt: t0.Add(time.Second)}
	var b Builder
	b.AddOutcome(batch.Outcome{ID: "only", State: batch.ItemOK, Class: batch.ClassOK, Output: json.RawMessage(`"x"`), Attempt: 1})
	b.AddAttempt(batch.Attempt{ID: "only", N: 1, Class: batch.ClassOK, StartedAt: t0.UnixMicro(), LatencyUS: 812_000,
		Usage: money.Usage{Input: 9, Output: 2}, Charged: money.Amount{Tokens: 11}})
	return b.Finish(m)
}

func emptyExample() Run {
	return Run{ID: "r_0", Job: "empty", State: batch.RunSucceeded, Budget: Budget{Tokens: -1, Pico: -1, Retries: -1}}
}

func examples() map[string]Run {
	return map[string]Run{"partial": partialExample(), "stopped": stoppedExample(), "green": greenExample(), "single": singleExample(), "empty": emptyExample()}
}
