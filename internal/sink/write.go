package sink

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

// Write writes every output of a run to dest and returns what it wrote, in
// order, without _manifest.json and _SUCCESS. It streams: memory does not grow
// with the run. On an error nothing is marked whole: _SUCCESS is not there, and
// every name holds either its old file or its new one. The caller retries by
// calling Write again.
func Write(ctx context.Context, dest Dest, rows Rows, o Options) ([]Written, error) {
	if err := check(o); err != nil {
		return nil, err
	}
	if err := dest.Remove(ctx, Success); err != nil {
		return nil, failed(o, "remove "+Success, err)
	}
	failpoint.Hit("deliver.begin")
	rowFiles, err := writeRows(ctx, dest, rows, o)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("deliver.rows")
	all := slices.Clone(rowFiles)
	for _, d := range o.Documents {
		w, err := writeDocument(ctx, dest, d.Name, d.Format, func(w io.Writer) error { return d.Write(w, slices.Clone(rowFiles)) })
		if err != nil {
			return nil, failed(o, "write "+d.Name, err)
		}
		all = append(all, w)
		failpoint.Hit("deliver.document")
	}
	if err := removeStale(ctx, dest, all); err != nil {
		return nil, failed(o, "remove stale files", err)
	}
	failpoint.Hit("deliver.stale")
	if err := seal(ctx, dest, o, all); err != nil {
		return nil, err
	}
	return all, nil
}

// check refuses options that would make a folder that lies.
func check(o Options) error {
	for _, f := range o.Formats {
		if f != FormatJSONL && f != FormatParquet && f != FormatCSV {
			return &batch.Error{Kind: batch.Invalid, Op: "write outputs", Ref: string(o.Run),
				Msg: fmt.Sprintf("unknown output format %q", f), Hint: "use jsonl, parquet or csv in output.format"}
		}
	}
	if !o.State.Ended() || o.State == batch.RunRejected {
		return &batch.Error{Kind: batch.Internal, Op: "write outputs", Ref: string(o.Run),
			Msg: fmt.Sprintf("state %q is not one that a run is delivered in", o.State)}
	}
	return nil
}

// seal writes _manifest.json and then, with everything else durable, _SUCCESS.
func seal(ctx context.Context, dest Dest, o Options, files []Written) error {
	manifest := struct {
		Schema         string         `json:"schema"`
		RunID          batch.RunID    `json:"run_id"`
		Job            string         `json:"job"`
		State          batch.RunState `json:"state"`
		SpecDigest     string         `json:"spec_digest"`
		ManifestDigest string         `json:"manifest_digest"`
		Files          []Written      `json:"files"`
	}{ManifestSchema, o.Run, o.Job, o.State, o.SpecDigest, o.ManifestDigest, files}
	if _, err := writeDocument(ctx, dest, Manifest, "json", func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(manifest)
	}); err != nil {
		return failed(o, "write "+Manifest, err)
	}
	failpoint.Hit("deliver.manifest")
	mark := struct {
		RunID batch.RunID    `json:"run_id"`
		State batch.RunState `json:"state"`
	}{o.Run, o.State}
	if _, err := writeDocument(ctx, dest, Success, "json", func(w io.Writer) error {
		return json.NewEncoder(w).Encode(mark)
	}); err != nil {
		return failed(o, "write "+Success, err)
	}
	failpoint.Hit("deliver.success")
	return nil
}

// removeStale deletes files of an earlier writing that this one did not make.
// Only names that Write owns are touched.
func removeStale(ctx context.Context, dest Dest, written []Written) error {
	for _, name := range []string{ResultsParquet, ResultsCSV, SkippedJSONL} {
		if slices.ContainsFunc(written, func(w Written) bool { return w.Name == name }) {
			continue
		}
		if err := dest.Remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func writeDocument(ctx context.Context, dest Dest, name, format string, render func(io.Writer) error) (Written, error) {
	c, err := create(ctx, dest, name, format)
	if err != nil {
		return Written{}, err
	}
	if err := render(c); err != nil {
		c.abort()
		return Written{}, err
	}
	return c.commit()
}

// counted is a buffered file that counts and digests what goes through it.
type counted struct {
	file File
	buf  *bufio.Writer
	sum  hash.Hash
	w    Written
}

func create(ctx context.Context, dest Dest, name, format string) (*counted, error) {
	f, err := dest.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &counted{file: f, buf: bufio.NewWriterSize(f, 1<<16), sum: sha256.New(), w: Written{Name: name, Format: format}}, nil
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.buf.Write(p)
	c.sum.Write(p[:n])
	c.w.Bytes += int64(n)
	return n, err
}

func (c *counted) commit() (Written, error) {
	if err := c.buf.Flush(); err != nil {
		c.abort()
		return Written{}, err
	}
	if err := c.file.Commit(); err != nil {
		c.abort()
		return Written{}, err
	}
	c.w.SHA256 = hex.EncodeToString(c.sum.Sum(nil))
	return c.w, nil
}

// abort drops the file. Its own error says nothing that the caller could act
// on: the name never became visible.
func (c *counted) abort() { _ = c.file.Abort() }

func failed(o Options, op string, err error) error {
	if _, ok := err.(*batch.Error); ok { //nolint:errorlint // only the outermost error counts: its hint is the one to show
		return err
	}
	if batch.DiskFull(err) {
		return &batch.Error{Kind: batch.Unavailable, Op: op, Ref: string(o.Run), Msg: "outputs were not delivered, the disk is full",
			Hint: fmt.Sprintf("free some space on the file system of the output folder; if the run has stopped by then: batchwright resume %s", o.Run), Err: err}
	}
	return &batch.Error{Kind: batch.Unavailable, Op: op, Ref: string(o.Run), Msg: "outputs were not delivered",
		Hint: fmt.Sprintf("check that the output folder is writable and has room, then: batchwright resume %s", o.Run), Err: err}
}
