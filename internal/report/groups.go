package report

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

const (
	maxGroups   = 256 // kept apart while counting; the rest is folded per class
	topGroups   = 10
	maxExamples = 3
	maxMessage  = 160
	otherText   = "other messages"
)

type groupKey struct {
	class   batch.Class
	message string
}

// groups counts failed items by class and message. Its size is bounded however
// many messages a provider invents.
type groups struct{ byKey map[groupKey]*ErrorGroup }

func (g *groups) add(class batch.Class, id, message string) {
	if g.byKey == nil {
		g.byKey = map[groupKey]*ErrorGroup{}
	}
	k := groupKey{class, Normalise(message)}
	e := g.byKey[k]
	if e == nil && len(g.byKey) >= maxGroups {
		k.message = otherText
		e = g.byKey[k]
	}
	if e == nil {
		e = &ErrorGroup{Class: k.class, Message: k.message}
		g.byKey[k] = e
	}
	e.Count++
	if len(e.Examples) < maxExamples {
		e.Examples = append(e.Examples, Example{oneLine(id, 128), oneLine(message, 2*maxMessage)})
	}
}

// top returns the largest groups; those left out are folded into one per class.
func (g *groups) top() []ErrorGroup {
	all := make([]ErrorGroup, 0, len(g.byKey))
	for _, e := range g.byKey {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b ErrorGroup) int {
		return cmp.Or(compareDesc(a.Count, b.Count), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Message, b.Message))
	})
	if len(all) <= topGroups {
		return all
	}
	out, rest := slices.Clone(all[:topGroups]), map[batch.Class]*ErrorGroup{}
	var classes []batch.Class
	for _, e := range all[topGroups:] {
		into := rest[e.Class]
		if into == nil {
			e.Message = otherText
			rest[e.Class] = &e
			classes = append(classes, e.Class)
			continue
		}
		into.Count += e.Count
	}
	for _, c := range classes {
		out = append(out, *rest[c])
	}
	return out
}

var (
	quoted  = regexp.MustCompile("\"[^\"]*\"|'[^']{2,}'|`[^`]*`|“[^”]*”")
	numbers = regexp.MustCompile(`[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|\b[0-9A-Fa-f]{16,}\b|[0-9]+([.,:][0-9]+)*`)
	named   = regexp.MustCompile(`\b(req|msg|resp|chatcmpl|org|proj|item|batch)[-_][A-Za-z0-9_-]+`)
)

// Normalise takes from a message what differs between items with the same
// trouble: quoted text, numbers, ids. It never returns more than one short line.
func Normalise(message string) string {
	m := oneLine(message, 4*maxMessage)
	m = quoted.ReplaceAllString(m, "…")
	m = named.ReplaceAllString(m, "…")
	m = numbers.ReplaceAllString(m, "#")
	if m == "" {
		return "no message"
	}
	return oneLine(m, maxMessage)
}

// oneLine makes any text one line without control characters or invalid UTF-8,
// cut to at most n bytes and a mark.
func oneLine(s string, n int) string {
	cut := false
	if len(s) > 4*n {
		s, cut = s[:4*n], true
	}
	s = strings.ToValidUTF8(s, "�")
	s = strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
	s = strings.Map(func(r rune) rune {
		// Format characters can turn the order of a line around and hide what it says.
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	if len(s) <= n && !cut {
		return s
	}
	for n = min(n, len(s)); n > 0 && n < len(s) && !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n] + "…"
}
