package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/format"
	"github.com/batchwright/batchwright/internal/source"
)

// inputFile is one file of the input while it is read.
type inputFile struct {
	file    source.File
	index   int    // place in Header.Sources
	name    string // for messages
	scratch *blob.Dir

	raw     io.ReadCloser
	hashed  *hashed
	plain   *format.Plain
	drafts  []*blob.Draft
	reader  format.Reader
	inPlace bool
	meta    Source
}

// hashed hashes and counts what is read through it.
type hashed struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}

// maxPlain is the most plain bytes of one compressed file unless Config says
// otherwise.
const maxPlain = 1 << 40

// open finds the format and makes the reader.
func (in *inputFile) open(ctx context.Context, cfg *Config) (err error) {
	if in.file, err = in.file.Pin(ctx); err != nil {
		return err
	}
	facts := in.file.Facts
	in.meta = Source{URI: in.file.URI, Size: facts.Size, ModTime: facts.ModTime, ETag: facts.ETag, Version: facts.Version}
	if in.raw, err = in.file.Open(ctx); err != nil {
		return err
	}
	in.hashed = &hashed{r: in.raw, sum: sha256.New()}
	limit := cfg.MaxBytes
	if limit == 0 {
		limit = maxPlain
	}
	if in.plain, err = format.Decompress(in.hashed, in.name, limit); err != nil {
		return err
	}
	kind, err := in.kind(cfg)
	if err != nil {
		return err
	}
	o := format.Options{Name: in.name, Kind: kind, Delimiter: cfg.Delimiter, Header: cfg.Header, Columns: cfg.Fields}
	if kind == format.CSV && o.Delimiter == "" {
		o.Delimiter = format.DefaultDelimiter(blob.Redact(in.file.URI))
	}
	if kind == format.Parquet {
		in.reader, err = in.parquet(o)
	} else {
		in.reader, err = format.NewReader(in.plain, o)
	}
	if err != nil {
		return err
	}
	layout := in.reader.Layout()
	in.meta.Format, in.meta.Compression = string(layout.Kind), in.plain.Compression
	in.meta.Delimiter, in.meta.Columns = layout.Delimiter, layout.Columns
	text := kind == format.JSONL || kind == format.CSV || kind == format.OpenAIBatch
	in.inPlace = text && in.file.Path != "" && in.plain.Compression == "" && !cfg.Copy
	in.meta.InPlace = in.inPlace
	return nil
}

func (in *inputFile) kind(cfg *Config) (format.Kind, error) {
	if cfg.Format != "" && cfg.Format != string(format.Auto) {
		return format.Kind(cfg.Format), nil
	}
	head, err := in.plain.Peek(format.HeadSize)
	if err != nil && err != io.EOF {
		if k := batch.KindOf(err); k != batch.Internal {
			return "", err
		}
		return "", &batch.Error{Kind: batch.Unavailable, Op: "read input", Ref: in.name, Err: err}
	}
	return format.Detect(blob.Redact(in.file.URI), head)
}

// parquet copies the stream to a scratch file unless it can be read at any place.
func (in *inputFile) parquet(o format.Options) (format.Reader, error) {
	d, err := in.scratch.Scratch()
	if err != nil {
		return nil, err
	}
	in.drafts = append(in.drafts, d)
	n, err := io.Copy(d.File, in.plain)
	if err != nil {
		return nil, writeError(in.name, err)
	}
	return format.NewParquet(d.File, n, o)
}

// finish checks, at the end of the stream, that the file is still the one that
// was found, and notes what was read.
func (in *inputFile) finish(ctx context.Context) error {
	if _, err := io.Copy(io.Discard, in.hashed); err != nil {
		return err
	}
	in.meta.SHA256 = hex.EncodeToString(in.hashed.sum.Sum(nil))
	now, err := in.file.Stat(ctx)
	if err != nil {
		return err
	}
	if !now.Same(in.file.Facts) || now.Size >= 0 && now.Size != in.hashed.n {
		return &batch.Error{Kind: batch.Conflict, Op: "read input", Ref: in.name, Msg: "the file changed while it was read",
			Err: batch.ErrInputChanged, Hint: "wait until it is written, then run again"}
	}
	return nil
}

func (in *inputFile) close() error {
	var err error
	if in.plain != nil {
		in.plain.Close()
	}
	if in.raw != nil {
		err = in.raw.Close()
	}
	for _, d := range in.drafts {
		d.Discard()
	}
	return err
}
