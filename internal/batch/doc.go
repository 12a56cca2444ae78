// Package batch is the ground: the words of the domain and the rules that hold
// between them. It knows no database, no provider and no clock.
//
//	run   draft → awaiting_approval → queued → running ⇄ paused → delivering
//	          → succeeded | partial | failed | stopped_budget | deadline_exceeded | cancelled | rejected
//	shard open → leased → done            (parked: open, but no budget fits it)
//	item  pending → ok | failed | skipped
//
// The money protocol is here too, as pure steps on a shard's Book. The store
// writes what they lead to in the transactions named T1 to T5:
//
//	T1 claim     reserve the worst case of as many items as fit (Fit), epoch+1
//	T2 start     Book.Start, written before any byte goes to a provider
//	T3 commit    Book.Finish, written with the outcomes before anyone says "done"
//	T4 late      the truth of a call whose lease was lost, once
//	T5 unsent    Book.Unsend: surely no byte was written, the start is taken back
//
// What holds in every written state:
//
//	open + spent <= reserved             in every lease, unless a provider billed above a reservation
//	spent + reserved + at risk <= limit  on every budget
package batch
