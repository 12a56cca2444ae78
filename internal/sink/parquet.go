package sink

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
)

const (
	rowGroupRows  = 50_000
	rowGroupBytes = 16 << 20 // of text, before compression: it bounds memory
)

// parquetRows writes one Parquet file whose bytes depend on nothing but the
// rows: the metadata is fixed and row groups end by rows and bytes, not time.
type parquetRows struct {
	w       *parquet.GenericWriter[any]
	table   *table
	row     parquet.Row
	rows    int
	bytes   int
	maxRows int
}

func newParquet(w io.Writer, o Options) (encoder, error) {
	t := newTable(o.Schema)
	p := &parquetRows{table: t, maxRows: o.RowGroup}
	if p.maxRows <= 0 {
		p.maxRows = rowGroupRows
	}
	schema := parquet.NewSchema("results", newRecord(t.columns))
	p.w = parquet.NewGenericWriter[any](w, schema, parquet.CreatedBy("batchwright", "1", "outputs"),
		parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1), parquet.PageBufferSize(256<<10),
		parquet.WriteBufferSize(64<<10))
	return p, nil
}

func (p *parquetRows) outcome(o *batch.Outcome) error {
	p.row = p.row[:0]
	for i, v := range p.table.row(o) {
		col := p.table.columns[i]
		definition := 0
		if col.optional && !v.null {
			definition = 1
		}
		p.row = append(p.row, parquetValue(col.kind, v).Level(0, definition, i))
		p.bytes += 8 + len(v.text)
	}
	if _, err := p.w.WriteRows([]parquet.Row{p.row}); err != nil {
		return err
	}
	if p.rows++; p.rows >= p.maxRows || p.bytes >= rowGroupBytes {
		p.rows, p.bytes = 0, 0
		return p.w.Flush()
	}
	return nil
}

func parquetValue(k cellKind, v cell) parquet.Value {
	switch {
	case v.null:
		return parquet.NullValue()
	case k == intCell:
		return parquet.Int64Value(v.i)
	case k == floatCell:
		return parquet.DoubleValue(v.f)
	case k == boolCell:
		return parquet.BooleanValue(v.b)
	}
	return parquet.ByteArrayValue([]byte(v.text))
}

func (p *parquetRows) finish() error { return p.w.Close() }

// verify opens the file as a reader would and counts its rows.
func (p *parquetRows) verify(r io.ReaderAt, size int64, rows int64) error {
	f, err := parquet.OpenFile(r, size)
	if err != nil {
		return fmt.Errorf("the file does not open again: %w", err)
	}
	if f.NumRows() != rows {
		return fmt.Errorf("%d rows were written and %d are there", rows, f.NumRows())
	}
	return nil
}

// record is a Parquet group whose fields keep the order of the columns; the
// library's own sorts them by name.
type record struct {
	parquet.Group
	fields []parquet.Field
}

func newRecord(columns []column) record {
	r := record{Group: parquet.Group{}}
	for _, c := range columns {
		r.Group[c.name] = node(c)
	}
	byName := map[string]parquet.Field{}
	for _, f := range r.Group.Fields() {
		byName[f.Name()] = f
	}
	for _, c := range columns {
		r.fields = append(r.fields, byName[c.name])
	}
	return r
}

// Fields lists the columns in their order.
func (r record) Fields() []parquet.Field { return r.fields }

func node(c column) parquet.Node {
	var n parquet.Node
	switch c.kind {
	case intCell:
		n = parquet.Int(64)
	case floatCell:
		n = parquet.Leaf(parquet.DoubleType)
	case boolCell:
		n = parquet.Leaf(parquet.BooleanType)
	case jsonCell:
		n = parquet.JSON()
	default:
		n = parquet.String()
	}
	if c.name == "model" || c.name == "finish_reason" {
		n = parquet.Encoded(n, &parquet.RLEDictionary) // a handful of values in a million rows
	}
	if c.optional {
		return parquet.Optional(n)
	}
	return n
}
