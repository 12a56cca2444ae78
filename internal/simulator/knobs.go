package simulator

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// Knobs are how the simulator behaves. They can change while it runs.
type Knobs struct {
	Seed uint64
	// Rates holds the share of calls that end in each fault, 0 to 1.
	Rates [faultCount]float64
	// Script names calls that end in a given fault whatever the rates say; the
	// first rule that fits counts.
	Script  []Rule
	Latency Latency
	// RPM, TPM and Concurrency are the limits the simulator enforces; 0 is none.
	// Burst is how many seconds' worth of them may come at once.
	RPM, TPM    int64
	Concurrency int
	Burst       float64
	// ChargeMax charges the output limit of a request to TPM when it arrives, as
	// some vendors do, in place of what it will really use.
	ChargeMax  bool
	RetryAfter time.Duration // hint on injected 429s; 0 gives none
	Hang       time.Duration // how long a timeout fault holds the connection
	SlowFactor int64         // by how much a slow call is slower
	Words      int           // mean length of an answer
	Cached     float64       // share of the input tokens reported as cached
	Reasoning  float64       // share of the output tokens reported as reasoning
	Context    int64         // most tokens of input and output limit; 0 is none
	// CapLength ends an answer that the output limit cut with the vendor's
	// length reason; without it the answer is merely short.
	CapLength bool
	// RPD is how many requests it takes before its quota is used up; 0 is none.
	RPD int64
	// Hint is the form in which a refusal says how long to wait; "" is the
	// vendor's own. HintNames lists them.
	Hint     string
	Quota    string        // OpenAI's code of a quota that is used up; "" is insufficient_quota
	Key      string        // the only key that is accepted, in the place of Config.Key
	CutAt    int           // the byte of the body at which cut and rst end it; -1 draws one
	Drip     time.Duration // between two bytes of an answer that drips
	Huge     int64         // bytes of a huge answer, and of a bomb once it is unpacked
	Location string        // where a redirect leads
	Lenient  bool          // accepts unknown request fields, as self-hosted servers do
	Poison   string        // a request that contains this text is always invalid
	Filtered string        // a request that contains this text is always filtered
}

// Rule makes certain calls end in Fault: the From-th to To-th call of all, or
// with Seen the From-th to To-th time that one request comes.
type Rule struct {
	Seen     bool
	From, To int64 // To may be Forever
	Fault    Fault
	At       int // the byte to cut at, plus one; 0 leaves it to the knob
}

// Forever is the end of a rule that has none.
const Forever = math.MaxInt64

// DefaultKnobs are those of a healthy provider without latency.
func DefaultKnobs() Knobs {
	return Knobs{Burst: 1, RetryAfter: 50 * time.Millisecond, Hang: 10 * time.Minute, SlowFactor: 20, Words: 24,
		CutAt: -1, Drip: time.Second, Huge: 2 << 30, Location: "http://redirected.invalid/"}
}

// ParseKnobs reads a compact string on top of k: parts between commas, each
//
//	429:0.05          this share of the calls ends in this fault
//	nth:17=500        the 17th call of all does; also nth:17-20=500, nth:17-=auth
//	seen:1=503        every request does the first time it comes
//	nth:3=cut@120     this one is cut after 120 bytes of its body; rst too
//	chaos=0.2         this share, spread over every fault that stops no lane or run
//	latency=50ms      also lognormal:50ms:0.5, uniform:10ms:90ms, bimodal:50ms:2s:0.01
//	rpm=600 tpm=90000 concurrency=16 burst=1 charge=max|actual
//	retry_after=1s hang=10m slow=20 words=24 cached=0.5 reasoning=0.2
//	context=8192 cap=length|short lenient=true poison=TEXT filtered=TEXT seed=7
//	rpd=1000 hint=date quota=billing_hard_limit_reached key=KEY
//	cut=120 drip=1s huge=2147483648 location=URL
//
// Errors are of kind Usage and name the part.
func ParseKnobs(k Knobs, text string) (Knobs, error) {
	k.Script = slices.Clone(k.Script)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if err := k.set(part); err != nil {
			return Knobs{}, &batch.Error{Kind: batch.Usage, Op: "faults", Ref: part, Msg: err.Error(),
				Hint: "write name:share (" + strings.Join(FaultNames(), " ") + "), nth:N=name, seen:N=name or setting=value"}
		}
	}
	var sum float64
	for _, r := range k.Rates {
		sum += r
	}
	if sum > 1.000001 {
		return Knobs{}, &batch.Error{Kind: batch.Usage, Op: "faults", Msg: fmt.Sprintf("the shares add up to %g", sum),
			Hint: "keep their sum at or below 1"}
	}
	return k, nil
}

