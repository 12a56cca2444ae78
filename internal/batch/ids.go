package batch

import (
	"fmt"
	"regexp"
)

// RunID names a run: "r_" and 13 lower-case base32 characters, sortable by the
// time it was made.
type RunID string

// Ordinal is the place of an item in its manifest, from 0.
type Ordinal int64

// ShardNo is the place of a shard in its run, from 0.
type ShardNo int64

// Epoch is the fence of a shard: it grows by one with every claim and every
// take-over, and a write that names another epoch than the shard's is refused.
type Epoch int64

// WorkerID names one worker process for its life; it is never used again.
type WorkerID string

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ValidName reports whether s can name a job: 1 to 128 letters, digits, dots,
// dashes and underscores, beginning with a letter or a digit.
func ValidName(s string) bool { return name.MatchString(s) }

// LeaseRef points at one claim of one shard. Every write of a worker carries it.
type LeaseRef struct {
	Run   RunID
	Shard ShardNo
	Epoch Epoch
}

func (l LeaseRef) String() string { return fmt.Sprintf("%s/%d@%d", l.Run, l.Shard, l.Epoch) }
