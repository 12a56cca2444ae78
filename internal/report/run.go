// Package report says what a run did. It is pure: from one Run it makes text,
// Markdown, JSON, JUnit and a single HTML page, and the same Run gives the same
// bytes. It reads no clock, no store and no environment.
package report

import (
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// Schema is the version of the JSON form of Run.
const Schema = "batchwright.report/1"

// Run is everything a report needs. Money is in pico-USD, latencies are in
// microseconds, times are in UTC. It holds no prompt, input or output; the
// messages in it come from providers and are hostile until escaped.
type Run struct {
	Schema         string         `json:"schema"`
	ID             batch.RunID    `json:"run_id"`
	Job            string         `json:"job"`
	State          batch.RunState `json:"state"`
	Provider       string         `json:"provider"`
	Model          string         `json:"model"`
	PriceVersion   string         `json:"price_version,omitempty"` // which price card was frozen; "" when none was known
	SpecDigest     string         `json:"spec_digest"`
	ManifestDigest string         `json:"manifest_digest"`
	// SpecFile is how the user named the spec, for the next commands.
	SpecFile string `json:"spec_file,omitempty"`
	// ThresholdPPM is the declared share of failures, in millionths.
	ThresholdPPM int64 `json:"failure_threshold_ppm"`
	// StoppedBy is what the budget ran out of; only with stopped_budget.
	StoppedBy money.Dimension `json:"stopped_by,omitempty"`
	// Reason is one line on why the run failed, paused or was cancelled.
	Reason string `json:"reason,omitempty"`

	Items    Items  `json:"items"`
	Tokens   Tokens `json:"tokens"`
	Cost     Cost   `json:"cost"`
	Budget   Budget `json:"budget"`
	Attempts int64  `json:"attempts"` // calls made, the first of each item included
	Retries  int64  `json:"retries"`  // calls that the retry budget counts: repeats, but for those that waited out a rate limit
	// ExtraCalls are calls whose fate is unknown: perhaps paid, never answered.
	ExtraCalls int64 `json:"extra_calls"`

	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"` // of a run that goes on: when this was read

	Timeline   []Event      `json:"timeline,omitempty"`
	Series     []Bucket     `json:"series,omitempty"` // at most MaxColumns, equally wide, no gaps
	Latency    Histogram    `json:"latency"`
	Errors     []ErrorGroup `json:"errors,omitempty"` // of failed items, largest first
	Plan       []PlanRow    `json:"plan,omitempty"`
	Evaluation *Evaluation  `json:"evaluation,omitempty"`
	Outputs    []Output     `json:"outputs,omitempty"`
	Next       []Command    `json:"next,omitempty"` // empty: NextCommands decides
}

// Items counts items. Copies and Cached are parts of OK: answers that were not
// paid for again.
type Items struct {
	Total   int64 `json:"total"`
	OK      int64 `json:"ok"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped"`
	Pending int64 `json:"pending"`
	Copies  int64 `json:"copies"`
	Cached  int64 `json:"cached"`
}

// Done is how many items have an outcome.
func (i Items) Done() int64 { return i.OK + i.Failed + i.Skipped }

// Tokens is what providers reported for all attempts. Cached is part of Input,
// Reasoning of Output.
type Tokens struct {
	Input     int64 `json:"input"`
	Output    int64 `json:"output"`
	Cached    int64 `json:"cached"`
	Reasoning int64 `json:"reasoning"`
	Total     int64 `json:"total"`
}

// Cost is money by how sure it is: Settled by a provider's usage, AtRisk is
// charged at its worst case because the fate of the call is unknown.
type Cost struct {
	Settled money.PicoUSD `json:"settled_pico_usd"`
	AtRisk  money.PicoUSD `json:"at_risk_pico_usd"`
}

// Total is settled plus at risk: the most the run can have cost.
func (c Cost) Total() money.PicoUSD { return c.Settled + c.AtRisk }

// Amount is money.Amount with names for JSON.
type Amount struct {
	Tokens  int64         `json:"tokens"`
	Pico    money.PicoUSD `json:"pico_usd"`
	Retries int64         `json:"retries"`
}

// AmountOf converts.
func AmountOf(a money.Amount) Amount { return Amount(a) }

// Budget is what the run was allowed (money.Unlimited, -1, is no limit) and
// where that stands.
type Budget struct {
	Tokens   int64  `json:"tokens"`
	Pico     int64  `json:"pico_usd"`
	Retries  int64  `json:"retries"`
	Spent    Amount `json:"spent"`
	Reserved Amount `json:"reserved"`
	AtRisk   Amount `json:"at_risk"`
}

// Event is one line of the timeline.
type Event struct {
	At   time.Time `json:"at"`
	What string    `json:"what"` // one word: started, paused, worker_lost, rate_limited, …
	Text string    `json:"text"`
}

// Bucket is what happened in one span of time, by when calls ended.
type Bucket struct {
	Start   time.Time                  `json:"start"`
	WidthMS int64                      `json:"width_ms"`
	Cost    money.PicoUSD              `json:"cost_pico_usd"`    // settled
	AtRisk  money.PicoUSD              `json:"at_risk_pico_usd"` // charged at worst case
	Input   int64                      `json:"input_tokens"`
	Output  int64                      `json:"output_tokens"`
	Cached  int64                      `json:"cached_tokens"`
	Charged int64                      `json:"charged_tokens"` // what a token budget counts, worst cases included
	Done    int64                      `json:"done"`           // items that got their outcome
	ByClass map[batch.Class]ClassCount `json:"by_class,omitempty"`
}

// End is where the next bucket starts.
func (b Bucket) End() time.Time { return b.Start.Add(time.Duration(b.WidthMS) * time.Millisecond) }

// ClassCount counts attempts that did not succeed. Final of them ended their
// item as failed; the others were tried again.
type ClassCount struct {
	Count int64 `json:"count"`
	Final int64 `json:"final"`
}

// ErrorGroup is failed items with one class and, numbers and names aside, one
// message.
type ErrorGroup struct {
	Class    batch.Class `json:"class"`
	Message  string      `json:"message"`
	Count    int64       `json:"count"`
	Examples []Example   `json:"examples,omitempty"`
}

// Example is one failed item of a group.
type Example struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

// Unit says how a number is written for people.
type Unit string

// The units of a PlanRow.
const (
	UnitCount   Unit = "count"
	UnitTokens  Unit = "tokens"
	UnitPicoUSD Unit = "pico_usd"
	UnitMillis  Unit = "ms"
	UnitMicros  Unit = "us"
	UnitPPM     Unit = "ppm" // a share in millionths
)

// The rows of a plan that charts use, too.
const (
	PlanCost     = "cost"
	PlanDuration = "duration"
)

// PlanRow compares one number with what was planned.
type PlanRow struct {
	Key     string `json:"key"`
	Unit    Unit   `json:"unit"`
	Planned int64  `json:"planned"`
	Actual  int64  `json:"actual"`
}

// Output is one file the run wrote.
type Output struct {
	Name   string `json:"name"`
	URI    string `json:"uri,omitempty"`
	Format string `json:"format"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Command is something to do next.
type Command struct {
	Why     string `json:"why"`
	Command string `json:"command"`
}
