package main

import (
	"os"
	"testing"
	"time"
)

func reference(t *testing.T, l load) (string, calm) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
		}
	})
	ref, err := undisturbed(bin, dir, l)
	if err != nil {
		t.Fatal(err)
	}
	return dir, ref
}

// TestRandomKillsLoseNothing stops the program with SIGKILL a hundred times at
// random moments of its start, planning, work, sealing and delivery.
func TestRandomKillsLoseNothing(t *testing.T) {
	t.Parallel()
	dir, ref := reference(t, load{rows: 300, shard: 10, concurrency: 32, latency: 10 * time.Millisecond, faults: "500:0.01,429:0.005", budget: 8_000_000})
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("go test ./torture -run RandomKills -torture.seed %d", s)
	sums, err := storm(bin, dir, ref, 100, s, 2, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(sums)
}

// TestAFrozenProcessComesBack stops the working process for longer than its
// leases live; nobody may take its place, and it loses nothing.
func TestAFrozenProcessComesBack(t *testing.T) {
	t.Parallel()
	dir, ref := reference(t, load{rows: 300, shard: 10, concurrency: 16, latency: 5 * time.Millisecond, budget: 2_000_000})
	if err := freeze(bin, dir, ref, 1, t.Output()); err != nil {
		t.Fatal(err)
	}
}

// TestSignalsDrain ends the program with SIGTERM and SIGINT: one signal loses
// nothing, and none leaves anything wrong.
func TestSignalsDrain(t *testing.T) {
	t.Parallel()
	dir, ref := reference(t, load{rows: 200, shard: 10, concurrency: 16, latency: 10 * time.Millisecond, budget: 4_000_000})
	if err := signals(bin, dir, ref, 20, 1, t.Output()); err != nil {
		t.Fatal(err)
	}
}
