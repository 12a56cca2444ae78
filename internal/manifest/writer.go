package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/crc32"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// The files of a manifest. The seal comes last; without it the rest is garbage.
const (
	headerFile  = "manifest.json"
	indexFile   = "index.bin"
	heapFile    = "heap.bin"
	idsFile     = "ids.bin"
	payloadFile = "payload.jsonl"
	sealFile    = "SEALED"
)

// output is one file being written.
type output struct {
	draft *blob.Draft
	w     *bufio.Writer
	n     int64
}

func newOutput(dir *blob.Dir, name string) (*output, error) {
	d, err := dir.Create(name)
	if err != nil {
		return nil, err
	}
	return &output{draft: d, w: bufio.NewWriterSize(d, 256<<10)}, nil
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	o.n += int64(n)
	return n, err
}

func (o *output) commit() error {
	if err := o.w.Flush(); err != nil {
		o.draft.Discard()
		return writeError(o.draft.Name(), err)
	}
	return o.draft.Commit()
}

func writeError(name string, err error) error {
	if err == nil || batch.KindOf(err) != batch.Internal {
		return err
	}
	return &batch.Error{Kind: batch.Unavailable, Op: "write manifest", Ref: name, Err: err,
		Hint: "make room on the disk of the data directory, then run again"}
}

// digestHead begins the digest, so that no other hash can be taken for it.
const digestHead = "batchwright manifest 1\n"

// listWriter writes the index and the heap and adds up what the header says.
type listWriter struct {
	index, heap *output
	digest      hash.Hash
	table       *crc32.Table
	counts      Counts
	n           int64
	rec         [recordSize]byte
	text        []byte
}

func newListWriter(dir *blob.Dir) (*listWriter, error) {
	index, err := newOutput(dir, indexFile)
	if err != nil {
		return nil, err
	}
	heap, err := newOutput(dir, heapFile)
	if err != nil {
		index.draft.Discard()
		return nil, err
	}
	w := &listWriter{index: index, heap: heap, digest: sha256.New(), table: castagnoli()}
	w.digest.Write([]byte(digestHead))
	return w, nil
}

// add writes the next entry. Its id is given apart from it, which spares a
// string for every item.
func (w *listWriter) add(e *Entry, id []byte) error {
	w.text = append(append(w.text[:0], id...), e.Bad...)
	putRecord(w.rec[:], w.table, e, len(id), w.text, w.heap.n)
	if _, err := w.index.Write(w.rec[:]); err != nil {
		return writeError(indexFile, err)
	}
	if _, err := w.heap.Write(w.text); err != nil {
		return writeError(heapFile, err)
	}
	w.n++
	w.hash(e, id)
	switch {
	case e.Bad != "":
		w.counts.Bad++
	default:
		w.counts.InputBytes += e.Size
		w.counts.MaxPayload = max(w.counts.MaxPayload, e.Size)
	}
	if e.Leader != NoLeader {
		w.counts.Followers++
	}
	if e.Leads {
		w.counts.Leaders++
	}
	if e.TokenBudget != NoBudget {
		w.counts.Budgeted++
	}
	return nil
}

// hash adds the entry to the digest: what the item is, not where it was.
func (w *listWriter) hash(e *Entry, id []byte) {
	le := binary.LittleEndian
	b := w.text[:0]
	b = le.AppendUint64(b, uint64(e.Ordinal))
	b = le.AppendUint32(b, uint32(len(id)))
	b = append(b, id...)
	b = append(b, e.Payload[:]...)
	if e.Bad != "" {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	w.text = b
	w.digest.Write(b)
}

func (w *listWriter) sum() string { return "sha256:" + hex.EncodeToString(w.digest.Sum(nil)) }

// flush makes what was written readable through the drafts.
func (w *listWriter) flush() error {
	if err := w.index.w.Flush(); err != nil {
		return writeError(indexFile, err)
	}
	return writeError(heapFile, w.heap.w.Flush())
}

func (w *listWriter) discard() {
	w.index.draft.Discard()
	w.heap.draft.Discard()
}
