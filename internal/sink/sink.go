// Package sink writes the outputs of a run to a place: a local folder or an
// object store. What it writes is a pure function of the run's outcomes in
// manifest order, so the files are byte-identical after any crash; clock,
// worker and attempt count stand only in the ledger file.
//
// A reader may trust the folder when _SUCCESS is there: it is removed before
// anything is rewritten and put back last, so it never stands beside a file of
// another writing.
package sink

import (
	"context"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// File is one file being written. Nothing of it is seen under its name before
// Commit returned nil.
type File interface {
	io.Writer
	// ReadBack gives f what was written so far, for a check before Commit.
	ReadBack(f func(r io.ReaderAt, size int64) error) error
	// Commit makes the file durable and visible under its name, replacing what
	// was there. The caller may try again with a new File; never with this one.
	Commit() error
	// Abort drops what was written. After Commit it does nothing.
	Abort() error
}

// Dest is a place that takes whole files. Names are plain file names.
type Dest interface {
	Create(ctx context.Context, name string) (File, error)
	// Remove deletes one file; a file that is not there is no error.
	Remove(ctx context.Context, name string) error
}

// Rows gives what a run produced. Both methods stream, and may be called more
// than once.
type Rows interface {
	// Outcomes calls f for every outcome, in manifest order, and returns f's
	// first error.
	Outcomes(f func(batch.Outcome) error) error
	// Attempts calls f for every attempt, grouped by shard in manifest order.
	Attempts(f func(batch.Attempt) error) error
}

// Written says what one file holds. SHA256 is in hex. Rows is 0 for a document.
type Written struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Document is a file that is made from more than the rows: a summary, a report.
type Document struct {
	Name   string
	Format string // json | html | md | xml
	// Write renders it; rows lists the files of rows that were written before.
	Write func(w io.Writer, rows []Written) error
}

// The names that Write owns in a destination.
const (
	ResultsJSONL   = "results.jsonl"
	ResultsParquet = "results.parquet"
	ResultsCSV     = "results.csv"
	FailedJSONL    = "failed.jsonl"
	SkippedJSONL   = "skipped.jsonl" // only when an item was skipped
	LedgerJSONL    = "ledger.jsonl"
	Summary        = "summary.json"
	Report         = "report.html"
	Manifest       = "_manifest.json"
	Success        = "_SUCCESS"
)

// The formats of a result. JSONL is always written.
const (
	FormatJSONL   = "jsonl"
	FormatParquet = "parquet"
	FormatCSV     = "csv"
)

// ManifestSchema is the version of _manifest.json.
const ManifestSchema = "batchwright.outputs/1"

// Options say what is written and for which run.
type Options struct {
	Run            batch.RunID
	Job            string
	State          batch.RunState // the state that the run ends in
	SpecDigest     string
	ManifestDigest string
	Formats        []string // parquet and csv are added to jsonl
	// Schema is the JSON Schema of the answers, or nil. With one of an object,
	// Parquet and CSV get a column for each of its properties.
	Schema []byte
	// Documents are written after the rows, in this order, and listed in
	// _manifest.json.
	Documents []Document
	// RowGroup bounds the rows of one Parquet row group; 0 is 50,000.
	RowGroup int
}
