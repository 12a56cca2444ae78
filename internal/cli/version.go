package cli

import "fmt"

type versionCommand struct{}

func (versionCommand) Run(inv *invocation) error {
	v := inv.sys.Version
	if inv.g.JSON {
		return inv.p.json(v)
	}
	line := "batchwright " + v.Version
	if v.Commit != "" {
		c := v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			c += "+changes"
		}
		line += " (" + c
		if v.Date != "" {
			line += ", " + v.Date
		}
		line += ")"
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
