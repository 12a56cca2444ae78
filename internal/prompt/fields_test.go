package prompt

import (
	"slices"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

func TestFields(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		src, required string
		simple, whole bool
	}{
		{`plain`, ``, true, false},
		{`{{ text }} {{ item.other }} {{ item["first name"] }} {{ item['x'] }}`, `first name,other,text,x`, true, false},
		{`{{ text|trim|upper }}`, `text`, true, false},
		{`{{ text|default("x") }} {{ item.b|d }}`, ``, true, false},
		{`{{ text|default("x")|upper }}`, ``, true, false},
		{`{{ text|upper|default("x") }}`, `text`, true, false},
		{`{{ text|round }}`, `text`, false, false},                  // round fails on a text
		{`{{ user.name }}`, `user`, false, false},                   // name may be missing
		{`{{ item.user.name }}`, `user`, false, false},              //
		{`{{ item }}`, ``, true, true},                              //
		{`{{ item|tojson }}`, ``, true, true},                       //
		{`{{ item[key] }}`, `key`, false, true},                     //
		{`{% for k in item %}{{ k }}{% endfor %}`, ``, false, true}, //
		{`{% if a %}{{ b }}{% endif %}`, ``, false, false},
		{`{% if a == 1 %}{{ b }}{% endif %}`, `a`, false, false}, // comparing needs it
		{`{% if a is defined %}{{ a }}{% endif %}`, ``, false, false},
		{`{% if a is string %}{{ a }}{% endif %}`, `a`, false, false},
		{`{% if a %}{{ b }}{{ c }}{% else %}{{ b }}{{ d }}{% endif %}`, `b`, false, false},
		{`{% if not a %}{{ b }}{% endif %}{{ c }}`, `c`, false, false},
		{`{% if a and b == 1 %}{% endif %}`, ``, false, false},
		{`{% if a.b == 1 and c %}{% endif %}`, `a`, false, false},
		{`{{ a or b }}`, ``, false, false},
		{`{{ a if b else c }}`, ``, false, false},
		{`{{ a if b else a }}`, `a`, false, false},
		{`{{ a ~ b + c }}`, `a,b,c`, false, false},
		{`{% for x in rows %}{{ x.k }}{{ other }}{% else %}{{ z }}{% endfor %}`, `rows`, false, false},
		{`{% for text in rows %}{{ text }}{% endfor %}`, `rows`, false, false},
		{`{% for item in rows %}{{ item.k }}{{ item }}{% endfor %}{{ item.z }}`, `rows,z`, false, false},
		{`{% set x = a %}{{ x }}`, ``, false, false},
		{`{% set x = a ~ "b" %}{{ x }}`, `a`, false, false},
		{`{% set x %}{{ a }}{% endset %}{{ x }}`, `a`, false, false},
		{`{{ x }}{% set x = 1 %}{{ x }}`, `x`, false, false},
		{`{{ [a, b]|join(sep) }}`, `a,b`, false, false},
		{`{{ {"k": a} }}`, `a`, false, false},
		{`{{ a[b] }} {{ c[d:e] }}`, `a,b,c,d,e`, false, false},
		{`{{ range(n)|list }}`, `n`, false, false},
		{`{{ range }}`, `range`, true, false},
		{`{% raw %}{{ text }}{% endraw %}{# {{ x }} #}`, ``, true, false},
	} {
		tpl, err := Parse("t", x.src)
		if err != nil {
			t.Errorf("%s: %v", x.src, err)
			continue
		}
		required, simple := tpl.Fields()
		if got := strings.Join(required, ","); got != x.required || simple != x.simple || tpl.UsesWholeItem() != x.whole {
			t.Errorf("%s: required %q simple %v whole %v", x.src, got, simple, tpl.UsesWholeItem())
		}
		checkRequired(t, tpl, x.src, required)
	}
}

// checkRequired holds Fields against rendering: without a required field every
// item fails, whatever else it has.
func checkRequired(t *testing.T, tpl *Template, src string, required []string) {
	t.Helper()
	for _, without := range required {
		for _, v := range []string{`1`, `"1"`, `[1]`, `{"k":1}`, `true`, `null`, `""`} {
			var parts []string
			for _, k := range []string{"text", "other", "first name", "x", "user", "key", "a", "b", "c", "d", "e", "rows", "z", "n", "range", "sep"} {
				if k != without {
					parts = append(parts, `"`+k+`":`+v)
				}
			}
			if out, err := tpl.Render([]byte("{" + strings.Join(parts, ",") + "}")); err == nil {
				t.Errorf("%s rendered %q without %s", src, out, without)
			}
		}
	}
	if _, simple := tpl.Fields(); simple {
		for _, v := range []string{`1`, `1.5`, `"1"`, `[1,null]`, `{"k":{}}`, `true`, `null`, `""`} {
			var parts []string
			for _, k := range required {
				parts = append(parts, `"`+k+`":`+v)
			}
			if _, err := tpl.Render([]byte("{" + strings.Join(parts, ",") + "}")); err != nil {
				t.Errorf("%s is simple and fails: %v", src, err)
			}
		}
	}
}

