package cli

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

// The table of exit codes is a contract: this is it again, by hand.
func TestErrorCodes(t *testing.T) {
	t.Parallel()
	want := map[batch.Kind]Code{
		batch.Internal: 1, batch.Usage: 64, batch.Invalid: 65, batch.Config: 78, batch.NotFound: 10, batch.Conflict: 11,
		batch.Credentials: 4, batch.Account: 12, batch.BudgetExceeded: 5, batch.Deadline: 6, batch.Approval: 7, batch.Cancelled: 9,
		batch.StillRunning: 8, batch.Unavailable: 69, batch.Drained: 75, batch.Interrupted: 130, batch.Unfinished: 3,
	}
	if len(want) != len(kindCodes) {
		t.Errorf("%d kinds are mapped, %d are known here", len(kindCodes), len(want))
	}
	for k, c := range want {
		if got := ErrorCode(fmt.Errorf("outer: %w", &batch.Error{Kind: k})); got != c {
			t.Errorf("%s: %d, want %d", k, got, c)
		}
	}
	for _, x := range []struct {
		err  error
		want Code
	}{
		{nil, 0}, {errors.New("x"), 1}, {&batch.Error{Kind: "unheard of"}, 1}, {exit{20}, 20}, {context.Canceled, 130},
		{errors.Join(&batch.Error{Kind: batch.NotFound}, errors.New("closing")), 10},
	} {
		if got := ErrorCode(x.err); got != x.want {
			t.Errorf("%v: %d, want %d", x.err, got, x.want)
		}
	}
}

func TestStateCodes(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		state  batch.RunState
		reason string
		want   Code
	}{
		{batch.RunSucceeded, "", 0}, {batch.RunPartial, "", 3}, {batch.RunFailed, "", 3}, {batch.RunFailed, "anything", 3},
		{batch.RunFailed, "reserve_breach: item x was billed too much", 1}, {batch.RunFailed, "input_changed: the input is not what it was", 65},
		{batch.RunStoppedBudget, "tokens", 5}, {batch.RunDeadlineExceeded, "the deadline has passed", 6}, {batch.RunCancelled, "", 9},
		{batch.RunAwaitingApproval, "", 7}, {batch.RunRejected, "", 7},
		{batch.RunPaused, "auth: the key is refused", 4}, {batch.RunPaused, "quota_money: no credit", 12},
		{batch.RunPaused, "unreachable: connection refused", 69}, {batch.RunPaused, "delivery: cannot be written", 69}, {batch.RunPaused, "delivery: disk full", 69}, {batch.RunPaused, "lunch", 75}, {batch.RunPaused, "", 75},
		{batch.RunPaused, "authors are on holiday", 75}, {batch.RunRunning, "", 8}, {batch.RunQueued, "", 8}, {batch.RunDelivering, "", 8},
		{batch.RunDraft, "", 8}, {"unheard of", "", 1},
	} {
		if got := StateCode(x.state, x.reason); got != x.want {
			t.Errorf("%s (%s): %d, want %d", x.state, x.reason, got, x.want)
		}
	}
	for _, s := range batch.RunStates() {
		if _, ok := stateCodes[s]; !ok {
			t.Errorf("%s has no exit code", s)
		}
	}
}

// Whatever a command can exit with is explained, and the two numbers that
// others have given a meaning are never used.
func TestEveryCodeIsExplained(t *testing.T) {
	t.Parallel()
	told := map[Code]bool{}
	for _, c := range codes {
		if told[c.code] {
			t.Errorf("%d is explained twice", c.code)
		}
		told[c.code] = true
	}
	used := []Code{CodeOK, CodeChanges}
	for _, c := range kindCodes {
		used = append(used, c)
	}
	for _, c := range stateCodes {
		used = append(used, c)
	}
	for _, by := range reasonCodes {
		for _, c := range by {
			used = append(used, c)
		}
	}
	for _, c := range used {
		if !told[c] {
			t.Errorf("%d is not explained", c)
		}
		if c == 2 || c == 99 || c > 130 || c >= 125 && c < 130 {
			t.Errorf("%d has another meaning elsewhere", c)
		}
	}
}
