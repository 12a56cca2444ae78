package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	seed = flag.Uint64("torture.seed", 0, "of the moments of the kills; 0 takes a new one and prints it")
	bin  string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(build(m))
}

// build makes the real program once, as it is shipped but for its symbols and
// the points at which it can be told to die.
func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "batchwright-bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder of the system's temporary ones
	bin = filepath.Join(dir, "batchwright")
	cmd := exec.Command("go", "build", "-tags", "failpoints,disable_grpc_modules", "-o", bin, "../cmd/batchwright")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
