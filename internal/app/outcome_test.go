package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// TestTheThresholdDecidesBetweenSucceededAndPartial at its exact edge.
func TestTheThresholdDecidesBetweenSucceededAndPartial(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		threshold string
		want      batch.RunState
	}{{"0", batch.RunPartial}, {"4.9%", batch.RunPartial}, {"5%", batch.RunSucceeded}, {"1", batch.RunSucceeded}} {
		b := newBench(t, "poison=ticket 3 has")
		b.write("in.jsonl", items(20))
		s := b.runTo(c.want, usual("failure_threshold: "+c.threshold+"\n"))
		if s.Items.Failed != 1 || s.Items.OK != 19 {
			t.Errorf("%s: %+v", c.threshold, s.Items)
		}
		b.close()
	}
	b := newBench(t, "poison=ticket")
	b.write("in.jsonl", items(3))
	b.runTo(batch.RunFailed, usual(""))
}

// TestBadRowsAreRefusedOrSetAside, before anything is paid.
func TestBadRowsAreRefusedOrSetAside(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(5)+"{broken\n"+`{"id":"x","note":"no text"}`+"\n"+`{"id":"i3","text":"an id twice"}`+"\n")
	_, err := b.app().Start(t.Context(), app.StartRequest{Spec: b.spec(usual(""))})
	b.refused(err, batch.Invalid, "in.jsonl:6")
	if n := b.sim.Totals().TotalCalls; n != 0 {
		t.Fatalf("%d calls", n)
	}
	s := b.runTo(batch.RunPartial, strings.Replace(usual(""), "id: id}", "id: id, on_bad_item: quarantine}", 1))
	fs := b.lines(b.read("out/failed.jsonl"))
	if s.Items.OK != 5 || len(fs) != 3 || b.sim.Totals().TotalCalls != 5 {
		t.Fatalf("%+v %v, %d calls", s.Items, fs, b.sim.Totals().TotalCalls)
	}
	for _, f := range fs {
		if f.text("class") != "bad_item" || f.text("message") == "" {
			t.Errorf("%s: %s %s", f.text("id"), f.text("class"), f.text("message"))
		}
	}
	// A quarantined item is not retried: there is nothing to call.
	plan, _, err := b.app().Retry(t.Context(), string(s.RunID), app.RetryRequest{DryRun: true})
	if err != nil || plan.Items != 0 {
		t.Errorf("%+v %v", plan, err)
	}
}

// TestTruncatedAnswers are failed, accepted, or asked for again with more room.
func TestTruncatedAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		way   string
		want  batch.RunState
		check func(b *bench, s app.Status)
	}{
		{"fail", batch.RunFailed, func(b *bench, s app.Status) {
			for _, f := range b.lines(b.read("out/failed.jsonl")) {
				if f.text("class") != "truncated" {
					t.Errorf("fail: %s", f.text("class"))
				}
			}
			if n := b.sim.Totals().BilledCalls; n != 10 {
				t.Errorf("fail: %d calls", n)
			}
		}},
		{"accept", batch.RunSucceeded, func(b *bench, s app.Status) {
			for _, r := range b.lines(b.read("out/results.jsonl")) {
				if r.text("truncated") != "true" || r.text("output") == "" {
					t.Errorf("accept: %v", r)
				}
			}
			if n := b.sim.Totals().BilledCalls; n != 10 {
				t.Errorf("accept: %d calls", n)
			}
		}},
		{"raise", batch.RunSucceeded, func(b *bench, s app.Status) {
			tot := b.sim.Totals()
			if tot.BilledCalls <= 10 || s.Tokens.Total != tot.BilledInputTokens+tot.BilledOutputTokens {
				t.Errorf("raise: %d calls, %+v", tot.BilledCalls, s.Tokens)
			}
			for _, r := range b.lines(b.read("out/results.jsonl")) {
				if r.text("truncated") == "true" {
					t.Errorf("raise: %s is cut", r.text("id"))
				}
			}
		}},
	} {
		t.Run(c.way, func(t *testing.T) {
			// Answers of up to 60 words, cut at 4: raise finds the room in doublings.
			b := newBench(t, "cap=length,words=31")
			b.write("in.jsonl", items(10))
			task := strings.Replace(usualTask, "max_output_tokens: 64", "max_output_tokens: 4\n  on_truncated: "+c.way, 1)
			s := b.runTo(c.want, strings.Replace(usual(task), "batch_size: 10", "batch_size: 10, max_attempts: 9", 1))
			b.paid(s)
			c.check(b, s)
		})
	}
}

