package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// config is one storm.
type config struct {
	bin         string
	rows, kills int
	concurrency int
	latency     time.Duration
	faults      string
	budget      int64
	lo, hi      time.Duration
	seed        uint64
	keep        bool
	fewest      int // kills below which nothing was tried
	out         io.Writer
}

// bill is what the provider says it was paid for.
type bill struct {
	Total  int64 `json:"total_calls"`
	Billed int64 `json:"billed_calls"`
	Input  int64 `json:"billed_input_tokens"`
	Output int64 `json:"billed_output_tokens"`
	Unique int64 `json:"unique_requests_billed"`
	Extra  int64 `json:"extra_paid_calls"`
	Peak   int64 `json:"peak_concurrency"`
}

type world struct {
	c   config
	dir string
	url string
	rng *rand.Rand

	load load
	ref  calm
	end  func() // stops the provider

	newest, past string // the newest run, and the last one whose bill is closed
	ended        bool   // the newest run is at its end
	unknown      int64  // its calls of unknown fate
}

func torture(c config) (err error) {
	w := &world{c: c, rng: rand.New(rand.NewPCG(c.seed, 1))}
	if w.c.bin, err = filepath.Abs(c.bin); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp("", "batchwright-torture"); err != nil {
		return err
	}
	if c.keep {
		fmt.Fprintln(c.out, "folder:", w.dir)
	} else {
		defer os.RemoveAll(w.dir)
	}
	sim, err := w.simulate()
	if err != nil {
		return err
	}
	defer func() {
		_ = sim.Process.Signal(syscall.SIGINT)
		_ = sim.Wait()
	}()
	if err := w.write(); err != nil {
		return err
	}
	if err := w.run("calm"); err != nil {
		return fmt.Errorf("the undisturbed run: %w", err)
	}
	if err := w.calm(); err != nil {
		return err
	}
	if err := w.post("/__reset"); err != nil {
		return err
	}
	killed := 0
	for killed < c.kills {
		ended, err := w.kill()
		if err != nil {
			return err
		}
		if err := w.verify("storm"); err != nil {
			return fmt.Errorf("after kill %d: %w", killed+1, err)
		}
		if err := w.judge(); err != nil {
			return fmt.Errorf("after kill %d: %w", killed+1, err)
		}
		if ended {
			break
		}
		killed++
	}
	if err := w.run("storm"); err != nil {
		return fmt.Errorf("the last start: %w", err)
	}
	if err := w.verify("storm"); err != nil {
		return err
	}
	if err := w.compare(); err != nil {
		return err
	}
	return w.report(killed)
}

// calm holds the undisturbed run to the bill: every row is paid once.
func (w *world) calm() error {
	b, err := w.bill()
	if err == nil && (b.Unique != int64(w.c.rows) || b.Extra != 0) {
		err = fmt.Errorf("the undisturbed run paid for %d requests, %d of them twice; it has %d rows", b.Unique, b.Extra, w.c.rows)
	}
	return err
}

