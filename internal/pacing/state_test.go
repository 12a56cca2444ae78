package pacing

import (
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

const ms = time.Millisecond

func obs(c batch.Class) Observation { return Observation{Class: c, Sent: true} }

// round ends n calls with o at now while as many are open as may be.
func round(s *state, now time.Duration, n int, o Observation) {
	for range n {
		for s.inflight < int(s.limit) {
			s.start(now, 0)
		}
		s.observe(now, o, 0)
	}
}

func TestLimitStartsAndGrows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		min, max         int
		start, one, four int // limit at first, after one and after four rounds of successes
	}{
		{"small maximum starts there", 1, 4, 4, 4, 4},
		{"doubles", 1, 256, 64, 128, 256},
		{"doubles without end in sight", 1, 4096, 64, 128, 1024},
		{"floor above the start", 100, 200, 100, 200, 200},
		{"nothing said", 0, 0, 64, 64, 64},
	} {
		s := newState(Config{MinConcurrency: c.min, MaxConcurrency: c.max}, 0)
		got := []int{int(s.limit)}
		for i := range 4 {
			round(s, time.Duration(i), int(s.limit), obs(batch.ClassOK))
			got = append(got, int(s.limit))
		}
		if got[0] != c.start || got[1] != c.one || got[4] != c.four {
			t.Errorf("%s: limits %v, want start %d, then %d, in the end %d", c.name, got, c.start, c.one, c.four)
		}
		if want := int64(c.four - c.start); s.grows != want {
			t.Errorf("%s: grows %d, want %d", c.name, s.grows, want)
		}
	}
}

func TestClassesActOnLimit(t *testing.T) {
	t.Parallel()
	const begin = 100
	for _, c := range []struct {
		class    batch.Class
		limit    int // after a full round that ended with one such answer
		cooldown bool
	}{
		{batch.ClassRateLimited, 80, true},
		{batch.ClassRamp, 50, true},
		{batch.ClassCapacity, begin, false},
		{batch.ClassTransient, begin, false},
		{batch.ClassUnknown, begin, false},
		{batch.ClassAuth, begin, false},
		{batch.ClassQuotaMoney, begin, false},
		{batch.ClassOK, begin + 1, false},
		{batch.ClassTruncated, begin + 1, false},
		{batch.ClassInvalidRequest, begin + 1, false},
		{batch.ClassInvalidOutput, begin + 1, false},
	} {
		s := newState(Config{MaxConcurrency: 1000, MinConcurrency: 1}, 0)
		s.limit = begin
		for range begin {
			s.start(0, 0)
		}
		s.observe(0, obs(c.class), 0)
		if int(s.limit) != c.limit || (s.cooldownUntil > 0) != c.cooldown {
			t.Errorf("%s: limit %v cooldown %v, want %d %v", c.class, s.limit, s.cooldownUntil, c.limit, c.cooldown)
		}
	}
}

func TestGrowthAfterCutIsOnePerRound(t *testing.T) {
	t.Parallel()
	s := newState(Config{MaxConcurrency: 1000}, 0)
	s.limit = 100
	round(s, 0, 1, obs(batch.ClassRateLimited))
	now := time.Minute
	for i := range 5 {
		round(s, now+time.Duration(i), int(s.limit), obs(batch.ClassOK))
	}
	if got := int(s.limit); got < 84 || got > 85 {
		t.Errorf("five rounds after a cut to 80 the limit is %v, want 84 or 85", s.limit)
	}
}

func TestFaultsPauseGrowthOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		every int // one fault in so many calls
		grows bool
	}{{5, false}, {10, false}, {50, true}, {100, true}} {
		s := newState(Config{MaxConcurrency: 100_000}, 0)
		for i := range 2000 {
			for s.inflight < int(s.limit) {
				s.start(0, 0)
			}
			o := obs(batch.ClassOK)
			if i%c.every == 0 {
				o = obs(batch.ClassTransient)
			}
			s.observe(0, o, 0)
		}
		if (s.limit > startConcurrency) != c.grows || s.limit < startConcurrency {
			t.Errorf("one fault in %d: limit %v, want growth %v and never a cut", c.every, s.limit, c.grows)
		}
	}
}

