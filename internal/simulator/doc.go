// Package simulator is a provider of LLM calls that is not one: it speaks the
// vendors' real dialects, refuses what they refuse, fails as they fail when
// told to, and keeps its own bill. It is the independent witness: whether a
// client lost, repeated or overpaid a call is judged by what stands here, not
// by what the client believes.
//
// An answer is a pure function of the seed and the request's bytes, and a fault
// one of those and how often this request was seen. So a run repeats exactly,
// whatever the order of its calls, and a retried request gets another chance.
package simulator
