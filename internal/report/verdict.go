package report

import (
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// Tone is what colour a verdict has; symbol and word always stand beside it.
type Tone string

// The tones. Green is only for succeeded.
const (
	ToneOK       Tone = "ok"
	ToneFailed   Tone = "failed"
	TonePartial  Tone = "partial"
	ToneRunning  Tone = "running"
	ToneQuiet    Tone = "quiet"
	ToneApproval Tone = "approval"
)

// Verdict is the first thing a person reads.
type Verdict struct {
	Tone     Tone
	Symbol   string
	Word     string
	Sentence string
}

// VerdictOf states how the run stands, in one or two sentences.
func VerdictOf(r Run) Verdict {
	v := Verdict{Tone: ToneQuiet, Symbol: "○", Word: strings.ReplaceAll(string(r.State), "_", " ")}
	switch r.State {
	case batch.RunSucceeded:
		v.Tone, v.Symbol, v.Sentence = ToneOK, "✓", succeeded(r)
	case batch.RunPartial:
		v.Tone, v.Symbol, v.Sentence = TonePartial, "!", partial(r)
	case batch.RunFailed:
		v.Tone, v.Symbol, v.Sentence = ToneFailed, "✗", allFailed(r)
	case batch.RunStoppedBudget:
		v.Tone, v.Symbol, v.Word, v.Sentence = TonePartial, "!", "stopped by budget", stoppedBudget(r)
	case batch.RunDeadlineExceeded:
		v.Tone, v.Symbol = TonePartial, "!"
		v.Sentence = "The deadline passed. " + left(r) + " Nothing that was done is lost."
	case batch.RunCancelled:
		v.Symbol = "⊘"
		v.Sentence = "The run was cancelled" + because(r) + ". " + left(r)
	case batch.RunRejected:
		v.Symbol = "⊘"
		v.Sentence = "The run was rejected" + because(r) + ". Nothing was sent and nothing was paid."
	case batch.RunRunning, batch.RunDelivering:
		v.Tone, v.Symbol, v.Sentence = ToneRunning, "▲", underway(r)
	case batch.RunPaused:
		v.Symbol = "‖"
		v.Sentence = "The run is paused" + because(r) + ". " + left(r)
	case batch.RunAwaitingApproval:
		v.Tone, v.Symbol = ToneApproval, "⧗"
		v.Sentence = fmt.Sprintf("A person must approve %s before anything is sent. Nothing was paid.", plural(r.Items.Total, "item"))
	case batch.RunQueued, batch.RunDraft:
		v.Sentence = fmt.Sprintf("Not begun: %s wait. Nothing was paid.", plural(r.Items.Total, "item"))
	default:
		v.Symbol, v.Word = "?", "unknown state"
		v.Sentence = left(r)
	}
	return v
}

func succeeded(r Run) string {
	i := r.Items
	switch {
	case i.Total == 0:
		return "The input held no items. Nothing was called and nothing was paid."
	case i.OK == i.Total && i.Total == 1:
		return "The one item is ok" + price(r) + "."
	case i.OK == i.Total:
		return fmt.Sprintf("All %s items are ok%s.", Count(i.Total), price(r))
	}
	return fmt.Sprintf("%s of %s items are ok%s. %s failed (%s), inside the declared %s.",
		Count(i.OK), Count(i.Total), price(r), Count(i.Failed), Share(i.Failed, i.Total), ppm(r.ThresholdPPM))
}

func partial(r Run) string {
	i := r.Items
	var parts []string
	if i.Failed > 0 {
		limit := ""
		if r.ThresholdPPM > 0 {
			limit = fmt.Sprintf(", more than the declared %s", ppm(r.ThresholdPPM))
		}
		parts = append(parts, fmt.Sprintf("%s of %s items failed (%s%s)%s.",
			Count(i.Failed), Count(i.Total), Share(i.Failed, i.Total), limit, mostly(r)))
	}
	if i.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s items were skipped.", Count(i.Skipped), Count(i.Total)))
	}
	if i.Pending > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s items have no outcome.", Count(i.Pending), Count(i.Total)))
	}
	rest := fmt.Sprintf("The other %s are ok%s.", Count(i.OK), price(r))
	if i.OK == 1 {
		rest = fmt.Sprintf("The other one is ok%s.", price(r))
	}
	return strings.Join(append(parts, rest), " ")
}

