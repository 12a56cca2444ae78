package format

import (
	"bytes"
	"path"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// HeadSize is how many plain bytes Detect wants to see.
const HeadSize = 64 << 10

// byExtension is what the end of a name says, compression left aside.
func byExtension(name string) Kind {
	name = strings.ToLower(name)
	for _, ext := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, ext)
	}
	switch path.Ext(name) {
	case ".jsonl", ".ndjson", ".jsonlines":
		return JSONL
	case ".csv", ".tsv":
		return CSV
	case ".parquet", ".pq":
		return Parquet
	}
	return Auto
}

// Detect finds the format of a stream from its name and its first plain bytes
// (up to HeadSize; all of them when the stream is shorter). Content that can be
// nothing else wins over the name.
func Detect(name string, head []byte) (Kind, error) {
	if bytes.HasPrefix(head, []byte("PAR1")) {
		return Parquet, nil
	}
	kind := byExtension(name)
	if kind == CSV {
		return CSV, nil
	}
	body := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	start, stop := trim(body)
	switch {
	case kind == Parquet:
		return "", unknownFormat(name, "the name says Parquet, but the content is not")
	case start == stop:
		return JSONL, nil // nothing in it: every format has no rows
	case body[start] == '[' && kind != JSONL:
		return JSON, nil
	case body[start] == '{' || kind == JSONL:
		if isBatchFile(body[start:stop]) {
			return OpenAIBatch, nil
		}
		return JSONL, nil
	}
	return "", unknownFormat(name, "the format cannot be told from the name or the content")
}

func unknownFormat(name, msg string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "read input", Ref: name, Msg: msg,
		Hint: "set input.format to jsonl, csv, json, parquet or openai_batch"}
}

// isBatchFile reports whether the first line is one of an OpenAI batch file.
func isBatchFile(head []byte) bool {
	first, _, _ := bytes.Cut(head, []byte{'\n'})
	var d Decoder
	_, stop := trim(first)
	if d.object(first[:stop], 1, 0) != nil {
		return false
	}
	row := Row{Payload: first, Fields: d.scan.Fields}
	return checkBatchLine(&row) == nil
}

// DefaultDelimiter is the delimiter that the name of a CSV file suggests.
func DefaultDelimiter(name string) string {
	if strings.Contains(strings.ToLower(path.Base(name)), ".tsv") {
		return "\t"
	}
	return ","
}
