package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// dialects are the APIs that the faults of this file come through: the real
// adapter, the real engine and the witness.
var dialects = []struct{ name, task string }{
	{"chat", "provider: openai, base_url: URL"},
	{"responses", "provider: openai, endpoint: responses, base_url: URL"},
	{"anthropic", "provider: anthropic, base_url: ROOT"},
	{"gemini", "provider: gemini, base_url: ROOT/v1beta"},
}

// hostile is a bench with a key and a spec whose task speaks a dialect.
func hostile(t *testing.T, knobs, task, job string) (*bench, string) {
	t.Helper()
	b := newBench(t, knobs)
	b.write("key.txt", "key-of-the-tests")
	root := strings.TrimSuffix(b.url, "/v1")
	return b, "job: {id: hostile, batch_size: 10, " + job + "}\ninput: {uri: in.jsonl, id: id}\noutput: {uri: out}\nbudget: {usd: 50}\n" +
		"task: {" + strings.Replace(task, "ROOT", root, 1) + `, api_key: "file:key.txt", model: sim-1, prompt: "Summarise: {{ text }}", max_output_tokens: 64,` +
		" price: {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}}\n"
}

// ledger are the attempts of a delivered run.
func (b *bench) ledger() []batch.Attempt {
	b.t.Helper()
	var out []batch.Attempt
	for l := range strings.Lines(b.read("out/ledger.jsonl")) {
		var a struct {
			Class     batch.Class `json:"class"`
			Estimated bool        `json:"estimated"`
			LatencyUS int64       `json:"latency_us"`
			Tokens    int64       `json:"charged_tokens"`
		}
		unmarshal(b.t, []byte(l), &a)
		out = append(out, batch.Attempt{Class: a.Class, Estimated: a.Estimated, LatencyUS: a.LatencyUS})
	}
	return out
}

// TestAReplyThatIsLostIsPaidForAndAskedForAgain: whatever breaks an answer that
// was billed, in every dialect: its worst case is charged, nothing of it is
// kept, and the outputs are those of a provider that is well.
func TestAReplyThatIsLostIsPaidForAndAskedForAgain(t *testing.T) {
	t.Parallel()
	const n = 24
	for _, d := range dialects {
		calm, text := hostile(t, "seed=3", d.task, "max_attempts: 9")
		calm.write("in.jsonl", items(n))
		calm.runTo(batch.RunSucceeded, text)
		want := calm.read("out/results.jsonl")
		calm.close()
		for _, fault := range []string{"drop", "cut", "rst", "truncate", "longlength", "shortlength", "empty", "headerflood", "deflatebomb", "html"} {
			t.Run(d.name+" "+fault, func(t *testing.T) {
				t.Parallel()
				b, text := hostile(t, "seed=3,seen:1="+fault, d.task, "max_attempts: 9")
				b.write("in.jsonl", items(n))
				s := b.runTo(batch.RunSucceeded, text)
				b.paid(s)
				if got := b.read("out/results.jsonl"); got != want {
					t.Errorf("the results differ:\n%.300s\nwant\n%.300s", got, want)
				}
				unknown := 0
				for _, a := range b.ledger() {
					if a.Class == batch.ClassUnknown && a.Estimated {
						unknown++
					} else if a.Class != batch.ClassOK {
						t.Errorf("an attempt ended as %s", a.Class)
					}
				}
				// What is left of an answer that says it is shorter than it is may
				// spoil the next call on its connection before the provider sees it.
				spoilt := s.Attempts - 2*n
				if spoilt < 0 || (spoilt > 0 && fault != "shortlength") {
					t.Errorf("%d attempts", s.Attempts)
				}
				if tot := b.sim.Totals(); int64(unknown) != n+spoilt || tot.TotalCalls < 2*n || tot.TotalCalls > s.Attempts || tot.ByFault[fault] < n || tot.ByFault[fault] > n+spoilt {
					t.Errorf("%d attempts of unknown fate of %d, the bill has %v", unknown, s.Attempts, tot.ByFault)
				}
			})
		}
	}
}

