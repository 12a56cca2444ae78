package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/report"
)

// progress shows a run that goes on.
type progress interface {
	// begin is called once, with the plan where one was made.
	begin(f frame, p *plan.Plan, note string)
	// look is called about four times a second, and decides what it shows.
	look(f frame)
	// snapshot shows where the run stands now.
	snapshot(f frame)
	// end is called once: nothing more is shown of the run's way.
	end(f frame)
}

// newProgress picks how progress is shown.
func (inv *invocation) newProgress() progress {
	mode := inv.g.Progress
	if mode == "auto" {
		mode = "plain"
		if inv.sys.StderrTTY && inv.sys.Getenv("TERM") != "dumb" {
			mode = "tty"
		}
	}
	if inv.g.Quiet && inv.g.Progress == "auto" {
		mode = "none"
	}
	switch mode {
	case "tty":
		return &ttyProgress{p: inv.p, w: inv.sys.Stderr, width: inv.sys.Width}
	case "plain":
		return &plainProgress{w: inv.p.err, every: inv.g.ProgressInterval}
	case "json":
		return &jsonProgress{w: inv.p.err, every: min(inv.g.ProgressInterval, time.Second)}
	}
	return noProgress{}
}

type noProgress struct{}

func (noProgress) begin(frame, *plan.Plan, string) {}
func (noProgress) look(frame)                      {}
func (noProgress) snapshot(frame)                  {}
func (noProgress) end(frame)                       {}

// plainProgress writes logfmt lines: the first at once, one at every change of
// state, and one every so often.
type plainProgress struct {
	w     io.Writer
	every time.Duration
	last  time.Time
	state batch.RunState
	done  int64
}

func (p *plainProgress) begin(f frame, _ *plan.Plan, _ string) {
	if stands(f.Status) {
		p.line("state", f)
		return
	}
	p.line("run_started", f)
}

func (p *plainProgress) look(f frame) {
	switch {
	case f.State != p.state:
		p.line("state", f)
	case f.at.Sub(p.last) >= p.every:
		p.line("progress", f)
	}
}

func (p *plainProgress) snapshot(f frame) { p.line("snapshot", f) }
func (p *plainProgress) end(f frame) {
	if f.State != p.state || f.done() != p.done {
		p.line("state", f)
	}
}

func (p *plainProgress) line(event string, f frame) {
	p.last, p.state, p.done = f.at, f.State, f.done()
	fmt.Fprintln(p.w, logfmt(event, f))
}

// logfmt is one line of key=value pairs about a run.
func logfmt(event string, f frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "time=%s event=%s run=%s job=%s state=%s done=%d total=%d ok=%d failed=%d", f.at.UTC().Format(time.RFC3339),
		event, f.RunID, f.Job, f.State, f.done(), f.Items.Total, f.Items.OK, f.Items.Failed)
	if f.Items.Skipped > 0 {
		fmt.Fprintf(&b, " skipped=%d", f.Items.Skipped)
	}
	fmt.Fprintf(&b, " calls=%d retries=%d tokens=%d", f.Attempts, f.Retries, f.Tokens.Total)
	if f.Cost.Known {
		fmt.Fprintf(&b, " usd=%s", f.Cost.USD)
		if f.projected > 0 && !f.State.Ended() {
			fmt.Fprintf(&b, " projected_usd=%s", f.projected/tenthOfMill*tenthOfMill)
		}
	}
	if f.perSec > 0 && !f.State.Ended() {
		fmt.Fprintf(&b, " items_per_s=%.1f tokens_per_min=%.0f", f.perSec, f.tokPerMin)
		if f.eta > 0 {
			fmt.Fprintf(&b, " eta=%s eta_at=%s", f.eta, f.at.Add(f.eta).UTC().Format(time.RFC3339))
		}
	}
	if x := f.Pacing; x != nil && !f.State.Ended() {
		fmt.Fprintf(&b, " in_flight=%d limit=%d", x.InFlight, x.Limit)
		if x.Why != "" {
			fmt.Fprintf(&b, " limited_by=%s", quoted(x.Why))
		}
	}
	if f.Reason != "" {
		fmt.Fprintf(&b, " reason=%s", quoted(f.Reason))
	}
	return b.String()
}