func (w *world) write() error {
	var b bytes.Buffer
	for i := range w.c.rows {
		fmt.Fprintf(&b, `{"id":"row-%d","text":"ticket %d: order %d has not come; %s"}`+"\n", i, i, i*7919%100003, strings.Repeat("please answer soon ", i%5))
	}
	if err := os.WriteFile(filepath.Join(w.dir, "in.jsonl"), b.Bytes(), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"calm", "storm"} {
		spec := fmt.Sprintf(`job: {id: torture, max_attempts: 20, token_budget: %d}
input: {uri: in.jsonl, id: id}
task:
  provider: openai_compatible
  base_url: %s
  model: sim-1
  prompt: "Summarise: {{ text }}"
  max_output_tokens: 64
  price: {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}
pacing: {concurrency: %d}
output: {uri: out-%s, format: [jsonl, csv, parquet]}
`, w.c.budget, w.url, w.c.concurrency, name)
		if err := os.WriteFile(filepath.Join(w.dir, name+".yaml"), []byte(spec), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) command(name, verb string, args ...string) *exec.Cmd {
	args = append([]string{verb, "--data-dir", filepath.Join(w.dir, "data-"+name)}, args...)
	cmd := exec.Command(w.c.bin, args...)
	cmd.Dir = w.dir
	return cmd
}

func (w *world) run(name string) error {
	out, err := w.command(name, "run", name+".yaml", "--progress", "none", "--allow-partial").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// kill starts the run and stops it with SIGKILL at a random moment; ended says
// that the run was faster.
func (w *world) kill() (ended bool, err error) {
	cmd := w.command("storm", "run", "storm.yaml", "--progress", "none", "--allow-partial")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return false, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	after := w.c.lo + time.Duration(w.rng.Int64N(int64(w.c.hi-w.c.lo)+1))
	select {
	case err := <-done:
		if err != nil {
			return true, fmt.Errorf("it ended by itself: %w\n%s", err, out.Bytes())
		}
		return true, nil
	case <-time.After(after):
	}
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, err
	}
	<-done
	return false, nil
}

func (w *world) verify(name string) error {
	out, err := w.command(name, "verify", "--json").CombinedOutput()
	if err != nil {
		// Killed before the run was stored: there is nothing to verify yet.
		if nothingYet(err, out) {
			return nil
		}
		return fmt.Errorf("verify: %w\n%s", err, out)
	}
	return nil
}

// nothingYet reports whether a command ended because there is no run yet: it
// was killed before, or in the middle of making the store.
func nothingYet(err error, said []byte) bool {
	e, ok := errors.AsType[*exec.ExitError](err)
	return ok && (e.ExitCode() == 10 || e.ExitCode() == 78 && bytes.Contains(said, []byte("the store has schema")))
}

// ledger is what the run's own records say of its money.
type ledger struct {
	tokens  int64 // spent, reserved and at risk
	unknown int64 // calls that were on the wire when their worker was lost
}

// ledger reads it; ok is false while there is no run.
func (w *world) ledger() (l ledger, ok bool, err error) {
	out, err := w.command("storm", "status", "--json").Output()
	if e, is := errors.AsType[*exec.ExitError](err); is && e.ExitCode() == 10 {
		return l, false, nil
	}
	if err != nil {
		return l, false, fmt.Errorf("status: %w", err)
	}
	var raw struct {
		Budget  map[string]json.RawMessage `json:"budget"`
		Unknown int64                      `json:"unknown"`
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return l, false, err
	}
	for _, k := range []string{"spent", "reserved", "at_risk"} {
		var a struct{ Tokens *int64 }
		if err := json.Unmarshal(raw.Budget[k], &a); err != nil || a.Tokens == nil {
			return l, false, fmt.Errorf("status: budget.%s: %w", k, errors.Join(err, errors.New("no tokens")))
		}
		l.tokens += *a.Tokens
	}
	l.unknown = raw.Unknown
	return l, true, nil
}

// judge holds the run's ledger against the provider's bill (I4): what was
// billed is never above what the ledger charged, nor above the budget.
func (w *world) judge() error {
	b, err := w.bill()
	if err != nil {
		return err
	}
	l, ok, err := w.ledger()
	if err != nil {
		return err
	}
	if !ok && b.Billed > 0 {
		return fmt.Errorf("%d calls were billed and there is no run", b.Billed)
	}
	if billed := b.Input + b.Output; billed > l.tokens || billed > w.c.budget {
		return fmt.Errorf("billed %d tokens; the ledger has %d, the budget %d", billed, l.tokens, w.c.budget)
	}
	return nil
}

func (w *world) compare() error {
	for _, f := range []string{"results.jsonl", "failed.jsonl", "results.csv", "results.parquet"} {
		a, err := os.ReadFile(filepath.Join(w.dir, "out-calm", f))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(w.dir, "out-storm", f))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%s differs from the undisturbed run's", f)
		}
	}
	return nil
}

func (w *world) report(killed int) error {
	b, err := w.bill()
	if err != nil {
		return err
	}
	if killed < w.c.fewest {
		return fmt.Errorf("the run was killed %d times before it ended, fewer than %d: nothing was tried", killed, w.c.fewest)
	}
	l, _, err := w.ledger()
	if err != nil {
		return err
	}
	// Paid twice is at most what the ledger owns to have lost (I3), and a kill
	// can lose what is on the wire, and what came back in the last group that
	// was not yet written.
	if b.Extra > l.unknown || b.Unique != int64(w.c.rows) {
		return fmt.Errorf("%d requests were paid, %d of them twice; %d rows, and %d calls that the ledger calls lost", b.Unique, b.Extra, w.c.rows, l.unknown)
	}
	most := int64(killed) * 2 * int64(w.c.concurrency)
	if b.Extra > most {
		return fmt.Errorf("%d calls were paid twice; at most %d can have been on the wire at %d kills", b.Extra, most, killed)
	}
	fmt.Fprintf(w.c.out, "%d rows, %d kills (seed %d): outputs identical, every verify passed\n", w.c.rows, killed, w.c.seed)
	fmt.Fprintf(w.c.out, "bill: %d calls billed, %d tokens of a budget of %d; paid twice %d (%.2f a kill, open calls %d)\n",
		b.Billed, b.Input+b.Output, w.c.budget, b.Extra, float64(b.Extra)/float64(max(killed, 1)), w.c.concurrency)
	return nil
}

func (w *world) simulate() (*exec.Cmd, error) {
	cmd := exec.Command(w.c.bin, "simulate", "--listen", "127.0.0.1:0", "--latency", w.c.latency.String(), "--faults", w.c.faults)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(out, &w.url); err != nil {
		return nil, errors.Join(fmt.Errorf("the simulator said nothing: %w", err), cmd.Process.Kill())
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // its end is the process's end
	return cmd, nil
}

func (w *world) root() string { return strings.TrimSuffix(w.url, "/v1") }

func (w *world) post(path string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.root()+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

func (w *world) bill() (b bill, err error) {
	resp, err := http.Get(w.root() + "/__bill")
	if err != nil {
		return b, err
	}
	err = json.NewDecoder(resp.Body).Decode(&b)
	return b, errors.Join(err, resp.Body.Close())
}