func TestCooldown(t *testing.T) {
	t.Parallel()
	hint := func(d time.Duration) Observation {
		return Observation{Class: batch.ClassRateLimited, RetryAfter: d, Sent: true}
	}
	type ev struct {
		at time.Duration
		o  Observation
	}
	late := hint(0)
	late.Latency = 2 * time.Second
	for _, c := range []struct {
		name       string
		events     []ev
		atLeast    time.Duration // end of the cooldown, without and with the most jitter
		atMost     time.Duration
		cuts       int64
		streakEnds int
	}{
		{"hint is a floor", []ev{{0, hint(3 * time.Second)}}, 3 * time.Second, 3750 * ms, 1, 1},
		{"no hint: half a second", []ev{{0, hint(0)}}, 250 * ms, 500 * ms, 1, 1},
		{"same episode, no second cut", []ev{{0, hint(time.Second)}, {10 * ms, hint(0)}, {20 * ms, hint(0)}}, time.Second, 1250 * ms, 1, 1},
		{"same episode, longer hint binds", []ev{{0, hint(time.Second)}, {500 * ms, hint(2 * time.Second)}}, 2500 * ms, 3 * time.Second, 1, 1},
		{"same episode, shorter hint does not shorten", []ev{{0, hint(5 * time.Second)}, {500 * ms, hint(ms)}}, 5 * time.Second, 6250 * ms, 1, 1},
		{"an old call after the end is the same episode", []ev{{0, hint(0)}, {time.Second, late}}, 250 * ms, 500 * ms, 1, 1},
		{"a new call after the end is a new one", []ev{{0, hint(0)}, {time.Second, hint(0)}}, 1500 * ms, 2 * time.Second, 2, 2},
		{"a success between ends the streak", []ev{{0, hint(0)}, {time.Second, obs(batch.ClassOK)}, {time.Second, hint(0)}}, 1250 * ms, 1500 * ms, 2, 1},
		{"absurd hint", []ev{{0, hint(1 << 62)}}, maxHint, maxHint + 2*time.Second, 1, 1},
		{"negative hint is none", []ev{{0, hint(-5)}}, 250 * ms, 500 * ms, 1, 1},
	} {
		for _, rnd := range []float64{0, 0.999999} {
			s := newState(Config{MaxConcurrency: 64}, 0)
			for _, e := range c.events {
				s.start(e.at, 0)
				s.observe(e.at, e.o, rnd)
			}
			if s.cooldownUntil < c.atLeast || s.cooldownUntil > c.atMost || s.cuts != c.cuts || s.streak != c.streakEnds {
				t.Errorf("%s (rnd %v): until %v cuts %d streak %d, want %v..%v, %d, %d",
					c.name, rnd, s.cooldownUntil, s.cuts, s.streak, c.atLeast, c.atMost, c.cuts, c.streakEnds)
			}
			if w, why := s.decide(c.atLeast-1, 0); w <= 0 || why != WhyCooldown {
				t.Errorf("%s: a call may start %v before the cooldown's end", c.name, time.Duration(1))
			}
		}
	}
}

func TestCooldownWithoutHintDoublesToACap(t *testing.T) {
	t.Parallel()
	s := newState(Config{MaxConcurrency: 64}, 0)
	now, last := time.Duration(0), time.Duration(0)
	for i := range 40 {
		s.start(now, 0)
		s.observe(now, obs(batch.ClassRateLimited), 0.999999999)
		got := s.cooldownUntil - now
		if want := min(firstCooldown<<min(i, 20), maxCooldown); got > want || got < want-ms {
			t.Fatalf("episode %d: %v, want about %v", i, got, want)
		}
		now, last = s.cooldownUntil, got
	}
	if last > maxCooldown {
		t.Errorf("cooldown grew to %v", last)
	}
	if int(s.limit) != 1 {
		t.Errorf("limit %v after 40 cuts, want the floor 1", s.limit)
	}
}

