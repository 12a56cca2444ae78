package cli

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/batchwright/batchwright/internal/app"
)

// System is the outside world of one command. The composition root fills it;
// tests replace what they need.
type System struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	StdinTTY       bool // somebody can answer a question
	StdoutTTY      bool
	StderrTTY      bool
	Width          func() int // columns of the terminal; 0 when not known
	Getenv         func(string) string
	Environ        func() []string // for a child process
	ReadFile       func(string) ([]byte, error)
	Executable     func() (string, error) // this program, to start it again
	Now            func() time.Time
	// Signals delivers the given signals until the returned function is called.
	Signals func(...os.Signal) (<-chan os.Signal, func())
	// Open opens the data directory.
	Open func(ctx context.Context, o OpenOptions) (*Session, error)
	// Simulate serves the provider simulator until ctx ends.
	Simulate func(ctx context.Context, o SimulateOptions) error
	Version  Version
}

// Mode is what a session may do.
type Mode int

// The modes, weakest first.
const (
	// ModeRead reads the store beside whoever works there: no lock, no change,
	// and a data directory that does not exist is NotFound.
	ModeRead Mode = iota
	// ModeWrite takes the lock and changes runs, but works none.
	ModeWrite
	// ModeWork takes the lock, works runs and serves the socket. It makes the
	// data directory if there is none.
	ModeWork
)

// OpenOptions say which data directory is opened, and what for.
type OpenOptions struct {
	DataDir string
	Mode    Mode
	Command string    // what the lock says of its holder
	Log     io.Writer // where log lines go
	Verbose bool      // log more than warnings
	Config  string    // config.yaml, when not in the data directory
}

// Session is an opened data directory.
type Session struct {
	App *app.App
	// Close waits for nothing more: call App.Interrupt first. It gives the lock
	// and the socket up.
	Close func(context.Context) error
	DB    DB
}

// DB are the acts of maintenance that the store offers; a nil one it does not.
type DB struct {
	Path   string
	Backup func(ctx context.Context, to string) error
	Check  func(ctx context.Context) ([]string, error) // what is wrong; empty when nothing
	Vacuum func(ctx context.Context) error
}

// SimulateOptions are how the simulator is served.
type SimulateOptions struct {
	Listen string // host:port; port 0 is any free one
	Knobs  string // simulator.ParseKnobs
	Key    string // the only key it accepts; empty: any
	Models []string
	Bill   string // file that one JSON line per billed call is added to; empty: none
	TLS    string // kind of certificate, of simulator.TLSKinds; empty: plain HTTP
	TLSCA  string // file that the authority to trust is written to; empty: none
	// Ready is called once with the address it listens on.
	Ready func(address string)
}

// Version says what was built. Empty fields are not known.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from changed sources
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Prices   string `json:"prices,omitempty"` // version of the built-in price table
	SQLite   string `json:"sqlite,omitempty"` // version of the built-in database
}
