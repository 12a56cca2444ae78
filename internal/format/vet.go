package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	layout "github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The library takes the memory that a page's header, or a count inside the
// page, tells it to. So each group of rows is read by vet before: it unpacks
// the pages one by one, within bounds, and counts what they hold.
const (
	// openPages is the memory that the pages of a group of rows may take while
	// they lie open: the largest of each column, and its dictionary. A large
	// file may take openRatio times what the group has in it, openMost at most.
	openPages = 64 << 20
	openRatio = 64
	openMost  = 1 << 30
	// rowsFree and rowsRatio bound the values of a column by the file's bytes.
	rowsFree  = 1 << 20
	rowsRatio = 100
	// maxRowValues is the most values in one row: elements of lists, mostly.
	maxRowValues = 1 << 20
	// spareValues may stand in a page behind those that its header counts.
	spareValues = 64 << 10
)

// vetter looks at a file's pages before the library reads them.
type vetter struct {
	r      io.ReaderAt
	size   int64
	leaves []*parquet.Column
	values []int64 // of each column so far
	head   []byte
	packed []byte
	plain  []byte
	zstd   *zstd.Decoder
}

func newVetter(r io.ReaderAt, size int64, root *parquet.Column) *vetter {
	v := &vetter{r: r, size: size}
	var walk func(*parquet.Column)
	walk = func(c *parquet.Column) {
		if c.Leaf() {
			v.leaves = append(v.leaves, c)
		}
		for _, child := range c.Columns() {
			walk(child)
		}
	}
	walk(root)
	v.values = make([]int64, len(v.leaves))
	return v
}

// group vets one group of rows and tells how many values its longest row has.
func (v *vetter) group(g *layout.RowGroup) (longest int64, err error) {
	if len(g.Columns) != len(v.leaves) {
		return 0, fmt.Errorf("a group of rows has %d columns, not %d", len(g.Columns), len(v.leaves))
	}
	var bytes, open int64
	for i := range g.Columns {
		bytes += max(0, min(g.Columns[i].MetaData.TotalCompressedSize, v.size))
	}
	limit := max(openPages, min(openMost, openRatio*min(bytes, v.size)))
	for i := range g.Columns {
		c := &chunk{vetter: v, leaf: v.leaves[i], limit: limit}
		if err := c.walk(&g.Columns[i].MetaData); err != nil {
			return 0, fmt.Errorf("column %.100q: %w", v.leaves[i].Name(), err)
		}
		open, longest = open+c.dict+c.largest, longest+c.longest
		if v.values[i] += c.values; v.values[i] > rowsFree+rowsRatio*v.size {
			return 0, fmt.Errorf("column %.100q says it has %d values in a file of %d bytes", v.leaves[i].Name(), v.values[i], v.size)
		}
		if open > limit {
			return 0, fmt.Errorf("the pages of a group of rows unpack to more than %d bytes at a time", limit)
		}
	}
	if longest > maxRowValues {
		return 0, fmt.Errorf("a row has more than %d values", maxRowValues)
	}
	return longest, nil
}

// chunk is one column of one group of rows.
type chunk struct {
	*vetter
	leaf    *parquet.Column
	limit   int64
	dict    int64 // memory of the dictionary
	largest int64 // memory of the largest page
	values  int64
	longest int64 // values in its longest row
	row     int64 // values in the row that the last page ended in
}

func (c *chunk) walk(m *layout.ColumnMetaData) error {
	from := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		from = m.DictionaryPageOffset
	}
	if from < 4 || m.TotalCompressedSize < 0 || from > c.size || m.TotalCompressedSize > c.size-from {
		return errors.New("lies outside the file")
	}
	for end := from + m.TotalCompressedSize; from < end; {
		p, err := c.header(from, end)
		if err != nil {
			return err
		}
		if p.packed > end-p.body {
			return fmt.Errorf("a page of %d bytes in %d", p.packed, end-p.body)
		}
		cost := p.packed + p.plain + p.values*c.width()
		if p.plain > c.limit || cost > c.limit {
			return fmt.Errorf("a page of %d values in %d bytes is too large (limit %d)", p.values, p.plain, c.limit)
		}
		more, err := c.page(p)
		if err != nil {
			return err
		}
		if cost += more; cost > c.limit {
			return fmt.Errorf("a page unpacks to more than %d bytes", c.limit)
		}
		if p.kind == 2 {
			c.dict = max(c.dict, cost)
		} else {
			c.largest = max(c.largest, cost)
			c.values += p.values
		}
		from = p.body + p.packed
	}
	c.longest = max(c.longest, c.row)
	return nil
}

// width is the memory that a value takes beside the bytes of its page: levels,
// an index or an offset, and itself where its width is fixed.
func (c *chunk) width() int64 {
	switch t := c.leaf.Type(); t.Kind() {
	case parquet.ByteArray:
		return 2 + 8
	case parquet.FixedLenByteArray:
		return 2 + 4 + max(0, int64(t.Length()))
	case parquet.Int96:
		return 2 + 4 + 12
	}
	return 2 + 4 + 8
}

