package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/answer"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/prompt"
	"github.com/batchwright/batchwright/internal/spec"
)

// compile finds what only the template engine and the schema compiler know.
func compile(sp *spec.Spec) spec.Diagnostics {
	var ds spec.Diagnostics
	add := func(key string, err error) {
		msg, hint := err.Error(), batch.HintOf(err)
		if e, ok := errors.AsType[*batch.Error](err); ok && e.Msg != "" {
			msg = e.Msg
			if e.Ref != "" && e.Ref != key {
				msg = e.Ref + ": " + msg
			}
		}
		line, col := sp.Place(key)
		ds = append(ds, spec.Diagnostic{File: sp.File, Line: line, Col: col, Code: "E1303", Severity: spec.Error, Key: key, Message: key + ": " + clean(msg), Hint: hint})
	}
	parse := func(key, src string) {
		if src == "" {
			return
		}
		if _, err := prompt.Parse(key, src); err != nil {
			add(key, err)
		}
	}
	parse("task.system", sp.Task.System)
	parse("task.prompt", sp.Task.Prompt)
	for i, m := range sp.Task.Messages {
		parse(fmt.Sprintf("task.messages[%d]", i), m.Content)
	}
	if len(sp.Task.Schema) > 0 {
		if _, err := answer.Compile(sp.Task.Schema); err != nil {
			add("task.schema", err)
		}
	}
	return ds
}

// cases checks the spec's canned cases: what the prompt becomes, and what is
// made of an answer. No provider is called.
func cases(sp *spec.Spec) spec.Diagnostics {
	var ds spec.Diagnostics
	for i, t := range sp.Tests {
		key := fmt.Sprintf("tests[%d]", i)
		if msg := testCase(sp, t); msg != "" {
			line, col := sp.Place(key)
			ds = append(ds, spec.Diagnostic{File: sp.File, Line: line, Col: col, Code: "E1306", Severity: spec.Error, Key: key,
				Message: fmt.Sprintf("%s: %q failed: %s", key, oneLine(t.Name, 80), oneLine(msg, 300)), Hint: "change the prompt, the schema or the test"})
		}
	}
	return ds
}

// testCase says how a case fails, or nothing.
func testCase(sp *spec.Spec, t spec.Test) string {
	turns := []string{sp.Task.System, sp.Task.Prompt}
	for _, m := range sp.Task.Messages {
		turns = append(turns, m.Content)
	}
	shown := ""
	for _, src := range turns {
		tpl, err := prompt.Parse("prompt", src)
		if err != nil {
			return err.Error()
		}
		text, err := tpl.Render(t.Item)
		if err != nil {
			return err.Error()
		}
		shown += text + "\n"
	}
	if !strings.Contains(shown, t.Prompt) {
		return fmt.Sprintf("the prompt does not contain %q", t.Prompt)
	}
	if t.Answer == "" {
		return ""
	}
	class, why := batch.ClassOK, ""
	if len(sp.Task.Schema) > 0 {
		c, err := answer.Compile(sp.Task.Schema)
		if err == nil {
			_, err = c.Check(t.Answer)
		}
		if err != nil {
			class, why = batch.ClassInvalidOutput, ": "+err.Error()
		}
	}
	want := batch.Class(t.Expect)
	if want == "" {
		want = batch.ClassOK
	}
	if class != want {
		return fmt.Sprintf("the answer is %s, not %s%s", class, want, why)
	}
	return ""
}
