package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// TestWhatDeadProcessesLeftIsSwept: a process that was killed leaves manifests
// of runs that are not in the store, and drafts. The next one takes them away,
// and nothing else.
func TestWhatDeadProcessesLeftIsSwept(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(20))
	s := b.runTo(batch.RunSucceeded, usual(""))
	b.close()
	run := filepath.Join("data", "runs", string(s.RunID))
	stays := []string{
		b.write("data/runs/r_restored/manifest/index.bin", "x"),
		b.write("data/runs/r_restored/segments/0123.zst", "paid"),
		b.write("data/runs/r_delivered/manifest/index.bin", "x"),
		b.write("data/runs/r_delivered/output/results.jsonl", "paid"),
		b.write("data/runs/a file", "not ours"),
		filepath.Join(b.dir, run, "manifest", "SEALED"),
	}
	goes := []string{
		b.write("data/runs/r_unborn/manifest/.index.bin.tmp-AAAA", "x"),
		b.write("data/runs/r_sealed/manifest/SEALED", "x"),
		b.write(filepath.Join(run, "segments", ".0123.zst.tmp-AAAA"), "x"),
	}
	b.open(b.data, "")
	for _, p := range stays {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("gone: %v", err)
		}
	}
	for _, p := range goes {
		if _, err := os.Stat(p); err == nil {
			t.Errorf("%s stays", p)
		}
	}
	if _, err := os.Stat(filepath.Join(b.data, "runs", "r_unborn")); err == nil {
		t.Error("the folder of a run that did not come to be stays")
	}
	b.verify(s.RunID)
	if again := b.start(usual(""), app.StartRequest{}); again.Run == s.RunID {
		t.Error("the ended run goes on")
	}
}
