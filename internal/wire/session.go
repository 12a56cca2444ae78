// Package wire is the composition root: it makes objects out of configuration
// and knows every package, and only main knows it.
package wire

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	bloball "github.com/batchwright/batchwright/internal/blob/all"
	"github.com/batchwright/batchwright/internal/datadir"
	"github.com/batchwright/batchwright/internal/dispatch"
	"github.com/batchwright/batchwright/internal/failpoint"
	"github.com/batchwright/batchwright/internal/pacing"
	"github.com/batchwright/batchwright/internal/prices"
	"github.com/batchwright/batchwright/internal/provider"
	provall "github.com/batchwright/batchwright/internal/provider/all"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/segment"
	"github.com/batchwright/batchwright/internal/store/sqlite"
	"github.com/batchwright/batchwright/internal/worker"
)

// Mode is what a process wants of a data directory.
type Mode int

// The modes.
const (
	Read  Mode = iota // look: no lock, the store is opened read-only
	Write             // change states: the lock, and nobody works
	Work              // work runs: the lock, a worker and its queue
)

// Options open a session.
type Options struct {
	DataDir string
	Mode    Mode
	Command string // for people who find the directory locked
	Version string
	Stdin   io.Reader
	Stderr  io.Writer
	Verbose bool
	// Config is where config.yaml is, when not in the data directory.
	Config string
	// Secrets learns every key that is read, and takes them out of log lines and
	// of what the socket answers; nil: the session has one of its own.
	Secrets *secret.Redactor
}

// Session is an opened data directory with everything that was asked for.
type Session struct {
	App *app.App
	Dir *datadir.Dir

	store   *sqlite.DB
	secrets *secret.Redactor
	closers []func(context.Context) error
}

// Close ends the session, last opened first. Leases that are still held are
// handed back; call App.Interrupt before, to say why.
func (s *Session) Close(ctx context.Context) error {
	failpoint.Hit("close.before")
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i](ctx))
	}
	s.closers = nil
	failpoint.Hit("close.after")
	return errors.Join(errs...)
}

func (s *Session) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// Open opens a data directory.
func Open(ctx context.Context, o Options) (_ *Session, err error) {
	dir, err := datadir.Open(o.DataDir, o.Mode != Read)
	if err != nil {
		return nil, err
	}
	if o.Secrets == nil {
		o.Secrets = new(secret.Redactor)
	}
	s := &Session{Dir: dir, secrets: o.Secrets}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	if o.Mode != Read {
		if err := dir.Lock(datadir.Holder{PID: os.Getpid(), Since: time.Now().UTC(), Command: o.Command}); err != nil {
			return nil, err
		}
		s.onClose(func(context.Context) error { return dir.Unlock() })
	} else if !dir.HasStore() {
		return nil, &batch.Error{Kind: batch.NotFound, Op: "open data directory", Ref: dir.Root(), Msg: "there are no runs here yet",
			Hint: "batchwright run job.yaml"}
	}
	return s, s.open(ctx, o)
}

// logger writes what a person at a terminal should know; the queue's own
// chatter stays out unless it was asked for.
func logger(o Options, level slog.Level) *slog.Logger {
	if o.Verbose {
		level = slog.LevelDebug
	}
	w := o.Stderr
	if w == nil {
		w = io.Discard
	}
	if o.Secrets != nil {
		w = o.Secrets.Writer(w)
	}
	return slog.New(newOnce(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}), level))
}

func (s *Session) open(ctx context.Context, o Options) error {
	codec, err := segment.NewCodec()
	if err != nil {
		return err
	}
	keys, err := keyring(s.Dir)
	if err != nil {
		return err
	}
	table, err := loadPrices(s.Dir)
	if err != nil {
		return err
	}
	var w *worker.Worker
	river, err := s.openStore(ctx, o, codec, func(ctx context.Context, b batch.Bell) error {
		failpoint.Hit("bell.heard")
		err := w.Hear(ctx, b)
		failpoint.Hit("bell.answered")
		return err
	})
	if err != nil {
		return err
	}
	st := s.store
	cold := blob.Local(s.Dir.Root())
	s.onClose(func(context.Context) error { return cold.Close() })
	s.App = app.New(app.Config{Dir: s.Dir, Store: st, Cold: cold, Blobs: bloball.Registry(), Codec: codec, Providers: provall.Registry(),
		Gates: &pacing.Gates{}, Prices: table, Client: clients(), Now: time.Now, Rand: mrand.Float64, NewID: newRunID,
		Getenv: os.Getenv, ReadFile: os.ReadFile, Keys: keys, Secrets: s.secrets, Stdin: o.Stdin, Log: logger(o, slog.LevelError), Version: o.Version,
		Config: o.Config})
	s.onClose(func(context.Context) error { return s.App.Close() })
	if o.Mode != Read {
		if err := s.App.ApplyBudgets(ctx); err != nil {
			return err
		}
	}
	if o.Mode != Work {
		return nil
	}
	if err := s.App.Sweep(ctx); err != nil {
		return err
	}
	w = worker.New(worker.Config{ID: newWorkerID(), Store: st, Codec: codec, Now: time.Now, Rand: mrand.Float64,
		Log: logger(o, slog.LevelError), Seal: s.App.Seal, Finish: s.App.Finish})
	s.App.SetWorker(w)
	failpoint.Hit("takeover.before")
	if err := w.Start(ctx, true); err != nil {
		return err
	}
	failpoint.Hit("takeover.after")
	s.onClose(func(context.Context) error { w.Stop(); return nil })
	if err := river.Start(ctx); err != nil {
		return sqlite.Explain(s.Dir.DB(), "open", err)
	}
	s.onClose(func(ctx context.Context) error {
		w.Drain(ctx)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return river.Stop(stop)
	})
	failpoint.Hit("session.open")
	return s.serve(ctx)
}

