package secret_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/secret/secrettest"
)

// value draws what may be sent as a key, and now and then what may not.
func value() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`sk-[A-Za-z0-9_-]{16,64}`),
		rapid.StringMatching(`[A-Za-z0-9+/=]{16,48}`),
		rapid.StringMatching(`[ -~]{16,60}`),
		rapid.StringMatching(`[a-z"\\<>&'%+/ ]{12,30}`),
		rapid.StringMatching(`[a-zé€😀]{12,20}`),
	)
}

// left names the encodings in which the value, or one nearly as long, is still
// in the text.
func left(text, v string) []string {
	var out []string
	for _, n := range secrettest.Needles([]string{v}) {
		if bytes.Contains([]byte(text), n.Bytes) {
			out = append(out, n.Encoding)
		}
	}
	return out
}

func TestNoEncodingSurvives(t *testing.T) {
	t.Parallel()
	encodings := secrettest.Encodings()
	rapid.Check(t, func(t *rapid.T) {
		v := value().Draw(t, "value")
		if strings.TrimSpace(v) != v {
			return // references are read without the space around them
		}
		around := rapid.StringMatching(`[ -~\n]{0,40}`)
		before, after := around.Draw(t, "before"), around.Draw(t, "after")
		e := encodings[rapid.IntRange(0, len(encodings)-1).Draw(t, "encoding")]
		if (e.Name == "capital" || e.Name == "small") && !ascii(v) {
			return // other letters have no two cases here
		}
		text := e.Whole(before, v, after)
		var r secret.Redactor
		r.Add(secret.New("another-secret-value"), secret.New(v))
		out := r.Text(text)
		if !strings.Contains(out, secret.Redacted) {
			t.Fatalf("%s of %q in %q is not seen", e.Name, v, text)
		}
		if l := left(out, v); len(l) > 0 {
			t.Fatalf("%s: %q is still in %q as %v", e.Name, v, out, l)
		}
		if l := left(r.Text(out), v); len(l) > 0 {
			t.Fatalf("once more: %v", l)
		}
	})
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// A secret may come in any number of writes.
func TestNoSplitSurvives(t *testing.T) {
	t.Parallel()
	encodings := secrettest.Encodings()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`sk-[A-Za-z0-9_"\\<&%+/-]{20,40}[a-z]`).Draw(t, "value")
		e := encodings[rapid.IntRange(0, len(encodings)-1).Draw(t, "encoding")]
		around := rapid.StringMatching(`[ -~\n]{0,30}`)
		text := e.Whole(around.Draw(t, "before"), v, around.Draw(t, "after"))
		if rapid.Bool().Draw(t, "twice") {
			text += e.Whole(around.Draw(t, "between"), v, "\n")
		}
		var r secret.Redactor
		r.Add(secret.New(v))
		var got bytes.Buffer
		w := r.Writer(&got)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if rapid.Bool().Draw(t, "small") {
				n = min(n, 3)
			}
			if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if l := left(got.String(), v); len(l) > 0 {
			t.Fatalf("%s: %q is still in %q as %v", e.Name, v, got.String(), l)
		}
		if !strings.Contains(got.String(), secret.Redacted) {
			t.Fatalf("%s: nothing was seen in %q", e.Name, text)
		}
	})
}

// What holds no secret comes out as it went in, in writes of any size.
func TestTheRestStays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r secret.Redactor
		r.Add(secret.New("sk-live-0123456789abcdef"), secret.New(`p&ss"w\rd%<'+ /`))
		text := rapid.StringMatching(`([ -~\n]|sk-|sk-live-0123|&amp;|%2|\\u00|&#|cD1zay|736b)*`).Draw(t, "text")
		if got := r.Text(text); got != text {
			t.Fatalf("%q became %q", text, got)
		}
		var got bytes.Buffer
		w := r.Writer(&got)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil || got.String() != text {
			t.Fatalf("%q was written as %q (%v)", text, got.String(), err)
		}
	})
}

