package prompt

import (
	"maps"
	"slices"
)

// usage is what a template needs of an item, found without rendering.
type usage struct {
	required []string
	whole    bool
	simple   bool
}

// Fields returns the top-level fields without which every rendering fails, in
// order of name: {{ text }}, {{ item.text }} and {{ item["text"] }} all want
// "text". A field that is only replaced (default), asked for (is defined),
// tested for truth, or used in a part that may not run (the body of an if or a
// for, what follows and/or) is not required.
//
// simple reports that the template is nothing but text and such fields with
// filters that take any value. An item that is an object and has all required
// fields then renders, unless the result passes MaxOutput, so presence can be
// checked without rendering.
func (t *Template) Fields() (required []string, simple bool) {
	return slices.Clone(t.uses.required), t.uses.simple
}

// UsesWholeItem reports that the template uses the item as a whole ({{ item |
// tojson }}, {{ item[x] }}, a loop over item), so that any field may matter.
func (t *Template) UsesWholeItem() bool { return t.uses.whole }

// finder walks a template. must holds the fields that the part walked so far
// cannot do without; local holds names the template itself may have set.
type finder struct {
	must  map[string]bool
	local map[string]int
	whole bool
	plain bool
}

func analyse(body []stmt) usage {
	f := &finder{must: map[string]bool{}, local: map[string]int{}, plain: true}
	f.stmts(body)
	return usage{slices.Sorted(maps.Keys(f.must)), f.whole, f.plain}
}

// maybe walks parts of which none is sure to run.
func (f *finder) maybe(walk func()) {
	saved := maps.Clone(f.must)
	walk()
	f.must = saved
}

// either walks two parts of which one runs: what both need is needed.
func (f *finder) either(a, b func()) {
	before := maps.Clone(f.must)
	a()
	first := f.must
	f.must = maps.Clone(before)
	b()
	for k := range f.must {
		if !first[k] {
			delete(f.must, k)
		}
	}
}

func (f *finder) stmts(body []stmt) {
	for _, x := range body {
		switch x := x.(type) {
		case outStmt:
			f.plain = f.plain && plainOutput(x.x)
			f.need(x.x)
		case ifStmt:
			f.plain = false
			f.soft(x.cond)
			// What a branch sets may be set, or not, after it: setting in one
			// branch hides a field of that name for the rest, which can only
			// make the answer smaller.
			f.either(func() { f.stmts(x.then) }, func() { f.stmts(x.alt) })
		case forStmt:
			f.plain = false
			f.need(x.over)
			f.maybe(func() {
				for _, n := range x.names {
					f.local[n]++
				}
				f.local["loop"]++
				if x.filter != nil {
					f.soft(x.filter)
				}
				f.stmts(x.body)
				for _, n := range x.names {
					f.local[n]--
				}
				f.local["loop"]--
				f.stmts(x.none)
			})
		case setStmt:
			f.plain = false
			if x.x != nil {
				f.soft(x.x)
			} else {
				f.stmts(x.body)
			}
			f.local[x.name]++
			f.whole = f.whole || x.name == "item" // set in a branch, it may still be the item after it
		}
	}
}

// field returns the top-level field that x reads itself, if it does.
func field(x expr) (name string, ok bool) {
	switch x := x.(type) {
	case attrExpr:
		if n, is := x.x.(nameExpr); is && n.name == "item" {
			return x.key, true
		}
	case indexExpr:
		lit, isLit := x.arg.(litExpr)
		key, isText := lit.v.(string)
		if n, is := x.x.(nameExpr); is && n.name == "item" && isLit && isText {
			return key, true
		}
	case nameExpr:
		return x.name, x.name != "item"
	}
	return "", false
}

// need walks an expression whose value is used; undefined would be an error.
func (f *finder) need(x expr) { f.walk(x, true) }

// soft walks an expression whose value may be undefined.
func (f *finder) soft(x expr) { f.walk(x, false) }

func (f *finder) walk(x expr, hard bool) {
	switch x := x.(type) {
	case nameExpr, attrExpr, indexExpr, sliceExpr:
		f.access(x, hard)
	case listExpr:
		f.all(x.xs)
	case dictExpr:
		f.all(x.keys)
		f.all(x.vals)
	case unaryExpr:
		f.walk(x.x, x.op != "not")
	case binaryExpr:
		if x.op == "and" || x.op == "or" {
			f.soft(x.a)
			f.maybe(func() { f.walk(x.b, hard) })
			return
		}
		f.need(x.a)
		f.need(x.b)
	case compareExpr:
		f.need(x.xs[0])
		f.need(x.xs[1])
		f.maybe(func() { f.all(x.xs[2:]) }) // a chain stops at the first that does not hold
	case condExpr:
		f.soft(x.cond)
		f.either(func() { f.walk(x.then, hard) }, func() {
			if x.alt != nil {
				f.walk(x.alt, hard)
			}
		})
	case callExpr:
		f.all(x.args)
	case filterExpr:
		f.walk(x.x, x.def.name != "default" && x.def.name != "d")
		f.maybe(func() {
			for _, a := range x.args.pos {
				f.soft(a)
			}
			for _, a := range x.args.named {
				f.soft(a.x)
			}
		})
	case testExpr:
		f.walk(x.x, x.def.name != "defined" && x.def.name != "undefined")
		f.all(x.args)
	}
}

func (f *finder) all(xs []expr) {
	for _, x := range xs {
		f.need(x)
	}
}

func (f *finder) access(x expr, hard bool) {
	if name, ok := field(x); ok {
		root := name
		if _, bare := x.(nameExpr); !bare {
			root = "item"
		}
		switch {
		case f.local[root] > 0:
		case hard:
			f.must[name] = true
		}
		return
	}
	switch x := x.(type) {
	case nameExpr: // item itself
		f.whole = f.whole || f.local["item"] == 0
	case attrExpr:
		f.walk(x.x, hard)
	case indexExpr:
		f.walk(x.x, hard)
		f.need(x.arg)
	case sliceExpr:
		f.need(x.x)
		for _, e := range []expr{x.start, x.end, x.step} {
			if e != nil {
				f.need(e)
			}
		}
	}
}

// plainOutput reports whether x is a literal or a field, with filters that
// cannot fail and whose arguments are literals.
func plainOutput(x expr) bool {
	if f, ok := x.(filterExpr); ok {
		for _, a := range f.args.pos {
			if _, lit := a.(litExpr); !lit {
				return false
			}
		}
		for _, a := range f.args.named {
			if _, lit := a.x.(litExpr); !lit {
				return false
			}
		}
		return f.def.total && (len(f.args.pos)+len(f.args.named) == 0 || f.def.name == "default" || f.def.name == "d") &&
			plainOutput(f.x)
	}
	_, ok := field(x)
	_, lit := x.(litExpr)
	n, bare := x.(nameExpr)
	return lit || ok || bare && n.name == "item"
}
