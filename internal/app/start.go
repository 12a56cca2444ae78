package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/budget"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
	"github.com/batchwright/batchwright/internal/prices"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
)

// frozen is the spec as a run keeps it.
type frozen struct {
	Spec *spec.Spec `json:"spec"`
	Dir  string     `json:"dir"`
	File string     `json:"file"`
}

func freeze(sp *spec.Spec) ([]byte, error) { return json.Marshal(frozen{sp, sp.Dir, sp.File}) }

func thaw(r store.Run) (*spec.Spec, error) {
	var f frozen
	if err := json.Unmarshal(r.Spec, &f); err != nil {
		return nil, &batch.Error{Kind: batch.Internal, Op: "read the run's spec", Ref: string(r.ID), Err: err}
	}
	f.Spec.Dir, f.Spec.File = f.Dir, f.File
	return f.Spec, nil
}

// StartRequest asks for a run.
type StartRequest struct {
	Spec *spec.Spec
	// Key makes the request permanent: the same key always means the same run.
	Key string
	// New starts another run even where an unfinished one could go on.
	New bool
	// AllowPartial runs what fits although the estimate is above the budget.
	AllowPartial bool
}

// Started is the answer to a StartRequest.
type Started struct {
	Run     batch.RunID
	Resumed bool   // an unfinished run goes on
	Ended   bool   // the key's run has ended; nothing is run and nothing is paid
	Note    string // what a person should know
	Plan    *plan.Plan
	// Manifest says what was frozen; zero when resumed.
	Items, Bad, Followers int64
}

// Start starts a run, or goes on with the unfinished run of the same job, spec
// and input. The run is running when it returns; Wait follows it.
func (a *App) Start(ctx context.Context, q StartRequest) (Started, error) {
	if err := anchor(q.Spec); err != nil {
		return Started{}, err
	}
	if q.Key != "" {
		rs, err := a.store.List(ctx, store.Filter{Key: q.Key, Limit: 1})
		if err != nil {
			return Started{}, err
		}
		if len(rs) == 1 {
			return a.startByKey(ctx, q, rs[0])
		}
	}
	if !q.New && q.Key == "" && q.Spec.Input.URI != "-" {
		s, ok, err := a.continueUnfinished(ctx, q)
		if ok || err != nil {
			return s, err
		}
	}
	return a.create(ctx, q)
}

// anchor makes the folder of a spec absolute: a run is resumed from anywhere.
func anchor(sp *spec.Spec) error {
	dir, err := filepath.Abs(sp.Dir)
	if err != nil {
		return &batch.Error{Kind: batch.Invalid, Op: "find the spec's folder", Ref: sp.Dir, Err: err}
	}
	sp.Dir = dir
	return nil
}

func (a *App) startByKey(ctx context.Context, q StartRequest, r store.Run) (Started, error) {
	if r.WorkDigest != q.Spec.WorkDigest() {
		return Started{}, &batch.Error{Kind: batch.Conflict, Op: "run", Ref: string(r.ID),
			Msg:  fmt.Sprintf("the run key %q belongs to a run of another spec", q.Key),
			Hint: "a key means one run for ever; choose another key"}
	}
	if r.State.Ended() && !r.State.Resumable() {
		return Started{Run: r.ID, Ended: true, Note: fmt.Sprintf("the run of key %q ended before; nothing is paid again", q.Key)}, nil
	}
	return a.goOn(ctx, r, q.Spec)
}

// continueUnfinished finds the newest unfinished run of the same job, spec and
// input.
func (a *App) continueUnfinished(ctx context.Context, q StartRequest) (Started, bool, error) {
	rs, err := a.store.List(ctx, store.Filter{Job: q.Spec.Job, States: resumable(), Limit: 100})
	if err != nil {
		return Started{}, false, err
	}
	for _, r := range rs {
		if r.InputKey != inputKey(q.Spec) || r.WorkDigest != q.Spec.WorkDigest() {
			continue
		}
		if r.State == batch.RunStoppedBudget && r.Short.Shared() {
			if err := a.stillShort(ctx, r, q.Spec); err != nil {
				return Started{}, true, err
			}
		} else if r.State == batch.RunStoppedBudget && limits(q.Spec) == r.Budget.Limit {
			return Started{}, true, &batch.Error{Kind: batch.BudgetExceeded, Op: "run", Ref: string(r.ID),
				Msg:  fmt.Sprintf("this run stopped at its budget with %d of %d items done, and the spec's budget is still the same", r.Counts.OK+r.Counts.Failed, r.Items),
				Hint: "raise token_budget or budget.usd in " + name(q.Spec) + " and run it again; or start anew with --new"}
		}
		s, err := a.goOn(ctx, r, q.Spec)
		return s, true, err
	}
	return Started{}, false, nil
}

