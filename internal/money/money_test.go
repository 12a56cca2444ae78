package money

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseUSD(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]PicoUSD{
		"0": 0, "5": 5 * USD, "0.25": USD / 4, "1.000000000001": USD + 1, "0.000000000001": 1, "007.50": 7*USD + USD/2,
		"9223372.036854775807": math.MaxInt64, "0.0": 0,
	} {
		if got, err := ParseUSD(s); err != nil || got != want {
			t.Errorf("ParseUSD(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1 ", "0x1", "1.0000000000001", "NaN", "Inf", "1_000",
		"٣", "9223372.036854775808", "9223373", "99999999999999999999999"} {
		if got, err := ParseUSD(s); err == nil {
			t.Errorf("ParseUSD(%q) = %d", s, got)
		}
	}
	if _, err := ParseUSD("9223373"); !errors.Is(err, ErrOverflow) {
		t.Errorf("a sum out of range is %v", err)
	}
}

func TestUSDRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := PicoUSD(rapid.Int64Range(0, math.MaxInt64).Draw(t, "p"))
		got, err := ParseUSD(p.String())
		if err != nil || got != p {
			t.Fatalf("%d prints %q, which reads %d, %v", p, p, got, err)
		}
		if n := (-p).String(); p != 0 && n != "-"+p.String() {
			t.Fatalf("%d prints %q", -p, n)
		}
	})
	for p, want := range map[PicoUSD]string{0: "0.00", 375_000_000: "0.000375", USD * 3 / 2: "1.50", 1: "0.000000000001",
		math.MinInt64: "-9223372.036854775808"} {
		if p.String() != want {
			t.Errorf("%d prints %q, want %q", int64(p), p, want)
		}
	}
}

// edges draws numbers whose sums and products are likely to leave int64.
func edges() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-3, 3), rapid.Int64Range(math.MaxInt64-3, math.MaxInt64),
		rapid.Int64Range(math.MinInt64, math.MinInt64+3), rapid.Int64Range(-1<<33, 1<<33))
}

func TestAddAndMulAreExactOrRefuse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := edges().Draw(t, "a"), edges().Draw(t, "b")
		hold := func(op string, got int64, err error, want *big.Int) {
			if !want.IsInt64() {
				if !errors.Is(err, ErrOverflow) {
					t.Fatalf("%d %s %d = %d, %v", a, op, b, got, err)
				}
				return
			}
			if err != nil || got != want.Int64() {
				t.Fatalf("%d %s %d = %d, %v, want %s", a, op, b, got, err, want)
			}
		}
		s, err := Add(a, b)
		hold("+", s, err, new(big.Int).Add(big.NewInt(a), big.NewInt(b)))
		m, err := Mul(a, b)
		hold("*", m, err, new(big.Int).Mul(big.NewInt(a), big.NewInt(b)))
	})
}

// cards draws price cards of every shape: free, tiered up or down, with and
// without cache prices, within prices that can be true.
func cards() *rapid.Generator[PriceCard] {
	price := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1, 50), rapid.Int64Range(1, 1<<32))
	return rapid.Custom(func(t *rapid.T) PriceCard {
		p := func(name string) PicoUSD { return PicoUSD(price.Draw(t, name)) }
		return PriceCard{In: p("in"), Out: p("out"), CacheRead: p("read"), CacheWrite: p("write"),
			TierAt: rapid.Int64Range(0, 300).Draw(t, "at"), TierIn: p("tier in"), TierOut: p("tier out")}
	})
}

func usages(maxIn, maxOut int64) *rapid.Generator[Usage] {
	return rapid.Custom(func(t *rapid.T) Usage {
		u := Usage{Input: rapid.Int64Range(0, maxIn).Draw(t, "input"), Output: rapid.Int64Range(0, maxOut).Draw(t, "output")}
		u.Cached = rapid.Int64Range(0, u.Input).Draw(t, "cached")
		u.CacheWrite = rapid.Int64Range(0, u.Input-u.Cached).Draw(t, "written")
		u.Reasoning = rapid.Int64Range(0, u.Output).Draw(t, "reasoning")
		return u
	})
}

// The whole budget stands on this: no bill within the bounds is above the
// worst case, and neither is ever negative.
func TestNoCostIsAboveTheWorst(t *testing.T) {
	t.Parallel()
	for range 20 {
		rapid.Check(t, func(t *rapid.T) {
			c := cards().Draw(t, "card")
			in, out := rapid.Int64Range(0, 600).Draw(t, "in"), rapid.Int64Range(0, 600).Draw(t, "out")
			u := usages(in, out).Draw(t, "usage")
			if !u.Valid() {
				t.Fatalf("%+v is not valid", u)
			}
			worst, err := c.Worst(in, out)
			if err != nil {
				return // no call is made at all
			}
			cost, err := c.Cost(u)
			if err != nil || cost < 0 || cost > worst {
				t.Fatalf("cost %d, %v; worst %d", cost, err, worst)
			}
		})
	}
}

