package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/batchwright/batchwright/internal/money"
)

//go:embed report.css
var stylesheet string

//go:embed report.tmpl.html
var pageText string

var pageTemplate = template.Must(template.New("report").Parse(pageText))

// Stylesheet is the look of the page and of every Chart.
func Stylesheet() string { return stylesheet }

// ContentPolicy is what the page allows itself: one stylesheet, known by its
// digest, and nothing else. It runs no script and loads nothing.
func ContentPolicy() string {
	sum := sha256.Sum256([]byte(stylesheet))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// WriteHTML writes the report as one file that needs nothing else: no network,
// no font, no script. Whatever a provider or an input said is text in it.
func WriteHTML(w io.Writer, r Run) error { return pageTemplate.Execute(w, newPage(r)) }

type page struct {
	Policy     string
	Style      template.CSS
	Job, ID    string
	Sub        []string
	Verdict    Verdict
	Go         *Command
	Tiles      []tile
	Bar        template.HTML
	Legend     []legend
	Above      []Chart // before the failed items
	Below      []Chart
	Errors     []errorView
	Plan       []planView
	Evaluation *evaluationView
	Timeline   []eventView
	Next       []Command
	NextWide   bool // beside an odd card there is room for half
	Outputs    []outputView
	Facts      []fact
}

type (
	tile struct {
		Name, Value string
		Notes       []string
	}
	legend struct {
		Tone                Tone
		Symbol, Count, Word string
	}
	errorView struct {
		Count, Class, Message string
		Examples              []Example
	}
	planView       struct{ Name, Planned, Actual, Variance string }
	eventView      struct{ Stamp, Clock, What, Text string }
	outputView     struct{ Name, Rows, Size, SHA256 string }
	fact           struct{ Name, Value string }
	labelView      struct{ Label, Expected, Right, Recall, Precision string }
	confusion      struct{ Expected, Got, Count string }
	evaluationView struct {
		Sentence   string
		Confusions []confusion
		Labels     []labelView
	}
)

func newPage(r Run) page {
	p := page{Policy: ContentPolicy(), Style: template.CSS(stylesheet), //nolint:gosec // our own file
		Job: oneLine(r.Job, 200), ID: oneLine(string(r.ID), 64), Verdict: VerdictOf(r), Next: NextCommands(r)}
	if p.Job == "" {
		p.Job = "run"
	}
	if !r.State.Ended() || r.Items.Pending > 0 {
		if len(p.Next) > 0 {
			p.Go = &p.Next[0]
		}
	}
	for _, c := range Charts(r) {
		if c.ID == "latency" {
			p.Below = append(p.Below, c)
			continue
		}
		p.Above = append(p.Above, c)
	}
	p.Sub = subtitle(r)
	p.Tiles = tiles(r)
	p.Bar, p.Legend = itemBar(r.Items)
	for _, g := range r.Errors {
		p.Errors = append(p.Errors, errorView{Count(g.Count), className(g.Class), oneLine(g.Message, maxMessage), clean(g.Examples)})
	}
	for _, row := range r.Plan {
		p.Plan = append(p.Plan, planView{oneLine(row.Key, 60), quantity(row.Planned, row.Unit), quantity(row.Actual, row.Unit), Variance(row.Planned, row.Actual)})
	}
	p.Evaluation = evaluationOf(r.Evaluation)
	layout := "15:04:05"
	if r.elapsed().Hours() >= 20 {
		layout = "Jan 2 15:04:05"
	}
	for _, e := range r.Timeline {
		p.Timeline = append(p.Timeline, eventView{e.At.UTC().Format("2006-01-02T15:04:05Z"), e.At.UTC().Format(layout),
			strings.ReplaceAll(oneLine(e.What, 40), "_", " "), oneLine(e.Text, 300)})
	}
	for _, o := range r.Outputs {
		rows := Count(o.Rows)
		if o.Rows == 0 && (o.Format == "json" || o.Format == "html") {
			rows = "–"
		}
		p.Outputs = append(p.Outputs, outputView{oneLine(o.Name, 200), rows, Bytes(o.Bytes), oneLine(o.SHA256, 80)})
	}
	half := len(p.Below)
	for _, c := range p.Above {
		if !c.Wide {
			half++
		}
	}
	for _, there := range []bool{len(p.Plan) > 0, p.Evaluation != nil, len(p.Timeline) > 0} {
		if there {
			half++
		}
	}
	p.NextWide = half%2 == 0
	p.Facts = facts(r)
	return p
}

func subtitle(r Run) []string {
	var s []string
	if m := oneLine(strings.Trim(r.Provider+" / "+r.Model, " /"), 120); m != "" {
		s = append(s, m)
	}
	if !r.StartedAt.IsZero() {
		s = append(s, stamp(r.StartedAt))
	}
	if e := r.elapsed(); e > 0 {
		s = append(s, "took "+Duration(e))
	}
	return s
}

func tiles(r Run) []tile {
	i := r.Items
	t := []tile{{"Items ok", Count(i.OK), []string{"of " + Count(i.Total)}}}
	if i.Copies+i.Cached > 0 {
		t[0].Notes = append(t[0].Notes, fmt.Sprintf("%s not paid again", Count(i.Copies+i.Cached)))
	}
	failed := tile{"Failed", Count(i.Failed), []string{Share(i.Failed, i.Total) + " of all"}}
	if i.Skipped > 0 {
		failed.Notes = append(failed.Notes, Count(i.Skipped)+" skipped")
	}
	cost := tile{"Cost", USD(r.Cost.Total()), nil}
	if r.unpriced() {
		cost = tile{"Cost", "–", []string{"no price is known"}}
	}
	if r.Cost.AtRisk > 0 {
		cost.Notes = append(cost.Notes, USD(r.Cost.AtRisk)+" of it at risk")
	}
	if b := r.Budget.Pico; b != money.Unlimited && b > 0 {
		cost.Notes = append(cost.Notes, fmt.Sprintf("%s of %s", Share(int64(r.Cost.Total()), b), USD(money.PicoUSD(b))))
	}
	if len(cost.Notes) == 0 && i.OK > 0 && r.Cost.Total() > 0 {
		cost.Notes = append(cost.Notes, USD(r.Cost.Total()/money.PicoUSD(i.OK))+" an item")
	}
	tokens := tile{"Tokens", Count(r.Tokens.Total), []string{fmt.Sprintf("%s in · %s out", Short(r.Tokens.Input), Short(r.Tokens.Output))}}
	calls := tile{"Calls", Count(r.Attempts), []string{"retries: " + Count(r.Retries)}}
	if r.ExtraCalls > 0 {
		calls.Notes = append(calls.Notes, Count(r.ExtraCalls)+" of unknown fate")
	}
	took := tile{"Time", "–", nil}
	if e := r.elapsed(); e > 0 {
		took.Value = Duration(e)
	}
	if s := r.elapsed().Milliseconds(); s > 0 && i.Done() > 0 {
		took.Notes = append(took.Notes, rate(i.Done(), s)+" items/s")
	}
	return append(t, failed, cost, tokens, calls, took)
}

// rate writes n per ms as a number a second with one decimal below 100.
func rate(n, ms int64) string {
	tenths := scale(n, 10_000, ms)
	if tenths >= 1000 {
		return Count(tenths / 10)
	}
	return fmt.Sprintf("%d.%d", tenths/10, tenths%10)
}

// itemBar is the whole run in one stripe, with words beside every colour.
func itemBar(i Items) (template.HTML, []legend) {
	if i.Total <= 0 {
		return "", nil
	}
	var b strings.Builder
	b.WriteString(`<svg class="bar-all" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">`)
	var out []legend
	x := int64(0)
	for _, part := range []struct {
		n    int64
		look string
		l    legend
	}{
		{i.OK, "i-ok", legend{ToneOK, "✓", "", "ok"}},
		{i.Failed, "i-failed", legend{ToneFailed, "✗", "", "failed"}},
		{i.Skipped, "i-skipped", legend{TonePartial, "⊘", "", "skipped"}},
		{i.Pending, "i-pending", legend{ToneQuiet, "○", "", "left"}},
	} {
		if part.n <= 0 && part.l.Word != "ok" && part.l.Word != "failed" {
			continue
		}
		w := scale(part.n, 10_000, i.Total)
		if part.n > 0 {
			w = max(w, 30) // one item of a million is still to be seen
		}
		w = min(w, 10_000-x)
		if w > 0 {
			fmt.Fprintf(&b, `<rect class="%s" x="%s" y="0" width="%s" height="10"/>`, part.look, px(x), px(w))
		}
		x += w
		part.l.Count = Count(part.n)
		out = append(out, part.l)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()), out //nolint:gosec // numbers only
}

func clean(examples []Example) []Example {
	out := make([]Example, 0, len(examples))
	for _, e := range examples {
		out = append(out, Example{oneLine(e.ID, 128), oneLine(e.Message, 2*maxMessage)})
	}
	return out
}

func evaluationOf(e *Evaluation) *evaluationView {
	if e == nil || e.Compared == 0 {
		return nil
	}
	v := &evaluationView{Sentence: evaluationSentence(e)}
	for _, c := range e.Confusions {
		v.Confusions = append(v.Confusions, confusion{oneLine(c.Expected, 80), oneLine(c.Got, 80), Count(c.Count)})
	}
	for _, l := range e.Labels {
		v.Labels = append(v.Labels, labelView{oneLine(l.Label, 80), Count(l.Expected), Count(l.Right),
			shareOrDash(l.Right, l.Expected), shareOrDash(l.Right, l.Answered)})
	}
	return v
}

func evaluationSentence(e *Evaluation) string {
	s := fmt.Sprintf("%s right: %s of %s answers match", Share(e.Right, e.Compared), Count(e.Right), Count(e.Compared))
	if e.Field != "" {
		s += " the field " + oneLine(e.Field, 80)
	}
	if len(e.Confusions) > 0 {
		s += ". Most often confused:"
		return s
	}
	return s + "."
}

func shareOrDash(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return Share(part, whole)
}

func facts(r Run) []fact {
	all := []fact{
		{"Spec", r.SpecDigest}, {"Manifest", r.ManifestDigest}, {"Prices", r.PriceVersion},
		{"Started", stamp(r.StartedAt)}, {"Ended", stamp(r.EndedAt)},
	}
	out := all[:0]
	for _, f := range all {
		if f.Value != "" && f.Value != "–" {
			out = append(out, fact{f.Name, oneLine(f.Value, 200)})
		}
	}
	return out
}