func resumable() []batch.RunState {
	var ss []batch.RunState
	for _, s := range batch.RunStates() {
		if s.Resumable() {
			ss = append(ss, s)
		}
	}
	return ss
}

func name(sp *spec.Spec) string {
	if sp.File == "" {
		return "the spec"
	}
	return sp.File
}

// goOn resumes a run, under the limits and pace of sp.
func (a *App) goOn(ctx context.Context, r store.Run, sp *spec.Spec) (Started, error) {
	m, err := a.manifest(r)
	if err != nil {
		return Started{}, err
	}
	if err := m.VerifySources(ctx, false); err != nil {
		if err := a.inputChanged(ctx, r, sp, m, err); err != nil {
			return Started{}, err
		}
	}
	deadline := r.DeadlineAt
	if r.State == batch.RunDeadlineExceeded || deadline != 0 {
		deadline = deadlineAt(sp, a.cfg.Now())
	}
	if l := limits(sp); l != r.Budget.Limit || deadline != r.DeadlineAt {
		if r.State == batch.RunStoppedBudget {
			// It is set going before it gets its new limit: with the limit alone,
			// after a crash, it would look like one that nobody has raised.
			if err := a.store.Transition(ctx, r.ID, []batch.RunState{batch.RunStoppedBudget}, batch.RunRunning, ""); err != nil {
				return Started{}, err
			}
		}
		if err := a.store.SetLimit(ctx, r.ID, l, deadline); err != nil {
			return Started{}, err
		}
	}
	failpoint.Hit("resume.ready")
	note := fmt.Sprintf("going on with run %s (%s): %d of %d items are done", r.ID, r.State, r.Counts.OK+r.Counts.Failed+r.Counts.Skipped, r.Items)
	if err := a.launch(ctx, r, sp); err != nil {
		return Started{}, err
	}
	return Started{Run: r.ID, Resumed: true, Note: note, Items: r.Items}, nil
}

// inputChanged says what is different in an input that is not what the run's
// manifest was made from, by freezing it again beside it. An input that was
// only touched, or moved to other bytes, is none: each item is verified when it
// is read.
func (a *App) inputChanged(ctx context.Context, r store.Run, sp *spec.Spec, m *manifest.Manifest, cause error) error {
	refused := &batch.Error{Kind: batch.Conflict, Op: "resume", Ref: string(r.ID),
		Msg:  "the input changed since the run's manifest was frozen",
		Hint: "put the old input back, or start anew with --new (items already paid for in this run stay in its results)", Err: cause}
	id := a.cfg.NewID()
	now, err := a.freezeInput(ctx, sp, id)
	if err != nil { // it cannot even be frozen: the cause says enough
		return a.discard(id, refused)
	}
	d, err := manifest.Diff(ctx, m, now, 3)
	if cerr := now.Close(); err == nil {
		err = cerr
	}
	if err := a.discard(id, err); err != nil {
		return refused
	}
	if d.Empty() {
		return nil
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
		ids  []string
	}{{d.Added, "added", d.AddedIDs}, {d.Changed, "changed", d.ChangedIDs}, {d.Removed, "removed", d.RemovedIDs}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", p.n, p.what, strings.Join(p.ids, ", ")))
		}
	}
	refused.Msg += ": " + strings.Join(parts, ", ")
	refused.Hint += fmt.Sprintf("; a new run pays for all %d items, or with cache: reuse for the %d added and changed ones", now.Count(), d.Added+d.Changed)
	return refused
}

// launch gives a stored run to the worker and moves it to running. A run that
// died while its outputs were written is delivered again.
func (a *App) launch(ctx context.Context, r store.Run, sp *spec.Spec) error {
	w, err := a.workerRun(r, sp)
	if err != nil {
		return err
	}
	if a.cfg.Worker == nil {
		return &batch.Error{Kind: batch.Internal, Op: "run", Ref: string(r.ID), Msg: "this process does not work runs"}
	}
	if err := a.enrol(ctx, r, sp); err != nil {
		return err
	}
	// The worker learns of the run once it is running. A bell of the time before,
	// to finish a run whose stop is just being taken back, would else be heard
	// on both sides of that, and end what goes on.
	if r.State != batch.RunDelivering {
		from := append(resumable(), batch.RunSucceeded, batch.RunPartial, batch.RunFailed)
		if err := a.store.Transition(ctx, r.ID, from, batch.RunRunning, ""); err != nil {
			return err
		}
	}
	failpoint.Hit("launch.running")
	a.cfg.Worker.Add(w)
	failpoint.Hit("launch.added")
	return a.cfg.Worker.Rouse(ctx, r.ID)
}

