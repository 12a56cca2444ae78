package simulator

import "github.com/batchwright/batchwright/internal/batch"

// Fault is one way in which a call ends other than well.
type Fault uint8

// The faults. Their names in a knob string are in faultTable.
const (
	NoFault Fault = iota
	FaultRateLimit
	FaultBadHint
	FaultRamp
	FaultQuota
	FaultAuth
	FaultContext
	FaultTooBig
	FaultInvalid
	Fault408
	Fault409
	Fault500
	Fault502
	Fault503
	Fault504
	Fault529
	FaultReset
	FaultTimeout
	FaultDrop
	FaultTruncate
	FaultEmpty
	FaultNoChoice
	FaultErrorIn200
	FaultBadJSON
	FaultLength
	FaultRefuse
	FaultFilter
	FaultNoUsage
	FaultHugeUsage
	FaultWrongModel
	FaultSlow
	faultCount
)

// faultFacts is what is true of a fault in every dialect.
type faultFacts struct {
	name   string
	class  batch.Class // what a right client makes of it
	status int         // 0: an answer of status 200, or none at all
	billed bool
	atOnce bool // answered without the latency of a generation
	final  bool // billed, and the answer was good, delivered or not
}

var faultTable = [faultCount]faultFacts{
	NoFault:         {name: "ok", class: batch.ClassOK, billed: true, final: true},
	FaultRateLimit:  {name: "429", class: batch.ClassRateLimited, status: 429, atOnce: true},
	FaultBadHint:    {name: "badhint", class: batch.ClassRateLimited, status: 429, atOnce: true},
	FaultRamp:       {name: "ramp", class: batch.ClassRamp, status: 429, atOnce: true},
	FaultQuota:      {name: "quota", class: batch.ClassQuotaMoney, status: 429, atOnce: true},
	FaultAuth:       {name: "auth", class: batch.ClassAuth, status: 401, atOnce: true},
	FaultContext:    {name: "context", class: batch.ClassContextTooLong, status: 400, atOnce: true},
	FaultTooBig:     {name: "toobig", class: batch.ClassTooBig, status: 413, atOnce: true},
	FaultInvalid:    {name: "400", class: batch.ClassInvalidRequest, status: 400, atOnce: true},
	Fault408:        {name: "408", class: batch.ClassTransient, status: 408},
	Fault409:        {name: "409", class: batch.ClassTransient, status: 409},
	Fault500:        {name: "500", class: batch.ClassTransient, status: 500},
	Fault502:        {name: "502", class: batch.ClassTransient, status: 502},
	Fault503:        {name: "503", class: batch.ClassCapacity, status: 503},
	Fault504:        {name: "504", class: batch.ClassTransient, status: 504},
	Fault529:        {name: "529", class: batch.ClassCapacity, status: 529},
	FaultReset:      {name: "reset", class: batch.ClassUnknown},
	FaultTimeout:    {name: "timeout", class: batch.ClassUnknown, atOnce: true},
	FaultDrop:       {name: "drop", class: batch.ClassUnknown, billed: true, final: true},
	FaultTruncate:   {name: "truncate", class: batch.ClassUnknown, billed: true, final: true},
	FaultEmpty:      {name: "empty", class: batch.ClassUnknown, billed: true, final: true},
	FaultNoChoice:   {name: "nochoice", class: batch.ClassUnknown, billed: true},
	FaultErrorIn200: {name: "200error", class: batch.ClassTransient},
	FaultBadJSON:    {name: "badjson", class: batch.ClassInvalidOutput, billed: true},
	FaultLength:     {name: "length", class: batch.ClassTruncated, billed: true, final: true},
	FaultRefuse:     {name: "refuse", class: batch.ClassRefused, billed: true, final: true},
	FaultFilter:     {name: "filter", class: batch.ClassFiltered, billed: true, final: true},
	FaultNoUsage:    {name: "nousage", class: batch.ClassOK, billed: true, final: true},
	FaultHugeUsage:  {name: "hugeusage", class: batch.ClassBreach, billed: true, final: true},
	FaultWrongModel: {name: "wrongmodel", class: batch.ClassOK, billed: true, final: true},
	FaultSlow:       {name: "slow", class: batch.ClassOK, billed: true, final: true},
}

func (f Fault) String() string { return faultTable[f].name }

// lost reports whether the client never gets a whole answer.
func (f Fault) lost() bool {
	switch f {
	case FaultReset, FaultTimeout, FaultDrop, FaultTruncate, FaultEmpty:
		return true
	}
	return false
}

func faultNamed(name string) (Fault, bool) {
	for f := NoFault; f < faultCount; f++ {
		if faultTable[f].name == name {
			return f, true
		}
	}
	return 0, false
}
