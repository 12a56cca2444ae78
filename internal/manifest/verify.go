package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/source"
)

// VerifySources checks that the files the manifest was built from are still
// what they were: by size and time or tag, and with deep by reading them again.
// The first that is not is an error that wraps batch.ErrInputChanged. A cheap
// check of a local file that was only touched reads the file before it judges.
// Streams cannot be checked, and need not be: their items are in the manifest.
func (m *Manifest) VerifySources(ctx context.Context, deep bool) error {
	for i, s := range m.header.Sources {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.URI == source.Stdin || s.Size < 0 {
			continue
		}
		f := m.file(i)
		now, err := f.Stat(ctx)
		if batch.KindOf(err) == batch.NotFound {
			return sourceChanged(s, "the file is gone")
		}
		if err != nil {
			return err
		}
		if now.Size != s.Size {
			return sourceChanged(s, fmt.Sprintf("it has %d bytes and had %d", now.Size, s.Size))
		}
		if !deep && now.Same(f.Facts) {
			continue
		}
		if s.SHA256 == "" {
			if !now.Same(f.Facts) {
				return sourceChanged(s, "it was written again")
			}
			continue // a limit ended the reading; the items' own hashes stand
		}
		if err := rehash(ctx, f, s); err != nil {
			return err
		}
	}
	return nil
}

func rehash(ctx context.Context, f source.File, s Source) (err error) {
	r, err := f.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return &batch.Error{Kind: batch.Unavailable, Op: "verify input", Ref: blob.Redact(s.URI), Err: err}
	}
	if hex.EncodeToString(h.Sum(nil)) != s.SHA256 {
		return sourceChanged(s, "its content is not the same")
	}
	return nil
}

func sourceChanged(s Source, why string) error {
	return &batch.Error{Kind: batch.Conflict, Op: "verify input", Ref: blob.Redact(s.URI), Msg: why, Err: batch.ErrInputChanged,
		Hint: "put the input back as it was, or start a new run with --new"}
}

// Verify reads the whole list and checks it against the digest, and that every
// id is found at its item.
func (m *Manifest) Verify(ctx context.Context) error {
	w := listWriter{digest: sha256.New(), table: crc32.MakeTable(crc32.Castagnoli)}
	w.digest.Write([]byte(digestHead))
	var listed, found uint64 // sums over all ids, whatever their order
	for e, err := range m.All() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		w.hash(&e, []byte(e.ID))
		listed += tableID{hashID([]byte(e.ID)), e.Ordinal, [8]byte(e.Payload[:8])}.mixed()
	}
	if w.sum() != m.header.Digest {
		return m.list.damaged(0, errors.New("the items do not give the digest"))
	}
	var last uint64
	ids := m.idTable()
	for i := int64(0); i < m.Count(); i++ {
		id, err := ids.next()
		if err != nil {
			return m.list.damaged(0, err)
		}
		if id.hash < last {
			return m.list.damaged(id.ordinal, errors.New("the table of ids is out of order"))
		}
		last = id.hash
		found += id.mixed()
	}
	if found != listed {
		return m.list.damaged(0, errors.New("the table of ids is not that of the items"))
	}
	return nil
}

// mixed is a number that another entry of the table has by chance alone.
func (id tableID) mixed() uint64 {
	var b [idSize]byte
	binary.BigEndian.PutUint64(b[:], id.hash)
	binary.BigEndian.PutUint64(b[8:], uint64(id.ordinal))
	copy(b[16:], id.payload[:])
	sum := sha256.Sum256(b[:])
	return binary.BigEndian.Uint64(sum[:])
}
