package manifest

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// The index holds one record of recordSize bytes for each item, so that an
// item is found by its number alone; its id and message are in the heap. Every
// record carries a CRC over its number, itself and its piece of the heap.
//
//	 0 payload hash   32      64 token budget  8
//	32 row offset      8      72 heap offset   8
//	40 row length      4      80 id length     2
//	44 payload size    4      82 message len   2
//	48 line            8      84 source        4
//	56 leader          8      88 flags 1, zero 3; 92 CRC-32C 4
const recordSize = 96

const (
	flagSpooled = 1 << iota
	flagLeads
	flagBad
)

// MaxID is the longest id in bytes; maxMessage that of a bad item's message.
const (
	MaxID      = 512
	maxMessage = 512
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(table *crc32.Table, ordinal batch.Ordinal, rec, heap []byte) uint32 {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(ordinal))
	sum := crc32.Update(0, table, n[:])
	sum = crc32.Update(sum, table, rec[:92])
	return crc32.Update(sum, table, heap)
}

// putRecord writes e into rec; its id, of idLen bytes, and message are heap, at
// heapAt.
func putRecord(rec []byte, table *crc32.Table, e *Entry, idLen int, heap []byte, heapAt int64) {
	le := binary.LittleEndian
	copy(rec, e.Payload[:])
	le.PutUint64(rec[32:], uint64(e.where.offset))
	le.PutUint32(rec[40:], uint32(min(e.where.length, math.MaxUint32)))
	le.PutUint32(rec[44:], uint32(e.Size))
	le.PutUint64(rec[48:], uint64(e.Line))
	le.PutUint64(rec[56:], uint64(e.Leader))
	le.PutUint64(rec[64:], uint64(e.TokenBudget))
	le.PutUint64(rec[72:], uint64(heapAt))
	le.PutUint16(rec[80:], uint16(idLen))
	le.PutUint16(rec[82:], uint16(len(e.Bad)))
	le.PutUint32(rec[84:], uint32(e.Source))
	var flags byte
	if e.where.spooled {
		flags |= flagSpooled
	}
	if e.Leads {
		flags |= flagLeads
	}
	if e.Bad != "" {
		flags |= flagBad
	}
	rec[88], rec[89], rec[90], rec[91] = flags, 0, 0, 0
	le.PutUint32(rec[92:], checksum(table, e.Ordinal, rec, heap))
}

// heapPlace returns where the id and message of a record are.
func heapPlace(rec []byte) (at int64, n int) {
	le := binary.LittleEndian
	return int64(le.Uint64(rec[72:])), int(le.Uint16(rec[80:])) + int(le.Uint16(rec[82:]))
}

// getRecord reads a record and its piece of the heap; false when the checksum
// is wrong.
func getRecord(rec []byte, table *crc32.Table, ordinal batch.Ordinal, heap []byte, e *Entry) bool {
	le := binary.LittleEndian
	if le.Uint32(rec[92:]) != checksum(table, ordinal, rec, heap) {
		return false
	}
	idLen := int(le.Uint16(rec[80:]))
	flags := rec[88]
	*e = Entry{
		Ordinal: ordinal, ID: string(heap[:idLen]), Source: int(le.Uint32(rec[84:])), Line: int64(le.Uint64(rec[48:])),
		Leader: batch.Ordinal(le.Uint64(rec[56:])), Leads: flags&flagLeads != 0, TokenBudget: int64(le.Uint64(rec[64:])),
		Size: int64(le.Uint32(rec[44:])), Bad: string(heap[idLen:]),
		where: location{spooled: flags&flagSpooled != 0, offset: int64(le.Uint64(rec[32:])), length: int64(le.Uint32(rec[40:]))},
	}
	copy(e.Payload[:], rec)
	return true
}

// message makes a text fit for a record: one line, never empty.
func message(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if s == "" {
		return "bad item"
	}
	if len(s) > maxMessage {
		s = s[:maxMessage]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}
