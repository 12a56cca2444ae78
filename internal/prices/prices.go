// Package prices says what a model costs. A dated table is compiled in; a
// user's own file (prices.yaml) is laid over it. A run freezes the card it
// started with, so neither ever changes a ledger.
package prices

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

//go:embed prices.csv
var builtin []byte

// maxFile bounds a user's file; the built-in table is a hundredth of it.
const maxFile = 4 << 20

// Table is the built-in prices with a user's own in front. It is immutable.
type Table struct {
	version string
	layers  []layer // the user's first
}

type layer struct {
	exact    map[key]entry
	prefixes map[string][]entry // by provider; Model without its '*'
}

type key struct{ provider, model string }

type entry struct {
	card          money.PriceCard
	submissionPct int64 // of the sync price
	cachedAsInput bool  // in the submission lane
	maxInput      int64
}

// Load returns the table. override is a user's prices.yaml, or nil: a YAML list
// whose entries have provider, model, input_usd_per_mtok, output_usd_per_mtok
// and, where they are known, cached_usd_per_mtok, cache_write_usd_per_mtok,
// tier_above_tokens with tier_input_usd_per_mtok and tier_output_usd_per_mtok,
// submission_percent, source, checked. Mistakes of the file are a *batch.Error
// of Kind Invalid with line and column.
func Load(override io.Reader) (*Table, error) {
	table, err := readBuiltin(builtin)
	if err != nil {
		return nil, err
	}
	t := &Table{version: version(builtin), layers: []layer{table}}
	if override == nil {
		return t, nil
	}
	file, err := io.ReadAll(io.LimitReader(override, maxFile+1))
	if err != nil {
		return nil, &batch.Error{Kind: batch.Unavailable, Op: "read prices", Err: err}
	}
	if len(file) > maxFile {
		return nil, &batch.Error{Kind: batch.Invalid, Ref: fileName, Msg: "file is larger than 4 MiB"}
	}
	own, err := readOverride(file)
	if err != nil {
		return nil, err
	}
	if len(own.exact)+len(own.prefixes) > 0 {
		t.layers = []layer{own, table}
		t.version += "+" + digest(file)
	}
	return t, nil
}

// Version names the table: the date of the built-in one and a digest of its
// bytes, and a digest of the user's file when there is one. It is recorded in
// every run.
func (t *Table) Version() string { return t.version }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:4])
}

func version(table []byte) string {
	line, _, _ := bytes.Cut(table, []byte("\n"))
	return strings.TrimPrefix(string(line), "# version ") + "." + digest(table)
}

// Lookup returns the price of a model. A user's entry wins over a built-in one;
// in each, the exact name comes first, then the model a dated snapshot belongs
// to (gpt-4o-2024-08-06 is gpt-4o), then the longest prefix. azure has the
// prices of openai, and openai_compatible those of whoever makes a model of
// that name; Source says so.
func (t *Table) Lookup(provider, model string) (money.PriceCard, bool) {
	e, ok := t.find(provider, model)
	return e.card, ok
}

// Submission returns the price of a model in the submission lane: the share of
// the sync price that the provider takes for it.
func (t *Table) Submission(provider, model string) (money.PriceCard, bool) {
	e, ok := t.find(provider, model)
	if !ok {
		return e.card, false
	}
	c, asInput := e.card, e.cachedAsInput
	cut := func(p money.PicoUSD) money.PicoUSD { // rounded up: never less than will be billed
		return (p*money.PicoUSD(e.submissionPct) + 99) / 100
	}
	c.In, c.Out, c.CacheRead, c.CacheWrite = cut(c.In), cut(c.Out), cut(c.CacheRead), cut(c.CacheWrite)
	c.TierIn, c.TierOut = cut(c.TierIn), cut(c.TierOut)
	if asInput {
		c.CacheRead = c.In
	}
	return c, true
}

// MaxInput is the largest input of a model in tokens, or 0 when not known.
func (t *Table) MaxInput(provider, model string) int64 {
	e, _ := t.find(provider, model)
	return e.maxInput
}

func (t *Table) find(provider, model string) (entry, bool) {
	for _, l := range t.layers {
		if e, ok := l.find(provider, model); ok {
			return e, true
		}
	}
	for _, other := range fallbacks(provider) {
		for _, l := range t.layers {
			if e, ok := l.find(other, bare(provider, model)); ok {
				e.card.Provider = provider
				e.card.Source = "list price of " + other + ": " + e.card.Source
				return e, true
			}
		}
	}
	return entry{}, false
}

func fallbacks(provider string) []string {
	switch provider {
	case "azure":
		return []string{"openai"}
	case "openai_compatible":
		return []string{"openai", "anthropic", "gemini", "mistral"}
	}
	return nil
}

