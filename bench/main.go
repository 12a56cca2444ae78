// Command bench measures batchwright beside a bare Go client loop, against the
// same mock, in one run, interleaved. It prints a table; the figures that matter
// are ratios, since machines differ and are noisy.
//
//	go run ./bench -bin ./bin/batchwright
package main

import (
	"bytes"
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
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/batchwright/batchwright/internal/provider"
)

type scene struct {
	rows, concurrency int
	latency           time.Duration
}

func (s scene) String() string {
	return fmt.Sprintf("%d rows, %d ms, concurrency %d", s.rows, s.latency.Milliseconds(), s.concurrency)
}

// measure is one run of one contender.
type measure struct {
	wall, cpu time.Duration
	rssKB     int64
	rate      float64 // rows a second, by the contender's own span of calling
}

func main() {
	bin := flag.String("bin", "./bin/batchwright", "the binary to measure")
	repeats := flag.Int("n", 5, "repeats of each, interleaved")
	rows := flag.Int("rows", 20000, "rows of each run")
	role := flag.String("role", "", "internal: loop | mock")
	url := flag.String("url", "", "internal")
	in := flag.String("in", "", "internal")
	conc := flag.Int("c", 256, "internal")
	scenes := flag.String("scenes", "50:256,0:256,0:64,500:1024", "latency in ms : concurrency, comma-separated")
	flag.Parse()
	var err error
	switch *role {
	case "loop":
		err = loop(*url, *in, *conc)
	default:
		err = compare(*bin, *repeats, *rows, *scenes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// loop is the bare client: read the rows, call with the same transport, decode
// the same answer, keep nothing.
func loop(url, in string, conc int) error {
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: provider.NewTransport(conc)}
	rows := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var bad error
	start := time.Now()
	for range conc {
		wg.Go(func() {
			for text := range rows {
				if err := call(client, url, text); err != nil {
					mu.Lock()
					bad = err
					mu.Unlock()
				}
			}
		})
	}
	n := 0
	for line := range bytes.Lines(data) {
		var row struct{ Text string }
		if err := json.Unmarshal(line, &row); err != nil {
			return err
		}
		rows <- row.Text
		n++
	}
	close(rows)
	wg.Wait()
	fmt.Printf("%d %d\n", n, time.Since(start).Microseconds())
	return bad
}

func call(client *http.Client, url, text string) error {
	body, err := json.Marshal(map[string]any{"model": "sim-1", "max_completion_tokens": 64,
		"messages": []map[string]string{{"role": "user", "content": "Summarise: " + text}}})
	if err != nil {
		return err
	}
	resp, err := client.Post(url+"/v1/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	var ans struct {
		Choices []struct {
			Message struct{ Content string }
		}
		Usage struct{ Total_tokens int64 } //nolint:revive // the API's name
	}
	if err := json.Unmarshal(b, &ans); err != nil || len(ans.Choices) == 0 {
		return fmt.Errorf("status %d: %w", resp.StatusCode, errors.Join(err, errors.New("no answer")))
	}
	return nil
}

func compare(bin string, repeats, rows int, list string) error {
	dir, err := os.MkdirTemp("", "batchwright-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	input := filepath.Join(dir, "in.jsonl")
	if err := writeRows(input, rows); err != nil {
		return err
	}
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("| scene | contender | rows/s | of the loop | CPU ms/row | peak RSS MB |\n|---|---|---|---|---|---|\n")
	for part := range strings.SplitSeq(list, ",") {
		var ms, c int
		if _, err := fmt.Sscanf(part, "%d:%d", &ms, &c); err != nil {
			return fmt.Errorf("scene %q: %w", part, err)
		}
		s := scene{rows, c, time.Duration(ms) * time.Millisecond}
		if err := run(dir, bin, self, input, s, repeats); err != nil {
			return err
		}
	}
	return nil
}

func run(dir, bin, self, input string, s scene, repeats int) error {
	mock, url, err := startMock(bin, s.latency)
	if err != nil {
		return err
	}
	defer func() {
		_ = mock.Process.Signal(syscall.SIGINT)
		_ = mock.Wait()
	}()
	var loops, ours []measure
	for i := range repeats {
		l, err := runLoop(self, url, input, s)
		if err != nil {
			return fmt.Errorf("loop: %w", err)
		}
		o, err := runOurs(dir, bin, url, input, s, i)
		if err != nil {
			return fmt.Errorf("batchwright: %w", err)
		}
		loops, ours = append(loops, l), append(ours, o)
	}
	ratios := make([]float64, repeats)
	for i := range ratios {
		ratios[i] = ours[i].rate / loops[i].rate
	}
	slices.Sort(ratios)
	print(s, "bare loop", loops, "")
	print(s, "batchwright", ours, fmt.Sprintf("%.3f (%.3f–%.3f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1]))
	return nil
}

func print(s scene, name string, ms []measure, ratio string) {
	pick := func(f func(measure) float64) (lo, mid, hi float64) {
		v := make([]float64, len(ms))
		for i, m := range ms {
			v[i] = f(m)
		}
		slices.Sort(v)
		return v[0], v[len(v)/2], v[len(v)-1]
	}
	lo, mid, hi := pick(func(m measure) float64 { return m.rate })
	_, cpu, _ := pick(func(m measure) float64 { return float64(m.cpu.Microseconds()) / 1000 / float64(s.rows) })
	_, _, rss := pick(func(m measure) float64 { return float64(m.rssKB) / 1024 })
	fmt.Printf("| %s | %s | %.0f (%.0f–%.0f) | %s | %.3f | %.0f |\n", s, name, mid, lo, hi, ratio, cpu, rss)
}

func runLoop(self, url, input string, s scene) (measure, error) {
	cmd := exec.Command(self, "-role", "loop", "-url", url, "-in", input, "-c", fmt.Sprint(s.concurrency))
	m, out, err := timed(cmd)
	if err != nil {
		return m, err
	}
	var n, us int64
	if _, err := fmt.Sscan(string(out), &n, &us); err != nil {
		return m, err
	}
	m.rate = float64(n) / (float64(us) / 1e6)
	return m, nil
}

func runOurs(dir, bin, url, input string, s scene, i int) (measure, error) {
	work := filepath.Join(dir, fmt.Sprintf("run-%d", rand.Uint64()))
	if err := os.MkdirAll(work, 0o700); err != nil {
		return measure{}, err
	}
	defer os.RemoveAll(work)
	spec := fmt.Sprintf(`job: {id: bench-%d, timeout_ms: 60000}
input: {uri: %q, id: id}
task:
  provider: openai_compatible
  base_url: %s/v1
  model: sim-1
  prompt: "Summarise: {{ text }}"
  max_output_tokens: 64
pacing: {concurrency: {min: %d, max: %d}}
output: {uri: %q}
`, i, input, url, s.concurrency, s.concurrency, filepath.Join(work, "out"))
	file := filepath.Join(work, "job.yaml")
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		return measure{}, err
	}
	cmd := exec.Command(bin, "run", file, "--data-dir", filepath.Join(work, "data"), "--json", "--progress", "none")
	m, out, err := timed(cmd)
	if err != nil {
		return m, fmt.Errorf("%w: %s", err, out)
	}
	rate, err := ledgerRate(filepath.Join(work, "out", "ledger.jsonl"), s.rows)
	m.rate = rate
	return m, err
}

// ledgerRate is rows a second from the first call's start to the last call's
// end, as the ledger has them: what the loop's own clock spans.
func ledgerRate(path string, rows int) (float64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var first, last time.Time
	n := 0
	for line := range bytes.Lines(data) {
		var a struct {
			Class     string    `json:"class"`
			StartedAt time.Time `json:"started_at"`
			LatencyUS int64     `json:"latency_us"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			return 0, err
		}
		if a.Class == "ok" {
			n++
		}
		if first.IsZero() || a.StartedAt.Before(first) {
			first = a.StartedAt
		}
		if end := a.StartedAt.Add(time.Duration(a.LatencyUS) * time.Microsecond); end.After(last) {
			last = end
		}
	}
	if n != rows {
		return 0, fmt.Errorf("%d of %d rows are ok in the ledger", n, rows)
	}
	return float64(n) / last.Sub(first).Seconds(), nil
}

func timed(cmd *exec.Cmd) (measure, []byte, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = os.Stderr
	start := time.Now()
	err := cmd.Run()
	m := measure{wall: time.Since(start)}
	if st := cmd.ProcessState; st != nil {
		m.cpu = st.UserTime() + st.SystemTime()
		if ru, ok := st.SysUsage().(*syscall.Rusage); ok {
			m.rssKB = ru.Maxrss
		}
	}
	return m, out.Bytes(), err
}

// startMock runs the simulator in a process of its own and waits for its URL,
// the first line it prints.
func startMock(bin string, latency time.Duration) (*exec.Cmd, string, error) {
	cmd := exec.Command(bin, "simulate", "--listen", "127.0.0.1:0", "--latency", latency.String())
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		return nil, "", errors.Join(fmt.Errorf("the simulator said nothing: %w", err), cmd.Process.Kill())
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // its end is the process's end
	return cmd, strings.TrimSuffix(strings.TrimSpace(url), "/v1"), nil
}

func writeRows(path string, n int) error {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"row-%d","text":"ticket %d: the customer asks about order %d and wants to know when it arrives; %s"}`+"\n",
			i, i, i*7919%100003, strings.Repeat("please answer soon ", i%5))
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}
