package prompt

import (
	"slices"
	"strings"
	"unicode/utf8"
)

func filterLength(s *state, c *call) value {
	switch v := c.in.(type) {
	case string:
		return int64(utf8.RuneCountInString(v))
	case []value:
		return int64(len(v))
	case *dict:
		return int64(len(v.keys))
	}
	c.fail(s, "%s has no length", kindOf(c.in))
	return nil
}

func filterFirst(s *state, c *call) value {
	if seq := s.sequence(c.pos, c.in); len(seq) > 0 {
		return seq[0]
	}
	return undefined{"the first of an empty sequence"}
}

func filterLast(s *state, c *call) value {
	if seq := s.sequence(c.pos, c.in); len(seq) > 0 {
		return seq[len(seq)-1]
	}
	return undefined{"the last of an empty sequence"}
}

func filterList(s *state, c *call) value { return s.sequence(c.pos, c.in) }

func filterReverse(s *state, c *call) value {
	out := slices.Clone(s.sequence(c.pos, c.in))
	s.charge(c.pos, len(out))
	slices.Reverse(out)
	if _, ok := c.in.(string); !ok {
		return out
	}
	var b strings.Builder
	for _, r := range out {
		b.WriteString(r.(string))
	}
	return b.String()
}

func filterJoin(s *state, c *call) value {
	sep := c.text(s, 0, "")
	seq := s.sequence(c.pos, c.in)
	var b strings.Builder
	for i, v := range seq {
		if i > 0 {
			b.WriteString(sep)
		}
		t := s.text(c.pos, c.path(s, 1, v))
		s.charge(c.pos, (len(t)+len(sep))/16+1)
		if b.Len()+len(t) > MaxOutput {
			c.fail(s, "the text becomes larger than 1 MiB")
		}
		b.WriteString(t)
	}
	return b.String()
}

func filterItems(s *state, c *call) value {
	d, ok := c.in.(*dict)
	if !ok {
		c.fail(s, "wants an object, not %s", kindOf(c.in))
	}
	s.charge(c.pos, 3*len(d.keys))
	out := make([]value, len(d.keys))
	for i, k := range d.keys {
		out[i] = []value{k, d.vals[k]}
	}
	return out
}

// keyed pairs an element with what it is ordered by.
type keyed struct {
	v    value
	keys []value
}

// rank computes the keys of a sequence: the element or its attributes, in lower
// case unless the case matters.
func (c *call) rank(s *state, seq []value, attribute int, exact bool) []keyed {
	var paths []value
	if attribute >= 0 && c.given(attribute) && c.args[attribute] != nil {
		if t, ok := c.args[attribute].(string); ok {
			for p := range strings.SplitSeq(t, ",") {
				paths = append(paths, p)
			}
		} else {
			paths = []value{c.args[attribute]}
		}
	}
	out := make([]keyed, len(seq))
	for i, v := range seq {
		s.charge(c.pos, 2)
		keys := []value{v}
		if paths != nil {
			keys = keys[:0]
			for _, p := range paths {
				keys = append(keys, s.defined(c.pos, s.walk(c.pos, v, p)))
			}
		}
		for j, k := range keys {
			if t, ok := k.(string); ok && !exact {
				s.charge(c.pos, len(t)/8)
				keys[j] = strings.ToLower(t)
			}
		}
		out[i] = keyed{v, keys}
	}
	return out
}

