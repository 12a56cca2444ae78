package report

import (
	"cmp"
	"slices"
)

const (
	maxLabels     = 256
	maxPairs      = 2048
	topConfusions = 10
	otherLabel    = "(other)"
)

// Evaluation compares answers with the labels that items carried.
type Evaluation struct {
	Field      string       `json:"field"`
	Compared   int64        `json:"compared"`
	Right      int64        `json:"right"`
	Labels     []LabelCount `json:"labels,omitempty"`     // by expected label, most frequent first
	Confusions []Confusion  `json:"confusions,omitempty"` // most frequent first
}

// LabelCount says how often a label was expected, answered, and both.
type LabelCount struct {
	Label    string `json:"label"`
	Expected int64  `json:"expected"`
	Answered int64  `json:"answered"`
	Right    int64  `json:"right"`
}

// Confusion is one label answered for another.
type Confusion struct {
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Count    int64  `json:"count"`
}

type scores struct {
	compared, right int64
	labels          map[string]*LabelCount
	pairs           map[[2]string]int64
}

func (s *scores) add(expected, got string, right bool) {
	if s.labels == nil {
		s.labels, s.pairs = map[string]*LabelCount{}, map[[2]string]int64{}
	}
	e := s.label(expected)
	g := e
	if !right {
		g = s.label(got)
	}
	s.compared++
	e.Expected++
	g.Answered++
	if right {
		s.right++
		e.Right++
		return
	}
	pair := [2]string{e.Label, g.Label}
	if _, known := s.pairs[pair]; !known && len(s.pairs) >= maxPairs {
		pair = [2]string{otherLabel, otherLabel}
	}
	s.pairs[pair]++
}

func (s *scores) label(name string) *LabelCount {
	name = oneLine(name, 80)
	l := s.labels[name]
	if l == nil && len(s.labels) >= maxLabels {
		name = otherLabel
		l = s.labels[name]
	}
	if l == nil {
		l = &LabelCount{Label: name}
		s.labels[name] = l
	}
	return l
}

func (s *scores) result(field string) *Evaluation {
	if s.compared == 0 {
		return nil
	}
	e := &Evaluation{Field: field, Compared: s.compared, Right: s.right}
	for _, l := range s.labels {
		e.Labels = append(e.Labels, *l)
	}
	slices.SortFunc(e.Labels, func(a, b LabelCount) int {
		return cmp.Or(compareDesc(a.Expected, b.Expected), cmp.Compare(a.Label, b.Label))
	})
	for p, n := range s.pairs {
		e.Confusions = append(e.Confusions, Confusion{p[0], p[1], n})
	}
	slices.SortFunc(e.Confusions, func(a, b Confusion) int {
		return cmp.Or(compareDesc(a.Count, b.Count), cmp.Compare(a.Expected, b.Expected), cmp.Compare(a.Got, b.Got))
	})
	e.Confusions = e.Confusions[:min(len(e.Confusions), topConfusions)]
	return e
}
