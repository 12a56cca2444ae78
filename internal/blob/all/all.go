// Package all is the one list of the object stores that the program knows.
package all

import (
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/blob/cloud"
)

// Registry knows local files and every cloud.
func Registry() *blob.Registry { return blob.NewRegistry(cloud.S3(), cloud.GCS(), cloud.Azure()) }
