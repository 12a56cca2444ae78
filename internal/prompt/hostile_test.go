package prompt

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// refused templates never come to run.
var refused = []string{
	`{% include "/etc/passwd" %}`, `{% include text %}`, `{% import "x" as x %}`, `{% from "x" import y %}`, `{% extends "base" %}`,
	`{% macro f() %}{{ f() }}{% endmacro %}`, `{% call f() %}{% endcall %}`, `{% block a %}{% endblock %}`, `{% do x.append(1) %}`,
	`{% autoescape true %}{% endautoescape %}`, `{% with a=1 %}{% endwith %}`, `{% filter upper %}a{% endfilter %}`, `{% break %}`,
	`{% for a in b recursive %}{{ loop(a) }}{% endfor %}`, `{% set a.b = 1 %}`, `{% set a["b"] = 1 %}`, `{% set loop = 1 %}`,
	`{% set ns = namespace(a=1) %}`, `{% set a, b = 1, 2 %}`, `{% trans %}a{% endtrans %}`,
	`{{ ''.__class__ }}`, `{{ ''.__class__.__mro__[1].__subclasses__() }}`, `{{ self.__init__.__globals__ }}`, `{{ __import__("os") }}`,
	`{{ config.items() }}`, `{{ request.application.__globals__ }}`, `{{ text.format(1) }}`, `{{ text.strip() }}`, `{{ item.keys() }}`,
	`{{ lipsum() }}`, `{{ lipsum.__globals__["os"].popen("id").read() }}`, `{{ cycler() }}`, `{{ joiner() }}`, `{{ dict(a=1) }}`,
	`{{ namespace() }}`, `{{ self() }}`, `{{ env("HOME") }}`, `{{ open("/etc/passwd") }}`, `{{ text() }}`, `{{ text[0]() }}`, `{{ (1)() }}`,
	`{{ text|attr("x") }}`, `{{ text|random }}`, `{{ text|pprint }}`, `{{ text|xmlattr }}`, `{{ text|safe }}`, `{{ text|urlize }}`,
	`{{ text|filesizeformat }}`, `{{ tags|map("attr","x") }}`, `{{ tags|map("map","upper") }}`, `{{ tags|map(text) }}`,
	`{{ tags|select("callable") }}`, `{{ text is callable }}`, `{{ text is filter }}`, `{{ text is sameas text }}`, `{{ text is escaped }}`,
	`{{ {{ text }} }}`, `{{ "{{ text }}"|render }}`, `{% if %}{% endif %}`, `{{ }}`, `{% %}`, `{{ a b }}`, `{{ 1 + }}`, `{{ (1 }}`, `{{ 1) }}`,
	`{{ [1 }}`, `{{ "a }}`, `{{ a | }}`, `{{ a. }}`, `{{ a[ }}`, `{{ a[] }}`, `{{ a is }}`, `{{ not }}`, `{% for %}{% endfor %}`,
	`{% for a in b %}`, `{% endfor %}`, `{% else %}`, `{% if a %}{% endfor %}`, `{# never closed`, `{{ never closed`, `{% raw %} never`, `{{ @ }}`, `{{ a ! b }}`,
	`{{ 99999999999999999999 }}`, `{{ text|upper(1) }}`, `{{ text|replace("a") }}`, `{{ text|trim(chars="a", chars="b") }}`, `{{ text|trim(x=1) }}`,
	`{{ range() }}`, `{{ range(1,2,3,4) }}`, `{{ loop.index }}`, `{{ *a }}`, `{{ f(*a) }}`, `{{ a is divisibleby }}`,
	`{% for true in tags %}{% endfor %}`, `{{ and }}`,
	"{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
	"{{ " + strings.Repeat("[", 200_000) + " }}", "{{ " + strings.Repeat("{", 100) + " }}",
	"{{ " + strings.Repeat("-", 100_000) + "1 }}", "{{ " + strings.Repeat("not ", 100_000) + "1 }}",
	"{{ 1" + strings.Repeat("+1", 100_000) + " }}", "{{ a" + strings.Repeat(".b", 100_000) + " }}",
	"{{ a" + strings.Repeat("|trim", 100_000) + " }}", "{{ 1" + strings.Repeat(" if 1 else 1", 50_000) + " }}",
	"{{ 1" + strings.Repeat("**2", 50_000) + " }}",
	strings.Repeat("{% if a %}", 1000) + strings.Repeat("{% endif %}", 1000),
	strings.Repeat("{% for a in b %}", 50_000),
	"{% if a %}" + strings.Repeat("{% elif a %}", 50_000) + "{% endif %}",
	strings.Repeat("x", MaxSource+1),
}