// TestABodyWithoutEndIsCutAtItsBounds: 2 GB, a bomb of 2 GB, a byte a second and
// silence. Each place on the lane is free again at the deadline, and memory is
// what a few whole answers take.
func TestABodyWithoutEndIsCutAtItsBounds(t *testing.T) {
	const n, timeout = 16, 700 * time.Millisecond
	for _, fault := range []string{"huge", "gzipbomb", "drip", "stuck"} {
		b, text := hostile(t, "seed=3,hang=1m,seen:1="+fault, dialects[0].task, "max_attempts: 9, timeout_ms: 700")
		b.write("in.jsonl", items(n))
		b.app()
		runtime.GC()
		peak, stop := watchHeap()
		s := b.runTo(batch.RunSucceeded, text)
		grew := stop() - peak
		b.paid(s)
		slowest := time.Duration(0)
		for _, a := range b.ledger() {
			slowest = max(slowest, time.Duration(a.LatencyUS)*time.Microsecond)
		}
		if slowest > timeout+time.Second {
			t.Errorf("%s: a call took %v of %v", fault, slowest, timeout)
		}
		if tot := b.sim.Totals(); tot.ByFault[fault] != n || tot.LostReplies != n || s.Unknown != n {
			t.Errorf("%s: %v, %d unknown", fault, tot.ByFault, s.Unknown)
		}
		t.Logf("%s: %d at once, the heap grew by %d MiB, the slowest call took %v", fault, tot(b), grew>>20, slowest.Round(time.Millisecond))
		if grew > 256<<20 {
			t.Errorf("%s: the heap grew by %d MiB", fault, grew>>20)
		}
		b.close()
	}
}

func tot(b *bench) int64 { return b.sim.Totals().PeakConcurrency }

// watchHeap looks at the heap until it is stopped, and gives where it began and
// how high it was.
func watchHeap() (begin int64, stop func() (peak int64)) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}
	begin = heap()
	var peak atomic.Int64
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			peak.Store(max(peak.Load(), heap()))
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	}()
	return begin, func() int64 {
		close(over)
		<-ended
		return peak.Load()
	}
}

// TestARedirectIsNotFollowed: another host sees no request and no key.
func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var canary atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { canary.Add(1) }))
	t.Cleanup(thief.Close)
	for _, d := range dialects {
		b, text := hostile(t, "redirect:1,location="+thief.URL+"/v1/chat/completions", d.task, "max_attempts: 3")
		b.write("in.jsonl", items(6))
		s := b.runTo(batch.RunFailed, text)
		if tot := b.sim.Totals(); tot.TotalCalls != 6 || tot.BilledCalls != 0 || s.Items.Failed != 6 || s.Budget.Spent.Tokens != 0 {
			t.Errorf("%s: %d calls, %+v", d.name, tot.TotalCalls, s.Items)
		}
		if !strings.Contains(b.read("out/failed.jsonl"), "redirects, which is refused") {
			t.Errorf("%s: %s", d.name, b.read("out/failed.jsonl"))
		}
	}
	if canary.Load() != 0 {
		t.Errorf("the other host saw %d requests", canary.Load())
	}
}

// TestErrorsInsideOf200AreErrors: they cost nothing, the item is asked for again,
// and the ledger is the bill to the token.
func TestErrorsInsideOf200AreErrors(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for _, fault := range []string{"200error", "choiceerror"} {
			t.Run(d.name+" "+fault, func(t *testing.T) {
				t.Parallel()
				b, text := hostile(t, "seen:1="+fault, d.task, "max_attempts: 3")
				b.write("in.jsonl", items(20))
				s := b.runTo(batch.RunSucceeded, text)
				b.exact(d.name+" "+fault, s, 20)
				if s.Attempts != 40 || s.Unknown != 0 {
					t.Errorf("%s %s: %d attempts, %d unknown", d.name, fault, s.Attempts, s.Unknown)
				}
			})
		}
	}
}

// exact holds the ledger to the bill in both directions.
func (b *bench) exact(what string, s app.Status, calls int64) {
	b.t.Helper()
	t := b.sim.Totals()
	if billed := t.BilledInputTokens + t.BilledOutputTokens; t.BilledCalls != calls || billed != s.Budget.Spent.Tokens || s.Budget.AtRisk.Tokens != 0 {
		b.t.Errorf("%s: %d calls and %d tokens billed, %d spent, %d at risk", what, t.BilledCalls, billed, s.Budget.Spent.Tokens, s.Budget.AtRisk.Tokens)
	}
}

