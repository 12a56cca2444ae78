// Package manifest freezes the rows of an input into the numbered, hashed list
// of items that a run works through, and gives them back by number with a proof
// that their bytes did not change (I5, I10).
//
// Build reads the input once. A built manifest is a folder; it is complete only
// when its seal is there, and Open refuses everything else, so a build that was
// killed leaves nothing that could be mistaken for a manifest.
package manifest

import (
	"encoding/hex"

	"github.com/batchwright/batchwright/internal/batch"
)

// Sum is a SHA-256.
type Sum [32]byte

// String is the sum in lower-case hex.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// NoLeader is the Leader of an item whose request is not a copy of an earlier
// item's.
const NoLeader batch.Ordinal = -1

// NoBudget is the TokenBudget of an item that brings no budget of its own.
const NoBudget int64 = -1

// Entry is what a manifest keeps about one item.
type Entry struct {
	Ordinal batch.Ordinal
	// ID is unique within the manifest.
	ID string
	// Payload is the hash of the item's bytes. For a bad item it is the hash of
	// the raw row.
	Payload Sum
	// Source is the place of the row's file in Header.Sources, and Line the line
	// in it (from 1; for Parquet the row), for messages.
	Source int
	Line   int64
	// Leader is the first item with an identical request, NoLeader if this is
	// the first or duplicates are not looked for. A leader is never bad and has
	// no leader itself.
	Leader batch.Ordinal
	// Leads says that other items are copies of this one.
	Leads bool
	// TokenBudget is the item's own limit in tokens, or NoBudget.
	TokenBudget int64
	// Size is the length of the payload in bytes.
	Size int64
	// Bad says that the item is quarantined: it is not called and its outcome is
	// failed with class bad_item and this message. Empty for a good item.
	Bad string

	where location
}

// Item is an entry with its bytes: a JSON object, nil for a bad item.
type Item struct {
	Entry
	Payload []byte
}

// location is where an item's raw bytes are.
type location struct {
	spooled bool // in the manifest's own payload file, else in the source
	offset  int64
	length  int64
}
