package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/wire"
)

// TestAProcessThatEndsMidwayLosesNothing: a session that is closed while a run
// goes on hands its leases back; the next one goes on, nothing is paid twice.
func TestAProcessThatEndsMidwayLosesNothing(t *testing.T) {
	t.Parallel()
	want, _ := calm(t, items(90), usual(""))
	b := newBench(t, "latency=40ms")
	b.write("in.jsonl", items(90))
	st := b.start(usual(slow), app.StartRequest{})
	for i := range int64(3) {
		b.until(st.Run, "does something more", func(s app.Status) bool { return s.Items.OK > 10*(i+1) })
		b.close()
		b.open(b.data, "")
		s := b.until(st.Run, "is known", func(app.Status) bool { return true })
		if s.State != batch.RunRunning || !settled(s) || s.Unknown != 0 {
			t.Fatalf("after a close the run is %s, %+v reserved, %d unknown", s.State, s.Budget.Reserved, s.Unknown)
		}
		b.verify(st.Run)
		if again := b.start(usual(slow), app.StartRequest{}); !again.Resumed || again.Run != st.Run {
			t.Fatalf("%+v", again)
		}
	}
	b.knobs("")
	s := b.still(st.Run)
	b.in(s, batch.RunSucceeded)
	b.verify(st.Run)
	b.same("after three processes", b.outputs("out"), want)
	if tot := b.sim.Totals(); tot.BilledCalls != 90 || tot.ExtraPaidCalls != 0 {
		t.Errorf("%d calls, %d of them twice", tot.BilledCalls, tot.ExtraPaidCalls)
	}
}

// TestACancelNeedsNoWorker: a paused run is cancelled by a process that does not
// work runs, and what was paid is delivered all the same.
func TestACancelNeedsNoWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t, "latency=40ms")
	b.write("in.jsonl", items(60))
	st := b.start(usual(slow), app.StartRequest{})
	b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 5 })
	if _, err := b.app().Pause(t.Context(), string(st.Run), ""); err != nil {
		t.Fatal(err)
	}
	b.close()
	w, err := wire.Open(t.Context(), wire.Options{DataDir: b.data, Mode: wire.Write, Command: "cancel", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.App.Cancel(t.Context(), string(st.Run), false, "no more")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.in(s, batch.RunCancelled)
	b.whole("out", s)
	b.verify(st.Run)
	if n := int64(len(b.lines(b.read("out/results.jsonl")))); n != s.Items.OK || n != b.sim.Totals().BilledCalls {
		t.Errorf("%d results, %+v, %d paid", n, s.Items, b.sim.Totals().BilledCalls)
	}
}

// TestRunsShareAProcess: several runs at once in one session, each with its own
// outputs and its own ledger.
func TestRunsShareAProcess(t *testing.T) {
	t.Parallel()
	b := newBench(t, "latency=5ms,500:0.05")
	want := map[string]map[string]string{}
	var started []batch.RunID
	text := func(k int) string {
		return strings.NewReplacer("id: usual", fmt.Sprintf("id: job%d, max_attempts: 20", k), "uri: in.jsonl", fmt.Sprintf("uri: in%d.jsonl", k), "uri: out,", fmt.Sprintf("uri: out%d,", k)).Replace(usual("task:" + strings.Replace(usualTask, "task:", "", 1)))
	}
	for k := range 3 {
		b.write(fmt.Sprintf("in%d.jsonl", k), strings.ReplaceAll(items(40+10*k), "ticket", fmt.Sprintf("case %d", k)))
		started = append(started, b.start(text(k), app.StartRequest{}).Run)
	}
	sum := int64(0)
	for k, id := range started {
		s := b.still(id)
		b.in(s, batch.RunSucceeded)
		b.verify(id)
		sum += s.Tokens.Total
		want[fmt.Sprintf("out%d", k)] = b.outputs(fmt.Sprintf("out%d", k))
		if n := int64(40 + 10*k); s.Items.OK != n {
			t.Errorf("%+v, want %d", s.Items, n)
		}
	}
	if tot := b.sim.Totals(); sum != tot.BilledInputTokens+tot.BilledOutputTokens {
		t.Errorf("the ledgers have %d tokens, the bill %d", sum, tot.BilledInputTokens+tot.BilledOutputTokens)
	}
	// Alone, each gives the same.
	alone := newBench(t, "")
	for k := range 3 {
		alone.write(fmt.Sprintf("in%d.jsonl", k), b.read(fmt.Sprintf("in%d.jsonl", k)))
		alone.runTo(batch.RunSucceeded, text(k))
		alone.same(fmt.Sprintf("run %d", k), want[fmt.Sprintf("out%d", k)], alone.outputs(fmt.Sprintf("out%d", k)))
	}
	rs, err := b.app().List(t.Context(), "job1", 10)
	if err != nil || len(rs) != 1 || rs[0].RunID != started[1] {
		t.Errorf("%+v %v", rs, err)
	}
}

// TestInputsAtTheEdge: nothing at all, a limit, one item, hostile ids.
func TestInputsAtTheEdge(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", "")
	_, err := b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(usual(""))})
	b.refused(err, batch.Invalid, "in.jsonl")
	_, err = b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(strings.Replace(usual(""), "in.jsonl", "nofile.jsonl", 1))})
	b.refused(err, batch.NotFound, "nofile.jsonl")
	b.write("in.jsonl", items(30))
	s := b.runTo(batch.RunSucceeded, strings.Replace(usual(""), "id: id}", "id: id, limit: 7}", 1))
	if s.Items.Total != 7 || b.sim.Totals().TotalCalls != 7 {
		t.Errorf("%+v after %d calls", s.Items, b.sim.Totals().TotalCalls)
	}
	hostile := []string{`../../etc/passwd`, `a\"b,c`, `=cmd()`, `<script>`, `ünï`, ` `}
	var in strings.Builder
	for i, id := range hostile {
		fmt.Fprintf(&in, `{"id":"%s","text":"%d"}`+"\n", id, i)
	}
	b.write("in.jsonl", in.String())
	s = b.run(usual(""), app.StartRequest{})
	b.in(s, batch.RunSucceeded)
	if n := len(b.lines(b.read("out/results.jsonl"))); n != len(hostile) {
		t.Errorf("%d results", n)
	}
	b.whole("out", s)
	if page := b.read("out/report.html"); strings.Contains(page, "<script>\"") {
		t.Error("an id stands unescaped in the report")
	}
}

