// Package money holds what is counted and paid: tokens, pico-USD, price cards
// and the arithmetic between them. Everything is an integer; there is no float
// in this package and none may enter it. One pico-USD is 1e-12 USD, so a price
// of 0.0025 USD per million tokens is still a whole number (2,500 pUSD/token)
// and one int64 holds 9.2 million USD.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// PicoUSD is an amount of money in 1e-12 US dollars.
type PicoUSD int64

// USD is one US dollar.
const USD PicoUSD = 1_000_000_000_000

// ErrOverflow reports that a sum or product left the range of int64. Money is
// never wrapped or saturated silently.
var ErrOverflow = errors.New("money: amount out of range")

// Add returns a+b or ErrOverflow.
func Add(a, b int64) (int64, error) {
	c := a + b
	if (c > a) != (b > 0) && b != 0 {
		return 0, ErrOverflow
	}
	return c, nil
}

// Mul returns a*b or ErrOverflow.
func Mul(a, b int64) (int64, error) {
	if a == 0 || b == 0 {
		return 0, nil
	}
	c := a * b
	if c/b != a || (a == -1 && b == math.MinInt64) || (b == -1 && a == math.MinInt64) {
		return 0, ErrOverflow
	}
	return c, nil
}

// String prints the amount in US dollars with as many decimals as it has, at
// least two: 1.50, 0.000375.
func (p PicoUSD) String() string {
	neg := p < 0
	u := uint64(p)
	if neg {
		u = -u
	}
	whole, frac := u/uint64(USD), u%uint64(USD)
	s := strings.TrimRight(fmt.Sprintf("%012d", frac), "0")
	for len(s) < 2 {
		s += "0"
	}
	out := strconv.FormatUint(whole, 10) + "." + s
	if neg {
		return "-" + out
	}
	return out
}

// ParseUSD reads a decimal number of US dollars ("5", "0.25", "1.000000000001")
// exactly. More than 12 decimals, signs, exponents and anything else is an
// error: a budget is never rounded.
func ParseUSD(s string) (PicoUSD, error) {
	whole, frac, dotted := strings.Cut(s, ".")
	if whole == "" || (dotted && frac == "") || len(frac) > 12 || !digits(whole) || !digits(frac) {
		return 0, fmt.Errorf("money: %q is not a decimal number of US dollars with at most 12 decimals", s)
	}
	w, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("money: %q: %w", s, ErrOverflow)
	}
	f, err := strconv.ParseInt(frac+strings.Repeat("0", 12-len(frac)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("money: %q: %w", s, err)
	}
	v, err := Mul(w, int64(USD))
	if err == nil {
		v, err = Add(v, f)
	}
	if err != nil {
		return 0, fmt.Errorf("money: %q: %w", s, err)
	}
	return PicoUSD(v), nil
}

func digits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