// stopped templates parse and are stopped while they run.
var stopped = []string{
	`{% for a in range(100000000) %}x{% endfor %}`, `{{ range(10001) }}`, `{{ range(9999999999) }}`, `{{ range(0, 1, 0) }}`, `{{ range(0-1000000,0) }}`,
	`{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}`,
	`{% for a in range(1000) %}{% for b in range(1000) %}{{ a }}{% endfor %}{% endfor %}`,
	`{% for a in range(10000) %}{{ text * 1000 }}{% endfor %}`,
	`{{ "a" * 1000000000 }}`, `{{ 1000000000 * "a" }}`, `{{ ("a" * 100000)|replace("a", "b" * 100000) }}`, `{{ "a"|center(10000000000) ~ ("a" * 1048576) }}`,
	`{{ ("a\n" * 100000)|indent(1000000) }}`, `{{ "%1000000000d"|format(1) }}`, `{{ "%.99999999f"|format(1.5) }}`, `{{ "%*d"|format(1) }}`,
	`{% set a = "x" * 1000 %}{% for i in range(10000) %}{% set b = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}{% endfor %}{{ "x" * 1000 * 10000 }}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% if 99999 in l %}x{% endif %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l + l %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|sort %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{{ (l|string)[:1] }}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|map("string")|join|upper %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l == l %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l[::-1] %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|tojson %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|unique %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|sum %}{% endfor %}`,
	`{% set l = range(10000)|list %}{% for i in range(9000) %}{% set m = l|select("odd")|list|length %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t|wordwrap(1) %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t|title %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t|urlencode %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t|length %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = "zz" in t %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t[5] %}{% endfor %}`,
	`{% set t = "ab " * 300000 %}{% for i in range(9000) %}{% set m = t|wordcount %}{% endfor %}`,
	`{% set t = "<&>" * 300000 %}{% for i in range(9000) %}{% set m = t|e %}{% endfor %}`,
	`{% set d = [0] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}` +
		`{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{{ d }}`,
	`{% set d = [0] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}` +
		`{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{% set d = [d,d,d,d,d,d,d,d,d,d] %}{{ d|tojson(64) }}`,
	`{% set a %}{% for i in range(10000) %}{{ text * 100 }}{% endfor %}{% endset %}`,
	`{{ 2 ** 64 }}`, `{{ 9223372036854775807 + 1 }}`, `{{ -9223372036854775807 - 2 }}`, `{{ 4611686018427387904 * 2 }}`, `{{ 10.0 ** 400 }}`, `{{ 2 ** 9223372036854775807 }}`,
	`{{ 1 / 0 }}`, `{{ 1 // 0 }}`, `{{ 1 % 0 }}`, `{{ 1.5 % 0 }}`, `{{ (-9223372036854775807 - 1) // -1 }}`, `{{ 5 is divisibleby 0 }}`,
	`{{ missing }}`, `{{ user.missing }}`, `{{ missing.deep.er }}`, `{{ tags[99] }}`, `{{ missing + 1 }}`, `{{ missing == 1 }}`, `{{ missing|upper }}`,
	`{% for a in missing %}{% endfor %}`, `{% for a in 5 %}{% endfor %}`, `{% for a, b in tags %}{% endfor %}`, `{{ "a" + 1 }}`, `{{ 1 + "a" }}`, `{{ -text }}`,
	`{{ 1 < "a" }}`, `{{ tags[text] }}`, `{{ tags[1.5] }}`, `{{ text[::0] }}`, `{{ text["a":] }}`, `{{ 1 in 2 }}`, `{{ 1 in text }}`, `{{ [1,"a"]|sort }}`,
	`{{ none|length }}`, `{{ text|round }}`, `{{ text|abs }}`, `{{ 1|items }}`, `{{ 1|join }}`, `{{ text|truncate(1) }}`, `{{ text|wordwrap(0) }}`,
	`{{ "%d"|format("a") }}`, `{{ "%s"|format }}`, `{{ ""|format(1) }}`, `{{ "%"|format }}`, `{{ {1:2} }}`, `{{ []|first }}`, `{{ []|max }}`,
	`{% for a in tags %}{{ loop }}{% endfor %}`, `{% for a in tags %}{{ loop.nothing }}{% endfor %}`, `{{ tags|map(attribute=none)|list }}`, `{{ tags|map }}`,
	`{{ text|e * 400000 }}`, `{{ "x"|int(base=99) }}`,
}

const hostileItem = `{"text":"hello","tags":["a","b"],"user":{"n":1}}`

// limit is what a machine that does other things as well may take for 100 ms of
// work; that the work is bounded is what matters, and a bomb takes hours.
const limit = 2 * time.Second

