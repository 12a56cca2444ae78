package answer

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// What a bomb may take. It is meant to take hours and all memory, so a slow
// machine does not come near these.
const (
	bombTime  = 5 * time.Second
	bombAlloc = 1 << 30 // allocated in all, freed or not
)

// bounded runs f and reports what it took.
func bounded(t *testing.T, name string, f func() error) error {
	t.Helper()
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	began := time.Now()
	err := f()
	took := time.Since(began)
	runtime.ReadMemStats(&b)
	t.Logf("%-34s %8.3f s %6.1f MiB allocated  %.90v", name, took.Seconds(), float64(b.TotalAlloc-a.TotalAlloc)/(1<<20), err)
	if took > bombTime || b.TotalAlloc-a.TotalAlloc > bombAlloc {
		t.Errorf("%s took %v and %d MiB", name, took, (b.TotalAlloc-a.TotalAlloc)>>20)
	}
	if err != nil && (len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n")) {
		t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
	}
	return err
}

// doubling is a schema in which each definition applies the next one twice.
func doubling(keyword string, n int) string {
	var b strings.Builder
	b.WriteString(`{"$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":{"%s":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, keyword, i+1, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{"type":"string"}},"$ref":"#/$defs/d0"}`, n)
	return b.String()
}

// TestSchemaBombs compiles schemas that would take for ever to apply, or all
// memory to compile.
func TestSchemaBombs(t *testing.T) {
	for _, c := range []struct{ name, schema, says string }{
		{"allOf doubled 40 times", doubling("allOf", 40), "lead to more than 10000"},
		{"anyOf doubled 40 times", doubling("anyOf", 40), "lead to more than 10000"},
		{"oneOf doubled 1,000 times", doubling("oneOf", 1000), "lead to more than 10000"},
		{"patterns of a million steps", `{"allOf":[` + strings.Repeat(`{"pattern":"(a{100}){10}"},`, 400) + `{}]}`, "patterns of the schema are too large"},
		{"one large pattern", `{"pattern":"` + strings.Repeat("(abc|def)", 10_000) + `"}`, "patterns of the schema are too large"},
		{"a pattern of repeats", `{"pattern":"(((a{100}){100}){100}){100}"}`, "repeat"},
		{"nested repeats", `{"pattern":"(a*)*$"}`, ""},
		{"depth 100,000", strings.Repeat(`{"not":`, 100_000) + `{}` + strings.Repeat(`}`, 100_000), "nested more than"},
		{"a schema of 2 MiB", `{"description":"` + strings.Repeat("x", 2<<20) + `"}`, "at most 1048576"},
		{"an enum of 100,000 values", `{"enum":[` + strings.Repeat(`"x1",`, 99_999) + `"y"]}`, ""},
		{"30,000 properties", `{"properties":{` + properties(30_000) + `}}`, "at most 10000 are read"},
		{"9,000 properties", `{"properties":{` + properties(9_000) + `}}`, ""},
		{"a type of a million letters", `{"type":"` + strings.Repeat("x", 1<<19) + `"}`, "is not valid"},
	} {
		err := bounded(t, c.name, func() error { _, err := Compile(json.RawMessage(c.schema)); return err })
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || batch.KindOf(err) != batch.Invalid) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

func properties(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"p%d":{"type":"string"},`, i)
	}
	return b.String() + `"z":{}`
}

// TestAnswerBombs checks answers that were made to keep a schema busy.
func TestAnswerBombs(t *testing.T) {
	many := func(unit string, n int) string { return "[" + strings.Repeat(unit+",", n/(len(unit)+1)) + unit + "]" }
	tower := strings.Repeat(`{"a":`, 120) + `1` + strings.Repeat(`}`, 120)
	twice := `{"$defs":{"n":{"properties":{"a":{"%s":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/n"}]}}}},"$ref":"#/$defs/n"}`
	failing := `{"$defs":{"n":{"required":["b"],"properties":{"a":{"anyOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/n"}]}}}},"not":{"$ref":"#/$defs/n"}}`
	words := make([]string, 1000)
	for i := range words {
		words[i] = fmt.Sprintf(`"w%d"`, i)
	}
	enum := `{"items":{"enum":[` + strings.Join(words, ",") + `]}}`
	for _, c := range []struct{ name, schema, answer, says string }{
		{"a tower, each floor judged twice", fmt.Sprintf(twice, "allOf"), tower, "too much work"},
		{"the same with anyOf", fmt.Sprintf(twice, "anyOf"), tower, ""},
		{"the same with oneOf", fmt.Sprintf(twice, "oneOf"), tower, ""},
		{"the same, all failing", failing, tower, ""},
		{"depth 10,000", `{}`, strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), "nested more than"},
		{"depth a million", `{}`, strings.Repeat(`{"a":`, 1<<20/2), "nested more than"},
		{"50 MB of text", `{}`, `"` + strings.Repeat("x", 50e6) + `"`, "has more than"},
		{"50 MB of brackets", `{}`, strings.Repeat("[", 50e6), "has more than"},
		{"4 MB of text", `{"type":"string"}`, `"` + strings.Repeat("x", 4e6) + `"`, ""},
		{"4 MB of empty lists", `{"items":{"type":"array"}}`, many("[]", 4e6), "too much work"},
		{"4 MB of wrong elements", `{"items":{"type":"string"}}`, many("1", 4e6), "too much work"},
		{"4 MB of elements, unique", `{"uniqueItems":true}`, many("1", 4e6), ""},
		{"elements in none of 1,000 values", enum, many(`"w"`, 4e6), "too much work"},
		{"elements in the last of 1,000", enum, many(`"w999"`, 4e6), "too much work"},
		{"4 MB by a slow pattern", `{"pattern":"(x+x+)+y"}`, `"` + strings.Repeat("x", 4e6) + `"`, "does not match"},
		{"100 kB by a slow pattern", `{"pattern":"^(x+x+)+y$"}`, `"` + strings.Repeat("x", 1e5) + `"`, "does not match"},
		{"100 kB by a long pattern", `{"pattern":"(a{30}b{30}|c{30}){30}"}`, `"` + strings.Repeat("ab", 5e4) + `"`, "too much work"},
		{"names by patterns", `{"patternProperties":{"(x+x+)+y":{}}}`, `{"` + strings.Repeat("x", 4e6) + `":1}`, ""},
		{"numbers of 1,000 digits", `{"items":{"multipleOf":1e-300}}`, many(strings.Repeat("9", 999), 4e6), ""},
	} {
		k := compile(t, c.schema)
		err := bounded(t, c.name, func() error { _, err := k.Check(c.answer); return err })
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		// The same checker goes on as before.
		if again := func() error { _, err := k.Check(c.answer); return err }(); fmt.Sprint(again) != fmt.Sprint(err) {
			t.Errorf("%s: %v, then %v", c.name, err, again)
		}
	}
}

// TestHonestAnswersAreNearNoLimit checks a long answer of a usual form.
func TestHonestAnswersAreNearNoLimit(t *testing.T) {
	t.Parallel()
	c := compile(t, `{"type":"array","items":{"type":"object","properties":{"id":{"type":"string","pattern":"^[a-z]+-[0-9]+$"},
"kind":{"enum":["a","b","c"]},"score":{"type":"number","minimum":0,"maximum":1},"note":{"anyOf":[{"type":"string"},{"type":"null"}]}},
"required":["id"],"additionalProperties":false}}`)
	row := `{"id":"item-123","kind":"b","score":0.25,"note":"` + strings.Repeat("some words ", 20) + `"}`
	if _, err := c.Check("[" + strings.Repeat(row+",", 3000) + row + "]"); err != nil {
		t.Error(err)
	}
	// A schema may speak of the schema of schemas; it is not changed by that.
	for range 3 {
		m := compile(t, `{"properties":{"s":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}`)
		if _, err := m.Check(`{"s":{"type":"object"}}`); err != nil {
			t.Error(err)
		}
		if _, err := m.Check(`{"s":{"type":1}}`); err == nil {
			t.Error("a schema of type 1 passed")
		}
	}
}
