package tokens

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestCountExact(t *testing.T) {
	t.Parallel()
	// Counted by OpenAI's own tokenizer.
	for _, x := range []struct {
		name, text string
		want       int64
	}{
		{CL100k, "", 0},
		{CL100k, "hello world", 2},
		{CL100k, "tiktoken is great!", 6},
		{O200k, "hello world", 2},
		{O200k, "tiktoken is great!", 6},
		{CL100k, "お誕生日おめでとう", 9},
		{O200k, "お誕生日おめでとう", 8},
	} {
		if n, exact := Count(x.name, x.text); n != x.want || !exact {
			t.Errorf("Count(%s, %q) = %d, %v; want %d", x.name, x.text, n, exact, x.want)
		}
	}
	if n, exact := Count(O200k, "<|endoftext|>"); n < 3 || !exact {
		t.Errorf("a special token in a text is text: %d %v", n, exact)
	}
}

func TestEstimates(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", 50)
	truth, _ := Count(O200k, text)
	for _, name := range []string{Claude, ClaudeNew, Gemini, Llama, Mistral, Bytes, "never heard of"} {
		n, exact := Count(name, text)
		if exact || n < truth || n > truth*2 {
			t.Errorf("%s: %d (exact %v), o200k counts %d", name, n, exact, truth)
		}
	}
	if n, _ := Count(Claude, "日本語😀"); n != 4 {
		t.Errorf("CJK: %d", n)
	}
	if n, _ := Count(Claude, "éé\xff"); n < 1 || n > 3 {
		t.Errorf("beyond ASCII: %d", n)
	}
}

// TestLongRuns would run for minutes if the work grew with the square of a run.
func TestLongRuns(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"a", "日", "\xff", "ab1", "=", " "} {
		text := strings.Repeat(unit, 1_000_000/len(unit))
		n, exact := Count(O200k, text)
		if n <= 0 || n > int64(len(text)) || !exact {
			t.Errorf("%q: %d exact %v", unit, n, exact)
		}
	}
}

func TestForModel(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		provider, model, want string
		exact                 bool
	}{
		{"openai", "gpt-4o-mini", O200k, true}, {"openai", "gpt-5-mini-2025-08-07", O200k, true}, {"openai", "gpt-5.6-sol", O200k, true},
		{"openai", "gpt-4.1", O200k, true}, {"openai", "o3-mini", O200k, true}, {"openai", "o1", O200k, true}, {"openai", "ft:gpt-4o-mini:acme", O200k, true},
		{"openai", "gpt-4", CL100k, true}, {"openai", "gpt-4-turbo", CL100k, true}, {"openai", "gpt-3.5-turbo-0125", CL100k, true},
		{"azure", "gpt-35-turbo", CL100k, true}, {"azure", "gpt-4o", O200k, true}, {"azure", "my-deployment", O200k, false},
		{"groq", "openai/gpt-oss-120b", O200k, true}, {"openai_compatible", "openai/gpt-4o", O200k, false}, {"openai", "omega-9", O200k, false},
		{"anthropic", "claude-sonnet-4-5", Claude, false}, {"anthropic", "claude-opus-5-20260701", ClaudeNew, false},
		{"gemini", "gemini-2.5-pro", Gemini, false}, {"groq", "llama-3.3-70b-versatile", Llama, false}, {"mistral", "mistral-small-latest", Mistral, false},
		{"openai_compatible", "qwen3", Bytes, false}, {"sim", "sim-1", O200k, false},
	} {
		if name, exact := ForModel(x.provider, x.model); name != x.want || exact != x.exact {
			t.Errorf("%s/%s: %s %v", x.provider, x.model, name, exact)
		}
	}
}

func TestCountIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("one two three 123 \n", 200)
	want, _ := Count(O200k, text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if n, _ := Count(O200k, text); n != want {
					t.Errorf("%d, want %d", n, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestCalibration(t *testing.T) {
	t.Parallel()
	var c Calibration
	if ppm, known := c.P99PPM(); ppm != coldPPM || known || c.Likely(1000) != 1000 || c.High(1000) != 1300 {
		t.Errorf("before anything was seen: %d %v", ppm, known)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		est := 100 + r.Int64N(2000)
		c = c.Observe(est, est*(900+r.Int64N(301))/1000) // 0.9 to 1.2
	}
	if m := c.MeanPPM(); m < 1_000_000 || m > 1_100_000 {
		t.Errorf("mean %d", m)
	}
	if ppm, known := c.P99PPM(); !known || ppm != 1_200_000 {
		t.Errorf("p99 %d %v", ppm, known)
	}
	before := c
	d := c.Observe(100, 50_000)
	if before != c || d == c || d.N() != c.N()+1 {
		t.Error("Observe changed its receiver")
	}
	for _, bad := range [][2]int64{{0, 5}, {5, 0}, {-1, 5}, {1 << 62, 5}} {
		if c.Observe(bad[0], bad[1]) != c {
			t.Errorf("%v taught something", bad)
		}
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Calibration
	if err := json.Unmarshal(raw, &back); err != nil || back != d {
		t.Errorf("JSON does not come back: %v", err)
	}
	for _, bad := range []string{`{"n":-1}`, `{"n":1}`, `{"n":1,"mean_ppm":1,"steps":{"7":1}}`, `{"n":1,"steps":{"99000000":1}}`, `[]`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s was read", bad)
		}
	}
	// A level that shifts is followed.
	for range 200 {
		c = c.Observe(1000, 2000)
	}
	if m := c.MeanPPM(); m < 1_950_000 {
		t.Errorf("mean %d after a shift to 2.0", m)
	}
	if n := scale(1<<53, 1_300_000); n != 11_709_359_031_163_290 {
		t.Errorf("scale %d", n)
	}
}

func FuzzCount(f *testing.F) {
	f.Add("hello 日本 \xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{O200k, Claude, Bytes} {
			if n, _ := Count(name, text); n < 0 || n > int64(len(text)) || n == 0 && text != "" {
				t.Fatalf("%s: %d tokens of %d bytes", name, n, len(text))
			}
		}
	})
}

func BenchmarkCountO200k(b *testing.B) {
	text := strings.Repeat("A customer asks whether order 1234 can be changed; the agent agrees. ", 60)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Count(O200k, text)
	}
}

func BenchmarkCountLongRun(b *testing.B) {
	text := strings.Repeat("a", 100_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Count(O200k, text)
	}
}

func BenchmarkEstimate(b *testing.B) {
	text := strings.Repeat("A customer asks whether order 1234 can be changed; the agent agrees. ", 60)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		Count(Claude, text)
	}
}