func TestHostileTemplates(t *testing.T) {
	t.Parallel()
	if n := len(refused) + len(stopped); n < 60 {
		t.Fatalf("only %d", n)
	}
	for _, src := range refused {
		began := time.Now()
		tpl, err := Parse("t.j2", src)
		if err == nil {
			if !strings.Contains(src, "{{") { // text with brackets is only text
				continue
			}
			t.Errorf("parsed %.80q: %+v", src, tpl.uses)
			continue
		}
		checkError(t, src, err, began)
	}
	for _, src := range stopped {
		tpl, err := Parse("t.j2", src)
		if err != nil {
			t.Errorf("did not parse %.80q: %v", src, err)
			continue
		}
		began := time.Now()
		out, err := tpl.Render([]byte(hostileItem))
		if err == nil {
			t.Errorf("rendered %.80q: %.80q", src, out)
			continue
		}
		checkError(t, src, err, began)
	}
}

func checkError(t *testing.T, src string, err error, began time.Time) {
	t.Helper()
	if took := time.Since(began); took > limit {
		t.Errorf("%.80q took %v", src, took)
	}
	if batch.KindOf(err) != batch.Invalid || !strings.HasPrefix(err.Error(), "t.j2") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
		t.Errorf("%.80q: error is not one line with a place: %.200v", src, err)
	}
}

// TestItemsAreNeverTemplates renders data that looks like templates.
func TestItemsAreNeverTemplates(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{`{{ 7 * 7 }}`, `{% for a in range(9) %}x{% endfor %}`, `{# gone #}`, `{{ text }}`, `<script>&amp;"'`, `\u007b\u007b 1 \u007d\u007d`} {
		item := fmt.Sprintf(`{"text":%q}`, evil)
		if strings.HasPrefix(evil, `\u`) {
			item = fmt.Sprintf(`{"text":"%s"}`, evil)
			evil = "{{ 1 }}"
		}
		for _, src := range []string{`{{ text }}`, `{{ text|trim }}`, `{% set a = text %}{{ a }}`, `{% for x in [text] %}{{ x }}{% endfor %}`, `{{ item.text|default("") }}`} {
			tpl, err := Parse("t", src)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := tpl.Render([]byte(item)); err != nil || out != evil {
				t.Errorf("%s of %s: %q %v", src, item, out, err)
			}
		}
	}
}

// TestHostileItems feeds items that are built to hurt.
func TestHostileItems(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000)
	for _, x := range []struct{ src, item string }{
		{`{{ text }}`, `{"text":` + deep + `}`}, {`{{ text|tojson }}`, `{"text":` + deep + `}`}, {`{{ text|tojson(64) }}`, `{"text":` + deep + `}`},
		{`{{ text == text }}`, `{"text":` + deep + `}`}, {`{{ text|unique }}`, `{"text":` + deep + `}`}, {`{{ [text, text]|sort }}`, `{"text":` + deep + `}`},
		{`{{ text }}`, `{"text":"` + strings.Repeat("a", MaxOutput+1) + `"}`},
		{`{{ text|upper }}`, `{"text":"` + strings.Repeat("a", MaxOutput+1) + `"}`},
		{`{{ text }}`, `{"text":` + strings.Repeat(`[`, 20_000) + strings.Repeat(`]`, 20_000) + `}`},
		{`{{ text }}`, `{"text":1e999999999}`}, {`{{ text + 1 }}`, `{"text":1e999999999}`}, {`{{ text|int }}`, `{"text":1e999999999}`},
		{`{{ text }}`, `not json`}, {`{{ text }}`, ``}, {`{{ text }}`, `[]`}, {`{{ text }}`, `null`}, {`{{ text }}`, `"x"`}, {`{{ text }}`, `{"text":1} x`},
		{`{{ text }}`, `{`}, {`{{ text }}`, `{"text"`},
	} {
		tpl, err := Parse("t.j2", x.src)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		out, err := tpl.Render([]byte(x.item))
		if took := time.Since(began); took > limit {
			t.Errorf("%s of %.60s took %v", x.src, x.item, took)
		}
		if err != nil && (batch.KindOf(err) != batch.Invalid || len(err.Error()) > 300) {
			t.Errorf("%s of %.60s: %.300v", x.src, x.item, err)
		}
		if len(out) > MaxOutput {
			t.Errorf("%s of %.60s: %d bytes", x.src, x.item, len(out))
		}
	}
}

// TestHostileTemplatesTakeBoundedMemory renders each bomb alone. What is counted
// is all that was allocated, freed or not; live at once is far less.
func TestHostileTemplatesTakeBoundedMemory(t *testing.T) {
	const most = 256 << 20
	var before, after runtime.MemStats
	measured := func(src string, f func()) {
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%.80q allocated %d MiB", src, n>>20)
		}
	}
	for _, src := range append(slices.Clone(refused), stopped...) {
		measured(src, func() {
			if tpl, err := Parse("t.j2", src); err == nil {
				_, _ = tpl.Render([]byte(hostileItem))
			}
		})
	}
}
