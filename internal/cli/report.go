package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/report"
)

type reportCommand struct {
	Ref      string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	HTML     string `name:"html" help:"Write one HTML page that needs nothing else; - is stdout." placeholder:"FILE"`
	Markdown string `name:"md" help:"Write Markdown; - is stdout." placeholder:"FILE"`
	JUnit    string `name:"junit" help:"Write JUnit XML for CI; - is stdout." placeholder:"FILE"`
	JSONFile string `name:"json-file" help:"Write the whole report as JSON; --json prints it." placeholder:"FILE"`
}

func (c *reportCommand) Run(inv *invocation) error {
	return inv.reading("report", func(a *app.App) error {
		rep, err := a.Report(inv.ctx, c.Ref)
		if err != nil {
			return err
		}
		rep.Next = inv.nextCommands(rep)
		wrote := false
		for _, f := range []struct {
			path  string
			write func(io.Writer) error
		}{
			{c.HTML, func(w io.Writer) error { return report.WriteHTML(w, rep) }},
			{c.Markdown, func(w io.Writer) error { return report.WriteMarkdown(w, rep) }},
			{c.JUnit, func(w io.Writer) error { return inv.junit(w, a, rep) }},
			{c.JSONFile, func(w io.Writer) error { return report.WriteJSON(w, rep) }},
		} {
			if f.path == "" {
				continue
			}
			wrote = true
			if err := inv.writeTo(f.path, f.write); err != nil {
				return err
			}
			if f.path != "-" {
				inv.p.note("wrote %s", f.path)
			}
		}
		switch {
		case inv.g.JSON:
			return report.WriteJSON(inv.p.out, rep)
		case wrote:
			return nil
		}
		var text writerOf
		if err := report.WriteText(&text, rep); err != nil {
			return err
		}
		_, err = io.WriteString(inv.p.out, inv.p.plain(string(text)))
		return err
	})
}

// writerOf gathers text.
type writerOf []byte

func (w *writerOf) Write(b []byte) (int, error) { *w = append(*w, b...); return len(b), nil }

// junit writes one case per failed item, read as they are written.
func (inv *invocation) junit(w io.Writer, a *app.App, rep report.Run) error {
	var walk error
	failed := iter.Seq[report.Failure](func(yield func(report.Failure) bool) {
		walk = a.Items(inv.ctx, string(rep.ID), app.ItemQuery{State: batch.ItemFailed}, func(it app.ItemRow) error {
			if !yield(report.Failure{ID: it.ID, Class: it.Class, Message: it.Message}) {
				return errEnough
			}
			return nil
		})
	})
	err := report.WriteJUnit(w, rep, failed)
	if errors.Is(walk, errEnough) {
		walk = nil
	}
	return errors.Join(err, walk)
}

var errEnough = errors.New("enough")

type diffCommand struct {
	Before string `arg:"" help:"Run id."`
	After  string `arg:"" help:"Run id."`
}

func (c *diffCommand) Run(inv *invocation) error {
	return inv.reading("diff", func(a *app.App) error {
		x, err := a.Diff(inv.ctx, c.Before, c.After)
		if err != nil {
			return err
		}
		var changes []report.Change
		for _, s := range x.Spec {
			changes = append(changes, report.Change{What: s.Key, Before: s.Old, After: s.New})
		}
		d := report.Diff(x.A, x.B, x.Flips, changes)
		if inv.g.JSON {
			return inv.p.json(d)
		}
		var text writerOf
		if err := report.WriteDiffText(&text, d); err != nil {
			return err
		}
		_, err = io.WriteString(inv.p.out, inv.p.plain(string(text)))
		return err
	})
}

type verifyCommand struct {
	Ref  string `arg:"" optional:"" name:"run" help:"Run id; the latest when left out."`
	Bill string `help:"Hold the run to its provider's own bill, too: the address of batchwright simulate, or the file of its --bill." placeholder:"URL|FILE"`
}

func (c *verifyCommand) Help() string {
	return "Compares items, outcomes, segments, delivered files and money with each other and with what was frozen at the start, and changes nothing. With --bill a witness is heard: a call that was billed and is in no attempt is named, and the bill may be above neither the ledger nor the budget. Exit code 1 when something is not as promised."
}

func (c *verifyCommand) Run(inv *invocation) error {
	return inv.reading("verify", func(a *app.App) error {
		var witness io.Reader
		if c.Bill != "" {
			r, err := openBill(inv.ctx, c.Bill)
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // read only
			witness = r
		}
		v, err := a.VerifyAgainst(inv.ctx, c.Ref, witness)
		if err != nil {
			return err
		}
		if inv.g.JSON {
			err = inv.p.json(v)
		} else {
			inv.printVerification(v)
		}
		if err == nil && !v.OK {
			err = exitWith(CodeInternal)
		}
		return err
	})
}

// openBill opens a witness's bill: a file, or what a simulator answers.
func openBill(ctx context.Context, at string) (io.ReadCloser, error) {
	fail := func(kind batch.Kind, msg string, err error) (io.ReadCloser, error) {
		return nil, &batch.Error{Kind: kind, Op: "verify", Ref: at, Msg: msg, Err: err,
			Hint: "give the address that batchwright simulate printed, or the file of its --bill"}
	}
	if !strings.HasPrefix(at, "http://") && !strings.HasPrefix(at, "https://") {
		f, err := os.Open(at)
		if err != nil {
			return fail(batch.Usage, "the bill cannot be read", err)
		}
		return f, nil
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return fail(batch.Usage, "this is no address", err)
	}
	u.Path, u.RawQuery, u.Fragment = "/__bill", "calls=1", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fail(batch.Usage, "this is no address", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fail(batch.Unavailable, "nobody answers there", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fail(batch.Unavailable, "it keeps no bill: "+resp.Status, resp.Body.Close())
	}
	return resp.Body, nil
}

func (inv *invocation) printVerification(v app.Verification) {
	p := inv.p
	sign, word := "✓", "verified"
	if !v.OK {
		sign, word = "✗", countOf(int64(len(v.Findings)), "finding")
	}
	fmt.Fprintf(p.out, "%s %s  %s (%s)\n", p.sign(sign), word, v.RunID, v.State)
	for _, c := range v.Checked {
		fmt.Fprintf(p.out, "  %s %s\n", p.plain("·"), c)
	}
	for _, f := range v.Findings {
		fmt.Fprintf(p.out, "  %s %s %s: %s\n", p.sign("✗"), f.Invariant, oneLine(f.Ref, 120), oneLine(f.Message, 400))
	}
}
