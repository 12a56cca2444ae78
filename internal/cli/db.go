package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
)

type dbCommand struct {
	Path   dbPathCommand   `cmd:"" help:"Print where the database is."`
	Backup dbBackupCommand `cmd:"" help:"Copy the database to a new file, whole and consistent, while runs go on."`
	Check  dbCheckCommand  `cmd:"" help:"Check the database file."`
	Vacuum dbVacuumCommand `cmd:"" help:"Give free space back; nobody may work here meanwhile."`
}

type dbPathCommand struct{}

func (dbPathCommand) Run(inv *invocation) error {
	d, err := datadir.Open(inv.g.DataDir, false)
	if err != nil {
		return err
	}
	if inv.g.JSON {
		return inv.p.json(map[string]string{"path": d.DB()})
	}
	_, err = fmt.Fprintln(inv.p.out, d.DB())
	return err
}

type dbBackupCommand struct {
	To string `arg:"" help:"File to write; it must not exist."`
}

func (c *dbBackupCommand) Run(inv *invocation) error {
	return inv.database(ModeRead, "db backup", func(d DB) error {
		if d.Backup == nil {
			return notOffered("backup")
		}
		if err := d.Backup(inv.ctx, c.To); err != nil {
			return err
		}
		inv.p.note("wrote %s; manifests and segments lie beside the database in runs/, copy them too", c.To)
		return nil
	})
}

type dbCheckCommand struct{}

func (dbCheckCommand) Run(inv *invocation) error {
	return inv.database(ModeRead, "db check", func(d DB) error {
		if d.Check == nil {
			return notOffered("check")
		}
		wrong, err := d.Check(inv.ctx)
		if err != nil {
			return err
		}
		if inv.g.JSON {
			if err := inv.p.json(map[string]any{"path": d.Path, "ok": len(wrong) == 0, "findings": append([]string{}, wrong...)}); err != nil {
				return err
			}
		} else if len(wrong) == 0 {
			fmt.Fprintf(inv.p.out, "%s %s\n", inv.p.sign("✓"), d.Path)
		}
		if len(wrong) == 0 {
			return nil
		}
		for _, w := range wrong {
			if !inv.g.JSON {
				fmt.Fprintf(inv.p.out, "%s %s\n", inv.p.sign("✗"), oneLine(w, 300))
			}
		}
		return exitWith(CodeInternal)
	})
}

type dbVacuumCommand struct{}

func (dbVacuumCommand) Run(inv *invocation) error {
	return inv.database(ModeWrite, "db vacuum", func(d DB) error {
		if d.Vacuum == nil {
			return notOffered("vacuum")
		}
		return d.Vacuum(inv.ctx)
	})
}

func (inv *invocation) database(mode Mode, command string, f func(DB) error) error {
	d, err := datadir.Open(inv.g.DataDir, false)
	if err != nil {
		return err
	}
	if !d.HasStore() {
		return &batch.Error{Kind: batch.NotFound, Op: command, Ref: d.Root(), Msg: "there is no database here yet", Hint: "batchwright run job.yaml"}
	}
	s, err := inv.open(inv.ctx, mode, command)
	if err != nil {
		return err
	}
	return errors.Join(f(s.DB), s.Close(context.WithoutCancel(inv.ctx)))
}

func notOffered(what string) error {
	return &batch.Error{Kind: batch.Config, Op: "db " + what, Msg: "the store does not offer it"}
}
