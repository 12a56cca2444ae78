package simulator

import (
	"bytes"
	"strconv"
	"time"
)

// marker in a request's text makes every call of it end in the fault named
// right behind it, up to the next character that no name has. A byte to cut at
// may follow: @@sim:cut@120.
const marker = "@@sim:"

// pick chooses the fault of a call: the request's own marker, else the first
// rule of the script that fits, else by the rates. at is the byte it names, or
// -1.
func (k *Knobs) pick(d digest, call, seen int64, body []byte) (f Fault, at int) {
	if i := bytes.Index(body, []byte(marker)); i >= 0 {
		name := body[i+len(marker):]
		for f := NoFault + 1; f < faultCount; f++ {
			if after, ok := bytes.CutPrefix(name, []byte(f.String())); ok && (len(after) == 0 || !inName(after[0])) {
				return f, markedAt(after)
			}
		}
	}
	for _, r := range k.Script {
		n := call
		if r.Seen {
			n = seen
		}
		if n >= r.From && n <= r.To {
			return r.Fault, r.At - 1
		}
	}
	return k.draw(d, seen), -1
}

// markedAt reads the byte behind a marker.
func markedAt(after []byte) int {
	after, ok := bytes.CutPrefix(after, []byte("@"))
	if !ok {
		return -1
	}
	n := 0
	for n < len(after) && n < 9 && after[n] >= '0' && after[n] <= '9' {
		n++
	}
	at, err := strconv.Atoi(string(after[:n]))
	if err != nil {
		return -1
	}
	return at
}

func inName(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func (k *Knobs) draw(d digest, seen int64) Fault {
	u := -1.0
	for f := NoFault + 1; f < faultCount; f++ {
		rate := k.Rates[f]
		if rate <= 0 {
			continue
		}
		if u < 0 {
			u = chanceOf(k.Seed, d, useFault+uint64(seen)*useStep).float()
		}
		if u < rate {
			return f
		}
		u -= rate
	}
	return NoFault
}

func (k *Knobs) latency(d digest, seen int64, f Fault) time.Duration {
	if k.Latency == (Latency{}) {
		return 0
	}
	t := k.Latency.draw(chanceOf(k.Seed, d, useLatency+uint64(seen)*useStep))
	if f == FaultSlow {
		t *= time.Duration(k.SlowFactor)
	}
	return t
}

func (k *Knobs) contextOr(otherwise int64) int64 {
	if k.Context > 0 {
		return k.Context
	}
	return otherwise
}
