package prompt

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

func filterAbs(s *state, c *call) value {
	switch v := boolAsInt(c.in).(type) {
	case int64:
		if v == math.MinInt64 {
			s.overflow(c.pos)
		}
		return max(v, -v)
	case number:
		if v.f >= 0 {
			return v
		}
		return number{f: -v.f, text: strings.TrimPrefix(v.text, "-")}
	}
	c.fail(s, "wants a number, not %s", kindOf(c.in))
	return nil
}

func filterInt(s *state, c *call) value {
	missing := value(int64(0))
	if c.given(0) {
		missing = c.args[0]
	}
	switch v := boolAsInt(c.in).(type) {
	case int64:
		return v
	case number:
		if v.whole() {
			return v
		}
		return truncated(v.f, missing)
	case string:
		t := strings.ReplaceAll(strings.TrimSpace(v), "_", "")
		radix := c.whole(s, 1, 10)
		if radix < 2 || radix > 36 {
			c.fail(s, "the base must be between 2 and 36")
		}
		digits := t
		if p := map[int]string{16: "0x", 8: "0o", 2: "0b"}[radix]; p != "" {
			digits = strings.TrimPrefix(strings.ToLower(t), p)
		}
		if n, err := strconv.ParseInt(digits, radix, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil {
			return truncated(f, missing)
		}
	}
	return missing
}

func truncated(f float64, missing value) value {
	if math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return missing
	}
	return int64(f)
}

func filterFloat(s *state, c *call) value {
	switch v := boolAsInt(c.in).(type) {
	case int64:
		return number{f: float64(v)}
	case number:
		return number{f: v.f}
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return number{f: f}
		}
	}
	if c.given(0) {
		return c.args[0]
	}
	return number{}
}

func filterRound(s *state, c *call) value {
	f, ok := asFloat(boolAsInt(c.in))
	if !ok {
		c.fail(s, "wants a number, not %s", kindOf(c.in))
	}
	digits := max(min(c.whole(s, 0, 0), 300), -300)
	if n, whole := boolAsInt(c.in).(int64); whole && digits >= 0 {
		return n
	} else if whole {
		return int64(math.RoundToEven(f/math.Pow(10, float64(-digits))) * math.Pow(10, float64(-digits)))
	}
	scale := math.Pow(10, float64(digits))
	switch method := c.text(s, 1, "common"); method {
	case "ceil":
		return number{f: math.Ceil(f*scale) / scale}
	case "floor":
		return number{f: math.Floor(f*scale) / scale}
	case "common":
		if digits >= 0 { // the decimal text rounds exactly, halves to even, as Python does
			r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
			if err != nil {
				return number{f: f}
			}
			return number{f: r}
		}
		return number{f: math.RoundToEven(f*scale) / scale}
	}
	c.fail(s, `the method is "common", "ceil" or "floor"`)
	return nil
}

// verb formats one value of a % format.
func (c *call) verb(s *state, flags string, kind byte, v value) string {
	for part := range strings.FieldsFuncSeq(flags, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(part) > 4 || len(part) == 4 && part > "1000" {
			c.fail(s, "the width is larger than 1000")
		}
	}
	if strings.Count(flags, ".") > 1 {
		c.fail(s, "the format has two precisions")
	}
	spec := "%" + flags
	switch kind {
	case 's':
		return fmt.Sprintf(spec+"s", s.text(c.pos, v))
	case 'd', 'i', 'x':
		n := boolAsInt(v)
		if f, ok := n.(number); ok {
			n = truncated(f.f, nil)
		}
		i, ok := n.(int64)
		if !ok {
			c.fail(s, "%%%c wants a whole number, not %s", kind, kindOf(v))
		}
		if kind == 'i' {
			kind = 'd'
		}
		return fmt.Sprintf(spec+string(kind), i)
	case 'f', 'e', 'g':
		f, ok := asFloat(boolAsInt(v))
		if !ok {
			c.fail(s, "%%%c wants a number, not %s", kind, kindOf(v))
		}
		if kind == 'g' && !strings.Contains(flags, ".") {
			spec += ".6"
		}
		return fmt.Sprintf(spec+string(kind), f)
	}
	c.fail(s, "the format has a %% that is none of %%s %%d %%i %%x %%f %%e %%g %%%%")
	return ""
}
