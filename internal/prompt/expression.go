package prompt

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// reserved words of expressions cannot be names.
var reserved = map[string]bool{"and": true, "or": true, "not": true, "in": true, "is": true, "if": true, "else": true,
	"true": true, "True": true, "false": true, "False": true, "none": true, "None": true}

// enter bounds how deep expressions nest, whatever makes them nest.
func (p *parser) enter() func() {
	if p.nest++; p.nest > 8*MaxNesting {
		p.fail(p.peek().pos, "", "expression is nested too deep")
	}
	return func() { p.nest-- }
}

// expression is an inline if, or what is below it.
func (p *parser) expression() expr {
	defer p.enter()()
	x := p.or()
	for p.take(tName, "if") {
		c := condExpr{cond: p.or(), then: x}
		if p.take(tName, "else") {
			c.alt = p.expression()
		}
		x = c
	}
	return x
}

// tupleExpression allows "1, 2" where Jinja does.
func (p *parser) tupleExpression() expr {
	x := p.expression()
	if !p.is(tSign, ",") {
		return x
	}
	xs := []expr{x}
	for p.take(tSign, ",") {
		if p.peek().kind == tTagEnd {
			break
		}
		xs = append(xs, p.expression())
	}
	return listExpr{xs}
}

// chain folds a left-associative chain of binary signs; a long chain is a deep
// tree, so it is bounded like other nesting.
func (p *parser) chain(below func() expr, kind tokenKind, ops ...string) expr {
	x := below()
	for n := 0; ; n++ {
		t := p.peek()
		if t.kind != kind || !slices.Contains(ops, t.text) {
			return x
		}
		if n > 1000 {
			p.fail(t.pos, "", "expression is too long")
		}
		p.next()
		x = binaryExpr{pos: t.pos, op: t.text, a: x, b: below()}
	}
}

func (p *parser) or() expr  { return p.chain(p.and, tName, "or") }
func (p *parser) and() expr { return p.chain(p.not, tName, "and") }

func (p *parser) not() expr {
	if t := p.peek(); p.take(tName, "not") {
		defer p.enter()()
		return unaryExpr{t.pos, "not", p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	x := p.sum()
	c := compareExpr{pos: p.peek().pos, xs: []expr{x}}
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tSign && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.text):
			op = t.text
			p.next()
		case p.take(tName, "in"):
			op = "in"
		case p.is(tName, "not") && p.toks[p.i+1].kind == tName && p.toks[p.i+1].text == "in":
			op = "not in"
			p.i += 2
		}
		if op == "" {
			break
		}
		c.ops = append(c.ops, op)
		c.xs = append(c.xs, p.sum())
	}
	if len(c.ops) == 0 {
		return x
	}
	return c
}

func (p *parser) sum() expr     { return p.chain(p.concat, tSign, "+", "-") }
func (p *parser) concat() expr  { return p.chain(p.product, tSign, "~") }
func (p *parser) product() expr { return p.chain(p.power, tSign, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.chain(func() expr { return p.unary(true) }, tSign, "**") }

func (p *parser) unary(filters bool) expr {
	defer p.enter()()
	var x expr
	if t := p.peek(); t.kind == tSign && (t.text == "-" || t.text == "+") {
		p.next()
		x = unaryExpr{t.pos, t.text, p.unary(false)}
	} else {
		x = p.primary()
	}
	x = p.postfix(x)
	if filters {
		x = p.filters(x)
	}
	return x
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tName:
		switch t.text {
		case "true", "True":
			return litExpr{true}
		case "false", "False":
			return litExpr{false}
		case "none", "None":
			return litExpr{nil}
		}
		if reserved[t.text] {
			p.fail(t.pos, "", "expected a value, found %s", t)
		}
		if p.is(tSign, "(") {
			return p.call(t)
		}
		p.checkName(t)
		return nameExpr{t.pos, t.text}
	case tString:
		s := t.text
		for p.peek().kind == tString { // adjacent strings are one, as in Python
			s += p.next().text
		}
		return litExpr{s}
	case tInt:
		n, err := strconv.ParseInt(t.text, 0, 64)
		if err != nil {
			if n, err = strconv.ParseInt(strings.TrimLeft(t.text, "0"), 10, 64); err != nil {
				p.fail(t.pos, "", "%s is not a 64-bit integer", t)
			}
		}
		return litExpr{n}
	case tFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.fail(t.pos, "", "%s is not a number", t)
		}
		return litExpr{number{f: f}}
	case tSign:
		switch t.text {
		case "(":
			return p.tuple()
		case "[":
			return listExpr{p.list("]", p.expression)}
		case "{":
			return p.dict(t.pos)
		}
	}
	p.fail(t.pos, "", "expected a value, found %s", t)
	return nil
}

