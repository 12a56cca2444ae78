package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/simulator"
	"github.com/batchwright/batchwright/internal/spec"
	"github.com/batchwright/batchwright/internal/wire"
)

func TestMain(m *testing.M) {
	// The in-process S3 server takes any key; the vendor's client wants one, and
	// reads it from the environment alone.
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_EC2_METADATA_DISABLED": "true"} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// ended is longer than any run of these tests takes on a machine that is loaded.
const ended = 60 * time.Second

// bench is a folder with a spec and its input, a provider that keeps its own
// bill, and the data directory in which the real program works.
type bench struct {
	t       *testing.T
	dir     string
	data    string
	sim     *simulator.Simulator
	url     string
	log     *lockedBuffer
	session *wire.Session
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newBench starts a simulator with knobs; nothing of a data directory is open yet.
func newBench(t *testing.T, knobs string) *bench {
	t.Helper()
	k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), knobs)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir(), sim: simulator.New(simulator.Config{Knobs: k, KeepCalls: true, Now: time.Now}), log: &lockedBuffer{}}
	b.data = filepath.Join(b.dir, "data")
	s := httptest.NewServer(b.sim)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	b.url = s.URL + "/v1"
	t.Cleanup(b.close)
	return b
}

// knobs changes how the provider behaves from now on.
func (b *bench) knobs(text string) {
	b.t.Helper()
	k, err := simulator.ParseKnobs(simulator.DefaultKnobs(), text)
	if err != nil {
		b.t.Fatal(err)
	}
	b.sim.SetKnobs(k)
}

// app is the service of the open session; the first call opens it.
func (b *bench) app() *app.App {
	b.t.Helper()
	if b.session == nil {
		b.open(b.data, "")
	}
	return b.session.App
}