// A line that ends as a secret begins is not kept waiting; nothing else is kept
// either.
func TestWriterKeepsLittle(t *testing.T) {
	t.Parallel()
	var r secret.Redactor
	var got bytes.Buffer
	w := r.Writer(&got)
	for _, c := range []struct{ write, want string }{
		{"before any secret is known: sk-live-0123456789abcdef", "before any secret is known: sk-live-0123456789abcdef"},
		{"", ""}, // here it becomes known
		{"12 item", "12 item"}, {"s", "s"}, {" done\n", " done\n"}, {"ask", "ask"}, {"?", "?"},
		{"sk-liv", ""}, {"ely\n", "sk-lively\n"},
		{"s", "s"}, {"k", "k"}, {"-", "-"}, {"live-0123456789abcde", ""}, {"f!", "[redacted]!"},
		{"sk-live-0123", ""},
	} {
		if c.write == "" {
			r.Add(secret.New("sk-live-0123456789abcdef"))
			continue
		}
		got.Reset()
		if _, err := w.Write([]byte(c.write)); err != nil || got.String() != c.want {
			t.Errorf("after %q: %q, want %q (%v)", c.write, got.String(), c.want, err)
		}
	}
	got.Reset()
	if err := w.Flush(); err != nil || got.String() != "sk-live-0123" {
		t.Errorf("at the end: %q, %v", got.String(), err)
	}
}

func TestCutAndShortValues(t *testing.T) {
	t.Parallel()
	long := "sk-ant-api03-" + strings.Repeat("aB3xY9", 12)
	var r secret.Redactor
	r.Add(secret.New(long), secret.New("lm-studio"), secret.New("ollama"), secret.New(""))
	for in, want := range map[string]string{
		"key " + long[:60]:            "key [redacted]",
		"key " + long[:60] + "…":      "key [redacted]…",
		"key " + long[:30] + "***":    "key " + long[:30] + "***",
		"LM-Studio and ollama answer": "[redacted] and ollama answer",
		"":                            "",
	} {
		if got := r.Text(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := r.Payload("lm-studio " + long); got != "lm-studio [redacted]" {
		t.Errorf("a payload became %q", got)
	}
	var none secret.Redactor
	if none.Text(long) != long || string(none.Bytes([]byte(long))) != long {
		t.Error("a redactor without secrets changes texts")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var r secret.Redactor
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			v := fmt.Sprintf("concurrent-secret-%d", i)
			r.Add(secret.New(v))
			if got := r.Text("x" + v); got != "x"+secret.Redacted {
				t.Errorf("%q", got)
			}
		})
	}
	wg.Wait()
}

func FuzzRedactor(f *testing.F) {
	for i := range secrettest.Encodings() {
		f.Add("before", "sk-live-0123456789abcdef", "after", uint8(i), uint8(3))
	}
	f.Add("%", `\\\\\\\\\\\\`, "&amp;", uint8(3), uint8(1))
	f.Fuzz(func(t *testing.T, before, v, after string, which, size uint8) {
		if len(v) < secret.Shortest || len(v) > 200 || strings.TrimSpace(v) != v {
			return
		}
		es := secrettest.Encodings()
		e := es[int(which)%len(es)]
		if !ascii(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return // no header can carry it
		}
		text := e.Whole(before, v, after)
		var r secret.Redactor
		r.Add(secret.New(v))
		var got bytes.Buffer
		w := r.Writer(&got)
		for rest := []byte(text); len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if len(v) < secret.ShortestPayload {
			return // so short a value can stand across a mark and the text beside it
		}
		for _, out := range []string{r.Text(text), got.String()} {
			if strings.Contains(v, out) || strings.Contains(secret.Redacted, v) {
				continue
			}
			if l := left(out, v); len(l) > 0 {
				t.Fatalf("%s: %q is still in %q as %v", e.Name, v, out, l)
			}
		}
	})
}

// What every start of the program does.
func BenchmarkAdd(b *testing.B) {
	var ss []secret.Secret
	for i := range 8 {
		ss = append(ss, secret.New(fmt.Sprintf("sk-%c-live-0123456789abcdef-0123456789abcdef-%d", 'a'+i, i)))
	}
	for b.Loop() {
		var r secret.Redactor
		r.Add(ss...)
	}
}

func BenchmarkRedactor(b *testing.B) {
	line := `time=2026-11-23T20:20:20.000Z level=INFO msg="attempt ended" run=r_abc item=item-17 class=transient url=https://api.openai.com/v1 took=1.2s` + "\n"
	text := strings.Repeat(line, 1<<20/len(line))
	for _, n := range []int{1, 8, 64} {
		var r secret.Redactor
		for i := range n {
			r.Add(secret.New(fmt.Sprintf("sk-%c%c-live-0123456789abcdef-%d", 'a'+i%26, 'A'+i/3, i)))
		}
		b.Run(fmt.Sprintf("%d secrets", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if len(r.Text(text)) != len(text) {
					b.Fatal("changed")
				}
			}
		})
	}
}