// checkName refuses names that only an attempt to reach into the engine has.
func (p *parser) checkName(t token) {
	if strings.HasPrefix(t.text, "__") {
		p.fail(t.pos, `a field of that name is item["..."]`, "%q is not allowed in a prompt", t.text)
	}
	if t.text == "loop" && p.loops == 0 {
		p.fail(t.pos, `a field of that name is item["loop"]`, "loop is only known inside {%% for %%}")
	}
}

func (p *parser) tuple() expr {
	if p.take(tSign, ")") {
		return listExpr{}
	}
	x := p.expression()
	if p.take(tSign, ")") {
		return x
	}
	p.want(tSign, ",")
	return listExpr{append([]expr{x}, p.list(")", p.expression)...)}
}

// list reads expressions up to the closing sign; a comma may trail.
func (p *parser) list(closer string, one func() expr) []expr {
	var xs []expr
	for !p.take(tSign, closer) {
		if len(xs) > 0 {
			p.want(tSign, ",")
			if p.take(tSign, closer) {
				break
			}
		}
		xs = append(xs, one())
	}
	return xs
}

func (p *parser) dict(pos int) expr {
	d := dictExpr{pos: pos}
	d.keys = p.list("}", func() expr {
		k := p.expression()
		p.want(tSign, ":")
		d.vals = append(d.vals, p.expression())
		return k
	})
	return d
}

func (p *parser) call(name token) expr {
	if name.text != "range" {
		p.fail(name.pos, "the only function is range; a filter is written {{ x | trim }}",
			"%q cannot be called in a prompt", name.text)
	}
	p.next()
	c := callExpr{pos: name.pos, args: p.list(")", p.expression)}
	if n := len(c.args); n < 1 || n > 3 {
		p.fail(name.pos, "", "range takes 1 to 3 numbers, not %d", n)
	}
	return c
}

// filterFor says which filter does what a method of Python would.
var filterFor = map[string]string{"strip": "trim", "upper": "upper", "lower": "lower", "title": "title",
	"capitalize": "capitalize", "replace": "replace", "join": "join", "items": "items", "format": "format", "get": "default"}

func (p *parser) postfix(x expr) expr {
	for n := 0; ; n++ {
		t := p.peek()
		if n > 100 {
			p.fail(t.pos, "", "expression is too long")
		}
		switch {
		case p.take(tSign, "."):
			key := p.next()
			switch key.kind {
			case tName:
				if strings.HasPrefix(key.text, "__") {
					p.fail(key.pos, `a key of that name is read as x["..."]`, "%q is not allowed in a prompt", key.text)
				}
				if p.is(tSign, "(") {
					hint := "use a filter: {{ x | trim }}"
					if f, ok := filterFor[key.text]; ok {
						hint = "use the filter: {{ x | " + f + " }}"
					}
					p.fail(key.pos, hint, "method %q cannot be called in a prompt", key.text)
				}
				x = attrExpr{key.pos, x, key.text}
			case tInt:
				i, err := strconv.ParseInt(key.text, 10, 64)
				if err != nil {
					p.fail(key.pos, "", "%s is not a place in a list", key)
				}
				x = indexExpr{key.pos, x, litExpr{i}}
			default:
				p.fail(key.pos, "", "expected a name after the dot, found %s", key)
			}
		case p.take(tSign, "["):
			x = p.subscript(t.pos, x)
		case p.is(tSign, "("):
			p.fail(t.pos, "the only function is range", "a value cannot be called in a prompt")
		default:
			return x
		}
	}
}

func (p *parser) subscript(pos int, x expr) expr {
	part := func() expr {
		if p.is(tSign, ":") || p.is(tSign, "]") {
			return nil
		}
		return p.expression()
	}
	first := part()
	if first != nil && p.take(tSign, "]") {
		return indexExpr{pos, x, first}
	}
	p.want(tSign, ":")
	s := sliceExpr{pos: pos, x: x, start: first, end: part()}
	if p.take(tSign, ":") {
		s.step = part()
	}
	p.want(tSign, "]")
	return s
}

func (p *parser) filters(x expr) expr {
	for n := 0; ; n++ {
		t := p.peek()
		if n > 100 {
			p.fail(t.pos, "", "expression is too long")
		}
		switch {
		case p.take(tSign, "|"):
			x = p.filter(x)
		case p.take(tName, "is"):
			x = p.test(x)
		case p.is(tSign, "("):
			p.fail(t.pos, "the only function is range", "a value cannot be called in a prompt")
		default:
			return x
		}
	}
}

