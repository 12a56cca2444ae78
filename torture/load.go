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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// load is what a run has to do. Its rows hold copies of earlier rows, near and
// far, and rows that the provider refuses and filters; what is random is how
// often a call fails before it succeeds, which no output may show.
type load struct {
	rows, shard, concurrency int
	latency                  time.Duration
	faults                   string // beside the refusals; none may change an outcome
	budget                   int64  // of tokens
}

// refusals are the faults that are part of the load: the same in every run.
const refusals = "poison=POISON,filtered=DOUBTFUL"

// text is the text of row i. Every eighth row is a copy of an earlier one.
func text(i int) string {
	for i%8 == 7 {
		i /= 2
	}
	s := fmt.Sprintf("ticket %d: order %d has not come; %s", i, i*7919%100003, strings.Repeat("please answer soon ", i%5))
	if i%53 == 5 {
		s += "POISON"
	}
	if i%71 == 9 {
		s += "DOUBTFUL"
	}
	return s
}

func (l load) input() []byte {
	var b bytes.Buffer
	for i := range l.rows {
		fmt.Fprintf(&b, "{\"id\":\"row-%d\",\"text\":%q}\n", i, text(i))
	}
	return b.Bytes()
}

func (l load) spec(url, out string, budget int64) []byte {
	return fmt.Appendf(nil, `job: {id: torture, max_attempts: 30, token_budget: %d, batch_size: %d}
input: {uri: in.jsonl, id: id}
task:
  provider: openai_compatible
  base_url: %s
  model: sim-1
  prompt: "Summarise: {{ text }}"
  max_output_tokens: 64
  price: {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}
pacing: {concurrency: %d}
output: {uri: %s, format: [jsonl, csv, parquet]}
`, budget, l.shard, url, l.concurrency, out)
}

// calm is a run that nobody disturbed.
type calm struct {
	load load
	out  string // its outputs
	bill bill
	took time.Duration
}

// undisturbed makes one below dir.
func undisturbed(bin, dir string, l load) (calm, error) {
	quiet := l
	quiet.faults, quiet.budget = "", 1_000_000_000
	w, err := newWorld(bin, dir, quiet, calm{}, 1)
	if err != nil {
		return calm{}, err
	}
	defer w.end()
	begun := time.Now()
	p, err := w.start("", "run", "storm.yaml")
	if err == nil {
		err = p.wait(limit)
	}
	if err == nil && !finished(p.code()) {
		err = p.failed("the undisturbed run")
	}
	if err == nil {
		err = w.verify("storm")
	}
	if err != nil {
		return calm{}, err
	}
	c := calm{load: l, out: filepath.Join(w.dir, "out-storm"), took: time.Since(begun)}
	c.bill, err = w.bill()
	if err == nil && (c.bill.Extra != 0 || c.bill.Unique != c.bill.Billed) {
		err = fmt.Errorf("the undisturbed run was billed %d calls for %d requests", c.bill.Billed, c.bill.Unique)
	}
	return c, err
}

// limit is how long any command may take.
const limit = 30 * time.Second

