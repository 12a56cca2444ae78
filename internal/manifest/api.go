package manifest

import (
	"io"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// Config says what to read and what an item must be.
type Config struct {
	URI       string   // path, glob, folder, file://, s3://, gs://, azblob://, or "-"
	Dir       string   // folder that a relative path is relative to; empty: the working directory
	Format    string   // auto | jsonl | csv | json | parquet | openai_batch; empty: auto
	ID        string   // field that names an item; empty: custom_id where there is one, else made from the content
	Fields    []string // column names for a CSV without header
	Delimiter string   // CSV; empty: comma, or tab for .tsv
	Header    *bool    // CSV; nil: true unless Fields are given
	Limit     int64    // take only the first N rows; 0: all
	// Quarantine keeps bad rows as bad items; without it they fail the build.
	Quarantine bool
	// RequiredFields are top-level names that every item must have.
	RequiredFields []string
	// ExpectedFields are top-level names that every item must have as labels.
	ExpectedFields []string
	// KeyFields are the top-level names that make the request of an item: two
	// items are one request when these are the same. Render does the same where
	// that is not simple: it returns the request's bytes; its error makes the
	// item bad. Render is called from many goroutines and must not keep row.
	// With neither, duplicates are not looked for.
	KeyFields []string
	Render    func(row []byte) (key []byte, err error)
	// TokenBudgetField is the top-level name of an item's own token budget.
	TokenBudgetField string
	SpecDigest       string
	// Copy copies every payload into the manifest, so that it can be read where
	// the input is not. Inputs that are not plain local text always are copied.
	Copy      bool
	Stdin     io.Reader      // for "-"
	Blobs     *blob.Registry // for cloud URIs
	MaxErrors int            // bad rows to name before failing; 0: 20
	MaxBytes  int64          // most plain bytes of one compressed file; 0: 1 TiB
}

// Report is what Build saw besides the items.
type Report struct {
	Bad      int64          // rows that are no items
	Examples []*batch.Error // the first of them
}
