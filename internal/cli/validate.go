package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/prices"
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
				ds = append(append(ds, cases(sp)...), inv.keyAllowed(sp)...)
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
	return spec.Load(func(path string) ([]byte, error) {
		if path == "-" && file == "-" {
			return inv.readStdin()
		}
		return inv.sys.ReadFile(path)
	}, file)
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
