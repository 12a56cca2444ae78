package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/dispatch"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store"
	"github.com/batchwright/batchwright/internal/store/sqlite"
)

// usurp does what the lock of the data directory keeps every honest process
// from: it takes the leases of a live worker over, as if that one were dead.
// The worker is then a zombie with calls on the wire, which must be fenced, and
// must tell the truth of them once.
func usurp(w *world) (err error) {
	ctx := context.Background()
	path := filepath.Join(w.dir, "data-storm", "batchwright.db")
	codec, err := segment.NewCodec()
	if err != nil {
		return err
	}
	pool, err := sqlite.Handle(path, 1, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	bells, err := dispatch.NewRiver(ctx, pool, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
	if err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, sqlite.Config{Path: path, Pool: pool, Bells: bells,
		Pack: func(a batch.Attempt) ([]byte, error) {
			return codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
		}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	runs, err := st.List(ctx, store.Filter{Limit: 1})
	if err != nil || len(runs) == 0 {
		return errors.Join(err, errors.New("there is no run to take over"))
	}
	_, err = st.Reap(ctx, "usurper", 0, []batch.RunID{runs[0].ID})
	return err
}
