package batch

import (
	"encoding/json"

	"github.com/batchwright/batchwright/internal/money"
)

// Outcome is the accepted end of one item. It holds no clock, no worker and no
// attempt count: outputs are a pure function of outcomes, and must not differ
// after a crash. Those facts stand in Attempt.
type Outcome struct {
	Ordinal Ordinal         `json:"o"`
	ID      string          `json:"id"`
	State   ItemState       `json:"s"`               // ok, failed or skipped
	Class   Class           `json:"c,omitempty"`     // why it failed; for ok: ok or truncated
	Message string          `json:"m,omitempty"`     // for failed: one line, no payload
	Output  json.RawMessage `json:"out,omitempty"`   // a JSON string, or the JSON value a schema asked for
	Usage   money.Usage     `json:"u"`               // of the accepted attempt; zero when nothing was called
	Model   string          `json:"model,omitempty"` // as the provider named it in its answer
	Finish  string          `json:"fin,omitempty"`
	// CopyOf names the item whose identical request was called instead of this
	// one's; Cached says the answer came from an earlier run.
	CopyOf string `json:"copy_of,omitempty"`
	Cached bool   `json:"cached,omitempty"`
	// Epoch and Attempt name the attempt that made this outcome (I8). They are
	// not written to outputs.
	Epoch   Epoch `json:"e"`
	Attempt int   `json:"a"`
}

// Attempt is the record of one call to a provider, kept for every call.
type Attempt struct {
	Ordinal   Ordinal      `json:"o"`
	ID        string       `json:"id"`
	Shard     ShardNo      `json:"sh"`
	Epoch     Epoch        `json:"e"`
	N         int          `json:"n"` // 1 for the item's first call in this epoch
	Class     Class        `json:"c"`
	Message   string       `json:"m,omitempty"`
	Status    int          `json:"st,omitempty"` // HTTP status; 0 when there was no answer
	Usage     money.Usage  `json:"u"`
	Reserved  money.Amount `json:"r"` // worst case held while it was on the wire
	Charged   money.Amount `json:"ch"`
	Estimated bool         `json:"est,omitempty"` // charged without usage from the provider
	Model     string       `json:"model,omitempty"`
	RequestID string       `json:"rid,omitempty"` // the provider's
	StartedAt int64        `json:"at"`            // unix microseconds, UTC
	LatencyUS int64        `json:"us"`
}

// Progress counts items of a run by where they stand.
type Progress struct {
	Total   int64 `json:"total"`
	OK      int64 `json:"ok"`
	Failed  int64 `json:"failed"`
	Skipped int64 `json:"skipped"`
}

// Pending is what has no outcome yet.
func (p Progress) Pending() int64 { return p.Total - p.OK - p.Failed - p.Skipped }

// Verdict is the state a finished run earns: never green unless every item is
// ok or the failures stay inside the declared threshold (a share in millionths).
func (p Progress) Verdict(thresholdPPM int64) RunState {
	bad := p.Total - p.OK
	switch {
	case bad == 0:
		return RunSucceeded
	case p.Pending() == 0 && p.Skipped == 0 && bad*1_000_000 <= thresholdPPM*p.Total:
		return RunSucceeded
	case p.OK == 0 && p.Total > 0:
		return RunFailed
	}
	return RunPartial
}
