package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/simulator"
)

type simulateCommand struct {
	Listen  string   `help:"Address to listen on; port 0 is any free one." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Faults  string   `help:"Shares and scripts of faults, such as 429:0.05,500:0.01,nth:7=timeout; settings such as context=8192 too." placeholder:"LIST"`
	Latency string   `help:"50ms, lognormal:50ms:0.5, uniform:10ms:90ms or bimodal:50ms:2s:0.01." placeholder:"DIST"`
	RPM     int64    `name:"rpm" help:"Requests per minute it takes." placeholder:"N"`
	TPM     int64    `name:"tpm" help:"Tokens per minute it takes." placeholder:"N"`
	Conc    int64    `name:"concurrency" help:"Calls at once it takes." placeholder:"N"`
	Words   int64    `help:"Mean length of an answer in words." placeholder:"N"`
	Seed    uint64   `help:"The same seed gives the same answers and faults." placeholder:"N"`
	Key     string   `help:"The only API key it accepts; any without." placeholder:"KEY"`
	Model   []string `help:"A model it has; every name without. Can be given more than once." placeholder:"NAME"`
	Bill    string   `help:"Add one JSON line per billed call to this file." placeholder:"FILE"`
	TLS     string   `name:"tls" help:"Serve HTTPS with a certificate for this address: ${enum}." enum:",good,expired,wrong-name,self-signed" default:"" placeholder:"KIND"`
	TLSCA   string   `name:"tls-ca" help:"Write the authority to trust to this file, for SSL_CERT_FILE." placeholder:"FILE"`
	Dialect string   `help:"Dialect of the printed base URL: ${enum}. All are served." enum:"openai,anthropic,gemini" default:"openai"`
}

func (c *simulateCommand) Help() string {
	return "Speaks Chat Completions, Responses, Messages and generateContent, with latency, limits and faults, and keeps its own bill: GET /__bill, which batchwright verify --bill holds a run to. Prints the base URL on stdout and serves until Ctrl-C. Faults: " + strings.Join(simulator.FaultNames(), " ") + "."
}

// knobs is the one knob string of all flags; the simulator's own parser judges
// it.
func (c *simulateCommand) knobs() (string, error) {
	parts := []string{}
	if c.Faults != "" {
		parts = append(parts, c.Faults)
	}
	if c.Latency != "" {
		parts = append(parts, "latency="+c.Latency)
	}
	for _, n := range []struct {
		name string
		v    int64
	}{{"rpm", c.RPM}, {"tpm", c.TPM}, {"concurrency", c.Conc}, {"words", c.Words}} {
		if n.v != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", n.name, n.v))
		}
	}
	if c.Seed != 0 {
		parts = append(parts, fmt.Sprintf("seed=%d", c.Seed))
	}
	text := strings.Join(parts, ",")
	_, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text)
	return text, err
}

func (c *simulateCommand) Run(inv *invocation) error {
	knobs, err := c.knobs()
	if err != nil {
		return err
	}
	stop := inv.stopOnSignals(func(int, os.Signal) {})
	defer stop.cancel()
	path := map[string]string{"openai": "/v1", "anthropic": "", "gemini": ""}[c.Dialect]
	err = inv.sys.Simulate(stop.ctx, SimulateOptions{Listen: c.Listen, Knobs: knobs, Key: c.Key, Models: c.Model, Bill: c.Bill,
		TLS: c.TLS, TLSCA: c.TLSCA,
		Ready: func(address string) {
			root := "http://" + address
			if c.TLS != "" {
				root = "https://" + address
			}
			url := root + path
			if inv.g.JSON {
				_ = inv.p.json(map[string]string{"base_url": url, "bill_url": root + "/__bill"})
				return
			}
			fmt.Fprintln(inv.p.out, url)
			inv.p.note("serving until Ctrl-C; bill: curl %s/__bill", root)
		}})
	if stop.ctx.Err() != nil && (err == nil || batch.KindOf(err) == batch.Interrupted) {
		return nil // it ends as it is meant to
	}
	return err
}
