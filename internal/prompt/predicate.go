package prompt

import (
	"fmt"
	"slices"
	"strings"
)

// testDef is one test of the allow-list.
type testDef struct {
	name  string
	arity int
	fn    func(s *state, pos int, v value, args []value) bool
}

var tests = func() map[string]*testDef {
	m := map[string]*testDef{}
	add := func(names string, arity int, fn func(s *state, pos int, v value, args []value) bool) {
		for _, n := range strings.Fields(names) {
			m[n] = &testDef{n, arity, fn}
		}
	}
	plain := func(fn func(value) bool) func(*state, int, value, []value) bool {
		return func(_ *state, _ int, v value, _ []value) bool { return fn(v) }
	}
	compare := func(op string) func(*state, int, value, []value) bool {
		return func(s *state, pos int, v value, args []value) bool { return s.holds(pos, op, v, args[0]) }
	}
	add("defined", 0, plain(func(v value) bool { _, no := v.(undefined); return !no }))
	add("undefined", 0, plain(func(v value) bool { _, no := v.(undefined); return no }))
	add("none", 0, plain(func(v value) bool { return v == nil }))
	add("boolean", 0, plain(isBool))
	add("true", 0, plain(func(v value) bool { return isBool(v) && truth(v) }))
	add("false", 0, plain(func(v value) bool { return isBool(v) && !truth(v) }))
	add("string", 0, plain(func(v value) bool { _, ok := v.(string); return ok }))
	add("number", 0, plain(func(v value) bool { _, ok := asFloat(boolAsInt(v)); return ok }))
	add("integer", 0, plain(isWhole))
	add("float", 0, plain(func(v value) bool { n, ok := v.(number); return ok && !n.whole() }))
	add("mapping", 0, plain(func(v value) bool { _, ok := v.(*dict); return ok }))
	add("sequence iterable", 0, plain(isSequence))
	add("lower", 0, func(s *state, pos int, v value, _ []value) bool { return cased(s.text(pos, v), strings.ToLower) })
	add("upper", 0, func(s *state, pos int, v value, _ []value) bool { return cased(s.text(pos, v), strings.ToUpper) })
	add("even", 0, func(s *state, pos int, v value, _ []value) bool { return wholeOf(s, pos, v)%2 == 0 })
	add("odd", 0, func(s *state, pos int, v value, _ []value) bool { return wholeOf(s, pos, v)%2 != 0 })
	add("divisibleby", 1, func(s *state, pos int, v value, args []value) bool {
		n := wholeOf(s, pos, args[0])
		if n == 0 {
			s.fail(pos, "division by zero")
		}
		return wholeOf(s, pos, v)%n == 0
	})
	add("eq equalto ==", 1, compare("=="))
	add("ne !=", 1, compare("!="))
	add("lt lessthan <", 1, compare("<"))
	add("le <=", 1, compare("<="))
	add("gt greaterthan >", 1, compare(">"))
	add("ge >=", 1, compare(">="))
	add("in", 1, compare("in"))
	return m
}()

func isBool(v value) bool { _, ok := v.(bool); return ok }

func isWhole(v value) bool {
	n, ok := v.(number)
	_, small := v.(int64)
	return small || ok && n.whole()
}

func isSequence(v value) bool {
	switch v.(type) {
	case string, []value, *dict:
		return true
	}
	return false
}

// cased reports whether t has letters with case and changing case changes
// nothing.
func cased(t string, change func(string) string) bool {
	return change(t) == t && strings.ToUpper(t) != strings.ToLower(t)
}

func wholeOf(s *state, pos int, v value) int64 {
	n, ok := v.(int64)
	if !ok {
		s.fail(pos, "wants a whole number, not %s", kindOf(v))
	}
	return n
}

func (s *state) test(x testExpr) value {
	v := s.eval(x.x)
	args := make([]value, len(x.args))
	for i, a := range x.args {
		args[i] = s.defined(x.pos, s.eval(a))
	}
	return x.def.holds(s, x.pos, v, args)
}

func (d *testDef) holds(s *state, pos int, v value, args []value) bool {
	if u, ok := v.(undefined); ok && d.name != "defined" && d.name != "undefined" {
		s.missing(pos, u)
	}
	return d.fn(s, pos, v, args)
}

// nearest is the hint for a misspelt name: the closest one, or all of them.
func nearest(name string, known []string) string {
	slices.Sort(known)
	best, dist := "", 3
	for _, k := range known {
		if d := distance(name, k); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	known = slices.DeleteFunc(known, func(k string) bool { return strings.ContainsAny(k, " =<>!") })
	return "use one of " + strings.Join(known, ", ")
}

// distance is the edit distance of two short names.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
