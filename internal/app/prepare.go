package app

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/batchwright/batchwright/internal/answer"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/lease"
	"github.com/batchwright/batchwright/internal/manifest"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/prompt"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/worker"
)

// lanes are shared by all runs of the process that use one key and model.
type lanes struct {
	mu sync.Mutex
	m  map[pacing.Key]*worker.Lane
}

// manifests are open while the process lives; they are read-only and few.
type manifests struct {
	mu sync.Mutex
	m  map[batch.RunID]*manifest.Manifest
}

func (x *manifests) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, m := range x.m {
		errs = append(errs, m.Close())
	}
	x.m = nil
	return errors.Join(errs...)
}

// manifest opens the frozen items of a run.
func (a *App) manifest(r store.Run) (*manifest.Manifest, error) {
	a.runs.mu.Lock()
	defer a.runs.mu.Unlock()
	if m := a.runs.m[r.ID]; m != nil {
		return m, nil
	}
	m, err := manifest.Open(filepath.Join(a.dir.Root(), r.ManifestDir), a.cfg.Blobs)
	if err != nil {
		return nil, err
	}
	if m.Digest() != r.ManifestDigest {
		return nil, errors.Join(m.Close(), &batch.Error{Kind: batch.Internal, Op: "open manifest", Ref: string(r.ID),
			Msg: "the manifest on disk is not the run's", Hint: "batchwright verify " + string(r.ID)})
	}
	if a.runs.m == nil {
		a.runs.m = map[batch.RunID]*manifest.Manifest{}
	}
	a.runs.m[r.ID] = m
	return m, nil
}

// template is a task's prompt, parsed once.
type template struct {
	system   *prompt.Template
	messages []turn
	raw      bool // the items are OpenAI batch file lines
}

type turn struct {
	role string
	text *prompt.Template
}

func parseTask(sp *spec.Spec) (template, error) {
	var t template
	if sp.Input.Format == "openai_batch" && sp.Task.Prompt == "" && len(sp.Task.Messages) == 0 {
		t.raw = true
		return t, nil
	}
	var errs []error
	parse := func(name, src string) *prompt.Template {
		p, err := prompt.Parse(name, src)
		errs = append(errs, err)
		return p
	}
	if sp.Task.System != "" {
		t.system = parse("task.system", sp.Task.System)
	}
	if sp.Task.Prompt != "" {
		t.messages = append(t.messages, turn{"user", parse("task.prompt", sp.Task.Prompt)})
	}
	for i, m := range sp.Task.Messages {
		t.messages = append(t.messages, turn{m.Role, parse(fmt.Sprintf("task.messages[%d]", i), m.Content)})
	}
	return t, errors.Join(errs...)
}

func (t template) all() []*prompt.Template {
	var ts []*prompt.Template
	if t.system != nil {
		ts = append(ts, t.system)
	}
	for _, m := range t.messages {
		ts = append(ts, m.text)
	}
	return ts
}

// request renders one item.
func (t template) request(sp *spec.Spec, fields json.RawMessage) (provider.Request, error) {
	q := provider.Request{Model: sp.Task.Model, MaxOutputTokens: sp.Task.MaxOutputTokens, Params: sp.Task.Params,
		Schema: sp.Task.Schema, SchemaName: "answer", Fields: fields}
	if t.raw {
		var line struct {
			Body json.RawMessage `json:"body"`
			URL  string          `json:"url"`
		}
		if err := json.Unmarshal(fields, &line); err != nil {
			return q, err
		}
		q.Body, q.Endpoint = line.Body, line.URL
		return q, nil
	}
	if t.system != nil {
		s, err := t.system.Render(fields)
		if err != nil {
			return q, err
		}
		q.System = s
	}
	for _, m := range t.messages {
		s, err := m.text.Render(fields)
		if err != nil {
			return q, err
		}
		q.Messages = append(q.Messages, provider.Message{Role: m.role, Content: answer.Plain(s)})
	}
	return q, nil
}

// provider builds the adapter of a task.
func (a *App) provider(sp *spec.Spec, key secret.Secret) (provider.Provider, error) {
	f, err := a.cfg.Providers.Lookup(sp.Task.Provider)
	if err != nil {
		return nil, err
	}
	return f.New(provider.Config{Provider: sp.Task.Provider, BaseURL: sp.Task.BaseURL, Model: sp.Task.Model, Endpoint: sp.Task.Endpoint,
		Key: func() secret.Secret { return key }, Headers: sp.Task.Headers, Options: sp.Task.Options, Client: a.cfg.Client(sp.Pacing.MaxConcurrency)})
}

