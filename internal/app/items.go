package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/sink"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
)

// ItemRow is one item in a list.
type ItemRow struct {
	Ordinal  batch.Ordinal   `json:"ordinal"`
	ID       string          `json:"id"`
	State    batch.ItemState `json:"state"`
	Class    batch.Class     `json:"class,omitempty"`
	Message  string          `json:"message,omitempty"`
	Tokens   int64           `json:"tokens"`
	CopyOf   string          `json:"copy_of,omitempty"`
	Cached   bool            `json:"cached,omitempty"`
	Attempts int             `json:"attempts,omitempty"`
}

// ItemQuery selects items of a run.
type ItemQuery struct {
	State batch.ItemState // "" all
	Class batch.Class     // "" all
	Limit int             // 0 all
}

// Items visits the items of a run that match, in manifest order.
func (a *App) Items(ctx context.Context, ref string, q ItemQuery, visit func(ItemRow) error) error {
	r, err := a.find(ctx, ref)
	if err != nil {
		return err
	}
	n := 0
	give := func(it ItemRow) error {
		if (q.State != "" && it.State != q.State) || (q.Class != "" && it.Class != q.Class) {
			return nil
		}
		if n++; q.Limit > 0 && n > q.Limit {
			return errStop
		}
		return visit(it)
	}
	if q.State == batch.ItemFailed { // an index serves these at any size of run
		return stopped(a.failedItems(ctx, r, give))
	}
	m, err := a.manifest(r)
	if err != nil {
		return err
	}
	rest := batch.ItemPending
	if r.State == batch.RunCancelled || r.State == batch.RunRejected {
		rest = batch.ItemSkipped
	}
	// Items without an outcome stand between those that have one.
	next := batch.Ordinal(0)
	fill := func(to batch.Ordinal) error {
		for next < to {
			es, err := m.Read(next, int(min(int64(to-next), 1000)))
			if err != nil {
				return err
			}
			for _, e := range es {
				if err := give(ItemRow{Ordinal: e.Ordinal, ID: e.ID, State: rest}); err != nil {
					return err
				}
				next++
			}
		}
		return nil
	}
	err = rows{app: a, ctx: ctx, run: r}.Outcomes(func(o batch.Outcome) error {
		if err := fill(o.Ordinal); err != nil {
			return err
		}
		next = o.Ordinal + 1
		return give(itemRow(o))
	})
	if err == nil {
		err = fill(batch.Ordinal(r.Items))
	}
	return stopped(err)
}

var errStop = errors.New("enough")

