package simulator

import (
	"reflect"
	"testing"
)

var quickSeeds = []struct {
	body string
	ok   bool
}{
	{chatRequest(1), true},
	{` { "messages" : [ {"content":"a\n\"b\"\\ \/","role":"user"} , {"role":"assistant","content":""} ] , "model":"m","temperature":0.25,"seed":7,"max_tokens":12 } `, true},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":2}`, true},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":2.5}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":1.}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":07}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":7,"max_completion_tokens":7}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}],"top_p":1}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"ü"}]}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"\u00fc"}]}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x","role":"user"}]}`, false},
	{`{"model":"m","messages":[{"role":"user"}]}`, false},
	{`{"model":"m","messages":[]}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"},]}`, false},
	{`{"model":"m","messages":[{"role":"user","content":"x"}]},`, false},
	{`{"model":"","messages":[{"role":"user","content":"x"}]}`, false},
	{`{"messages":[{"role":"user","content":"x"}]}`, false},
	{`{"model":"m"}`, false},
	{``, false},
}

func TestQuickReadsThePlainOnly(t *testing.T) {
	t.Parallel()
	for _, c := range quickSeeds {
		if _, ok := quickChat([]byte(c.body)); ok != c.ok {
			t.Errorf("%s: quick says %v", c.body, ok)
		}
	}
}

// What the quick reader accepts, the full one must accept and read alike.
func FuzzQuickReadsAsTheFullReader(f *testing.F) {
	for _, c := range quickSeeds {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, ok := quickChat(body)
		if !ok {
			return
		}
		full, fail := chat{}.readFull(&Request{Body: body, schemas: &schemas{}}, &Knobs{})
		if fail != nil || !reflect.DeepEqual(a, full) {
			t.Errorf("%q: quick reads %+v, the full reader %+v %+v", body, a, full, fail)
		}
	})
}
