// Package format reads rows as a stream: JSON Lines, CSV, a JSON array, Parquet
// and OpenAI batch files, each of them plain or compressed by gzip or zstd.
//
// A Reader works in two steps so that a caller can use all cores. Next is
// sequential and cheap: it cuts the stream into blocks of whole rows. Decode
// does the work, validating every byte, and may run on many blocks at once.
package format