func stopped(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func itemRow(o batch.Outcome) ItemRow {
	c := o.Class
	if o.State == batch.ItemOK && c == batch.ClassOK {
		c = ""
	}
	return ItemRow{Ordinal: o.Ordinal, ID: o.ID, State: o.State, Class: c, Message: o.Message, Tokens: o.Usage.Total(), CopyOf: o.CopyOf, Cached: o.Cached}
}

func (a *App) failedItems(ctx context.Context, r store.Run, give func(ItemRow) error) error {
	for after := batch.Ordinal(-1); ; {
		fs, err := a.store.Failures(ctx, r.ID, "", after, 1000)
		if err != nil {
			return err
		}
		for _, f := range fs {
			if err := give(ItemRow{Ordinal: f.Ordinal, ID: f.ID, State: batch.ItemFailed, Class: f.Class, Message: f.Message, Attempts: f.Attempts}); err != nil {
				return err
			}
			after = f.Ordinal
		}
		if len(fs) < 1000 {
			return nil
		}
	}
}

// ItemDetail is everything known of one item.
type ItemDetail struct {
	Run      batch.RunID     `json:"run_id"`
	Item     ItemRow         `json:"item"`
	Line     int64           `json:"line"` // in its input file
	Source   string          `json:"source"`
	Payload  string          `json:"payload_sha256"`
	Input    json.RawMessage `json:"input,omitempty"` // only where it was asked for
	Output   json.RawMessage `json:"output,omitempty"`
	Attempts []batch.Attempt `json:"attempts"`
}

// Item returns one item with every attempt. Inputs and outputs are shown only
// with payload.
func (a *App) Item(ctx context.Context, ref, id string, payload bool) (ItemDetail, error) {
	r, err := a.find(ctx, ref)
	if err != nil {
		return ItemDetail{}, err
	}
	m, err := a.manifest(r)
	if err != nil {
		return ItemDetail{}, err
	}
	ord, ok, err := m.Lookup(id)
	if err != nil {
		return ItemDetail{}, err
	}
	if !ok {
		return ItemDetail{}, &batch.Error{Kind: batch.NotFound, Op: "find item", Ref: string(r.ID) + "/" + id, Msg: "the run has no such item",
			Hint: "batchwright items " + string(r.ID)}
	}
	es, err := m.Read(ord, 1)
	if err != nil {
		return ItemDetail{}, err
	}
	e := es[0]
	d := ItemDetail{Run: r.ID, Item: ItemRow{Ordinal: ord, ID: id, State: batch.ItemPending}, Line: e.Line, Payload: e.Payload.String(), Attempts: []batch.Attempt{}}
	if src := m.Header().Sources; e.Source < len(src) {
		d.Source = src[e.Source].URI
	}
	k := int64(ord) / int64(r.ShardSize) / r.StretchShards()
	segs, err := a.segments(ctx, r.ID)
	if err != nil {
		return d, err
	}
	s, err := rows{app: a, ctx: ctx, run: r}.stretch(k, segs, both)
	if err != nil {
		return d, err
	}
	for _, o := range s.outcomes {
		if o.Ordinal == ord {
			d.Item = itemRow(o)
			if payload {
				d.Output = o.Output
			}
		}
	}
	for _, at := range s.attempts {
		if at.Ordinal == ord {
			d.Attempts = append(d.Attempts, at)
		}
	}
	d.Item.Attempts = len(d.Attempts)
	if payload {
		its, err := m.Items(ctx, ord, 1)
		if err != nil {
			return d, err
		}
		d.Input = json.RawMessage(its[0].Payload)
	}
	return d, nil
}

// Results writes the outcomes of a run as it stands, in the form of the
// output files: "ok" gives results.jsonl lines, "failed" failed.jsonl lines.
// It works while the run goes on.
func (a *App) Results(ctx context.Context, ref string, w io.Writer, format, only string) error {
	r, err := a.find(ctx, ref)
	if err != nil {
		return err
	}
	sp, err := thaw(r)
	if err != nil {
		return err
	}
	return sink.Stream(ctx, w, rows{app: a, ctx: ctx, run: r}, format, only, sink.Options{Run: r.ID, Job: r.Job, Schema: sp.Task.Schema})
}

// written lists the output files of an ended run, as its _manifest.json says.
func (a *App) written(ctx context.Context, r store.Run) []sink.Written {
	b, key, err := a.cfg.Blobs.Open(ctx, join(r.OutputURI, sink.Manifest))
	if err != nil {
		return nil
	}
	defer b.Close() //nolint:errcheck // read only
	rc, err := b.OpenRange(ctx, key, 0, -1)
	if err != nil {
		return nil
	}
	defer rc.Close() //nolint:errcheck // read only
	var doc struct {
		RunID batch.RunID    `json:"run_id"`
		Files []sink.Written `json:"files"`
	}
	if err := json.NewDecoder(rc).Decode(&doc); err != nil || doc.RunID != r.ID {
		return nil
	}
	return doc.Files
}

// join adds a file name to a folder's path or URI.
func join(uri, name string) string {
	base, query, q := strings.Cut(uri, "?")
	if blob.IsLocal(uri) {
		return path.Join(uri, name)
	}
	out := strings.TrimSuffix(base, "/") + "/" + name
	if q {
		out += "?" + query
	}
	return out
}

func folder(uri string) string {
	base, query, q := strings.Cut(uri, "?")
	base = strings.TrimSuffix(base, "/") + "/"
	if q {
		base += "?" + query
	}
	return base
}

// objects lets outputs be written to a bucket.
type objects struct{ b blob.Bucket }

func (o objects) Put(ctx context.Context, key string, r io.Reader, contentType string) error {
	return o.b.Put(ctx, key, r, blob.PutOptions{ContentType: contentType})
}

func (o objects) Delete(ctx context.Context, key string) error {
	err := o.b.Delete(ctx, key)
	if batch.KindOf(err) == batch.NotFound {
		return nil
	}
	return err
}

// evaluator compares answers with the labels that items carry. Outcomes come
// in manifest order, so items are read by pages.
type evaluator struct {
	ctx   context.Context
	m     *manifest.Manifest
	e     spec.Evaluate
	page  int64
	first batch.Ordinal
	items []manifest.Item
}

func (v *evaluator) compare(o batch.Outcome) (want, got string, right bool, err error) {
	i := int(o.Ordinal - v.first)
	if len(v.items) == 0 || i < 0 || i >= len(v.items) {
		v.first = o.Ordinal
		n := min(v.page, v.m.Count()-int64(o.Ordinal))
		if v.items, err = v.m.Items(v.ctx, o.Ordinal, int(n)); err != nil {
			return "", "", false, err
		}
		i = 0
	}
	want = text(pick(json.RawMessage(v.items[i].Payload), v.e.Expected))
	got = text(o.Output)
	if v.e.Path != "" {
		got = text(pick(o.Output, v.e.Path))
	}
	return want, got, strings.EqualFold(strings.TrimSpace(want), strings.TrimSpace(got)), nil
}

func pick(obj json.RawMessage, key string) json.RawMessage {
	for part := range strings.SplitSeq(key, ".") {
		var m map[string]json.RawMessage
		if json.Unmarshal(obj, &m) != nil {
			return nil
		}
		obj = m[part]
	}
	return obj
}

func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}

// Compare puts two runs side by side.
type Compare struct {
	A, B  report.Run
	Flips []report.Flip
	Spec  []spec.Change
}

// Diff compares two runs: cost, latency, what flipped, what the specs differ in.
func (a *App) Diff(ctx context.Context, refA, refB string) (Compare, error) {
	var c Compare
	ra, err := a.find(ctx, refA)
	if err != nil {
		return c, err
	}
	rb, err := a.find(ctx, refB)
	if err != nil {
		return c, err
	}
	if c.A, err = a.Report(ctx, string(ra.ID)); err != nil {
		return c, err
	}
	if c.B, err = a.Report(ctx, string(rb.ID)); err != nil {
		return c, err
	}
	sa, err := thaw(ra)
	if err != nil {
		return c, err
	}
	sb, err := thaw(rb)
	if err != nil {
		return c, err
	}
	c.Spec = spec.Diff(sa, sb)
	c.Flips, err = a.flips(ctx, ra, rb)
	return c, err
}
