package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/batchwright/batchwright/internal/batch"
)

type helpCommand struct {
	Topic []string `arg:"" optional:"" help:"A command, or exit-codes, environment or formatting."`
}

func (helpCommand) Help() string {
	return "Topics: exit-codes, environment, formatting."
}

func (c *helpCommand) Run(inv *invocation) error {
	switch strings.Join(c.Topic, " ") {
	case "exit-codes":
		return helpExitCodes(inv)
	case "environment":
		return helpEnvironment(inv)
	case "formatting":
		_, err := fmt.Fprint(inv.p.out, formattingHelp)
		return err
	}
	if len(c.Topic) > 0 && !slices.ContainsFunc(inv.kong.Model.Children, func(n *kong.Node) bool { return n.Name == c.Topic[0] }) {
		return &batch.Error{Kind: batch.Usage, Op: "help", Ref: strings.Join(c.Topic, " "), Msg: "is no command and no topic",
			Hint: "batchwright --help; topics are exit-codes, environment and formatting"}
	}
	_, err := inv.kong.Parse(append(slices.Clone(c.Topic), "--help")) // leaves by the parser's exit
	return err
}

func helpExitCodes(inv *invocation) error {
	if inv.g.JSON {
		type row struct {
			Code    Code   `json:"code"`
			Meaning string `json:"meaning"`
			Again   string `json:"again"`
		}
		var rows []row
		for _, c := range codes {
			rows = append(rows, row{c.code, c.meaning, c.again})
		}
		return inv.p.json(rows)
	}
	fmt.Fprintf(inv.p.out, "%4s  %-24s %s\n", "code", "run it again", "meaning")
	for _, c := range codes {
		fmt.Fprintf(inv.p.out, "%4d  %-24s %s\n", c.code, c.again, c.meaning)
	}
	_, err := fmt.Fprintln(inv.p.out, "\nNumbers are added, never changed; take an unknown one for a failure. 2 and 99 are never used.")
	return err
}

func helpEnvironment(inv *invocation) error {
	names := make([]string, 0, len(twins))
	for flag := range twins {
		names = append(names, flag)
	}
	slices.Sort(names)
	fmt.Fprintln(inv.p.out, "A flag wins over its variable.")
	for _, flag := range names {
		fmt.Fprintf(inv.p.out, "  %-32s --%s\n", twins[flag], flag)
	}
	_, err := fmt.Fprint(inv.p.out, `
  NO_COLOR                         any value: no colours
  LC_ALL, LC_CTYPE, LANG           signs outside of ASCII only where it says UTF-8
  TZ                               zone that times are shown in
  HTTP_PROXY, HTTPS_PROXY          proxies of calls to providers
  the variable of task.api_key     env:NAME reads the provider's key from NAME
`)
	return err
}

const formattingHelp = `stdout is data, stderr is progress, notes and hints.

--json
  One JSON document on stdout (items: one line per item). Every document about
  a run has run_id and state. Money is an integer of 1e-12 US dollars (pico_usd)
  beside an exact decimal (usd); times are RFC 3339 in UTC. Fields are added,
  never changed. An error is one line on stderr:
  {"error":{"kind","message","ref","hint","exit_code"}}

--progress auto|tty|plain|json|none
  auto   tty where stderr is a terminal, plain elsewhere, none with -q
  tty    two lines, redrawn four times a second
  plain  logfmt lines: one at once, one at every change of state, one every
         --progress-interval, the summary last
  json   JSON lines: {"type":"version","schema":"batchwright.cli/1"}, then
         run_started, plan, progress, state and summary; every line has ts, seq
         and run_id

SIGUSR1 prints where the run stands. SIGINT and SIGTERM drain: no new call is
started, what is on the wire is kept. A second SIGINT abandons it.
`
