package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/failpoint"
)

func (b *builder) header() Header {
	h := Header{Version: Version, Count: b.list.n, Digest: b.list.sum(), SpecDigest: b.cfg.SpecDigest, IDField: b.cfg.ID,
		Limit: b.cfg.Limit, Sources: b.sources, Counts: b.list.counts}
	h.Counts.Duplicates = b.dups
	h.Format = h.Sources[0].Format
	return h
}

// seal makes all files durable, the seal last.
func (b *builder) seal(ids *output) error {
	h := b.header()
	h.Files = map[string]int64{}
	for name, o := range map[string]*output{payloadFile: b.spool, heapFile: b.list.heap, indexFile: b.list.index, idsFile: ids} {
		if o == nil {
			continue
		}
		if err := o.commit(); err != nil {
			return err
		}
		h.Files[name] = o.n
		failpoint.Hit("manifest.file")
	}
	text, err := json.MarshalIndent(h, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if err := writeFile(b.dir, headerFile, text); err != nil {
		return err
	}
	failpoint.Hit("manifest.header")
	sum := sha256.Sum256(text)
	return writeFile(b.dir, sealFile, []byte(hex.EncodeToString(sum[:])+"\n"))
}

func writeFile(d *blob.Dir, name string, text []byte) error {
	o, err := newOutput(d, name)
	if err != nil {
		return err
	}
	if _, err := o.Write(text); err != nil {
		o.draft.Discard()
		return writeError(name, err)
	}
	return o.commit()
}