// TestAnswersLostOnTheWayAreChargedAndAskedForAgain: replies that are cut are
// perhaps paid: they are charged at their worst case, the ledger covers the
// bill, and every item still has its answer.
func TestAnswersLostOnTheWayAreChargedAndAskedForAgain(t *testing.T) {
	t.Parallel()
	want, _ := calm(t, items(60), usual(""))
	b := newBench(t, "nth:3=drop,nth:7=truncate,nth:11=empty,nth:13=reset,nth:17=200error,nth:19=503,nth:23-25=429,nth:29=drop,nth:37=timeout,hang=10ms")
	b.write("in.jsonl", items(60))
	s := b.runTo(batch.RunSucceeded, strings.Replace(usual("budget: {tokens: 400000}\n"), "batch_size: 10", "batch_size: 10, max_attempts: 50", 1))
	b.paid(s)
	b.same("after faults of every kind", b.outputs("out"), want)
	tot := b.sim.Totals()
	if s.Unknown == 0 || tot.LostReplies == 0 || tot.ExtraPaidCalls > s.Unknown || tot.RepeatedClientIDs != 0 {
		t.Errorf("%d calls are unknown, %d replies were lost, %d calls paid twice, %d client ids twice", s.Unknown, tot.LostReplies, tot.ExtraPaidCalls, tot.RepeatedClientIDs)
	}
	if s.Attempts != tot.TotalCalls {
		t.Errorf("the ledger has %d calls, the provider %d", s.Attempts, tot.TotalCalls)
	}
}

// TestABreachStopsTheRun: a provider that bills above what was reserved is
// recorded in full, and nothing more is called.
func TestABreachStopsTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, "nth:20=hugeusage,latency=20ms")
	b.write("in.jsonl", items(200))
	s := b.runTo(batch.RunFailed, usual(slow))
	tot := b.sim.Totals()
	if !strings.Contains(s.Reason, "reserve_breach") || s.Items.Pending == 0 || s.Budget.Spent.Tokens < tot.BilledInputTokens+tot.BilledOutputTokens || tot.TotalCalls > 40 {
		t.Errorf("%q, %+v, spent %+v, billed %d in %d calls", s.Reason, s.Items, s.Budget.Spent, tot.BilledInputTokens+tot.BilledOutputTokens, tot.TotalCalls)
	}
	b.whole("out", s)
}
