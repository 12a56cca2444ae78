package prompt

import (
	"slices"
	"strings"
)

// filterDef is one filter of the allow-list. All are pure: their result depends
// on their arguments alone.
type filterDef struct {
	name     string
	params   []string
	required int // how many of params must be given
	variadic bool
	total    bool // never fails, whatever value it is given
	fn       func(*state, *call) value
}

// call is one use of a filter.
type call struct {
	pos   int
	def   *filterDef
	in    value
	args  []value // by parameter; absent where not given
	inner *filterDef
	check *testDef
	rest  []value // what follows the name in map("name", ...) and select("name", ...)
	named []named // keyword arguments of the inner filter
}

type named struct {
	name string
	v    value
}

type absent struct{}

var filters = func() map[string]*filterDef {
	m := map[string]*filterDef{}
	add := func(names, params string, required int, fn func(*state, *call) value) *filterDef {
		d := &filterDef{params: strings.Fields(params), required: required, fn: fn}
		for _, n := range strings.Fields(names) {
			alias := *d
			alias.name = n
			m[n] = &alias
		}
		return m[strings.Fields(names)[0]]
	}
	add("trim", "chars", 0, filterTrim).total = true
	add("upper", "", 0, onText(strings.ToUpper)).total = true
	add("lower", "", 0, onText(strings.ToLower)).total = true
	add("title", "", 0, onText(title)).total = true
	add("capitalize", "", 0, onText(capitalize)).total = true
	add("string", "", 0, onText(func(t string) string { return t })).total = true
	add("escape e", "", 0, onText(htmlEscaper().Replace)).total = true
	add("wordcount", "", 0, filterWordcount).total = true
	add("tojson", "indent", 0, filterJSON).total = true
	add("urlencode", "", 0, filterURL).total = true
	add("default d", "default_value boolean", 0, filterDefault).total = true
	add("center", "width", 0, filterCenter)
	add("replace", "old new count", 2, filterReplace)
	add("truncate", "length killwords end leeway", 0, filterTruncate)
	add("indent", "width first blank", 0, filterIndent)
	add("wordwrap", "width break_long_words wrapstring break_on_hyphens", 0, filterWrap)
	add("format", "*", 0, filterFormat).variadic = true
	add("abs", "", 0, filterAbs)
	add("int", "default base", 0, filterInt)
	add("float", "default", 0, filterFloat)
	add("round", "precision method", 0, filterRound)
	add("length count", "", 0, filterLength)
	add("first", "", 0, filterFirst)
	add("last", "", 0, filterLast)
	add("list", "", 0, filterList)
	add("reverse", "", 0, filterReverse)
	add("join", "d attribute", 0, filterJoin)
	add("items", "", 0, filterItems)
	add("sort", "reverse case_sensitive attribute", 0, filterSort)
	add("unique", "case_sensitive attribute", 0, filterUnique)
	add("min", "case_sensitive attribute", 0, filterMin)
	add("max", "case_sensitive attribute", 0, filterMax)
	add("sum", "attribute start", 0, filterSum)
	add("map", "*", 0, filterMap).variadic = true
	add("select", "*", 0, filterSelect(false, true)).variadic = true
	add("reject", "*", 0, filterSelect(false, false)).variadic = true
	add("selectattr", "*", 0, filterSelect(true, true)).variadic = true
	add("rejectattr", "*", 0, filterSelect(true, false)).variadic = true
	add("dictsort", "case_sensitive by reverse", 0, filterDictSort)
	m["escape"].total, m["e"].total, m["d"].total = true, true, true
	return m
}()

func (s *state) filter(x filterExpr) value {
	in := s.eval(x.x)
	c := &call{pos: x.pos, def: x.def, in: in, inner: x.inner, check: x.check}
	if x.def.variadic {
		for i, e := range x.args.pos {
			// The name itself was resolved while reading.
			if x.inner != nil && i == 0 {
				continue
			}
			c.rest = append(c.rest, s.defined(x.pos, s.eval(e)))
		}
		for _, n := range x.args.named {
			c.named = append(c.named, named{n.name, s.eval(n.x)})
		}
	} else {
		c.args = make([]value, len(x.def.params))
		for i := range c.args {
			c.args[i] = absent{}
		}
		for i, e := range x.args.pos {
			c.args[i] = s.eval(e)
		}
		for _, n := range x.args.named {
			c.args[slices.Index(x.def.params, n.name)] = s.eval(n.x)
		}
	}
	return s.call(c)
}

func (s *state) call(c *call) value {
	s.charge(c.pos, 1)
	if u, ok := c.in.(undefined); ok && c.def.name != "default" && c.def.name != "d" {
		s.missing(c.pos, u)
	}
	if t, ok := c.in.(string); ok {
		s.charge(c.pos, len(t)/16)
	}
	return c.def.fn(s, c)
}

// apply calls the filter that map names on one element.
func (s *state) apply(c *call, v value) value {
	in := &call{pos: c.pos, def: c.inner, in: v, args: make([]value, len(c.inner.params))}
	for i := range in.args {
		in.args[i] = absent{}
	}
	copy(in.args, c.rest)
	for _, n := range c.named {
		in.args[slices.Index(c.inner.params, n.name)] = n.v
	}
	return s.call(in)
}

func (c *call) fail(s *state, format string, args ...any) {
	s.fail(c.pos, "filter %q: "+format, append([]any{c.def.name}, args...)...)
}

func (c *call) given(i int) bool {
	_, no := c.args[i].(absent)
	return !no
}

func (c *call) text(s *state, i int, missing string) string {
	if !c.given(i) {
		return missing
	}
	return s.text(c.pos, c.args[i])
}

func (c *call) flag(s *state, i int) bool {
	return c.given(i) && truth(s.defined(c.pos, c.args[i]))
}

// whole is a whole-number argument, held within what any text can use.
func (c *call) whole(s *state, i, missing int) int {
	if !c.given(i) {
		return missing
	}
	n, ok := s.defined(c.pos, c.args[i]).(int64)
	if !ok {
		c.fail(s, "%s must be a whole number, not %s", c.def.params[i], kindOf(c.args[i]))
	}
	return int(max(min(n, MaxOutput), -MaxOutput))
}

// path reads an element's attribute as "a.b.0" does; without one the element
// itself.
func (c *call) path(s *state, i int, v value) value {
	if i >= 0 && (!c.given(i) || c.args[i] == nil) {
		return v
	}
	return s.walk(c.pos, v, c.args[i])
}

func (s *state) walk(pos int, v, path value) value {
	if n, ok := path.(int64); ok {
		return s.index(indexExpr{pos, litExpr{v}, litExpr{n}})
	}
	text, ok := path.(string)
	if !ok {
		s.fail(pos, "an attribute must be a name, not %s", kindOf(path))
	}
	for part := range strings.SplitSeq(text, ".") {
		s.charge(pos, 1)
		if n := decodeNumber(part); part != "" && strings.Trim(part, "0123456789") == "" {
			v = s.index(indexExpr{pos, litExpr{v}, litExpr{n}})
		} else {
			v = s.attr(v, part)
		}
	}
	return v
}

func filterDefault(s *state, c *call) value {
	_, missing := c.in.(undefined)
	if missing || c.flag(s, 1) && !truth(c.in) {
		if c.given(0) {
			return c.args[0]
		}
		return ""
	}
	return c.in
}
