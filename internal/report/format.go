package report

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// Count writes a whole number with thousands separators: 12,345.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Short writes a number in few characters for chart axes and cells: 950, 1.2k,
// 41M.
func Short(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}} {
		if n < u.size {
			continue
		}
		tenths := n / (u.size / 10)
		if tenths >= 100 || tenths%10 == 0 {
			return strconv.FormatInt(tenths/10, 10) + u.name
		}
		return fmt.Sprintf("%d.%d%s", tenths/10, tenths%10, u.name)
	}
	return strconv.FormatInt(n, 10)
}

// USD writes money for people: $1,234.50, $0.0312; below a hundredth of a cent
// with two digits that count. Half a unit rounds up.
func USD(p money.PicoUSD) string {
	sign, v := "", big.NewInt(int64(p))
	if v.Sign() < 0 {
		sign = "−"
		v.Neg(v)
	}
	decimals := 4
	switch pico := v.Int64(); {
	case pico == 0, v.Cmp(big.NewInt(int64(money.USD))) >= 0:
		decimals = 2
	case pico < 100_000_000: // below $0.0001
		decimals = 13 - len(strconv.FormatInt(pico, 10)) + 1
		decimals = min(decimals, 12)
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(12-decimals)), nil)
	half := new(big.Int).Rsh(scale, 1)
	v.Add(v, half).Div(v, scale)
	digits := fmt.Sprintf("%0*s", decimals+1, v.String())
	whole, frac := digits[:len(digits)-decimals], digits[len(digits)-decimals:]
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return sign + "$" + whole + "." + frac
	}
	return sign + "$" + Count(n) + "." + frac
}

// Share writes part of whole in percent with the digits that matter: 0.42%,
// 12.5%, 100%. It never rounds a few up to all or down to none.
func Share(part, whole int64) string {
	if whole <= 0 {
		return "0%"
	}
	bp := new(big.Int).Mul(big.NewInt(part), big.NewInt(10_000))
	bp.Add(bp, big.NewInt(whole/2)).Div(bp, big.NewInt(whole))
	n := bp.Int64()
	switch {
	case part > 0 && n == 0:
		return "<0.01%"
	case part < whole && n >= 10_000:
		return ">99.99%"
	case n >= 1_000 && (n < 9_990 || part >= whole):
		n = (n + 5) / 10 * 10
	}
	if n%100 == 0 {
		return Count(n/100) + "%"
	}
	if n%10 == 0 {
		return fmt.Sprintf("%s.%d%%", Count(n/100), n/10%10)
	}
	return fmt.Sprintf("%s.%02d%%", Count(n/100), n%100)
}

// ppm writes a share in millionths in percent.
func ppm(n int64) string { return Share(n, 1_000_000) }

// Duration writes a span in its two largest units: 2h 03m, 49m 12s, 1.2s, 850ms.
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d.%ds", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd %02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

func micros(us int64) string {
	if us < 1000 && us > 0 {
		return fmt.Sprintf("%dµs", us)
	}
	return Duration(time.Duration(us) * time.Microsecond)
}

// Bytes writes a size: 812 B, 1.2 MB.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	s := Short(n)
	unit := map[byte]string{'k': "kB", 'M': "MB", 'B': "GB", 'T': "TB", 'P': "PB"}[s[len(s)-1]]
	return s[:len(s)-1] + " " + unit
}

// plural writes a count with its noun: 1 item, 2 items.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// quantity writes a number in its unit.
func quantity(n int64, u Unit) string {
	switch u {
	case UnitPicoUSD:
		return USD(money.PicoUSD(n))
	case UnitMillis:
		return Duration(time.Duration(n) * time.Millisecond)
	case UnitMicros:
		return micros(n)
	case UnitPPM:
		return ppm(n)
	case UnitCount, UnitTokens:
	}
	return Count(n)
}

// Variance says how far actual is from planned: +12.5%, −3%, or a dash when
// nothing was planned.
func Variance(planned, actual int64) string {
	switch {
	case planned == actual:
		return "±0%"
	case planned <= 0:
		return "–"
	case actual > planned:
		return "+" + Share(actual-planned, planned)
	}
	return "−" + Share(planned-actual, planned)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// elapsed is how long the run took; 0 when it never began.
func (r Run) elapsed() time.Duration {
	if r.StartedAt.IsZero() || r.EndedAt.Before(r.StartedAt) {
		return 0
	}
	return r.EndedAt.Sub(r.StartedAt)
}

// unpriced reports whether tokens were used and no price card says what they cost.
func (r Run) unpriced() bool {
	return r.Tokens.Total > 0 && r.Cost.Total() == 0 && r.PriceVersion == ""
}

// shortDigest cuts a digest to what a person compares.
func shortDigest(d string) string {
	if i := strings.IndexByte(d, ':'); i >= 0 && len(d) > i+13 {
		return d[:i+13] + "…"
	}
	if len(d) > 16 && !strings.ContainsAny(d, " \n") {
		return d[:12] + "…"
	}
	return d
}