// TestAnswersThatBreakTheSchemaAreAskedForAgain and are never a result.
func TestAnswersThatBreakTheSchemaAreAskedForAgain(t *testing.T) {
	t.Parallel()
	schema := "  max_output_tokens: 64\n  schema: {type: object, properties: {mood: {type: string, enum: [good, bad]}}, required: [mood], additionalProperties: false}\n"
	text := usual(strings.Replace(usualTask, "  max_output_tokens: 64\n", schema, 1))
	b := newBench(t, "seen:1=badjson")
	b.write("in.jsonl", items(10))
	s := b.runTo(batch.RunSucceeded, text)
	if tot := b.sim.Totals(); tot.BilledCalls != 20 || s.Tokens.Total != tot.BilledInputTokens+tot.BilledOutputTokens {
		t.Errorf("%d calls, %+v", tot.BilledCalls, s.Tokens)
	}
	for _, r := range b.lines(b.read("out/results.jsonl")) {
		var v struct{ Mood string }
		unmarshal(t, r["output"], &v)
		if v.Mood != "good" && v.Mood != "bad" {
			t.Errorf("%s: %s", r.text("id"), r["output"])
		}
	}
	always := newBench(t, "seen:1-99=badjson")
	always.write("in.jsonl", items(4))
	s = always.runTo(batch.RunFailed, text)
	for _, f := range always.lines(always.read("out/failed.jsonl")) {
		if f.text("class") != "invalid_output" || strings.Contains(f.text("message"), "Here it is") {
			t.Errorf("%v", f)
		}
	}
	if n := always.sim.Totals().BilledCalls; n != 12 || s.Items.Failed != 4 {
		t.Errorf("%d calls, %+v", n, s.Items)
	}
}

// TestEvaluationCountsWhatIsRight by answers whose labels are known: the first
// run tells what the provider says, the second one is held to it.
func TestEvaluationCountsWhatIsRight(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	schema := "  max_output_tokens: 64\n  schema: {type: object, properties: {label: {type: string, enum: [cat, dog, cow]}}, required: [label], additionalProperties: false}\n"
	task := strings.Replace(usualTask, "  max_output_tokens: 64\n", schema, 1)
	b.write("in.jsonl", items(60))
	b.runTo(batch.RunSucceeded, usual(task))
	said := map[string]string{}
	for _, r := range b.lines(b.read("out/results.jsonl")) {
		var v struct{ Label string }
		unmarshal(t, r["output"], &v)
		said[r.text("id")] = v.Label
	}
	var in strings.Builder
	right, expected := int64(0), map[string]int64{}
	for i, o := range b.lines(items(60)) {
		label := " " + strings.ToUpper(said[o.text("id")]) // case and space do not count
		if i%4 == 0 {
			label = "horse"
		} else {
			right++
		}
		expected[label]++
		line, _ := json.Marshal(map[string]string{"id": o.text("id"), "text": o.text("text"), "label": label})
		in.Write(append(line, '\n'))
	}
	b.write("in.jsonl", in.String())
	s := b.runTo(batch.RunSucceeded, usual("evaluate: {expected: label, path: label}\n"+task))
	rep, err := b.app().Report(t.Context(), string(s.RunID))
	if err != nil || rep.Evaluation == nil {
		t.Fatalf("%+v %v", rep.Evaluation, err)
	}
	e := rep.Evaluation
	if e.Compared != 60 || e.Right != right || e.Field != "label" || len(e.Confusions) == 0 || e.Confusions[0].Expected != "horse" {
		t.Errorf("%+v, want %d right of 60", e, right)
	}
}

