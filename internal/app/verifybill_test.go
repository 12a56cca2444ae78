package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// against verifies a run with a bill of the test's own.
func (b *bench) against(id batch.RunID, bill string) app.Verification {
	b.t.Helper()
	v, err := b.app().VerifyAgainst(b.t.Context(), string(id), strings.NewReader(bill))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// TestVerifyHearsTheWitness: a bill that says what the run says passes, and each
// way in which it can say something else is named.
func TestVerifyHearsTheWitness(t *testing.T) {
	t.Parallel()
	b := newBench(t, "seed=5,500:0.1,drop:0.05,badjson:0.05")
	b.write("in.jsonl", items(80))
	s := b.run(strings.Replace(usual("budget: {tokens: 200000, usd: 1}\n"), "batch_size: 10", "batch_size: 10, max_attempts: 9", 1), app.StartRequest{})
	bill := b.bill().String()
	lines := strings.SplitAfter(strings.TrimSuffix(bill, "\n"), "\n")
	v := b.against(s.RunID, bill)
	tot := b.sim.Totals()
	if !v.OK || v.Bill == nil || v.Bill.Calls != tot.BilledCalls || v.Bill.Items != 80 || v.Bill.Repeats != tot.BilledCalls-80 || v.Bill.Lost != 0 ||
		v.Bill.Tokens != tot.BilledInputTokens+tot.BilledOutputTokens || v.Bill.Pico == 0 {
		t.Fatalf("%+v\n%+v\nthe bill has %+v", v, v.Bill, tot)
	}
	// What the ledger has beyond the bill is the worst case of lost replies.
	if over := s.Budget.Spent.Tokens - v.Bill.Tokens; (over > 0) != (tot.ByFault["drop"] > 0) {
		t.Errorf("the ledger is %d tokens above the bill with %d lost replies", over, tot.ByFault["drop"])
	}
	id := func(epoch, n int) string { return fmt.Sprintf("bw-%s-3-%d-%d", s.RunID, epoch, n) }
	line := func(id string, in, out int64) string {
		return fmt.Sprintf(`{"digest":"00ff","client_id":%q,"input_tokens":%d,"output_tokens":%d}`+"\n", id, in, out)
	}
	for _, c := range []struct {
		name, bill string
		want       map[string]bool // invariants that must be named, and no other
		says       string
	}{
		{"a call that no attempt made", bill + line(id(1, 77), 5, 5), map[string]bool{"I3": true}, "00ff"},
		{"a call of an epoch that never was", bill + line(id(9, 1), 5, 5), map[string]bool{"I3": true}, "00ff"},
		{"a call without an id", bill + line("", 5, 5), map[string]bool{"I3": true}, "no attempt's id"},
		{"a call of another client", bill + line("curl-1", 5, 5), map[string]bool{"I3": true}, "no attempt's id"},
		{"a call twice", bill + lines[7], map[string]bool{"I3": true}, "more than once"},
		{"a call that was billed higher", strings.Replace(bill, `"output_tokens":`, `"output_tokens":99`, 1), map[string]bool{"I4": true}, "request "},
		{"a token more", upOne(bill), map[string]bool{"I4": true}, "was billed"},
		{"more than everything", bill + line(id(1, 77), 1, 900000), map[string]bool{"I3": true, "I4": true}, "budget"},
		{"a price beyond arithmetic", bill + line(id(1, 77), 1<<62, 1), map[string]bool{"I3": true, "I4": true}, "00ff"},
	} {
		v := b.against(s.RunID, c.bill)
		got := map[string]bool{}
		for _, f := range v.Findings {
			got[f.Invariant] = true
		}
		if v.OK || fmt.Sprint(got) != fmt.Sprint(c.want) || !strings.Contains(fmt.Sprint(v.Findings), c.says) {
			t.Errorf("%s: found %+v, want %v", c.name, v.Findings, c.want)
		}
	}
	// Calls of other runs are counted and judged by their own.
	if v := b.against(s.RunID, bill+line("bw-r_other-0-1-1", 5, 5)); !v.OK || v.Bill.Strangers != 1 {
		t.Errorf("%+v", v)
	}
	// A bill that is none, or is cut, is no bill: nothing is passed by it.
	for _, text := range []string{bill[:len(bill)-20], "<html>\n", "{}\n", strings.Repeat("x", 2<<20)} {
		if v, err := b.app().VerifyAgainst(t.Context(), string(s.RunID), strings.NewReader(text)); err == nil {
			t.Errorf("%.30q is taken for a bill: %+v", text, v)
		}
	}
}

// upOne adds a token to a call that was billed what its answer said.
func upOne(bill string) string {
	lines := strings.SplitAfter(bill, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"fault":"ok"`) })
	at := strings.Index(lines[i], `"cached_tokens":`) - 1
	lines[i] = lines[i][:at] + "1" + lines[i][at:] // ten times and one as many
	return strings.Join(lines, "")
}

// TestAProviderThatTellsLessThanItBills cannot be seen from inside: the witness
// shows it.
func TestAProviderThatTellsLessThanItBills(t *testing.T) {
	t.Parallel()
	b := newBench(t, "nth:3=lowusage")
	b.write("in.jsonl", items(12))
	st := b.start(usual(""), app.StartRequest{})
	s := b.still(st.Run)
	b.in(s, batch.RunSucceeded)
	if v, err := b.app().Verify(t.Context(), string(st.Run)); err != nil || !v.OK {
		t.Errorf("from inside: %+v, %v", v.Findings, err)
	}
	v := b.against(st.Run, b.bill().String())
	if v.OK || len(v.Findings) < 1 || v.Findings[0].Invariant != "I4" {
		t.Errorf("by the bill: %+v", v.Findings)
	}
}
