package prompt

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// state is one rendering. Errors are raised by panic(*batch.Error) and caught
// once, in Render.
type state struct {
	src    *source
	item   *dict
	scopes []map[string]value
	out    *strings.Builder
	work   int
	turns  int
}

func (s *state) fail(pos int, format string, args ...any) {
	panic(s.src.fail(pos, "", format, args...))
}

// charge counts work; it is what stops a template that computes without end.
func (s *state) charge(pos, n int) {
	if s.work += n; s.work > maxWork || n < 0 {
		s.fail(pos, "the template does too much work for one item")
	}
}

func (s *state) write(pos int, text string) {
	s.charge(pos, len(text)/16)
	if s.out.Len()+len(text) > MaxOutput {
		s.fail(pos, "the rendered prompt is larger than 1 MiB")
	}
	s.out.WriteString(text)
}

func (s *state) lookup(name string) (value, bool) {
	for i := len(s.scopes) - 1; i >= 0; i-- {
		if v, ok := s.scopes[i][name]; ok {
			return v, true
		}
	}
	if name == "item" {
		return s.item, true
	}
	v, ok := s.item.vals[name]
	return v, ok
}

func (s *state) run(body []stmt) {
	for _, x := range body {
		s.charge(0, 1)
		switch x := x.(type) {
		case textStmt:
			s.write(0, x.text)
		case outStmt:
			s.write(posOf(x.x), s.text(posOf(x.x), s.eval(x.x)))
		case ifStmt:
			if truth(s.eval(x.cond)) {
				s.run(x.then)
			} else {
				s.run(x.alt)
			}
		case forStmt:
			s.loop(x)
		case setStmt:
			s.set(x)
		}
	}
}

func (s *state) set(x setStmt) {
	var v value
	if x.x != nil {
		v = s.eval(x.x)
	} else {
		written := s.out
		s.out = &strings.Builder{}
		s.scopes = append(s.scopes, map[string]value{})
		s.run(x.body)
		s.scopes = s.scopes[:len(s.scopes)-1]
		v, s.out = s.out.String(), written
	}
	if len(s.scopes) == 0 {
		s.scopes = append(s.scopes, map[string]value{})
	}
	s.scopes[len(s.scopes)-1][x.name] = v
}

// loopFacts is what "loop" is inside a for.
type loopFacts struct {
	i   int
	seq []value
}

func (l *loopFacts) fact(name string) value {
	n := len(l.seq)
	switch name {
	case "index":
		return int64(l.i + 1)
	case "index0":
		return int64(l.i)
	case "revindex":
		return int64(n - l.i)
	case "revindex0":
		return int64(n - l.i - 1)
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return int64(n)
	case "depth": // of recursion, which there is none of
		return int64(1)
	case "depth0":
		return int64(0)
	case "previtem":
		if l.i > 0 {
			return l.seq[l.i-1]
		}
	case "nextitem":
		if l.i < n-1 {
			return l.seq[l.i+1]
		}
	}
	return undefined{"loop." + name}
}

func (s *state) loop(x forStmt) {
	seq := s.sequence(x.pos, s.eval(x.over))
	s.turns += len(seq)
	if s.turns > MaxIterations {
		s.fail(x.pos, "loops of one prompt run more than %d times", MaxIterations)
	}
	outer := len(s.scopes)
	if x.filter != nil {
		kept := make([]value, 0, len(seq))
		for _, v := range seq {
			s.scopes = append(s.scopes[:outer], s.bind(x, v))
			if truth(s.eval(x.filter)) {
				kept = append(kept, v)
			}
		}
		s.scopes, seq = s.scopes[:outer], kept
	}
	if len(seq) == 0 {
		s.scopes = append(s.scopes, map[string]value{})
		s.run(x.none)
		s.scopes = s.scopes[:outer]
		return
	}
	facts := &loopFacts{seq: seq}
	for i, v := range seq {
		facts.i = i
		scope := s.bind(x, v)
		scope["loop"] = facts
		s.scopes = append(s.scopes[:outer], scope)
		s.run(x.body)
	}
	s.scopes = s.scopes[:outer]
}

