package format

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

var scanSeeds = []string{
	``, ` `, `{}`, `[]`, `{"a":1}`, `{"a":1,"b":[1,2,{"c":null}]}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a" 1}`,
	`{"a":}`, `{a:1}`, `{'a':1}`, `"x"`, `"x`, `"\`, `"\u`, `"\u12`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00"`, `"\ud83d\u0041"`,
	`"\x"`, "\"\n\"", "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\"", "\"é世界\"", "\"12345678901\xc3\"", `true`, `tru`, `truex`,
	`null`, `nul`, `false`, `-`, `-0`, `-01`, `01`, `0.`, `.5`, `1e`, `1e+`, `1E-9`, `1.5e10`, `+1`, `NaN`, `Infinity`,
	`1 2`, `{} {}`, `[1}`, `{"a":1]`, `[[[[]]]]`, `{"a":{"b":{"c":{}}}}`, "\xef\xbb\xbf{}", "{\"a\":\t1\r\n}",
	`{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"bbbbbbbb":"cccccccc\\"}`, strings.Repeat("[", 512) + strings.Repeat("]", 512),
	strings.Repeat("[", 513) + strings.Repeat("]", 513), strings.Repeat(`{"a":`, 600),
}

// checkScan holds the scanner against the standard library's.
func checkScan(t *testing.T, b []byte) {
	t.Helper()
	var s Scanner
	err := s.Scan(b)
	valid := json.Valid(b)
	if err == nil && (!valid || !utf8.Valid(b)) {
		t.Fatalf("accepted %q", b)
	}
	if err != nil && valid && utf8.Valid(b) {
		se, ok := err.(*SyntaxError)
		if !ok || (se.Msg != badSurrogate && se.Msg != badDepth) {
			t.Fatalf("refused %q: %v", b, err)
		}
	}
	if se, ok := err.(*SyntaxError); ok && (se.At < 0 || se.At > len(b)) {
		t.Fatalf("place %d outside of %q", se.At, b)
	}
	if err != nil || !s.Object {
		return
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	got := map[string]string{}
	for _, f := range s.Fields {
		var key string
		if err := json.Unmarshal(b[f.KeyStart-1:f.KeyEnd+1], &key); err != nil {
			t.Fatalf("key of %q: %v", b, err)
		}
		if f.Escaped != strings.Contains(string(b[f.KeyStart:f.KeyEnd]), `\`) {
			t.Fatalf("Escaped is wrong for %q", b)
		}
		got[key] = string(b[f.ValueStart:f.ValueEnd])
	}
	if len(got) != len(want) {
		t.Fatalf("%q: %d members, want %d", b, len(got), len(want))
	}
	for k, v := range want {
		if got[k] != string(v) {
			t.Fatalf("%q: member %q is %q, want %q", b, k, got[k], v)
		}
	}
}

func TestScannerAgreesWithTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, seed := range scanSeeds {
		checkScan(t, []byte(seed))
		// Every cut and every changed byte of it too.
		if len(seed) > 100 {
			continue
		}
		for i := range seed {
			checkScan(t, []byte(seed[:i]))
			for _, c := range []byte("\x00 \"\\{}[],:0eu-\x80\xe4") {
				b := []byte(seed)
				b[i] = c
				checkScan(t, b)
			}
		}
	}
}

func TestScannerNamesThePlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, msg string
		at      int
	}{
		{`{"a":1,}`, badTrailing, 7}, {`{"a":tru}`, badValue, 5}, {`{"a":1 "b":2}`, badComma, 7}, {`{"a":"b`, badEnd, 7},
		{"{\"a\":\"1234567890\x01\"}", badControl, 16}, {`{"a":"\q"}`, badEscape, 6}, {`{"a":"\ud800"}`, badSurrogate, 6},
		{"{\"a\":\"12345678\xff\"}", badUTF8, 14}, {`{"a":1}}`, badAfter, 7}, {`{1:2}`, badKey, 1}, {`{"a" 1}`, badColon, 5},
		{`{"a":-x}`, badNumber, 6}, {strings.Repeat("[", 513), badDepth, 512},
	} {
		var s Scanner
		err, ok := s.Scan([]byte(c.in)).(*SyntaxError)
		if !ok || err.Msg != c.msg || err.At != c.at {
			t.Errorf("Scan(%q) = %v, want %q at %d", c.in, err, c.msg, c.at)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(checkScan)
}

func TestScannerDoesNotAllocate(t *testing.T) {
	var s Scanner
	row := chatRow()
	if n := testing.AllocsPerRun(100, func() { _ = s.Scan(row) }); n != 0 {
		t.Fatalf("%v allocations a row", n)
	}
}

func chatRow() []byte {
	b, _ := json.Marshal(map[string]any{"id": "T-000001", "scenario": "order", "n": 12, "tags": []string{"a", "b"},
		"text": strings.Repeat("Customer: could you tell me where \"my order\" is?\nAgent: I’ll have a look for you. ", 20)})
	return b
}

func BenchmarkScan(b *testing.B) {
	var s Scanner
	row := chatRow()
	b.SetBytes(int64(len(row)))
	for b.Loop() {
		if err := s.Scan(row); err != nil {
			b.Fatal(err)
		}
	}
}
