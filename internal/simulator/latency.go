package simulator

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Latency is a distribution of how long a generation takes. The zero value is
// no time at all.
type Latency struct {
	kind string // "", "constant", "lognormal", "uniform", "bimodal"
	a, b time.Duration
	p    float64
}

// maxLatency bounds what a long tail can draw.
const maxLatency = time.Hour

// ParseLatency reads "50ms", "lognormal:MEDIAN:SIGMA", "uniform:LOW:HIGH" or
// "bimodal:USUAL:RARE:SHARE".
func ParseLatency(s string) (Latency, error) {
	f := strings.Split(s, ":")
	bad := fmt.Errorf("%q is not a latency: write 50ms, lognormal:50ms:0.5, uniform:10ms:90ms or bimodal:50ms:2s:0.01", s)
	spans := func(at ...int) (d [2]time.Duration, err error) {
		for i, n := range at {
			if d[i], err = span(f[n]); err != nil {
				return d, bad
			}
		}
		return d, nil
	}
	switch {
	case len(f) == 1:
		d, err := spans(0)
		if err != nil || d[0] == 0 {
			return Latency{}, err
		}
		return Latency{kind: "constant", a: d[0]}, nil
	case len(f) == 3 && f[0] == "uniform":
		d, err := spans(1, 2)
		if err != nil || d[1] < d[0] {
			return Latency{}, bad
		}
		return Latency{kind: f[0], a: d[0], b: d[1]}, nil
	case len(f) == 3 && f[0] == "lognormal":
		d, err := spans(1)
		sigma, err2 := strconv.ParseFloat(f[2], 64)
		if err != nil || err2 != nil || !(sigma >= 0 && sigma <= 5) {
			return Latency{}, bad
		}
		return Latency{kind: f[0], a: d[0], p: sigma}, nil
	case len(f) == 4 && f[0] == "bimodal":
		d, err := spans(1, 2)
		p, err2 := share(f[3])
		if err != nil || err2 != nil {
			return Latency{}, bad
		}
		return Latency{kind: f[0], a: d[0], b: d[1], p: p}, nil
	}
	return Latency{}, bad
}

func (l Latency) String() string {
	switch l.kind {
	case "uniform":
		return fmt.Sprintf("uniform:%s:%s", l.a, l.b)
	case "lognormal":
		return fmt.Sprintf("lognormal:%s:%g", l.a, l.p)
	case "bimodal":
		return fmt.Sprintf("bimodal:%s:%s:%g", l.a, l.b, l.p)
	}
	return l.a.String()
}

func (l Latency) draw(c *chance) time.Duration {
	switch l.kind {
	case "uniform":
		return l.a + time.Duration(c.float()*float64(l.b-l.a))
	case "lognormal":
		normal := math.Sqrt(-2*math.Log(1-c.float())) * math.Cos(2*math.Pi*c.float())
		return min(time.Duration(float64(l.a)*math.Exp(l.p*normal)), maxLatency)
	case "bimodal":
		if c.float() < l.p {
			return l.b
		}
	}
	return l.a
}

// chance is a small deterministic source of numbers (splitmix64).
type chance struct{ x uint64 }

func (c *chance) next() uint64 {
	c.x += 0x9e3779b97f4a7c15
	z := c.x
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float is uniform in [0,1).
func (c *chance) float() float64 { return float64(c.next()>>11) / (1 << 53) }

// below is uniform in [0,n) for n > 0.
func (c *chance) below(n int) int { return int(c.next() % uint64(n)) }
