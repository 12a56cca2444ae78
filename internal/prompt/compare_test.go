package prompt

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	gonja "github.com/nikolalohinski/gonja/v2/parser"
)

// gonjaRender renders with an independent implementation of Jinja.
func gonjaRender(src string, item map[string]any) (string, error) {
	cfg := config.New()
	cfg.StrictUndefined = true
	env := &exec.Environment{
		Filters: builtins.Filters, Tests: builtins.Tests, Methods: builtins.Methods, Context: exec.EmptyContext().Update(builtins.GlobalFunctions),
		ControlStructures: exec.NewControlStructureSet(map[string]gonja.ControlStructureParser{}).Update(builtins.ControlStructures),
	}
	t, err := exec.NewTemplate("/t", cfg, loaders.MustNewMemoryLoader(map[string]string{"/t": src}), env)
	if err != nil {
		return "", err
	}
	vars := map[string]any{"item": item}
	for k, v := range item {
		vars[k] = v
	}
	return t.ExecuteToString(exec.NewContext(vars))
}

// pieces are what the random templates are made of: the part of the language in
// which gonja follows Jinja. Where it does not (none, floats, chained
// comparisons, nested inline ifs), the corpus holds Jinja's own results.
var pieces = []string{
	"text ", "\n", "  ", "{ } {a} % #", "é日😀", "{{ text }}", "{{ item.text }}", "{{ item['text'] }}", "{{ n }}", "{{ ok }}", "{{text|upper}}",
	"{{ text | lower | trim }}", "{{ text|title }}", "{{ text|capitalize }}", "{{ text|length }}", "{{ user.name }}", "{{ item.user.name }}", "{{ tags[0] }}",
	"{{ tags|join(', ') }}", "{{ tags|first }}{{ tags|last }}", "{{ gone|default('none') }}", "{{ text|replace('a', 'b') }}", "{{ n + 2 * 3 }}", "{{ text ~ n }}",
	"{{- text -}}", "{{- n }}", "{{ n -}}", "{# note #}", "{#- note -#}", "{% if ok %}yes{% endif %}", "{% if n > 3 %}big{% elif n == 2 %}two{% else %}small{% endif %}",
	"{%- if not ok -%} no {%- endif -%}", "{% for t in tags %}{{ loop.index }}.{{ t }} {% endfor %}", "{% for t in tags -%} [{{ t }}] {%- endfor %}",
	"{% for k in tags %}{% if loop.last %}{{ k }}{% endif %}{% endfor %}", "{% set a = n %}{{ a }}", "{% raw %}{{ raw }}{% endraw %}", "{{ 'q\"q' }}",
	"{% if text is string and n is number %}both{% endif %}", "{% if gone is defined %}x{% endif %}", "{{ 'in' if ok else 'out' }}", "{{ tags|sort|join }}", "{{ text[1:3] }}",
	"{{ [1, 2, n]|sum }}", "{% for i in range(3) %}{{ i }}{% endfor %}", "{{ (n + 1) * 2 }}", "{% if 'a' in tags %}has{% endif %}",
}

// TestSameAsGonja renders random templates of random items with both.
func TestSameAsGonja(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 3))
	texts := []string{"banana split", "", "ünï cödé", "{{ n }}", "a\nb", "  spaced  ", `quote " and '`}
	for i := range 3000 {
		var src strings.Builder
		for range 1 + r.IntN(8) {
			src.WriteString(pieces[r.IntN(len(pieces))])
		}
		item := map[string]any{"text": texts[r.IntN(len(texts))], "n": r.IntN(6), "ok": r.IntN(2) == 0,
			"tags": []any{"b", "a", texts[r.IntN(len(texts))]}, "user": map[string]any{"name": "Ann"}}
		raw, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		want, gonjaErr := gonjaRender(src.String(), item)
		tpl, err := Parse("t", src.String())
		got := ""
		if err == nil {
			got, err = tpl.Render(raw)
		}
		if (err != nil) != (gonjaErr != nil) || err == nil && got != want {
			t.Fatalf("%d: %q of %s\n got %q %v\nwant %q %v", i, src.String(), raw, got, err, want, gonjaErr)
		}
	}
}

