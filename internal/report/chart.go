package report

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// Chart is one picture drawn once, with the table that says the same.
type Chart struct {
	ID    string
	Title string
	Note  string // what to see in it, in a sentence
	SVG   template.HTML
	Key   []KeyEntry
	Head  []string
	Rows  [][]string
	Wide  bool // takes the whole width of a page and scrolls on a small one
}

// KeyEntry explains one line of a chart; Style is a class of the stylesheet.
type KeyEntry struct{ Style, Text string }

// Charts are the pictures of a run that have something to show, in order.
func Charts(r Run) []Chart {
	var out []Chart
	for _, draw := range []func(Run) (Chart, bool){costChart, tokenChart, heatmap, latencyChart} {
		if c, ok := draw(r); ok {
			out = append(out, c)
		}
	}
	return out
}

// drawing writes SVG. Coordinates are tenths of a pixel, whole numbers, so that
// every machine draws the same bytes. Looks come from classes: the page's
// policy allows no style attribute.
type drawing struct{ b strings.Builder }

func newDrawing(id, title, desc string, w, h int) *drawing {
	d := &drawing{}
	fmt.Fprintf(&d.b, `<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d" class="chart c-%s">`, w, h, id, id, id)
	fmt.Fprintf(&d.b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>`, id, html.EscapeString(title), id, html.EscapeString(desc))
	return d
}

func (d *drawing) done() template.HTML {
	d.b.WriteString(`</svg>`)
	return template.HTML(d.b.String()) //nolint:gosec // every text in it went through html.EscapeString
}

func px(t int64) string {
	if t%10 == 0 {
		return strconv.FormatInt(t/10, 10)
	}
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	return fmt.Sprintf("%s%d.%d", sign, t/10, t%10)
}

func (d *drawing) line(class string, x1, y1, x2, y2 int64) {
	fmt.Fprintf(&d.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, px(x1), px(y1), px(x2), px(y2))
}

func (d *drawing) rect(class string, x, y, w, h int64) {
	fmt.Fprintf(&d.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, px(x), px(y), px(w), px(h))
}

func (d *drawing) circle(class string, x, y, r int64) {
	fmt.Fprintf(&d.b, `<circle class="%s" cx="%s" cy="%s" r="%s"/>`, class, px(x), px(y), px(r))
}

// text writes one line; class says the anchor, too (s, m or e).
func (d *drawing) text(class string, x, y int64, s string) {
	fmt.Fprintf(&d.b, `<text class="%s" x="%s" y="%s">%s</text>`, class, px(x), px(y), html.EscapeString(s))
}

type point struct{ x, y int64 }

func (d *drawing) poly(class string, pts []point) {
	fmt.Fprintf(&d.b, `<polyline class="%s" points="%s"/>`, class, joinPoints(pts))
}

// area fills between the points and the line y = base.
func (d *drawing) area(class string, pts []point, base int64) {
	if len(pts) == 0 {
		return
	}
	closed := append([]point{{pts[0].x, base}}, pts...)
	closed = append(closed, point{pts[len(pts)-1].x, base})
	fmt.Fprintf(&d.b, `<polygon class="%s" points="%s"/>`, class, joinPoints(closed))
}

func joinPoints(pts []point) string {
	var b strings.Builder
	for i, p := range pts {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(px(p.x) + "," + px(p.y))
	}
	return b.String()
}

// The plot of a half-width chart, in tenths of a pixel.
const (
	halfW, halfH        = 520, 236
	plotL, plotR        = int64(0), int64(5150)
	plotTop, plotBottom = int64(300), int64(2060)
)

// axes maps values to the plot: x from 0 to spanMS, y from 0 to top.
type axes struct{ spanMS, top int64 }

func (a axes) x(ms int64) int64 {
	return plotL + min(scale(ms, plotR-plotL, max(a.spanMS, 1)), plotR-plotL)
}

func (a axes) y(v int64) int64 { return plotBottom - scale(v, plotBottom-plotTop, max(a.top, 1)) }

// grid draws three lines with their values above them, and times below.
func (a axes) grid(d *drawing, start time.Time, write func(int64) string) {
	for i := range int64(3) {
		v := a.top / 2 * i
		if i == 2 {
			v = a.top
		}
		d.line("grid", plotL, a.y(v), plotR, a.y(v))
		if i > 0 {
			d.text("tick s", plotL, a.y(v)-50, write(v))
		}
	}
	layout := clockLayout(a.spanMS)
	at := func(ms int64) string { return start.Add(time.Duration(ms) * time.Millisecond).UTC().Format(layout) }
	d.text("tick s", plotL, plotBottom+200, at(0))
	d.text("tick m", (plotL+plotR)/2, plotBottom+200, at(a.spanMS/2))
	d.text("tick e", plotR, plotBottom+200, at(a.spanMS))
}

func clockLayout(spanMS int64) string {
	switch {
	case spanMS < 10*60_000:
		return "15:04:05"
	case spanMS < 36*3_600_000:
		return "15:04"
	}
	return "Jan 2 15:04"
}

// roundTop is the next number at or above v whose half is easy to read, too.
func roundTop(v int64) int64 {
	if v <= 10 {
		return max(v+v%2, 2)
	}
	unit := int64(1)
	for v/unit >= 100 && unit <= 1e16 {
		unit *= 10
	}
	for _, m := range []int64{10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100} {
		if m*unit >= v {
			return m * unit
		}
	}
	return v
}

// span is how long the series covers, in milliseconds.
func span(s []Bucket) int64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].End().Sub(s[0].Start).Milliseconds()
}
