package app_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

const slow = "pacing: {concurrency: 4}\n"

// after is the instant from which no new call may be started (I15).
const after = 2 * time.Second

// TestPauseStopsCallsAndResumeGoesOn, from other goroutines and many at once:
// one of them is enough and all are answered.
func TestPauseStopsCallsAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	want, _ := calm(t, items(80), usual(""))
	b := newBench(t, "latency=100ms")
	b.write("in.jsonl", items(80))
	st := b.start(usual(slow), app.StartRequest{})
	b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 3 })
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := b.app().Pause(t.Context(), string(st.Run), "lunch"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	asked := time.Now()
	s := b.still(st.Run)
	b.in(s, batch.RunPaused)
	if s.Reason != "lunch" || s.Items.Pending == 0 {
		t.Errorf("%q, %+v", s.Reason, s.Items)
	}
	s = b.until(st.Run, "hands its leases back", func(s app.Status) bool { return settled(s) })
	<-time.After(time.Until(asked.Add(after + 500*time.Millisecond)))
	if n := b.sim.CallsAfter(asked.Add(after)); n != 0 {
		t.Errorf("%d calls later than 2 s after the pause", n)
	}
	b.verify(st.Run)
	b.paid(s)
	b.knobs("")
	// Another process goes on with it; running the spec again would, too.
	b.close()
	if again := b.start(usual(slow), app.StartRequest{}); !again.Resumed || again.Run != st.Run {
		t.Fatalf("%+v", again)
	}
	b.in(b.still(st.Run), batch.RunSucceeded)
	b.verify(st.Run)
	b.same("after a pause", b.outputs("out"), want)
	if tot := b.sim.Totals(); tot.BilledCalls != 80 {
		t.Errorf("%d calls for 80 items", tot.BilledCalls)
	}
}

// TestCancelKeepsWhatWasPaid: no call after 2 s, outputs of what was done are
// whole, and the run cannot go on.
func TestCancelKeepsWhatWasPaid(t *testing.T) {
	t.Parallel()
	for _, now := range []bool{false, true} {
		b := newBench(t, "latency=100ms")
		b.write("in.jsonl", items(80))
		st := b.start(usual(slow), app.StartRequest{})
		b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 3 })
		asked := time.Now()
		done := make(chan error, 1)
		go func() { _, err := b.app().Cancel(t.Context(), string(st.Run), now, "enough"); done <- err }()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s := b.still(st.Run)
		b.in(s, batch.RunCancelled)
		b.verify(st.Run)
		b.whole("out", s)
		b.paid(s)
		if n := int64(len(b.lines(b.read("out/results.jsonl")))); n != s.Items.OK || s.Items.Skipped == 0 || s.Items.Pending != 0 {
			t.Errorf("%d results, %+v", n, s.Items)
		}
		if tot := b.sim.Totals(); !now && tot.BilledCalls != s.Items.OK || now && s.Unknown == 0 {
			t.Errorf("now=%v: %d calls were paid, %d are in the results, %d unknown", now, tot.BilledCalls, s.Items.OK, s.Unknown)
		}
		if n := b.sim.CallsAfter(asked.Add(after)); n != 0 {
			t.Errorf("%d calls later than 2 s after the cancel", n)
		}
		if _, err := b.app().Cancel(t.Context(), string(st.Run), false, "again"); err != nil {
			t.Errorf("a second cancel: %v", err)
		}
		_, err := b.app().Resume(t.Context(), string(st.Run), app.Raise{})
		b.refused(err, batch.Conflict, "cancelled")
		if again := b.start(usual(slow), app.StartRequest{}); again.Run == st.Run {
			t.Error("a cancelled run goes on")
		} else if _, err := b.app().Cancel(t.Context(), string(again.Run), true, ""); err != nil {
			t.Error(err)
		}
	}
}

// TestARunKeyIsOneRunForEver.
func TestARunKeyIsOneRunForEver(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(20))
	first := b.start(usual(""), app.StartRequest{Key: "2026-11-23"})
	b.in(b.still(first.Run), batch.RunSucceeded)
	again := b.start(usual(""), app.StartRequest{Key: "2026-11-23"})
	if again.Run != first.Run || !again.Ended || b.sim.Totals().BilledCalls != 20 {
		t.Errorf("%+v after %d calls", again, b.sim.Totals().BilledCalls)
	}
	_, err := b.app().Start(t.Context(), app.StartRequest{Key: "2026-11-23", Spec: b.spec(usual("") + strings.Replace(usualTask, "Summarise", "Shorten", 1))})
	b.refused(err, batch.Conflict, "2026-11-23", "another spec")
	other := b.start(usual(""), app.StartRequest{Key: "2026-11-24"})
	if other.Run == first.Run || other.Ended {
		t.Errorf("another key: %+v", other)
	}
	b.in(b.still(other.Run), batch.RunSucceeded)
}

