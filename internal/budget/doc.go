// Package budget is the money protocol as pure steps: what a lease may start,
// what an attempt's end moves, what a take-over charges. It does no I/O; the
// store writes the results in the transactions named T1 to T5:
//
//	T1 claim     reserve the worst case of as many items as fit (Fit), epoch+1
//	T2 start     Book.Start, written before any byte goes to a provider
//	T3 commit    Book.Finish, written with the outcomes before anyone says "done"
//	T4 late      Late: the truth of a call whose lease was lost, once
//	T5 unsent    Book.Unsend: surely no byte was written, the start is taken back
//
// What holds in every written state, and what the tests check after every step:
//
//	open + spent <= reserved          in every lease (unless a provider billed above a reservation)
//	spent + reserved + at risk <= limit   on every budget
package budget
