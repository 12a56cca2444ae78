package spec

import (
	"bytes"
	"fmt"
	"runtime"
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
		"billion laughs":    laughs(),
		"nested flow":       strings.Repeat("{a: ", 10_000) + "1" + strings.Repeat("}", 10_000),
		"deep indents":      indents(400),
		"huge integers":     fill(least+"batch_size: ", "9", "\n"),
		"huge exponents":    least + "batch_size: 1e999999999\nmax_attempts: 0x" + strings.Repeat("f", 100_000) + "\n",
		"merge keys":        fill(least, "<<: *a\n", ""),
		"complex keys":      fill("", "? {a: [b]}\n: c\n", ""),
		"tags":              fill(least+"labels: {a: [", "!!binary \"AA==\", ", "]}\n"),
	}
}

// laughs is the bomb of aliases that each stand for ten of the one before.
func laughs() string {
	b := "a0: &a0 [lol,lol]\n"
	for i := range 12 {
		b += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9), i)
	}
	return b + least
}

func indents(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// TestYAMLBombsAreRefused wants each of them refused with its place, and the
// largest file taken no further.
func TestYAMLBombsAreRefused(t *testing.T) {
	t.Parallel()
	h := hostile()
	for name, says := range map[string]string{"billion laughs": "anchor", "nested flow": "deep", "deep indents": "deep", "huge integers": "batch_size", "brackets": "", "aliases": "anchor", "merge keys": "", "duplicate keys": "twice", "tags": "tag"} {
		s, ds := Parse("job.yaml", []byte(h[name]), Options{})
		if s != nil || ds.Errors() == 0 || ds[0].Line < 1 || ds[0].Col < 1 {
			t.Errorf("%s is not refused: %s", name, dump(ds))
			continue
		}
		found := false
		for _, d := range ds {
			found = found || strings.Contains(d.Message, says)
			if len(d.Message) > 1000 {
				t.Errorf("%s: a finding of %d bytes", name, len(d.Message))
			}
		}
		if !found {
			t.Errorf("%s: nothing says %q: %.500s", name, says, dump(ds))
		}
	}
	if s, ds := Parse("job.yaml", []byte(least+strings.Repeat("# x\n", maxBytes/4)), Options{}); s != nil || ds[0].Code != codeTooLarge {
		t.Errorf("a file of more than %d bytes: %s", maxBytes, dump(ds))
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
// Memory is counted for the process, so the test runs alone.
func TestHostileFilesTakeBoundedTime(t *testing.T) {
	var before, after runtime.MemStats
	for name, src := range hostile() {
		if len(src) > hostileBytes+1000 {
			t.Errorf("%s: is longer than meant", name)
		}
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, ds := Parse("job.yaml", []byte(src), Options{})
		var b bytes.Buffer
		if err := ds.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		mib := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%-20s %8d bytes %4d findings %4d MiB allocated %v", name, len(src), len(ds), mib, took)
		if took > 5*time.Second || mib > 512 {
			t.Errorf("%s: took %v and allocated %d MiB", name, took, mib)
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
