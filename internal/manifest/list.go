package manifest

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// list reads entries by number out of an index and a heap.
type list struct {
	index, heap io.ReaderAt
	count       int64
	table       *crc32.Table
	name        string
}

// read returns up to n entries from first on.
func (l *list) read(first batch.Ordinal, n int) ([]Entry, error) {
	if first < 0 || n < 0 {
		return nil, &batch.Error{Kind: batch.NotFound, Op: "read manifest", Ref: l.name, Msg: fmt.Sprintf("no items %d+%d", first, n)}
	}
	n = int(max(0, min(int64(n), l.count-int64(first))))
	if n == 0 {
		return nil, nil
	}
	recs := make([]byte, n*recordSize)
	if _, err := l.index.ReadAt(recs, int64(first)*recordSize); err != nil {
		return nil, l.damaged(first, err)
	}
	at, _ := heapPlace(recs)
	last, size := heapPlace(recs[(n-1)*recordSize:])
	// Ids and messages lie in the order of the items. A span that cannot be is
	// not allocated.
	span := last + int64(size) - at
	if at < 0 || span < 0 || span > int64(n)*(MaxID+maxMessage) {
		return nil, l.damaged(first, nil)
	}
	heap := make([]byte, span)
	if _, err := l.heap.ReadAt(heap, at); err != nil {
		return nil, l.damaged(first, err)
	}
	entries := make([]Entry, n)
	for i := range entries {
		rec := recs[i*recordSize : (i+1)*recordSize]
		off, size := heapPlace(rec)
		o := first + batch.Ordinal(i)
		if off < at || off-at+int64(size) > span || !getRecord(rec, l.table, o, heap[off-at:off-at+int64(size)], &entries[i]) {
			return nil, l.damaged(o, nil)
		}
	}
	return entries, nil
}

func (l *list) damaged(o batch.Ordinal, err error) error {
	if batch.MachineFault(err) {
		return &batch.Error{Kind: batch.Unavailable, Op: "read manifest", Ref: l.name, Err: err,
			Hint: "the disk of the data directory fails; when it works again, run the same command"}
	}
	return &batch.Error{Kind: batch.Internal, Op: "read manifest", Ref: fmt.Sprintf("%s item %d", l.name, o),
		Msg: "the manifest is damaged", Err: err, Hint: "restore the data directory, or start a new run with --new"}
}
