package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// encoder writes ok outcomes in one format.
type encoder interface {
	outcome(o *batch.Outcome) error
	// finish ends the format; the file is whole after it.
	finish() error
	// verify reads the finished file back and fails when it is not what was
	// written.
	verify(r io.ReaderAt, size int64, rows int64) error
}

type output struct {
	*counted
	enc encoder
}

// pass is one pass over the rows of a run.
type pass struct {
	ctx     context.Context
	dest    Dest
	o       Options
	results []output
	failed  output
	skipped *output // made when the first skipped item comes
	last    batch.Ordinal
	n       int
}

func writeRows(ctx context.Context, dest Dest, rows Rows, o Options) (_ []Written, err error) {
	p := &pass{ctx: ctx, dest: dest, o: o, last: -1}
	defer func() {
		if err != nil {
			p.abort()
		}
	}()
	if err := p.open(); err != nil {
		return nil, failed(o, "create outputs", err)
	}
	if err := rows.Outcomes(p.outcome); err != nil {
		return nil, failed(o, "write outcomes", err)
	}
	ledger, err := p.add(LedgerJSONL, FormatJSONL, newLines)
	if err != nil {
		return nil, failed(o, "create outputs", err)
	}
	defer func() {
		if err != nil {
			ledger.abort()
		}
	}()
	if err := rows.Attempts(func(a batch.Attempt) error { return p.attempt(ledger, &a) }); err != nil {
		return nil, failed(o, "write ledger", err)
	}
	all := append(slices.Clone(p.results), p.failed)
	if p.skipped != nil {
		all = append(all, *p.skipped)
	}
	return p.commit(append(all, ledger))
}

func (p *pass) open() error {
	made := map[string]func(io.Writer, Options) (encoder, error){
		FormatJSONL: newResultLines, FormatParquet: newParquet, FormatCSV: newCSV,
	}
	names := map[string]string{FormatJSONL: ResultsJSONL, FormatParquet: ResultsParquet, FormatCSV: ResultsCSV}
	for _, f := range []string{FormatJSONL, FormatParquet, FormatCSV} {
		if f != FormatJSONL && !slices.Contains(p.o.Formats, f) {
			continue
		}
		out, err := p.add(names[f], f, made[f])
		if err != nil {
			return err
		}
		p.results = append(p.results, out)
	}
	var err error
	p.failed, err = p.add(FailedJSONL, FormatJSONL, newLines)
	return err
}

func (p *pass) add(name, format string, make func(io.Writer, Options) (encoder, error)) (output, error) {
	c, err := create(p.ctx, p.dest, name, format)
	if err != nil {
		return output{}, err
	}
	enc, err := make(c, p.o)
	if err != nil {
		c.abort()
		return output{}, err
	}
	return output{c, enc}, nil
}

func (p *pass) abort() {
	for _, r := range p.results {
		r.abort()
	}
	if p.failed.counted != nil {
		p.failed.abort()
	}
	if p.skipped != nil {
		p.skipped.abort()
	}
}

// outcome routes one outcome to its files. Order and uniqueness are checked
// here because a reader joins on them.
func (p *pass) outcome(o batch.Outcome) error {
	if err := p.alive(); err != nil {
		return err
	}
	if o.Ordinal <= p.last {
		return internal(p.o, o.ID, fmt.Sprintf("outcome %d came after outcome %d", o.Ordinal, p.last))
	}
	p.last = o.Ordinal
	switch o.State {
	case batch.ItemOK:
		for i := range p.results {
			if err := p.results[i].enc.outcome(&o); err != nil {
				return err
			}
			p.results[i].w.Rows++
		}
		return nil
	case batch.ItemFailed:
		return unanswered(&p.failed, &o)
	case batch.ItemSkipped:
		if p.skipped == nil {
			s, err := p.add(SkippedJSONL, FormatJSONL, newLines)
			if err != nil {
				return err
			}
			p.skipped = &s
		}
		return unanswered(p.skipped, &o)
	case batch.ItemPending:
	}
	return internal(p.o, o.ID, fmt.Sprintf("state %q is not the end of an item", o.State))
}

// alive looks at the context now and then: a look at every row costs more than
// the row.
func (p *pass) alive() error {
	p.n++
	if p.n%1024 == 1 {
		return p.ctx.Err()
	}
	return nil
}

// commit ends every format, reads it back, and only then publishes the files:
// an error in one keeps all old names as they were.
func (p *pass) commit(all []output) ([]Written, error) {
	written := make([]Written, 0, len(all))
	for _, out := range all {
		if err := p.finish(out); err != nil {
			abortAll(all)
			return nil, failed(p.o, "write "+out.w.Name, err)
		}
	}
	for i, out := range all {
		w, err := out.commit()
		if err != nil {
			abortAll(all[i:])
			return nil, failed(p.o, "publish "+out.w.Name, err)
		}
		written = append(written, w)
	}
	return written, nil
}

