package cli

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

type resultsCommand struct {
	Ref    string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Out    string `short:"o" help:"Write to this file instead of stdout." placeholder:"FILE"`
	Format string `help:"${enum}." enum:"jsonl,csv,parquet" default:"jsonl"`
	Only   string `help:"ok: the results; failed: the failed items with class and message." enum:"ok,failed" default:"ok"`
}

func (c *resultsCommand) Help() string {
	return "Prints outcomes in the order of the input, as the output files hold them, also while the run goes on."
}

func (c *resultsCommand) Run(inv *invocation) error {
	if c.Format == "parquet" && c.Out == "" && inv.sys.StdoutTTY {
		return &batch.Error{Kind: batch.Usage, Op: "results", Msg: "Parquet is no text for a terminal", Hint: "add -o results.parquet"}
	}
	return inv.reading("results", func(a *app.App) error {
		return inv.writeTo(c.Out, func(w io.Writer) error { return a.Results(inv.ctx, c.Ref, w, c.Format, c.Only) })
	})
}

// writeTo writes to a file that appears whole or not at all, or to stdout for
// "" and "-".
func (inv *invocation) writeTo(path string, write func(io.Writer) error) (err error) {
	if path == "" || path == "-" {
		w := bufio.NewWriterSize(inv.p.out, 64<<10)
		return errors.Join(write(w), w.Flush())
	}
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		if _, ours := errors.AsType[*batch.Error](err); ours {
			return err
		}
		return &batch.Error{Kind: batch.Unavailable, Op: "write", Ref: path, Err: err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".batchwright-*")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	return fail(os.Rename(f.Name(), path))
}