// create freezes the input and starts a new run.
func (a *App) create(ctx context.Context, q StartRequest) (Started, error) {
	sp := q.Spec
	if _, err := a.key(sp); err != nil {
		return Started{}, err // before anything is built: a missing key costs nothing
	}
	id := a.cfg.NewID()
	m, err := a.freezeInput(ctx, sp, id)
	if err != nil {
		return Started{}, a.discard(id, err)
	}
	failpoint.Hit("start.frozen")
	r, p, err := a.draft(ctx, sp, id, m)
	if err == nil {
		err = plan.Decide(*p, q.AllowPartial)
	}
	failpoint.Hit("start.planned")
	if err == nil {
		r.Key = q.Key
		err = a.store.CreateRun(ctx, r)
	}
	if err != nil {
		return Started{Plan: p}, a.discard(id, errors.Join(err, m.Close()))
	}
	failpoint.Hit("start.stored")
	a.runs.mu.Lock()
	if a.runs.m == nil {
		a.runs.m = map[batch.RunID]*manifest.Manifest{}
	}
	a.runs.m[id] = m
	a.runs.mu.Unlock()
	c := m.Header().Counts
	return Started{Run: id, Plan: p, Items: m.Count(), Bad: c.Bad, Followers: c.Followers}, a.launch(ctx, r, sp)
}

// discard removes the folder of a run that did not come to be.
func (a *App) discard(id batch.RunID, err error) error {
	failpoint.Hit("discard.before")
	if rerr := os.RemoveAll(a.dir.Run(id)); rerr != nil && err == nil {
		return rerr
	}
	return err
}

// freezeInput builds the manifest of a new run.
func (a *App) freezeInput(ctx context.Context, sp *spec.Spec, id batch.RunID) (*manifest.Manifest, error) {
	t, err := parseTask(sp)
	if err != nil {
		return nil, err
	}
	m, _, err := manifest.Build(ctx, a.manifestConfig(sp, t), a.dir.Manifest(id))
	return m, err
}

func (a *App) manifestConfig(sp *spec.Spec, t template) manifest.Config {
	in := sp.Input
	c := manifest.Config{URI: in.URI, Dir: sp.Dir, Format: in.Format, ID: in.ID, Fields: in.Fields, Delimiter: in.Delimiter,
		Header: in.Header, Limit: in.Limit, Quarantine: in.OnBadItem == "quarantine", TokenBudgetField: "token_budget",
		SpecDigest: sp.Digest(), Stdin: a.cfg.Stdin, Blobs: a.cfg.Blobs}
	if sp.Evaluate != nil {
		c.ExpectedFields = []string{sp.Evaluate.Expected}
	}
	simple, whole := true, false
	seen := map[string]bool{}
	for _, p := range t.all() {
		required, plain := p.Fields()
		simple, whole = simple && plain, whole || p.UsesWholeItem()
		for _, f := range required {
			if !seen[f] {
				seen[f] = true
				c.RequiredFields = append(c.RequiredFields, f)
			}
		}
	}
	// The http provider's request template can name any field of the item.
	if sp.Task.Provider == "http" || t.raw {
		return c
	}
	switch {
	case !sp.Dedupe && simple:
	case simple && !whole:
		c.KeyFields = c.RequiredFields
	default:
		c.Render = func(row []byte) ([]byte, error) {
			q, err := t.request(sp, row)
			if err != nil {
				return nil, err
			}
			h := sha256.New()
			fmt.Fprintf(h, "%d:%s", len(q.System), q.System)
			for _, m := range q.Messages {
				fmt.Fprintf(h, "%s%d:%s", m.Role, len(m.Content), m.Content)
			}
			return h.Sum(nil), nil
		}
	}
	return c
}

// draft makes the row of a new run, and its plan.
func (a *App) draft(ctx context.Context, sp *spec.Spec, id batch.RunID, m *manifest.Manifest) (store.Run, *plan.Plan, error) {
	now := a.cfg.Now()
	r := store.Run{ID: id, Job: sp.Job, State: batch.RunQueued, SpecDigest: sp.Digest(), WorkDigest: sp.WorkDigest(), InputKey: inputKey(sp),
		ManifestDigest: m.Digest(), Items: m.Count(), ShardSize: sp.BatchSize, Queue: sp.Queue, PriceVersion: a.cfg.Prices.Version(),
		ItemTokens: sp.Budget.ItemTokens, CreatedAt: now.UnixMicro(), DeadlineAt: deadlineAt(sp, now),
		Budget: batch.Level{Limit: limits(sp)}, Window: window(sp)}
	var err error
	if r.ManifestDir, err = filepath.Rel(a.dir.Root(), a.dir.Manifest(id)); err != nil {
		return r, nil, err
	}
	if r.Spec, err = freeze(sp); err != nil {
		return r, nil, err
	}
	r.OutputURI = a.outputURI(sp, id)
	// A place that cannot be written is better known before than after.
	_, done, err := a.destination(ctx, r)
	if err == nil {
		err = done()
	}
	if err != nil {
		return r, nil, err
	}
	card, err := a.price(sp)
	if err != nil {
		return r, nil, err
	}
	bs, err := a.sharedBy(sp)
	if err == nil {
		err = priced(bs, card != nil, sp)
	}
	if err != nil {
		return r, nil, err
	}
	r.Draws = budget.Names(bs)
	if card != nil {
		if r.Price, err = json.Marshal(card); err != nil {
			return r, nil, err
		}
	}
	p, err := a.plan(ctx, sp, m, card)
	if err != nil {
		return r, nil, err
	}
	r.Plan, err = json.Marshal(p)
	return r, p, err
}

