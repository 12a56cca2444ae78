// Package plan says, before any money is spent, what a run will call, use, cost
// and take, and whether its budget lets it. It is pure: the facts come from the
// caller, and the same facts give the same plan. Beside every figure stands how
// far it can be trusted.
package plan

import (
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/spec"
)

// Accuracy says where a figure comes from.
type Accuracy string

// The accuracies, best first.
const (
	Exact      Accuracy = "exact"       // counted
	UpperBound Accuracy = "upper bound" // cannot be more
	Sampled    Accuracy = "sampled"     // scaled up from a part of the items
	History    Accuracy = "history"     // as earlier calls of the same job and prompt were
	Estimate   Accuracy = "estimate"    // a prior: nothing was measured
)

var order = map[Accuracy]int{Exact: 0, UpperBound: 1, Sampled: 2, History: 3, Estimate: 4}

// worse returns the less trustworthy of two.
func worse(a, b Accuracy) Accuracy {
	if order[b] > order[a] {
		return b
	}
	return a
}

// Facts is all that a plan is made from.
type Facts struct {
	Provider, Model string

	Items     int64 // in the manifest
	Followers int64 // items whose identical request another item calls
	CacheHits int64 // items answered by an earlier run
	Bad       int64 // items quarantined when the manifest was built
	Done      int64 // items with an outcome already (a resumed run)
	// Committed is what a resumed run has spent, holds and has at risk.
	Committed money.Amount

	Sample []SampleItem // items that would be called, measured one by one
	Bytes  Population   // of all items that would be called; zero when not known

	MaxOutputTokens int64
	Answers         Answers // of earlier calls of this job and prompt
	Latency         Latency // of earlier calls of this model

	Price        *money.PriceCard // nil when no price is known
	PriceVersion string
	Budget       spec.Budget
	TokensRef    string // where token_budget stands: "job.yaml:9"
	USDRef       string // where budget.usd stands
	Pacing       spec.Pacing
	Shared       []Shared // budgets that the run shares with others
}

// Shared is how a budget stands that the run shares with others.
type Shared struct {
	Name     string       `json:"name"`
	Job      string       `json:"job,omitempty"` // of a counter per job
	Period   batch.Period `json:"period"`
	Label    string       `json:"current"`             // 2026-11-23, 2026-W48, 2026-11 or total
	Renews   *time.Time   `json:"renews_at,omitempty"` // nil: never
	Ref      string       `json:"-"`
	Limit    money.Limit  `json:"-"`
	Spent    money.Amount `json:"-"`
	Reserved money.Amount `json:"-"`
	AtRisk   money.Amount `json:"-"`
}

// SampleItem is one item that was rendered and counted.
type SampleItem struct {
	Bytes       int64 // of the item in the input, comparable with Population
	InputTokens int64 // of the whole request
	InputExact  bool  // counted by the model's own tokenizer
	InputBound  int64 // more cannot be billed
	// OutputTokens is what a trial call of the item used; 0 when none was made.
	OutputTokens int64
}

// Population is the size of the items that would be called.
type Population struct {
	Items, Sum, Max int64 // count, bytes of all, bytes of the largest
}

// Answers is how long earlier answers were, in output tokens.
type Answers struct {
	Calls         int64
	Mean          int64
	P10, P50, P90 int64
	CachedPPM     int64 // share of the input that was read from the prompt cache, in millionths
}

// Latency is how long earlier calls took.
type Latency struct {
	Calls    int64
	P50, P90 time.Duration
}

// Count is a number of items.
type Count struct {
	N        int64    `json:"n"`
	Accuracy Accuracy `json:"accuracy"`
}

// Figure is one amount with its spread. P10 ≤ P50 ≤ P90 ≤ Worst always holds.
// Worst is one call for every item, each at its bound; retries come on top and
// are held by the budget.
type Figure struct {
	P10           int64    `json:"p10"`
	P50           int64    `json:"p50"`
	P90           int64    `json:"p90"`
	Worst         int64    `json:"worst"`
	Accuracy      Accuracy `json:"accuracy"` // of P10, P50 and P90
	WorstAccuracy Accuracy `json:"worst_accuracy"`
}

// Time is how long the run will take, in seconds.
type Time struct {
	P50      int64    `json:"p50_seconds"`
	P90      int64    `json:"p90_seconds"`
	BoundBy  string   `json:"bound_by"` // rpm, tpm or concurrency
	Accuracy Accuracy `json:"accuracy"`
}

