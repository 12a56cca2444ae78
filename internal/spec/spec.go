// Package spec reads a job spec: strict YAML in, typed values out, every
// mistake of a file at once with its line and column.
package spec

import (
	"encoding/json"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

// Spec is one job, parsed once. Every default is filled in; every number is in
// its unit; nothing in it is a secret.
type Spec struct {
	Version             int               `json:"version"`
	Job                 string            `json:"job"` // job.id
	Schedule            string            `json:"schedule,omitempty"`
	Timezone            string            `json:"timezone,omitempty"`
	Queue               string            `json:"queue"`        // high | best-effort
	BatchSize           int               `json:"batch_size"`   // items per shard
	MaxAttempts         int               `json:"max_attempts"` // per item
	Timeout             time.Duration     `json:"timeout"`      // per attempt
	NotificationChannel string            `json:"notification_channel,omitempty"`
	Input               Input             `json:"input"`
	Task                Task              `json:"task"`
	Output              Output            `json:"output"`
	Budget              Budget            `json:"budget"`
	Pacing              Pacing            `json:"pacing"`
	Deadline            Deadline          `json:"deadline"`
	FailureThresholdPPM int64             `json:"failure_threshold_ppm"` // a share in millionths
	Dedupe              bool              `json:"dedupe"`                // identical requests are called once
	Cache               string            `json:"cache"`                 // off | reuse
	Evaluate            *Evaluate         `json:"evaluate,omitempty"`
	Alerts              json.RawMessage   `json:"alerts,omitempty"`
	Tests               []Test            `json:"tests,omitempty"`
	Labels              map[string]string `json:"labels,omitempty"`
	Owners              []string          `json:"owners,omitempty"`
	// Dir is the folder that relative paths of the spec are relative to.
	Dir string `json:"-"`
	// File is where the spec was read, for messages.
	File string `json:"-"`

	// Places is where the file gives its keys; see Place.
	Places Places `json:"-"`
}

// Input is where the items come from.
type Input struct {
	URI       string   `json:"uri"`              // path, glob, folder, file://, s3://, gs://, azblob://, "-"
	Format    string   `json:"format"`           // auto | jsonl | csv | json | parquet | openai_batch
	ID        string   `json:"id,omitempty"`     // field that names an item
	Fields    []string `json:"fields,omitempty"` // column names for a CSV without header
	Delimiter string   `json:"delimiter,omitempty"`
	Header    *bool    `json:"header,omitempty"` // CSV: nil = true unless fields are given
	OnBadItem string   `json:"on_bad_item"`      // fail | quarantine
	Limit     int64    `json:"limit,omitempty"`  // take only the first N items; 0 = all
	Cursor    string   `json:"cursor,omitempty"`
	SQL       string   `json:"sql,omitempty"`
	Queue     string   `json:"queue,omitempty"`
}

// Task is what is asked of the model for every item.
type Task struct {
	Provider        string                     `json:"provider"`
	BaseURL         string                     `json:"base_url,omitempty"`
	APIKey          string                     `json:"api_key,omitempty"` // env:NAME or file:PATH, never a key
	Model           string                     `json:"model"`
	Endpoint        string                     `json:"endpoint,omitempty"` // chat | responses
	Lane            string                     `json:"lane"`               // sync | submission | auto
	System          string                     `json:"system,omitempty"`   // template; "file:PATH" was read
	Prompt          string                     `json:"prompt,omitempty"`   // template; "file:PATH" was read
	Messages        []Message                  `json:"messages,omitempty"` // instead of prompt
	MaxOutputTokens int64                      `json:"max_output_tokens"`
	Params          map[string]json.RawMessage `json:"params,omitempty"`
	Schema          json.RawMessage            `json:"schema,omitempty"` // inline or read from a file
	Headers         map[string]string          `json:"headers,omitempty"`
	Options         map[string]json.RawMessage `json:"options,omitempty"` // adapter settings
	OnTruncated     string                     `json:"on_truncated"`      // accept | fail | raise
	Price           *money.PriceCard           `json:"price,omitempty"`   // overrides the table
}

// Message is a templated turn.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Output is where results go.
type Output struct {
	URI    string   `json:"uri,omitempty"` // folder or blob URI; {run_id} and {job} are replaced
	Format []string `json:"format"`        // jsonl | parquet | csv; jsonl is always written
	Layout string   `json:"layout,omitempty"`
}

// Budget is what a run may use. -1 is no limit.
type Budget struct {
	Tokens     int64 `json:"tokens"`
	Pico       int64 `json:"pico_usd"`
	ItemTokens int64 `json:"item_tokens"`
	Retries    int64 `json:"retries"`
}

// Pacing is how fast calls may go. 0 is "not said".
type Pacing struct {
	RPM            int64 `json:"rpm,omitempty"`
	TPM            int64 `json:"tpm,omitempty"`
	MinConcurrency int   `json:"min_concurrency"`
	MaxConcurrency int   `json:"max_concurrency"`
}

// Deadline is when a run must stop: after a time, or at a clock time in the
// job's zone. Both zero: never.
type Deadline struct {
	After time.Duration `json:"after,omitempty"`
	At    string        `json:"at,omitempty"` // "04:30"
}

// Evaluate compares answers with labels that the items carry.
type Evaluate struct {
	Expected string `json:"expected"`       // item field with the right answer
	Path     string `json:"path,omitempty"` // key of the answer's object to compare; empty: the whole answer
}

// Test is one canned case for the prompt.
type Test struct {
	Name   string          `json:"name"`
	Item   json.RawMessage `json:"item"`
	Answer string          `json:"answer,omitempty"`
	Expect string          `json:"expect,omitempty"` // a class, default ok
	Prompt string          `json:"prompt_contains,omitempty"`
}

// Places is line and column of the value of each key, from 1.
type Places map[string][2]int

// Equal holds for any two: where a key stands does not change what a spec says.
func (Places) Equal(Places) bool { return true }
