// Command torture kills batchwright and judges what is left: runs against a
// simulated provider in its own process are stopped with SIGKILL at random
// moments and started again, and after every kill the run's own records are
// verified. At the end of each the outputs must be byte-identical to those of an
// undisturbed run, and the provider's own bill, which no code of the run
// writes, must show no call paid twice but those that were on the wire.
//
//	go run ./torture -bin ./bin/batchwright -mode kills -kills 1000 -seed 7
//	go run ./torture -bin ./bin/batchwright -mode long -kills 10   (one run of 20,000 rows)
//
// The modes points, kills, freeze and signals need a binary that was built with
// the tag failpoints; long takes any.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func main() {
	var c config
	mode := flag.String("mode", "kills", "kills, points, freeze, signals, all of them, or long")
	lanes := flag.Int("lanes", 2, "data directories tortured side by side")
	flag.StringVar(&c.bin, "bin", "./bin/batchwright", "the binary to kill")
	flag.IntVar(&c.rows, "rows", 0, "rows of a run; 0 is 400, in mode long 20000")
	flag.IntVar(&c.kills, "kills", 100, "kills")
	flag.IntVar(&c.concurrency, "c", 32, "open calls")
	flag.DurationVar(&c.latency, "latency", 20*time.Millisecond, "of a call")
	flag.StringVar(&c.faults, "faults", "500:0.01,429:0.005", "of the provider, as batchwright simulate takes them; none may change an answer that is ok")
	flag.Int64Var(&c.budget, "budget", 40_000_000, "token budget of the run")
	flag.DurationVar(&c.lo, "after", 200*time.Millisecond, "long: kill no sooner than this after the start")
	flag.DurationVar(&c.hi, "before", 1500*time.Millisecond, "long: and no later")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the moments; printed, so that a failure can be tried again")
	flag.BoolVar(&c.keep, "keep", false, "keep the folder")
	flag.Parse()
	c.out = os.Stdout
	if err := play(c, *mode, *lanes); err != nil {
		fmt.Fprintln(os.Stderr, "torture: FAILED:", err, "\nagain: go run ./torture -mode", *mode, "-kills", c.kills, "-lanes", *lanes, "-seed", c.seed)
		os.Exit(1)
	}
}

// play does what mode says.
func play(c config, mode string, lanes int) error {
	if mode == "long" {
		if c.rows == 0 {
			c.rows = 20_000
		}
		return torture(c)
	}
	if c.rows == 0 {
		c.rows = 400
	}
	bin, err := filepath.Abs(c.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "seed %d, folder %s\n", c.seed, dir)
	l := load{rows: c.rows, shard: 10, concurrency: c.concurrency, latency: c.latency, faults: c.faults, budget: c.budget}
	ref, err := undisturbed(bin, dir, l)
	if err != nil {
		return err
	}
	modes := map[string]func() error{
		"points": func() error {
			rough := ref
			rough.load.faults = "500:0.05,429:0.02,drop:0.02,truncate:0.01" // some points lie behind a failed call
			return points(bin, dir, rough, c.seed, lanes, c.out)
		},
		"kills": func() error {
			s, err := storm(bin, dir, ref, c.kills, c.seed, lanes, c.out)
			fmt.Fprint(c.out, s)
			return err
		},
		"freeze":  func() error { return freeze(bin, dir, ref, c.seed, c.out) },
		"signals": func() error { return signals(bin, dir, ref, c.kills, c.seed, c.out) },
	}
	order := []string{mode}
	if mode == "all" {
		order = []string{"points", "kills", "freeze", "signals"}
	}
	for _, m := range order {
		if modes[m] == nil {
			return fmt.Errorf("there is no mode %q", m)
		}
		if err := modes[m](); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	if !c.keep {
		return os.RemoveAll(dir)
	}
	return nil
}
