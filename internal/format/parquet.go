package format

import (
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// NewParquet returns the reader of a Parquet file of the given size.
func NewParquet(r io.ReaderAt, size int64, o Options) (Reader, error) {
	return nil, &batch.Error{Kind: batch.Internal, Msg: "not yet"}
}