// tenthOfMill is 0.0001 US dollars: what a guess is rounded to.
const tenthOfMill = money.USD / 10_000

// quoted is a logfmt value.
func quoted(s string) string {
	s = oneLine(s, 300)
	if strings.ContainsAny(s, " =\"") || s == "" {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// jsonProgress writes JSON lines, the first of which names their schema.
type jsonProgress struct {
	w     io.Writer
	every time.Duration
	seq   int64
	last  time.Time
	state batch.RunState
}

// event is one JSON line. Fields are added, never changed.
type event struct {
	Type   string      `json:"type"`
	Schema string      `json:"schema,omitempty"`
	TS     string      `json:"ts"`
	RunID  batch.RunID `json:"run_id,omitempty"`
	Seq    int64       `json:"seq"`
	*eventStatus
	Note    string              `json:"note,omitempty"`
	Plan    *plan.Plan          `json:"plan,omitempty"`
	Summary *report.SummaryJSON `json:"summary,omitempty"`
}

type eventStatus struct {
	Job       string         `json:"job"`
	State     batch.RunState `json:"state"`
	Reason    string         `json:"reason,omitempty"`
	Items     app.ItemCounts `json:"items"`
	Tokens    int64          `json:"tokens"`
	Pico      int64          `json:"pico_usd"`
	Projected int64          `json:"projected_pico_usd,omitempty"`
	Calls     int64          `json:"calls"`
	Retries   int64          `json:"retries"`
	Milli     int64          `json:"milli_items_per_s"` // integers only
	TPM       int64          `json:"tokens_per_min"`
	ETASec    int64          `json:"eta_s,omitempty"`
	Pacing    *app.Pacing    `json:"pacing,omitempty"`
}

func (p *jsonProgress) begin(f frame, pl *plan.Plan, note string) {
	p.emit(f, event{Type: "version", Schema: "batchwright.cli/1"})
	p.emit(f, event{Type: "run_started", RunID: f.RunID, eventStatus: statusOf(f), Note: note})
	if pl != nil {
		p.emit(f, event{Type: "plan", RunID: f.RunID, Plan: pl})
	}
	p.last, p.state = f.at, f.State
}

func (p *jsonProgress) look(f frame) {
	switch {
	case f.State != p.state:
		p.progress("state", f)
	case f.at.Sub(p.last) >= p.every:
		p.progress("progress", f)
	}
}

func (p *jsonProgress) snapshot(f frame) { p.progress("progress", f) }
func (p *jsonProgress) end(f frame)      { p.look(f) }

func (p *jsonProgress) progress(kind string, f frame) {
	p.last, p.state = f.at, f.State
	p.emit(f, event{Type: kind, RunID: f.RunID, eventStatus: statusOf(f)})
}

func (p *jsonProgress) emit(f frame, e event) {
	e.TS, e.Seq = f.at.UTC().Format(time.RFC3339Nano), p.seq
	p.seq++
	line, err := json.Marshal(e)
	if err != nil {
		return // the status holds numbers and words only
	}
	_, _ = p.w.Write(append(line, '\n'))
}

func statusOf(f frame) *eventStatus {
	return &eventStatus{Job: f.Job, State: f.State, Reason: clean(f.Reason), Items: f.Items, Tokens: f.Tokens.Total, Pico: int64(f.Cost.Pico),
		Projected: int64(f.projected), Calls: f.Attempts, Retries: f.Retries, Milli: int64(f.perSec * 1000), TPM: int64(f.tokPerMin),
		ETASec: int64(f.eta.Seconds()), Pacing: f.Pacing}
}