// TestUsageThatCannotBeTrueIsChargedAtItsWorst, and what is true and above the
// reservation stops the run.
func TestUsageThatCannotBeTrueIsChargedAtItsWorst(t *testing.T) {
	t.Parallel()
	for i, d := range dialects {
		for _, fault := range []string{[]string{"nousage", "negusage", "overusage", "highusage"}[i], []string{"negusage", "overusage", "unbilled", "nousage"}[i], "hugeusage"} {
			want := map[bool]batch.RunState{true: batch.RunFailed, false: batch.RunSucceeded}[fault == "hugeusage"]
			t.Run(d.name+" "+fault, func(t *testing.T) {
				t.Parallel()
				b, text := hostile(t, "latency=2ms,nth:7="+fault, d.task, "max_attempts: 3")
				b.write("in.jsonl", items(60))
				st := b.start(text, app.StartRequest{})
				s := b.still(st.Run)
				b.in(s, want)
				tot := b.sim.Totals()
				if billed := tot.BilledInputTokens + tot.BilledOutputTokens; billed > s.Budget.Spent.Tokens+s.Budget.AtRisk.Tokens || tot.ByFault[fault] != 1 {
					t.Errorf("%s %s: %d tokens billed, %+v", d.name, fault, billed, s.Budget)
				}
				guessed := 0
				for _, a := range b.ledger() {
					if a.Estimated {
						guessed++
					}
				}
				switch fault {
				case "nousage", "negusage", "overusage":
					if guessed != 1 || s.Budget.Spent.Tokens <= tot.BilledInputTokens+tot.BilledOutputTokens {
						t.Errorf("%s %s: %d attempts are charged at their worst", d.name, fault, guessed)
					}
					b.verify(st.Run)
				case "hugeusage":
					if !strings.Contains(s.Reason, "reserve_breach") || tot.TotalCalls > 7+16+16 {
						t.Errorf("%s: %q after %d calls", d.name, s.Reason, tot.TotalCalls)
					}
					if v := b.against(st.Run, b.bill().String()); strings.Contains(fmt.Sprint(v.Findings), "I3") {
						t.Errorf("%s: %+v", d.name, v.Findings)
					}
				default:
					if guessed != 0 {
						t.Errorf("%s %s: %d attempts are charged at their worst", d.name, fault, guessed)
					}
					b.verify(st.Run)
				}
			})
		}
	}
}

// TestALaneThatBreaksPausesAndGoesOn: the key is revoked, the money is gone. No
// item's attempts are burnt, and with the cause mended the run ends well.
func TestALaneThatBreaksPausesAndGoesOn(t *testing.T) {
	t.Parallel()
	for i, fault := range []string{"auth", "quota", "402", "spendlimit", "auth"} {
		d := dialects[i%len(dialects)]
		for _, reason := range []string{map[string]string{"auth": "auth"}[fault]} {
			if reason == "" {
				reason = "quota_money"
			}
			b, text := hostile(t, "nth:20-="+fault, d.task, "max_attempts: 1")
			b.write("in.jsonl", items(50))
			st := b.start(text, app.StartRequest{})
			s := b.still(st.Run)
			b.in(s, batch.RunPaused)
			s = b.until(st.Run, "is settled", settled)
			if !strings.HasPrefix(s.Reason, reason) || s.Items.Failed != 0 || s.Items.OK != 19 {
				t.Errorf("%s %s: %q, %+v", d.name, fault, s.Reason, s.Items)
			}
			b.knobs("")
			if _, err := b.app().Resume(t.Context(), string(st.Run), app.Raise{}); err != nil {
				t.Fatal(err)
			}
			s = b.until(st.Run, "ends", func(s app.Status) bool { return s.State.Ended() && s.Target == "" })
			b.in(s, batch.RunSucceeded)
			b.verify(st.Run)
			b.exact(d.name+" "+fault, s, 50)
		}
	}
}

// gatekeeper stands before the simulator and remembers when it told whom to
// wait, by the request's bytes.
type gatekeeper struct {
	next  http.Handler
	mu    sync.Mutex
	until map[string]time.Time
	early atomic.Int64
	told  atomic.Int64
}

