package sink

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/batchwright/batchwright/internal/batch"
)

// Stream writes the outcomes of one kind to w in the form of the output files:
// with only "failed" the lines of failed.jsonl, else results in the format
// given. Nothing is read back and nothing is promised about w; it serves a
// person or a pipe while a run goes on.
func Stream(ctx context.Context, w io.Writer, rows Rows, format, only string, o Options) error {
	make, ok := map[string]func(io.Writer, Options) (encoder, error){
		"": newResultLines, FormatJSONL: newResultLines, FormatParquet: newParquet, FormatCSV: newCSV}[format]
	if !ok || (only != "" && only != "ok" && only != "failed") {
		return &batch.Error{Kind: batch.Usage, Op: "write results", Msg: fmt.Sprintf("no such form: format %q of %q items", format, only),
			Hint: "formats are jsonl, csv and parquet; items are ok or failed (jsonl)"}
	}
	buf := bufio.NewWriterSize(w, 1<<16)
	d := &pass{ctx: ctx, o: o, last: -1}
	want := batch.ItemOK
	if only == "failed" {
		make, want = newLines, batch.ItemFailed
	}
	enc, err := make(buf, o)
	if err != nil {
		return failed(o, "write results", err)
	}
	out := output{counted: &counted{}, enc: enc}
	err = rows.Outcomes(func(oc batch.Outcome) error {
		if err := d.alive(); err != nil || oc.State != want {
			return err
		}
		if want == batch.ItemFailed {
			return unanswered(&out, &oc)
		}
		return enc.outcome(&oc)
	})
	if err == nil {
		err = enc.finish()
	}
	return errors.Join(err, buf.Flush())
}
