package prompt

import (
	"cmp"
	"math"
	"math/bits"
	"strings"
)

func (s *state) unary(x unaryExpr) value {
	v := s.eval(x.x)
	if x.op == "not" {
		return !truth(v)
	}
	switch v := s.defined(x.pos, v).(type) {
	case int64:
		if x.op == "+" {
			return v
		}
		if v == math.MinInt64 {
			s.overflow(x.pos)
		}
		return -v
	case number:
		if x.op == "+" {
			return v
		}
		return number{f: -v.f}
	}
	s.fail(x.pos, "%q wants a number, not %s", x.op, kindOf(v))
	return nil
}

func (s *state) overflow(pos int) { s.fail(pos, "the result does not fit 64 bits") }

func (s *state) binary(x binaryExpr) value {
	a := s.eval(x.a)
	switch x.op {
	case "and":
		if !truth(a) {
			return a
		}
		return s.eval(x.b)
	case "or":
		if truth(a) {
			return a
		}
		return s.eval(x.b)
	}
	s.defined(x.pos, a)
	b := s.defined(x.pos, s.eval(x.b))
	if x.op == "~" {
		return s.join(x.pos, s.text(x.pos, a), s.text(x.pos, b))
	}
	i, isInt := a.(int64)
	j, isInt2 := b.(int64)
	if isInt && isInt2 && x.op != "/" {
		return s.whole(x, i, j)
	}
	f, isNum := asFloat(a)
	g, isNum2 := asFloat(b)
	if isNum && isNum2 {
		return s.float(x, f, g)
	}
	if v, ok := s.sequences(x, a, b); ok {
		return v
	}
	s.fail(x.pos, "%q does not work between %s and %s", x.op, kindOf(a), kindOf(b))
	return nil
}

func (s *state) join(pos int, a, b string) string {
	s.charge(pos, (len(a)+len(b))/16)
	if len(a)+len(b) > MaxOutput {
		s.fail(pos, "a text is larger than 1 MiB")
	}
	return a + b
}

// sequences are the signs between texts and lists: + and *.
func (s *state) sequences(x binaryExpr, a, b value) (value, bool) {
	switch a := a.(type) {
	case string:
		switch b := b.(type) {
		case string:
			if x.op == "+" {
				return s.join(x.pos, a, b), true
			}
		case int64:
			if x.op == "*" {
				return s.repeat(x.pos, a, b), true
			}
		}
	case int64:
		if t, ok := b.(string); ok && x.op == "*" {
			return s.repeat(x.pos, t, a), true
		}
	case []value:
		if c, ok := b.([]value); ok && x.op == "+" {
			s.charge(x.pos, len(a)+len(c))
			return append(append(make([]value, 0, len(a)+len(c)), a...), c...), true
		}
	}
	return nil, false
}

func (s *state) repeat(pos int, t string, n int64) string {
	if n <= 0 || t == "" {
		return ""
	}
	if n > MaxOutput || int64(len(t))*n > MaxOutput {
		s.fail(pos, "a text is larger than 1 MiB")
	}
	s.charge(pos, len(t)*int(n)/16)
	return strings.Repeat(t, int(n))
}

func asFloat(v value) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case number:
		return v.f, true
	}
	return 0, false
}

func (s *state) whole(x binaryExpr, a, b int64) value {
	switch x.op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		if c, ok := times(a, b); ok {
			return c
		}
	case "//", "%":
		if b == 0 {
			s.fail(x.pos, "division by zero")
		}
		if a == math.MinInt64 && b == -1 {
			break
		}
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) { // towards minus infinity, as in Python
			q, r = q-1, r+b
		}
		if x.op == "%" {
			return r
		}
		return q
	case "**":
		if b < 0 {
			return s.float(x, float64(a), float64(b))
		}
		return s.power(x.pos, a, b)
	}
	s.overflow(x.pos)
	return nil
}

func times(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	if a == math.MinInt64 || b == math.MinInt64 || hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	return a * b, true
}