// FaultNames lists the faults by the names that a knob string and a marker use.
func FaultNames() []string {
	names := make([]string, 0, faultCount-1)
	for f := NoFault + 1; f < faultCount; f++ {
		names = append(names, f.String())
	}
	return names
}

func (k *Knobs) set(part string) error {
	colon, equal := strings.IndexByte(part, ':'), strings.IndexByte(part, '=')
	if colon < 0 && equal < 0 {
		return fmt.Errorf("has neither ':' nor '='")
	}
	if equal >= 0 && (colon < 0 || equal < colon) {
		return k.setting(part[:equal], part[equal+1:])
	}
	name, value := part[:colon], part[colon+1:]
	if name == "nth" || name == "seen" {
		return k.rule(name == "seen", value)
	}
	f, ok := faultNamed(name)
	if !ok || f == NoFault {
		return fmt.Errorf("no fault is named %q", name)
	}
	rate, err := share(value)
	if err == nil {
		k.Rates[f] = rate
	}
	return err
}

func share(value string) (float64, error) {
	rate, err := strconv.ParseFloat(value, 64)
	if err != nil || !(rate >= 0 && rate <= 1) {
		return 0, fmt.Errorf("%q is not a share from 0 to 1", value)
	}
	return rate, nil
}

func (k *Knobs) rule(seen bool, value string) error {
	which, name, ok := strings.Cut(value, "=")
	if !ok {
		return fmt.Errorf("names no fault")
	}
	name, place, placed := strings.Cut(name, "@")
	f, known := faultNamed(name)
	if !known {
		return fmt.Errorf("no fault is named %q", name)
	}
	at, err := strconv.Atoi("0" + place)
	if err != nil || placed && (place == "" || (f != FaultCut && f != FaultRST)) {
		return fmt.Errorf("%q is no byte that %s cuts at", place, name)
	}
	if placed {
		at++
	}
	first, last, isRange := strings.Cut(which, "-")
	switch {
	case !isRange:
		last = first
	case last == "":
		last = strconv.FormatInt(Forever, 10)
	}
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err1 != nil || err2 != nil || from < 1 || to < from {
		return fmt.Errorf("%q is not a number from 1 or a range of them", which)
	}
	k.Script = append(k.Script, Rule{Seen: seen, From: from, To: to, Fault: f, At: at})
	return nil
}

func (k *Knobs) setting(name, v string) (err error) {
	switch name {
	case "latency":
		k.Latency, err = ParseLatency(v)
	case "seed":
		k.Seed, err = strconv.ParseUint(v, 10, 64)
	case "rpm":
		k.RPM, err = whole(v)
	case "tpm":
		k.TPM, err = whole(v)
	case "concurrency":
		var n int64
		n, err = whole(v)
		k.Concurrency = int(n)
	case "burst":
		k.Burst, err = strconv.ParseFloat(v, 64)
		if err == nil && !(k.Burst > 0 && k.Burst <= 3600) {
			err = fmt.Errorf("%q is not between 0 and 3600 seconds", v)
		}
	case "charge":
		k.ChargeMax, err = either(v, "max", "actual")
	case "retry_after":
		k.RetryAfter, err = span(v)
	case "hang":
		k.Hang, err = span(v)
	case "slow":
		k.SlowFactor, err = whole(v)
	case "words":
		var n int64
		n, err = whole(v)
		k.Words = int(min(n, 100_000))
	case "cached":
		k.Cached, err = share(v)
	case "reasoning":
		k.Reasoning, err = share(v)
	case "context":
		k.Context, err = whole(v)
	case "cap":
		k.CapLength, err = either(v, "length", "short")
	case "lenient":
		k.Lenient, err = strconv.ParseBool(v)
	case "poison":
		k.Poison = v
	case "filtered":
		k.Filtered = v
	case "rpd":
		k.RPD, err = whole(v)
	case "hint":
		k.Hint, err = hintNamed(v)
	case "quota":
		k.Quota = v
	case "key":
		k.Key = v
	case "cut":
		var n int64
		n, err = whole(v)
		k.CutAt = int(n)
	case "drip":
		k.Drip, err = span(v)
	case "huge":
		k.Huge, err = whole(v)
	case "location":
		k.Location = v
	case "chaos":
		err = k.chaos(v)
	default:
		err = fmt.Errorf("no setting is named %q", name)
	}
	return err
}

