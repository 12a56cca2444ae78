package tokens

import (
	"encoding/json"
	"fmt"
)

// Calibration learns, for one model and one template, how far estimates of
// input tokens are off. It is a pure value: Observe returns the next one. The
// zero value has seen nothing. All numbers are integers, so every machine
// learns the same.
type Calibration struct {
	n    int64
	ewma int64 // of actual/estimated, in millionths
	// counts of ratios by step of 2.5 %; the last takes all above.
	steps [stepCount]uint32
}

const (
	stepPPM   = 25_000
	stepCount = 161 // up to 4.0
	// warm is how many observations make the 99th percentile mean something.
	warm = 50
	// coldPPM is the headroom until then.
	coldPPM = 1_300_000
	// An observation weighs 1/32 once 32 have been seen; before, all weigh alike.
	window = 32
)

// Observe returns c with one more call: what was estimated for it and what the
// provider billed. Calls without both numbers teach nothing.
func (c Calibration) Observe(estimated, actual int64) Calibration {
	if estimated <= 0 || actual <= 0 || estimated > 1<<40 || actual > 1<<40 {
		return c
	}
	ratio := min(actual*1_000_000/estimated, 1000*1_000_000)
	c.n++
	c.ewma += (ratio - c.ewma) / min(c.n, window)
	step := min((ratio+stepPPM-1)/stepPPM, stepCount-1)
	c.steps[step]++
	if c.steps[step] == 1<<31 { // forget half, keep the shape
		for i := range c.steps {
			c.steps[i] /= 2
		}
	}
	return c
}

// N is the number of calls observed.
func (c Calibration) N() int64 { return c.n }

// MeanPPM is the moving average of actual/estimated in millionths; 1,000,000
// before anything was seen.
func (c Calibration) MeanPPM() int64 {
	if c.n == 0 {
		return 1_000_000
	}
	return c.ewma
}

// P99PPM is the ratio that 99 of 100 calls stay within, rounded up to 2.5 %. It
// is known from 50 calls on; before, it is a headroom of 1.3.
func (c Calibration) P99PPM() (ppm int64, known bool) {
	if c.n < warm {
		return max(coldPPM, c.MeanPPM()), false
	}
	var total, seen int64
	for _, k := range c.steps {
		total += int64(k)
	}
	for i, k := range c.steps {
		if seen += int64(k); seen*100 >= total*99 {
			return int64(i) * stepPPM, true
		}
	}
	return (stepCount - 1) * stepPPM, true
}

// Likely corrects an estimate to what will most likely be billed.
func (c Calibration) Likely(estimated int64) int64 { return scale(estimated, c.MeanPPM()) }

// High corrects an estimate to what 99 of 100 calls stay within.
func (c Calibration) High(estimated int64) int64 {
	ppm, _ := c.P99PPM()
	return scale(estimated, ppm)
}

// scale is n·ppm/10^6 rounded up, without overflow for any n up to 2^53.
func scale(n, ppm int64) int64 {
	whole, rest := n/1_000_000, n%1_000_000
	return whole*ppm + (rest*ppm+999_999)/1_000_000
}

type calibrationJSON struct {
	N     int64            `json:"n"`
	Mean  int64            `json:"mean_ppm"`
	Steps map[int64]uint32 `json:"steps,omitempty"` // ratio in ppm, up to which: count
}

// MarshalJSON writes only the steps that were seen.
func (c Calibration) MarshalJSON() ([]byte, error) {
	out := calibrationJSON{N: c.n, Mean: c.ewma, Steps: map[int64]uint32{}}
	for i, k := range c.steps {
		if k > 0 {
			out.Steps[int64(i)*stepPPM] = k
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote and refuses what it cannot have.
func (c *Calibration) UnmarshalJSON(b []byte) error {
	var in calibrationJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.N < 0 || in.Mean < 0 || in.Mean > 1000*1_000_000 || in.N > 0 && len(in.Steps) == 0 {
		return fmt.Errorf("calibration: impossible numbers")
	}
	next := Calibration{n: in.N, ewma: in.Mean}
	for ppm, k := range in.Steps {
		if ppm < 0 || ppm%stepPPM != 0 || ppm/stepPPM >= stepCount || k >= 1<<31 {
			return fmt.Errorf("calibration: impossible step")
		}
		next.steps[ppm/stepPPM] = k
	}
	*c = next
	return nil
}
