package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/report"
)

// ttyProgress redraws two or three lines in place. They are taken away when anything
// else is written, and at the end.
type ttyProgress struct {
	p     *printer
	w     io.Writer
	width func() int
	drawn int // lines on the terminal now
	last  time.Time
	state batch.RunState
}

// redraw is how often the lines change at most.
const redraw = 250 * time.Millisecond

func (t *ttyProgress) begin(f frame, _ *plan.Plan, _ string) {
	t.p.mu.Lock()
	t.p.live = t.erase
	t.p.mu.Unlock()
	t.draw(f)
}

func (t *ttyProgress) look(f frame) {
	if f.State != t.state || f.at.Sub(t.last) >= redraw-10*time.Millisecond {
		t.draw(f)
	}
}

func (t *ttyProgress) snapshot(f frame) {
	fmt.Fprintln(t.p.err, strings.Join(t.lines(f, 1000), "\n"))
	t.draw(f)
}

func (t *ttyProgress) end(frame) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.erase()
	t.p.live = nil
}

// erase takes the drawn lines away; the caller holds the printer.
func (t *ttyProgress) erase() {
	if t.drawn > 0 {
		fmt.Fprintf(t.w, "\r\x1b[%dA\x1b[J", t.drawn)
		t.drawn = 0
	}
}

func (t *ttyProgress) draw(f frame) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.last, t.state = f.at, f.State
	width := t.width()
	if width < 20 {
		width = 80
	}
	lines := t.lines(f, width-1)
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA", t.drawn)
	}
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	t.drawn = len(lines)
	_, _ = io.WriteString(t.w, b.String())
}

// lines says how far, how healthy, how much, how fast and when, in that order.
func (t *ttyProgress) lines(f frame, width int) []string {
	share := "0%"
	if f.Items.Total > 0 {
		share = report.Share(f.done(), f.Items.Total)
	}
	far := fmt.Sprintf("%s/%s %s", report.Count(f.done()), report.Count(f.Items.Total), share)
	name := f.Job + " " + string(f.RunID)
	room := min(max(width-utf8.RuneCountInString(name)-utf8.RuneCountInString(far)-5, 8), 40)
	failed := "failed " + report.Count(f.Items.Failed)
	if f.Items.Failed > 0 {
		failed += " (" + report.Share(f.Items.Failed, max(f.done(), 1)) + ")"
	}
	healthy := []string{"ok " + report.Count(f.Items.OK), failed, "retries " + report.Count(f.Retries), t.money(f)}
	if f.State != batch.RunRunning {
		healthy = append([]string{string(f.State)}, healthy...)
	}
	out := []string{cut(t.p.plain(name+" "+t.bar(f, room)+" "+far), width), cut(t.p.plain("  "+strings.Join(healthy, " · ")), width)}
	if fast := t.fast(f); len(fast) > 0 {
		out = append(out, cut(t.p.plain("  "+strings.Join(fast, " · ")), width))
	}
	return out
}

// fast says how fast a run goes, what holds it back and when it will end.
func (t *ttyProgress) fast(f frame) []string {
	if f.State.Ended() {
		return nil
	}
	var out []string
	if f.perSec > 0 {
		out = append(out, fmt.Sprintf("%.1f it/s", f.perSec), report.Short(int64(f.tokPerMin))+" tok/min")
	}
	if x := f.Pacing; x != nil {
		s := fmt.Sprintf("%d/%d calls", x.InFlight, x.Limit)
		if x.Cooldown != nil && x.Cooldown.After(f.at) {
			s += fmt.Sprintf(", cooling down %s", x.Cooldown.Sub(f.at).Round(100*time.Millisecond))
		} else if x.Why != "" && x.Limit < x.Max {
			s += " (" + oneLine(x.Why, 30) + ")"
		}
		out = append(out, s)
	}
	if f.eta > 0 {
		out = append(out, fmt.Sprintf("ETA %s → %s", report.Duration(f.eta), f.at.Add(f.eta).Format("15:04 MST")))
	}
	return out
}

func (t *ttyProgress) money(f frame) string {
	if !f.Cost.Known {
		s := report.Count(f.Budget.Spent.Tokens) + " tokens"
		if f.Budget.Tokens != nil {
			s += " of " + report.Count(*f.Budget.Tokens)
		}
		return s
	}
	s := report.USD(f.Cost.Pico)
	if f.projected > 0 && f.Items.Pending > 0 {
		s += " → ~" + report.USD(f.projected)
	}
	if b := f.Budget.PicoUSD; b != nil {
		s += " of " + report.USD(money.PicoUSD(*b))
	}
	return s
}

// bar is n cells, in eighths where the terminal can show them.
func (t *ttyProgress) bar(f frame, n int) string {
	if f.Items.Total == 0 {
		return "[" + strings.Repeat(" ", n) + "]"
	}
	if !t.p.utf8 {
		full := int(f.done() * int64(n) / f.Items.Total)
		return "[" + strings.Repeat("#", full) + strings.Repeat(".", n-full) + "]"
	}
	eighths := int(f.done() * int64(n) * 8 / f.Items.Total)
	s := strings.Repeat("█", eighths/8)
	if r := eighths % 8; r > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[r])
	}
	return "▕" + s + strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0)) + "▏"
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}
