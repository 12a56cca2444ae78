package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	seed = flag.Uint64("torture.seed", 0, "of the moments of the kills; 0 takes a new one and prints it")
	bin  string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(build(m))
}

// build makes the real program once, as it is shipped but for its symbols.
func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "batchwright-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's temporary ones
	bin = filepath.Join(dir, "batchwright")
	cmd := exec.Command("go", "build", "-tags", "disable_grpc_modules", "-o", bin, "../cmd/batchwright")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// TestKillsLoseNothing stops the real program with SIGKILL at random moments of
// one run: after every kill verify finds nothing and the ledger covers the
// provider's bill; at the end the outputs are byte-identical to a calm run's.
func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	c := config{bin: bin, rows: 2000, kills: 6, fewest: 3, concurrency: 32, latency: 30 * time.Millisecond,
		faults: "500:0.01,429:0.005", budget: 4_000_000, lo: 250 * time.Millisecond, hi: 900 * time.Millisecond, seed: *seed, out: t.Output()}
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./torture -torture.seed %d", c.seed)
	if err := torture(c); err != nil {
		t.Fatal(err)
	}
}