func TestCost(t *testing.T) {
	t.Parallel()
	flat := PriceCard{In: 1000, Out: 4000}
	cached := PriceCard{In: 1000, Out: 4000, CacheRead: 100, CacheWrite: 1250}
	tiered := PriceCard{In: 1000, Out: 4000, CacheRead: 101, TierAt: 200, TierIn: 1500, TierOut: 6000}
	free := PriceCard{Out: 4000, TierAt: 200, TierIn: 1500, TierOut: 6000}
	for _, x := range []struct {
		c           PriceCard
		u           Usage
		cost, worst PicoUSD // worst of exactly this input and output
	}{
		{flat, Usage{Input: 100, Output: 10}, 140_000, 140_000},
		{flat, Usage{Input: 100, Output: 10, Cached: 40, CacheWrite: 10, Reasoning: 5}, 140_000, 140_000},
		{cached, Usage{Input: 100, Output: 10, Cached: 40, CacheWrite: 10}, 40*100 + 10*1250 + 50*1000 + 40_000, 165_000},
		{tiered, Usage{Input: 200, Output: 10, Cached: 1}, 199*1000 + 101 + 40_000, 240_000},
		{tiered, Usage{Input: 201, Output: 10, Cached: 1}, 200*1500 + 152 + 60_000, 201*1500 + 60_000}, // 151.5 rounds up
		{free, Usage{Input: 200, Output: 1}, 4000, 4000},
		{free, Usage{Input: 201, Output: 1, Cached: 1}, 201*1500 + 6000, 201*1500 + 6000},
		{PriceCard{}, Usage{Input: 1 << 40, Output: 1 << 40}, 0, 0},
	} {
		cost, err := x.c.Cost(x.u)
		worst, werr := x.c.Worst(x.u.Input, x.u.Output)
		if err != nil || werr != nil || cost != x.cost || worst != x.worst {
			t.Errorf("%+v at %+v costs %d (%v), at worst %d (%v); want %d and %d", x.u, x.c, cost, err, worst, werr, x.cost, x.worst)
		}
	}
}

func TestCostOutOfRangeIsAnError(t *testing.T) {
	t.Parallel()
	huge := PriceCard{In: 1 << 62, Out: 1 << 62, CacheRead: 1 << 62, TierAt: 1, TierIn: 1 << 62, TierOut: 1}
	for _, u := range []Usage{{Input: 1 << 20}, {Output: 4}, {Input: 2, Cached: 2}} {
		if c, err := huge.Cost(u); !errors.Is(err, ErrOverflow) {
			t.Errorf("%+v costs %d, %v", u, c, err)
		}
		if w, err := huge.Worst(u.Input, u.Output); !errors.Is(err, ErrOverflow) {
			t.Errorf("%+v costs %d at worst, %v", u, w, err)
		}
	}
}

func TestUsageValid(t *testing.T) {
	t.Parallel()
	for u, want := range map[Usage]bool{
		{}:                                     true,
		{Input: 1 << 40, Output: 1 << 40}:      true,
		{Input: 1<<40 + 1}:                     false,
		{Output: -1}:                           false,
		{Input: -1}:                            false,
		{Input: 5, Cached: 6}:                  false,
		{Input: 5, Cached: 3, CacheWrite: 3}:   false,
		{Input: 5, Cached: 3, CacheWrite: 2}:   true,
		{Output: 5, Reasoning: 6}:              false,
		{Input: 5, Cached: -1}:                 false,
		{Input: math.MaxInt64, Output: 1 << 9}: false,
	} {
		if u.Valid() != want {
			t.Errorf("%+v is valid: %v", u, !want)
		}
	}
}

func TestExceeded(t *testing.T) {
	t.Parallel()
	full := Amount{Tokens: 10, Pico: 10, Retries: 10}
	for _, x := range []struct {
		l    Limit
		x    Amount
		want Dimension
	}{
		{NoLimit, Amount{math.MaxInt64 - 10, 1, 1}, DimNone},
		{Limit{10, 10, 10}, Amount{}, DimNone},
		{Limit{9, 9, 9}, Amount{}, DimNone}, // over already, and nothing more is asked
		{Limit{11, 11, 11}, Amount{1, 1, 1}, DimNone},
		{Limit{10, 11, 11}, Amount{1, 1, 1}, DimTokens},
		{Limit{11, 10, 11}, Amount{1, 1, 1}, DimUSD},
		{Limit{11, 11, 10}, Amount{1, 1, 1}, DimRetries},
		{Limit{0, -1, -1}, Amount{0, 5, 5}, DimNone},
	} {
		if got := x.l.Exceeded(full, x.x); got != x.want {
			t.Errorf("%+v with %+v more: %q, want %q", x.l, x.x, got, x.want)
		}
	}
}

func TestSumsOutOfRangePanic(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Fatal("a ledger wrapped")
		}
	}()
	_ = Amount{Tokens: math.MaxInt64}.Plus(Amount{Tokens: 1})
}
