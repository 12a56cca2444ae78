// Command torture kills batchwright and judges what is left: a run of many rows
// against a simulated provider in its own process is stopped with SIGKILL at
// random moments and started again, and after every kill the run's own records
// are verified. At the end the outputs must be byte-identical to those of an
// undisturbed run, and the provider's own bill, which no code of the run
// writes, must show no call paid twice but those that were on the wire.
//
//	go run ./torture -bin ./bin/batchwright -kills 10
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
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
}

func main() {
	var c config
	flag.StringVar(&c.bin, "bin", "./bin/batchwright", "the binary to kill")
	flag.IntVar(&c.rows, "rows", 20000, "rows of the run")
	flag.IntVar(&c.kills, "kills", 10, "kills")
	flag.IntVar(&c.concurrency, "c", 64, "open calls")
	flag.DurationVar(&c.latency, "latency", 20*time.Millisecond, "of a call")
	flag.StringVar(&c.faults, "faults", "500:0.01,429:0.005", "of the provider, as batchwright simulate takes them; none may change an answer that is ok")
	flag.Int64Var(&c.budget, "budget", 40_000_000, "token budget of the run")
	flag.DurationVar(&c.lo, "after", 200*time.Millisecond, "kill no sooner than this after the start")
	flag.DurationVar(&c.hi, "before", 1500*time.Millisecond, "and no later")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the moments; printed, so that a failure can be tried again")
	flag.BoolVar(&c.keep, "keep", false, "keep the folder")
	flag.Parse()
	if err := torture(c); err != nil {
		fmt.Fprintln(os.Stderr, "torture: FAILED:", err, "\nseed:", c.seed)
		os.Exit(1)
	}
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
		fmt.Println("folder:", w.dir)
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
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 10 {
			return nil
		}
		return fmt.Errorf("verify: %w\n%s", err, out)
	}
	return nil
}

// judge holds the run's ledger against the provider's bill (I4): what was
// billed is never above what the ledger charged, nor above the budget.
func (w *world) judge() error {
	b, err := w.bill()
	if err != nil {
		return err
	}
	out, err := w.command("storm", "status", "--json").Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 10 {
		if b.Billed > 0 {
			return fmt.Errorf("%d calls were billed and there is no run", b.Billed)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	var raw struct {
		Budget map[string]json.RawMessage `json:"budget"`
	}
	if err := json.Unmarshal(out, &raw); err != nil {
		return err
	}
	var sum int64
	for _, k := range []string{"spent", "reserved", "at_risk"} {
		var a struct{ Tokens int64 }
		if err := json.Unmarshal(raw.Budget[k], &a); err != nil {
			return fmt.Errorf("status: budget.%s: %w", k, err)
		}
		sum += a.Tokens
	}
	if billed := b.Input + b.Output; billed > sum || billed > w.c.budget {
		return fmt.Errorf("billed %d tokens; the ledger has %d, the budget %d", billed, sum, w.c.budget)
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
	// A kill can lose what is on the wire, and what came back in the last
	// group that was not yet written.
	most := int64(killed) * 2 * int64(w.c.concurrency)
	if b.Extra > most {
		return fmt.Errorf("%d calls were paid twice; at most %d can have been on the wire at %d kills", b.Extra, most, killed)
	}
	fmt.Printf("%d rows, %d kills (seed %d): outputs identical, every verify passed\n", w.c.rows, killed, w.c.seed)
	fmt.Printf("bill: %d calls billed, %d tokens of a budget of %d; paid twice %d (%.2f a kill, open calls %d)\n",
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
