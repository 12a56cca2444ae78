package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// SummaryJSON is summary.json and the last line of `run --json`: a contract
// with other tools. Fields are added, never changed.
type SummaryJSON struct {
	RunID batch.RunID    `json:"run_id"`
	Job   string         `json:"job"`
	State batch.RunState `json:"state"`
	Items struct {
		Total   int64 `json:"total"`
		OK      int64 `json:"ok"`
		Failed  int64 `json:"failed"`
		Skipped int64 `json:"skipped"`
	} `json:"items"`
	Tokens Tokens `json:"tokens"`
	// Cost is all that was charged, worst cases of unknown calls included: the
	// sum of the ledger.
	Cost struct {
		PicoUSD int64       `json:"pico_usd"`
		USD     json.Number `json:"usd"` // exact decimal, never a float of ours
	} `json:"cost"`
	Budget   SummaryBudget `json:"budget"`
	Attempts int64         `json:"attempts"`
	Retries  int64         `json:"retries"`
	// Evaluation is there when the spec compares answers with labels.
	Evaluation     *SummaryEvaluation `json:"evaluation,omitempty"`
	StartedAt      *time.Time         `json:"started_at"` // RFC 3339, UTC; null before the start
	EndedAt        *time.Time         `json:"ended_at"`   // null while the run goes on
	SpecDigest     string             `json:"spec_digest"`
	ManifestDigest string             `json:"manifest_digest"`
	Outputs        []Output           `json:"outputs"`
}

// SummaryBudget gives the limits (null: none) and what is used of them.
type SummaryBudget struct {
	Tokens   *int64 `json:"tokens"`
	PicoUSD  *int64 `json:"pico_usd"`
	Retries  *int64 `json:"retries"`
	Spent    Amount `json:"spent"`
	Reserved Amount `json:"reserved"`
	AtRisk   Amount `json:"at_risk"`
}

// SummaryEvaluation is how many answers matched their label.
type SummaryEvaluation struct {
	Field    string `json:"field"`
	Compared int64  `json:"compared"`
	Right    int64  `json:"right"`
}

// Summary is the run in numbers.
func Summary(r Run) SummaryJSON {
	s := SummaryJSON{RunID: r.ID, Job: r.Job, State: r.State, Tokens: r.Tokens, Attempts: r.Attempts, Retries: r.Retries,
		SpecDigest: r.SpecDigest, ManifestDigest: r.ManifestDigest, Outputs: r.Outputs}
	s.Items.Total, s.Items.OK, s.Items.Failed, s.Items.Skipped = r.Items.Total, r.Items.OK, r.Items.Failed, r.Items.Skipped
	s.Cost.PicoUSD = int64(r.Cost.Total())
	s.Cost.USD = json.Number(r.Cost.Total().String())
	b := r.Budget
	s.Budget = SummaryBudget{limit(b.Tokens), limit(b.Pico), limit(b.Retries), b.Spent, b.Reserved, b.AtRisk}
	if e := r.Evaluation; e != nil {
		s.Evaluation = &SummaryEvaluation{e.Field, e.Compared, e.Right}
	}
	s.StartedAt = instant(r.StartedAt)
	if r.State.Ended() || r.State == batch.RunDelivering {
		s.EndedAt = instant(r.EndedAt)
	}
	if s.Outputs == nil {
		s.Outputs = []Output{}
	}
	return s
}

func limit(n int64) *int64 {
	if n == money.Unlimited {
		return nil
	}
	return &n
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

// WriteSummary writes summary.json.
func WriteSummary(w io.Writer, r Run) error { return writeJSON(w, Summary(r)) }

// WriteJSON writes the whole Run; it reads back into the same Run.
func WriteJSON(w io.Writer, r Run) error {
	if r.Schema == "" {
		r.Schema = Schema
	}
	return writeJSON(w, r)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
