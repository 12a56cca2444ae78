package budget

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must load on machines without a zone database

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

const (
	maxBytes   = 1 << 20
	maxDepth   = 16
	maxBudgets = 200
)

var (
	name  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	whole = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)
)

// Read parses a config. Its error is of Kind Config, names the first mistake's
// place, and counts the others. An empty file shares nothing.
func Read(file string, src []byte) (Config, error) {
	r := &reader{file: file, c: Config{File: file}}
	if root := r.load(src); root != nil {
		r.top(root)
	}
	if len(r.wrong) == 0 {
		return r.c, nil
	}
	slices.SortStableFunc(r.wrong, func(a, b mistake) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.col - b.col
	})
	w := r.wrong[0]
	msg := w.msg
	if more := len(r.wrong) - 1; more > 0 {
		msg += fmt.Sprintf(" (and %d more)", more)
	}
	return Config{}, &batch.Error{Kind: batch.Config, Op: "read config", Ref: fmt.Sprintf("%s:%d:%d", file, w.line, w.col), Msg: msg, Hint: w.hint}
}

type mistake struct {
	line, col int
	msg, hint string
}

type reader struct {
	file  string
	c     Config
	wrong []mistake
}

func (r *reader) add(n *yaml.Node, hint, format string, args ...any) {
	r.wrong = append(r.wrong, mistake{n.Line, n.Column, fmt.Sprintf(format, args...), hint})
}

// load is the root of the one document, or nil.
func (r *reader) load(src []byte) *yaml.Node {
	first := &yaml.Node{Line: 1, Column: 1}
	if len(src) > maxBytes {
		r.add(first, "", "the file has %d bytes; the most is %d", len(src), maxBytes)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(src), yaml.WithV4Defaults(), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(4*maxDepth))))
	if err != nil {
		r.add(first, "", "the file cannot be read as YAML")
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		r.syntax(err)
		return nil
	}
	if err := loader.Load(&second); err == nil {
		r.add(&second, "delete the --- line", "a second YAML document begins here")
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" {
		return nil
	}
	if !r.walk(doc.Content[0], 1) {
		return nil
	}
	return doc.Content[0]
}

func (r *reader) syntax(err error) {
	n, msg := &yaml.Node{Line: 1, Column: 1}, "the file cannot be read as YAML"
	if le, ok := errors.AsType[*yaml.LoadError](err); ok {
		n.Line, n.Column = max(le.Mark.Line, 1), max(le.Mark.Column, 1)
		msg = "not YAML: " + strings.Join(strings.Fields(le.Message), " ")
	}
	r.add(n, "check the indent and the quotes of this line and the one above", "%s", msg)
}

// walk refuses what no file of ours has: aliases, anchors, tags, merge keys and
// keys that stand twice.
func (r *reader) walk(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxDepth:
		r.add(n, "", "mappings and lists stand more than %d deep in each other", maxDepth)
		return false
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.add(n, "write the value out", "a YAML anchor or alias; a config has none")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.add(n, "delete the tag", "a YAML tag; a config has none")
		return false
	}
	ok := true
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			switch {
			case c.Kind != yaml.ScalarNode || c.Tag == "!!merge" || c.Tag == "!!null":
				r.add(c, "", "a key must be plain text")
				ok = false
			case seen[c.Value]:
				r.add(c, "keep one of the two", "the key %q is there twice", c.Value)
				ok = false
			}
			seen[c.Value] = true
		}
		ok = r.walk(c, depth+1) && ok
	}
	return ok
}

// keys visits the keys of a mapping and reports those it does not know.
func (r *reader) keys(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.add(n, "write its keys below it", "%s must be a mapping of keys", what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		f := known[k.Value]
		switch {
		case f == nil:
			r.add(k, hintKeys(k.Value, known), "%s has no key %q", what, k.Value)
		case v.Kind == yaml.ScalarNode && (v.Tag == "!!null" || v.Value == ""):
			r.add(k, "write a value, or delete the key", "%s has no value", k.Value)
		default:
			f(v)
		}
	}
}

func hintKeys(got string, known map[string]func(*yaml.Node)) string {
	all := make([]string, 0, len(known))
	for k := range known {
		all = append(all, k)
	}
	slices.Sort(all)
	hint := "the keys are " + strings.Join(all, ", ")
	for _, k := range all {
		if len(got) > 2 && (strings.HasPrefix(k, got[:2]) || strings.HasSuffix(k, got[len(got)-2:])) {
			return "did you mean " + k + "? " + hint
		}
	}
	return hint
}

func (r *reader) top(root *yaml.Node) {
	r.keys(root, "config.yaml", map[string]func(*yaml.Node){
		"keys": func(*yaml.Node) {}, // another reader's
		"budgets": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				r.add(n, "begin each with \"- name:\"", "budgets must be a list")
				return
			}
			if len(n.Content) > maxBudgets {
				r.add(n, "", "there are %d budgets; the most is %d", len(n.Content), maxBudgets)
				return
			}
			for _, el := range n.Content {
				r.budget(el)
			}
		},
	})
}