func (s *state) power(pos int, a, n int64) value {
	out := int64(1)
	if a >= -1 && a <= 1 && n > 2 { // the only bases whose powers never overflow
		n = 2 - n%2
	}
	for ; n > 0; n-- {
		next, ok := times(out, a)
		if !ok {
			s.overflow(pos)
		}
		out = next
	}
	return out
}

func (s *state) float(x binaryExpr, a, b float64) value {
	switch x.op {
	case "+":
		return number{f: a + b}
	case "-":
		return number{f: a - b}
	case "*":
		return number{f: a * b}
	case "**":
		if c := math.Pow(a, b); !math.IsNaN(c) && !math.IsInf(c, 0) {
			return number{f: c}
		}
		s.fail(x.pos, "the power is not a finite number")
	}
	if b == 0 {
		s.fail(x.pos, "division by zero")
	}
	switch x.op {
	case "/":
		return number{f: a / b}
	case "//":
		return number{f: math.Floor(a / b)}
	}
	r := math.Mod(a, b)
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return number{f: r}
}

func (s *state) compare(x compareExpr) value {
	a := s.defined(x.pos, s.eval(x.xs[0]))
	for i, op := range x.ops {
		b := s.defined(x.pos, s.eval(x.xs[i+1]))
		if !s.holds(x.pos, op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (s *state) holds(pos int, op string, a, b value) bool {
	switch op {
	case "==":
		return s.equal(pos, a, b)
	case "!=":
		return !s.equal(pos, a, b)
	case "in":
		return s.contains(pos, b, a)
	case "not in":
		return !s.contains(pos, b, a)
	}
	c, ok := s.order(pos, a, b)
	if !ok {
		s.fail(pos, "%q does not work between %s and %s", op, kindOf(a), kindOf(b))
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// order compares what Python can order: numbers (and booleans as 0 and 1),
// texts, and lists of such.
func (s *state) order(pos int, a, b value) (int, bool) {
	s.charge(pos, 2)
	a, b = boolAsInt(a), boolAsInt(b)
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y), true
		}
	}
	if x, ok := asFloat(a); ok {
		if y, ok := asFloat(b); ok {
			return cmp.Compare(x, y), true
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			s.charge(pos, min(len(x), len(y))/16)
			return strings.Compare(x, y), true
		}
	case []value:
		y, ok := b.([]value)
		if !ok {
			return 0, false
		}
		for i := range min(len(x), len(y)) {
			if !s.equal(pos, x[i], y[i]) {
				return s.order(pos, x[i], y[i])
			}
		}
		return cmp.Compare(len(x), len(y)), true
	}
	return 0, false
}

func boolAsInt(v value) value {
	switch v {
	case true:
		return int64(1)
	case false:
		return int64(0)
	}
	return v
}

func (s *state) equal(pos int, a, b value) bool {
	s.charge(pos, 1)
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		y, ok := b.(string)
		if ok && len(x) == len(y) {
			s.charge(pos, len(x)/16)
		}
		return ok && x == y
	case []value:
		y, ok := b.([]value)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !s.equal(pos, x[i], y[i]) {
				return false
			}
		}
		return true
	case *dict:
		y, ok := b.(*dict)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for k, v := range x.vals {
			if w, ok := y.vals[k]; !ok || !s.equal(pos, v, w) {
				return false
			}
		}
		return true
	case bool, int64, number:
		switch b.(type) {
		case bool, int64, number:
			c, _ := s.order(pos, a, b)
			return c == 0
		}
	}
	return false
}

func (s *state) contains(pos int, in, v value) bool {
	switch in := in.(type) {
	case string:
		t, ok := v.(string)
		if !ok {
			s.fail(pos, "only a text can be in a text, not %s", kindOf(v))
		}
		s.charge(pos, len(in)/16)
		return strings.Contains(in, t)
	case []value:
		for _, x := range in {
			if s.equal(pos, x, v) {
				return true
			}
		}
		return false
	case *dict:
		k, ok := v.(string)
		_, has := in.vals[k]
		return ok && has
	}
	s.fail(pos, "nothing can be in %s", kindOf(in))
	return false
}
