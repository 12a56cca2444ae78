package plan

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/spec"
)

var mini = &money.PriceCard{Provider: "openai", Model: "gpt-4o-mini", In: 150_000, Out: 600_000, CacheRead: 75_000, Source: "openai.com/api/pricing", Checked: "2026-08-21"}

var none = spec.Budget{Tokens: -1, Pico: -1, ItemTokens: -1, Retries: -1}

// items makes n items of which size bytes and 0.3 tokens a byte plus 100.
func items(n int, seed uint64) ([]SampleItem, Population) {
	r := rand.New(rand.NewPCG(seed, 1))
	var pop Population
	out := make([]SampleItem, n)
	for i := range out {
		size := 200 + r.Int64N(3000)
		out[i] = SampleItem{Bytes: size, InputTokens: 100 + size*3/10 + r.Int64N(20), InputExact: true, InputBound: size + 700}
		pop.Items, pop.Sum, pop.Max = pop.Items+1, pop.Sum+size, max(pop.Max, size)
	}
	return out, pop
}

func mustMake(t testing.TB, f Facts) Plan {
	t.Helper()
	p, err := Make(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWholeSampleIsExact(t *testing.T) {
	t.Parallel()
	s, pop := items(50, 1)
	p := mustMake(t, Facts{Items: 60, Followers: 4, CacheHits: 3, Bad: 2, Done: 1, Sample: s, Bytes: pop, MaxOutputTokens: 100, Budget: none})
	var want, bound int64
	for _, x := range s {
		want, bound = want+x.InputTokens, bound+x.InputBound
	}
	if got := p.Input; got != (Figure{want, want, want, bound, Exact, UpperBound}) {
		t.Errorf("input %+v, want %d up to %d", got, want, bound)
	}
	if got := p.Output; got != (Figure{250, 2500, 5000, 5000, Estimate, UpperBound}) {
		t.Errorf("output %+v", got)
	}
	if p.ToCall.N != 50 || p.Cost != nil {
		t.Errorf("plan %+v", p)
	}
}

// TestSampleFindsTheTruth draws samples of a known population; the true sum must
// lie between P10 and P90 about eight times in ten.
func TestSampleFindsTheTruth(t *testing.T) {
	t.Parallel()
	all, pop := items(5000, 7)
	var truth, bound int64
	for _, x := range all {
		truth, bound = truth+x.InputTokens, bound+x.InputBound
	}
	inside, far := 0, 0
	for seed := range 200 {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		sample := make([]SampleItem, 0, 100)
		for _, i := range r.Perm(len(all))[:100] {
			sample = append(sample, all[i])
		}
		in := mustMake(t, Facts{Items: 5000, Sample: sample, Bytes: pop, Budget: none}).Input
		if in.P10 <= truth && truth <= in.P90 {
			inside++
		}
		if d := float64(in.P50-truth) / float64(truth); d > 0.01 || d < -0.01 {
			far++
		}
		if in.Worst < bound || in.Accuracy != Sampled {
			t.Fatalf("%+v against a bound of %d", in, bound)
		}
	}
	if inside < 140 || inside > 185 {
		t.Errorf("the truth lay between P10 and P90 %d times of 200", inside)
	}
	if far > 0 {
		t.Errorf("%d of 200 samples were more than 1 %% off", far)
	}
}

func TestOutputFromHistory(t *testing.T) {
	t.Parallel()
	var used []money.Usage
	for i := range 200 {
		used = append(used, money.Usage{Input: 100, Output: int64(40 + i%21), Cached: 50})
	}
	a := Summarise(used)
	if a.Mean != 49 || a.P10 != 41 || a.P50 != 49 || a.P90 != 58 || a.CachedPPM != 500_000 {
		t.Fatalf("%+v", a)
	}
	s, pop := items(1000, 3)
	f := Facts{Items: 1000, Sample: s, Bytes: pop, MaxOutputTokens: 400, Answers: a, Price: mini, Budget: none}
	p := mustMake(t, f)
	if p.Output.P50 != 49_000 || p.Output.Worst != 400_000 || p.Output.Accuracy != History || p.Output.P90 > 54_000 {
		t.Errorf("%+v", p.Output)
	}
	half := p.Input.P50/2*75_000 + (p.Input.P50-p.Input.P50/2)*150_000 + 49_000*600_000
	if p.Cost.P50 != half || p.Cost.Worst != p.Input.Worst*150_000+400_000*600_000 {
		t.Errorf("cost %+v, want p50 %d", p.Cost, half)
	}
	for i := range f.Sample[:10] {
		f.Sample[i].OutputTokens = 30
	}
	f.Answers = Answers{}
	if o := mustMake(t, f).Output; o.P50 != 30_000 || o.Accuracy != Sampled {
		t.Errorf("trial calls: %+v", o)
	}
}

func TestTierIsPriced(t *testing.T) {
	t.Parallel()
	card := &money.PriceCard{In: 100, Out: 1000, TierAt: 1000, TierIn: 200, TierOut: 1500}
	f := Facts{Items: 2, Sample: []SampleItem{{10, 500, true, 600, 0}, {10, 1500, true, 1600, 0}}, MaxOutputTokens: 0, Price: card, Budget: none}
	if c := mustMake(t, f).Cost; c.P50 != 500*100+1500*200 || c.Worst != 2200*200 {
		t.Errorf("%+v", c)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	s, pop := items(600, 3)
	f := Facts{Items: 600, Sample: s, Bytes: pop, MaxOutputTokens: 10, Budget: none, Latency: Latency{100, 2 * time.Second, 6 * time.Second},
		Pacing: spec.Pacing{MaxConcurrency: 10}}
	if d := mustMake(t, f).Time; d.P50 != 120 || d.P90 != 240 || d.BoundBy != "concurrency" {
		t.Errorf("%+v", d)
	}
	f.Pacing.RPM = 60
	if d := mustMake(t, f).Time; d.P50 != 600 || d.BoundBy != "rpm" {
		t.Errorf("%+v", d)
	}
	f.Pacing.TPM = 1000
	if d := mustMake(t, f).Time; d.BoundBy != "tpm" {
		t.Errorf("%+v", d)
	}
}

func history(mean int64) Answers {
	return Answers{Calls: 100, Mean: mean, P10: mean / 2, P50: mean, P90: mean * 2}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	s := []SampleItem{{100, 10, true, 100, 0}, {100, 10, true, 100, 0}}
	f := Facts{Items: 50_000, Sample: s, MaxOutputTokens: 100, Answers: history(2), Budget: none, TokensRef: "job.yaml:9", Price: mini,
		Provider: "openai", Model: "gpt-4o-mini"}
	refused := func(f Facts, partial bool, kind batch.Kind, msg, hint string) {
		t.Helper()
		err := Decide(mustMake(t, f), partial)
		if kind == "" {
			if err != nil {
				t.Errorf("refused: %v", err)
			}
			return
		}
		if err == nil || batch.KindOf(err) != kind || err.Error() != msg || !strings.Contains(batch.HintOf(err), hint) {
			t.Errorf("got  %v\n     %v\nwant %s\n     %s", err, batch.HintOf(err), msg, hint)
		}
	}
	refused(f, false, "", "", "")
	f.Budget.Tokens = 600_000
	refused(f, false, "", "", "")
	f.Budget.Tokens = 392_300
	refused(f, false, batch.BudgetExceeded, "job.yaml:9: token_budget 392,300 is below the p50 estimate 600,000",
		"raise it, or run what fits with --allow-partial (about the first 32,600 items)")
	refused(f, true, "", "", "")
	f.Budget.Tokens = 5
	refused(f, true, batch.BudgetExceeded, "job.yaml:9: token_budget 5 is below the p50 estimate 600,000", "not one item fits")

	// A resumed run counts what it has used already.
	f.Budget.Tokens, f.Committed.Tokens, f.Done = 700_000, 400_000, 20_000
	refused(f, false, batch.BudgetExceeded, "job.yaml:9: token_budget 700,000, of which 300,000 is left, is below the p50 estimate 360,000",
		"about the first 25,000 items")
	f.Committed.Tokens, f.Done = 0, 0

	// Nothing is known of the answers: the p50 of 3,000,000 refuses nothing, a
	// budget below input and short answers does.
	f.Answers = Answers{}
	f.Budget.Tokens = 1_000_000
	refused(f, false, "", "", "")
	f.Budget.Tokens = 999_999
	refused(f, false, batch.BudgetExceeded, "job.yaml:9: token_budget 999,999 is below the least this run can need 1,000,000: the input at p50 and "+
		"a tenth of max_output_tokens for each answer, since no earlier run says how long they are", "--allow-partial")

	f.Budget, f.USDRef = none, "job.yaml:12"
	f.Budget.Pico = int64(money.USD) / 100
	refused(f, false, batch.BudgetExceeded, "job.yaml:12: budget.usd $0.0100 is below the least this run can need $0.38: the input at p50 and "+
		"a tenth of max_output_tokens for each answer, since no earlier run says how long they are", "about the first 317 items")
	f.Price = nil
	refused(f, false, batch.Invalid, "job.yaml:12: no price is known for openai/gpt-4o-mini, so budget.usd cannot be held", "prices.yaml")
	f.Followers = f.Items
	refused(f, false, "", "", "") // nothing to call needs no price
}

func TestItemBudget(t *testing.T) {
	t.Parallel()
	f := Facts{Items: 4, Sample: []SampleItem{{1, 5, true, 10, 0}, {1, 5, true, 20, 0}}, MaxOutputTokens: 10, Budget: none}
	if o := mustMake(t, f).OverItem; o != nil {
		t.Errorf("no budget: %+v", o)
	}
	f.Budget.ItemTokens = 29
	if o := mustMake(t, f).OverItem; o == nil || *o != (Count{2, Sampled}) {
		t.Errorf("%+v", o)
	}
	f.Items, f.Budget.ItemTokens = 2, 30
	if o := mustMake(t, f).OverItem; o == nil || *o != (Count{0, Exact}) {
		t.Errorf("%+v", o)
	}
}

func TestMakeRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	if _, err := Make(Facts{Items: 3, Done: 4, Budget: none}); batch.KindOf(err) != batch.Internal {
		t.Error(err)
	}
	huge := Facts{Items: 1 << 40, Sample: []SampleItem{{1, 1 << 30, true, 1 << 30, 0}}, Price: mini, Budget: none}
	if _, err := Make(huge); batch.KindOf(err) != batch.Invalid {
		t.Error(err)
	}
	huge.Price = nil
	mustMake(t, huge)
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	s, pop := items(200, 5)
	pop.Items, pop.Sum = 48_120, pop.Sum/200*48_120
	f := Facts{Provider: "openai", Model: "gpt-4o-mini", Items: 50_000, Followers: 1200, CacheHits: 680, Sample: s, Bytes: pop, MaxOutputTokens: 300,
		Price: mini, PriceVersion: "2026-11-23.ab12cd34", Budget: spec.Budget{Tokens: 20_000_000, Pico: 15 * int64(money.USD), ItemTokens: -1, Retries: -1},
		Pacing: spec.Pacing{RPM: 500, MaxConcurrency: 32}}
	var b strings.Builder
	if err := mustMake(t, f).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/plan.txt"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func drawFacts(t *rapid.T) Facts {
	n := func(name string, lo, hi int64) int64 { return rapid.Int64Range(lo, hi).Draw(t, name) }
	f := Facts{Provider: "p", Model: "m", Followers: n("followers", 0, 50), CacheHits: n("hits", 0, 50), Bad: n("bad", 0, 5), Done: n("done", 0, 1000)}
	call := n("call", 0, 100_000)
	f.Items = f.Followers + f.CacheHits + f.Bad + f.Done + call
	for range n("sample", 0, min(call, 30)) {
		bytes := n("bytes", 0, 10_000)
		tok := n("tokens", 0, bytes+200)
		f.Sample = append(f.Sample, SampleItem{bytes, tok, rapid.Bool().Draw(t, "exact"), tok + n("slack", 0, 5000), n("trial", 0, 500)})
	}
	if rapid.Bool().Draw(t, "population") {
		f.Bytes = Population{Items: call, Sum: n("sum", 0, 1<<40), Max: n("max", 0, 1<<30)}
	}
	f.MaxOutputTokens = n("maxout", 0, 100_000)
	if rapid.Bool().Draw(t, "history") {
		f.Answers = Answers{Calls: n("calls", 1, 1000), Mean: n("mean", 0, 5000), P10: n("p10", 0, 1000), P50: 1000, P90: n("p90", 1000, 9000), CachedPPM: n("cached", 0, 1_000_000)}
	}
	if rapid.Bool().Draw(t, "priced") {
		in := n("in", 0, 1_000_000)
		f.Price = &money.PriceCard{In: money.PicoUSD(in), Out: money.PicoUSD(n("out", 0, 5_000_000)), CacheRead: money.PicoUSD(n("read", 0, in))}
		if rapid.Bool().Draw(t, "tier") {
			f.Price.TierAt, f.Price.TierIn, f.Price.TierOut = n("tierat", 1, 20_000), f.Price.In*2, f.Price.Out*2
		}
	}
	f.Pacing = spec.Pacing{RPM: n("rpm", 0, 1000), TPM: n("tpm", 0, 100_000), MaxConcurrency: int(n("lanes", 0, 64))}
	f.Budget = none
	f.Budget.ItemTokens = n("item", -1, 20_000)
	f.Committed.Tokens = n("committed", 0, 1000)
	return f
}

func inOrder(f Figure) bool {
	return f.P10 >= 0 && f.P10 <= f.P50 && f.P50 <= f.P90 && f.P90 <= f.Worst && f.Accuracy != "" && f.WorstAccuracy != ""
}

func TestProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := drawFacts(t)
		f.Budget.Tokens = rapid.Int64Range(0, 1<<34).Draw(t, "budget")
		if f.Price != nil {
			f.Budget.Pico = rapid.Int64Range(0, 1<<50).Draw(t, "usd")
		}
		p, err := Make(f)
		if err != nil {
			if batch.KindOf(err) != batch.Invalid {
				t.Fatal(err)
			}
			return
		}
		for _, x := range []Figure{p.Input, p.Output, p.Total} {
			if !inOrder(x) {
				t.Fatalf("%+v", x)
			}
		}
		if p.Cost != nil && !inOrder(*p.Cost) {
			t.Fatalf("cost %+v", p.Cost)
		}
		if p.Time.P50 > p.Time.P90 || p.Time.P50 < 0 {
			t.Fatalf("time %+v", p.Time)
		}
		// More budget never fits less.
		g := f
		g.Budget.Tokens += rapid.Int64Range(0, 1<<34).Draw(t, "more")
		q, err := Make(g)
		if err != nil {
			t.Fatal(err)
		}
		a, b := p.Fits[0], q.Fits[0]
		if b.Items < a.Items || a.FitsP50 && !b.FitsP50 || a.FitsWorst && !b.FitsWorst {
			t.Fatalf("%+v then %+v", a, b)
		}
		for _, partial := range []bool{false, true} {
			if Decide(p, partial) == nil && Decide(q, partial) != nil && len(q.Fits) == 1 {
				t.Fatalf("more budget is refused: %v", Decide(q, partial))
			}
		}
		if Decide(p, false) == nil && Decide(p, true) != nil {
			t.Fatal("allowing a part refuses more")
		}
		checkText(t, p)
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Plan
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(p, back) {
			t.Fatalf("JSON does not come back: %s", raw)
		}
	})
}

func checkText(t *rapid.T, p Plan) {
	var b strings.Builder
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for l := range strings.SplitSeq(b.String(), "\n") {
		if utf8.RuneCountInString(l) > 80 {
			t.Fatalf("wider than 80 columns: %q", l)
		}
	}
}

func BenchmarkMake(b *testing.B) {
	s, pop := items(1000, 1)
	pop.Items = 1_000_000
	f := Facts{Items: 1_000_000, Sample: s, Bytes: pop, MaxOutputTokens: 300, Price: mini, Budget: none}
	for b.Loop() {
		if _, err := Make(f); err != nil {
			b.Fatal(err)
		}
	}
}
