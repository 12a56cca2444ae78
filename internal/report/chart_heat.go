package report

import (
	"fmt"
	"math/bits"
	"strconv"

	"github.com/batchwright/batchwright/internal/batch"
)

const (
	heatW      = 1060
	heatLabel  = int64(1400) // tenths of a pixel for the name of a class
	heatTotals = int64(1800)
	heatRow    = int64(280)
	heatTop    = int64(60)
	maxClasses = 12
	otherClass = batch.Class("other")
)

type heatLine struct {
	classTotal
	cells []ClassCount
}

// heatmap draws errors by class and time: a number in every cell with room for
// it, a corner where an item was lost for good, blank where nothing happened.
func heatmap(r Run) (Chart, bool) {
	rows := heatRows(r.Series)
	if len(rows) == 0 {
		return Chart{}, false
	}
	c := Chart{ID: "errors", Title: "Errors by class and time", Wide: true, Note: heatNote(r, rows)}
	n := int64(len(r.Series))
	w := min((int64(heatW)*10-heatLabel-heatTotals)/n, 520)
	h := heatTop + int64(len(rows))*heatRow + 280
	d := newDrawing("errors", c.Title, c.Note, heatW, int(h/10))
	top := int64(1)
	for _, row := range rows {
		for _, cell := range row.cells {
			top = max(top, cell.Count)
		}
	}
	for i, row := range rows {
		y := heatTop + int64(i)*heatRow
		d.text("rowname s", 0, y+180, oneLine(className(row.class), 18))
		d.line("grid", heatLabel, y+heatRow-10, heatLabel+n*w, y+heatRow-10)
		for k, cell := range row.cells {
			drawCell(d, cell, top, heatLabel+int64(k)*w, y, w)
		}
		d.text("rowsum s", heatLabel+n*w+120, y+180, fate(row.ClassCount))
	}
	drawTimes(d, r.Series, w, h-90)
	c.SVG = d.done()
	c.Key = []KeyEntry{{"k-heat", "few → many (log scale)"}, {"k-final", "a corner: at least one item failed for good"}}
	c.Head = []string{"From"}
	for _, row := range rows {
		c.Head = append(c.Head, className(row.class))
	}
	for k, b := range r.Series {
		line := []string{stamp(b.Start)}
		for _, row := range rows {
			line = append(line, fateCell(row.cells[k]))
		}
		c.Rows = append(c.Rows, line)
	}
	return c, true
}

func drawCell(d *drawing, cell ClassCount, top, x, y, w int64) {
	if cell.Count == 0 {
		return
	}
	level := strconv.Itoa(heatLevel(cell.Count, top))
	size := heatRow - 30
	d.rect("h h"+level, x+5, y, w-10, size)
	if cell.Final > 0 {
		arm := min(int64(60), w-20)
		fmt.Fprintf(&d.b, `<polygon class="corner t%s" points="%s"/>`, level,
			joinPoints([]point{{x + w - 5 - arm, y}, {x + w - 5, y}, {x + w - 5, y + arm}}))
	}
	if s := Short(cell.Count); w >= 180 && int64(len(s))*72+30 <= w {
		d.text("cell m t"+level, x+w/2, y+170, s)
	}
}

// heatLevel is 1 to 7 on a log scale.
func heatLevel(n, top int64) int {
	most := bits.Len64(uint64(top)) - 1
	if most == 0 {
		return 1
	}
	return 1 + 6*(bits.Len64(uint64(n))-1)/most
}

func heatRows(series []Bucket) []heatLine {
	totals := classTotals(series)
	if len(totals) == 0 {
		return nil
	}
	rows := make([]heatLine, 0, maxClasses+1)
	place := map[batch.Class]int{}
	for i, t := range totals {
		if i < maxClasses {
			place[t.class] = i
			rows = append(rows, heatLine{t, make([]ClassCount, len(series))})
			continue
		}
		if i == maxClasses {
			rows = append(rows, heatLine{classTotal{class: otherClass}, make([]ClassCount, len(series))})
		}
		place[t.class] = maxClasses
		rows[maxClasses].Count += t.Count
		rows[maxClasses].Final += t.Final
	}
	for k, b := range series {
		for class, n := range b.ByClass {
			cell := &rows[place[class]].cells[k]
			cell.Count += n.Count
			cell.Final += n.Final
		}
	}
	return rows
}

// fate says in words what became of a class's attempts.
func fate(n ClassCount) string {
	again := n.Count - n.Final
	switch {
	case n.Final == 0:
		return Count(again) + " ↻ tried again"
	case again == 0:
		return Count(n.Final) + " ✗ final"
	}
	return fmt.Sprintf("%s ✗ final · %s ↻", Count(n.Final), Count(again))
}

func fateCell(n ClassCount) string {
	switch {
	case n.Count == 0:
		return ""
	case n.Final == 0:
		return Count(n.Count)
	}
	return fmt.Sprintf("%s (%s final)", Count(n.Count), Count(n.Final))
}

// drawTimes writes times under the columns, as many as have room.
func drawTimes(d *drawing, s []Bucket, w, y int64) {
	layout := clockLayout(span(s))
	room := int64(len(layout))*80 + 200
	every := max(int64(1), (room+w-1)/w)
	for k := int64(0); k < int64(len(s)); k += every {
		d.text("tick s", heatLabel+k*w+5, y, s[k].Start.UTC().Format(layout))
	}
}

func heatNote(r Run, rows []heatLine) string {
	sum := ClassCount{}
	for _, row := range rows {
		sum.Count += row.Count
		sum.Final += row.Final
	}
	verb := "were"
	if sum.Count == 1 {
		verb = "was"
	}
	n := fmt.Sprintf("%s did not succeed: %s final, %s %s tried again. One column is %s, from %s",
		plural(sum.Count, "attempt"), Count(sum.Final), Count(sum.Count-sum.Final), verb, bucketWidth(r.Series), stamp(r.Series[0].Start))
	if top := rows[0]; top.Final > 0 && steady(top.cells) {
		n += fmt.Sprintf(". %s is steady over the run: look at the prompt or the schema, not at the load", className(top.class))
	}
	return n + "."
}

// steady reports whether an error shows in most columns of a long enough run,
// never far above its mean: a cause that does not depend on load.
func steady(cells []ClassCount) bool {
	filled, sum, most := int64(0), int64(0), int64(0)
	for _, c := range cells {
		if c.Count > 0 {
			filled++
		}
		sum += c.Count
		most = max(most, c.Count)
	}
	n := int64(len(cells))
	return n >= 6 && filled*10 >= n*8 && most*n <= sum*3
}
