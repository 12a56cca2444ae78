package provider

import (
	"bytes"
	"strings"
)

// What an upper bound of input tokens adds to the length of the body.
const (
	// FrameTokens covers what a chat template wraps around a request.
	FrameTokens = 64
	// PartTokens covers one image or file: its size in tokens depends on what
	// is in it, not on the bytes that name it.
	PartTokens = 8192
	// ShapeTokens covers the instructions that a vendor adds to a request with
	// an output schema or tools.
	ShapeTokens = 1024
)

// Models that count an image as more than PartTokens.
var costlyImages = []struct {
	model  string
	tokens int64
}{{"4o-mini", 49152}}

// InputBound bounds the input tokens of a call: a token is at least one byte of
// the body, and what the body does not hold is added. shape is the length of
// the output schema and tools, which a vendor may tell its model once more.
func InputBound(body []byte, model string, parts, shape int) int64 {
	n := int64(len(body)) + FrameTokens
	if parts > 0 {
		each := int64(PartTokens)
		for _, c := range costlyImages {
			if strings.Contains(model, c.model) {
				each = c.tokens
			}
		}
		n += int64(parts) * each
	}
	if shape > 0 {
		n += ShapeTokens + int64(shape)
	}
	return n
}

// JSONText reports whether raw is a JSON string and no list of parts.
func JSONText(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '"'
}
