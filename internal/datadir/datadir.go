// Package datadir is the folder a laptop keeps everything in: the database,
// manifests, segments, default outputs, the lock and the socket.
//
//	batchwright.db        the store
//	lock                  held by the process that works; its content says who
//	sock                  that process's API
//	prices.yaml           the user's own prices, if any
//	config.yaml           what the user of this machine allows: keys, budgets
//	runs/<run>/manifest/  the frozen items
//	runs/<run>/segments/  sealed outcomes and attempts
//	runs/<run>/output/    outputs, where the spec names no place
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

// Dir is an opened data directory.
type Dir struct {
	root string
	lock *os.File
}

// Holder is who holds a data directory.
type Holder struct {
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Command string    `json:"command"`
}

// Open opens the folder; with create it is made first, readable by its owner
// alone, since it holds inputs and answers.
func Open(root string, create bool) (*Dir, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, bad(root, err)
	}
	if create {
		if err := makeAll(abs); err != nil {
			return nil, bad(abs, err)
		}
		failpoint.Hit("datadir.made")
	}
	st, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &batch.Error{Kind: batch.NotFound, Op: "open data directory", Ref: abs, Msg: "there is none here",
			Hint: "batchwright run job.yaml makes it; or name it with --data-dir or BATCHWRIGHT_DATA"}
	}
	if err != nil {
		return nil, bad(abs, err)
	}
	if !st.IsDir() {
		return nil, &batch.Error{Kind: batch.Config, Op: "open data directory", Ref: abs, Msg: "is a file, not a folder"}
	}
	if name, remote := networkFS(abs); remote {
		return nil, &batch.Error{Kind: batch.Config, Op: "open data directory", Ref: abs,
			Msg:  "lies on a network file system (" + name + "), where SQLite's locks and durability do not hold",
			Hint: "use a local disk: --data-dir /some/local/path"}
	}
	return &Dir{root: abs}, nil
}

// makeAll makes the folder, and the names that it made survive a power cut.
func makeAll(abs string) error {
	var made []string
	for p := abs; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || p == filepath.Dir(p) {
			break
		}
		made = append(made, p)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return err
	}
	for _, p := range made {
		d, err := os.Open(filepath.Dir(p))
		if err != nil {
			return err
		}
		err = d.Sync()
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
			err = nil // a file system that cannot flush a folder
		}
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
	}
	return nil
}

func bad(ref string, err error) error {
	switch {
	case batch.DiskFull(err):
		return &batch.Error{Kind: batch.Unavailable, Op: "open data directory", Ref: ref, Msg: "the disk is full", Err: err,
			Hint: "free some space on its file system, or use another with --data-dir"}
	case batch.MachineFault(err):
		return &batch.Error{Kind: batch.Unavailable, Op: "open data directory", Ref: ref, Err: err}
	}
	return &batch.Error{Kind: batch.Config, Op: "open data directory", Ref: ref, Err: err}
}

// Lock takes the directory for this process until Unlock or its death. Conflict
// when another process has it.
func (d *Dir) Lock(h Holder) error {
	f, err := os.OpenFile(d.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return bad(d.root, err)
	}
	if err := take(f); err != nil {
		holder, _ := d.Holder()
		return errors.Join(&batch.Error{Kind: batch.Conflict, Op: "lock data directory", Ref: d.root,
			Msg:  fmt.Sprintf("process %d works here (%s, since %s)", holder.PID, holder.Command, holder.Since.UTC().Format(time.RFC3339)),
			Hint: "batchwright status shows what it does; wait for it, or use another --data-dir"}, f.Close())
	}
	d.lock = f
	failpoint.Hit("lock.taken")
	text, err := json.Marshal(h)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(text, '\n'), 0)
	}
	failpoint.Hit("lock.written")
	if err != nil {
		return errors.Join(bad(d.root, err), d.Unlock())
	}
	return nil
}

// take locks f. Who asks Held has the lock for a moment, and must not keep a
// worker out; so a lock that is taken is tried for a little longer.
func take(f *os.File) error {
	const tries, pause = 10, 10 * time.Millisecond
	for i := 1; ; i++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || i == tries {
			return err
		}
		time.Sleep(pause)
	}
}

// Held reports whether some process works here now.
func (d *Dir) Held() bool {
	f, err := os.Open(d.path("lock"))
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return true
	}
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	return false
}

// Holder says who holds, or last held, the directory.
func (d *Dir) Holder() (h Holder, err error) {
	text, err := os.ReadFile(d.path("lock"))
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	return h, err
}

// Present says whether the directory that this process locked is still where
// it was. One that was deleted or moved away keeps taking what is written to
// its open files, and nobody will ever find it.
func (d *Dir) Present() error {
	if d.lock == nil {
		return nil
	}
	ours, err := d.lock.Stat()
	if err != nil {
		return bad(d.root, err)
	}
	for _, name := range []string{d.path("lock"), d.DB()} {
		there, err := os.Stat(name)
		if err == nil && (name == d.DB() || os.SameFile(ours, there)) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return &batch.Error{Kind: batch.Config, Op: "work in data directory", Ref: d.root,
			Msg:  "the directory, or the database in it, was deleted or moved while this process worked in it",
			Hint: "put it back as it was and go on with: batchwright resume; without it the run's records are lost, and a new run pays again"}
	}
	return nil
}

// Unlock gives the directory up.
func (d *Dir) Unlock() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Close()
	d.lock = nil
	return err
}

func (d *Dir) path(parts ...string) string {
	return filepath.Join(append([]string{d.root}, parts...)...)
}

// Root is the absolute path of the folder.
func (d *Dir) Root() string { return d.root }

// DB is the path of the store.
func (d *Dir) DB() string { return d.path("batchwright.db") }

// HasStore reports whether a store was made here.
func (d *Dir) HasStore() bool {
	_, err := os.Stat(d.DB())
	return err == nil
}

// Socket is where the working process listens. A socket's path is bounded (104
// bytes on macOS); a longer one moves to the system's temporary folder under a
// name made from the directory's.
func (d *Dir) Socket() string {
	p := d.path("sock")
	if len(p) < 100 {
		return p
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("batchwright-%d-%08x.sock", os.Getuid(), checksum(d.root)))
}

// Prices is the user's own price file, which may be missing.
func (d *Dir) Prices() string { return d.path("prices.yaml") }

// Manifest is the folder of a run's manifest.
func (d *Dir) Manifest(id batch.RunID) string { return d.path("runs", string(id), "manifest") }

// Output is where a run's outputs go when its spec names no place.
func (d *Dir) Output(id batch.RunID) string { return d.path("runs", string(id), "output") }

// Run is the folder of a run.
func (d *Dir) Run(id batch.RunID) string { return d.path("runs", string(id)) }

// SegmentKey is the key of a segment in the directory's bucket.
func (d *Dir) SegmentKey(id batch.RunID, name string) string {
	return "runs/" + string(id) + "/segments/" + name + ".zst"
}

func checksum(s string) uint32 { // FNV-1a
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}