// chaos spreads a share evenly over the faults that end no more than a call.
func (k *Knobs) chaos(v string) error {
	all, err := share(v)
	if err != nil {
		return err
	}
	var some []Fault
	for f := NoFault + 1; f < faultCount; f++ {
		if !f.stops() {
			some = append(some, f)
		}
	}
	for _, f := range some {
		k.Rates[f] = all / float64(len(some))
	}
	return nil
}

func whole(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a whole number", v)
	}
	return n, nil
}

func span(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 500ms", v)
	}
	return d, nil
}

func either(v, yes, no string) (bool, error) {
	if v != yes && v != no {
		return false, fmt.Errorf("%q is neither %q nor %q", v, yes, no)
	}
	return v == yes, nil
}

// String prints the knobs so that ParseKnobs(DefaultKnobs(), s) reads them back.
func (k Knobs) String() string {
	var parts []string
	add := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	d := DefaultKnobs()
	add(k.Seed != 0, "seed=%d", k.Seed)
	for f := NoFault + 1; f < faultCount; f++ {
		add(k.Rates[f] > 0, "%s:%g", f, k.Rates[f])
	}
	for _, r := range k.Script {
		what, which := "nth", strconv.FormatInt(r.From, 10)
		if r.Seen {
			what = "seen"
		}
		switch {
		case r.To == Forever:
			which += "-"
		case r.To != r.From:
			which += "-" + strconv.FormatInt(r.To, 10)
		}
		where := ""
		if r.At > 0 {
			where = fmt.Sprintf("@%d", r.At-1)
		}
		add(true, "%s:%s=%s%s", what, which, r.Fault, where)
	}
	add(k.Latency != Latency{}, "latency=%s", k.Latency)
	add(k.RPM > 0, "rpm=%d", k.RPM)
	add(k.TPM > 0, "tpm=%d", k.TPM)
	add(k.Concurrency > 0, "concurrency=%d", k.Concurrency)
	add(k.Burst != d.Burst, "burst=%g", k.Burst)
	add(k.ChargeMax, "charge=max")
	add(k.RetryAfter != d.RetryAfter, "retry_after=%s", k.RetryAfter)
	add(k.Hang != d.Hang, "hang=%s", k.Hang)
	add(k.SlowFactor != d.SlowFactor, "slow=%d", k.SlowFactor)
	add(k.Words != d.Words, "words=%d", k.Words)
	add(k.Cached > 0, "cached=%g", k.Cached)
	add(k.Reasoning > 0, "reasoning=%g", k.Reasoning)
	add(k.Context > 0, "context=%d", k.Context)
	add(k.CapLength, "cap=length")
	add(k.Lenient, "lenient=true")
	add(k.Poison != "", "poison=%s", k.Poison)
	add(k.Filtered != "", "filtered=%s", k.Filtered)
	add(k.RPD > 0, "rpd=%d", k.RPD)
	add(k.Hint != "", "hint=%s", k.Hint)
	add(k.Quota != "", "quota=%s", k.Quota)
	add(k.Key != "", "key=%s", k.Key)
	add(k.CutAt >= 0, "cut=%d", k.CutAt)
	add(k.Drip != d.Drip, "drip=%s", k.Drip)
	add(k.Huge != d.Huge, "huge=%d", k.Huge)
	add(k.Location != d.Location, "location=%s", k.Location)
	return strings.Join(parts, ",")
}
