package spec

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// hostileBytes is a quarter of the largest file: what is quadratic shows, and the
// rest stays quick.
const hostileBytes = maxBytes / 4

// hostile are large files, each built to be slow.
func hostile() map[string]string {
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (hostileBytes-len(head)-len(tail))/len(unit)) + tail
	}
	many := func(line string) string {
		var b strings.Builder
		b.WriteString(least)
		for i := 0; b.Len()+len(line)+10 < hostileBytes; i++ {
			fmt.Fprintf(&b, line, i)
		}
		return b.String()
	}
	longKey := strings.Repeat("k", hostileBytes/2)
	return map[string]string{
		"one long line":     fill("job: {id: ", "x", "}\n"),
		"brackets":          fill("job: ", "[", "\n"),
		"flow keys":         fill("job: {", "a: 1, ", "}\n"),
		"duplicate keys":    fill(least, "zz: 1\n", ""),
		"unknown keys":      many("key%d: 1\n"),
		"near keys":         many("max_output_token%d: 1\n"),
		"secrets":           many("s%d: sk-abcdefghijklmnop1\n"),
		"secrets differ":    many("api_key: hunter2hunter%d\n"),
		"passwords differ":  many("- password: Zx91QwLm77TyAb%dEf02Q\n"),
		"aliases":           fill("a: &a 1\nb: [", "*a, ", "]\n"),
		"anchors":           many("a%[1]d: &x%[1]d 1\n"),
		"quotes":            fill("job: ", "\"\" ", "\n"),
		"long key in paths": "labels: {\"" + longKey + "\": {" + strings.Repeat("a: {b: 1}, ", 8_000) + "}}\n" + least,
		"long key parent":   "alerts: {\"" + longKey + "\": [" + strings.Repeat(".5,", 25_000) + "]}\n" + least,
		"comments":          fill(least, "# x\n", ""),
		"tabs":              fill(least, "\t\n", "\tx: 1\n"),
		"braces in uri":     fill("output: {uri: \"", "{", "\"}\n"+least),
		"owners":            fill(least+"owners: [", "a,", "]\n"),
		"colons":            fill(least+"timezone: ", "a:", "\n"),
		"owners differ":     least + "owners: [a" + ownersThatDiffer() + "]\n",
		"cron list":         fill("job: {id: j, schedule: \"", "*/1,", "* * * * *\"}\n"),
		"bearer":            fill(least+"labels: {a: \"", "Bearer ", "\"}\n"),
		"url":               fill(least+"labels: {a: \"", "a://", "\"}\n"),
		"indent":            fill("a:\n", " ", "b: 1\n"),
		"questions":         fill("", "? a\n", ""),
		"dashes":            fill("a:\n", "- - - a\n", ""),
	}
}

func ownersThatDiffer() string {
	var b strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&b, "o%x,", i)
	}
	return b.String()
}

// The bound is far above what any of them takes; it is there to fail when
// something becomes quadratic.
func TestHostileFilesTakeBoundedTime(t *testing.T) {
	t.Parallel()
	for name, src := range hostile() {
		if len(src) > hostileBytes+1000 {
			t.Errorf("%s: is longer than meant", name)
		}
		began := time.Now()
		_, ds := Parse("job.yaml", []byte(src), Options{})
		var b bytes.Buffer
		if err := ds.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("%-20s %8d bytes %4d findings %v", name, len(src), len(ds), took)
		if took > 5*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	src := goodCorpus(b)["everything"]
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if s, _ := Parse("job.yaml", src, corpusOptions()); s == nil {
			b.Fatal("refused")
		}
	}
}
