// Package app is the one application service. Every door (command line, API,
// pages) reaches the system through it, and it alone decides, authorises and
// opens transactions. A laptop run is the same code as a server: an App with a
// worker in it.
package app

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"io"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/budget"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/prices"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/worker"
)

// Config is what an App is made of. Worker is nil where nothing is worked:
// queries and changes of state still serve.
type Config struct {
	Dir       *datadir.Dir
	Store     store.Store
	Cold      blob.Bucket // sealed segments, by datadir keys
	Blobs     *blob.Registry
	Codec     *segment.Codec
	Worker    *worker.Worker
	Providers *provider.Registry
	Gates     *pacing.Gates
	Prices    *prices.Table
	Client    func(concurrency int) *http.Client
	Now       func() time.Time
	Rand      func() float64
	NewID     func() batch.RunID
	Getenv    func(string) string
	ReadFile  func(string) ([]byte, error)
	Keys      Keyring          // which keys may be sent where
	Secrets   *secret.Redactor // told every key that is read; nil: nobody asks
	Stdin     io.Reader
	Log       *slog.Logger
	Version   string
	// Config is where config.yaml is, when not in the data directory.
	Config string
}

// App is the application service.
type App struct {
	cfg   Config
	dir   *datadir.Dir
	store store.Store
	cold  blob.Bucket
	codec *segment.Codec
	log   *slog.Logger
	lanes lanes
	runs  manifests
	// budgets is the config that was put in force; under runs.mu.
	budgets *budget.Config
	// sealers has a mutex for each run that was sealed here.
	sealers sync.Map
}

// New returns the service. SetWorker gives it one later, since a worker needs
// the service's Seal and Finish first.
func New(cfg Config) *App {
	return &App{cfg: cfg, dir: cfg.Dir, store: cfg.Store, cold: cfg.Cold, codec: cfg.Codec, log: cfg.Log}
}

// SetWorker lets the service work runs.
func (a *App) SetWorker(w *worker.Worker) { a.cfg.Worker = w }

// find returns the run of a reference: an id, or "" or "latest" for the newest.
func (a *App) find(ctx context.Context, ref string) (store.Run, error) {
	if ref != "" && ref != "latest" {
		return a.store.Run(ctx, batch.RunID(ref))
	}
	rs, err := a.store.List(ctx, store.Filter{Limit: 1})
	if err != nil {
		return store.Run{}, err
	}
	if len(rs) == 0 {
		return store.Run{}, &batch.Error{Kind: batch.NotFound, Op: "find run", Ref: a.dir.Root(), Msg: "there are no runs yet",
			Hint: "batchwright run job.yaml"}
	}
	return rs[0], nil
}

// Close releases what runs hold open.
func (a *App) Close() error { return a.runs.close() }