func (r *reader) budget(n *yaml.Node) {
	b := Budget{Budget: batch.Budget{Limit: money.NoLimit}, Ref: fmt.Sprintf("%s:%d:%d", r.file, n.Line, n.Column)}
	at := map[string]*yaml.Node{}
	keep := func(key string, f func(*yaml.Node)) func(*yaml.Node) {
		return func(n *yaml.Node) { at[key] = n; f(n) }
	}
	before := len(r.wrong)
	r.keys(n, "a budget", map[string]func(*yaml.Node){
		"name": keep("name", func(n *yaml.Node) { b.Name = r.name(n) }),
		"per": keep("per", func(n *yaml.Node) {
			if b.PerJob = n.Value == "job"; !b.PerJob {
				r.add(n, "write per: job, or leave it out for one counter for all", "per %q is not known", n.Value)
			}
		}),
		"period":   keep("period", func(n *yaml.Node) { b.Period = r.period(n) }),
		"timezone": keep("timezone", func(n *yaml.Node) { b.Zone = r.zone(n) }),
		"tokens":   keep("tokens", func(n *yaml.Node) { b.Limit.Tokens = r.tokens(n) }),
		"usd":      keep("usd", func(n *yaml.Node) { b.Limit.Pico = r.usd(n) }),
		"match":    keep("match", func(n *yaml.Node) { r.match(n, &b) }),
	})
	if n.Kind != yaml.MappingNode || len(r.wrong) > before {
		return
	}
	r.whole(n, b, at)
}

// whole judges what must go together, and takes the budget.
func (r *reader) whole(n *yaml.Node, b Budget, at map[string]*yaml.Node) {
	const zones = "add a name of the tz database, such as timezone: Europe/Berlin"
	switch {
	case at["name"] == nil:
		r.add(n, "add name: my-budget", "a budget has no name")
	case at["period"] == nil:
		r.add(n, "add period: day, week, month or total", "budget %s has no period", b.Name)
	case b.Period != batch.PeriodTotal && at["timezone"] == nil:
		r.add(at["period"], zones, "budget %s counts by %s and does not say in which timezone", b.Name, b.Period)
	case b.Period == batch.PeriodTotal && at["timezone"] != nil:
		r.add(at["timezone"], "delete it", "budget %s never begins anew, so a timezone means nothing", b.Name)
	case at["tokens"] == nil && at["usd"] == nil:
		r.add(n, "add tokens: or usd:", "budget %s limits nothing", b.Name)
	case slices.ContainsFunc(r.c.Budgets, func(o Budget) bool { return o.Name == b.Name }):
		r.add(at["name"], "a budget's name is what its spend is kept under; choose another", "two budgets are named %s", b.Name)
	default:
		r.c.Budgets = append(r.c.Budgets, b)
	}
}

func (r *reader) name(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || !name.MatchString(n.Value) {
		r.add(n, "use 1 to 63 lower-case letters, digits, dots, dashes and underscores", "%q cannot name a budget", n.Value)
	}
	return n.Value
}

func (r *reader) period(n *yaml.Node) batch.Period {
	if !slices.Contains(batch.Periods(), batch.Period(n.Value)) {
		hint := "use day, week, month or total"
		if n.Value == "run" {
			hint = "a run's own budget stands in its spec: token_budget, budget.usd"
		}
		r.add(n, hint, "the period %q is not known", n.Value)
	}
	return batch.Period(n.Value)
}

func (r *reader) zone(n *yaml.Node) string {
	if _, err := time.LoadLocation(n.Value); err != nil || n.Value == "Local" || n.Kind != yaml.ScalarNode {
		r.add(n, "use a name of the tz database, such as UTC, Europe/Berlin or America/New_York", "%q is not a timezone", n.Value)
	}
	return n.Value
}

func (r *reader) tokens(n *yaml.Node) int64 {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || !whole.MatchString(n.Value) {
		r.add(n, "write a plain whole number: 5000000", "tokens is not a number of tokens")
		return money.Unlimited
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		r.add(n, "", "tokens is too large")
	}
	return v
}

func (r *reader) usd(n *yaml.Node) int64 {
	v, err := money.ParseUSD(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" {
		r.add(n, "write a decimal number of US dollars: 250 or 0.25", "usd is not an amount of US dollars")
		return money.Unlimited
	}
	return int64(v)
}

func (r *reader) match(n *yaml.Node, b *Budget) {
	r.keys(n, "match", map[string]func(*yaml.Node){
		"jobs": func(n *yaml.Node) {
			b.Jobs = r.texts(n, "jobs")
			r.patterns(n, b.Jobs)
		},
		"owners": func(n *yaml.Node) { b.Owners = r.texts(n, "owners") },
		"labels": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				r.add(n, "write labels: {team: support}", "labels must be a mapping")
				return
			}
			b.Labels = map[string]string{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				v := n.Content[i+1]
				if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
					r.add(v, "write its value, or \"*\" for any", "the label %s has no text", n.Content[i].Value)
					continue
				}
				b.Labels[n.Content[i].Value] = v.Value
				r.patterns(v, []string{v.Value})
			}
		},
	})
}

// texts is one text or a list of them.
func (r *reader) texts(n *yaml.Node, key string) []string {
	els := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		els = n.Content
	}
	var out []string
	for _, el := range els {
		if el.Kind != yaml.ScalarNode || el.Tag == "!!null" || el.Value == "" {
			r.add(el, "", "%s must be text, or a list of texts", key)
			continue
		}
		out = append(out, el.Value)
	}
	if len(els) == 0 {
		r.add(n, "delete the key for no condition", "%s is an empty list: nothing would match", key)
	}
	return out
}

func (r *reader) patterns(n *yaml.Node, ps []string) {
	for _, p := range ps {
		if _, err := path.Match(p, ""); err != nil {
			r.add(n, "* is any text, ? one character, [a-z] one of these", "%q is not a pattern", p)
		}
	}
}
