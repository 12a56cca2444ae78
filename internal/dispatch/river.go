// Package dispatch rings doorbells and hears them. The engine is River, on the
// same database as the store: a bell is inserted in the transaction that made
// the work ready. River is never asked what is true: it may deliver a bell
// late, twice or never, and whoever hears one looks at the store first. Its
// rescue of stuck jobs, its retries and its completion are not relied on.
package dispatch

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/batchwright/batchwright/internal/batch"
)

// Hear is called for each bell, many at a time. An error rings the bell again
// later; a bell that no longer means anything is nil.
type Hear func(ctx context.Context, b batch.Bell) error

// Limits of one process. Work bells hold a place for as long as their shard is
// worked; the number of shards worked at once is bounded by the windows of the
// runs, not by these.
const (
	workPlaces    = 4096
	controlPlaces = 8
)

// The queues. Work bells go to the queue of their run.
const (
	queueHigh       = "high"
	queueBestEffort = "best_effort"
	queueControl    = "control"
)

// River is the engine on SQLite.
type River struct {
	db     *sql.DB
	log    *slog.Logger
	client *river.Client[*sql.Tx]
}

type bellArgs struct {
	batch.Bell
}

func (bellArgs) Kind() string { return "bell" }

type bellWorker struct {
	river.WorkerDefaults[bellArgs]
	hear Hear
}

// Timeout is none: a shard takes as long as it takes.
func (*bellWorker) Timeout(*river.Job[bellArgs]) time.Duration { return -1 }

// NextRetry keeps a failed seal or delivery from waiting for hours.
func (*bellWorker) NextRetry(j *river.Job[bellArgs]) time.Time {
	return time.Now().Add(min(time.Duration(1<<min(j.Attempt, 6))*time.Second, time.Minute))
}

func (w *bellWorker) Work(ctx context.Context, j *river.Job[bellArgs]) error {
	return w.hear(ctx, j.Args.Bell)
}

// NewRiver prepares River's tables in db, which is a pool of one connection on
// the store's file and belongs to River from then on. Bells can be rung at
// once; they are heard after Start.
func NewRiver(ctx context.Context, db *sql.DB, log *slog.Logger, hear Hear) (*River, error) {
	driver := riversqlite.New(db)
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return nil, fmt.Errorf("prepare the queue: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("prepare the queue: %w", err)
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &bellWorker{hear: hear}); err != nil {
		return nil, err
	}
	client, err := river.NewClient(driver, &river.Config{
		Logger:                      log,
		Workers:                     workers,
		PollOnly:                    true,
		FetchCooldown:               10 * time.Millisecond,
		FetchPollInterval:           50 * time.Millisecond,
		CompletedJobRetentionPeriod: time.Minute,
		CancelledJobRetentionPeriod: time.Minute,
		DiscardedJobRetentionPeriod: time.Hour,
		JobTimeout:                  -1,
		MaxAttempts:                 50,
		Queues: map[string]river.QueueConfig{
			queueHigh:       {MaxWorkers: workPlaces},
			queueBestEffort: {MaxWorkers: workPlaces},
			queueControl:    {MaxWorkers: controlPlaces},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the queue: %w", err)
	}
	return &River{db: db, log: log, client: client}, nil
}

// Ring inserts bells in tx, a transaction of the store on the same file.
func (r *River) Ring(ctx context.Context, tx *sql.Tx, bells []batch.Bell) error {
	params := make([]river.InsertManyParams, len(bells))
	for i, b := range bells {
		q := queueControl
		if b.Kind == batch.BellWork {
			q = queueBestEffort
			if b.Queue == "high" {
				q = queueHigh
			}
		}
		params[i] = river.InsertManyParams{Args: bellArgs{b}, InsertOpts: &river.InsertOpts{Queue: q}}
	}
	_, err := r.client.InsertManyFastTx(ctx, tx, params)
	return err
}

// Start begins to hear bells; it returns once the queue runs.
func (r *River) Start(ctx context.Context) error { return r.client.Start(context.WithoutCancel(ctx)) }

// Stop hears no new bell and waits for those under way until ctx ends, then
// cancels their contexts and waits for them to return.
func (r *River) Stop(ctx context.Context) error {
	err := r.client.Stop(ctx)
	if err != nil {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = r.client.StopAndCancel(hard)
	}
	return err
}
