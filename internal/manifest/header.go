package manifest

import "time"

// Version is the format of the files that Build writes.
const Version = 1

// Header is manifest.json: everything about the list but the items.
type Header struct {
	Version int    `json:"version"`
	Count   int64  `json:"count"`
	Digest  string `json:"digest"` // sha256 over (ordinal, id, payload hash, bad) of all items; no paths in it
	// SpecDigest is recorded as given.
	SpecDigest string   `json:"spec_digest,omitempty"`
	Format     string   `json:"format"` // of the first source
	IDField    string   `json:"id_field,omitempty"`
	Limit      int64    `json:"limit,omitempty"`
	Sources    []Source `json:"sources"`
	Counts     Counts   `json:"counts"`
	// Files are the sizes of the other files of the folder.
	Files map[string]int64 `json:"files"`
}

// Counts are sums over the items.
type Counts struct {
	// Duplicates repeat the id of an earlier item: numbered when the id was made
	// from the content, bad when it was given.
	Duplicates int64 `json:"duplicates"`
	// Followers have the request of an earlier item; Leaders are those earlier ones.
	Followers  int64 `json:"followers"`
	Leaders    int64 `json:"leaders"`
	Bad        int64 `json:"bad"`
	Budgeted   int64 `json:"budgeted"`    // items with a token budget of their own
	InputBytes int64 `json:"input_bytes"` // payload bytes of good items
	MaxPayload int64 `json:"max_payload"` // the largest of them
}

// Source is one file of the input as it was when the manifest was built.
type Source struct {
	URI         string    `json:"uri"`
	Size        int64     `json:"size"` // bytes as stored, -1 for a stream
	ModTime     time.Time `json:"mtime,omitzero"`
	ETag        string    `json:"etag,omitempty"`
	Version     string    `json:"version,omitempty"`
	SHA256      string    `json:"sha256,omitempty"` // of the stored bytes; empty when a limit ended the reading before the end
	Format      string    `json:"format"`
	Compression string    `json:"compression,omitempty"`
	Delimiter   string    `json:"delimiter,omitempty"`
	Columns     []string  `json:"columns,omitempty"`
	// InPlace says that items are read from this file again; else their bytes
	// were copied into the manifest.
	InPlace bool  `json:"in_place,omitempty"`
	Rows    int64 `json:"rows"`
}
