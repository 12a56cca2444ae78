// Package batch is the ground: the words of the domain and the rules that hold
// between them. It knows no database, no provider and no clock.
//
//	run   draft → awaiting_approval → queued → running ⇄ paused → delivering
//	          → succeeded | partial | failed | stopped_budget | deadline_exceeded | cancelled | rejected
//	shard open → leased → done            (parked: open, but no budget fits it)
//	item  pending → ok | failed | skipped
package batch
