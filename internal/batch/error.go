package batch

import (
	"errors"
	"strings"
)

// Kind says what sort of failure an Error is. The set is closed; a door maps it
// to an exit code or an HTTP status by one table.
type Kind string

// The kinds of error.
const (
	Internal       Kind = "internal"      // a fault of ours
	Usage          Kind = "usage"         // wrong arguments or flags
	Invalid        Kind = "invalid"       // a bad spec or bad input
	Config         Kind = "config"        // a bad configuration or data directory
	NotFound       Kind = "not_found"     // no such run, item or file
	Conflict       Kind = "conflict"      // somebody else holds it, or it changed
	Credentials    Kind = "credentials"   // a key is missing or refused
	Account        Kind = "account"       // the provider account has no money, quota or access
	BudgetExceeded Kind = "budget"        // the budget does not allow it
	Deadline       Kind = "deadline"      // time ran out
	Approval       Kind = "approval"      // a person must say yes first
	Cancelled      Kind = "cancelled"     // a person stopped it
	StillRunning   Kind = "still_running" // the wait ended before the run did
	Unavailable    Kind = "unavailable"   // a dependency does not answer
	Drained        Kind = "drained"       // stopped by request with everything kept: start me again
	Interrupted    Kind = "interrupted"   // Ctrl-C
	Unfinished     Kind = "failures"      // finished with more failures than declared
)

// Error is what a person meets: what happened, where, why, and the next command.
type Error struct {
	Kind Kind
	Op   string // what was being done: "read input", "claim shard"
	Ref  string // file:line:col, run or item
	Msg  string // what happened; not ended by a period
	Hint string // what to do now; a command where there is one
	Err  error  // the cause, if another error
}

func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	for _, s := range []string{e.Ref, e.Op, e.Msg} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// HintOf returns the first hint in err's chain.
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// ErrFenced reports that the lease a write named is no longer current: nothing
// of the write was kept, and the worker stops working the shard.
var ErrFenced = errors.New("lease lost: the shard was taken over")

// ErrInputChanged reports that the bytes of an item are not those the manifest
// was made from. The run stops; nothing was sent for the item.
var ErrInputChanged = errors.New("input_changed: the input is not what the manifest was made from")
