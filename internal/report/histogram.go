package report

import (
	"encoding/json"
	"fmt"
	"math/bits"
)

// A bucket of the histogram is 1/16 of an octave wide, so a quantile is at
// most 6.25 % above the truth.
const (
	subBits = 4
	subs    = 1 << subBits
	octaves = 40 // up to 2^40 µs, 12 days
	slots   = (octaves - subBits + 1) * subs
)

// Histogram counts latencies in microseconds in logarithmic buckets. Two of
// them merge without loss. The zero value is empty and ready.
type Histogram struct {
	count, sum, low, high int64
	slot                  map[int]int64
}

// Add counts one latency. Negative ones count as 0.
func (h *Histogram) Add(us int64) {
	us = min(max(us, 0), 1<<octaves-1)
	if h.slot == nil {
		h.slot = map[int]int64{}
	}
	h.slot[slotOf(us)]++
	if h.count == 0 || us < h.low {
		h.low = us
	}
	h.high = max(h.high, us)
	h.sum += us
	h.count++
}

// Merge adds all of o.
func (h *Histogram) Merge(o Histogram) {
	if o.count == 0 {
		return
	}
	if h.slot == nil {
		h.slot = map[int]int64{}
	}
	for k, n := range o.slot {
		h.slot[k] += n
	}
	if h.count == 0 || o.low < h.low {
		h.low = o.low
	}
	h.high = max(h.high, o.high)
	h.sum += o.sum
	h.count += o.count
}

// Count is how many latencies were added.
func (h Histogram) Count() int64 { return h.count }

// Max is the largest latency, 0 when empty.
func (h Histogram) Max() int64 { return h.high }

// Mean is the average, rounded down; 0 when empty.
func (h Histogram) Mean() int64 {
	if h.count == 0 {
		return 0
	}
	return h.sum / h.count
}

// Quantile returns the latency that a share of perMille thousandths did not
// exceed (500 is the median), at most 6.25 % above the truth; 0 when empty.
func (h Histogram) Quantile(perMille int64) int64 {
	if h.count == 0 {
		return 0
	}
	want := max((h.count*min(max(perMille, 0), 1000)+999)/1000, 1)
	seen := int64(0)
	for i := range slots {
		if seen += h.slot[i]; seen >= want {
			return min(max(slotEnd(i)-1, h.low), h.high)
		}
	}
	return h.high
}

// Between counts the latencies in [from, to); exact when both are powers of two.
func (h Histogram) Between(from, to int64) int64 {
	n := int64(0)
	for i, c := range h.slot {
		if s := slotStart(i); s >= from && s < to {
			n += c
		}
	}
	return n
}

// slotOf gives small values a slot each; larger ones share by their top bits.
func slotOf(us int64) int {
	if us < subs {
		return int(us)
	}
	shift := bits.Len64(uint64(us)) - 1 - subBits
	return (shift+1)<<subBits + int(us>>shift) - subs
}

func slotStart(i int) int64 {
	if i < subs {
		return int64(i)
	}
	shift := i>>subBits - 1
	return int64(i&(subs-1)+subs) << shift
}

func slotEnd(i int) int64 { return slotStart(i + 1) }

type histogramJSON struct {
	Count int64 `json:"count"`
	Sum   int64 `json:"sum_us"`
	Min   int64 `json:"min_us"`
	Max   int64 `json:"max_us"`
	P50   int64 `json:"p50_us"`
	P95   int64 `json:"p95_us"`
	P99   int64 `json:"p99_us"`
	// Buckets are [from_us, count], filled ones only, in order.
	Buckets [][2]int64 `json:"buckets,omitempty"`
}

// MarshalJSON writes the filled buckets and, for readers, the usual quantiles.
func (h Histogram) MarshalJSON() ([]byte, error) {
	j := histogramJSON{Count: h.count, Sum: h.sum, Min: h.low, Max: h.high,
		P50: h.Quantile(500), P95: h.Quantile(950), P99: h.Quantile(990)}
	for i := range slots {
		if n := h.slot[i]; n > 0 {
			j.Buckets = append(j.Buckets, [2]int64{slotStart(i), n})
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote; counts that do not add up are an
// error.
func (h *Histogram) UnmarshalJSON(b []byte) error {
	var j histogramJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	out := Histogram{count: j.Count, sum: j.Sum, low: j.Min, high: j.Max}
	total := int64(0)
	for _, p := range j.Buckets {
		if p[0] < 0 || p[0] >= 1<<octaves || p[1] <= 0 || total+p[1] < total {
			return fmt.Errorf("latency histogram: bad bucket %v", p)
		}
		if out.slot == nil {
			out.slot = map[int]int64{}
		}
		out.slot[slotOf(p[0])] += p[1]
		total += p[1]
	}
	if total != j.Count {
		return fmt.Errorf("latency histogram: buckets hold %d, count is %d", total, j.Count)
	}
	*h = out
	return nil
}
