package report

import (
	"fmt"
	"strings"
)

// binStarts are the edges of the latency bars in microseconds.
func binStarts() []int64 {
	var out []int64
	for unit := int64(100); unit <= 1e11; unit *= 10 {
		for _, m := range []int64{10, 15, 20, 30, 50, 70} {
			out = append(out, m*unit/10)
		}
	}
	return out
}

// latencyChart draws how long accepted calls took.
func latencyChart(r Run) (Chart, bool) {
	h := r.Latency
	if h.Count() == 0 {
		return Chart{}, false
	}
	edges := latencyEdges(h)
	bars := make([]int64, len(edges)-1)
	top := int64(1)
	for i := range bars {
		from := edges[i]
		if i == 0 {
			from = 0
		}
		to := edges[i+1]
		if i == len(bars)-1 {
			to = 1 << octaves
		}
		bars[i] = h.Between(from, to)
		top = max(top, bars[i])
	}
	p50, p95, p99 := h.Quantile(500), h.Quantile(950), h.Quantile(990)
	c := Chart{ID: "latency", Title: "Latency of accepted calls", Head: []string{"From", "To", "Calls", "Share"},
		Note: fmt.Sprintf("p50 %s · p95 %s · p99 %s · slowest %s, over %s.", micros(p50), micros(p95), micros(p99), micros(h.Max()), plural(h.Count(), "call"))}
	d := newDrawing("latency", c.Title, c.Note, halfW, halfH)
	w := (plotR - plotL) / int64(len(bars))
	const barTop = plotTop + 360
	d.line("grid", plotL, plotBottom, plotR, plotBottom)
	labelled := int64(-10_000)
	for i, n := range bars {
		x := plotL + int64(i)*w
		if n > 0 {
			size := max(scale(n, plotBottom-barTop, top), 10)
			d.rect("bar", x+10, plotBottom-size, w-20, size)
		}
		if x-labelled >= 620 && int64(i) < int64(len(bars))-1 || i == 0 {
			d.text("tick s", x, plotBottom+200, edgeText(edges[i]))
			labelled = x
		}
		c.Rows = append(c.Rows, []string{edgeText(edges[i]), edgeText(edges[i+1]), Count(n), Share(n, h.Count())})
	}
	for i, q := range []struct {
		name string
		us   int64
	}{{"p50", p50}, {"p95", p95}, {"p99", p99}} {
		x, y := quantileX(edges, w, q.us), plotTop-120+int64(i)*150
		d.line("quantile", x, y+30, x, plotBottom)
		class, dx := "mark s", int64(50)
		if x > (plotL+plotR)*6/10 {
			class, dx = "mark e", -50
		}
		d.text(class, x+dx, y+100, q.name+" "+micros(q.us))
	}
	c.SVG = d.done()
	return c, true
}

// edgeText writes the edge of a bar: 500ms, 1s, 1.5s.
func edgeText(us int64) string { return strings.Replace(micros(us), ".0s", "s", 1) }

// latencyEdges trims the bars to what was seen, with at least eight of them.
func latencyEdges(h Histogram) []int64 {
	all := binStarts()
	lo, hi := 0, 1
	for lo+1 < len(all) && all[lo+1] <= h.low {
		lo++
	}
	for hi < len(all)-1 && all[hi] <= h.high {
		hi++
	}
	for hi-lo < 8 {
		if lo > 0 {
			lo--
		}
		if hi < len(all)-1 {
			hi++
		}
	}
	return all[lo : hi+1]
}

func quantileX(edges []int64, w, us int64) int64 {
	for i := range len(edges) - 1 {
		if us < edges[i+1] {
			return plotL + int64(i)*w + scale(max(us-edges[i], 0), w, edges[i+1]-edges[i])
		}
	}
	return plotL + int64(len(edges)-1)*w
}