// TestDiffShowsWhatFlipped between two runs.
func TestDiffShowsWhatFlipped(t *testing.T) {
	t.Parallel()
	b := newBench(t, "poison=ticket 3 has")
	b.write("in.jsonl", items(12))
	first := b.runTo(batch.RunPartial, usual(""))
	b.knobs("seed=99,poison=ticket 5 has")
	second := b.run(usual("failure_threshold: 0.5\n"), app.StartRequest{New: true})
	c, err := b.app().Diff(t.Context(), string(first.RunID), string(second.RunID))
	if err != nil {
		t.Fatal(err)
	}
	flips := map[string]string{}
	for _, f := range c.Flips {
		flips[f.ID] = f.Before + ">" + f.After
	}
	if flips["i3"] != "invalid_request>ok" || flips["i5"] != "ok>invalid_request" || len(flips) != 12 || flips["i0"] != "ok>output" {
		t.Errorf("%v", flips)
	}
	if len(c.Spec) != 1 || c.Spec[0].Key != "failure_threshold" || c.A.ID != first.RunID || c.B.ID != second.RunID {
		t.Errorf("%+v", c.Spec)
	}
	same, err := b.app().Diff(t.Context(), string(first.RunID), string(first.RunID))
	if err != nil || len(same.Flips) != 0 || len(same.Spec) != 0 {
		t.Errorf("a run differs from itself: %+v %v", same.Flips, err)
	}
}