func (p *pass) finish(out output) error {
	if err := out.enc.finish(); err != nil {
		return err
	}
	if err := out.buf.Flush(); err != nil {
		return err
	}
	return out.file.ReadBack(func(r io.ReaderAt, size int64) error {
		if size != out.w.Bytes {
			return internal(p.o, out.w.Name, fmt.Sprintf("%d bytes were written and %d are there", out.w.Bytes, size))
		}
		return out.enc.verify(r, size, out.w.Rows)
	})
}

func abortAll(all []output) {
	for _, out := range all {
		out.abort()
	}
}

func unanswered(out *output, o *batch.Outcome) error {
	out.w.Rows++
	return out.enc.(*lines).encode(struct {
		ID      string      `json:"id"`
		Class   batch.Class `json:"class"`
		Message string      `json:"message"`
	}{o.ID, o.Class, o.Message})
}

// ledgerLine is one attempt as people and programs read it.
type ledgerLine struct {
	ID        string      `json:"id"`
	Ordinal   int64       `json:"ordinal"`
	Shard     int64       `json:"shard"`
	Epoch     int64       `json:"epoch"`
	Attempt   int         `json:"attempt"`
	Class     batch.Class `json:"class"`
	Message   string      `json:"message,omitempty"`
	Status    int         `json:"status,omitempty"`
	Usage     money.Usage `json:"usage"`
	Reserved  amount      `json:"reserved"`
	Charged   amount      `json:"charged"`
	Estimated bool        `json:"estimated,omitempty"`
	Model     string      `json:"model,omitempty"`
	RequestID string      `json:"request_id,omitempty"`
	StartedAt string      `json:"started_at"`
	LatencyUS int64       `json:"latency_us"`
}

type amount struct {
	Tokens  int64 `json:"tokens"`
	PicoUSD int64 `json:"pico_usd"`
	Retries int64 `json:"retries,omitempty"`
}

func (p *pass) attempt(out output, a *batch.Attempt) error {
	if err := p.alive(); err != nil {
		return err
	}
	out.w.Rows++
	asAmount := func(m money.Amount) amount { return amount{m.Tokens, int64(m.Pico), m.Retries} }
	return out.enc.(*lines).encode(ledgerLine{
		ID: a.ID, Ordinal: int64(a.Ordinal), Shard: int64(a.Shard), Epoch: int64(a.Epoch), Attempt: a.N,
		Class: a.Class, Message: a.Message, Status: a.Status, Usage: a.Usage,
		Reserved: asAmount(a.Reserved), Charged: asAmount(a.Charged), Estimated: a.Estimated,
		Model: a.Model, RequestID: a.RequestID,
		StartedAt: time.UnixMicro(a.StartedAt).UTC().Format("2006-01-02T15:04:05.000000Z07:00"), LatencyUS: a.LatencyUS,
	})
}

// lines writes JSON Lines, one value a line.
type lines struct{ enc *json.Encoder }

func newLines(w io.Writer, _ Options) (encoder, error) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // what was answered stays readable; a page escapes for itself
	return &lines{e}, nil
}

func (l *lines) encode(v any) error                     { return l.enc.Encode(v) }
func (l *lines) outcome(*batch.Outcome) error           { return nil }
func (l *lines) finish() error                          { return nil }
func (l *lines) verify(io.ReaderAt, int64, int64) error { return nil }

type resultLines struct {
	*lines
	run Options
}

func newResultLines(w io.Writer, o Options) (encoder, error) {
	l, err := newLines(w, o)
	return resultLines{l.(*lines), o}, err
}

type resultUsage struct {
	Input  int64 `json:"input_tokens"`
	Output int64 `json:"output_tokens"`
	Cached int64 `json:"cached_tokens"`
}

type resultLine struct {
	ID        string          `json:"id"`
	Output    json.RawMessage `json:"output"`
	Usage     resultUsage     `json:"usage"`
	Model     string          `json:"model"`
	Finish    string          `json:"finish_reason"`
	Truncated bool            `json:"truncated,omitempty"`
	CopyOf    string          `json:"copy_of,omitempty"`
	Cached    bool            `json:"cached,omitempty"`
}

func (r resultLines) outcome(o *batch.Outcome) error {
	out := o.Output
	if len(out) == 0 {
		out = json.RawMessage("null")
	}
	err := r.encode(resultLine{o.ID, out, resultUsage{o.Usage.Input, o.Usage.Output, o.Usage.Cached},
		o.Model, o.Finish, o.Class == batch.ClassTruncated, o.CopyOf, o.Cached})
	if err != nil {
		// The encoder's own message can quote the payload.
		return internal(r.run, o.ID, "the kept output is not JSON")
	}
	return nil
}

func internal(o Options, ref, msg string) error {
	return &batch.Error{Kind: batch.Internal, Op: "write outputs", Ref: ref, Msg: msg,
		Hint: fmt.Sprintf("batchwright verify %s", o.Run)}
}
