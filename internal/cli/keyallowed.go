package cli

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/spec"
)

// checkKey says what speaks against sending a spec's key to where its calls go,
// by what is known of keys and by the data directory's config.yaml.
func (inv *invocation) checkKey(sp *spec.Spec) error {
	ring := app.Keyring{File: filepath.Join(inv.g.DataDir, "config.yaml")}
	var err error
	if d, derr := datadir.Open(inv.g.DataDir, false); derr == nil {
		var c *datadir.Config
		if c, err = d.Config(); err == nil {
			ring.File = c.File
			ring.Bindings, err = c.Keys()
		}
	}
	if err != nil {
		return err
	}
	return ring.CheckKey(sp)
}

// keyAllowed is checkKey as a finding about the spec.
func (inv *invocation) keyAllowed(sp *spec.Spec) spec.Diagnostics {
	err := inv.checkKey(sp)
	if err == nil {
		return nil
	}
	d := spec.Diagnostic{File: sp.File, Line: 1, Col: 1, Code: "E1304", Severity: spec.Error, Key: "task.api_key",
		Message: "task.api_key: " + clean(err.Error()), Hint: clean(batch.HintOf(err))}
	if e, ok := errors.AsType[*batch.Error](err); ok && e.Kind == batch.Credentials {
		d.Message = "task.api_key: " + clean(e.Msg)
	}
	if text, err := inv.sys.ReadFile(sp.File); err == nil && sp.File != "-" {
		d.Line, d.Col = keyLine(string(text))
	}
	return spec.Diagnostics{d}
}

var addressKey = regexp.MustCompile(`(?m)^[ \t-]*["']?(base_url|api_key)["']?[ \t]*:`)

// keyLine is where the address stands, or else the key.
func keyLine(text string) (line, col int) {
	line, col = 1, 1
	for _, m := range addressKey.FindAllStringSubmatchIndex(text, -1) {
		begin := strings.LastIndexByte(text[:m[2]], '\n') + 1
		line, col = 1+strings.Count(text[:m[2]], "\n"), m[2]-begin+1
		if text[m[2]:m[3]] == "base_url" {
			break
		}
	}
	return line, col
}
