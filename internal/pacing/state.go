package pacing

import (
	"math"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

const (
	startConcurrency = 64 // where a gate with a larger maximum begins
	cutRateLimited   = 0.8
	cutRamp          = 0.5
	// faultCost is how many successes one passing fault takes to make up for
	// before the limit grows again: growth stops where about one call in
	// eleven fails, and the limit itself never shrinks for it.
	faultCost = 10

	firstCooldown = 500 * time.Millisecond
	maxCooldown   = 60 * time.Second
	maxHint       = 24 * time.Hour // beyond it a hint is taken as a day
	minRamp       = 20 * time.Millisecond
	maxRamp       = 5 * time.Second
)

// Reasons why a caller waits, as Snapshot.Why says them.
const (
	WhyNone        = ""
	WhyConcurrency = "concurrency"
	WhyRPM         = "rpm"
	WhyTPM         = "tpm"
	WhyCooldown    = "cooldown"
)

// state is the whole knowledge of a gate. Its methods are pure in the sense
// that time and chance are arguments; the caller holds the lock.
type state struct {
	min, max     int
	keepEstimate bool
	rpm, tpm     bucket
	sentN, sentT used

	inflight int
	limit    float64
	fast     bool    // grow by doubling: no cut happened yet
	credit   float64 // successes not yet turned into growth; negative after faults

	episodeFrom   time.Duration // when the present or last cooldown episode began
	cooldownUntil time.Duration
	rampUntil     time.Duration // after a cooldown the limit comes back over [cooldownUntil, rampUntil]
	streak        int           // episodes without a success between them

	cuts, grows int64
}

func newState(c Config, now time.Duration) *state {
	s := &state{fast: true, episodeFrom: -1, rpm: newBucket(c.RPM, now), tpm: newBucket(c.TPM, now)}
	s.setBounds(c)
	s.limit = float64(max(s.min, min(s.max, startConcurrency)))
	return s
}

func (s *state) setBounds(c Config) {
	s.keepEstimate = c.KeepEstimate
	s.min = max(1, c.MinConcurrency)
	s.max = c.MaxConcurrency
	if s.max <= 0 {
		s.max = startConcurrency
	}
	s.max = max(s.max, s.min)
	s.limit = math.Min(math.Max(s.limit, float64(s.min)), float64(s.max))
}

// decide says whether a call of that many tokens may start now: wait 0. Else
// how long nothing can change by time alone (never: only a Release helps) and
// what holds it back.
func (s *state) decide(now time.Duration, tokens int64) (time.Duration, string) {
	if now < s.cooldownUntil {
		return s.cooldownUntil - now, WhyCooldown
	}
	if w, why := s.slot(now); w > 0 {
		return w, why
	}
	if w := s.rpm.wait(1, now); w > 0 {
		return w, WhyRPM
	}
	if w := s.tpm.wait(float64(tokens), now); w > 0 {
		return w, WhyTPM
	}
	return 0, WhyNone
}

// slot is decide for concurrency alone. After a cooldown the limit is given
// back evenly over the ramp, so that those who waited do not all go at once.
func (s *state) slot(now time.Duration) (time.Duration, string) {
	limit := math.Floor(s.limit)
	if float64(s.inflight) >= limit {
		return never, WhyConcurrency
	}
	if now >= s.rampUntil || limit <= 1 {
		return 0, WhyNone
	}
	length := float64(s.rampUntil - s.cooldownUntil)
	due := s.cooldownUntil + time.Duration(math.Ceil(length*float64(s.inflight)/(limit-1)))
	if due <= now {
		return 0, WhyNone
	}
	return due - now, WhyCooldown
}

// start charges a call that decide allowed.
func (s *state) start(now time.Duration, tokens int64) {
	s.inflight++
	s.rpm.take(1)
	s.tpm.take(float64(tokens))
	s.sentN.add(1, now)
	s.sentT.add(tokens, now)
}

// undo takes back a start whose call was never made.
func (s *state) undo(now time.Duration, tokens int64) {
	s.inflight--
	s.giveBack(now, tokens)
}

func (s *state) giveBack(now time.Duration, tokens int64) {
	s.rpm.refill(now)
	s.rpm.take(-1)
	s.tpm.refill(now)
	s.tpm.take(-float64(tokens))
	s.sentN.add(-1, now)
	s.sentT.add(-tokens, now)
}

// observe ends one call: it frees the slot, corrects the tokens and learns from
// the class. rnd is uniform in [0,1).
func (s *state) observe(now time.Duration, o Observation, rnd float64) {
	busy := s.inflight
	s.inflight--
	switch {
	case !o.Sent:
		s.giveBack(now, o.Estimated)
	case o.Actual > 0:
		s.trueUp(now, o)
	}
	switch effectOf(o) {
	case effectCooldown:
		s.coolDown(now, o, rnd)
	case effectFault:
		s.credit = math.Max(s.credit-faultCost, -s.limit)
	case effectHealthy:
		s.healthy(now, o, busy)
	}
}

func (s *state) trueUp(now time.Duration, o Observation) {
	d := o.Actual - o.Estimated
	if d < 0 && s.keepEstimate {
		return
	}
	s.tpm.refill(now)
	s.tpm.take(float64(d))
	s.sentT.add(d, now)
}

// effect is what a class means for the pace.
type effect int

const (
	effectNone effect = iota
	effectHealthy
	effectFault
	effectCooldown
)

func effectOf(o Observation) effect {
	t := o.Class.Traits()
	switch {
	case t.Cooldown:
		return effectCooldown
	case t.StopsLane:
		return effectNone
	case o.Class == batch.ClassInvalidOutput:
		return effectHealthy // answered; the answer's content is not the rate's matter
	case t.Retry:
		return effectFault
	case o.Sent:
		return effectHealthy
	}
	return effectNone
}

// coolDown begins an episode, or adds to the one that this call belongs to: a
// call that began before the episode's end tells nothing new about the pace,
// but its hint still binds.
func (s *state) coolDown(now time.Duration, o Observation, rnd float64) {
	same := s.episodeFrom >= 0 && now-max(o.Latency, 0) < s.cooldownUntil
	until := now
	if hint := min(o.RetryAfter, maxHint); hint > 0 {
		// At most a quarter more, so that a fleet does not return in step.
		until += hint + time.Duration(rnd*float64(min(hint/4, 2*time.Second)))
	} else if !same {
		d := min(firstCooldown<<min(s.streak, 10), maxCooldown)
		until += d/2 + time.Duration(rnd*float64(d/2))
	}
	if !same {
		s.episodeFrom = now
		s.streak++
		s.cut(o.Class)
	}
	if until > s.cooldownUntil && until > now {
		s.cooldownUntil = until
		s.rampUntil = until + min(max(until-s.episodeFrom, minRamp), maxRamp)
	}
}

func (s *state) cut(c batch.Class) {
	by := cutRateLimited
	if c == batch.ClassRamp {
		by = cutRamp
	}
	s.limit = math.Max(float64(s.min), s.limit*by)
	s.fast, s.credit = false, 0
	s.cuts++
}

// healthy grows the limit: doubling per round of successes until the first cut,
// by one per round after it. A limit that nobody uses does not grow.
func (s *state) healthy(now time.Duration, o Observation, busy int) {
	if now-max(o.Latency, 0) >= s.cooldownUntil {
		s.streak = 0
	}
	s.credit++
	if s.credit <= 0 {
		return
	}
	credit := s.credit
	s.credit = 0
	if now < s.rampUntil || float64(busy)*2 < s.limit || s.limit >= float64(s.max) {
		return
	}
	before := math.Floor(s.limit)
	if s.fast {
		s.limit += credit
	} else {
		s.limit += credit / s.limit
	}
	s.limit = math.Min(s.limit, float64(s.max))
	s.grows += int64(math.Floor(s.limit) - before)
}