func TestRampGivesSlotsBackEvenly(t *testing.T) {
	t.Parallel()
	s := newState(Config{MaxConcurrency: 125}, 0)
	s.limit = 125
	s.start(0, 0)
	s.observe(0, Observation{Class: batch.ClassRateLimited, RetryAfter: time.Second, Sent: true}, 0)
	length := s.rampUntil - s.cooldownUntil
	for _, part := range []int{0, 10, 25, 50, 75, 100} {
		now := s.cooldownUntil + length*time.Duration(part)/100
		for {
			if w, _ := s.decide(now, 0); w > 0 {
				break
			}
			s.start(now, 0)
		}
		if want := 1 + 99*part/100; s.inflight != want {
			t.Errorf("at %d %% of the ramp %d calls are open, want %d", part, s.inflight, want)
		}
	}
}

func TestTokensAreCorrected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		keep bool
		o    Observation
		used int64
		free float64
	}{
		{"less than thought comes back", false, Observation{Class: batch.ClassOK, Estimated: 200, Actual: 50, Sent: true}, 50, 250 - 50},
		{"kept where the provider keeps it", true, Observation{Class: batch.ClassOK, Estimated: 200, Actual: 50, Sent: true}, 200, 250 - 200},
		{"more than thought is owed", true, Observation{Class: batch.ClassOK, Estimated: 200, Actual: 1000, Sent: true}, 1000, 250 - 1000},
		{"not said: the estimate stands", false, Observation{Class: batch.ClassUnknown, Estimated: 200, Sent: true}, 200, 250 - 200},
		{"never sent: nothing was used", false, Observation{Class: batch.ClassUnsent, Estimated: 200}, 0, 250},
	} {
		s := newState(Config{TPM: 60_000, RPM: 600, KeepEstimate: c.keep}, 0)
		s.start(0, 200)
		s.observe(0, c.o, 0)
		if got := s.sentT.total(0); got != c.used || s.tpm.level != c.free {
			t.Errorf("%s: used %d level %v, want %d %v", c.name, got, s.tpm.level, c.used, c.free)
		}
		if got, want := s.sentN.total(0), int64(1); (got == want) != c.o.Sent {
			t.Errorf("%s: %d requests counted", c.name, got)
		}
	}
}

func TestBucketNeverPassesAMinute(t *testing.T) {
	t.Parallel()
	for _, rpm := range []int64{1, 2, 3, 7, 10, 59, 60, 61, 99, 100, 101, 240, 1000, 12_345} {
		b := newBucket(rpm, 0)
		var at []time.Duration
		for now := time.Duration(0); now < 5*time.Minute; {
			if w := b.wait(1, now); w > 0 {
				now += w
				continue
			}
			b.take(1)
			at = append(at, now)
		}
		for i, j := 0, 0; j < len(at); j++ {
			for at[j]-at[i] >= time.Minute {
				i++
			}
			if n := int64(j - i + 1); n > rpm {
				t.Fatalf("rpm %d: %d requests in one minute", rpm, n)
			}
		}
		if got, want := float64(len(at)), 0.97*float64(rpm)*5; got < want {
			t.Errorf("rpm %d: %v requests in 5 minutes, want at least %v", rpm, got, want)
		}
	}
}

func TestUsedForgetsAfterAMinute(t *testing.T) {
	t.Parallel()
	var u used
	for i := range 120 {
		u.add(1, time.Duration(i)*time.Second)
	}
	if got := u.total(119 * time.Second); got != 60 {
		t.Errorf("used %d in the last minute, want 60", got)
	}
	if got := u.total(time.Hour); got != 0 {
		t.Errorf("used %d an hour later, want 0", got)
	}
}
