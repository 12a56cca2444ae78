package answer

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a schema, told when it is compiled, and of a check, which make an
// answer invalid. No honest schema or answer comes near them.
const (
	// MaxSchema is the most bytes of a schema.
	MaxSchema = 1 << 20
	// MaxAnswer is the most bytes of an answer that has a schema.
	MaxAnswer = 4 << 20
	// maxParts is the most objects in a schema.
	maxParts = 10_000
	// maxPaths is how many parts of a schema may judge one value.
	maxPaths = 10_000
	// maxPattern and maxPatterns bound the patterns, one and all, in the steps
	// they are compiled to.
	maxPattern, maxPatterns = 20_000, 200_000
	// maxWork is what one check may cost, in steps of some tens of nanoseconds.
	maxWork = 20_000_000
	// judgeCost is what it costs to lay one part of a schema on one value.
	judgeCost = 40
	// lookCost is what it costs before that: types and constants are asked first.
	lookCost = 10
)

var errWork = &Mismatch{Reason: "takes too much work to check by this schema"}

// fuel is what is left for one check.
type fuel struct{ left int64 }

func (f *fuel) burn(n int64) {
	if f.left -= n; f.left < 0 {
		panic(f)
	}
}

// patterns compiles the patterns of a schema within limits.
type patterns struct {
	steps map[string]int64
	total int
	over  bool
}

var errPatterns = errors.New("the patterns of the schema are too large")

func (p *patterns) compile(src string) (jsonschema.Regexp, error) {
	tree, err := syntax.Parse(src, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if p.total += len(prog.Inst); len(prog.Inst) > maxPattern || p.total > maxPatterns {
		p.over = true
		return nil, errPatterns
	}
	p.steps[src] = int64(len(prog.Inst))
	return regexp.Compile(src)
}

// meter makes every part of a compiled schema burn fuel before it goes on to
// its own parts. The validator has no limit of its own; a part's format is the
// one thing in it that can be given and is asked before them.
type meter struct {
	*fuel
	steps map[string]int64
	seen  map[*jsonschema.Schema]bool
	paths map[*jsonschema.Schema]int64
}

func (m *meter) lay(s *jsonschema.Schema) {
	if s == nil || m.seen[s] {
		return
	}
	m.seen[s] = true
	inPlace, below := parts(s)
	for _, part := range inPlace {
		m.lay(part)
	}
	width := int64(1)
	for _, part := range below {
		m.lay(part)
		width = max(width, weight(part))
	}
	if s.Bool != nil {
		return
	}
	format := s.Format
	if format == nil {
		format = &jsonschema.Format{Validate: func(any) error { return nil }}
	}
	own := judgeCost + weight(s)
	var pattern, names int64
	if s.Pattern != nil {
		pattern = m.steps[s.Pattern.String()]
	}
	for re := range s.PatternProperties {
		names += m.steps[re.String()]
	}
	s.Format = &jsonschema.Format{Name: format.Name, Validate: func(v any) error {
		m.burn(own)
		switch v := v.(type) {
		case string:
			m.burn(int64(len(v))/16 + int64(len(v))*pattern/4)
		case []any:
			m.burn(int64(len(v)) * width)
		case map[string]any:
			m.burn(int64(len(v)) * width)
			if names > 0 {
				for k := range v {
					m.burn(int64(len(k)) * names / 4)
				}
			}
		}
		return format.Validate(v)
	}}
}

// weight is what a part costs before it can burn fuel itself.
func weight(s *jsonschema.Schema) int64 {
	if s == nil || s.Enum == nil {
		return lookCost
	}
	return lookCost + int64(len(s.Enum.Values))
}

// parts returns the parts of a schema that judge the same value, and those that
// judge what is in it.
func parts(s *jsonschema.Schema) (inPlace, below []*jsonschema.Schema) {
	inPlace = append(inPlace, s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else)
	for _, l := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
		inPlace = append(inPlace, l...)
	}
	for _, part := range s.DependentSchemas {
		inPlace = append(inPlace, part)
	}
	if s.DynamicRef != nil {
		inPlace = append(inPlace, s.DynamicRef.Ref)
	}
	for _, part := range s.Dependencies {
		if part, ok := part.(*jsonschema.Schema); ok {
			inPlace = append(inPlace, part)
		}
	}
	below = append(below, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema)
	below = append(below, s.PrefixItems...)
	for _, part := range s.Properties {
		below = append(below, part)
	}
	for _, part := range s.PatternProperties {
		below = append(below, part)
	}
	for _, part := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		switch part := part.(type) {
		case *jsonschema.Schema:
			below = append(below, part)
		case []*jsonschema.Schema:
			below = append(below, part...)
		}
	}
	return inPlace, below
}

// count is how many parts judge one value that s judges. A part that comes back
// to itself counts once: the validator sees that.
func (m *meter) count(s *jsonschema.Schema) int64 {
	if s == nil {
		return 0
	}
	if n, known := m.paths[s]; known {
		return n
	}
	m.paths[s] = 1
	n := int64(1)
	inPlace, _ := parts(s)
	for _, part := range inPlace {
		if n += m.count(part); n > maxPaths {
			n = maxPaths + 1
		}
	}
	m.paths[s] = n
	return n
}

// tooWide reports a part of the schema that lays too many parts on one value.
func (m *meter) tooWide() error {
	for s := range m.seen {
		if m.count(s) > maxPaths {
			return fmt.Errorf("allOf, anyOf, oneOf and $ref lead to more than %d schemas for one value", maxPaths)
		}
	}
	return nil
}