func (b *bench) open(data, stdin string) {
	b.t.Helper()
	s, err := wire.Open(b.t.Context(), wire.Options{DataDir: data, Mode: wire.Work, Command: "test", Version: "test",
		Stdin: strings.NewReader(stdin), Stderr: b.log, Verbose: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.session, b.data = s, data
}

// close ends the session in order, as a command does at its end.
func (b *bench) close() {
	if b.session == nil {
		return
	}
	if err := b.session.Close(context.WithoutCancel(b.t.Context())); err != nil {
		b.t.Errorf("close: %v", err)
	}
	b.session = nil
}

// write puts a file beside the spec and returns its path.
func (b *bench) write(name, text string) string {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) read(name string) string {
	b.t.Helper()
	p := name
	if !filepath.IsAbs(p) {
		p = filepath.Join(b.dir, name)
	}
	text, err := os.ReadFile(p)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// spec reads a spec as the command line does. URL stands for the simulator's
// address in it; a spec without a task gets the usual one.
func (b *bench) spec(text string) *spec.Spec {
	b.t.Helper()
	if !strings.Contains(text, "task:") {
		text += usualTask
	}
	p := b.write("job.yaml", strings.ReplaceAll(text, "URL", b.url))
	sp, ds := spec.Load(os.ReadFile, p)
	if sp == nil {
		b.t.Fatalf("the spec is refused: %+v", ds)
	}
	return sp
}

const usualTask = `
task:
  provider: openai_compatible
  base_url: URL
  model: sim-1
  prompt: "Summarise: {{ text }}"
  max_output_tokens: 64
  price: {input_usd_per_mtok: 0.15, output_usd_per_mtok: 0.60}
`

// usual is a spec over in.jsonl with outputs in out; more is added to it.
func usual(more string) string {
	return "job: {id: usual, batch_size: 10}\ninput: {uri: in.jsonl, id: id}\noutput: {uri: out, format: [jsonl, csv, parquet]}\n" + more
}

// items is n rows of JSONL with different texts.
func items(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `{"id":"i%d","text":"ticket %d has not come%s"}`+"\n", i, i, strings.Repeat(" please", i%5))
	}
	return s.String()
}

func (b *bench) start(text string, q app.StartRequest) app.Started {
	b.t.Helper()
	q.Spec = b.spec(text)
	st, err := b.app().Start(b.t.Context(), q)
	if err != nil {
		b.t.Fatalf("start: %v\nhint: %s", err, batch.HintOf(err))
	}
	return st
}

// still follows a run until nothing goes on with it.
func (b *bench) still(id batch.RunID) app.Status {
	b.t.Helper()
	return b.until(id, "stands still", func(s app.Status) bool {
		return s.State.Ended() && s.Target == "" || s.State == batch.RunPaused
	})
}

func (b *bench) until(id batch.RunID, what string, ok func(app.Status) bool) app.Status {
	b.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(ended)
	for {
		s, err := b.app().Status(b.t.Context(), string(id))
		if err != nil {
			b.t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatalf("the run never %s: %+v\n%s", what, s, b.log)
		}
	}
}

// run starts and follows a run, and holds it to its own records.
func (b *bench) run(text string, q app.StartRequest) app.Status {
	b.t.Helper()
	st := b.start(text, q)
	s := b.still(st.Run)
	b.verify(st.Run)
	return s
}

// runTo is run, and fails unless the run ends in the state.
func (b *bench) runTo(want batch.RunState, text string) app.Status {
	b.t.Helper()
	s := b.run(text, app.StartRequest{})
	b.in(s, want)
	return s
}

func (b *bench) in(s app.Status, want batch.RunState) {
	b.t.Helper()
	if s.State != want {
		b.t.Fatalf("the run is %s (%s), want %s: %+v\n%s", s.State, s.Reason, want, s.Items, b.log)
	}
}

// bill is every call that the provider was paid for, as it tells them.
func (b *bench) bill() *bytes.Buffer {
	b.t.Helper()
	var text bytes.Buffer
	if err := b.sim.Calls(&text, time.Time{}); err != nil {
		b.t.Fatal(err)
	}
	return &text
}

// verify is batchwright verify --bill: nothing may be found.
func (b *bench) verify(id batch.RunID) {
	b.t.Helper()
	v, err := b.app().VerifyAgainst(b.t.Context(), string(id), b.bill())
	if err != nil {
		b.t.Fatal(err)
	}
	if !v.OK {
		b.t.Fatalf("verify finds %+v", v.Findings)
	}
}

// paid holds the bill to the ledger and the budget (I4), with every call known.
func (b *bench) paid(s app.Status) {
	b.t.Helper()
	t := b.sim.Totals()
	billed, spent := t.BilledInputTokens+t.BilledOutputTokens, s.Budget.Spent.Tokens+s.Budget.AtRisk.Tokens
	if billed > spent {
		b.t.Errorf("%d tokens were billed and %d are in the ledger", billed, spent)
	}
	if l := s.Budget.Tokens; l != nil && billed > *l {
		b.t.Errorf("%d tokens were billed of a budget of %d", billed, *l)
	}
}

// outputs are the files a reader takes that must not differ between two runs
// of the same work.
func (b *bench) outputs(dir string) map[string]string {
	b.t.Helper()
	out := map[string]string{}
	for _, f := range []string{"results.jsonl", "results.csv", "results.parquet", "failed.jsonl"} {
		out[f] = b.read(filepath.Join(dir, f))
	}
	return out
}

func (b *bench) same(what string, got, want map[string]string) {
	b.t.Helper()
	for f, text := range want {
		if got[f] != text {
			b.t.Errorf("%s: %s differs:\n%.500s\nwant:\n%.500s", what, f, got[f], text)
		}
	}
}

// object is one line of an output.
type object map[string]json.RawMessage

func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return string(o[key])
	}
	return s
}

func (b *bench) lines(text string) []object {
	b.t.Helper()
	var out []object
	for l := range strings.Lines(text) {
		var o object
		if err := json.Unmarshal([]byte(l), &o); err != nil {
			b.t.Fatalf("%v in %s", err, l)
		}
		out = append(out, o)
	}
	return out
}

func ids(os []object) []string {
	out := make([]string, len(os))
	for i, o := range os {
		out[i] = o.text("id")
	}
	return out
}

// refused fails unless err is of the kind and says every word, in itself or in
// its hint.
func (b *bench) refused(err error, kind batch.Kind, words ...string) {
	b.t.Helper()
	if batch.KindOf(err) != kind || err == nil {
		b.t.Fatalf("error %v of kind %s, want %s", err, batch.KindOf(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+"\n"+batch.HintOf(err), w) {
			b.t.Errorf("%q is not said by %v\nhint: %s", w, err, batch.HintOf(err))
		}
	}
}

func unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// settled reports that no lease of a run is held.
func settled(s app.Status) bool { return s.Budget.Reserved.Tokens == 0 && s.Budget.Reserved.Pico == 0 }