// TestInputThatChangedIsNeverMixed: on resume it is refused, while running it
// ends the run; in both cases nothing of the new bytes is in the results.
func TestInputThatChangedIsNeverMixed(t *testing.T) {
	t.Parallel()
	const n = 3000 // more than is read ahead
	b := newBench(t, "latency=50ms")
	b.write("in.jsonl", items(n))
	changed := strings.ReplaceAll(items(n), "ticket", "TICKET")
	st := b.start(usual(slow), app.StartRequest{})
	b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 3 })
	b.write("in.jsonl", changed)
	b.knobs("")
	s := b.still(st.Run)
	b.in(s, batch.RunFailed)
	if !strings.Contains(s.Reason, "input_changed") || s.Items.Pending == 0 || s.Items.Failed != 0 {
		t.Errorf("%q, %+v", s.Reason, s.Items)
	}
	b.whole("out", s)
	b.paid(s)
	got := b.lines(b.read("out/results.jsonl"))
	want, _ := calm(t, items(n), usual(""))
	old := b.lines(want["results.jsonl"])
	if len(got) == 0 || int64(len(got)) != s.Items.OK {
		t.Fatalf("%d results, %+v", len(got), s.Items)
	}
	byID := map[string]object{}
	for _, o := range old {
		byID[o.text("id")] = o
	}
	for _, o := range got {
		if byID[o.text("id")].text("output") != o.text("output") {
			t.Errorf("%s was answered for another input", o.text("id"))
		}
	}

	b2 := newBench(t, "latency=50ms")
	b2.write("in.jsonl", items(80))
	st = b2.start(usual(slow), app.StartRequest{})
	b2.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 3 })
	if _, err := b2.app().Pause(t.Context(), string(st.Run), ""); err != nil {
		t.Fatal(err)
	}
	b2.write("in.jsonl", strings.Replace(items(80), "ticket 79", "ticket 97", 1))
	_, err := b2.app().Resume(t.Context(), string(st.Run), app.Raise{})
	b2.refused(err, batch.Conflict, "input changed", "1 changed (", "--new")
	_, err = b2.app().Start(t.Context(), app.StartRequest{Spec: b2.spec(usual(slow))})
	b2.refused(err, batch.Conflict, "input changed", "1 changed (", "--new")
	b2.knobs("")
	fresh := b2.start(usual(slow), app.StartRequest{New: true})
	if fresh.Run == st.Run || fresh.Resumed {
		t.Errorf("%+v", fresh)
	}
	b2.in(b2.still(fresh.Run), batch.RunSucceeded)
}

// TestOutputsThatCannotBeWrittenPauseTheRun, and a resume delivers them without
// a call.
func TestOutputsThatCannotBeWrittenPauseTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, "latency=20ms")
	b.write("in.jsonl", items(40))
	st := b.start(usual(slow), app.StartRequest{})
	// The folder becomes a file under the run's feet.
	if err := os.RemoveAll(filepath.Join(b.dir, "out")); err != nil {
		t.Fatal(err)
	}
	b.write("out", "in the way")
	s := b.still(st.Run)
	b.in(s, batch.RunPaused)
	if !strings.HasPrefix(s.Reason, "delivery: ") || s.Items.OK != 40 {
		t.Errorf("%q, %+v", s.Reason, s.Items)
	}
	b.verify(st.Run)
	if err := os.Remove(filepath.Join(b.dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.app().Resume(t.Context(), string(st.Run), app.Raise{}); err != nil {
		t.Fatal(err)
	}
	s = b.still(st.Run)
	b.in(s, batch.RunSucceeded)
	b.whole("out", s)
	if n := b.sim.Totals().TotalCalls; n != 40 {
		t.Errorf("%d calls for 40 items", n)
	}
	// A place that cannot be written from the start costs nothing.
	b.write("wall", "a file")
	_, err := b.app().Start(t.Context(), app.StartRequest{New: true, Spec: b.spec(strings.Replace(usual(""), "uri: out,", "uri: wall/out,", 1))})
	if err == nil || b.sim.Totals().TotalCalls != 40 {
		t.Errorf("%v after %d calls", err, b.sim.Totals().TotalCalls)
	}
}

// TestNoSecretIsLeftAnywhere: a key is used, and stands in no file, no log and
// no answer, even where the provider repeats it (I7).
func TestNoSecretIsLeftAnywhere(t *testing.T) {
	t.Parallel()
	const canary = "sk-canary-4b1d0a77c2e94f"
	b := newBench(t, "seen:1=500")
	b.write("key", canary+"\n")
	b.write("in.jsonl", items(30))
	text := strings.Replace(usual("")+usualTask, "  model: sim-1\n", "  model: sim-1\n  api_key: file:key\n", 1)
	s := b.runTo(batch.RunSucceeded, text)
	b.write("key", "wrong-"+canary)
	if _, err := b.app().Report(t.Context(), string(s.RunID)); err != nil {
		t.Fatal(err)
	}
	scan := func() (files int) {
		for _, root := range []string{b.data, filepath.Join(b.dir, "out")} {
			err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				files++
				body, err := os.ReadFile(p)
				if bytes.Contains(body, []byte(canary)) {
					t.Errorf("the key stands in %s", p)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return files
	}
	// Once with the WAL as it is while the program works, once after it ended.
	if _, err := os.Stat(filepath.Join(b.data, "batchwright.db-wal")); err != nil {
		t.Fatal(err)
	}
	if n := scan(); n < 10 {
		t.Errorf("only %d files were looked at", n)
	}
	b.close()
	scan()
	if strings.Contains(b.log.String(), canary) {
		t.Error("the key stands in the log")
	}
}

// TestARefusedKeyPausesTheRun before it burns the items' attempts.
func TestAMissingKeyCostsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(10))
	text := strings.Replace(usual("")+usualTask, "  model: sim-1\n", "  model: sim-1\n  api_key: file:nokey\n", 1)
	_, err := b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(text)})
	b.refused(err, batch.Credentials, "nokey")
	b.knobs("seen:1-1000=auth")
	b.write("nokey", "a-key-that-is-refused")
	st := b.start(text, app.StartRequest{})
	s := b.still(st.Run)
	b.in(s, batch.RunPaused)
	if !strings.HasPrefix(s.Reason, "auth") || s.Items.Failed != 0 {
		t.Errorf("%q, %+v", s.Reason, s.Items)
	}
	b.knobs("")
	if _, err := b.app().Resume(t.Context(), string(st.Run), app.Raise{}); err != nil {
		t.Fatal(err)
	}
	s = b.still(st.Run)
	b.in(s, batch.RunSucceeded)
	b.verify(st.Run)
}