// header reads the page header at from; most are short.
func (c *chunk) header(from, end int64) (page, error) {
	for n := int64(512); ; n *= 16 {
		n = min(n, end-from, maxPageHeader)
		c.head = sized(c.head, n)
		if _, err := c.r.ReadAt(c.head, from); err != nil && err != io.EOF {
			return page{}, err
		}
		p, err := readPage(c.head)
		if errors.Is(err, errThriftShort) && n < min(end-from, maxPageHeader) {
			continue
		}
		p.body = from + p.header
		return p, err
	}
}

func sized(b []byte, n int64) []byte {
	if int64(cap(b)) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// page unpacks a page and looks at what is counted inside it; more is memory
// that only those counts tell of.
func (c *chunk) page(p page) (more int64, err error) {
	c.packed = sized(c.packed, p.packed)
	if _, err := c.r.ReadAt(c.packed, p.body); err != nil && err != io.EOF {
		return 0, err
	}
	body := c.packed
	switch p.kind {
	case 0:
		if body, err = c.unpack(body, p.plain); err != nil {
			return 0, err
		}
		if c.leaf.MaxRepetitionLevel() > 0 {
			if body, err = c.prefixed(body, p, p.repForm, c.leaf.MaxRepetitionLevel(), c.rows); err != nil {
				return 0, err
			}
		}
		if c.leaf.MaxDefinitionLevel() > 0 {
			if body, err = c.prefixed(body, p, p.defForm, c.leaf.MaxDefinitionLevel(), nil); err != nil {
				return 0, err
			}
		}
	case 3:
		if p.repSize+p.defSize > int64(len(body)) {
			return 0, errors.New("levels are longer than their page")
		}
		if most := c.leaf.MaxRepetitionLevel(); most > 0 {
			if err := runs(body[:p.repSize], bitsOf(most), p.values, c.rows); err != nil {
				return 0, err
			}
		}
		if most := c.leaf.MaxDefinitionLevel(); most > 0 {
			if err := runs(body[p.repSize:p.repSize+p.defSize], bitsOf(most), p.values, nil); err != nil {
				return 0, err
			}
		}
		if body = body[p.repSize+p.defSize:]; !p.notPacked {
			if body, err = c.unpack(body, p.plain); err != nil {
				return 0, err
			}
		}
	case 2:
		_, err = c.unpack(body, p.plain)
		return 0, err
	default:
		return 0, fmt.Errorf("a page of an unknown kind (%d)", p.kind)
	}
	return counted(body, p)
}

// prefixed goes over levels that stand in the page behind their length.
func (c *chunk) prefixed(b []byte, p page, form int64, most int, each func(level, n uint64)) ([]byte, error) {
	n, ok := length32(b)
	if !ok {
		return nil, errors.New("levels are longer than their page")
	}
	switch form {
	case 3:
		if err := runs(b[4:4+n], bitsOf(most), p.values, each); err != nil {
			return nil, err
		}
	case 4:
		if each != nil {
			unpackBits(b[4:4+n], bitsOf(most), p.values, each)
		}
	}
	return b[4+n:], nil
}

// rows counts the values of each row: one begins where the level is 0.
func (c *chunk) rows(level, n uint64) {
	if level == 0 {
		c.longest = max(c.longest, c.row)
		c.row = 1
		return
	}
	c.row += int64(n)
}

// unpack returns the plain bytes of a page, which may not be more than it says.
func (c *chunk) unpack(b []byte, size int64) (plain []byte, err error) {
	codec := c.leaf.Compression().CompressionCodec()
	if codec == layout.Uncompressed || len(b) == 0 {
		return b, nil
	}
	var r io.Reader
	switch codec {
	case layout.Snappy:
		if n, err := snappy.DecodedLen(b); err != nil || int64(n) > size {
			return nil, tooMuch(size, err)
		}
		c.plain = sized(c.plain, size)
		return snappy.Decode(c.plain, b)
	case layout.Lz4Raw:
		c.plain = sized(c.plain, size)
		n, err := lz4.UncompressBlock(b, c.plain)
		if err != nil {
			return nil, err
		}
		return c.plain[:n], nil
	case layout.Gzip:
		r, err = gzip.NewReader(bytes.NewReader(b))
	case layout.Zstd:
		if c.zstd == nil {
			c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(openPages))
		}
		if err == nil {
			r, err = c.zstd, c.zstd.Reset(bytes.NewReader(b))
		}
	case layout.Brotli:
		r = brotli.NewReader(bytes.NewReader(b))
	default:
		return nil, fmt.Errorf("compression %s is not read", codec)
	}
	if err != nil {
		return nil, err
	}
	c.plain = sized(c.plain, size+1)
	n, err := io.ReadFull(r, c.plain)
	switch {
	case err == nil:
		return nil, tooMuch(size, nil)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	}
	return c.plain[:n], nil
}

func tooMuch(size int64, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("a page unpacks to more than the %d bytes it says", size)
}
