package pacing

import (
	"math"
	"time"
)

const (
	// share of the stated rate that is used. Together with a small burst it keeps
	// every window of a minute inside the rate, also where the provider counts
	// in fixed or sliding windows and the network bunches requests.
	share = 0.99
	// burstPart of a minute's rate may go at once: a quarter of a second's worth.
	burstPart = 240
	// slack absorbs rounding of the float arithmetic, in units of the bucket.
	slack = 1e-6
	// never is the wait for something that only another caller's end can bring.
	never = time.Duration(math.MaxInt64)
)

// bucket is a token bucket with continuous refill. A rate of 0 means no limit.
// A request larger than the burst goes when the bucket is full and leaves a
// debt, so that it is delayed and never starved.
type bucket struct {
	perMinute int64
	perNano   float64
	burst     float64
	level     float64
	at        time.Duration
}

func newBucket(perMinute int64, now time.Duration) bucket {
	b := bucket{at: now}
	b.setRate(perMinute, now)
	b.level = b.burst
	return b
}

// setRate changes the rate from now on and keeps the debt.
func (b *bucket) setRate(perMinute int64, now time.Duration) {
	b.refill(now)
	unlimited := b.perMinute <= 0
	b.perMinute = max(perMinute, 0)
	b.perNano = share * float64(b.perMinute) / float64(time.Minute)
	b.burst = math.Max(1, float64(b.perMinute)/burstPart)
	if b.level > b.burst || unlimited {
		b.level = b.burst
	}
}

func (b *bucket) refill(now time.Duration) {
	if now <= b.at {
		return
	}
	// A level above the burst comes from refunds and is not cut: what was
	// charged too much belongs to the callers.
	if b.level < b.burst {
		b.level = math.Min(b.burst, b.level+float64(now-b.at)*b.perNano)
	}
	b.at = now
}

// wait is how long until n can be taken; 0 means now.
func (b *bucket) wait(n float64, now time.Duration) time.Duration {
	if b.perMinute <= 0 || n <= 0 {
		return 0
	}
	b.refill(now)
	short := math.Min(n, b.burst) - b.level
	if short <= slack {
		return 0
	}
	return time.Duration(math.Ceil(short / b.perNano))
}

// take charges n; a negative n gives back.
func (b *bucket) take(n float64) {
	if b.perMinute > 0 {
		b.level -= n
	}
}

// used counts what went out in the last minute, by seconds.
type used struct {
	slot [60]int64
	sec  int64 // of the newest slot
}

func (u *used) add(n int64, now time.Duration) {
	u.turn(now)
	u.slot[u.sec%60] += n
}

func (u *used) turn(now time.Duration) {
	sec := int64(now / time.Second)
	if sec-u.sec >= 60 {
		u.slot, u.sec = [60]int64{}, sec
		return
	}
	for u.sec < sec {
		u.sec++
		u.slot[u.sec%60] = 0
	}
}

func (u *used) total(now time.Duration) int64 {
	u.turn(now)
	var sum int64
	for _, n := range u.slot {
		sum += n
	}
	return max(sum, 0)
}
