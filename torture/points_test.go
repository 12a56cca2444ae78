package main

import (
	"testing"
	"time"
)

// TestEveryPointIsSurvived kills the program once at every failpoint there is.
func TestEveryPointIsSurvived(t *testing.T) {
	t.Parallel()
	dir, ref := reference(t, load{rows: 200, shard: 10, concurrency: 16, latency: 3 * time.Millisecond, faults: "500:0.05,429:0.02,drop:0.02,truncate:0.01", budget: 3_000_000})
	if err := points(bin, dir, ref, 1, 2, t.Output()); err != nil {
		t.Fatal(err)
	}
}
