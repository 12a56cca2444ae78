// Command torture kills batchwright and judges what is left: a run of many rows
// against a simulated provider in its own process is stopped with SIGKILL at
// random moments and started again, and after every kill the run's own records
// are verified. At the end the outputs must be byte-identical to those of an
// undisturbed run, and the provider's own bill, which no code of the run
// writes, must show no call paid twice but those that were on the wire.
//
//	go run ./torture -bin ./bin/batchwright -kills 10
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var c config
	flag.StringVar(&c.bin, "bin", "./bin/batchwright", "the binary to kill")
	flag.IntVar(&c.rows, "rows", 20000, "rows of the run")
	flag.IntVar(&c.kills, "kills", 10, "kills")
	flag.IntVar(&c.concurrency, "c", 64, "open calls")
	flag.DurationVar(&c.latency, "latency", 20*time.Millisecond, "of a call")
	flag.StringVar(&c.faults, "faults", "500:0.01,429:0.005", "of the provider, as batchwright simulate takes them; none may change an answer that is ok")
	flag.Int64Var(&c.budget, "budget", 40_000_000, "token budget of the run")
	flag.DurationVar(&c.lo, "after", 200*time.Millisecond, "kill no sooner than this after the start")
	flag.DurationVar(&c.hi, "before", 1500*time.Millisecond, "and no later")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the moments; printed, so that a failure can be tried again")
	flag.BoolVar(&c.keep, "keep", false, "keep the folder")
	flag.Parse()
	c.out = os.Stdout
	if err := torture(c); err != nil {
		fmt.Fprintln(os.Stderr, "torture: FAILED:", err, "\nseed:", c.seed)
		os.Exit(1)
	}
}