// bare drops what routers and Azure put into a model's name.
func bare(provider, model string) string {
	if provider == "azure" {
		return strings.Replace(model, "gpt-35-", "gpt-3.5-", 1)
	}
	for _, p := range []string{"openai/", "anthropic/", "google/", "gemini/", "mistral/", "mistralai/"} {
		model = strings.TrimPrefix(model, p)
	}
	return model
}

// snapshot matches the end of a model's name that only dates it.
var snapshot = regexp.MustCompile(`(-latest|-20\d\d-\d\d-\d\d|[-@]20\d{6}|-00\d|-preview-\d\d-\d\d|-2[4-9](0[1-9]|1[0-2])|-(0[1-9]|1[0-2])[0-3]\d)$`)

func (l layer) find(provider, model string) (entry, bool) {
	if e, ok := l.exact[key{provider, model}]; ok {
		return e, true
	}
	for m := model; ; {
		cut := snapshot.ReplaceAllString(m, "")
		if cut == m || cut == "" {
			break
		}
		if e, ok := l.exact[key{provider, cut}]; ok {
			return e, true
		}
		m = cut
	}
	best, found := entry{}, -1
	for _, e := range l.prefixes[provider] {
		if p := strings.TrimSuffix(e.card.Model, "*"); strings.HasPrefix(model, p) && len(p) > found {
			best, found = e, len(p)
		}
	}
	return best, found >= 0
}

func (l *layer) add(e entry) bool {
	if strings.HasSuffix(e.card.Model, "*") {
		for _, o := range l.prefixes[e.card.Provider] {
			if o.card.Model == e.card.Model {
				return false
			}
		}
		l.prefixes[e.card.Provider] = append(l.prefixes[e.card.Provider], e)
		return true
	}
	k := key{e.card.Provider, e.card.Model}
	if _, dup := l.exact[k]; dup {
		return false
	}
	l.exact[k] = e
	return true
}

func newLayer() layer { return layer{map[key]entry{}, map[string][]entry{}} }

// readBuiltin reads the compiled-in table. An error is a fault of the program.
func readBuiltin(table []byte) (layer, error) {
	l := newLayer()
	r := csv.NewReader(bytes.NewReader(table))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		return l, fmt.Errorf("built-in prices: %w", err)
	}
	for _, row := range rows[1:] {
		e, err := fromRow(row)
		if err == nil && !l.add(e) {
			err = fmt.Errorf("is there twice")
		}
		if err != nil {
			return l, fmt.Errorf("built-in prices: %s/%s: %w", row[0], row[1], err)
		}
	}
	return l, nil
}

func fromRow(row []string) (entry, error) {
	e := entry{card: money.PriceCard{Provider: row[0], Model: row[1], Source: row[12], Checked: row[13]}, cachedAsInput: row[10] == "input"}
	var err error
	amount := func(s string) money.PicoUSD {
		p, bad := perToken(s)
		if bad != nil && err == nil {
			err = bad
		}
		return p
	}
	count := func(s string) int64 {
		if s == "" {
			return 0
		}
		n, bad := strconv.ParseInt(s, 10, 64)
		if bad != nil && err == nil {
			err = bad
		}
		return n
	}
	c := &e.card
	c.In, c.Out, c.CacheRead, c.CacheWrite = amount(row[2]), amount(row[3]), amount(row[4]), amount(row[5])
	c.TierAt, c.TierIn, c.TierOut = count(row[6]), amount(row[7]), amount(row[8])
	e.submissionPct, e.maxInput = count(row[9]), count(row[11])
	return e, err
}

// mostPerMTok is far above any price and far below what arithmetic can hold.
const mostPerMTok = 100_000 * money.USD

// perToken turns US dollars per million tokens into pico-USD per token; "" is 0.
func perToken(s string) (money.PicoUSD, error) {
	if s == "" {
		return 0, nil
	}
	p, err := money.ParseUSD(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a price in US dollars per million tokens", s)
	case p > mostPerMTok:
		return 0, fmt.Errorf("%s is more than 100000 US dollars per million tokens", s)
	case p%1_000_000 != 0:
		return 0, fmt.Errorf("%s has more than 6 decimals", s)
	}
	return p / 1_000_000, nil
}

// MissingHint is what to add to prices.yaml for a model that has no price.
func MissingHint(provider, model string) string {
	return fmt.Sprintf(`add its price to %s:
- provider: %s
  model: %s
  input_usd_per_mtok: 0.00   # US dollars per million input tokens
  output_usd_per_mtok: 0.00  # US dollars per million output tokens`, fileName, scalar(provider), scalar(model))
}

// scalar quotes a name that YAML would not read as that text.
func scalar(s string) string {
	if plainName.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*[-_/.][A-Za-z0-9._/-]*$|^(openai|anthropic|gemini|mistral|groq|azure|sim|http)$`)
