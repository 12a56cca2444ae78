// Package pacing decides when the next call to a provider may start: requests
// and tokens per minute, how many calls are open at once, and how long
// everybody waits after the provider said "too many". One Gate is shared by all
// callers of one provider host, key and model, so that they learn from each
// other's answers.
//
// The rules are pure and take the time as an argument (state.go); the Gate puts
// a lock, a queue and one timer around them.
package pacing
