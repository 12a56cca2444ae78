package simulator

import (
	"math"
	"sync"
	"time"
)

// levels are what the rate headers of an answer say.
type levels struct {
	rpm, tpm                 int64
	leftRequests, leftTokens int64
	resetRequests            time.Duration // until all of it is there again
	resetTokens              time.Duration
	at                       time.Time
}

// limiter is the vendor's side of RPM and TPM: two buckets with continuous
// refill, charged when a request arrives. A refused request charges nothing.
type limiter struct {
	mu               sync.Mutex
	requests, tokens float64
	at               time.Time
}

// room is how much of a rate may come at once.
func room(perMinute int64, burst float64) float64 {
	return math.Max(1, float64(perMinute)/60*burst)
}

// admit charges one request of that many tokens, or says how long to wait.
func (l *limiter) admit(k *Knobs, now time.Time, tokens int64) (levels, time.Duration) {
	if k.RPM == 0 && k.TPM == 0 {
		return levels{}, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	roomN, roomT := room(k.RPM, k.Burst), room(k.TPM, k.Burst)
	if l.at.IsZero() {
		l.requests, l.tokens = roomN, roomT
	} else if past := now.Sub(l.at).Minutes(); past > 0 {
		l.requests = math.Min(roomN, l.requests+past*float64(k.RPM))
		l.tokens = math.Min(roomT, l.tokens+past*float64(k.TPM))
	}
	l.at = now
	wait := max(until(1-l.requests, k.RPM), until(math.Min(float64(tokens), roomT)-l.tokens, k.TPM))
	if wait == 0 {
		l.requests--
		l.tokens -= float64(tokens)
	}
	return levels{
		rpm: k.RPM, tpm: k.TPM, at: now,
		leftRequests:  int64(math.Max(0, l.requests)),
		leftTokens:    int64(math.Max(0, l.tokens)),
		resetRequests: until(roomN-l.requests, k.RPM),
		resetTokens:   until(roomT-l.tokens, k.TPM),
	}, wait
}

func (l *limiter) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Time{}
}

// until is how long a rate takes to bring what is short.
func until(short float64, perMinute int64) time.Duration {
	if short <= 1e-9 || perMinute <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(short / float64(perMinute) * float64(time.Minute)))
}