// TestDirectIsTheSame holds the short cut for plain templates against the
// evaluator.
func TestDirectIsTheSame(t *testing.T) {
	t.Parallel()
	items := []string{`{"text":"x","b":"é\n\u00e9"}`, `{ "b" : "y" , "text" : "a\"b\\" }`, `{"text":1,"b":null}`, `{"text":"dup","text":"last","b":""}`,
		`{"t\u0065xt":"escaped key","b":"1"}`, `{"b":"1"}`, `{"text":{"text":"in","b":[1,"]}"]},"b":"z"}`, `{"n":[{"text":"deep"}],"text":"x","b":"y"}`, `{}`,
		"{\"text\":\"bad \xff\",\"b\":\"\"}", `{"text":-1.50e3,"b":true}`, `{"text" :"a","b":9223372036854775808,"c":"\ud83d\ude00"}`}
	for _, src := range []string{"{{ text }}", "a {{ text }} b {{ item.b }} c", "{{ item['text'] }}{{ b }}{{ text }}", "plain"} {
		tpl, err := Parse("t", src)
		if err != nil {
			t.Fatal(err)
		}
		if tpl.direct == nil {
			t.Fatalf("%s is not rendered directly", src)
		}
		slow := *tpl
		slow.direct = nil
		for _, item := range items {
			a, errA := tpl.Render([]byte(item))
			b, errB := slow.Render([]byte(item))
			if a != b || (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
				t.Errorf("%s of %s: %q %v and %q %v", src, item, a, errA, b, errB)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	c := readCorpus(f)
	for _, x := range c.Cases {
		f.Add(x.Template)
	}
	for _, s := range append(refused, stopped...) {
		if len(s) < 300 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		tpl, err := Parse("t", src)
		if err != nil {
			return
		}
		required, simple := tpl.Fields()
		out, err := tpl.Render(c.Item)
		if len(out) > MaxOutput || err != nil && out != "" {
			t.Fatalf("%d bytes and %v", len(out), err)
		}
		again, err2 := tpl.Render(c.Item)
		if again != out || (err == nil) != (err2 == nil) {
			t.Fatalf("%q renders %q and %q", src, out, again)
		}
		if simple && err == nil && len(required) > 0 {
			if _, err := tpl.Render([]byte("{}")); err == nil {
				t.Fatalf("%q wants %v and renders without", src, required)
			}
		}
		if tpl.direct != nil {
			slow := *tpl
			slow.direct = nil
			if b, _ := slow.Render(c.Item); b != out {
				t.Fatalf("%q: %q directly, %q else", src, out, b)
			}
		}
	})
}

// FuzzItem feeds any bytes as an item to templates that touch all of it.
func FuzzItem(f *testing.F) {
	c := readCorpus(f)
	f.Add([]byte(c.Item))
	f.Add([]byte(`{"text":"\ud800","a":[1e400,-0]}`))
	var tpls []*Template
	for _, src := range []string{`{{ text }}`, `{{ item }}`, `{{ item|tojson }}`, `{% for k, v in item|items %}{{ k ~ v }}{% endfor %}`, `{{ item == item }}{{ item|length }}`} {
		t, err := Parse("t", src)
		if err != nil {
			f.Fatal(err)
		}
		tpls = append(tpls, t)
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		for i, tpl := range tpls {
			out, err := tpl.Render(item)
			if i == 2 && err == nil {
				var a, b any
				if json.Unmarshal(item, &a) == nil {
					if err := json.Unmarshal([]byte(out), &b); err != nil {
						t.Fatalf("%s is not JSON: %s", out, item)
					}
					if !reflect.DeepEqual(a, b) {
						t.Fatalf("%s became %s", item, out)
					}
				}
			}
		}
	})
}

func benchItem() []byte {
	return []byte(`{"ticket_id":"dlg-881444f3","scenario":"order","text":"` + strings.Repeat("Customer: one Chai Latte please. ", 30) + `"}`)
}

func BenchmarkRenderDirect(b *testing.B) {
	benchRender(b, "Summarise this dialog:\n{{ text }}\nIn one line.")
}
func BenchmarkRenderFilters(b *testing.B) {
	benchRender(b, "Summarise this dialog:\n{{ text | trim }}\n{% if scenario %}Scenario: {{ scenario|upper }}{% endif %}")
}

func benchRender(b *testing.B, src string) {
	tpl, err := Parse("t", src)
	if err != nil {
		b.Fatal(err)
	}
	item := benchItem()
	b.SetBytes(int64(len(item)))
	for b.Loop() {
		if _, err := tpl.Render(item); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderGonja(b *testing.B) {
	var item map[string]any
	if err := json.Unmarshal(benchItem(), &item); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := gonjaRender("Summarise this dialog:\n{{ text }}\nIn one line.", item); err != nil {
			b.Fatal(err)
		}
	}
}
