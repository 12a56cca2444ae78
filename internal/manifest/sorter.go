package manifest

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/batchwright/batchwright/internal/blob"
)

// sorter sorts any number of small records by key, then by seq, in bounded
// memory: full buffers are sorted and written to one scratch file, and read
// back merged.
type sorter struct {
	dir   *blob.Dir
	limit int // bytes to hold in memory
	slab  []byte
	refs  []ref
	file  *blob.Draft
	end   int64
	runs  []run
	n     int64
}

type ref struct {
	key, seq uint64
	off, n   uint32
}

type run struct{ start, end int64 }

// refSize is what a ref takes in memory.
const refSize = 24

func newSorter(dir *blob.Dir, limit int) *sorter { return &sorter{dir: dir, limit: limit} }

// add takes one record; tail is copied and shorter than 64 KiB.
func (s *sorter) add(key, seq uint64, tail []byte) error {
	if len(s.slab)+len(tail)+(len(s.refs)+1)*refSize > s.limit && len(s.refs) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.refs = append(s.refs, ref{key, seq, uint32(len(s.slab)), uint32(len(tail))})
	s.slab = append(s.slab, tail...)
	s.n++
	return nil
}

func (s *sorter) sort() {
	slices.SortFunc(s.refs, func(a, b ref) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Compare(a.seq, b.seq)
	})
}

func (s *sorter) spill() (err error) {
	if s.file == nil {
		if s.file, err = s.dir.Scratch(); err != nil {
			return err
		}
	}
	s.sort()
	w := bufio.NewWriterSize(s.file, 256<<10)
	start := s.end
	var head [18]byte
	for _, r := range s.refs {
		binary.LittleEndian.PutUint64(head[:], r.key)
		binary.LittleEndian.PutUint64(head[8:], r.seq)
		binary.LittleEndian.PutUint16(head[16:], uint16(r.n))
		_, _ = w.Write(head[:]) // the error stays until Flush
		_, _ = w.Write(s.slab[r.off : r.off+r.n])
		s.end += int64(len(head)) + int64(r.n)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, run{start, s.end})
	s.refs, s.slab = s.refs[:0], s.slab[:0]
	return nil
}

// each calls yield for all records in order, with a tail that is valid during
// the call, and ends the sorter.
func (s *sorter) each(yield func(key, seq uint64, tail []byte) error) error {
	defer s.close()
	if len(s.runs) == 0 {
		s.sort()
		for _, r := range s.refs {
			if err := yield(r.key, r.seq, s.slab[r.off:r.off+r.n]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.refs, s.slab = nil, nil
	h := make([]*cursor, 0, len(s.runs))
	for _, r := range s.runs {
		c := &cursor{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.start, r.end-r.start), 32<<10)}
		if err := c.next(); err == nil {
			h = append(h, c)
		} else if err != io.EOF {
			return err
		}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		down(h, i)
	}
	for len(h) > 0 {
		c := h[0]
		if err := yield(c.key, c.seq, c.tail); err != nil {
			return err
		}
		switch err := c.next(); {
		case err == io.EOF:
			h[0] = h[len(h)-1]
			h = h[:len(h)-1]
		case err != nil:
			return err
		}
		down(h, 0)
	}
	return nil
}

func (s *sorter) close() {
	if s.file != nil {
		s.file.Discard()
		s.file = nil
	}
	s.refs, s.slab, s.runs = nil, nil, nil
}

// cursor reads one sorted run.
type cursor struct {
	r        *bufio.Reader
	key, seq uint64
	tail     []byte
	head     [18]byte
}

func (c *cursor) next() error {
	if _, err := io.ReadFull(c.r, c.head[:]); err != nil {
		return err
	}
	c.key = binary.LittleEndian.Uint64(c.head[:])
	c.seq = binary.LittleEndian.Uint64(c.head[8:])
	n := int(binary.LittleEndian.Uint16(c.head[16:]))
	if cap(c.tail) < n {
		c.tail = make([]byte, max(n, 64))
	}
	c.tail = c.tail[:n]
	_, err := io.ReadFull(c.r, c.tail)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c *cursor) before(d *cursor) bool {
	return c.key < d.key || c.key == d.key && c.seq < d.seq
}

// down restores the heap below place i.
func down(h []*cursor, i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if r := least + 1; r < len(h) && h[r].before(h[least]) {
			least = r
		}
		if !h[least].before(h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
