package sink

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/batchwright/batchwright/internal/batch"
)

// cellKind is the type of a column.
type cellKind int

const (
	textCell cellKind = iota
	jsonCell
	intCell
	floatCell
	boolCell
)

// cell is one value; null where it is absent. text holds text and JSON.
type cell struct {
	null bool
	text string
	i    int64
	f    float64
	b    bool
}

type column struct {
	name     string
	kind     cellKind
	optional bool
}

// table turns outcomes into rows of typed cells. Without a schema of an object
// the answer is one column "output": a string as its text, anything else as its
// JSON. With one, each property is a column output_<name>, and whatever does
// not fit its declared type goes, as JSON, into output_extra: nothing is lost.
type table struct {
	columns []column
	props   []string // in the order of their columns
	at      map[string]int
	cells   []cell
}

var usageColumns = []column{
	{"input_tokens", intCell, false}, {"output_tokens", intCell, false}, {"cached_tokens", intCell, false},
	{"model", textCell, false}, {"finish_reason", textCell, false},
	{"truncated", boolCell, false}, {"copy_of", textCell, true}, {"cached", boolCell, false},
}

func newTable(schema []byte) *table {
	t := &table{columns: []column{{"id", textCell, false}}}
	props := properties(schema)
	if len(props) == 0 {
		t.columns = append(t.columns, column{"output", textCell, true})
	} else {
		t.at = make(map[string]int, len(props))
		for _, p := range props {
			t.at[p.name] = len(t.columns)
			t.props = append(t.props, p.name)
			t.columns = append(t.columns, column{t.free("output_" + p.name), p.kind, true})
		}
		t.columns = append(t.columns, column{t.free("output_extra"), jsonCell, true})
	}
	t.columns = append(t.columns, usageColumns...)
	t.cells = make([]cell, len(t.columns))
	return t
}

// free returns name, numbered if a property's column took it already.
func (t *table) free(name string) string {
	taken := func(n string) bool {
		same := func(c column) bool { return c.name == n }
		return slices.ContainsFunc(t.columns, same) || slices.ContainsFunc(usageColumns, same)
	}
	out := name
	for i := 2; taken(out); i++ {
		out = name + "_" + strconv.Itoa(i)
	}
	return out
}

type property struct {
	name string
	kind cellKind
}

// properties lists the top-level properties of an object schema in the order
// they are written there.
func properties(schema []byte) []property {
	var s struct {
		Properties json.RawMessage `json:"properties"`
	}
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(s.Properties))
	if tok, err := d.Token(); err != nil || tok != json.Delim('{') {
		return nil
	}
	var out []property
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil
		}
		var p json.RawMessage
		if d.Decode(&p) != nil {
			return nil
		}
		out = append(out, property{tok.(string), kindOf(p)})
	}
	return out
}

// kindOf reads the type of a property; nullable types count as their type.
func kindOf(schema []byte) cellKind {
	var s struct {
		Type any   `json:"type"`
		Enum []any `json:"enum"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return jsonCell // true, false, or something unusual: any value
	}
	var names []string
	switch t := s.Type.(type) {
	case string:
		names = []string{t}
	case []any:
		for _, n := range t {
			if str, ok := n.(string); ok && str != "null" {
				names = append(names, str)
			}
		}
	}
	if len(names) == 0 && len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(v any) bool { _, ok := v.(string); return !ok }) {
		return textCell
	}
	if len(names) != 1 {
		return jsonCell
	}
	kinds := map[string]cellKind{"string": textCell, "integer": intCell, "number": floatCell, "boolean": boolCell}
	if k, ok := kinds[names[0]]; ok {
		return k
	}
	return jsonCell
}

// row fills the table's cells from one outcome. They hold until the next call.
func (t *table) row(o *batch.Outcome) []cell {
	for i := range t.cells {
		t.cells[i] = cell{null: true}
	}
	t.cells[0] = cell{text: o.ID}
	if t.at == nil {
		t.cells[1] = asText(o.Output)
	} else {
		t.object(o.Output)
	}
	n := len(t.cells) - len(usageColumns)
	for i, c := range []cell{{i: o.Usage.Input}, {i: o.Usage.Output}, {i: o.Usage.Cached}, {text: o.Model},
		{text: o.Finish}, {b: o.Class == batch.ClassTruncated}, {text: o.CopyOf, null: o.CopyOf == ""}, {b: o.Cached}} {
		t.cells[n+i] = c
	}
	return t.cells
}

func (t *table) object(raw json.RawMessage) {
	extraAt := 1 + len(t.props)
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil || m == nil {
		if len(raw) > 0 {
			t.cells[extraAt] = cell{text: compact(raw)}
		}
		return
	}
	extra := map[string]json.RawMessage{}
	for k, v := range m {
		at, known := t.at[k]
		if !known {
			extra[k] = v
			continue
		}
		c, fits := typed(t.columns[at].kind, v)
		if !fits {
			extra[k] = v
		}
		t.cells[at] = c
	}
	if len(extra) == 0 {
		return
	}
	b, err := marshal(extra) // keys in order: the bytes are the same every time
	if err != nil {
		b = raw
	}
	t.cells[extraAt] = cell{text: compact(b)}
}

// typed reads a JSON value as a column's type; fits is false when it would lose
// something. null fits every column.
func typed(k cellKind, raw json.RawMessage) (_ cell, fits bool) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return cell{null: true}, true
	}
	switch k {
	case jsonCell:
		return cell{text: compact(raw)}, true
	case textCell:
		var s string
		if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
			return cell{null: true}, false
		}
		return cell{text: s}, true
	case boolCell:
		isTrue, isFalse := string(raw) == "true", string(raw) == "false"
		return cell{b: isTrue, null: !isTrue && !isFalse}, isTrue || isFalse
	case intCell:
		i, err := strconv.ParseInt(string(raw), 10, 64)
		return cell{i: i, null: err != nil}, err == nil
	case floatCell:
		f, err := strconv.ParseFloat(string(raw), 64)
		ok := err == nil && raw[0] != '"' && !math.IsInf(f, 0) && !math.IsNaN(f)
		return cell{f: f, null: !ok}, ok
	}
	return cell{null: true}, false
}

func asText(raw json.RawMessage) cell {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return cell{null: true}
	}
	if c, ok := typed(textCell, raw); ok {
		return c
	}
	return cell{text: compact(raw)}
}

func compact(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// formulaStart are the characters a spreadsheet takes as the start of a
// formula, with the full-width and small forms that some fold into them.
const formulaStart = "=+-@\t\r\n＝＋－＠﹦﹢﹣﹫−"

// safe makes a text cell one that no spreadsheet runs: a leading apostrophe
// where the first visible character could begin a formula. Blanks, byte order
// marks and control characters before it are looked through.
func safe(s string) string {
	seen := strings.TrimLeftFunc(s, func(r rune) bool {
		return r != '\t' && r != '\r' && r != '\n' && (unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
	})
	if seen != "" && strings.ContainsRune(formulaStart, []rune(seen)[0]) {
		return "'" + s
	}
	return s
}
