package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/sink"
)

// frozenSpec is part of I5: the spec that decides every request is the one that
// the run was started with.
func (x *verifier) frozenSpec() error {
	sp, err := thaw(x.r)
	switch {
	case err != nil:
		x.find("I5", string(x.r.ID), "the frozen spec cannot be read: %v", err)
		return nil
	case sp.Digest() != x.r.SpecDigest:
		x.find("I5", string(x.r.ID), "the frozen spec has the digest %s; the run was started with %s", sp.Digest(), x.r.SpecDigest)
	case sp.WorkDigest() != x.r.WorkDigest:
		x.find("I5", string(x.r.ID), "what decides the requests has the digest %s; the run was started with %s", sp.WorkDigest(), x.r.WorkDigest)
	case sp.Job != x.r.Job:
		x.find("I5", string(x.r.ID), "the run is of job %q, its spec of %q", x.r.Job, sp.Job)
	}
	x.spec = sp
	return nil
}

// delivered is the rest of I9: the files of a run that ended are made once more
// from its segments and compared, _manifest.json and _SUCCESS among them.
// Documents (a summary, a report) are made from more than segments: they are
// held to the checksums of _manifest.json.
func (x *verifier) delivered() error {
	if !x.r.State.Ended() || x.r.Target != "" || x.r.StartedAt == 0 || x.spec == nil || x.found["I9"]+x.found["I1"] > 0 {
		return nil // not delivered, or what it was made from is damaged, which is said already
	}
	own := x.r.OutputURI == x.a.dir.Output(x.r.ID)
	doc, err := x.receipt()
	switch {
	case err != nil && batch.KindOf(err) == batch.NotFound && own && (x.r.State == batch.RunSucceeded || x.r.State == batch.RunPartial):
		x.find("I9", join(x.r.OutputURI, sink.Manifest), "it is not there")
		return nil
	case err != nil && batch.KindOf(err) == batch.NotFound:
		x.did("no delivered files: %s is not there any more", join(x.r.OutputURI, sink.Manifest))
		return nil
	case err != nil:
		x.find("I9", join(x.r.OutputURI, sink.Manifest), "it cannot be read: %v", err)
		return nil
	case doc.RunID != x.r.ID && !own:
		x.did("no delivered files: %s holds those of another run", x.r.OutputURI)
		return nil
	}
	again := &digests{files: map[string]*digestFile{}}
	_, err = sink.Write(x.ctx, again, rows{app: x.a, ctx: x.ctx, run: x.r, still: true}, sink.Options{Run: x.r.ID, Job: x.r.Job, State: x.r.State,
		SpecDigest: x.r.SpecDigest, ManifestDigest: x.r.ManifestDigest, Formats: x.spec.Output.Format, Schema: x.spec.Task.Schema, Documents: x.papers(doc)})
	if err != nil {
		x.find("I9", x.r.OutputURI, "the outputs cannot be made again from the segments: %v", err)
		return x.ctx.Err()
	}
	var size int64
	for _, name := range slices.Sorted(maps.Keys(again.files)) {
		want := again.files[name]
		n, sum, err := x.digest(name)
		size += n
		switch {
		case err != nil:
			x.find("I9", join(x.r.OutputURI, name), "it cannot be read: %v", err)
		case sum != want.text():
			x.find("I9", join(x.r.OutputURI, name), "it has %d bytes with the checksum %.12s; the segments give %d with %.12s", n, sum, want.n, want.text())
		}
	}
	x.did("%s of %d bytes, byte for byte against the segments (I9)", fmtCount(int64(len(again.files)), "delivered file"), size)
	return x.ctx.Err()
}

// papers are the documents that _manifest.json lists, as they are found: one
// that was changed gives another checksum than the one that stands there.
func (x *verifier) papers(doc receipt) (ds []sink.Document) {
	for _, f := range doc.Files {
		switch f.Name {
		case sink.ResultsJSONL, sink.ResultsParquet, sink.ResultsCSV, sink.FailedJSONL, sink.SkippedJSONL, sink.LedgerJSONL, sink.Manifest, sink.Success:
			continue
		}
		// Its format follows from its name, and is not taken from what is checked.
		ds = append(ds, sink.Document{Name: f.Name, Format: strings.TrimPrefix(path.Ext(f.Name), "."), Write: func(w io.Writer, _ []sink.Written) error {
			_, err := x.copy(w, f.Name)
			return err
		}})
	}
	return ds
}

// receipt is what verify reads of _manifest.json.
type receipt struct {
	RunID batch.RunID    `json:"run_id"`
	Files []sink.Written `json:"files"`
}

func (x *verifier) receipt() (doc receipt, err error) {
	var text limited
	if _, err := x.copy(&text, sink.Manifest); err != nil {
		return doc, err
	}
	return doc, json.Unmarshal(text, &doc)
}

// limited gathers a small file; what is beyond a megabyte is no _manifest.json.
type limited []byte

func (l *limited) Write(b []byte) (int, error) {
	if len(*l)+len(b) > 1<<20 {
		return 0, io.ErrShortWrite
	}
	*l = append(*l, b...)
	return len(b), nil
}

// copy reads a delivered file.
func (x *verifier) copy(w io.Writer, name string) (n int64, err error) {
	b, key, err := x.a.cfg.Blobs.Open(x.ctx, join(x.r.OutputURI, name))
	if err != nil {
		return 0, err
	}
	defer b.Close() //nolint:errcheck // read only
	rc, err := b.OpenRange(x.ctx, key, 0, -1)
	if err != nil {
		return 0, err
	}
	defer rc.Close() //nolint:errcheck // read only
	return io.Copy(w, rc)
}

func (x *verifier) digest(name string) (n int64, sum string, err error) {
	f := &digestFile{sum: sha256.New()}
	_, err = x.copy(f, name)
	return f.n, f.text(), err
}

// digests is a place that keeps of each file its length and checksum.
type digests struct{ files map[string]*digestFile }

// Create begins a file.
func (d *digests) Create(_ context.Context, name string) (sink.File, error) {
	f := &digestFile{sum: sha256.New()}
	d.files[name] = f
	return f, nil
}

// Remove forgets a file.
func (d *digests) Remove(_ context.Context, name string) error {
	delete(d.files, name)
	return nil
}

type digestFile struct {
	sum hash.Hash
	n   int64
}

func (f *digestFile) text() string { return hex.EncodeToString(f.sum.Sum(nil)) }

// Write counts and digests.
func (f *digestFile) Write(b []byte) (int, error) {
	f.n += int64(len(b))
	return f.sum.Write(b)
}

// ReadBack has nothing to read: what is compared is the checksum.
func (f *digestFile) ReadBack(func(io.ReaderAt, int64) error) error { return nil }

// Commit ends the file.
func (f *digestFile) Commit() error { return nil }

// Abort does nothing.
func (f *digestFile) Abort() error { return nil }
