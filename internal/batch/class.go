package batch

// Class is what one attempt, or the item it belonged to, ended as. The set is
// closed; an adapter maps every answer of a vendor to one of them, by status
// and error type and code and headers, never by status alone.
type Class string

// The classes. OK is the only success.
const (
	ClassOK             Class = "ok"
	ClassRateLimited    Class = "rate_limited" // too many requests or tokens for now
	ClassRamp           Class = "ramp"         // rate grew too fast: cut concurrency, grow slowly
	ClassCapacity       Class = "capacity"     // the provider is overloaded
	ClassTransient      Class = "transient"    // a fault that passes: 5xx, reset, conflict
	ClassQuotaMoney     Class = "quota_money"  // the account has no money or no quota left
	ClassAuth           Class = "auth"         // the key, the project or the region is refused
	ClassContextTooLong Class = "context_too_long"
	ClassTooBig         Class = "too_big" // the request body is too large
	ClassFiltered       Class = "filtered"
	ClassRefused        Class = "refused"
	ClassTruncated      Class = "truncated"       // cut at max_output_tokens
	ClassInvalidRequest Class = "invalid_request" // the provider will never accept it
	ClassInvalidOutput  Class = "invalid_output"  // answered, but not by the schema
	ClassUnknown        Class = "unknown"         // sent, and its fate is not known: perhaps paid
	ClassUnsent         Class = "unsent"          // surely not sent: no byte of the request was written

	// Classes that no provider answers.
	ClassBadItem     Class = "bad_item"     // quarantined when the manifest was built
	ClassItemBudget  Class = "item_budget"  // the item's own token budget lets nothing more start
	ClassBreach      Class = "breach"       // billed above its reservation
	ClassRetryBudget Class = "retry_budget" // the run's retry budget is used up
)

// Traits are what a class means for the item, the lane and the pace.
type Traits struct {
	Retry       bool // another attempt may succeed
	Free        bool // does not consume the item's attempts
	Cooldown    bool // all callers of this provider key and model wait
	StopsLane   bool // no caller of this key can succeed: pause the run, alert
	Billed      bool // the provider charges for it when it reports usage
	PerhapsPaid bool // no usage was seen; charge the worst case
	Accepted    bool // a policy can accept it as the item's answer
}

var traits = map[Class]Traits{
	ClassOK:             {Billed: true, Accepted: true},
	ClassRateLimited:    {Retry: true, Free: true, Cooldown: true},
	ClassRamp:           {Retry: true, Free: true, Cooldown: true},
	ClassCapacity:       {Retry: true},
	ClassTransient:      {Retry: true},
	ClassQuotaMoney:     {Retry: true, Free: true, StopsLane: true},
	ClassAuth:           {Retry: true, Free: true, StopsLane: true},
	ClassContextTooLong: {},
	ClassTooBig:         {},
	ClassFiltered:       {Billed: true},
	ClassRefused:        {Billed: true},
	ClassTruncated:      {Billed: true, Accepted: true},
	ClassInvalidRequest: {},
	ClassInvalidOutput:  {Retry: true, Billed: true},
	ClassUnknown:        {Retry: true, PerhapsPaid: true},
	ClassUnsent:         {Retry: true},
	ClassBadItem:        {},
	ClassItemBudget:     {},
	ClassBreach:         {Billed: true},
	ClassRetryBudget:    {},
}

// Traits returns what the class means. An unknown class behaves as ClassUnknown:
// charged at its worst and tried again within bounds.
func (c Class) Traits() Traits {
	t, ok := traits[c]
	if !ok {
		return traits[ClassUnknown]
	}
	return t
}

// Known reports whether c belongs to the closed set.
func (c Class) Known() bool { _, ok := traits[c]; return ok }

// Classes lists the closed set in a fixed order.
func Classes() []Class {
	return []Class{ClassOK, ClassRateLimited, ClassRamp, ClassCapacity, ClassTransient, ClassQuotaMoney, ClassAuth,
		ClassContextTooLong, ClassTooBig, ClassFiltered, ClassRefused, ClassTruncated, ClassInvalidRequest,
		ClassInvalidOutput, ClassUnknown, ClassUnsent, ClassBadItem, ClassItemBudget, ClassBreach, ClassRetryBudget}
}