func (c *call) before(s *state, a, b keyed) int {
	for i := range a.keys {
		n, ok := s.order(c.pos, a.keys[i], b.keys[i])
		if !ok {
			c.fail(s, "%s and %s cannot be put in order", kindOf(a.keys[i]), kindOf(b.keys[i]))
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

func filterSort(s *state, c *call) value {
	k := c.rank(s, s.sequence(c.pos, c.in), 2, c.flag(s, 1))
	return c.sorted(s, k, c.flag(s, 0))
}

func (c *call) sorted(s *state, k []keyed, reverse bool) value {
	slices.SortStableFunc(k, func(a, b keyed) int {
		if reverse {
			return c.before(s, b, a)
		}
		return c.before(s, a, b)
	})
	out := make([]value, len(k))
	for i := range k {
		out[i] = k[i].v
	}
	return out
}

func filterDictSort(s *state, c *call) value {
	d, ok := c.in.(*dict)
	if !ok {
		c.fail(s, "wants an object, not %s", kindOf(c.in))
	}
	by := c.text(s, 1, "key")
	if by != "key" && by != "value" {
		c.fail(s, `sorts by "key" or "value"`)
	}
	pairs := filterItems(s, c).([]value)
	keys := make([]value, len(d.keys))
	for i, k := range d.keys {
		keys[i] = k
		if by == "value" {
			keys[i] = d.vals[k]
		}
	}
	ranked := c.rank(s, keys, -1, c.flag(s, 0))
	for i := range ranked {
		ranked[i].v = pairs[i]
	}
	return c.sorted(s, ranked, c.flag(s, 2))
}

func filterUnique(s *state, c *call) value {
	out := []value{}
	seen := map[string]bool{}
	for _, k := range c.rank(s, s.sequence(c.pos, c.in), 1, c.flag(s, 0)) {
		s.charge(c.pos, 10+size(k.keys))
		// 1, 1.0 and true are one key in Python too.
		for i, v := range k.keys {
			if f, ok := asFloat(boolAsInt(v)); ok {
				k.keys[i] = number{f: f}
			}
		}
		var b strings.Builder
		writeRepr(&b, k.keys)
		if !seen[b.String()] {
			seen[b.String()] = true
			out = append(out, k.v)
		}
	}
	return out
}

func filterMin(s *state, c *call) value { return c.extreme(s, -1) }
func filterMax(s *state, c *call) value { return c.extreme(s, 1) }

func (c *call) extreme(s *state, way int) value {
	k := c.rank(s, s.sequence(c.pos, c.in), 1, c.flag(s, 0))
	if len(k) == 0 {
		return undefined{"the " + c.def.name + " of an empty sequence"}
	}
	best := k[0]
	for _, x := range k[1:] {
		if c.before(s, x, best)*way > 0 {
			best = x
		}
	}
	return best.v
}

func filterSum(s *state, c *call) value {
	sum := value(int64(0))
	if c.given(1) {
		sum = c.args[1]
	}
	for _, v := range s.sequence(c.pos, c.in) {
		sum = s.binary(binaryExpr{c.pos, "+", litExpr{sum}, litExpr{boolAsInt(c.path(s, 0, v))}})
	}
	return sum
}

func filterMap(s *state, c *call) value {
	seq := s.sequence(c.pos, c.in)
	out := make([]value, len(seq))
	var attribute, missing value = absent{}, absent{}
	if c.inner == nil {
		for _, n := range c.named {
			switch n.name {
			case "attribute":
				attribute = n.v
			case "default":
				missing = n.v
			default:
				c.fail(s, "there is no argument %q", n.name)
			}
		}
		if attribute == (absent{}) {
			c.fail(s, `wants the name of a filter or attribute="..."`)
		}
	}
	for i, v := range seq {
		s.charge(c.pos, 1)
		if c.inner != nil {
			out[i] = s.apply(c, v)
			continue
		}
		out[i] = s.walk(c.pos, v, attribute)
		if _, no := out[i].(undefined); no && missing != (absent{}) {
			out[i] = missing
		}
	}
	return out
}

// filterSelect makes select, reject, selectattr and rejectattr.
func filterSelect(byAttr, keep bool) func(*state, *call) value {
	return func(s *state, c *call) value {
		args := c.rest
		var attribute value
		if byAttr {
			if len(args) == 0 {
				c.fail(s, "wants the name of an attribute")
			}
			attribute, args = args[0], args[1:]
		}
		if c.check != nil {
			args = args[1:]
		}
		out := []value{}
		for _, v := range s.sequence(c.pos, c.in) {
			s.charge(c.pos, 1)
			x := v
			if byAttr {
				x = s.walk(c.pos, v, attribute)
			}
			ok := truth(x)
			if c.check != nil {
				ok = c.check.holds(s, c.pos, x, args)
			}
			if ok == keep {
				out = append(out, v)
			}
		}
		return out
	}
}