// Fit is how a plan stands to one budget.
type Fit struct {
	Name      string `json:"name"` // token_budget or budget.usd
	Ref       string `json:"ref,omitempty"`
	Limit     int64  `json:"limit"` // tokens, or pico-USD
	Left      int64  `json:"left"`  // of the limit, for a resumed run
	FitsP50   bool   `json:"fits_p50"`
	FitsWorst bool   `json:"fits_worst"`
	// Items is how many of the items not done fit, at P50; Crossing is the
	// first item, counted from 1 in manifest order, that does not, or 0.
	Items    int64    `json:"items_fit"`
	Crossing int64    `json:"crossing_item,omitempty"`
	Accuracy Accuracy `json:"accuracy"`
	// Least is what the run needs even if answers are short; only when it does
	// not fit is a run refused whose answers nothing is known about.
	Least int64 `json:"least"`
	P50   int64 `json:"p50"`
	// Of a budget that runs share: which, and what stands against it now, in
	// tokens or pico-USD.
	Shared   *Shared `json:"shared,omitempty"`
	Spent    int64   `json:"spent,omitempty"`
	Reserved int64   `json:"reserved,omitempty"`
	AtRisk   int64   `json:"at_risk,omitempty"`
	Headroom int64   `json:"headroom,omitempty"`    // what calls can take now; Left counts what is reserved as well
	Dollars  bool    `json:"is_pico_usd,omitempty"` // or tokens
}

// Plan is the answer.
type Plan struct {
	Provider   string `json:"provider,omitempty"`
	Model      string `json:"model,omitempty"`
	Items      Count  `json:"items"`
	ToCall     Count  `json:"to_call"`
	Duplicates Count  `json:"duplicates"`
	CacheHits  Count  `json:"cache_hits"`
	Bad        Count  `json:"bad"`
	Done       Count  `json:"done"`
	// OverItem is how many items cannot start a call at all, since their bound
	// and max_output_tokens together pass budget.item_tokens.
	OverItem     *Count  `json:"over_item_tokens,omitempty"`
	SampleSize   int64   `json:"sample_size"`
	Input        Figure  `json:"input_tokens"`
	Output       Figure  `json:"output_tokens"`
	Total        Figure  `json:"total_tokens"`
	Cost         *Figure `json:"cost_pico_usd,omitempty"` // nil when no price is known
	PriceVersion string  `json:"price_version,omitempty"`
	PriceSource  string  `json:"price_source,omitempty"`
	Time         Time    `json:"time"`
	Fits         []Fit   `json:"budgets,omitempty"`

	// NeedsPrice says that budget.usd is set, at USDRef, and no price is known.
	NeedsPrice bool   `json:"needs_price,omitempty"`
	USDRef     string `json:"usd_ref,omitempty"`
}

// Make makes the plan. An error is a fault of the caller (counts that cannot
// be) or amounts beyond what money can hold.
func Make(f Facts) (Plan, error) {
	toCall := f.Items - f.Followers - f.CacheHits - f.Bad - f.Done
	if min(f.Items, f.Followers, f.CacheHits, f.Bad, f.Done, toCall, f.MaxOutputTokens) < 0 {
		return Plan{}, &batch.Error{Kind: batch.Internal, Op: "plan", Msg: "the counts of items do not add up"}
	}
	exact := func(n int64) Count { return Count{n, Exact} }
	p := Plan{
		Provider: f.Provider, Model: f.Model,
		Items: exact(f.Items), ToCall: exact(toCall), Duplicates: exact(f.Followers), CacheHits: exact(f.CacheHits),
		Bad: exact(f.Bad), Done: exact(f.Done), SampleSize: int64(len(f.Sample)), PriceVersion: f.PriceVersion,
	}
	p.OverItem = overItem(f, toCall)
	p.Input = inputTokens(f, toCall)
	p.Output = outputTokens(f, toCall)
	p.Total = sum(p.Input, p.Output)
	if f.Price != nil {
		c, err := cost(f, p)
		if err != nil {
			return Plan{}, err
		}
		p.Cost, p.PriceSource = &c, f.Price.Source
		if f.Price.Checked != "" {
			p.PriceSource += ", " + f.Price.Checked
		}
	}
	p.Time = duration(f, p)
	err := p.fit(f)
	return p, err
}

func sum(a, b Figure) Figure {
	return Figure{satAdd(a.P10, b.P10), satAdd(a.P50, b.P50), satAdd(a.P90, b.P90), satAdd(a.Worst, b.Worst),
		worse(a.Accuracy, b.Accuracy), worse(a.WorstAccuracy, b.WorstAccuracy)}
}