// TestTotalFilters: a filter marked total never fails.
func TestTotalFilters(t *testing.T) {
	t.Parallel()
	for name, def := range filters {
		tpl, err := Parse("t", "{{ x|"+name+" }}")
		if !def.total {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{`1`, `-1.5e300`, `"é "`, `[1,[null]]`, `{"k":{"a":[]}}`, `true`, `null`, `""`, `123456789012345678901234567890`} {
			if _, err := tpl.Render([]byte(`{"x":` + v + `}`)); err != nil {
				t.Errorf("%s of %s: %v", name, v, err)
			}
		}
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ src, want, hint string }{
		{"ab\n  {{ text | uper }}", `job.yaml:2:13: there is no filter "uper"`, `did you mean "upper"?`},
		{"é {{ nope", `job.yaml:1:3: tag is never closed`, `close it with "}}"`},
		{"{% inclde 'x' %}", `job.yaml:1:4: there is no tag "inclde"`, "the tags are if, for, set and raw"},
		{"{% include 'x' %}", `job.yaml:1:4: "include" is not allowed in a prompt`, "the tags are"},
		{"{{ text.strip() }}", `job.yaml:1:9: method "strip" cannot be called in a prompt`, "{{ x | trim }}"},
		{"{{ text is strng }}", `job.yaml:1:12: there is no test "strng"`, `did you mean "string"?`},
		{"{{ text|truncate(size=1) }}", `job.yaml:1:9: filter "truncate" has no argument "size"`, "use one of"},
		{"{% if a %}x", `job.yaml:1:12: the template ends before {% endif %}`, ""},
		{"{{ text }}\n{{ body }}", `job.yaml:2:4: "body" is not in the item`, "default"},
		{"{{ item.body }}", `job.yaml:1:4: "body" is not in the item`, "default"},
		{"{{ user.nme }}", `job.yaml:1:4: "nme" is not in the item`, "default"},
		{"{{ nope.a.b }}", `job.yaml:1:4: "nope" is not in the item`, "default"},
		{"{{ 1 + text }}", `job.yaml:1:6: "+" does not work between a number and a string`, ""},
		{"{{ user[text] }}", `job.yaml:1:4: "a key that the item names" is not in the item`, ""},
		{"{{ [user]|map(attribute=text)|join }}", `job.yaml:1:31: "a key that the item names" is not in the item`, ""},
		{"{{ text|abs }}", `job.yaml:1:9: filter "abs": wants a number, not a string`, ""},
	} {
		tpl, err := Parse("job.yaml", x.src)
		if err == nil {
			_, err = tpl.Render([]byte(`{"text":"SECRET","user":{"name":"SECRET"}}`))
		}
		if err == nil || err.Error() != x.want || !strings.Contains(batch.HintOf(err), x.hint) || batch.KindOf(err) != batch.Invalid {
			t.Errorf("%q: %v (%s)\nwant %s (%s)", x.src, err, batch.HintOf(err), x.want, x.hint)
		}
	}
}

func TestRenderIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := readCorpus(t)
	done := make(chan string)
	src := c.Cases[len(c.Cases)-4]
	tpl, err := Parse("t", src.Template)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		go func() {
			bad := ""
			for range 200 {
				if out, err := tpl.Render(c.Item); err != nil || out != src.Want {
					bad = out
				}
			}
			done <- bad
		}()
	}
	for range 8 {
		if bad := <-done; bad != "" {
			t.Errorf("got %q", bad)
		}
	}
}

func TestNamesAreSorted(t *testing.T) {
	t.Parallel()
	tpl, err := Parse("t", "{{ z }}{{ a }}{{ m }}")
	if err != nil {
		t.Fatal(err)
	}
	first, _ := tpl.Fields()
	if !slices.IsSorted(first) {
		t.Error(first)
	}
	first[0] = "changed"
	if again, _ := tpl.Fields(); again[0] != "a" {
		t.Error("the caller can change a template")
	}
}
