//go:build linux

package main

import (
	"flag"
	"testing"
	"time"
)

var (
	everyFault = flag.Bool("torture.disk", false, "every fault of disk and kernel instead of a sample: make torture-disk")
	onlyFault  = flag.String("torture.fault", "", "only these faults, as a failed test printed them")
)

// seeded is the seed of a test, printed so that a failure can be tried again.
func seeded(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./torture -run '^%s$' -torture.seed %d", t.Name(), s)
	return s
}
