package money

import "fmt"

// PriceCard is what one model costs, in pico-USD per token. A run freezes the
// card it started with; a later change of prices never changes a ledger.
type PriceCard struct {
	Provider string  `json:"provider"`
	Model    string  `json:"model"` // a model name, or a prefix ending in '*'
	In       PicoUSD `json:"in"`
	Out      PicoUSD `json:"out"`
	// CacheRead and CacheWrite price the parts of the input that were read from
	// and written to the provider's prompt cache. Zero means "as In".
	CacheRead  PicoUSD `json:"cache_read,omitempty"`
	CacheWrite PicoUSD `json:"cache_write,omitempty"`
	// TierAt, when above zero, reprices the whole call at TierIn and TierOut
	// if its input (cached parts included) is strictly above TierAt tokens.
	TierAt  int64   `json:"tier_at,omitempty"`
	TierIn  PicoUSD `json:"tier_in,omitempty"`
	TierOut PicoUSD `json:"tier_out,omitempty"`
	Source  string  `json:"source,omitempty"`  // where the price was read
	Checked string  `json:"checked,omitempty"` // YYYY-MM-DD
}

// Cost is the price of a call with this usage.
// Formula: (input-cached-written)*In + cached*CacheRead + written*CacheWrite + output*Out,
// with the tier's In and Out (and cache prices scaled by TierIn/In, rounded up)
// when the input is above TierAt.
func (c PriceCard) Cost(u Usage) (PicoUSD, error) {
	in, out, read, write, err := c.rates(u.Input)
	if err != nil {
		return 0, fmt.Errorf("cost of %+v at %s/%s: %w", u, c.Provider, c.Model, err)
	}
	sum := int64(0)
	for _, p := range [...]struct {
		n     int64
		price PicoUSD
	}{{u.Input - u.Cached - u.CacheWrite, in}, {u.Cached, read}, {u.CacheWrite, write}, {u.Output, out}} {
		x, err := Mul(p.n, int64(p.price))
		if err == nil {
			sum, err = Add(sum, x)
		}
		if err != nil {
			return 0, fmt.Errorf("cost of %+v at %s/%s: %w", u, c.Provider, c.Model, err)
		}
	}
	return PicoUSD(sum), nil
}

// Worst is the most a call with at most in input and out output tokens can
// cost, whatever the cache and the tier do.
func (c PriceCard) Worst(in, out int64) (PicoUSD, error) {
	pin, pout := max(c.In, c.CacheRead, c.CacheWrite), c.Out
	if c.TierAt > 0 && in > c.TierAt {
		ti, to, tr, tw, err := c.rates(in)
		if err != nil {
			return 0, err
		}
		pin, pout = max(pin, ti, tr, tw), max(pout, to)
	}
	a, err := Mul(in, int64(pin))
	if err != nil {
		return 0, err
	}
	b, err := Mul(out, int64(pout))
	if err != nil {
		return 0, err
	}
	s, err := Add(a, b)
	return PicoUSD(s), err
}

// rates are the prices that hold for a call with this input.
func (c PriceCard) rates(input int64) (in, out, read, write PicoUSD, err error) {
	in, out, read, write = c.In, c.Out, c.CacheRead, c.CacheWrite
	if read == 0 {
		read = in
	}
	if write == 0 {
		write = in
	}
	if c.TierAt <= 0 || input <= c.TierAt {
		return in, out, read, write, nil
	}
	if read, err = c.scale(read); err != nil {
		return 0, 0, 0, 0, err
	}
	if write, err = c.scale(write); err != nil {
		return 0, 0, 0, 0, err
	}
	return c.TierIn, c.TierOut, read, write, nil
}

// scale is a cache price in the tier: by as much as the input's, rounded up.
// Where input is free below the tier there is nothing to scale by.
func (c PriceCard) scale(p PicoUSD) (PicoUSD, error) {
	if c.In <= 0 {
		return max(p, c.TierIn), nil
	}
	x, err := Mul(int64(p), int64(c.TierIn))
	if err == nil {
		x, err = Add(x, int64(c.In)-1)
	}
	return PicoUSD(x / int64(c.In)), err
}
