package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// Code is an exit code. The numbers are a contract with schedulers: they are
// added, never changed, and 2 (a Go panic) and 99 (which some schedulers take
// for "skipped") are never used. Whoever meets an unknown one takes it for a
// failure.
type Code int

// The exit codes.
const (
	CodeOK          Code = 0
	CodeInternal    Code = 1
	CodeFailures    Code = 3
	CodeCredentials Code = 4
	CodeBudget      Code = 5
	CodeDeadline    Code = 6
	CodeApproval    Code = 7
	CodeRunning     Code = 8
	CodeCancelled   Code = 9
	CodeNotFound    Code = 10
	CodeConflict    Code = 11
	CodeAccount     Code = 12
	CodeChanges     Code = 20
	CodeUsage       Code = 64
	CodeInvalid     Code = 65
	CodeUnavailable Code = 69
	CodeDrained     Code = 75
	CodeConfig      Code = 78
	CodeInterrupted Code = 130
)

// codes is what help exit-codes prints.
var codes = [...]struct {
	code    Code
	meaning string
	again   string // does running it again help
}{
	{CodeOK, "success: every item ok, or failures inside failure_threshold", "-"},
	{CodeInternal, "unexpected error, or verify found something", "yes"},
	{CodeFailures, "finished with more failures than failure_threshold; results are kept", "no"},
	{CodeCredentials, "a key is missing or refused", "no"},
	{CodeBudget, "stopped at the token, money or retry budget; resumable", "with a larger budget"},
	{CodeDeadline, "the deadline passed; resumable", "with a later deadline"},
	{CodeApproval, "a person must approve first; nothing was spent", "after approval"},
	{CodeRunning, "still running when --timeout elapsed", "later"},
	{CodeCancelled, "the run was cancelled", "no"},
	{CodeNotFound, "no such run, item or file", "no"},
	{CodeConflict, "another process works in the data directory, or the run is in another state", "later"},
	{CodeAccount, "the provider account has no credit, quota or access", "after paying"},
	{CodeChanges, "plan --detailed-exitcode: there is something to call", "-"},
	{CodeUsage, "wrong arguments or flags", "no"},
	{CodeInvalid, "a bad spec or bad input", "no"},
	{CodeUnavailable, "a provider, store or file system does not answer", "yes"},
	{CodeDrained, "paused or drained with everything kept: start it again", "yes"},
	{CodeConfig, "a bad configuration or data directory", "no"},
	{CodeInterrupted, "interrupted by Ctrl-C, with everything kept", "yes"},
}

var kindCodes = map[batch.Kind]Code{
	batch.Internal: CodeInternal, batch.Usage: CodeUsage, batch.Invalid: CodeInvalid, batch.Config: CodeConfig,
	batch.NotFound: CodeNotFound, batch.Conflict: CodeConflict, batch.Credentials: CodeCredentials, batch.Account: CodeAccount,
	batch.BudgetExceeded: CodeBudget, batch.Deadline: CodeDeadline, batch.Approval: CodeApproval, batch.Cancelled: CodeCancelled,
	batch.StillRunning: CodeRunning, batch.Unavailable: CodeUnavailable, batch.Drained: CodeDrained,
	batch.Interrupted: CodeInterrupted, batch.Unfinished: CodeFailures,
}

var stateCodes = map[batch.RunState]Code{
	batch.RunDraft: CodeRunning, batch.RunAwaitingApproval: CodeApproval, batch.RunQueued: CodeRunning, batch.RunRunning: CodeRunning,
	batch.RunPaused: CodeDrained, batch.RunDelivering: CodeRunning, batch.RunSucceeded: CodeOK, batch.RunPartial: CodeFailures,
	batch.RunFailed: CodeFailures, batch.RunStoppedBudget: CodeBudget, batch.RunDeadlineExceeded: CodeDeadline,
	batch.RunCancelled: CodeCancelled, batch.RunRejected: CodeApproval,
}

// reasonCodes refine paused and failed by how the run's reason begins.
var reasonCodes = map[batch.RunState]map[string]Code{
	batch.RunPaused: {"auth": CodeCredentials, "quota_money": CodeAccount, "unreachable": CodeUnavailable, "delivery": CodeUnavailable},
	batch.RunFailed: {"reserve_breach": CodeInternal, "input_changed": CodeInvalid},
}

// StateCode is the exit code of a run that stands at a state for a reason.
func StateCode(s batch.RunState, reason string) Code {
	word, _, _ := strings.Cut(reason, ":")
	if c, ok := reasonCodes[s][strings.TrimSpace(word)]; ok {
		return c
	}
	if c, ok := stateCodes[s]; ok {
		return c
	}
	return CodeInternal
}

func codeOf(s app.Status) Code { return StateCode(s.State, s.Reason) }

// exit ends a command with a code when everything was said already.
type exit struct{ code Code }

func (e exit) Error() string { return fmt.Sprintf("exit %d", e.code) }

// exitWith is nil for CodeOK.
func exitWith(c Code) error {
	if c == CodeOK {
		return nil
	}
	return exit{c}
}

// ErrorCode is the exit code of an error.
func ErrorCode(err error) Code {
	if err == nil {
		return CodeOK
	}
	if e, ok := errors.AsType[exit](err); ok {
		return e.code
	}
	if e, ok := errors.AsType[*batch.Error](err); ok {
		if c, ok := kindCodes[e.Kind]; ok {
			return c
		}
		return CodeInternal
	}
	if errors.Is(err, context.Canceled) {
		return CodeInterrupted
	}
	if batch.MachineFault(err) {
		return CodeUnavailable
	}
	return CodeInternal
}
