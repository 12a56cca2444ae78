package manifest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/source"
)

// Manifest is a sealed manifest. Its methods may be called from many goroutines.
type Manifest struct {
	header  Header
	list    list
	ids     io.ReaderAt
	payload io.ReaderAt
	files   []io.Closer
	blobs   *blob.Registry

	closed atomic.Bool
	mu     sync.Mutex
	opened []openSource // in-place sources, the latest used last
}

// Open opens the sealed manifest in dir. NotFound when there is none, or only
// one that was never finished. blobs may be nil; it serves VerifySources.
func Open(dir string, blobs *blob.Registry) (*Manifest, error) { return open(dir, blobs) }

func open(dir string, blobs *blob.Registry) (_ *Manifest, err error) {
	d, err := blob.OpenDir(dir, false)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	m := &Manifest{blobs: blobs}
	if m.header, err = readHeader(d); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	m.list = list{count: m.header.Count, table: castagnoli(), name: dir}
	for name, at := range map[string]*io.ReaderAt{indexFile: &m.list.index, heapFile: &m.list.heap, idsFile: &m.ids, payloadFile: &m.payload} {
		size, ok := m.header.Files[name]
		if !ok {
			continue
		}
		f, err := d.Open(name)
		if err != nil {
			return nil, err
		}
		m.files = append(m.files, f)
		*at = f
		if st, err := f.Stat(); err != nil || st.Size() != size {
			return nil, m.list.damaged(0, errors.Join(err, fmt.Errorf("%s has not the size it was written with", name)))
		}
	}
	if m.header.Files[indexFile] != m.header.Count*recordSize || m.header.Files[idsFile] != m.header.Count*idSize {
		return nil, m.list.damaged(0, errors.New("the sizes do not fit the number of items"))
	}
	return m, nil
}

func readHeader(d *blob.Dir) (h Header, err error) {
	seal, err := readFile(d, sealFile)
	if batch.KindOf(err) == batch.NotFound {
		return h, &batch.Error{Kind: batch.NotFound, Op: "open manifest", Ref: d.Name(), Msg: "there is no finished manifest",
			Hint: "build it again"}
	}
	if err != nil {
		return h, err
	}
	text, err := readFile(d, headerFile)
	if err != nil {
		return h, err
	}
	damaged := &batch.Error{Kind: batch.Internal, Op: "open manifest", Ref: d.Name(), Msg: "the manifest is damaged",
		Hint: "restore the data directory, or start a new run with --new"}
	sum := sha256.Sum256(text)
	if strings.TrimSpace(string(seal)) != hex.EncodeToString(sum[:]) {
		return h, damaged
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, damaged
	}
	if h.Version != Version {
		return h, &batch.Error{Kind: batch.Config, Op: "open manifest", Ref: d.Name(),
			Msg: fmt.Sprintf("the manifest has format %d, this program reads %d", h.Version, Version), Hint: "use the program that wrote it"}
	}
	return h, nil
}

func readFile(d *blob.Dir, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<20))
	return text, errors.Join(err, f.Close())
}

// Close releases the files. The manifest is not used after it.
func (m *Manifest) Close() error {
	m.closed.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	for _, f := range m.files {
		err = errors.Join(err, f.Close())
	}
	for _, s := range m.opened {
		err = errors.Join(err, s.file.Close())
	}
	m.files, m.opened = nil, nil
	return err
}

// Header returns the facts about the list.
func (m *Manifest) Header() Header { return m.header }

// Count is the number of items, bad ones too.
func (m *Manifest) Count() int64 { return m.header.Count }

// Digest names the list by its content: "sha256:" and 64 hex digits.
func (m *Manifest) Digest() string { return m.header.Digest }

// Read returns up to n entries from first on; fewer only at the end. Damage is
// an error of Kind Internal.
func (m *Manifest) Read(first batch.Ordinal, n int) ([]Entry, error) { return m.list.read(first, n) }

// All iterates over the entries in order.
func (m *Manifest) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for o := batch.Ordinal(0); o < batch.Ordinal(m.Count()); o += pageSize {
			page, err := m.Read(o, pageSize)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Lookup finds an item by its id.
func (m *Manifest) Lookup(id string) (batch.Ordinal, bool, error) {
	want := hashID([]byte(id))
	var rec [idSize]byte
	var failed error
	read := func(i int) uint64 {
		if _, err := m.ids.ReadAt(rec[:], int64(i)*idSize); err != nil && failed == nil {
			failed = m.list.damaged(0, err)
		}
		return binary.BigEndian.Uint64(rec[:])
	}
	n := int(m.Count())
	for i := sort.Search(n, func(i int) bool { return read(i) >= want }); i < n && read(i) == want && failed == nil; i++ {
		e, err := m.Read(batch.Ordinal(binary.BigEndian.Uint64(rec[8:])), 1)
		if err != nil {
			return 0, false, err
		}
		if len(e) == 1 && e[0].ID == id {
			return e[0].Ordinal, true, nil
		}
	}
	return 0, false, failed
}

// openSource is a source that is read in place.
type openSource struct {
	index int
	file  source.RandomReader
}
