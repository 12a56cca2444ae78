package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/batchwright/batchwright/internal/answer"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/prices"
	"github.com/batchwright/batchwright/internal/prompt"
	"github.com/batchwright/batchwright/internal/spec"
)

type validateCommand struct {
	Files   []string `arg:"" name:"file" help:"Job specs to check; - is stdin."`
	Output  string   `help:"How findings are shown: ${enum}." enum:"text,json,sarif,github" default:"text"`
	Strict  bool     `help:"Warnings are errors."`
	Offline bool     `help:"Look at nothing but the files."`
}

func (c *validateCommand) Help() string {
	return "Reads specs strictly: every mistake of a file at once, with line and column. Prompts and answer schemas are compiled too. Nothing is sent anywhere. Exit code 65 when a spec cannot be used."
}

func (c *validateCommand) Run(inv *invocation) error {
	var all spec.Diagnostics
	known := 0
	for _, file := range c.Files {
		sp, ds := inv.loadSpec(file)
		if sp != nil {
			if more := compile(sp); more.Errors() > 0 {
				ds = append(ds, more...)
			} else {
				ds = append(ds, cases(sp)...)
			}
			if !c.Offline {
				inv.lookAround(sp)
			}
		}
		if ds.Errors() == 0 {
			known++
		}
		all = append(all, ds...)
	}
	if err := c.write(inv, all); err != nil {
		return err
	}
	bad := all.Errors() > 0 || c.Strict && len(all) > 0
	if c.Output == "text" && !inv.g.JSON && len(all) == 0 {
		for _, f := range c.Files {
			fmt.Fprintf(inv.p.out, "%s %s\n", inv.p.sign("✓"), f)
		}
	}
	if bad {
		return exitWith(CodeInvalid)
	}
	return nil
}

func (c *validateCommand) write(inv *invocation, all spec.Diagnostics) error {
	output := c.Output
	if inv.g.JSON {
		output = "json"
	}
	switch output {
	case "json":
		return all.WriteJSON(inv.p.out)
	case "sarif":
		return all.WriteSARIF(inv.p.out)
	case "github":
		return all.WriteGitHub(inv.p.out)
	}
	if len(all) == 0 {
		return nil
	}
	return all.WriteText(inv.p.out)
}

// loadSpec reads a spec, - being stdin.
func (inv *invocation) loadSpec(file string) (*spec.Spec, spec.Diagnostics) {
	sp, ds := spec.Load(func(path string) ([]byte, error) {
		if path == "-" && file == "-" {
			return inv.readStdin()
		}
		return inv.sys.ReadFile(path)
	}, file)
	if sp != nil && sp.Task.Provider == "sim" && sp.Task.Model == "" {
		sp.Task.Model = "sim-1" // a spec for sim needs no model; requests have one
	}
	return sp, ds
}

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
		ds = append(ds, spec.Diagnostic{File: sp.File, Line: 1, Col: 1, Code: "E1303", Severity: spec.Error, Key: key, Message: key + ": " + clean(msg), Hint: hint})
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
			ds = append(ds, spec.Diagnostic{File: sp.File, Line: 1, Col: 1, Code: "E1306", Severity: spec.Error, Key: key,
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

// lookAround tells what a run would miss on this machine; it is no mistake of
// the spec.
func (inv *invocation) lookAround(sp *spec.Spec) {
	kind, name, _ := strings.Cut(sp.Task.APIKey, ":")
	if kind == "env" && inv.sys.Getenv(name) == "" {
		inv.p.warn("%s: %s is not set here, a run needs it", sp.File, name)
	}
	if sp.Task.Price == nil && sp.Task.Provider != "sim" && !inv.priced(sp) {
		inv.p.warn("%s: no price is known for %s/%s: costs are not counted and budget.usd is refused", sp.File, sp.Task.Provider, sp.Task.Model)
	}
}

// priced reports whether the price of a spec's model is known.
func (inv *invocation) priced(sp *spec.Spec) bool {
	var own io.Reader
	if d, err := datadir.Open(inv.g.DataDir, false); err == nil {
		if b, err := inv.sys.ReadFile(d.Prices()); err == nil {
			own = bytes.NewReader(b)
		}
	}
	t, err := prices.Load(own)
	if err != nil {
		inv.p.warn("%s", clean(err.Error()))
		return true
	}
	_, ok := t.Lookup(sp.Task.Provider, sp.Task.Model)
	return ok
}