// openStore opens the store, and with it the queue where runs are worked: they
// write through one connection.
func (s *Session) openStore(ctx context.Context, o Options, codec *segment.Codec, hear dispatch.Hear) (*dispatch.River, error) {
	var bells sqlite.Bells
	var river *dispatch.River
	var pool *sql.DB
	if o.Mode != Read {
		if err := sqlite.Settle(s.Dir.DB()); err != nil {
			return nil, err
		}
	}
	if o.Mode == Work {
		db, err := sqlite.Handle(s.Dir.DB(), 1, false)
		if err != nil {
			return nil, err
		}
		s.onClose(func(context.Context) error { return db.Close() })
		failpoint.Hit("queue.before")
		if river, err = newRiver(ctx, db, o, hear); err != nil {
			return nil, sqlite.Explain(s.Dir.DB(), "open", err)
		}
		failpoint.Hit("queue.after")
		bells, pool = river, db
	}
	st, err := sqlite.Open(ctx, sqlite.Config{Path: s.Dir.DB(), ReadOnly: o.Mode == Read, Pool: pool, Bells: bells,
		Between: failpoint.Between,
		Pack: func(a batch.Attempt) ([]byte, error) {
			return codec.Encode(segment.Group{Attempts: []batch.Attempt{a}})
		}})
	if err != nil {
		return nil, err
	}
	s.store = st
	s.onClose(func(context.Context) error { return st.Close() })
	return river, nil
}

func newRiver(ctx context.Context, db *sql.DB, o Options, hear dispatch.Hear) (*dispatch.River, error) {
	return dispatch.NewRiver(ctx, db, logger(o, slog.LevelError+4), hear)
}

// keyring is what is known of keys by their names, and what the user adds.
func keyring(dir *datadir.Dir) (app.Keyring, error) {
	c, err := dir.Config()
	if err != nil {
		return app.Keyring{}, err
	}
	b, err := c.Keys()
	return app.Keyring{Bindings: b, File: c.File}, err
}

func loadPrices(dir *datadir.Dir) (*prices.Table, error) {
	f, err := os.Open(dir.Prices())
	if errors.Is(err, fs.ErrNotExist) {
		return prices.Load(nil)
	}
	if err != nil {
		return nil, &batch.Error{Kind: batch.Config, Op: "read prices", Ref: dir.Prices(), Err: err}
	}
	defer f.Close() //nolint:errcheck // read only
	return prices.Load(f)
}

// clients shares one tuned transport between all adapters of the process,
// sized by the largest concurrency any of them asked for.
func clients() func(int) *http.Client {
	var mu sync.Mutex
	var c *http.Client
	most := 0
	return func(concurrency int) *http.Client {
		mu.Lock()
		defer mu.Unlock()
		if c == nil || concurrency > most {
			most = concurrency
			c = &http.Client{Transport: provider.NewTransport(concurrency)}
		}
		return c
	}
}

// newRunID is "r_" and 13 characters that sort by time: 40 bits of
// milliseconds and 25 of chance.
func newRunID() batch.RunID {
	var b [8]byte
	var r [4]byte
	mustRead(r[:])
	v := uint64(time.Now().UnixMilli())<<24 | uint64(binary.BigEndian.Uint32(r[:])>>8)
	binary.BigEndian.PutUint64(b[:], v)
	return batch.RunID("r_" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])))
}

func newWorkerID() batch.WorkerID {
	var r [6]byte
	mustRead(r[:])
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return batch.WorkerID(fmt.Sprintf("%s-%d-%x", host, os.Getpid(), r))
}

func mustRead(b []byte) {
	if _, err := rand.Read(b); err != nil { // crypto/rand does not fail on a working system
		panic(err)
	}
}
