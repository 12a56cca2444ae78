package answer

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

const labels = `{"type":"object","properties":{"sentiment":{"enum":["pos","neg"]},"score":{"type":"number","minimum":0,"maximum":1},
"tags":{"type":"array","items":{"type":"string","maxLength":5},"uniqueItems":true,"maxItems":3},"at":{"type":"string","format":"date"}},
"required":["sentiment"],"additionalProperties":false}`

func compile(t testing.TB, s string) *Checker {
	t.Helper()
	c, err := Compile(json.RawMessage(s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	c := compile(t, labels)
	for in, want := range map[string]string{
		`{"sentiment":"pos"}`:                                            `{"sentiment":"pos"}`,
		" \n{ \"score\" : 0.50 , \"sentiment\":\"neg\" }\t":              `{"score":0.50,"sentiment":"neg"}`,
		"```json\n{\"sentiment\":\"pos\"}\n```":                          `{"sentiment":"pos"}`,
		"```\n{\"sentiment\":\"pos\"}```":                                `{"sentiment":"pos"}`,
		"```JSON \n{\"sentiment\":\"pos\"}\n```\n\n":                     `{"sentiment":"pos"}`,
		"\ufeff{\"sentiment\":\"pos\"}":                                  `{"sentiment":"pos"}`,
		`{"sentiment":"\u0070os","tags":["\u00e9","\ud83d\ude00","\/"]}`: `{"sentiment":"pos","tags":["é","😀","/"]}`,
		`{"sentiment":"pos","tags":["\ud800x","` + "\xff" + `"]}`:        `{"sentiment":"pos","tags":["` + "\ufffd" + `x","` + "\ufffd" + `"]}`,
		`{"sentiment":"pos","tags":["a\n\u0001"],"at":"2026-11-23"}`:     `{"sentiment":"pos","tags":["a\n\u0001"],"at":"2026-11-23"}`,
	} {
		got, err := c.Check(in)
		if err != nil || string(got) != want {
			t.Errorf("Check(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	c := compile(t, labels)
	for in, want := range map[string]string{
		``:                                       "answer: is empty",
		" \n\t":                                  "answer: is empty",
		`{"sentiment":"pos"} I hope this helps`:  "answer: has text after the JSON value",
		`{"sentiment":"pos"}{"sentiment":"pos"}`: "answer: has text after the JSON value",
		`Here: {"sentiment":"pos"}`:              "answer: is not JSON",
		"```json\n{\"sentiment\":\"pos\"}\n```\nDone.":                                 "answer: has text after its fenced block",
		"```json\n{\"sentiment\":\"pos\"}":                                             "answer: opens a fenced block and never closes it",
		"```python\n{}\n```":                                                           "answer: stands in a block that is not marked as json",
		"```json\n{\"sentiment\":\"pos\"}\n```\n```json\n{\"sentiment\":\"neg\"}\n```": "answer: has text after the JSON value",
		`{"sentiment":"pos","sentiment":"neg"}`:                                        "/sentiment: is there twice",
		`{"secretkey":1,"secretkey":2}`:                                                "/*: is there twice",
		`{"sentiment":"happy"}`:                                                        "/sentiment: is none of the 2 allowed values",
		`{}`:                                                                           `answer: lacks "sentiment"`,
		`[]`:                                                                           "answer: is array, want object",
		`{"sentiment":"pos","SECRET":1,"x":2}`:                                         "answer: has 2 properties that the schema does not allow",
		`{"sentiment":"pos","score":"SECRET"}`:                                         "/score: is string, want number",
		`{"sentiment":"pos","score":1.5}`:                                              "/score: is more than 1",
		`{"sentiment":"pos","tags":["SECRETLONG"]}`:                                    "/tags/0: has 10 characters, want at most 5",
		`{"sentiment":"pos","tags":["a","a"]}`:                                         "/tags: has equal elements at 0 and 1",
		`{"sentiment":"pos","at":"SECRET"}`:                                            "/at: is not a valid date",
		`{"sentiment":"x","score":2,"tags":1}`:                                         "/score: is more than 1 (and 2 more)",
		`{"sentiment":"pos",}`:                                                         "answer: is not a well-formed object",
		`{"sentiment":"pos"`:                                                           "answer: is not a well-formed object",
		`{"sentiment":`:                                                                "/sentiment: ends too early",
		`{"sentiment":"po`:                                                             "/sentiment: ends inside a string",
		`{"sentiment":"po\`:                                                            "/sentiment: ends inside a string",
		`{'sentiment':'pos'}`:                                                          "answer: is not a well-formed object",
		`{"score":01}`:                                                                 "/score: is not a number of JSON",
		`{"score":NaN}`:                                                                "/score: is not JSON",
		`{"score":1e999999999}`:                                                        "/score: is a number out of range",
		`{"score":1e-999999999}`:                                                       "/score: is a number out of range",
		"{\"sentiment\":\"a\nb\"}":                                                     "/sentiment: has a control character inside a string",
		`{"sentiment":"\x"}`:                                                           "/sentiment: has a bad escape inside a string",
		strings.Repeat("[", 100000):                                                    strings.Repeat("/0", maxDepth) + ": is nested more than 128 deep",
		`{"score":` + strings.Repeat("9", 2000) + `}`:                                  "/score: is a number of more than 1000 digits",
	} {
		got, err := c.Check(in)
		if err == nil || err.Error() != want {
			t.Errorf("Check(%.80q) = %s, %v; want %s", in, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("the reason quotes the answer: %v", err)
		}
	}
}

// The same answer must give the same reason, or outputs would differ between
// two runs.
func TestReasonIsStable(t *testing.T) {
	t.Parallel()
	c := compile(t, `{"properties":{"a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"},"d":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`)
	for range 200 {
		_, err := c.Check(`{"d":1,"c":1,"b":1,"a":1}`)
		if err == nil || err.Error() != "/a: is number, want string (and 3 more)" {
			t.Fatal(err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"not json":      `{`,
		"duplicate key": `{"type":"object","type":"array"}`,
		"bad type":      `{"type":"strin"}`,
		"file ref":      `{"$ref":"file:///etc/passwd"}`,
		"relative ref":  `{"$ref":"other.json"}`,
		"http ref":      `{"$ref":"https://example.com/s.json"}`,
		"http schema":   `{"$schema":"https://example.com/draft"}`,
		"missing ref":   `{"$ref":"#/$defs/none"}`,
		"bad pattern":   `{"pattern":"("}`,
		"look-ahead":    `{"pattern":"(?=a)"}`,
		"a number":      `1`,
	} {
		_, err := Compile(json.RawMessage(s))
		if err == nil || batch.KindOf(err) != batch.Invalid || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "answer:/") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLocalReferencesAndOlderDrafts(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`{"$defs":{"n":{"type":"integer"}},"properties":{"x":{"$ref":"#/$defs/n"}}}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"n":{"type":"integer"}},"properties":{"x":{"$ref":"#/definitions/n"}}}`,
	} {
		c := compile(t, s)
		if _, err := c.Check(`{"x":9007199254740993}`); err != nil {
			t.Error(err)
		}
		if _, err := c.Check(`{"x":"a"}`); err == nil {
			t.Error("a string passed as an integer")
		}
	}
	loop := compile(t, `{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`)
	if _, err := loop.Check(`1`); err == nil {
		t.Error("a schema that only refers to itself accepted a value")
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "a \"b\" \\ \n\t\x00 é 😀", "bad \xff\xfe utf8", "\u2028<script>"} {
		var back string
		out := Plain(in)
		if err := json.Unmarshal(out, &back); err != nil || back != strings.ToValidUTF8(in, "\ufffd") && !strings.Contains(in, "\xff") {
			t.Errorf("Plain(%q) = %s: %q %v", in, out, back, err)
		}
		if !utf8.Valid(out) {
			t.Errorf("Plain(%q) is not UTF-8", in)
		}
	}
}

// FuzzCheck holds the reader against encoding/json: what it accepts is the same
// value, and reading its own output changes nothing.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u00e9",null,true]}`, "```json\n[]\n```", `"\ud83d\ude00\ud800"`, `{"a":{"a":1}}`, `-0`, `[1,]`} {
		f.Add(s)
	}
	c, err := Compile(json.RawMessage(`{}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := c.Check(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("reason has more than one line: %q", err)
			}
			return
		}
		body, _ := unfence(text)
		var a, b any
		if json.Unmarshal([]byte(body), &a) == nil { // it refuses floats out of range, we do not
			if err := json.Unmarshal(out, &b); err != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%q became %q", body, out)
			}
		} else if !json.Valid([]byte(body)) {
			t.Fatalf("accepted %q", body)
		}
		again, err := c.Check(string(out))
		if err != nil || string(again) != string(out) {
			t.Fatalf("%q is not stable: %q %v", out, again, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	c := compile(b, labels)
	for b.Loop() {
		if _, err := c.Check(`{"sentiment":"pos","score":0.75,"tags":["a","b"]}`); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	text := strings.Repeat("An answer of some words. ", 40)
	for b.Loop() {
		Plain(text)
	}
}
