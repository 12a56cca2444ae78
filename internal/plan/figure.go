package plan

import (
	"math"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// most is the largest amount a plan speaks of; beyond it figures stay there.
// Estimates may be floats: they are shown and compared, never booked.
const most = 1 << 60

func satAdd(a, b int64) int64 { return min(a+b, most) }

// up rounds to whole tokens, never below what was meant.
func up(x float64) int64 {
	if math.IsNaN(x) || x <= 0 {
		return 0
	}
	return int64(min(math.Ceil(x-1e-6), most))
}

// ordered restores P10 ≤ P50 ≤ P90 ≤ Worst where a bound is tighter than the
// spread of the estimate. P50 is the figure that is kept.
func (f Figure) ordered() Figure {
	f.Worst = max(f.Worst, f.P50)
	f.P10 = min(f.P10, f.P50)
	f.P90 = min(max(f.P90, f.P50), f.Worst)
	return f
}

// z is the 90th percentile of the normal distribution.
const z = 1.2816

// inputTokens scales the sample up to all items to call. Where sizes in bytes
// are known for all of them, tokens are taken as a + b·bytes, fitted to the
// sample, which is far tighter than the mean when items differ in length. The
// spread is the standard error of that, with the correction for a finite
// population: a sample of everything has none.
func inputTokens(f Facts, n int64) Figure {
	m := len(f.Sample)
	if n == 0 {
		return Figure{Accuracy: Exact, WorstAccuracy: Exact}
	}
	if m == 0 {
		// Nothing was measured: 3.2 bytes make a token, and a token has at least
		// one byte.
		est := float64(f.Bytes.Sum) / 3.2
		return Figure{up(est * 0.7), up(est), up(est * 1.4), f.Bytes.Sum, Estimate, Estimate}.ordered()
	}
	whole := int64(m) >= n
	allExact := !slices.ContainsFunc(f.Sample, func(s SampleItem) bool { return !s.InputExact })
	var tokens, bounds float64
	for _, s := range f.Sample {
		tokens += float64(s.InputTokens)
		bounds += float64(s.InputBound)
	}
	if whole {
		scale := float64(n) / float64(m) // 1, unless the caller measured more than is called
		fig := Figure{P50: up(tokens * scale), Worst: up(bounds * scale), Accuracy: Exact, WorstAccuracy: UpperBound}
		fig.P10, fig.P90 = fig.P50, fig.P50
		if !allExact {
			fig.Accuracy = Estimate
			fig.P10, fig.P90 = up(tokens*scale*0.85), up(tokens*scale*1.2)
		}
		return fig.ordered()
	}
	mean, se := scaled(f, n)
	if !allExact { // a heuristic's own error does not shrink with the sample
		se = math.Hypot(se, 0.12*mean)
	}
	return Figure{up(mean - z*se), up(mean), up(mean + z*se), worstInput(f, n), Sampled, Estimate}.ordered()
}

// overItem counts the items of the sample that budget.item_tokens keeps from
// starting, scaled up to all; nil when there is no such budget or no sample.
func overItem(f Facts, n int64) *Count {
	m := int64(len(f.Sample))
	if f.Budget.ItemTokens < 0 || m == 0 || n == 0 {
		return nil
	}
	over := 0.0
	for _, s := range f.Sample {
		if satAdd(s.InputBound, f.MaxOutputTokens) > f.Budget.ItemTokens {
			over++
		}
	}
	if m >= n {
		return &Count{int64(over), Exact}
	}
	return &Count{up(over / float64(m) * float64(n)), Sampled}
}

// scaled returns the expected sum of input tokens of n items and its standard
// error.
func scaled(f Facts, n int64) (mean, se float64) {
	m := float64(len(f.Sample))
	var sx, sy float64
	for _, s := range f.Sample {
		sx += float64(s.Bytes)
		sy += float64(s.InputTokens)
	}
	mx, my := sx/m, sy/m
	var sxx, sxy, syy float64
	for _, s := range f.Sample {
		dx, dy := float64(s.Bytes)-mx, float64(s.InputTokens)-my
		sxx, sxy, syy = sxx+dx*dx, sxy+dx*dy, syy+dy*dy
	}
	N := float64(n)
	slope := 0.0
	if f.Bytes.Items > 0 && sxx > 0 && m >= 5 && sxy > 0 {
		slope = sxy / sxx
	}
	popMean := mx
	if f.Bytes.Items > 0 {
		popMean = float64(f.Bytes.Sum) / float64(f.Bytes.Items)
	}
	mean = N * max(my+slope*(popMean-mx), 0)
	rest := max(syy-slope*sxy, 0) / max(m-2, 1)
	se = N * math.Sqrt(rest/m*max(1-m/N, 0))
	if m < 5 { // too few to know a spread from
		se = max(se, 0.25*mean)
	}
	return mean, se
}

// worstInput bounds the items that were not measured by the largest gap between
// bound and size that was.
func worstInput(f Facts, n int64) int64 {
	var gap, bound int64
	for _, s := range f.Sample {
		gap, bound = max(gap, s.InputBound-s.Bytes), max(bound, s.InputBound)
	}
	if f.Bytes.Items == 0 {
		return up(float64(bound) * float64(n))
	}
	return up(float64(f.Bytes.Sum)/float64(f.Bytes.Items)*float64(n) + float64(gap)*float64(n))
}

// outputTokens says how long all answers together will be. Earlier answers of
// the same job and prompt tell best, then trial calls of this sample. A sum of
// many answers lies near their mean, not their median; its spread is that of
// the mean, and a twentieth for what has drifted since.
//
// With neither, the prior is: P10 5 %, P50 50 % and P90 100 % of
// max_output_tokens. That is a guess, is labelled one, and refuses no run: see
// Decide.
func outputTokens(f Facts, n int64) Figure {
	worst := up(float64(f.MaxOutputTokens) * float64(n))
	if n == 0 {
		return Figure{Accuracy: Exact, WorstAccuracy: Exact}
	}
	a, acc := f.Answers, History
	if a.Calls < 5 {
		var trial []money.Usage
		for _, s := range f.Sample {
			if s.OutputTokens > 0 {
				trial = append(trial, money.Usage{Output: s.OutputTokens})
			}
		}
		a, acc = Summarise(trial), Sampled
	}
	if a.Calls < 5 {
		w := float64(worst)
		return Figure{up(w * 0.05), up(w * 0.5), worst, worst, Estimate, UpperBound}.ordered()
	}
	mean, N := float64(a.Mean), float64(n)
	sd := float64(a.P90-a.P10) / (2 * z)
	spread := N * (z*sd*math.Sqrt(1/float64(a.Calls)+1/N) + 0.05*mean)
	p50 := min(up(mean*N), worst)
	return Figure{up(float64(p50) - spread), p50, up(float64(p50) + spread), worst, acc, UpperBound}.ordered()
}

// Summarise turns the usage of earlier calls into Answers.
func Summarise(calls []money.Usage) Answers {
	if len(calls) == 0 {
		return Answers{}
	}
	out := make([]int64, len(calls))
	var total money.Usage
	for i, u := range calls {
		out[i] = u.Output
		total = total.Plus(u)
	}
	slices.Sort(out)
	at := func(q int) int64 { return out[(len(out)-1)*q/100] }
	a := Answers{Calls: int64(len(out)), Mean: total.Output / int64(len(out)), P10: at(10), P50: at(50), P90: at(90)}
	if total.Input > 0 {
		a.CachedPPM = int64(float64(total.Cached) / float64(total.Input) * 1e6)
	}
	return a
}

// duration is the longest of what request rate, token rate and concurrency
// allow.
func duration(f Facts, p Plan) Time {
	n := float64(p.ToCall.N)
	if n == 0 {
		return Time{BoundBy: "nothing to call", Accuracy: Exact}
	}
	acc := History
	mid, slow := f.Latency.P50, f.Latency.P90
	if f.Latency.Calls < 5 {
		// A prior: one second, and 50 tokens a second after it.
		perCall := func(tokens int64) time.Duration {
			return time.Second + time.Duration(float64(tokens)/n*float64(time.Second)/50)
		}
		mid, slow, acc = perCall(p.Output.P50), perCall(p.Output.P90), Estimate
	}
	lanes := float64(f.Pacing.MaxConcurrency)
	if lanes <= 0 {
		lanes = 16
	}
	t := Time{BoundBy: "concurrency", Accuracy: worse(acc, p.Total.Accuracy)}
	p50 := n * mid.Seconds() / lanes
	// The slow calls do not all come together: the run's own spread is smaller.
	p90 := n * (0.5*mid.Seconds() + 0.5*max(slow, mid).Seconds()) / lanes
	longer := func(by string, a, b float64) {
		if a > p50 {
			p50, t.BoundBy = a, by
		}
		p90 = max(p90, b)
	}
	if f.Pacing.RPM > 0 {
		longer("rpm", n/float64(f.Pacing.RPM)*60, n/float64(f.Pacing.RPM)*60)
	}
	if f.Pacing.TPM > 0 {
		longer("tpm", float64(p.Total.P50)/float64(f.Pacing.TPM)*60, float64(p.Total.P90)/float64(f.Pacing.TPM)*60)
	}
	t.P50, t.P90 = up(p50), max(up(p90), up(p50))
	return t
}
