package format

import (
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go"
	layout "github.com/parquet-go/parquet-go/format"
)

// branch is a column of a Parquet schema: a leaf with its encoding, or a group.
type branch struct {
	name     string
	key      []byte // `"name":`
	leaves   []int  // numbers of the leaf columns at and below it
	def, rep int    // levels at which it is there
	optional bool
	repeated bool
	children []*branch
	shape    shape
	encode   encoder // of a leaf
}

// shape is how a group is written.
type shape int

const (
	asObject shape = iota
	asLeaf
	asList // the group only holds a repeated one
	asMap  // the group only holds repeated pairs
)

// describe reads the schema of a file.
func describe(c *parquet.Column) (*branch, error) {
	n := &branch{name: c.Name(), key: append(appendString(nil, c.Name()), ':'), def: c.MaxDefinitionLevel(), rep: c.MaxRepetitionLevel()}
	n.optional = c.Depth() > 0 && c.Optional()
	n.repeated = c.Depth() > 0 && c.Repeated()
	if c.Leaf() {
		n.shape, n.leaves = asLeaf, []int{c.Index()}
		n.encode = leafEncoder(c.Type())
		return n, nil
	}
	for _, child := range c.Columns() {
		b, err := describe(child)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, b)
		n.leaves = append(n.leaves, b.leaves...)
	}
	if len(n.leaves) == 0 {
		return nil, fmt.Errorf("the Parquet group %q has no columns", n.name)
	}
	if len(n.children) == 1 && n.children[0].repeated {
		switch {
		case annotated[*layout.ListType](c):
			n.shape = asList
		case len(n.children[0].children) == 2 && annotated[*layout.MapType](c):
			n.shape = asMap
		}
	}
	return n, nil
}

// annotated reports whether a group is marked as T. The library gives the marks
// of old files in their new form.
func annotated[T layout.LogicalTypeValue](c *parquet.Column) bool {
	if t := c.Type(); t != nil && t.LogicalType() != nil {
		_, ok := t.LogicalType().Value.(T)
		return ok
	}
	return false
}

// element is what an item of a list is written as: writers wrap it in a group
// of its own, older ones do not.
func (n *branch) element() (inner *branch, wrapped bool) {
	rep := n.children[0]
	if rep.shape == asObject && len(rep.children) == 1 && rep.name != "array" && rep.name != n.name+"_tuple" {
		return rep.children[0], true
	}
	return rep, false
}

// assembler puts the values of one row together again.
type assembler struct {
	values [][]parquet.Value // by leaf column
	at     []int
}

var errUneven = errors.New("the columns of the row do not fit together")

func (a *assembler) take(row parquet.Row) {
	for i := range a.values {
		a.values[i], a.at[i] = nil, 0
	}
	row.Range(func(i int, values []parquet.Value) bool {
		for len(a.values) <= i {
			a.values, a.at = append(a.values, nil), append(a.at, 0)
		}
		a.values[i] = values
		return true
	})
}

// next is the value that the leaf column is at.
func (a *assembler) next(leaf int) (*parquet.Value, bool) {
	if leaf >= len(a.values) || a.at[leaf] >= len(a.values[leaf]) {
		return nil, false
	}
	return &a.values[leaf][a.at[leaf]], true
}

// skip passes over the placeholders of something that is not there.
func (a *assembler) skip(n *branch) {
	for _, leaf := range n.leaves {
		if leaf < len(a.at) {
			a.at[leaf]++
		}
	}
}

// object appends a group as a JSON object.
func (a *assembler) object(dst []byte, n *branch) ([]byte, error) {
	var err error
	for i, c := range n.children {
		dst = append(dst, "{,"[min(i, 1)])
		dst = append(dst, c.key...)
		if dst, err = a.field(dst, c); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// field appends the value of a column, null or a list included.
func (a *assembler) field(dst []byte, n *branch) ([]byte, error) {
	v, ok := a.next(n.leaves[0])
	if !ok {
		return dst, errUneven
	}
	switch {
	case n.repeated:
		return a.list(dst, n, n, false)
	case n.optional && v.DefinitionLevel() < n.def:
		a.skip(n)
		return append(dst, "null"...), nil
	}
	return a.body(dst, n)
}

// body appends a value that is there.
func (a *assembler) body(dst []byte, n *branch) ([]byte, error) {
	switch n.shape {
	case asLeaf:
		v, ok := a.next(n.leaves[0])
		if !ok {
			return dst, errUneven
		}
		a.at[n.leaves[0]]++
		out, err := n.encode(dst, v)
		if err != nil {
			return dst, fmt.Errorf("column %q: %w", n.name, err)
		}
		return out, nil
	case asList:
		inner, wrapped := n.element()
		return a.list(dst, n.children[0], inner, wrapped)
	case asMap:
		return a.pairs(dst, n.children[0])
	}
	return a.object(dst, n)
}

// list appends the repetitions of rep; inner is what each is written as.
func (a *assembler) list(dst []byte, rep, inner *branch, wrapped bool) ([]byte, error) {
	return a.repeat(dst, rep, '[', ']', func(dst []byte) ([]byte, error) {
		if wrapped {
			return a.field(dst, inner)
		}
		return a.body(dst, inner)
	})
}

func (a *assembler) repeat(dst []byte, rep *branch, open, end byte, one func([]byte) ([]byte, error)) ([]byte, error) {
	dst = append(dst, open)
	v, ok := a.next(rep.leaves[0])
	if !ok {
		return dst, errUneven
	}
	if v.DefinitionLevel() < rep.def {
		a.skip(rep)
		return append(dst, end), nil
	}
	for first := true; ok && (first || v.RepetitionLevel() == rep.rep); first = false {
		if !first {
			dst = append(dst, ',')
		}
		before := a.at[rep.leaves[0]]
		var err error
		if dst, err = one(dst); err != nil {
			return dst, err
		}
		if a.at[rep.leaves[0]] == before {
			return dst, errUneven
		}
		v, ok = a.next(rep.leaves[0])
	}
	return append(dst, end), nil
}

// pairs appends a map as an object.
func (a *assembler) pairs(dst []byte, rep *branch) ([]byte, error) {
	return a.repeat(dst, rep, '{', '}', func(dst []byte) ([]byte, error) {
		at := len(dst)
		dst, err := a.field(dst, rep.children[0])
		if err != nil {
			return dst, err
		}
		if key := string(dst[at:]); key[0] != '"' {
			dst = appendString(dst[:at], key)
		}
		return a.field(append(dst, ':'), rep.children[1])
	})
}
