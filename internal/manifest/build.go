package manifest

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/source"
)

// Build reads the input and writes a manifest into dir, which it makes. What a
// killed build left there is removed first; a sealed manifest there is a
// Conflict. When it fails, nothing of it stays.
//
// Bad rows fail the build (Kind Invalid, the first MaxErrors of them named as
// file:line:col) unless Config says to quarantine them.
func Build(ctx context.Context, cfg Config, dir string) (*Manifest, Report, error) {
	files, err := source.Expand(ctx, source.Input{URI: cfg.URI, Dir: cfg.Dir, Stdin: cfg.Stdin, Blobs: cfg.Blobs})
	if err != nil {
		return nil, Report{}, err
	}
	d, err := blob.OpenDir(dir, true)
	if err != nil {
		return nil, Report{}, err
	}
	defer d.Close()
	if err := clear(d); err != nil {
		return nil, Report{}, err
	}
	failpoint.Hit("manifest.begin")
	b := &builder{cfg: cfg, dir: d, bad: badRows{limit: cfg.MaxErrors}}
	if b.bad.limit <= 0 {
		b.bad.limit = 20
	}
	err = b.build(ctx, files)
	b.discard()
	if err != nil {
		err = b.bad.with(err)
		_ = d.Remove(sealFile)
		_ = clear(d)
		return nil, b.report(), err
	}
	m, err := open(dir, cfg.Blobs)
	return m, b.report(), err
}