// states lists a run's items by state.
func (b *bench) states(id batch.RunID) map[batch.ItemState]int64 {
	b.t.Helper()
	m := map[batch.ItemState]int64{}
	next := batch.Ordinal(0)
	err := b.app().Items(b.t.Context(), string(id), app.ItemQuery{}, func(r app.ItemRow) error {
		if r.Ordinal != next || r.ID != fmt.Sprintf("i%d", next) {
			b.t.Errorf("item %d (%s) came where %d was due", r.Ordinal, r.ID, next)
		}
		next++
		m[r.State]++
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// TestItemsAndResultsAtEveryState of a run: while it goes on, paused, ended and
// cancelled, every item is listed once and in order.
func TestItemsAndResultsAtEveryState(t *testing.T) {
	t.Parallel()
	const n = 60
	b := newBench(t, "latency=60ms,poison=ticket 1 has")
	b.write("in.jsonl", items(n))
	ctx := t.Context()
	st := b.start(usual(slow), app.StartRequest{})
	id := string(st.Run)
	results := func(only string) []object {
		var buf bytes.Buffer
		if err := b.app().Results(ctx, id, &buf, "jsonl", only); err != nil {
			t.Fatal(err)
		}
		return b.lines(buf.String())
	}
	b.until(st.Run, "does something", func(s app.Status) bool { return s.Items.OK > 3 && s.Items.Failed > 0 })
	m := b.states(st.Run)
	if rs := results("ok"); len(rs) < 4 || m[batch.ItemPending] == 0 || m[batch.ItemOK] < 4 || m[batch.ItemFailed] != 1 {
		t.Errorf("live: %v, %d results", m, len(rs))
	}
	if fs := results("failed"); len(fs) != 1 || fs[0].text("id") != "i1" || fs[0].text("class") != "invalid_request" {
		t.Errorf("live: failed %v", fs)
	}
	if _, err := b.app().Report(ctx, id); err != nil {
		t.Errorf("a report of a live run: %v", err)
	}
	if _, err := b.app().Pause(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	s := b.until(st.Run, "stands still", func(s app.Status) bool { return s.State == batch.RunPaused && settled(s) })
	if m = b.states(st.Run); m[batch.ItemOK] != s.Items.OK || m[batch.ItemPending] != s.Items.Pending || int64(len(results("ok"))) != s.Items.OK {
		t.Errorf("paused: %v, %+v", m, s.Items)
	}
	var left app.ItemRow // shards are worked side by side: any item can be the one that is left
	if err := b.app().Items(ctx, id, app.ItemQuery{State: batch.ItemPending}, func(it app.ItemRow) error { left = it; return nil }); err != nil {
		t.Fatal(err)
	}
	pending, err := b.app().Item(ctx, id, left.ID, true)
	if err != nil || pending.Item.State != batch.ItemPending || len(pending.Attempts) != 0 ||
		!strings.Contains(string(pending.Input), fmt.Sprintf("ticket %d ", left.Ordinal)) || pending.Line != int64(left.Ordinal)+1 {
		t.Errorf("pending: %+v %v", pending, err)
	}
	b.knobs("poison=ticket 1 has")
	if _, err := b.app().Resume(ctx, id, app.Raise{}); err != nil {
		t.Fatal(err)
	}
	s = b.still(st.Run)
	b.in(s, batch.RunPartial)
	if m = b.states(st.Run); m[batch.ItemOK] != n-1 || m[batch.ItemFailed] != 1 || len(m) != 2 {
		t.Errorf("ended: %v", m)
	}
	var buf bytes.Buffer
	if err := b.app().Results(ctx, id, &buf, "jsonl", "ok"); err != nil || buf.String() != b.read("out/results.jsonl") {
		t.Errorf("results are not results.jsonl: %v", err)
	}
	one, err := b.app().Item(ctx, id, "i2", false)
	if err != nil || one.Item.State != batch.ItemOK || len(one.Attempts) != 1 || one.Input != nil || one.Output != nil || one.Attempts[0].Usage.Total() != one.Item.Tokens {
		t.Errorf("ok: %+v %v", one, err)
	}
	bad, err := b.app().Item(ctx, id, "i1", true)
	if err != nil || bad.Item.Class != batch.ClassInvalidRequest || bad.Item.Message == "" || len(bad.Attempts) != 1 {
		t.Errorf("failed: %+v %v", bad, err)
	}
	_, err = b.app().Item(ctx, id, "nobody", false)
	b.refused(err, batch.NotFound, "nobody", "batchwright items")
	var only []string
	err = b.app().Items(ctx, id, app.ItemQuery{State: batch.ItemFailed, Class: batch.ClassInvalidRequest}, func(r app.ItemRow) error { only = append(only, r.ID); return nil })
	if err != nil || len(only) != 1 || only[0] != "i1" {
		t.Errorf("failed items: %v %v", only, err)
	}
	only = nil
	err = b.app().Items(ctx, id, app.ItemQuery{Limit: 5}, func(r app.ItemRow) error { only = append(only, r.ID); return nil })
	if err != nil || len(only) != 5 {
		t.Errorf("the first 5: %v %v", only, err)
	}
}

// TestRetryReplacesFailures: what is retried is counted and priced first, the
// new outcome stands in the outputs, the old attempts in the ledger, and verify
// is content at every moment of it.
func TestRetryReplacesFailures(t *testing.T) {
	t.Parallel()
	want, _ := calm(t, items(50), usual(""))
	b := newBench(t, "poison=please please")
	b.write("in.jsonl", items(50))
	s := b.runTo(batch.RunPartial, usual(slow))
	failed := s.Items.Failed
	if failed != 30 {
		t.Fatalf("%+v", s.Items)
	}
	id := string(s.RunID)
	plan, _, err := b.app().Retry(t.Context(), id, app.RetryRequest{Class: batch.ClassInvalidRequest, DryRun: true})
	if err != nil || plan.Items != failed || b.sim.Totals().TotalCalls != 50 {
		t.Fatalf("%+v %v", plan, err)
	}
	b.knobs("latency=100ms")
	if _, _, err := b.app().Retry(t.Context(), id, app.RetryRequest{Items: []string{"i2", "i3", "i4", "i7"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.app().Pause(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	b.until(s.RunID, "stands still", func(s app.Status) bool { return s.State == batch.RunPaused && settled(s) })
	b.verify(s.RunID)
	b.close()
	b.knobs("")
	if _, err := b.app().Resume(t.Context(), id, app.Raise{}); err != nil {
		t.Fatal(err)
	}
	s = b.still(s.RunID)
	b.verify(s.RunID)
	if s.State != batch.RunPartial || s.Items.Failed != failed-4 || s.Items.OK != 24 {
		t.Fatalf("%s %+v", s.State, s.Items)
	}
	if _, _, err := b.app().Retry(t.Context(), id, app.RetryRequest{}); err != nil {
		t.Fatal(err)
	}
	s = b.still(s.RunID)
	b.in(s, batch.RunSucceeded)
	b.verify(s.RunID)
	b.same("after a retry", b.outputs("out"), want)
	b.paid(s)
	if one, err := b.app().Item(t.Context(), id, "i2", false); err != nil || len(one.Attempts) != 2 {
		t.Errorf("%+v %v", one, err)
	}
	b.whole("out", s)
}

// TestTheSimulatorNeedsNothing: provider sim in the process, without a server.
func TestTheSimulatorNeedsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.write("in.jsonl", items(30))
	s := b.runTo(batch.RunSucceeded, usual("task: {provider: sim, prompt: \"Summarise: {{ text }}\", options: {faults: \"500:0.2,429:0.1,drop:0.1\"}}\n"))
	if s.Items.OK != 30 || s.Unknown == 0 || s.Attempts <= 30 || b.sim.Totals().TotalCalls != 0 {
		t.Errorf("%+v, %d attempts, %d unknown", s.Items, s.Attempts, s.Unknown)
	}
}
