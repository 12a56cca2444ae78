package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/money"
	"go.yaml.in/yaml/v4"
)

var (
	plainInt  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	withUnit  = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([kKmMgG])$`)
	decimal   = regexp.MustCompile(`^([0-9]+)(?:\.([0-9]+))?$`)
	clockTime = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	quoted    = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle
)

// notWhole says what is written instead of a plain whole number, and how to
// write it; both empty when it is one.
func notWhole(n *yaml.Node) (why, fix string) {
	s := strings.TrimSpace(n.Value)
	lower := strings.ToLower(s)
	switch {
	case n.Style&quoted != 0 && plainInt.MatchString(s):
		return "text in quotes", s + " without quotes"
	case n.Style&quoted != 0 || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return "text", ""
	case plainInt.MatchString(s):
		return "", ""
	case strings.Contains(lower, "nan"), strings.Contains(lower, "inf"):
		return "not a number that can be counted to", ""
	case strings.HasPrefix(lower, "0x"), strings.HasPrefix(lower, "0o"), strings.HasPrefix(lower, "0b"):
		return "a number in another base", inDecimal(lower)
	case strings.ContainsRune(s, '_') && plainInt.MatchString(strings.ReplaceAll(s, "_", "")):
		return "a number with underscores", strings.ReplaceAll(s, "_", "")
	case strings.ContainsRune(s, ',') && plainInt.MatchString(strings.ReplaceAll(s, ",", "")):
		return "a number with commas", strings.ReplaceAll(s, ",", "")
	case strings.HasPrefix(s, "+") && plainInt.MatchString(s[1:]):
		return "a number with a sign", s[1:]
	case len(s) > 1 && s[0] == '0' && plainInt.MatchString(strings.TrimLeft(s, "0")):
		return "a number with leading zeros", strings.TrimLeft(s, "0")
	case withUnit.MatchString(s):
		return "a number with a unit", withoutUnit(s)
	case n.Tag == "!!float" && strings.ContainsRune(lower, 'e'):
		return "a number with an exponent", ""
	case n.Tag == "!!float":
		return "a number with decimals", ""
	}
	return kindOf(n), ""
}

func inDecimal(s string) string {
	v, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatInt(v, 10)
}

func withoutUnit(s string) string {
	m := withUnit.FindStringSubmatch(s)
	zeros := map[string]string{"k": "000", "m": "000000", "g": "000000000"}[strings.ToLower(m[2])]
	if strings.ContainsRune(m[1], '.') {
		return ""
	}
	return m[1] + zeros
}

var dollarText = regexp.MustCompile(`^(?:\$ ?|USD ?)?([^\s$A-Z]+?)(?: ?USD| ?\$)?$`)

// dollars reads an amount from the literal text of the scalar, so that no
// float ever stands between the spec and the ledger.
func (p *parser) dollars(k *key, path string, n *yaml.Node) (value, bool) {
	fail := func(why, hint string) (value, bool) {
		p.add(n, codeMoney, path, fmt.Sprintf("%s: %s %s", path, p.quote(n), why), hint)
		return value{}, false
	}
	s := strings.TrimSpace(n.Value)
	if m := dollarText.FindStringSubmatch(s); m != nil {
		s = m[1]
	}
	hint := "write a decimal number of US dollars: " + k.example
	amount, err := money.ParseUSD(s)
	switch {
	case strings.HasPrefix(s, "-"):
		return fail("is below zero", hint)
	case !decimal.MatchString(s):
		return fail("is not an amount of US dollars", hint)
	case err != nil && len(s) > 12 && strings.Contains(s, "."):
		return fail("has more than 12 decimals or is too large", "an amount is never rounded; write at most 12 decimals")
	case err != nil:
		return fail("is too large", "the most is 9223372 US dollars")
	case k.kind == kUSD:
		return value{n: int64(amount)}, true
	case amount > 1_000_000*money.USD:
		return fail("is too large for a price", "write US dollars per million tokens: "+k.example)
	case amount%picoPerMtok != 0:
		return fail("has more than 6 decimals; a token must cost a whole number of pico-dollars", "write at most 6 decimals")
	case int64(amount) < k.min:
		return fail("would mean the price of input tokens", "leave the key out, or write the least price: 0.000001")
	}
	return value{n: int64(amount) / picoPerMtok}, true
}

// share reads 0 to 1 or 0% to 100% as millionths, exactly.
func (p *parser) share(k *key, path string, n *yaml.Node) (value, bool) {
	fail := func(why, hint string) (value, bool) {
		p.add(n, codeShare, path, fmt.Sprintf("%s: %s %s", path, p.quote(n), why), hint)
		return value{}, false
	}
	hint := `write a number from 0 to 1, or a percentage: 0.05 or "5%"`
	s, percent := strings.CutSuffix(strings.TrimSpace(n.Value), "%")
	places := 6
	if percent {
		s, places = strings.TrimSpace(s), 4
	} else if n.Style&quoted != 0 && decimal.MatchString(s) {
		return fail("is text in quotes", "write "+s+" without quotes")
	}
	m := decimal.FindStringSubmatch(s)
	if m == nil || n.Tag == "!!bool" {
		return fail("is not a share", hint)
	}
	frac := strings.TrimRight(m[2], "0")
	if len(frac) > places {
		return fail("is finer than one in a million", "round it to "+strconv.Itoa(places)+" decimals")
	}
	v, err := strconv.ParseInt(m[1]+frac+strings.Repeat("0", places-len(frac)), 10, 64)
	if err != nil || v > 1_000_000 {
		if !percent && len(m[1]) <= 3 {
			hint = fmt.Sprintf("1 is all items; for %s percent write \"%s%%\"", s, s)
		}
		return fail("is more than all items", hint)
	}
	return value{n: v}, true
}

// ppmText is a share in millionths as a decimal number.
func ppmText(ppm int64) string {
	return money.PicoUSD(ppm * 1_000_000).String()
}

const (
	leastDeadline = time.Second
	mostDeadline  = 366 * 24 * time.Hour
)

// deadline reads a duration or a clock time.
func (p *parser) deadline(k *key, path string, n *yaml.Node) (value, bool) {
	fail := func(why, hint string) (value, bool) {
		p.add(n, codeTime, path, fmt.Sprintf("%s: %s %s", path, p.quote(n), why), hint)
		return value{}, false
	}
	s := strings.TrimSpace(n.Value)
	hint := `write a duration such as 2h30m, or a clock time such as "04:30"`
	if clockTime.MatchString(s) {
		return value{until: Deadline{At: s}}, true
	}
	d, err := time.ParseDuration(s)
	switch {
	case plainInt.MatchString(s):
		return fail("has no unit", fmt.Sprintf("write %ss, %sm or %sh", s, s, s))
	case strings.ContainsRune(s, ':'):
		return fail("is not a clock time", "write two digits each, from 00:00 to 23:59")
	case strings.HasSuffix(s, "d"):
		return fail("is not a duration", "there is no unit for days; 24h is one")
	case err != nil:
		return fail("is neither a duration nor a clock time", hint)
	case d < leastDeadline:
		return fail("is too short", "the least is 1s")
	case d > mostDeadline:
		return fail("is too long", "the most is "+strconv.Itoa(int(mostDeadline.Hours()))+"h")
	}
	return value{until: Deadline{After: d}}, true
}
