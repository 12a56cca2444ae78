package wire

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/cli"
	"github.com/batchwright/batchwright/internal/prices"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/simulator"
	"github.com/batchwright/batchwright/internal/store/sqlite"
	"github.com/batchwright/batchwright/internal/version"
)

// Main is the program: it gives the command line the outside world, and
// returns the exit code.
func Main() (code int) {
	noCore()
	red := new(secret.Redactor)
	learn(red, os.Environ())
	stdout, stderr := red.PayloadWriter(os.Stdout), red.Writer(os.Stderr)
	// A write that fails has no other place to be told.
	defer func() { _ = errors.Join(stdout.Flush(), stderr.Flush()) }()
	defer caught(stderr, &code)
	// The HTTP client of the standard library prints what a server sends beyond
	// its answer, which can be a piece of one: that must reach nobody's log.
	log.SetOutput(io.Discard)
	return cli.Main(context.Background(), cli.System{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: stdout, Stderr: stderr,
		StdinTTY: columns(os.Stdin) > 0, StdoutTTY: columns(os.Stdout) > 0, StderrTTY: columns(os.Stderr) > 0,
		Width:  func() int { return columns(os.Stderr) },
		Getenv: os.Getenv, Environ: os.Environ, ReadFile: os.ReadFile, Executable: os.Executable, Now: time.Now,
		Signals: signals, Open: opener(red), Simulate: simulate, Version: versions(),
	})
}

// columns is the width of the terminal behind f, 0 when there is none.
func columns(f *os.File) int {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(ws.Col), 1)
}

func signals(which ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, which...)
	return c, func() { signal.Stop(c) }
}

func versions() cli.Version {
	b := version.Current()
	v := cli.Version{Version: b.Version, Commit: b.Commit, Date: b.Date, Modified: strings.HasSuffix(b.Commit, "-dirty"), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, SQLite: sqlite.LibraryVersion()}
	if t, err := prices.Load(nil); err == nil {
		v.Prices = t.Version()
	}
	return v
}

func opener(red *secret.Redactor) func(context.Context, cli.OpenOptions) (*cli.Session, error) {
	return func(ctx context.Context, o cli.OpenOptions) (*cli.Session, error) { return openForCLI(ctx, o, red) }
}

func openForCLI(ctx context.Context, o cli.OpenOptions, red *secret.Redactor) (*cli.Session, error) {
	mode := map[cli.Mode]Mode{cli.ModeRead: Read, cli.ModeWrite: Write, cli.ModeWork: Work}[o.Mode]
	s, err := Open(ctx, Options{DataDir: o.DataDir, Mode: mode, Command: o.Command, Version: version.Current().Version,
		Stdin: os.Stdin, Stderr: o.Log, Verbose: o.Verbose, Config: o.Config, Secrets: red})
	if err != nil {
		return nil, err
	}
	return &cli.Session{App: s.App, Close: s.Close, DB: s.upkeep(o.Mode)}, nil
}

// upkeep is what can be done to the store in a mode.
func (s *Session) upkeep(m cli.Mode) cli.DB {
	db := cli.DB{Path: s.Dir.DB(), Backup: s.store.Backup, Check: s.store.Check}
	if m != cli.ModeRead {
		db.Vacuum = s.store.Vacuum
	}
	return db
}

// simulate serves the provider simulator until ctx ends.
func simulate(ctx context.Context, o cli.SimulateOptions) (err error) {
	knobs, err := simulator.ParseKnobs(simulator.DefaultKnobs(), o.Knobs)
	if err != nil {
		return err
	}
	var bill io.Writer
	if o.Bill != "" {
		f, err := simulator.OpenBill(o.Bill)
		if err != nil {
			return &batch.Error{Kind: batch.Usage, Op: "simulate", Ref: o.Bill, Err: err}
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		bill = f
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return &batch.Error{Kind: batch.Config, Op: "simulate", Ref: o.Listen, Msg: "cannot listen there", Err: err}
	}
	if l, err = secured(l, o); err != nil {
		return err
	}
	s := &http.Server{Handler: simulator.New(simulator.Config{Knobs: knobs, Key: o.Key, Models: o.Models, Bill: bill, KeepCalls: true, Now: time.Now}),
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	if o.Ready != nil {
		o.Ready(l.Addr().String())
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// secured puts TLS on a listener, where the simulator is to be served with it.
func secured(l net.Listener, o cli.SimulateOptions) (net.Listener, error) {
	if o.TLS == "" {
		return l, nil
	}
	fail := func(err error) (net.Listener, error) {
		return nil, errors.Join(&batch.Error{Kind: batch.Config, Op: "simulate", Ref: o.TLSCA, Msg: "cannot serve TLS", Err: err}, l.Close())
	}
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fail(err)
	}
	cert, ca, err := simulator.Certificate(o.TLS, []string{host, "localhost"}, time.Now())
	if err != nil {
		return fail(err)
	}
	if o.TLSCA != "" {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
		if err := os.WriteFile(o.TLSCA, text, 0o600); err != nil {
			return fail(err)
		}
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}), nil
}
