package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
)

// Sweep removes what killed processes left in the data directory: the manifests
// of runs that did not come to be, and drafts of files. Only the process that
// holds the directory's lock may call it, before it begins anything.
//
// A folder that the store does not know and that holds more than a manifest is
// left alone: results that were paid for may be in it, of a time after the
// backup that the store was restored from.
func (a *App) Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(a.dir.Run(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return sweepError(a.dir.Run(""), err)
	}
	for _, e := range entries {
		id := batch.RunID(e.Name())
		_, err := a.store.Run(ctx, id)
		switch {
		case err == nil:
			err = a.sweepDrafts(filepath.Join(a.dir.Run(id), "segments"))
		case batch.KindOf(err) == batch.NotFound:
			err = a.sweepUnborn(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepUnborn removes the folder of a run that is not in the store, where there
// is nothing but a manifest in it.
func (a *App) sweepUnborn(id batch.RunID) error {
	entries, err := os.ReadDir(a.dir.Run(id))
	if err != nil {
		return nil //nolint:nilerr // not a folder: not one of ours
	}
	for _, e := range entries {
		if filepath.Join(a.dir.Run(id), e.Name()) != a.dir.Manifest(id) {
			return nil
		}
	}
	return a.discard(id, nil)
}

// sweepDrafts removes unfinished files from a folder, which may not be there.
func (a *App) sweepDrafts(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil //nolint:nilerr // no folder, no drafts
	}
	for _, e := range entries {
		if !blob.IsTemporary(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
			return sweepError(folder, err)
		}
	}
	return nil
}

func sweepError(ref string, err error) error {
	return &batch.Error{Kind: batch.Config, Op: "clear what dead processes left", Ref: ref, Err: err,
		Hint: "check the owner and mode of the data directory"}
}
