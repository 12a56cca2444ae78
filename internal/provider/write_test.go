package provider

import (
	"encoding/json"
	"testing"
)

func FuzzWrite(f *testing.F) {
	for _, s := range []string{"", `"`, `"a"`, `"\u00e9"`, `"\u00e"`, `"\u00eg"`, `"\"`, `"\\"`, `"\x"`, `"a"b"`, "\"a\nb\"", `"é\/\b"`, "\"\xff\"",
		`{"a":[1, 2 ]}`, `nul`, "a\x00\u2028\"\\\n\t\r<>&\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if wholeString([]byte(s)) && !json.Valid([]byte(s)) {
			t.Fatalf("%q taken for a JSON string", s)
		}
		o := NewObject(0)
		o.Raw("raw", json.RawMessage(s))
		b, err := o.Bytes()
		if (err == nil) != json.Valid([]byte(s)) {
			t.Fatalf("raw %q: %v", s, err)
		}
		if err == nil && !json.Valid(b) {
			t.Fatalf("raw %q gives %s", s, b)
		}
		o = NewObject(0)
		o.Text(s, s)
		b, err = o.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(s)
		var norm string
		if err := json.Unmarshal(want, &norm); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(b, &got); err != nil || got[norm] != norm {
			t.Fatalf("text %q gives %s (%v)", s, b, err)
		}
	})
}
