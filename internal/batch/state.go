package batch

import "slices"

// RunState is where a run stands. The set is closed.
type RunState string

// The states of a run.
const (
	RunDraft            RunState = "draft"             // being built; nothing was sent
	RunAwaitingApproval RunState = "awaiting_approval" // a policy wants a person first; nothing was sent
	RunQueued           RunState = "queued"            // ready; no worker has begun
	RunRunning          RunState = "running"
	RunPaused           RunState = "paused" // asked to stop, or interrupted; resumable
	RunDelivering       RunState = "delivering"
	RunSucceeded        RunState = "succeeded" // every item ok, or failures inside the declared threshold
	RunPartial          RunState = "partial"   // finished with more failures than declared
	RunFailed           RunState = "failed"
	RunStoppedBudget    RunState = "stopped_budget"    // the budget lets nothing more start; resumable
	RunDeadlineExceeded RunState = "deadline_exceeded" // resumable
	RunCancelled        RunState = "cancelled"
	RunRejected         RunState = "rejected"
)

var runEdges = map[RunState][]RunState{
	RunDraft:            {RunAwaitingApproval, RunQueued, RunCancelled},
	RunAwaitingApproval: {RunQueued, RunRejected, RunCancelled},
	RunQueued:           {RunRunning, RunPaused, RunCancelled},
	RunRunning:          {RunPaused, RunDelivering, RunFailed, RunCancelled},
	RunPaused:           {RunRunning, RunDelivering, RunCancelled},
	RunDelivering: {RunSucceeded, RunPartial, RunFailed, RunStoppedBudget, RunDeadlineExceeded,
		RunCancelled, RunPaused, RunRunning},
	// What follows ends a run, and is left only when a person asks for more:
	// a raised budget, a later deadline, a retry of failed items.
	RunStoppedBudget:    {RunRunning, RunCancelled},
	RunDeadlineExceeded: {RunRunning, RunCancelled},
	RunSucceeded:        {RunRunning},
	RunPartial:          {RunRunning},
	RunFailed:           {RunRunning},
}

// CanBecome reports whether the machine drawn in the package comment has an
// edge from s to t.
func (s RunState) CanBecome(t RunState) bool { return slices.Contains(runEdges[s], t) }

// Ended reports whether no work goes on and none will without a person.
func (s RunState) Ended() bool {
	switch s {
	case RunSucceeded, RunPartial, RunFailed, RunStoppedBudget, RunDeadlineExceeded, RunCancelled, RunRejected:
		return true
	}
	return false
}

// Resumable reports whether `resume` (or running the same spec again) goes on
// with the run's own unfinished items.
func (s RunState) Resumable() bool {
	switch s {
	case RunQueued, RunRunning, RunPaused, RunDelivering, RunStoppedBudget, RunDeadlineExceeded:
		return true
	}
	return false
}

// RunStates lists all states in the order of a run's life.
func RunStates() []RunState {
	return []RunState{RunDraft, RunAwaitingApproval, RunQueued, RunRunning, RunPaused, RunDelivering, RunSucceeded,
		RunPartial, RunFailed, RunStoppedBudget, RunDeadlineExceeded, RunCancelled, RunRejected}
}

// ItemState is where an item stands.
type ItemState string

// The states of an item.
const (
	ItemPending ItemState = "pending"
	ItemOK      ItemState = "ok"
	ItemFailed  ItemState = "failed"
	ItemSkipped ItemState = "skipped"
)

// ShardState is where a shard stands. The numbers are stored.
type ShardState int

// The states of a shard. Parked is open with no budget that fits it.
const (
	ShardOpen ShardState = iota
	ShardLeased
	ShardDone
	ShardParked
)

func (s ShardState) String() string {
	return [...]string{"open", "leased", "done", "parked"}[s]
}
