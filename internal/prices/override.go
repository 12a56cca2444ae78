package prices

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

const fileName = "prices.yaml"

// fields of an entry, in the order they are shown to people.
var fields = []string{"provider", "model", "input_usd_per_mtok", "output_usd_per_mtok", "cached_usd_per_mtok",
	"cache_write_usd_per_mtok", "tier_above_tokens", "tier_input_usd_per_mtok", "tier_output_usd_per_mtok",
	"submission_percent", "source", "checked"}

var date = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)

func wrong(n *yaml.Node, hint, format string, args ...any) error {
	ref := fileName
	if n != nil {
		ref = fmt.Sprintf("%s:%d:%d", fileName, n.Line, n.Column)
	}
	return &batch.Error{Kind: batch.Invalid, Ref: ref, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func readOverride(file []byte) (layer, error) {
	l := newLayer()
	var doc yaml.Node
	if err := yaml.Unmarshal(file, &doc); err != nil {
		return l, wrong(nil, "", "not YAML: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if len(doc.Content) == 0 {
		return l, nil // an empty file changes nothing
	}
	list := doc.Content[0]
	if list.Kind != yaml.SequenceNode {
		return l, wrong(list, "begin every entry with \"- provider:\"", "the file must be a list of prices")
	}
	for _, n := range list.Content {
		e, err := readEntry(n)
		if err != nil {
			return l, err
		}
		if !l.add(e) {
			return l, wrong(n, "keep one of them", "%s/%s is there twice", e.card.Provider, e.card.Model)
		}
	}
	return l, nil
}

// values is one entry as text, with the place of each value.
type values map[string]*yaml.Node

func readEntry(n *yaml.Node) (entry, error) {
	e := entry{submissionPct: 100}
	if n.Kind != yaml.MappingNode {
		return e, wrong(n, "write provider, model and prices as key: value", "an entry must be a mapping")
	}
	v := values{}
	for i := 0; i < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(fields, k.Value):
			return e, wrong(k, "the keys are "+strings.Join(fields, ", "), "unknown key %q", k.Value)
		case v[k.Value] != nil:
			return e, wrong(k, "", "key %q is there twice", k.Value)
		case val.Kind != yaml.ScalarNode || val.Tag == "!!null" || val.Anchor != "" || val.Value == "":
			return e, wrong(val, "", "%s must have a plain value", k.Value)
		}
		v[k.Value] = val
	}
	for _, k := range fields[:4] {
		if v[k] == nil {
			return e, wrong(n, "", "%s is missing", k)
		}
	}
	return e, v.fill(&e, n)
}

func (v values) fill(e *entry, n *yaml.Node) error {
	c := &e.card
	c.Provider, c.Model = v["provider"].Value, v["model"].Value
	c.Source = fileName
	if i := strings.IndexByte(c.Model, '*'); i >= 0 && i != len(c.Model)-1 {
		return wrong(v["model"], "", "a star may only stand at the end of a model")
	}
	for _, x := range []struct {
		key string
		set func(p money.PicoUSD)
	}{
		{"input_usd_per_mtok", func(p money.PicoUSD) { c.In = p }},
		{"output_usd_per_mtok", func(p money.PicoUSD) { c.Out = p }},
		{"cached_usd_per_mtok", func(p money.PicoUSD) { c.CacheRead = p }},
		{"cache_write_usd_per_mtok", func(p money.PicoUSD) { c.CacheWrite = p }},
		{"tier_input_usd_per_mtok", func(p money.PicoUSD) { c.TierIn = p }},
		{"tier_output_usd_per_mtok", func(p money.PicoUSD) { c.TierOut = p }},
	} {
		if val := v[x.key]; val != nil {
			p, err := perToken(val.Value)
			if err != nil {
				return wrong(val, "write it as 0.15", "%s: %v", x.key, err)
			}
			x.set(p)
		}
	}
	for _, x := range []struct {
		key         string
		least, most int64
		to          *int64
	}{{"tier_above_tokens", 1, 1 << 40, &c.TierAt}, {"submission_percent", 1, 100, &e.submissionPct}} {
		if val := v[x.key]; val != nil {
			i, err := strconv.ParseInt(val.Value, 10, 64)
			if err != nil || i < x.least || i > x.most {
				return wrong(val, "", "%s must be a whole number between %d and %d", x.key, x.least, x.most)
			}
			*x.to = i
		}
	}
	if val := v["source"]; val != nil {
		c.Source = val.Value
	}
	if val := v["checked"]; val != nil {
		if !date.MatchString(val.Value) {
			return wrong(val, "", "checked must be a date: 2026-11-23")
		}
		c.Checked = val.Value
	}
	return v.sane(e, n)
}

// sane refuses prices that can only be a slip of the pen, since a budget in US
// dollars rests on them.
func (v values) sane(e *entry, n *yaml.Node) error {
	c := e.card
	tiers := 0
	for _, k := range []string{"tier_above_tokens", "tier_input_usd_per_mtok", "tier_output_usd_per_mtok"} {
		if v[k] != nil {
			tiers++
		}
	}
	switch {
	case tiers != 0 && tiers != 3:
		return wrong(n, "give tier_above_tokens, tier_input_usd_per_mtok and tier_output_usd_per_mtok together", "a tier is not complete")
	case tiers == 3 && (c.TierIn < c.In || c.TierOut < c.Out):
		return wrong(v["tier_above_tokens"], "", "a tier is cheaper than what stands below it")
	case tiers == 3 && c.In == 0:
		return wrong(v["tier_above_tokens"], "", "a tier needs an input price above 0")
	case c.CacheRead > c.In:
		return wrong(v["cached_usd_per_mtok"], "", "cached input is dearer than input")
	case v["cached_usd_per_mtok"] != nil && c.CacheRead == 0 && c.In > 0:
		return wrong(v["cached_usd_per_mtok"], "leave it out where cached input costs as input does", "cached input cannot be free")
	}
	return nil
}
