package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/report"
)

type doctorCommand struct {
	Spec    string `help:"Also check what a run of this job spec needs." placeholder:"FILE"`
	Offline bool   `help:"Do not try to reach the provider."`
}

func (c *doctorCommand) Help() string {
	return "Looks and changes nothing. Exit code 78 when something keeps runs from working here."
}

// verdict is how one check ended.
type verdict string

const (
	fine    verdict = "ok"
	careful verdict = "warning"
	broken  verdict = "error"
)

type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	Hint    string  `json:"hint,omitempty"`
}

func (c *doctorCommand) Run(inv *invocation) error {
	x := &examination{inv: inv}
	x.directory()
	x.clock()
	x.files()
	x.built()
	if c.Spec != "" {
		x.spec(c.Spec, c.Offline)
	}
	bad := false
	for _, f := range x.findings {
		bad = bad || f.Verdict == broken
	}
	if inv.g.JSON {
		if err := inv.p.json(map[string]any{"ok": !bad, "checks": x.findings}); err != nil {
			return err
		}
	} else {
		signs := map[verdict]string{fine: "✓", careful: "!", broken: "✗"}
		for _, f := range x.findings {
			fmt.Fprintf(inv.p.out, "%s %-11s %s\n", inv.p.sign(signs[f.Verdict]), f.Check, clean(f.Detail))
			if f.Hint != "" {
				fmt.Fprintf(inv.p.out, "              %s\n", clean(f.Hint))
			}
		}
	}
	if bad {
		return exitWith(CodeConfig)
	}
	return nil
}

type examination struct {
	inv      *invocation
	findings []finding
}

func (x *examination) add(check string, v verdict, detail, hint string) {
	x.findings = append(x.findings, finding{check, v, detail, hint})
}

// directory checks the data directory, or the folder it would be made in.
func (x *examination) directory() {
	root := x.inv.g.DataDir
	d, err := datadir.Open(root, false)
	if err != nil && batch.KindOf(err) == batch.NotFound {
		parent := existing(root)
		if err := tryWrite(parent); err != nil {
			x.add("data dir", broken, fmt.Sprintf("%s cannot be made: %v", root, err), "name a folder that you can write to with --data-dir")
		} else {
			x.add("data dir", fine, root+" will be made by the first run", "")
		}
		x.space(parent)
		return
	}
	if err != nil {
		x.add("data dir", broken, err.Error(), batch.HintOf(err))
		return
	}
	if err := tryWrite(d.Root()); err != nil {
		x.add("data dir", broken, err.Error(), "check the folder's owner and rights")
	} else {
		x.add("data dir", fine, d.Root(), "")
	}
	x.space(d.Root())
	x.holder(d)
	if d.HasStore() {
		x.store()
	}
}

// holder says who works here.
func (x *examination) holder(d *datadir.Dir) {
	if !d.Held() {
		x.add("held by", fine, "nobody", "")
		return
	}
	h, err := d.Holder()
	if err != nil {
		x.add("held by", careful, "a process that does not say who it is", "")
		return
	}
	detail := fmt.Sprintf("process %d, %s, since %s", h.PID, h.Command, h.Since.Local().Format("2006-01-02 15:04:05 MST"))
	if _, err := x.inv.live(x.inv.ctx, time.Second); err != nil {
		x.add("held by", careful, detail+", which does not answer", "status and watch read the store instead")
		return
	}
	x.add("held by", fine, detail, "")
}

func (x *examination) store() {
	err := x.inv.database(ModeRead, "doctor", func(db DB) error {
		if db.Check == nil {
			return nil
		}
		wrong, err := db.Check(x.inv.ctx)
		if err == nil && len(wrong) > 0 {
			err = errors.New(strings.Join(wrong, "; "))
		}
		return err
	})
	if err != nil {
		x.add("database", broken, err.Error(), batch.HintOf(err))
		return
	}
	x.add("database", fine, "opens", "")
}

func (x *examination) space(dir string) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		x.add("disk", careful, "free space is not known: "+err.Error(), "")
		return
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert,gosec // the types differ between systems
	v, hint := fine, ""
	switch {
	case free < 100<<20:
		v, hint = broken, "free some space: a run that cannot write stops"
	case free < 1<<30:
		v, hint = careful, "a run keeps its items' outputs and every attempt"
	}
	x.add("disk", v, report.Bytes(free)+" free", hint)
}

// clock compares this machine's clock with common sense and the file system's.
func (x *examination) clock() {
	now := x.inv.sys.Now()
	zone, _ := now.Zone()
	shown := now.Format("2006-01-02 15:04:05 ") + zone
	if now.Year() < 2025 || now.Year() > 2200 {
		x.add("clock", broken, shown, "set the clock: deadlines and prices depend on it")
		return
	}
	f, err := os.CreateTemp("", "batchwright-clock-")
	if err == nil {
		defer os.Remove(f.Name()) //nolint:errcheck // temporary
		_, err = f.WriteString("x")
		st, serr := f.Stat()
		if err = errors.Join(err, serr, f.Close()); err == nil {
			if off := st.ModTime().Sub(now).Abs(); off > 5*time.Second {
				x.add("clock", careful, fmt.Sprintf("%s, %s away from the file system's", shown, off.Round(time.Second)), "")
				return
			}
		}
	}
	x.add("clock", fine, shown, "")
}

// files checks how many connections a run may have open.
func (x *examination) files() {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return
	}
	if l.Cur < 1024 {
		x.add("open files", careful, fmt.Sprintf("at most %d", l.Cur), "ulimit -n 4096 lets more calls go on at once")
		return
	}
	x.add("open files", fine, fmt.Sprintf("at most %d", l.Cur), "")
}

func (x *examination) built() {
	v := x.inv.sys.Version
	detail := "batchwright " + v.Version
	if v.SQLite != "" {
		detail += ", sqlite " + v.SQLite
	}
	if v.Prices != "" {
		detail += ", prices " + v.Prices
	}
	x.add("version", fine, detail, "")
}

// existing is path, or its nearest folder that exists.
func existing(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	for {
		if _, err := os.Stat(abs); err == nil || filepath.Dir(abs) == abs {
			return abs
		}
		abs = filepath.Dir(abs)
	}
}

func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".batchwright-doctor-")
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, "x")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}