// newWorld is a data directory, a job and a provider of their own below dir.
func newWorld(bin, dir string, l load, ref calm, seed uint64) (*world, error) {
	w := &world{c: config{bin: bin, rows: l.rows, concurrency: l.concurrency, latency: l.latency, budget: l.budget, seed: seed,
		faults: strings.Trim(refusals+","+l.faults, ","), out: io.Discard}, load: l, ref: ref, rng: rand.New(rand.NewPCG(seed, 2))}
	var err error
	if w.dir, err = os.MkdirTemp(dir, "world"); err != nil {
		return nil, err
	}
	sim, err := w.simulate()
	if err != nil {
		return nil, err
	}
	w.end = func() {
		_ = sim.Process.Signal(syscall.SIGINT)
		_ = sim.Wait()
	}
	err = errors.Join(os.WriteFile(filepath.Join(w.dir, "in.jsonl"), l.input(), 0o600),
		os.WriteFile(filepath.Join(w.dir, "storm.yaml"), l.spec(w.url, "out-storm", l.budget), 0o600))
	if err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// check is what must hold after every kill: verify finds nothing, and the
// ledger covers the provider's bill inside the budget. A run that is at its end
// must be whole.
func (w *world) check() error {
	if err := w.verify("storm"); err != nil {
		return err
	}
	b, err := w.bill()
	if err != nil {
		return err
	}
	s, err := w.stands()
	if err != nil {
		return err
	}
	billed, ledger := b.Input+b.Output, s.Budget.Spent.Tokens+s.Budget.Reserved.Tokens+s.Budget.AtRisk.Tokens
	if s.RunID == "" {
		ledger = 0
	}
	if billed > ledger || ledger > s.limit() {
		return fmt.Errorf("billed %d tokens; the ledger has %d, the budget %d", billed, ledger, s.limit())
	}
	w.newest, w.unknown = s.RunID, s.Unknown
	w.ended = slices.Contains([]string{"succeeded", "partial", "failed", "cancelled"}, s.State)
	if w.ended && s.State != "cancelled" && w.newest != w.past {
		return w.whole(b, s)
	}
	return nil
}

// whole is what must hold of a run at its end: the outputs are those of the
// undisturbed run, byte for byte and marked as whole; every request was paid,
// none twice but those that the ledger calls lost; every billed call is one of
// the ledger's attempts; nothing is reserved any more, and nothing lies about.
func (w *world) whole(b bill, s standing) error {
	if err := errors.Join(w.same(), w.tidy()); err != nil {
		return err
	}
	switch billed, ledger := b.Input+b.Output, s.Budget.Spent.Tokens+s.Budget.AtRisk.Tokens; {
	case s.Budget.Reserved.Tokens != 0:
		return fmt.Errorf("the run has ended, and %d tokens are still reserved", s.Budget.Reserved.Tokens)
	case b.Unique != w.ref.bill.Unique:
		return fmt.Errorf("%d requests were paid, want %d", b.Unique, w.ref.bill.Unique)
	case b.Extra > s.Unknown:
		return fmt.Errorf("%d calls were paid twice; the ledger knows of %d lost ones", b.Extra, s.Unknown)
	case b.Billed > s.Attempts:
		return fmt.Errorf("%d calls were billed; the ledger has %d attempts", b.Billed, s.Attempts)
	case billed > ledger:
		return fmt.Errorf("billed %d tokens; the ledger of the ended run has %d", billed, ledger)
	}
	return nil
}

// standing is what status says, as far as it is judged.
type standing struct {
	RunID    string `json:"run_id"`
	State    string `json:"state"`
	Attempts int64  `json:"attempts"`
	Unknown  int64  `json:"unknown"`
	Items    struct{ OK, Failed, Skipped, Pending int64 }
	Budget   struct {
		Tokens   *int64
		Spent    struct{ Tokens int64 }
		Reserved struct{ Tokens int64 }
		AtRisk   struct{ Tokens int64 } `json:"at_risk"`
	}
}

// limit is the budget of the run, 0 where there is none.
func (s standing) limit() int64 {
	if s.Budget.Tokens == nil {
		return 0
	}
	return *s.Budget.Tokens
}

// stands reads it; without a run nothing stands in it.
func (w *world) stands() (s standing, err error) {
	out, err := w.command("storm", "status", "--json").CombinedOutput()
	if nothingYet(err, out) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("status: %w\n%s", err, out)
	}
	return s, json.Unmarshal(out, &s)
}

// outputs are the files that must not tell a disturbed run from another.
var outputs = []string{"results.jsonl", "failed.jsonl", "results.csv", "results.parquet"}

func (w *world) same() error {
	for _, f := range outputs {
		a, err := os.ReadFile(filepath.Join(w.ref.out, f))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(w.dir, "out-storm", f))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%s differs from the undisturbed run's: %s and %s", f, filepath.Join(w.dir, "out-storm"), w.ref.out)
		}
	}
	_, err := os.Stat(filepath.Join(w.dir, "out-storm", "_SUCCESS"))
	return err
}

// tidy looks for what a killed process left behind and no later one took away.
func (w *world) tidy() error {
	var left []string
	for _, root := range []string{"data-storm", "out-storm"} {
		err := filepath.WalkDir(filepath.Join(w.dir, root), func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(d.Name(), ".") && (strings.Contains(d.Name(), ".tmp-") || strings.HasSuffix(d.Name(), ".tmp")) {
				left = append(left, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("files of dead processes stay: %s", strings.Join(left, " "))
	}
	return nil
}

// finished reports whether an exit code says that the run is at its end.
func finished(code int) bool { return slices.Contains([]int{0, 3}, code) }

// provider makes the provider end calls otherwise from now on.
func (w *world) provider(faults string) error {
	text := fmt.Sprintf("%s,latency=%v", faults, w.c.latency)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.root()+"/__faults", strings.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		err = fmt.Errorf("faults: %s", resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// turn begins the bill of the next run where the last one has ended.
func (w *world) turn() error {
	if !w.ended {
		return nil
	}
	w.past, w.ended = w.newest, false
	return w.post("/__reset")
}
