// Package answer decides whether what a model wrote is the JSON a job asked
// for. It is pure: the same text and schema give the same bytes or the same
// one-line reason on every machine, and a reason never quotes the answer.
package answer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/batchwright/batchwright/internal/batch"
)

// Checker checks answers by one JSON Schema. It is safe for concurrent use.
type Checker struct {
	ready sync.Pool       // *metered: each serves one check at a time
	known map[string]bool // property names that the schema itself speaks of
}

// metered is a compiled schema with the fuel of the check that uses it.
type metered struct {
	schema *jsonschema.Schema
	*fuel
}

// location names the schema inside the compiler; nothing can be fetched from it.
const location = "answer://schema/"

// closed refuses to load anything: a schema stands alone.
type closed struct{}

var errClosed = errors.New("a schema cannot refer to other files or to the network")

func (closed) Load(url string) (any, error) { return nil, errClosed }

// Compile reads a JSON Schema (draft 2020-12 unless $schema names an older
// one; formats are checked). References outside the schema, duplicate keys and
// patterns that RE2 does not know are errors. An error is a *batch.Error of
// Kind Invalid.
func Compile(schema json.RawMessage) (*Checker, error) {
	bad := func(err error) error {
		return &batch.Error{Kind: batch.Invalid, Op: "schema", Msg: oneLine(err),
			Hint: "task.schema must be one self-contained JSON Schema"}
	}
	if len(schema) > MaxSchema {
		return nil, bad(fmt.Errorf("the schema has %d bytes; at most %d are read", len(schema), MaxSchema))
	}
	r := reader{in: schema, keys: map[string]bool{}}
	doc, err := r.document()
	if err != nil {
		return nil, bad(err)
	}
	if r.parts > maxParts {
		return nil, bad(fmt.Errorf("the schema has %d parts; at most %d are read", r.parts, maxParts))
	}
	first, err := meterOf(doc)
	if err != nil {
		return nil, bad(err)
	}
	c := &Checker{known: r.keys}
	c.ready.New = func() any {
		m, err := meterOf(doc)
		if err != nil {
			panic(err) // it compiled before
		}
		return m
	}
	c.ready.Put(first)
	return c, nil
}

func meterOf(doc any) (*metered, error) {
	c, p := jsonschema.NewCompiler(), &patterns{steps: map[string]int64{}}
	c.UseLoader(closed{})
	c.UseRegexpEngine(p.compile)
	c.AssertFormat()
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	schema, err := c.Compile(location)
	switch {
	case p.over:
		return nil, errPatterns
	case err != nil:
		return nil, err
	}
	m := &meter{&fuel{}, p.steps, map[*jsonschema.Schema]bool{}, map[*jsonschema.Schema]int64{}}
	m.lay(schema)
	if err := m.tooWide(); err != nil {
		return nil, err
	}
	return &metered{schema, m.fuel}, nil
}

// oneLine keeps what a compiler says about a schema, on one line and without
// the name we gave the schema.
func oneLine(err error) string {
	if errors.Is(err, errClosed) {
		return errClosed.Error()
	}
	text := strings.ReplaceAll(err.Error(), location, "")
	if text = strings.Join(strings.Fields(text), " "); len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return text
}

// maxText is how much a compiler may say, in bytes: it quotes the schema.
const maxText = 800

// Mismatch is why an answer was not accepted.
type Mismatch struct {
	// Pointer is the JSON pointer of the first value that is wrong, "" for the
	// answer itself. A key that the schema does not name stands as "*", for it
	// is the model's text.
	Pointer string
	Reason  string // one line, never a value of the answer
	More    int    // how many further values are wrong
}

func (m *Mismatch) Error() string {
	at := m.Pointer
	if at == "" {
		at = "answer"
	}
	if m.More > 0 {
		return fmt.Sprintf("%s: %s (and %d more)", at, m.Reason, m.More)
	}
	return at + ": " + m.Reason
}

// Check accepts text that is one JSON value by the schema, alone or inside one
// fenced block (```json), with nothing but white space around it. It returns
// the value compact, in the answer's key order, numbers as written and strings
// in their shortest escaping. The error is a *Mismatch; another attempt of the
// same item may answer better.
//
// An answer of more than MaxAnswer bytes, or one that makes the schema work
// without end, is a mismatch.
func (c *Checker) Check(text string) (json.RawMessage, error) {
	if len(text) > MaxAnswer {
		return nil, &Mismatch{Reason: fmt.Sprintf("has more than %d bytes", MaxAnswer)}
	}
	body, err := unfence(text)
	if err != nil {
		return nil, err
	}
	r := reader{in: []byte(body), out: make([]byte, 0, len(body)), known: c.known}
	v, err := r.document()
	if err != nil {
		return nil, err
	}
	if err := c.judge(v); err != nil {
		return nil, err
	}
	return r.out, nil
}

func (c *Checker) judge(v any) (err error) {
	m := c.ready.Get().(*metered)
	defer c.ready.Put(m)
	m.left = maxWork
	defer func() {
		if p := recover(); p == m.fuel {
			err = errWork
		} else if p != nil {
			panic(p)
		}
	}()
	if err := m.schema.Validate(v); err != nil {
		return c.explain(err)
	}
	return nil
}

const fence = "```"

// unfence takes the text out of one fenced block, if it stands in one.
func unfence(text string) (string, error) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	switch {
	case text == "":
		return "", &Mismatch{Reason: "is empty"}
	case !strings.HasPrefix(text, fence):
		return text, nil
	}
	mark, body, ok := strings.Cut(text[len(fence):], "\n")
	if mark = strings.TrimSpace(mark); !ok || mark != "" && !strings.EqualFold(mark, "json") {
		return "", &Mismatch{Reason: "stands in a block that is not marked as json"}
	}
	body, ok = strings.CutSuffix(body, fence)
	if !ok {
		if strings.Contains(body, "\n"+fence) {
			return "", &Mismatch{Reason: "has text after its fenced block"}
		}
		return "", &Mismatch{Reason: "opens a fenced block and never closes it"}
	}
	return body, nil
}

// explain picks the same one of a validator's findings every time: the first by
// pointer, then by reason.
func (c *Checker) explain(err error) error {
	top, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return &Mismatch{Reason: "does not match the schema"}
	}
	var found []Mismatch
	c.leaves(top, &found)
	slices.SortFunc(found, func(a, b Mismatch) int {
		if n := strings.Compare(a.Pointer, b.Pointer); n != 0 {
			return n
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	found = slices.Compact(found)
	first := found[0]
	first.More = len(found) - 1
	return &first
}

func (c *Checker) leaves(e *jsonschema.ValidationError, out *[]Mismatch) {
	reason, final := reasonOf(e.ErrorKind)
	if !final && len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			c.leaves(cause, out)
		}
		return
	}
	*out = append(*out, Mismatch{Pointer: pointer(e.InstanceLocation, c.known), Reason: reason})
}

// Plain is the answer of a job without a schema: the text as a JSON string,
// with invalid UTF-8 replaced by U+FFFD.
func Plain(text string) json.RawMessage {
	return appendString(make([]byte, 0, len(text)+2), text)
}
