package lease

import "time"

// News is how old a worker's last look at the store may be for it to send a
// call: what was stopped there is then known here within that time (I15).
const News = 2 * time.Second

// Pulse is what a worker knows of its own standing: when it last beat, and
// heard of its runs. A process that stood still, or that the store did not
// answer, must not send what it had in hand: its runs may be stopped and its
// leases another's.
type Pulse struct {
	lapse time.Duration
	at    time.Time
	age   int
}

// NewPulse begins at now. A silence of two thirds of ttl, after which leases
// count as lost, is a lapse.
func NewPulse(now time.Time, ttl time.Duration) Pulse { return Pulse{lapse: ttl * 2 / 3, at: now} }

// Beat takes a look that the store answered. began is when it was begun.
func (p *Pulse) Beat(began time.Time) {
	if began.Sub(p.at) > p.lapse {
		p.age++
	}
	p.at = began
}

// Age counts the lapses. What was started before one is not sent after it.
func (p *Pulse) Age() int { return p.age }

// Fresh reports whether the last look is young enough for a call to be sent.
func (p *Pulse) Fresh(now time.Time) bool { return now.Sub(p.at) <= News }