// clear removes what an unsealed build left.
func clear(d *blob.Dir) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	if slices.Contains(names, sealFile) {
		return &batch.Error{Kind: batch.Conflict, Op: "build manifest", Ref: d.Name(), Msg: "a sealed manifest is already there"}
	}
	for _, name := range names {
		ours := slices.Contains([]string{headerFile, indexFile, heapFile, idsFile, payloadFile}, name)
		if !ours && !blob.IsTemporary(name) {
			continue
		}
		if err := d.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// builder is the consumer of the pipeline: it numbers the items and writes them.
type builder struct {
	cfg      Config
	dir      *blob.Dir
	inputs   []*inputFile
	sources  []Source
	finished []bool // by source: read to its end
	names    []string

	list  *listWriter
	spool *output
	ids   *sorter
	keys  *sorter
	bad   badRows
	tail  []byte
	dups  int64
}

// sortMemory is what one sorter holds before it writes to disk.
const sortMemory = 4 << 20

func (b *builder) build(ctx context.Context, files []source.File) (err error) {
	if b.list, err = newListWriter(b.dir); err != nil {
		return err
	}
	b.ids, b.keys = newSorter(b.dir, sortMemory), newSorter(b.dir, sortMemory)
	for i, f := range files {
		b.inputs = append(b.inputs, &inputFile{file: f, index: i, name: b.shown(f.URI), scratch: b.dir})
	}
	p := pipeline{cfg: &b.cfg, inputs: b.inputs, workers: min(runtime.GOMAXPROCS(0), 8)}
	if err := p.run(ctx, b.take); err != nil {
		return err
	}
	failpoint.Hit("manifest.read")
	if err := b.check(files); err != nil {
		return err
	}
	ids, err := b.link(ctx)
	if err != nil {
		return err
	}
	if err := b.bad.failure(b.cfg.Quarantine); err != nil {
		ids.draft.Discard()
		return err
	}
	if b.list.counts.Bad == b.list.n {
		ids.draft.Discard()
		return b.bad.failure(false)
	}
	failpoint.Hit("manifest.linked")
	return b.seal(ids)
}

// shown is the name of a file in messages: short where it can be.
func (b *builder) shown(uri string) string {
	if uri == source.Stdin {
		return "stdin"
	}
	if !blob.IsLocal(uri) {
		return blob.Redact(uri)
	}
	base, err := filepath.Abs(b.cfg.Dir)
	if err != nil {
		return uri
	}
	if rel, err := filepath.Rel(base, uri); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return uri
}

// take writes the items of one job.
func (b *builder) take(j *job) error {
	src := b.source(j.input)
	if j.ended {
		b.finished[src] = true
		return nil
	}
	for i := range j.items {
		if b.cfg.Limit > 0 && b.list.n+b.bad.dropped == b.cfg.Limit {
			return errEnough
		}
		if err := b.item(j, &j.items[i], src); err != nil {
			return err
		}
		b.sources[src].Rows++
	}
	return nil
}

// source returns the place of the input among the sources that were begun.
func (b *builder) source(in *inputFile) int {
	for len(b.sources) <= in.index {
		b.sources = append(b.sources, Source{})
		b.finished = append(b.finished, false)
		b.names = append(b.names, in.name)
	}
	return in.index
}

func (b *builder) item(j *job, d *draftItem, src int) error {
	if d.bad != nil {
		b.bad.add(d.bad.In(j.input.name))
		if !b.cfg.Quarantine {
			b.bad.dropped++
			return nil
		}
	}
	e := Entry{Ordinal: batch.Ordinal(b.list.n), Payload: d.payload, Source: src, Line: d.line, Leader: NoLeader,
		TokenBudget: d.budget, Size: d.size, where: location{offset: d.offset, length: d.length}}
	id := j.arena[d.id.start:d.id.end]
	hash := d.idHash
	if d.fallback {
		id = fmt.Appendf(nil, "bad-%d", e.Ordinal)
		hash = hashID(id)
	}
	if d.bad != nil {
		e.Bad = message(d.bad.Msg)
		e.Size = 0
	} else if !j.input.inPlace {
		if err := b.copyBody(&e, j.arena[d.body.start:d.body.end]); err != nil {
			return err
		}
	}
	b.tail = append(b.tail[:0], 0)
	if d.derived || d.fallback {
		b.tail[0] = 1
	}
	b.tail = append(append(b.tail, d.payload[:8]...), id...)
	if err := b.ids.add(hash, uint64(e.Ordinal), b.tail); err != nil {
		return writeError("ids", err)
	}
	if d.keyed && d.bad == nil {
		if err := b.keys.add(firstWord(d.key[:]), uint64(e.Ordinal), d.key[8:]); err != nil {
			return writeError("keys", err)
		}
	}
	return b.list.add(&e, id)
}

// copyBody puts the payload into the manifest's own payload file.
func (b *builder) copyBody(e *Entry, body []byte) (err error) {
	if b.spool == nil {
		if b.spool, err = newOutput(b.dir, payloadFile); err != nil {
			return err
		}
	}
	e.where = location{spooled: true, offset: b.spool.n, length: int64(len(body))}
	if _, err := b.spool.Write(body); err != nil {
		return writeError(payloadFile, err)
	}
	_, err = b.spool.Write([]byte{'\n'})
	return writeError(payloadFile, err)
}

// check refuses inputs that make no list of items.
func (b *builder) check(files []source.File) error {
	for _, in := range b.inputs[:len(b.sources)] {
		rows := b.sources[in.index].Rows
		b.sources[in.index] = in.meta
		b.sources[in.index].Rows = rows
		if !b.finished[in.index] {
			b.sources[in.index].SHA256 = ""
		}
	}
	if b.list.n == 0 && b.bad.n == 0 {
		ref := b.shown(files[0].URI)
		if len(files) > 1 {
			ref = fmt.Sprintf("%s and %d more files", ref, len(files)-1)
		}
		return &batch.Error{Kind: batch.Invalid, Op: "build manifest", Ref: ref, Msg: "the input has no rows",
			Hint: "check input.uri and input.format"}
	}
	return nil
}

// discard drops whatever was not committed.
func (b *builder) discard() {
	if b.list != nil {
		b.list.discard()
	}
	if b.spool != nil {
		b.spool.draft.Discard()
	}
	for _, s := range []*sorter{b.ids, b.keys} {
		if s != nil {
			s.close()
		}
	}
}

func (b *builder) report() Report { return Report{Bad: b.bad.n, Examples: b.bad.first} }
