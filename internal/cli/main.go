package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/batchwright/batchwright/internal/batch"
)

// Globals are the flags that every command takes.
type Globals struct {
	DataDir          string        `help:"Folder of runs and results." default:"./.batchwright" placeholder:"DIR"`
	JSON             bool          `name:"json" help:"Print one JSON document on stdout."`
	Quiet            bool          `short:"q" help:"No progress and no notes."`
	Verbose          bool          `short:"v" help:"Log what happens inside."`
	NoColor          bool          `help:"No colours; NO_COLOR does the same."`
	Progress         string        `help:"How progress is shown: ${enum}." enum:"auto,tty,plain,json,none" default:"auto"`
	ProgressInterval time.Duration `help:"Time between progress lines where there is no terminal." default:"30s" placeholder:"30s"`
	Yes              bool          `short:"y" help:"Do not ask."`
}

// grammar is the whole command line; its order is the order of help.
type grammar struct {
	Globals

	Init       initCommand       `cmd:"" group:"begin" help:"Write a starter job.yaml and sample items."`
	Demo       demoCommand       `cmd:"" group:"begin" help:"Kill and resume a small run on a simulated provider: no key, no network."`
	Validate   validateCommand   `cmd:"" group:"begin" help:"Check job specs."`
	Plan       planCommand       `cmd:"" group:"begin" help:"Say what a run will call, cost and take, and spend nothing."`
	Run        runCommand        `cmd:"" group:"runs" help:"Run a job spec to its end, or go on with its unfinished run."`
	Status     statusCommand     `cmd:"" group:"runs" help:"Show where a run stands; the latest when none is named."`
	Budgets    budgetsCommand    `cmd:"" group:"runs" help:"Show the budgets that runs share, or put a changed config.yaml in force."`
	Watch      watchCommand      `cmd:"" group:"runs" help:"Follow a run until it ends."`
	Wait       waitCommand       `cmd:"" group:"runs" help:"Wait for a run to end."`
	Resume     resumeCommand     `cmd:"" group:"runs" help:"Go on with a stopped run, under new limits where given."`
	Retry      retryCommand      `cmd:"" group:"runs" help:"Try failed items again; shows how many and what they cost first."`
	Pause      pauseCommand      `cmd:"" group:"runs" help:"Stop starting calls; resume goes on."`
	Cancel     cancelCommand     `cmd:"" group:"runs" help:"End a run for good, keeping what was paid for."`
	Items      itemsCommand      `cmd:"" group:"look" help:"List the items of a run."`
	Item       itemCommand       `cmd:"" group:"look" help:"Show one item with every attempt."`
	Results    resultsCommand    `cmd:"" group:"look" help:"Print the results of a run, finished or not."`
	Report     reportCommand     `cmd:"" group:"look" help:"Report on a run as text, HTML, Markdown, JUnit or JSON."`
	Diff       diffCommand       `cmd:"" group:"look" help:"Compare two runs."`
	Verify     verifyCommand     `cmd:"" group:"look" help:"Check a run against every promise made about it."`
	Simulate   simulateCommand   `cmd:"" group:"tools" help:"Serve the provider simulator."`
	Doctor     doctorCommand     `cmd:"" group:"tools" help:"Check that runs can work here."`
	DB         dbCommand         `cmd:"" name:"db" group:"tools" help:"Look after the database of a data directory."`
	Completion completionCommand `cmd:"" group:"tools" help:"Print a completion script for a shell."`
	Version    versionCommand    `cmd:"" group:"tools" help:"Print the version."`
	Help       helpCommand       `cmd:"" group:"tools" help:"Show help on a command or a topic."`
}

// invocation is one command being carried out.
type invocation struct {
	ctx  context.Context
	sys  System
	g    *Globals
	p    *printer
	kong *kong.Kong
}

// leave unwinds from inside the parser, which ends the process after --help.
type leave struct{ code int }

// Main carries out one command and returns its exit code.
func Main(ctx context.Context, sys System) (code int) {
	var g grammar
	defer func() {
		if r := recover(); r != nil {
			l, ok := r.(leave)
			if !ok {
				panic(r)
			}
			code = l.code
		}
	}()
	p := newPrinter(sys, Globals{JSON: wantsJSON(sys.Args)})
	k, err := newParser(&g, sys)
	if err != nil {
		return int(p.fail(err))
	}
	args := sys.Args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := k.Parse(args)
	if err != nil {
		return int(p.fail(usage(err)))
	}
	p = newPrinter(sys, g.Globals)
	inv := &invocation{ctx: ctx, sys: sys, g: &g.Globals, p: p, kong: k}
	return int(p.fail(kctx.Run(inv)))
}

func newParser(g *grammar, sys System) (*kong.Kong, error) {
	return kong.New(g,
		kong.Name("batchwright"),
		kong.Description("Offline LLM batch jobs that finish, never lose a paid result and never overspend."),
		kong.Writers(sys.Stdout, sys.Stderr),
		kong.Exit(func(code int) { panic(leave{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{{Key: "begin", Title: "begin"}, {Key: "runs", Title: "runs"},
			{Key: "look", Title: "look into a run"}, {Key: "tools", Title: "tools"}}),
		kong.Resolvers(environment(sys.Getenv)))
}

// twins are the environment variables of global flags: the flag wins.
var twins = map[string]string{
	"data-dir": "BATCHWRIGHT_DATA", "json": "BATCHWRIGHT_JSON", "quiet": "BATCHWRIGHT_QUIET", "verbose": "BATCHWRIGHT_VERBOSE",
	"no-color": "BATCHWRIGHT_NO_COLOR", "progress": "BATCHWRIGHT_PROGRESS", "progress-interval": "BATCHWRIGHT_PROGRESS_INTERVAL",
	"yes": "BATCHWRIGHT_YES",
}

// environment gives a global flag the value of its environment variable. It is
// read through System, so that a command depends on nothing else.
func environment(getenv func(string) string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if v := getenv(twins[flag.Name]); twins[flag.Name] != "" && v != "" {
			return v, nil
		}
		return nil, nil
	})
}

// wantsJSON is for mistakes that come before the flags could be read.
func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" {
			return true
		}
	}
	return false
}

func usage(err error) error {
	hint := "batchwright --help"
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil {
		if n := pe.Context.Selected(); n != nil {
			hint = n.FullPath() + " --help"
		}
	}
	return &batch.Error{Kind: batch.Usage, Msg: strings.TrimSuffix(err.Error(), "."), Hint: hint}
}