func (p *parser) filter(x expr) expr {
	t := p.next()
	if t.kind != tName {
		p.fail(t.pos, "", "expected the name of a filter, found %s", t)
	}
	f := filterExpr{pos: t.pos, x: x, def: filters[t.text]}
	if f.def == nil {
		p.fail(t.pos, nearest(t.text, slices.Collect(maps.Keys(filters))), "there is no filter %q", t.text)
	}
	if p.take(tSign, "(") {
		f.args = p.arguments()
	}
	p.resolve(&f)
	p.fits(f.pos, f.def, f.args)
	return f
}

// fits checks the arguments of a filter against its parameters.
func (p *parser) fits(pos int, def *filterDef, a arguments) {
	if def.variadic {
		return
	}
	if len(a.pos) > len(def.params) {
		p.fail(pos, "", "filter %q takes at most %d arguments, not %d", def.name, len(def.params), len(a.pos))
	}
	given := def.params[:len(a.pos)]
	for i, n := range a.named {
		if !slices.Contains(def.params, n.name) {
			p.fail(pos, nearest(n.name, def.params), "filter %q has no argument %q", def.name, n.name)
		}
		if slices.Contains(given, n.name) || slices.ContainsFunc(a.named[:i], func(m namedArg) bool { return m.name == n.name }) {
			p.fail(pos, "", "argument %q is given twice", n.name)
		}
	}
	for i := len(a.pos); i < def.required; i++ {
		if !slices.ContainsFunc(a.named, func(m namedArg) bool { return m.name == def.params[i] }) {
			p.fail(pos, "", "filter %q wants the argument %q", def.name, def.params[i])
		}
	}
}

func (p *parser) arguments() arguments {
	var a arguments
	p.list(")", func() expr {
		if t := p.peek(); t.kind == tName && p.toks[p.i+1].kind == tSign && p.toks[p.i+1].text == "=" {
			p.i += 2
			a.named = append(a.named, namedArg{t.text, p.expression()})
			return nil
		}
		if len(a.named) > 0 {
			p.fail(p.peek().pos, "", "a plain argument follows a named one")
		}
		a.pos = append(a.pos, p.expression())
		return nil
	})
	return a
}

// resolve finds, while reading, the filter or the test that map("upper") or
// select("odd") names. The name must be a literal: what runs is then known
// before any item is.
func (p *parser) resolve(f *filterExpr) {
	at := map[string]int{"map": 0, "select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
	i, ok := at[f.def.name]
	if !ok {
		return
	}
	if len(f.args.pos) <= i {
		return
	}
	lit, _ := f.args.pos[i].(litExpr)
	name, ok := lit.v.(string)
	if !ok {
		p.fail(f.pos, `write the name as a string: map("upper")`, "filter %q wants a name", f.def.name)
	}
	rest := arguments{pos: f.args.pos[i+1:], named: f.args.named}
	if f.def.name == "map" {
		f.inner = filters[name]
		if f.inner == nil || f.inner.variadic {
			p.fail(f.pos, nearest(name, slices.Collect(maps.Keys(filters))), "there is no filter %q to map", name)
		}
		p.fits(f.pos, f.inner, rest)
		return
	}
	if f.check = tests[name]; f.check == nil {
		p.fail(f.pos, nearest(name, slices.Collect(maps.Keys(tests))), "there is no test %q", name)
	}
	if len(rest.pos) != f.check.arity || len(rest.named) > 0 {
		p.fail(f.pos, "", "test %q takes %d arguments, not %d", name, f.check.arity, len(rest.pos)+len(rest.named))
	}
}

func (p *parser) test(x expr) expr {
	not := p.peek()
	negated := p.take(tName, "not")
	t := p.next()
	if t.kind != tName {
		p.fail(t.pos, "", "expected the name of a test, found %s", t)
	}
	def := tests[strings.ToLower(t.text)] // "is None" is as good as "is none"
	if def == nil {
		p.fail(t.pos, nearest(t.text, slices.Collect(maps.Keys(tests))), "there is no test %q", t.text)
	}
	s := testExpr{pos: t.pos, x: x, def: def}
	if p.take(tSign, "(") {
		s.args = p.list(")", p.expression)
	} else if def.arity > 0 {
		s.args = []expr{p.postfix(p.primary())}
	}
	if len(s.args) != def.arity {
		p.fail(t.pos, "", "test %q takes %d arguments, not %d", t.text, def.arity, len(s.args))
	}
	if negated {
		return unaryExpr{not.pos, "not", s}
	}
	return s
}
