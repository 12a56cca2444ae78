package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/plan"
)

func invoke(errs io.Writer, g Globals, change func(*System)) *invocation {
	sys := System{Stdout: io.Discard, Stderr: errs, Stdin: strings.NewReader(""), Width: func() int { return 80 }, Now: time.Now,
		Getenv:  func(name string) string { return map[string]string{"LANG": "C.UTF-8"}[name] },
		Signals: func(...os.Signal) (<-chan os.Signal, func()) { return nil, func() {} }}
	if change != nil {
		change(&sys)
	}
	return &invocation{ctx: context.Background(), sys: sys, g: &g, p: newPrinter(sys, g)}
}

func status(state batch.RunState, done, total int64) app.Status {
	usd := int64(money.USD / 2)
	return app.Status{RunID: "r_0123456789abc", Job: "nightly-summaries", State: state, Live: true,
		Items:  app.ItemCounts{Total: total, OK: done - done/10, Failed: done / 10, Pending: total - done},
		Tokens: app.TokenCounts{Total: done * 100}, Attempts: done + 3, Retries: 3,
		Cost:   app.CostCounts{Pico: money.PicoUSD(done) * 1_000_000_000, USD: (money.PicoUSD(done) * 1_000_000_000).String(), Known: true},
		Budget: app.BudgetCounts{PicoUSD: &usd},
		Pacing: &app.Pacing{Limit: 8, Max: 16, InFlight: 7, Why: "rate_limited"}}
}

// A run of ten minutes without a terminal: a line at once, one every 30 s, one
// at each change of state, no carriage returns.
func TestPlainProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		inv := invoke(&out, Globals{Progress: "auto", ProgressInterval: 30 * time.Second}, nil)
		began := time.Now()
		f := &follower{inv: inv, show: inv.newProgress(), still: stands, status: func(context.Context) (app.Status, error) {
			switch gone := time.Since(began); {
			case gone < 600*time.Second:
				return status(batch.RunRunning, int64(gone/time.Second), 600), nil
			case gone < 601*time.Second:
				return status(batch.RunDelivering, 600, 600), nil
			}
			s := status(batch.RunSucceeded, 600, 600)
			s.Pacing = nil
			return s, nil
		}}
		s, err := f.follow(t.Context(), nil, "")
		if err != nil || s.State != batch.RunSucceeded {
			t.Fatalf("%v %v", s.State, err)
		}
		text := out.String()
		if strings.ContainsAny(text, "\r\x1b") {
			t.Error("something is redrawn")
		}
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		count := map[string]int{}
		for _, l := range lines {
			_, after, _ := strings.Cut(l, "event=")
			word, _, _ := strings.Cut(after, " ")
			count[word]++
		}
		if count["run_started"] != 1 || count["state"] != 2 || count["progress"] < 18 || count["progress"] > 20 {
			t.Errorf("lines: %v", count)
		}
		if !strings.Contains(lines[0], "event=run_started run=r_0123456789abc job=nightly-summaries state=running done=0 total=600") {
			t.Errorf("first line: %s", lines[0])
		}
		want := "event=progress run=r_0123456789abc job=nightly-summaries state=running done=299 total=600 ok=270 failed=29 calls=302 retries=3 " +
			"tokens=29900 usd=0.299 projected_usd=0.60 items_per_s=1.0 tokens_per_min=6"
		found := false
		for _, l := range lines {
			found = found || strings.Contains(l, "done=299 ") || strings.Contains(l, "done=300 ")
			if strings.Contains(l, want) && !strings.Contains(l, "in_flight=7 limit=8 limited_by=rate_limited") {
				t.Errorf("line: %s", l)
			}
		}
		if !found {
			t.Errorf("no line half way:\n%s", text)
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, "state=succeeded") || strings.Contains(last, "eta") {
			t.Errorf("last line: %s", last)
		}
	})
}

// Every line of --progress json has its place; money is an integer.
func TestJSONProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		inv := invoke(&out, Globals{Progress: "json", ProgressInterval: 30 * time.Second}, nil)
		began := time.Now()
		f := &follower{inv: inv, show: inv.newProgress(), still: stands, status: func(context.Context) (app.Status, error) {
			if gone := time.Since(began); gone < 5*time.Second {
				return status(batch.RunRunning, int64(gone/time.Second), 5), nil
			}
			return status(batch.RunPaused, 5, 5), nil
		}}
		if _, err := f.follow(t.Context(), &plan.Plan{Model: "m"}, "note"); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		d := json.NewDecoder(&out)
		for seq := int64(0); d.More(); seq++ {
			var e struct {
				Type   string
				Schema string
				TS     time.Time
				RunID  string `json:"run_id"`
				Seq    int64
				Pico   *int64 `json:"pico_usd"`
			}
			if err := d.Decode(&e); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, e.Type)
			if e.Seq != seq || e.TS.IsZero() || (e.RunID == "") != (e.Type == "version") {
				t.Errorf("%+v", e)
			}
			if e.Type == "progress" && e.Pico == nil {
				t.Error("progress without money")
			}
		}
		got := strings.Join(kinds, " ")
		if !strings.HasPrefix(got, "version run_started plan progress ") || !strings.HasSuffix(got, " progress state") {
			t.Errorf("events: %s", got)
		}
	})
}

