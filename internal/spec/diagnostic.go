package spec

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
)

// Severity says whether a spec with the diagnostic can be used.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // no run is made from it
	Warning Severity = "warning" // it works; something about it is likely not meant
)

// Diagnostic is one thing that is wrong with a spec: what, where, why and what
// to do. Neither its text nor its excerpt ever holds a value that looks like a
// secret.
type Diagnostic struct {
	File     string   `json:"file"`
	Line     int      `json:"line"` // from 1, always inside the file
	Col      int      `json:"col"`  // from 1, in characters, not bytes
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Key is the spec key it is about ("task.model"), or "" for the whole file.
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`        // not ended by a period
	Hint    string `json:"hint,omitempty"` // what to change

	excerpt string // the source line, secrets masked; "" when it is too long to show
	caret   int    // where Col is in excerpt, from 0
}

// Ref is the place in the form file:line:col.
func (d Diagnostic) Ref() string { return fmt.Sprintf("%s:%d:%d", d.File, d.Line, d.Col) }

// Diagnostics are all findings of one spec in the order of the file.
type Diagnostics []Diagnostic

// Errors counts the findings that make a spec unusable.
func (ds Diagnostics) Errors() int {
	n := 0
	for _, d := range ds {
		if d.Severity == Error {
			n++
		}
	}
	return n
}

// Err is nil when nothing is worse than a warning, and otherwise a *batch.Error
// of Kind Invalid that names the first error and counts the others.
func (ds Diagnostics) Err() error {
	n := ds.Errors()
	if n == 0 {
		return nil
	}
	first := ds[slices.IndexFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })]
	msg := string(first.Code) + " " + first.Message
	if n > 1 {
		msg += fmt.Sprintf(" (and %d more)", n-1)
	}
	return &batch.Error{Kind: batch.Invalid, Op: "read spec", Ref: first.Ref(), Msg: msg, Hint: first.Hint}
}

func (ds Diagnostics) sort() {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Code, b.Code))
	})
}

// Code names one sort of mistake. Codes are stable: scripts may rely on them.
type Code string

// The codes: E10xx the file, E11xx its keys, E12xx one value, E13xx values that
// do not go together, E14xx warnings.
const (
	codeUnreadable Code = "E1001"
	codeTooLarge   Code = "E1002"
	codeNotUTF8    Code = "E1003"
	codeBOM        Code = "E1004"
	codeTab        Code = "E1005"
	codeControl    Code = "E1006"
	codeSyntax     Code = "E1007"
	codeEmpty      Code = "E1008"
	codeDocuments  Code = "E1009"
	codeDepth      Code = "E1010"
	codeAlias      Code = "E1011"
	codeMerge      Code = "E1012"
	codeTag        Code = "E1013"
	codeDirective  Code = "E1014"
	codeTooMany    Code = "E1015"
	codeUnknownKey Code = "E1101"
	codeDuplicate  Code = "E1102"
	codeWrongPlace Code = "E1103"
	codeTwoPlaces  Code = "E1104"
	codeSynonyms   Code = "E1105"
	codeKeyNotText Code = "E1106"
	codeMissing    Code = "E1107"
	codeType       Code = "E1201"
	codeNotWhole   Code = "E1202"
	codeRange      Code = "E1203"
	codeNotOneOf   Code = "E1204"
	codeNoValue    Code = "E1205"
	codeTime       Code = "E1206"
	codeShare      Code = "E1207"
	codeMoney      Code = "E1208"
	codeName       Code = "E1209"
	codeSchedule   Code = "E1210"
	codeTimezone   Code = "E1211"
	codeURL        Code = "E1212"
	codeURI        Code = "E1213"
	codeLater      Code = "E1214"
	codeSecret     Code = "E1215"
	codeSecretRef  Code = "E1216"
	codeFileRef    Code = "E1217"
	codeSchema     Code = "E1218"
	codeUnquoted   Code = "E1219"
	codeNotJSON    Code = "E1220"
	codeText       Code = "E1221"
	codeNeedsKey   Code = "E1301"
	codeNeedsURL   Code = "E1302"
	codePrompt     Code = "E1303"
	codeConflict   Code = "E1304"
	codeTurns      Code = "E1305"
	codeTestCase   Code = "E1306"
	codeModel      Code = "E1307"
	codeNoTimezone Code = "E1401"
)

// codeNames are the short names of the codes, for tools that list rules.
var codeNames = map[Code]string{
	codeUnreadable: "unreadable-file", codeTooLarge: "file-too-large", codeNotUTF8: "not-utf8", codeBOM: "byte-order-mark",
	codeTab: "tab", codeControl: "control-character", codeSyntax: "yaml-syntax", codeEmpty: "empty-file",
	codeDocuments: "several-documents", codeDepth: "too-deep", codeAlias: "anchor-or-alias", codeMerge: "merge-key",
	codeTag: "tag", codeDirective: "yaml-directive", codeTooMany: "too-many-findings",
	codeUnknownKey: "unknown-key", codeDuplicate: "duplicate-key", codeWrongPlace: "key-in-wrong-place",
	codeTwoPlaces: "key-in-two-places", codeSynonyms: "synonyms-disagree", codeKeyNotText: "key-not-text", codeMissing: "missing-key",
	codeType: "wrong-type", codeNotWhole: "not-a-whole-number", codeRange: "out-of-range", codeNotOneOf: "not-an-allowed-value",
	codeNoValue: "no-value", codeTime: "bad-time", codeShare: "bad-share", codeMoney: "bad-money", codeName: "bad-name",
	codeSchedule: "bad-schedule", codeTimezone: "bad-timezone", codeURL: "bad-url", codeURI: "bad-uri",
	codeLater: "not-available", codeSecret: "secret-in-spec", codeSecretRef: "bad-secret-reference", codeFileRef: "bad-file-reference",
	codeSchema: "bad-schema", codeUnquoted: "unquoted-template", codeNotJSON: "not-json", codeText: "bad-text",
	codeNeedsKey: "api-key-missing", codeNeedsURL: "base-url-missing", codePrompt: "prompt-or-messages", codeConflict: "keys-contradict",
	codeTurns: "bad-turns", codeTestCase: "bad-test", codeModel: "model-missing",
	codeNoTimezone: "no-timezone",
}

// Codes lists every code in order.
func Codes() []Code {
	cs := make([]Code, 0, len(codeNames))
	for c := range codeNames {
		cs = append(cs, c)
	}
	slices.Sort(cs)
	return cs
}

// Name is a short name of the mistake, such as "unknown-key".
func (c Code) Name() string { return codeNames[c] }
