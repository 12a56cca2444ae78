package money

// Amount is what one call, one lease or one run holds, spends or may spend, in
// every dimension a budget can limit.
type Amount struct {
	Tokens  int64   // input plus output tokens
	Pico    PicoUSD // US dollars at the frozen prices of the run; 0 where no price is known
	Retries int64   // attempts after an item's first
}

// Plus returns a+b. Amounts come from usage and price cards that were checked
// when they were made, so a sum out of range is a bug and panics rather than
// becoming a wrong ledger.
func (a Amount) Plus(b Amount) Amount {
	return Amount{mustAdd(a.Tokens, b.Tokens), PicoUSD(mustAdd(int64(a.Pico), int64(b.Pico))), mustAdd(a.Retries, b.Retries)}
}

// Minus returns a-b; it panics as Plus does.
func (a Amount) Minus(b Amount) Amount {
	return a.Plus(Amount{-b.Tokens, -b.Pico, -b.Retries})
}

// IsZero reports whether nothing is held.
func (a Amount) IsZero() bool { return a == Amount{} }

// Within reports whether a does not exceed b in any dimension.
func (a Amount) Within(b Amount) bool {
	return a.Tokens <= b.Tokens && a.Pico <= b.Pico && a.Retries <= b.Retries
}

func mustAdd(a, b int64) int64 {
	c, err := Add(a, b)
	if err != nil {
		panic(err)
	}
	return c
}

// Unlimited stands in a Limit for "no limit in this dimension".
const Unlimited int64 = -1

// Limit is a budget's limit in each dimension; Unlimited (-1) means none.
type Limit struct {
	Tokens  int64
	Pico    int64
	Retries int64
}

// NoLimit limits nothing.
var NoLimit = Limit{Unlimited, Unlimited, Unlimited}

// Dimension names what a budget ran out of: "tokens", "usd", "retries", or ""
// when nothing.
type Dimension string

// The dimensions of a Limit.
const (
	DimNone    Dimension = ""
	DimTokens  Dimension = "tokens"
	DimUSD     Dimension = "usd"
	DimRetries Dimension = "retries"
)

// Exceeded names the first dimension in which committed (spent + reserved + at
// risk) plus x would pass the limit, or DimNone when x fits.
func (l Limit) Exceeded(committed, x Amount) Dimension {
	sum := committed.Plus(x)
	switch {
	case l.Tokens >= 0 && x.Tokens > 0 && sum.Tokens > l.Tokens:
		return DimTokens
	case l.Pico >= 0 && x.Pico > 0 && int64(sum.Pico) > l.Pico:
		return DimUSD
	case l.Retries >= 0 && x.Retries > 0 && sum.Retries > l.Retries:
		return DimRetries
	}
	return DimNone
}

// In is how much of a there is in a dimension: tokens, pico-USD or retries.
func (a Amount) In(d Dimension) int64 {
	switch d {
	case DimTokens:
		return a.Tokens
	case DimUSD:
		return int64(a.Pico)
	case DimRetries:
		return a.Retries
	}
	return 0
}

// In is the limit in a dimension; Unlimited (-1) is none.
func (l Limit) In(d Dimension) int64 {
	switch d {
	case DimTokens:
		return l.Tokens
	case DimUSD:
		return l.Pico
	case DimRetries:
		return l.Retries
	}
	return Unlimited
}

// Usage is what a provider says one call used, in one shape for every vendor.
// Cached and CacheWrite are parts of Input; Reasoning is part of Output.
type Usage struct {
	Input      int64 `json:"input_tokens"`
	Output     int64 `json:"output_tokens"`
	Cached     int64 `json:"cached_tokens"`
	CacheWrite int64 `json:"cache_write_tokens,omitempty"`
	Reasoning  int64 `json:"reasoning_tokens,omitempty"`
}

// Total is input plus output tokens: what a token budget counts.
func (u Usage) Total() int64 { return mustAdd(u.Input, u.Output) }

// Plus adds two usages field by field.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		mustAdd(u.Input, v.Input), mustAdd(u.Output, v.Output), mustAdd(u.Cached, v.Cached),
		mustAdd(u.CacheWrite, v.CacheWrite), mustAdd(u.Reasoning, v.Reasoning),
	}
}

// Valid reports whether the numbers can be true: none negative, parts not
// larger than their whole, nothing absurdly large.
func (u Usage) Valid() bool {
	const most = 1 << 40
	ok := func(n, of int64) bool { return n >= 0 && n <= of }
	return ok(u.Input, most) && ok(u.Output, most) && ok(u.Cached, u.Input) &&
		ok(u.CacheWrite, u.Input-u.Cached) && ok(u.Reasoning, u.Output)
}
