package cli

import (
	"fmt"
	"strings"
)

type versionCommand struct{}

func (versionCommand) Run(inv *invocation) error {
	v := inv.sys.Version
	if inv.g.JSON {
		return inv.p.json(v)
	}
	line := "batchwright " + v.Version
	var from []string
	for _, s := range []string{v.Commit, v.Date} {
		if s != "" && s != "unknown" {
			from = append(from, s)
		}
	}
	if len(from) > 0 {
		line += " (" + strings.Join(from, ", ") + ")"
	}
	fmt.Fprintln(inv.p.out, line)
	inv.p.row("go", v.Go+" "+v.Platform)
	if v.Prices != "" {
		inv.p.row("prices", v.Prices)
	}
	if v.SQLite != "" {
		inv.p.row("sqlite", v.SQLite)
	}
	return nil
}