// mostly names why most items failed, by class.
func mostly(r Run) string {
	sums := map[batch.Class]int64{}
	top, total := batch.Class(""), int64(0)
	for _, g := range r.Errors {
		sums[g.Class] += g.Count
		total += g.Count
	}
	for _, g := range r.Errors { // in order, so that a tie has one answer
		if sums[g.Class] > sums[top] {
			top = g.Class
		}
	}
	switch {
	case top == "":
		return ""
	case sums[top] == total:
		return ", all with " + className(top)
	case sums[top]*2 >= total:
		return fmt.Sprintf(", mostly with %s (%s)", className(top), Count(sums[top]))
	}
	return fmt.Sprintf(", most often with %s (%s)", className(top), Count(sums[top]))
}

// className keeps a class printable if a store ever holds one that is not ours.
func className(c batch.Class) string {
	if c.Known() {
		return string(c)
	}
	return oneLine(string(c), 40)
}

func allFailed(r Run) string {
	i := r.Items
	if r.Reason != "" {
		return fmt.Sprintf("The run failed: %s. %s", strings.TrimSuffix(oneLine(r.Reason, 300), "."), left(r))
	}
	if i.OK == 0 && i.Total > 0 && i.Failed == i.Total {
		return fmt.Sprintf("None of the %s is ok%s.%s", plural(i.Total, "item"), mostly(r), charged(r))
	}
	return "The run failed. " + left(r)
}

func stoppedBudget(r Run) string {
	limit := "budget"
	switch r.StoppedBy {
	case money.DimTokens:
		limit = fmt.Sprintf("token budget of %s", Count(r.Budget.Tokens))
	case money.DimUSD:
		limit = fmt.Sprintf("budget of %s", USD(money.PicoUSD(r.Budget.Pico)))
	case money.DimRetries:
		limit = fmt.Sprintf("retry budget of %s", Count(r.Budget.Retries))
	case money.DimNone:
		if r.Reason != "" {
			return strings.ToUpper(r.Reason[:1]) + r.Reason[1:] + ". " + left(r)
		}
	}
	return fmt.Sprintf("The %s lets nothing more start. %s", limit, left(r))
}

// left says how much is done and what remains.
func left(r Run) string {
	i := r.Items
	if i.Total == 0 {
		return "It holds no items."
	}
	s := fmt.Sprintf("%s of %s are done", Count(i.Done()), plural(i.Total, "item"))
	if i.Failed > 0 {
		s += fmt.Sprintf(" (%s failed)", Count(i.Failed))
	}
	s += spent(r)
	if i.Pending > 0 {
		s += fmt.Sprintf("; %s are left", Count(i.Pending))
	}
	return s + "."
}

func underway(r Run) string {
	s := fmt.Sprintf("%s done. ", Share(r.Items.Done(), r.Items.Total)) + left(r)
	if p, ok := Projection(r); ok {
		s += fmt.Sprintf(" At the mean so far the whole run costs about %s.", USD(p))
	}
	return s
}

func price(r Run) string {
	s := ""
	if t := r.Cost.Total(); t > 0 {
		s = ", for " + USD(t)
	}
	if e := r.elapsed(); e > 0 {
		s += " in " + Duration(e)
	}
	return s
}

func spent(r Run) string {
	if t := r.Cost.Total(); t > 0 {
		return " for " + USD(t)
	}
	return ""
}

func charged(r Run) string {
	if t := r.Cost.Total(); t > 0 {
		return fmt.Sprintf(" %s was charged.", USD(t))
	}
	return " Nothing was charged."
}

func because(r Run) string {
	if r.Reason == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(oneLine(r.Reason, 300), ".")
}

// Projection is what the whole run costs if the items that are left cost what
// the paid ones did on average; false when nothing is left or nothing is known.
func Projection(r Run) (money.PicoUSD, bool) {
	paid := r.Items.Done() - r.Items.Copies - r.Items.Cached
	if r.Items.Pending <= 0 || paid <= 0 || r.Cost.Total() <= 0 {
		return 0, false
	}
	p, err := money.Add(int64(r.Cost.Total()), scale(int64(r.Cost.Total()), r.Items.Pending, paid))
	return money.PicoUSD(p), err == nil
}
