package provider

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// Count is a number of tokens in an answer. It is read from 12, 12.0, "12" and
// null; whatever else stands there becomes -1, which no usage can be.
type Count int64

// UnmarshalJSON never fails: one odd number must not cost a paid answer.
func (c *Count) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		*c = Count(n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<52 {
		*c = -1    // a count that cannot be true is no reason to lose the answer
		return nil //nolint:nilerr // see above
	}
	*c = Count(f)
	return nil
}

// Tally is what an answer says it used, in the OpenAI sense: Cached and
// CacheWrite are parts of Input; Total, when above 0, is everything billed.
type Tally struct {
	Input, Cached, CacheWrite, Output, Reasoning, Total Count
}

// Usage turns a tally into a usage, and reports whether it can be true. Some
// servers leave reasoning out of the output and show it in the total only; the
// larger reading is taken, since it is what is billed.
func (t Tally) Usage() (money.Usage, bool) {
	for _, n := range [...]Count{t.Input, t.Cached, t.CacheWrite, t.Output, t.Reasoning, t.Total} {
		if n < 0 || n > 1<<40 {
			return money.Usage{}, false
		}
	}
	out := t.Output
	if t.Reasoning > out {
		out += t.Reasoning
	}
	out = max(out, t.Total-t.Input)
	u := money.Usage{Input: int64(t.Input), Output: int64(out), Cached: int64(t.Cached),
		CacheWrite: int64(t.CacheWrite), Reasoning: int64(t.Reasoning)}
	return u, u.Input > 0 && u.Valid()
}

// Take puts a tally into a result. An answer with text and no output token
// carries no usage that can be true.
func (r *Result) Take(t Tally) {
	u, ok := t.Usage()
	if ok && !(u.Output == 0 && r.Text != "") {
		r.Usage, r.HasUsage = u, true
	}
}

// Unmarshal reads an answer tolerantly: a field of the wrong type stays empty,
// and only what is no JSON at all is an error.
func Unmarshal(body []byte, v any) error {
	if len(body) > 2 && body[0] == bom[0] {
		body = body[len(bom):]
	}
	err := json.Unmarshal(body, v)
	if _, odd := errors.AsType[*json.UnmarshalTypeError](err); odd {
		return nil
	}
	return err
}

// Unreadable is the result of a 2xx whose body is no answer: it was sent, it
// is perhaps paid, and what it said is not known.
func Unreadable(a Answer, why string) Result {
	return Result{Class: batch.ClassUnknown, Status: a.Status, Sent: Answered, Message: why, Rate: NoRate}
}

// Present reports whether a raw JSON value says something: it is there and not
// null, false, 0, "", {} or [].
func Present(raw json.RawMessage) bool {
	switch strings.TrimSpace(string(raw)) {
	case "", "null", "false", "0", `""`, "{}", "[]":
		return false
	}
	return true
}

// Finish is what a finish reason means; Detail is the message when it is no
// success.
type Finish struct {
	Class  batch.Class
	Detail string
}

// Settle classes an answer by its finish reason and text. A reason that the
// table does not know is kept and trusted when there is text with it; an
// answer without any reason is not whole.
func (r *Result) Settle(table map[string]Finish, reason, text string) {
	r.Finish = reason
	f, known := table[reason]
	switch {
	case reason == "":
		r.Class, r.Message = batch.ClassUnknown, "the answer has no finish reason"
	case !known && text == "":
		r.Class, r.Message = batch.ClassUnknown, "no text, and a finish reason that is not known: "+printable(reason, 60)
	case !known:
		r.Class, r.Text = batch.ClassOK, text
	case f.Class == batch.ClassOK && text == "":
		r.Class, r.Message = batch.ClassInvalidOutput, "the answer is empty"
	default:
		r.Class, r.Message = f.Class, f.Detail
		switch f.Class {
		case batch.ClassOK, batch.ClassTruncated, batch.ClassInvalidOutput:
			r.Text = text
		}
	}
}
