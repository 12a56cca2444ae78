package format

import (
	"encoding/binary"
	"errors"
)

// thrift reads the compact form that Parquet's footers and page headers are
// written in, and takes no memory: it is there to look before the library does,
// which believes the sizes that stand in the file.
type thrift struct {
	b    []byte
	i    int
	cost int64 // about what the values take once they are read
}

// The types of the compact form.
const (
	thriftTrue, thriftFalse, thriftByte, thriftDouble       = 1, 2, 3, 7
	thriftText, thriftList, thriftSet, thriftMap, thriftSub = 8, 9, 10, 11, 12
)

var (
	errThriftShort = errors.New("the header ends too early")
	errThriftForm  = errors.New("the header has no known form")
)

const (
	maxThriftDepth = 32
	// costs of one element of a list: a number or text, a structure (the largest
	// is a column chunk).
	thriftSmall, thriftLarge = 16, 1 << 10
)

// fields reads a structure and gives each field to visit, which reads its value
// and says so, or leaves it to be passed over.
func (t *thrift) fields(depth int, visit func(id int, kind byte) (read bool, err error)) error {
	if depth > maxThriftDepth {
		return errThriftForm
	}
	for id := 0; ; {
		if t.i >= len(t.b) {
			return errThriftShort
		}
		c := t.b[t.i]
		t.i++
		if c == 0 {
			return nil
		}
		if delta := int(c >> 4); delta != 0 {
			id += delta
		} else {
			n, err := t.integer()
			if err != nil {
				return err
			}
			id = int(int16(n))
		}
		read, err := visit(id, c&15)
		if err == nil && !read {
			err = t.pass(c&15, depth, false)
		}
		if err != nil {
			return err
		}
	}
}

func nothing(int, byte) (bool, error) { return false, nil }

// pass goes over one value.
func (t *thrift) pass(kind byte, depth int, inList bool) error {
	switch kind {
	case thriftTrue, thriftFalse:
		if inList {
			return t.skip(1)
		}
		return nil
	case thriftByte:
		return t.skip(1)
	case 4, 5, 6:
		_, err := t.unsigned()
		return err
	case thriftDouble:
		return t.skip(8)
	case thriftText:
		n, err := t.unsigned()
		if err != nil {
			return err
		}
		return t.skip(n)
	case thriftList, thriftSet:
		return t.list(depth)
	case thriftMap:
		return t.pairs(depth)
	case thriftSub:
		return t.fields(depth+1, nothing)
	}
	return errThriftForm
}

func (t *thrift) list(depth int) error {
	if t.i >= len(t.b) {
		return errThriftShort
	}
	kind, n := t.b[t.i]&15, uint64(t.b[t.i]>>4)
	t.i++
	if n == 15 {
		var err error
		if n, err = t.unsigned(); err != nil {
			return err
		}
	}
	return t.elements(n, depth, kind)
}

func (t *thrift) pairs(depth int) error {
	n, err := t.unsigned()
	if err != nil || n == 0 {
		return err
	}
	if t.i >= len(t.b) {
		return errThriftShort
	}
	kinds := t.b[t.i]
	t.i++
	return t.elements(n, depth, kinds>>4, kinds&15)
}

// elements goes over n elements. Each takes a byte at least, so that a list
// cannot be longer than what is left.
func (t *thrift) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(t.b)-t.i) {
		return errThriftShort
	}
	if depth >= maxThriftDepth {
		return errThriftForm
	}
	for range n {
		for _, kind := range kinds {
			if t.cost += thriftSmall; kind >= thriftList {
				t.cost += thriftLarge
			}
			if err := t.pass(kind, depth+1, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *thrift) skip(n uint64) error {
	if n > uint64(len(t.b)-t.i) {
		return errThriftShort
	}
	t.i += int(n)
	return nil
}

func (t *thrift) unsigned() (uint64, error) {
	u, n := binary.Uvarint(t.b[t.i:])
	switch {
	case n == 0:
		return 0, errThriftShort
	case n < 0:
		return 0, errThriftForm
	}
	t.i += n
	return u, nil
}

func (t *thrift) integer() (int64, error) {
	u, err := t.unsigned()
	return int64(u>>1) ^ -int64(u&1), err
}

// page is what a page's header says about it.
type page struct {
	kind         int64 // 0 values, 1 index, 2 dictionary, 3 values of the second form
	plain        int64 // bytes of it unpacked
	packed       int64 // bytes of it in the file
	values       int64
	encoding     int64
	defForm      int64 // encoding of the levels
	repForm      int64
	defSize      int64 // bytes of the levels, in the second form
	repSize      int64
	notPacked    bool
	header, body int64 // bytes of the header; where the body begins
}

// readPage reads a page's header from the beginning of b.
func readPage(b []byte) (page, error) {
	p := page{repForm: 3, defForm: 3}
	t := &thrift{b: b}
	at := func(to *int64) (bool, error) {
		n, err := t.integer()
		*to = n
		return true, err
	}
	inside := func(ids map[int]*int64) (bool, error) {
		return true, t.fields(2, func(id int, kind byte) (bool, error) {
			if to := ids[id]; to != nil && kind >= 4 && kind <= 6 {
				return at(to)
			}
			if id == 7 && p.kind == 3 && kind == thriftFalse {
				p.notPacked = true
			}
			return false, nil
		})
	}
	err := t.fields(1, func(id int, kind byte) (bool, error) {
		switch {
		case id <= 3 && kind != 5:
			return false, errThriftForm
		case id == 1:
			return at(&p.kind)
		case id == 2:
			return at(&p.plain)
		case id == 3:
			return at(&p.packed)
		case id == 5 && kind == thriftSub:
			return inside(map[int]*int64{1: &p.values, 2: &p.encoding, 3: &p.defForm, 4: &p.repForm})
		case id == 7 && kind == thriftSub:
			return inside(map[int]*int64{1: &p.values, 2: &p.encoding})
		case id == 8 && kind == thriftSub:
			return inside(map[int]*int64{1: &p.values, 4: &p.encoding, 5: &p.defSize, 6: &p.repSize})
		}
		return false, nil
	})
	p.header = int64(t.i)
	for _, n := range []int64{p.kind, p.plain, p.packed, p.values, p.defSize, p.repSize} {
		if err == nil && (n < 0 || n > 1<<31-1) {
			err = errThriftForm
		}
	}
	if err == nil && t.cost > maxPageHeader {
		err = errThriftForm
	}
	return p, err
}

// maxPageHeader is the longest page header: it may hold two values for its
// statistics.
const maxPageHeader = 16 << 20
