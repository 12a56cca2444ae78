package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/internal/batch"
)

// table reads a Parquet file row by row. Its rows are made into JSON by Next,
// since the pages they lie in are gone after it.
type table struct {
	o      Options
	file   *parquet.File
	root   *branch
	groups []parquet.RowGroup
	vet    *vetter
	group  int // number of the next group
	rows   parquet.Rows
	buf    []parquet.Row
	have   []parquet.Row // read and not yet taken
	asm    assembler
	n      int64
}

// rowsAtOnce is how many rows are taken from the pages in one call.
const rowsAtOnce = 64

// NewParquet returns the reader of a Parquet file of the given size. A column
// is a member in the file's order; 64-bit integers and decimals are exact;
// lists, maps and groups are nested; a date is "2006-01-02", a timestamp has the
// form of RFC 3339; bytes that are no text are in base64. A float that is not a
// number is null.
func NewParquet(r io.ReaderAt, size int64, o Options) (_ Reader, err error) {
	t := &table{o: o, buf: make([]parquet.Row, rowsAtOnce)}
	defer t.guard(&err)
	if err := checkFooter(r, size); err != nil {
		return nil, t.broken(err)
	}
	t.file, err = parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
		parquet.ReadBufferSize(256<<10), parquet.FileReadMode(parquet.ReadModeSync))
	if err != nil {
		return nil, t.broken(err)
	}
	if t.root, err = describe(t.file.Root()); err != nil {
		return nil, &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: o.Name, Msg: err.Error()}
	}
	t.groups, t.vet = t.file.RowGroups(), newVetter(r, size, t.file.Root())
	return t, nil
}

// maxFooter is the largest footer that is read: thousands of columns in
// thousands of groups of rows.
const maxFooter = 64 << 20

// checkFooter holds the length that a file gives its footer to the file's own:
// the library takes the memory before it looks.
func checkFooter(r io.ReaderAt, size int64) error {
	if size < 12 {
		return errors.New("the file is too short")
	}
	tail := make([]byte, 8)
	if _, err := r.ReadAt(tail, size-8); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > size-12 || n > maxFooter {
		return fmt.Errorf("a footer of %d bytes in a file of %d (limit %d)", n, size, maxFooter)
	}
	foot := &thrift{b: make([]byte, n)}
	if _, err := r.ReadAt(foot.b, size-8-n); err != nil {
		return err
	}
	if err := foot.fields(1, nothing); err != nil {
		return err
	}
	// What honest writers put there takes about ten times the bytes it has.
	if foot.cost > 16<<20+16*n {
		return fmt.Errorf("a footer of %d bytes with lists that take %d", n, foot.cost)
	}
	return nil
}

// guard makes an error of a panic: damaged files reach places in the library
// that trust their input.
func (t *table) guard(err *error) {
	if p := recover(); p != nil {
		*err = t.broken(fmt.Errorf("the reader gave up: %.200v", p))
	}
}

func (t *table) broken(err error) error {
	if k := batch.KindOf(err); k != batch.Internal {
		return err
	}
	return &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: place(t.o.Name, t.n+1, 0), Msg: "the Parquet file is damaged", Err: err,
		Hint: "write the file again"}
}

func (t *table) Layout() Layout { return Layout{Kind: Parquet} }

// drop lets go of the pages after an error: their buffers are large and come
// from a pool.
func (t *table) drop() {
	rows := t.rows
	if t.rows, t.have = nil, nil; rows == nil {
		return
	}
	defer func() { _ = recover() }() // what broke may break again
	_ = rows.Close()
}

func (t *table) Next(b *Block) (err error) {
	defer func() {
		if err != nil && err != io.EOF {
			t.drop()
		}
	}()
	defer t.guard(&err)
	b.reset(t.n, t.n+1)
	for len(b.data) < blockSize/2 {
		row, err := t.next()
		if err == io.EOF {
			if len(b.rows) == 0 {
				return io.EOF
			}
			return nil
		}
		if err != nil {
			return t.broken(err)
		}
		m := mark{start: len(b.data), line: t.n + 1}
		t.asm.take(row)
		out, bad := t.asm.object(b.data, t.root)
		switch {
		case bad != nil:
			m.err = &RowError{Line: m.line, Msg: bad.Error(), Hint: "clean the column, or set input.on_bad_item: quarantine"}
			out = out[:m.start]
		case len(out)-m.start > t.o.maxRow():
			m.err = tooLong(m.line, t.o.maxRow())
			out = out[:m.start]
		}
		b.data = out
		m.end = len(out)
		b.rows = append(b.rows, m)
		t.n++
	}
	return nil
}

// next returns the next row; it is valid until the one after it is asked for.
func (t *table) next() (parquet.Row, error) {
	for len(t.have) == 0 {
		if t.rows == nil {
			if len(t.groups) == 0 {
				return nil, io.EOF
			}
			longest, err := t.vet.group(&t.file.Metadata().RowGroups[t.group])
			if err != nil {
				return nil, err
			}
			// Rows of many values are taken few at a time.
			t.buf = t.buf[:max(1, min(rowsAtOnce, maxRowValues/max(1, longest)))]
			t.rows, t.groups, t.group = t.groups[0].Rows(), t.groups[1:], t.group+1
		}
		n, err := t.rows.ReadRows(t.buf)
		t.have = t.buf[:n]
		switch {
		case errors.Is(err, io.EOF) || err == nil && n == 0:
			// The rows read so far stay valid until they are taken.
			if n == 0 {
				if err := t.rows.Close(); err != nil {
					return nil, err
				}
				t.rows = nil
			}
		case err != nil:
			return nil, err
		}
	}
	row := t.have[0]
	t.have = t.have[1:]
	return row, nil
}

func (t *table) Decode(b *Block, d *Decoder, yield func(*Row) error) error {
	for _, m := range b.rows {
		raw := b.data[m.start:m.end]
		d.row = Row{Raw: raw, Offset: m.line - 1, Length: int64(len(raw)), Line: m.line, Err: m.err}
		if m.err == nil {
			if err := d.scan.Scan(raw); err != nil {
				d.row.Err = &RowError{Line: m.line, Msg: err.Error(), Hint: "clean the row, or set input.on_bad_item: quarantine"}
			} else {
				d.row.Payload, d.row.Fields = raw, d.scan.Fields
			}
		}
		if err := yield(&d.row); err != nil {
			return err
		}
	}
	return nil
}
