package manifest

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

var errNotYet = errors.New("not yet")

// Config says what to read and what an item must be.
type Config struct {
	URI       string   // path, glob, folder, file://, s3://, gs://, azblob://, or "-"
	Dir       string   // folder that a relative path is relative to; empty: the working directory
	Format    string   // auto | jsonl | csv | json | parquet | openai_batch; empty: auto
	ID        string   // field that names an item
	Fields    []string // column names for a CSV without header
	Delimiter string   // CSV; empty: comma, or tab for .tsv
	Header    *bool    // CSV; nil: true unless Fields are given
	Limit     int64    // take only the first N items; 0: all
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
	// the input is not.
	Copy      bool
	Stdin     io.Reader      // for "-"
	Blobs     *blob.Registry // for cloud URIs
	MaxErrors int            // bad rows to name before failing; 0: 20
	MaxBytes  int64          // most plain bytes of one compressed file; 0: 1 TiB
}

// Report is what Build saw besides the items.
type Report struct {
	Blank    int64          // empty lines skipped
	Examples []*batch.Error // the first bad rows
}

// Manifest is a sealed manifest. Its methods may be called from many goroutines.
type Manifest struct{ header Header }

// Build reads the input and writes a manifest into dir, which it makes.
func Build(ctx context.Context, cfg Config, dir string) (*Manifest, Report, error) {
	return nil, Report{}, errNotYet
}

// Open opens the sealed manifest in dir.
func Open(dir string) (*Manifest, error) { return nil, errNotYet }

// Close releases the files.
func (m *Manifest) Close() error { return nil }

// Header returns the facts about the list.
func (m *Manifest) Header() Header { return m.header }

// Count is the number of items, bad ones too.
func (m *Manifest) Count() int64 { return m.header.Count }

// Digest names the list by its content: "sha256:" and 64 hex digits.
func (m *Manifest) Digest() string { return m.header.Digest }

// Read returns up to n entries from first on; fewer only at the end.
func (m *Manifest) Read(first batch.Ordinal, n int) ([]Entry, error) { return nil, errNotYet }

// Items returns up to n items from first on, each verified against its hash.
func (m *Manifest) Items(ctx context.Context, first batch.Ordinal, n int) ([]Item, error) {
	return nil, errNotYet
}

// All iterates over the entries in order.
func (m *Manifest) All() iter.Seq2[Entry, error] { return nil }

// Lookup finds an item by its id.
func (m *Manifest) Lookup(id string) (batch.Ordinal, bool, error) { return 0, false, errNotYet }