func (s *state) bind(x forStmt, v value) map[string]value {
	scope := make(map[string]value, len(x.names)+1)
	if len(x.names) == 1 {
		scope[x.names[0]] = v
		return scope
	}
	parts := s.sequence(x.pos, v)
	if len(parts) != len(x.names) {
		s.fail(x.pos, "cannot take %d names from %d values", len(x.names), len(parts))
	}
	for i, n := range x.names {
		scope[n] = parts[i]
	}
	return scope
}

// sequence is Python's list(v).
func (s *state) sequence(pos int, v value) []value {
	switch v := v.(type) {
	case []value:
		s.charge(pos, 1)
		return v
	case *dict:
		s.charge(pos, len(v.keys))
		out := make([]value, len(v.keys))
		for i, k := range v.keys {
			out[i] = k
		}
		return out
	case string:
		s.charge(pos, len(v))
		out := make([]value, 0, utf8.RuneCountInString(v))
		for _, r := range v {
			out = append(out, string(r))
		}
		return out
	case undefined:
		s.missing(pos, v)
	}
	s.fail(pos, "%s is not a sequence", kindOf(v))
	return nil
}

func (s *state) missing(pos int, u undefined) {
	panic(s.src.fail(pos, `write {{ x | default("") }} where it may be missing`, "%q is not in the item", u.name))
}

// text is Python's str(v).
func (s *state) text(pos int, v value) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		s.missing(pos, v)
	case int64:
		return strconv.FormatInt(v, 10)
	case *loopFacts:
		s.fail(pos, "loop has no text; use loop.index")
	case []value, *dict:
		s.charge(pos, size(v))
	}
	var b strings.Builder
	writeRepr(&b, v)
	s.charge(pos, b.Len()/16)
	return b.String()
}

func (s *state) eval(x expr) value {
	s.charge(0, 1)
	switch x := x.(type) {
	case litExpr:
		return x.v
	case nameExpr:
		if v, ok := s.lookup(x.name); ok {
			return v
		}
		return undefined{x.name}
	case attrExpr:
		return s.attr(s.eval(x.x), x.key)
	case indexExpr:
		return s.index(x)
	case sliceExpr:
		return s.slice(x)
	case listExpr:
		out := make([]value, len(x.xs))
		for i, e := range x.xs {
			out[i] = s.defined(posOf(e), s.eval(e))
		}
		return out
	case dictExpr:
		return s.dict(x)
	case unaryExpr:
		return s.unary(x)
	case binaryExpr:
		return s.binary(x)
	case compareExpr:
		return s.compare(x)
	case condExpr:
		if truth(s.eval(x.cond)) {
			return s.eval(x.then)
		}
		if x.alt == nil {
			return "" // as Jinja prints it
		}
		return s.eval(x.alt)
	case callExpr:
		return s.rangeList(x)
	case filterExpr:
		return s.filter(x)
	case testExpr:
		return s.test(x)
	}
	panic("prompt: unknown expression")
}

func (s *state) defined(pos int, v value) value {
	if u, ok := v.(undefined); ok {
		s.missing(pos, u)
	}
	return v
}

func (s *state) attr(v value, key string) value {
	switch v := v.(type) {
	case *dict:
		if x, ok := v.vals[key]; ok {
			return x
		}
	case *loopFacts:
		return v.fact(key)
	case undefined:
		return v // the first part that is missing is the one to name
	}
	if !strings.Contains(s.src.text, key) { // then the item named it, and errors never quote an item
		return undefined{"a key that the item names"}
	}
	return undefined{key}
}

func (s *state) index(x indexExpr) value {
	v, arg := s.eval(x.x), s.defined(x.pos, s.eval(x.arg))
	if u, ok := v.(undefined); ok {
		return u
	}
	switch k := arg.(type) {
	case string:
		return s.attr(v, k)
	case int64:
		switch v := v.(type) {
		case []value:
			if k < 0 {
				k += int64(len(v))
			}
			if k >= 0 && k < int64(len(v)) {
				return v[k]
			}
		case string:
			s.charge(x.pos, len(v)/16)
			r := []rune(v)
			if k < 0 {
				k += int64(len(r))
			}
			if k >= 0 && k < int64(len(r)) {
				return string(r[k])
			}
		}
		return undefined{"[" + strconv.FormatInt(k, 10) + "]"}
	}
	s.fail(x.pos, "%s is not a key", kindOf(arg))
	return nil
}

