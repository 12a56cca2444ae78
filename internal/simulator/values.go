package simulator

import (
	"fmt"
	"math"
	"strings"
)

var words = [...]string{
	"account", "after", "again", "amount", "answer", "asked", "before", "billing", "called", "cannot", "card", "charge",
	"claim", "clear", "closed", "contact", "credit", "customer", "date", "delay", "detail", "device", "each", "email",
	"error", "first", "found", "given", "group", "guide", "help", "item", "known", "later", "letter", "limit",
	"line", "local", "login", "match", "month", "note", "number", "offer", "open", "order", "other", "page",
	"paid", "plan", "price", "query", "reason", "refund", "reply", "report", "service", "should", "status", "support",
	"ticket", "today", "update", "value",
}

// prose appends n words that begin with the request's digest, so that an answer
// under the wrong item is seen.
func prose(b []byte, c *chance, d digest, n int) []byte {
	b = append(b, "Answer"...)
	if n > 1 {
		b = append(b, ' ')
		for _, x := range d[:4] {
			b = append(b, hexDigits[x>>4], hexDigits[x&15])
		}
		b = append(b, ':')
	}
	for i := 2; i < n; i++ {
		b = append(b, ' ')
		b = append(b, words[c.next()%uint64(len(words))]...)
	}
	return append(b, '.')
}

func number(m map[string]any, key string, otherwise float64) float64 {
	if x, ok := m[key].(float64); ok {
		return x
	}
	return otherwise
}

// bounds are the closed range that the schema of a number allows; step is the
// smallest difference for open ends.
func bounds(m map[string]any, step float64) (low, high float64) {
	low, high = math.Inf(-1), math.Inf(1)
	if x, ok := m["minimum"].(float64); ok {
		low = x
	}
	if x, ok := m["exclusiveMinimum"].(float64); ok {
		low = math.Max(low, x+step)
	}
	if x, ok := m["maximum"].(float64); ok {
		high = x
	}
	if x, ok := m["exclusiveMaximum"].(float64); ok {
		high = math.Min(high, x-step)
	}
	switch {
	case math.IsInf(low, -1) && math.IsInf(high, 1):
		return 0, 100
	case math.IsInf(low, -1):
		return high - 100, high
	case math.IsInf(high, 1):
		return low, low + 100
	}
	return low, high
}

func wholeNumber(c *chance, m map[string]any) int64 {
	low, high := bounds(m, 1)
	step := math.Max(1, number(m, "multipleOf", 1))
	first, last := math.Ceil(low/step), math.Floor(high/step)
	if last < first {
		return int64(first * step)
	}
	return int64((first + float64(c.below(int(math.Min(last-first, 1e9))+1))) * step)
}

func realNumber(c *chance, m map[string]any) float64 {
	low, high := bounds(m, 1e-6)
	if step := number(m, "multipleOf", 0); step > 0 {
		first, last := math.Ceil(low/step), math.Floor(high/step)
		return (first + float64(c.below(int(math.Max(0, math.Min(last-first, 1e9)))+1))) * step
	}
	x := low + c.float()*(high-low)
	if short := math.Round(x*100) / 100; short >= low && short <= high {
		return short
	}
	return x
}

func stringValue(b []byte, c *chance, m map[string]any) []byte {
	format, _ := m["format"].(string)
	switch format {
	case "date":
		return fmt.Appendf(b, `"2026-%02d-%02d"`, 1+c.below(12), 1+c.below(28))
	case "date-time":
		return fmt.Appendf(b, `"2026-%02d-%02dT%02d:00:00Z"`, 1+c.below(12), 1+c.below(28), c.below(24))
	case "time":
		return fmt.Appendf(b, `"%02d:%02d:00Z"`, c.below(24), c.below(60))
	case "email":
		return fmt.Appendf(b, `"%s@example.com"`, words[c.below(len(words))])
	case "uri", "url":
		return fmt.Appendf(b, `"https://example.com/%s"`, words[c.below(len(words))])
	case "uuid":
		x, y := c.next(), c.next()
		return fmt.Appendf(b, `"%08x-%04x-4%03x-a%03x-%012x"`, x>>32, x>>16&0xffff, x&0xfff, y>>48&0xfff, y&0xffffffffffff)
	}
	least := int(number(m, "minLength", 0))
	most := int(number(m, "maxLength", float64(least+40)))
	var s strings.Builder
	for n := 1 + c.below(4); n > 0 || s.Len() < least; n-- {
		if s.Len() > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(words[c.below(len(words))])
	}
	text := s.String()
	if len(text) > most {
		text = text[:max(most, 0)]
	}
	return appendString(b, text)
}