// Two or three lines that fit the terminal, and that give way to other text.
func TestTTYProgress(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	inv := invoke(&out, Globals{Progress: "auto"}, func(s *System) { s.StderrTTY = true })
	show := inv.newProgress()
	var m meter
	at := time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC)
	show.begin(m.frame(at, status(batch.RunRunning, 0, 50_000)), nil, "")
	f := m.frame(at.Add(10*time.Second), status(batch.RunRunning, 22_480, 50_000))
	show.look(f)
	text := out.String()
	_, last, _ := strings.Cut(text, "\x1b[3A")
	for _, want := range []string{"nightly-summaries r_0123456789abc ▕█", "22,480/50,000 45%", "ok 20,232 · failed 2,248 (10%) · retries 3 · $22.48 → ~$50.00 of $0.5000",
		"2248.0 it/s", "7/8 calls (rate_limited)", "ETA 12s → 02:00 UTC"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q in\n%s", want, last)
		}
	}
	for l := range strings.SplitSeq(strings.NewReplacer("\x1b[K", "", "\x1b[J", "").Replace(last), "\n") {
		if n := len([]rune(l)); n > 79 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	out.Reset()
	inv.p.warn("stop")
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[3A\x1b[J") || !strings.Contains(got, "warning:") {
		t.Errorf("a warning over the lines: %q", got)
	}
	out.Reset()
	show.look(m.frame(at.Add(20*time.Second), status(batch.RunSucceeded, 50_000, 50_000)))
	show.end(f)
	if got := out.String(); !strings.HasSuffix(got, "A\x1b[J") {
		t.Errorf("the lines stay: %q", got)
	}
	out.Reset()
	inv.p.note("after")
	if got := out.String(); got != "after\n" {
		t.Errorf("after the end: %q", got)
	}
}

func TestSnapshotOnSignal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		inv := invoke(&out, Globals{Progress: "plain", ProgressInterval: time.Hour}, nil)
		usr := make(chan os.Signal, 1)
		looks := 0
		f := &follower{inv: inv, show: inv.newProgress(), still: stands, snapshot: usr, status: func(context.Context) (app.Status, error) {
			if looks++; looks == 20 {
				usr <- syscall.SIGUSR1
			}
			if looks > 40 {
				return status(batch.RunSucceeded, 10, 10), nil
			}
			return status(batch.RunRunning, 5, 10), nil
		}}
		if _, err := f.follow(t.Context(), nil, ""); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "event=snapshot"); n != 1 {
			t.Errorf("%d snapshots:\n%s", n, &out)
		}
	})
}

// One signal drains, a second one abandons; SIGTERM gives up by itself before
// whoever sent it kills.
func TestStopper(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		send []os.Signal
		code Code
		late bool
	}{
		{"ctrl-c", []os.Signal{os.Interrupt}, CodeInterrupted, false}, {"twice", []os.Signal{os.Interrupt, os.Interrupt}, CodeInterrupted, true},
		{"term", []os.Signal{syscall.SIGTERM}, CodeDrained, true}, {"term, then ctrl-c", []os.Signal{syscall.SIGTERM, os.Interrupt}, CodeDrained, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ch := make(chan os.Signal, 2)
				inv := invoke(io.Discard, Globals{}, func(s *System) {
					s.Signals = func(which ...os.Signal) (<-chan os.Signal, func()) {
						if which[0] == syscall.SIGUSR1 {
							return nil, func() {}
						}
						return ch, func() {}
					}
				})
				said := 0
				s := inv.stopOnSignals(func(int, os.Signal) { said++ })
				if s.ctx.Err() != nil || s.abort.Err() != nil {
					t.Fatal("stopped before a signal")
				}
				for _, sig := range x.send {
					ch <- sig
				}
				synctest.Wait()
				if s.ctx.Err() == nil || s.code != x.code || said != len(x.send) {
					t.Errorf("stopped %v with %d, said %d", s.ctx.Err(), s.code, said)
				}
				if len(x.send) == 1 && s.abort.Err() != nil {
					t.Error("gave up at the first signal")
				}
				time.Sleep(drainTime + time.Second) // of a fake clock
				if gave := s.abort.Err() != nil; gave != x.late {
					t.Errorf("gave up: %v, want %v", gave, x.late)
				}
				s.cancel()
			})
		})
	}
}

// What a provider said must not steer the terminal.
func TestErrorsAreClean(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	inv := invoke(&out, Globals{DataDir: "/srv/my data"}, nil)
	code := inv.p.fail(&batch.Error{Kind: batch.Unavailable, Ref: "r_1", Msg: "bad \x1b[2J \u202e answer", Hint: "batchwright resume r_1"})
	if want := "error: r_1: bad \ufffd[2J \ufffd answer\nhint: batchwright --data-dir '/srv/my data' resume r_1\n"; code != 69 || out.String() != want {
		t.Errorf("%d\n%q, want\n%q", code, out.String(), want)
	}
	out.Reset()
	inv = invoke(&out, Globals{JSON: true}, nil)
	inv.p.fail(&batch.Error{Kind: batch.NotFound, Op: "find run", Ref: "r_1", Msg: "gone", Hint: "look"})
	var got struct {
		Error struct {
			Kind, Message, Ref, Hint string
			Code                     int `json:"exit_code"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Error.Kind != "not_found" || got.Error.Code != 10 || got.Error.Hint != "look" {
		t.Errorf("%v: %s", err, &out)
	}
}