func (s *state) slice(x sliceExpr) value {
	v := s.defined(x.pos, s.eval(x.x))
	switch v := v.(type) {
	case string:
		s.charge(x.pos, len(v)/4)
		runes := []rune(v)
		at := s.bounds(x, len(runes))
		s.charge(x.pos, len(at)/2)
		out := make([]rune, len(at))
		for i, j := range at {
			out[i] = runes[j]
		}
		return string(out)
	case []value:
		s.charge(x.pos, len(v)/4)
		at := s.bounds(x, len(v))
		s.charge(x.pos, len(at))
		out := make([]value, len(at))
		for i, j := range at {
			out[i] = v[j]
		}
		return out
	}
	s.fail(x.pos, "%s cannot be sliced", kindOf(v))
	return nil
}

// bounds lists the places a Python slice of n elements takes.
func (s *state) bounds(x sliceExpr, n int) []int {
	part := func(e expr, missing int) int {
		if e == nil {
			return missing
		}
		v := s.defined(x.pos, s.eval(e))
		if v == nil {
			return missing
		}
		i, ok := v.(int64)
		if !ok {
			s.fail(x.pos, "a slice wants whole numbers, not %s", kindOf(v))
		}
		return int(max(min(i, math.MaxInt32), -math.MaxInt32))
	}
	step := part(x.step, 1)
	if step == 0 {
		s.fail(x.pos, "the step of a slice is zero")
	}
	low, high := 0, n
	from, to := 0, n
	if step < 0 {
		low, high, from, to = -1, n-1, n-1, -1
	}
	place := func(e expr, missing int) int {
		i := part(e, math.MaxInt)
		if i == math.MaxInt {
			return missing
		}
		if i < 0 {
			i += n
		}
		return max(low, min(i, high))
	}
	from, to = place(x.start, from), place(x.end, to)
	var at []int
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		at = append(at, i)
	}
	return at
}

func (s *state) dict(x dictExpr) value {
	d := newDict(len(x.keys))
	for i, k := range x.keys {
		key := s.defined(x.pos, s.eval(k))
		name, ok := key.(string)
		if !ok {
			s.fail(x.pos, "a key must be a string, not %s", kindOf(key))
		}
		d.set(name, s.defined(x.pos, s.eval(x.vals[i])))
	}
	return d
}

func (s *state) rangeList(x callExpr) value {
	n := make([]int64, len(x.args))
	for i, a := range x.args {
		v := s.defined(x.pos, s.eval(a))
		var ok bool
		if n[i], ok = v.(int64); !ok || n[i] > math.MaxInt32 || n[i] < -math.MaxInt32 {
			s.fail(x.pos, "range wants small whole numbers")
		}
	}
	from, to, step := int64(0), n[0], int64(1)
	if len(n) > 1 {
		from, to = n[0], n[1]
	}
	if len(n) > 2 {
		step = n[2]
	}
	if step == 0 {
		s.fail(x.pos, "the step of range is zero")
	}
	count := (to - from + step - 1) / step
	if step < 0 {
		count = (from - to - step - 1) / -step
	}
	if count > MaxIterations {
		s.fail(x.pos, "range is longer than %d", MaxIterations)
	}
	s.charge(x.pos, int(max(count, 0)))
	out := make([]value, 0, max(count, 0))
	for i := from; int64(len(out)) < count; i += step {
		out = append(out, i)
	}
	return out
}

// posOf finds where an expression stands.
func posOf(x expr) int {
	switch x := x.(type) {
	case nameExpr:
		return x.pos
	case attrExpr:
		return posOf(x.x)
	case indexExpr:
		return posOf(x.x)
	case sliceExpr:
		return posOf(x.x)
	case filterExpr:
		return posOf(x.x)
	case testExpr:
		return posOf(x.x)
	case unaryExpr:
		return x.pos
	case binaryExpr:
		return x.pos
	case compareExpr:
		return posOf(x.xs[0])
	case condExpr:
		return posOf(x.then)
	case callExpr:
		return x.pos
	case dictExpr:
		return x.pos
	case listExpr:
		if i := slices.IndexFunc(x.xs, func(e expr) bool { return posOf(e) > 0 }); i >= 0 {
			return posOf(x.xs[i])
		}
	}
	return 0
}