// lane returns the pace that all callers of a key and model share.
func (a *App) lane(sp *spec.Spec, host string, key secret.Secret) *worker.Lane {
	k := pacing.Key{Host: host, KeyID: key.Fingerprint(), Model: sp.Task.Model}
	g := a.cfg.Gates.Get(k, pacing.Config{RPM: sp.Pacing.RPM, TPM: sp.Pacing.TPM, MinConcurrency: sp.Pacing.MinConcurrency,
		// OpenAI counts a call's limit of output against the rate when it comes.
		KeepEstimate: sp.Task.Provider == "openai", MaxConcurrency: sp.Pacing.MaxConcurrency, Now: a.cfg.Now, Rand: a.cfg.Rand})
	a.lanes.mu.Lock()
	defer a.lanes.mu.Unlock()
	if a.lanes.m == nil {
		a.lanes.m = map[pacing.Key]*worker.Lane{}
	}
	if a.lanes.m[k] == nil {
		a.lanes.m[k] = worker.NewLane(g, a.cfg.Now)
	}
	return a.lanes.m[k]
}

// workerRun makes what the worker needs of a run.
func (a *App) workerRun(r store.Run, sp *spec.Spec) (*worker.Run, error) {
	key, err := a.key(sp)
	if err != nil {
		return nil, err
	}
	p, err := a.provider(sp, key)
	if err != nil {
		return nil, err
	}
	m, err := a.manifest(r)
	if err != nil {
		return nil, err
	}
	t, err := parseTask(sp)
	if err != nil {
		return nil, err
	}
	check := func(text string) (json.RawMessage, error) { return answer.Plain(text), nil }
	if len(sp.Task.Schema) > 0 {
		c, err := answer.Compile(sp.Task.Schema)
		if err != nil {
			return nil, err
		}
		check = c.Check
	}
	var price *money.PriceCard
	if len(r.Price) > 0 {
		price = &money.PriceCard{}
		if err := json.Unmarshal(r.Price, price); err != nil {
			return nil, err
		}
	}
	w := &worker.Run{ID: r.ID, Price: price, Check: check, Call: p.Do, Lane: a.lane(sp, p.Traits().Host, key),
		Policy: lease.Policy{MaxAttempts: sp.MaxAttempts, Timeout: sp.Timeout, OnTruncated: sp.Task.OnTruncated,
			Cache: sp.Cache == "reuse", Retried: r.Retried > 0, ItemBudgets: sp.Budget.ItemTokens >= 0 || m.Header().Counts.Budgeted > 0}}
	maker := &workMaker{sp: sp, t: t, p: p, m: m, traits: p.Traits()}
	w.Prepare = maker.prepare
	return w, nil
}

// workMaker turns manifest items into calls.
type workMaker struct {
	sp     *spec.Spec
	t      template
	p      provider.Provider
	m      *manifest.Manifest
	traits provider.Traits
}

func (x *workMaker) prepare(ctx context.Context, first batch.Ordinal, n int) ([]lease.Work, error) {
	items, err := x.m.Items(ctx, first, n)
	if err != nil {
		return nil, err
	}
	works := make([]lease.Work, len(items))
	for i, it := range items {
		works[i] = x.work(it)
	}
	return works, nil
}

// one makes a single item, and returns its entry and payload beside it.
func (x *workMaker) one(ctx context.Context, o batch.Ordinal) (lease.Work, manifest.Entry, []byte, error) {
	items, err := x.m.Items(ctx, o, 1)
	if err != nil {
		return lease.Work{}, manifest.Entry{}, nil, err
	}
	return x.work(items[0]), items[0].Entry, items[0].Payload, nil
}

// work renders and encodes one item. What cannot be rendered or encoded is the
// item's failure, not the run's: it is known before a byte is sent.
func (x *workMaker) work(it manifest.Item) lease.Work {
	w := lease.Work{Ordinal: it.Ordinal, ID: it.ID, Bad: it.Bad, Leader: it.Leader, Leads: it.Leads, Budget: it.TokenBudget}
	if x.sp.Budget.ItemTokens >= 0 && (w.Budget < 0 || x.sp.Budget.ItemTokens < w.Budget) {
		w.Budget = x.sp.Budget.ItemTokens
	}
	if w.Bad != "" {
		return w
	}
	q, err := x.t.request(x.sp, it.Payload)
	if err == nil {
		w.Call, err = x.p.Encode(q)
	}
	if err != nil {
		w.Bad = err.Error()
		return w
	}
	w.Hash = requestHash(x.traits, w.Call)
	w.Raise = func(limit int64) (provider.Call, error) {
		q.MaxOutputTokens = limit
		return x.p.Encode(q)
	}
	return w
}

// requestHash identifies a request across runs: the same bytes to the same
// place.
func requestHash(t provider.Traits, c provider.Call) [32]byte {
	h := sha256.New()
	for _, part := range []string{t.Name, t.Host, c.Method, c.Path} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	h.Write(c.Body)
	return [32]byte(h.Sum(nil))
}