func (g *gatekeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var text strings.Builder
	body := http.MaxBytesReader(w, r.Body, 1<<20)
	var raw json.RawMessage
	if err := json.NewDecoder(body).Decode(&raw); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	text.Write(raw)
	g.mu.Lock()
	if time.Now().Before(g.until[text.String()]) {
		g.early.Add(1)
	}
	g.mu.Unlock()
	r2 := r.Clone(r.Context())
	r2.Body = http.NoBody
	r2.ContentLength = int64(len(raw))
	r2.Body = readCloser{strings.NewReader(text.String())}
	g.next.ServeHTTP(&told429{w, func(wait time.Duration) {
		g.told.Add(1)
		g.mu.Lock()
		g.until[text.String()] = time.Now().Add(wait)
		g.mu.Unlock()
	}}, r2)
}

type readCloser struct{ *strings.Reader }

// Close does nothing.
func (readCloser) Close() error { return nil }

type told429 struct {
	http.ResponseWriter
	tell func(time.Duration)
}

// WriteHeader notes what a refusal says of the wait, before it goes out.
func (w *told429) WriteHeader(status int) {
	if d, err := time.ParseDuration(w.Header().Get("Retry-After-Ms") + "ms"); status == http.StatusTooManyRequests && err == nil {
		w.tell(d)
	}
	w.ResponseWriter.WriteHeader(status)
}

// TestAStormOf429 over 3,000 items, refused by chance and refused by rate: none
// is lost, none asks sooner than it was told, and none is paid twice. Of calls
// that are refused by chance alone, three in ten, no client can make fewer than
// 1/(1-0.3) = 1.43 for each answer; where a rate refuses, pacing finds it.
func TestAStormOf429(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		knobs string
		n     int
		most  float64
	}{
		"by chance": {"seed=9,429:0.3,retry_after=15ms,latency=2ms", 3000, 1.50},
		"by rate":   {"seed=9,latency=2ms,rpm=30000,burst=0.5", 3000, 1.35}, // a machine that is busy may not come to the rate
	} {
		n := c.n
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, text := hostile(t, c.knobs, dialects[0].task, "max_attempts: 1")
			g := &gatekeeper{next: b.sim, until: map[string]time.Time{}}
			srv := httptest.NewServer(g)
			t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
			b.url = srv.URL + "/v1"
			b.write("in.jsonl", items(n))
			s := b.runTo(batch.RunSucceeded, strings.Replace(text, "batch_size: 10", "batch_size: 100", 1))
			b.exact(name, s, int64(n))
			tot := b.sim.Totals()
			ratio := float64(tot.TotalCalls) / float64(n)
			t.Logf("%s: %d calls for %d items, %.2f each; %d were told to wait, %d came sooner", name, tot.TotalCalls, n, ratio, g.told.Load(), g.early.Load())
			if s.Items.OK != int64(n) || ratio > c.most || g.early.Load() != 0 || (g.told.Load() == 0 && name == "by chance") {
				t.Errorf("%+v, %.3f calls each, %d came sooner than told", s.Items, ratio, g.early.Load())
			}
		})
	}
}

// TestHostileTextIsDataAndNothingElse: it is stored and delivered as it was, in
// the form that JSON can hold, and never as a path, a page or a command.
func TestHostileTextIsDataAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"badutf8", "nul", "bidi", "ansi", "script", "formula", "bigtoken"} {
		b, text := hostile(t, "nth:1-="+fault, dialects[0].task, "max_attempts: 1")
		b.write("in.jsonl", items(3))
		b.runTo(batch.RunSucceeded, strings.Replace(text, "output: {uri: out}", "output: {uri: out, format: [jsonl, csv, parquet]}", 1))
		for _, r := range b.lines(b.read("out/results.jsonl")) {
			if got := r.text("output"); got == "" || fault == "bigtoken" && len(got) != 1<<20 {
				t.Errorf("%s: %q", fault, got)
			}
		}
		page := b.read(filepath.Join("out", "report.html"))
		if strings.Contains(page, "<img src=x onerror") || strings.Contains(page, "\x1b[") {
			t.Errorf("%s: the report holds it raw", fault)
		}
		if csv := b.read("out/results.csv"); strings.Contains(csv, `,=HYPERLINK`) || strings.Contains(csv, `"=HYPERLINK`) {
			t.Errorf("%s: a cell begins a formula: %.200s", fault, csv)
		}
	}
}