// window is how many shards are kept open: twice what the lane can hold, and
// some more, so that its places are never empty while shards end and the next
// are claimed. That takes four writes and a turn of the queue, in which a fast
// provider answers several hundred calls.
func window(sp *spec.Spec) int64 {
	const turn = 1000
	return int64((2*sp.Pacing.MaxConcurrency+turn+sp.BatchSize-1)/sp.BatchSize + 2)
}

func limits(sp *spec.Spec) money.Limit {
	return money.Limit{Tokens: sp.Budget.Tokens, Pico: sp.Budget.Pico, Retries: sp.Budget.Retries}
}

// price is the card a run freezes: the spec's own, the user's, or the table's.
// Without one a budget in USD cannot be kept and is refused.
func (a *App) price(sp *spec.Spec) (*money.PriceCard, error) {
	if sp.Task.Price != nil {
		return sp.Task.Price, nil
	}
	if c, ok := a.cfg.Prices.Lookup(sp.Task.Provider, sp.Task.Model); ok {
		return &c, nil
	}
	if sp.Budget.Pico >= 0 {
		return nil, &batch.Error{Kind: batch.Invalid, Op: "budget.usd", Ref: name(sp),
			Msg:  fmt.Sprintf("the price of %s/%s is not known, so a budget in USD cannot be kept", sp.Task.Provider, sp.Task.Model),
			Hint: prices.MissingHint(sp.Task.Provider, sp.Task.Model)}
	}
	return nil, nil
}

// LocalInput is the absolute path of a spec's input where that is on this
// machine: a file, a folder or a glob.
func LocalInput(sp *spec.Spec) (string, bool) {
	uri := sp.Input.URI
	if uri == "-" || !blob.IsLocal(uri) {
		return "", false
	}
	p, err := blob.LocalPath(uri)
	if err != nil {
		return "", false
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(sp.Dir, p)
	}
	return filepath.Clean(p), true
}

// inputKey is what "the same input" means: where it is and how it is read, not
// what is in it now.
func inputKey(sp *spec.Spec) string {
	in := sp.Input
	uri := in.URI
	if p, ok := LocalInput(sp); ok {
		uri = p
	}
	in.URI = uri
	b, err := json.Marshal(in)
	if err != nil { // strings, bools and numbers
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// outputURI is where outputs go: as the spec says, relative to its folder.
func (a *App) outputURI(sp *spec.Spec, id batch.RunID) string {
	uri := strings.NewReplacer("{run_id}", string(id), "{job}", sp.Job).Replace(sp.Output.URI)
	if uri == "" {
		return a.dir.Output(id)
	}
	if !blob.IsLocal(uri) {
		return uri
	}
	p, err := blob.LocalPath(uri)
	if err != nil {
		return uri
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(sp.Dir, p)
	}
	return p
}

// deadlineAt is when the run must stop, in unix microseconds; 0 never.
func deadlineAt(sp *spec.Spec, now time.Time) int64 {
	if sp.Deadline.After > 0 {
		return now.Add(sp.Deadline.After).UnixMicro()
	}
	if sp.Deadline.At == "" {
		return 0
	}
	zone := time.UTC
	if sp.Timezone != "" {
		if z, err := time.LoadLocation(sp.Timezone); err == nil { // the spec's parser has checked it
			zone = z
		}
	}
	clock, err := time.Parse("15:04", sp.Deadline.At)
	if err != nil {
		return 0
	}
	n := now.In(zone)
	t := time.Date(n.Year(), n.Month(), n.Day(), clock.Hour(), clock.Minute(), 0, 0, zone)
	if !t.After(n) {
		t = time.Date(n.Year(), n.Month(), n.Day()+1, clock.Hour(), clock.Minute(), 0, 0, zone)
	}
	return t.UnixMicro()
}
