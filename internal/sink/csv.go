package sink

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/batchwright/batchwright/internal/batch"
)

// csvRows writes RFC 4180 with a header and LF line ends. Text cells are made
// safe for spreadsheets; JSONL is the form that keeps every byte.
type csvRows struct {
	w     *csv.Writer
	table *table
	line  []string
}

func newCSV(w io.Writer, o Options) (encoder, error) {
	c := &csvRows{w: csv.NewWriter(w), table: newTable(o.Schema)}
	c.line = make([]string, len(c.table.columns))
	for i, col := range c.table.columns {
		c.line[i] = safe(col.name)
	}
	return c, c.w.Write(c.line)
}

func (c *csvRows) outcome(o *batch.Outcome) error {
	for i, v := range c.table.row(o) {
		c.line[i] = csvCell(c.table.columns[i].kind, v)
	}
	return c.w.Write(c.line)
}

func csvCell(k cellKind, v cell) string {
	switch {
	case v.null:
		return ""
	case k == intCell:
		return strconv.FormatInt(v.i, 10)
	case k == floatCell:
		return strconv.FormatFloat(v.f, 'g', -1, 64)
	case k == boolCell:
		return strconv.FormatBool(v.b)
	}
	return safe(v.text)
}

func (c *csvRows) finish() error {
	c.w.Flush()
	return c.w.Error()
}

func (c *csvRows) verify(io.ReaderAt, int64, int64) error { return nil }
