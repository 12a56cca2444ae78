package report

import (
	"maps"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// MaxColumns is the most buckets a series has.
const MaxColumns = 60

// widths a bucket can have, in milliseconds; each divides the next, so that a
// series that grows too long is folded without splitting a bucket.
func widths() []int64 {
	const s, m, h = 1000, 60_000, 3_600_000
	return []int64{100, 500, s, 5 * s, 15 * s, m, 5 * m, 15 * m, h, 3 * h, 6 * h, 12 * h, 24 * h, 7 * 24 * h, 28 * 24 * h, 364 * 24 * h, 3640 * 24 * h}
}

// series gathers buckets while their span is not yet known.
type series struct {
	level   int               // index into widths
	buckets map[int64]*Bucket // by time / width
	lo, hi  int64
}

// at returns the bucket of a time in unix milliseconds.
func (s *series) at(ms int64) *Bucket {
	if s.buckets == nil {
		s.buckets = map[int64]*Bucket{}
	}
	k := ms / widths()[s.level]
	if b := s.buckets[k]; b != nil {
		return b
	}
	lo, hi := k, k
	if len(s.buckets) > 0 {
		lo, hi = min(k, s.lo), max(k, s.hi)
	}
	if hi-lo >= MaxColumns {
		if s.level+1 == len(widths()) {
			// Six centuries: some clock was wrong, and its column is the nearest.
			return s.at(min(max(k, s.lo), s.hi) * widths()[s.level])
		}
		s.fold()
		return s.at(ms)
	}
	s.lo, s.hi = lo, hi
	b := &Bucket{ByClass: map[batch.Class]ClassCount{}}
	s.buckets[k] = b
	return b
}

func (s *series) fold() {
	ratio := widths()[s.level+1] / widths()[s.level]
	s.level++
	folded := map[int64]*Bucket{}
	for k, b := range s.buckets {
		if into := folded[k/ratio]; into != nil {
			into.add(b)
		} else {
			folded[k/ratio] = b
		}
	}
	s.buckets, s.lo, s.hi = folded, s.lo/ratio, s.hi/ratio
}

func (b *Bucket) add(o *Bucket) {
	b.Cost += o.Cost
	b.AtRisk += o.AtRisk
	b.Input += o.Input
	b.Output += o.Output
	b.Cached += o.Cached
	b.Charged += o.Charged
	b.Done += o.Done
	for c, n := range o.ByClass {
		b.count(c, n)
	}
}

func (b *Bucket) count(c batch.Class, n ClassCount) {
	sum := b.ByClass[c]
	b.ByClass[c] = ClassCount{sum.Count + n.Count, sum.Final + n.Final}
}

// list gives the buckets in order, with empty ones where nothing happened.
func (s *series) list() []Bucket {
	if len(s.buckets) == 0 {
		return nil
	}
	w := widths()[s.level]
	out := make([]Bucket, 0, s.hi-s.lo+1)
	for k := s.lo; k <= s.hi && len(out) < MaxColumns; k++ {
		b := Bucket{}
		if have := s.buckets[k]; have != nil {
			b = *have
			b.ByClass = maps.Clone(have.ByClass)
			if len(b.ByClass) == 0 {
				b.ByClass = nil
			}
		}
		b.Start, b.WidthMS = time.UnixMilli(k*w).UTC(), w
		out = append(out, b)
	}
	return out
}

// classTotal is one class over the whole run.
type classTotal struct {
	class batch.Class
	ClassCount
}

// classTotals sums the series by class, final failures first, then by count;
// ties by name, so that the order never changes between two renderings.
func classTotals(all []Bucket) []classTotal {
	sums := map[batch.Class]ClassCount{}
	for _, b := range all {
		for c, n := range b.ByClass {
			s := sums[c]
			sums[c] = ClassCount{s.Count + n.Count, s.Final + n.Final}
		}
	}
	out := make([]classTotal, 0, len(sums))
	for _, c := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, classTotal{c, sums[c]})
	}
	slices.SortStableFunc(out, func(a, b classTotal) int {
		if a.Final != b.Final {
			return compareDesc(a.Final, b.Final)
		}
		return compareDesc(a.Count, b.Count)
	})
	return out
}

func compareDesc(a, b int64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}
