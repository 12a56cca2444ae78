package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/spec"
)

// specFlags name a spec and change it for once.
type specFlags struct {
	File  string `arg:"" help:"Job spec; - is stdin."`
	Limit int64  `help:"Take only the first N items." placeholder:"N"`
}

// spec loads the spec; what is wrong with it is shown and ends the command.
func (f *specFlags) spec(inv *invocation) (*spec.Spec, error) {
	if f.Limit < 0 {
		return nil, &batch.Error{Kind: batch.Usage, Op: "--limit", Msg: "is below 0"}
	}
	sp, ds := inv.loadSpec(f.File)
	if sp != nil {
		ds = append(ds, compile(sp)...)
	}
	if ds.Errors() > 0 || len(ds) > 0 && !inv.g.Quiet {
		if err := ds.WriteText(inv.p.err); err != nil {
			return nil, err
		}
	}
	if ds.Errors() > 0 {
		return nil, exitWith(CodeInvalid)
	}
	if f.File == "-" && sp.Input.URI == "-" {
		return nil, &batch.Error{Kind: batch.Usage, Op: "run", Msg: "the spec and its input cannot both come from stdin", Hint: "give the spec as a file"}
	}
	if f.Limit > 0 {
		sp.Input.Limit = f.Limit
	}
	// A run may be resumed from another folder.
	dir, err := filepath.Abs(sp.Dir)
	if err != nil {
		return nil, &batch.Error{Kind: batch.Config, Op: "read spec", Ref: f.File, Err: err}
	}
	sp.Dir = dir
	return sp, nil
}

func (inv *invocation) readStdin() ([]byte, error) {
	const most = 16 << 20
	b, err := io.ReadAll(io.LimitReader(inv.sys.Stdin, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("stdin has more than %d bytes", most)
	}
	return b, err
}
