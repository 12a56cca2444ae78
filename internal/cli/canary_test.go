package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/secret/secrettest"
)

const canaries = 64

// canaryValues are the secrets of the test: of several forms, none part of
// another.
func canaryValues() []string {
	vs := make([]string, canaries)
	for i := range vs {
		switch i % 4 {
		case 0:
			vs[i] = fmt.Sprintf("sk-canary%02d-Qx7Vt2Lm9Rw4Zk8Pn3", i)
		case 1:
			vs[i] = fmt.Sprintf("sk-ant-api03-canary%02dHj5Nb1Yc6Fd0Gs", i)
		case 2:
			vs[i] = fmt.Sprintf("canary%02d+a/b=c&d\"e<f>'g\\h%%i j~k", i)
		default:
			vs[i] = base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("canary number %02d, 32 bytes long!!", i)))
		}
	}
	return vs
}

// echo is a provider that gives the key back, in another way for each path.
type echo struct {
	elsewhere string // where it sends its callers
	hang      chan struct{}
	hanging   atomic.Int64
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	auth := r.Header.Get("Authorization")
	key := strings.TrimPrefix(auth, "Bearer ")
	q, _ := json.Marshal(auth)
	fail := func(code int, text string) {
		t, _ := json.Marshal(text)
		w.Header().Set("X-Request-Id", key)
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":%s,"type":%s,"code":%s}}`, t, q, q)
	}
	var n int
	fmt.Sscanf(r.URL.Path, "/%d/", &n)
	if strings.HasPrefix(r.URL.Path, "/hang/") {
		e.hanging.Add(1)
		<-e.hang
		return
	}
	switch n % 10 {
	case 0:
		fail(401, "Incorrect API key provided: "+auth)
	case 1:
		fail(400, "headers: "+base64.StdEncoding.EncodeToString([]byte(auth))+" "+base64.URLEncoding.EncodeToString([]byte("x"+auth))+" "+hex.EncodeToString([]byte(auth)))
	case 2:
		w.Header().Set("Location", e.elsewhere+"/?key="+url.QueryEscape(key))
		w.WriteHeader(307)
	case 3, 4:
		w.Header().Set("X-Request-Id", key)
		fmt.Fprintf(w, `{"id":%s,"object":"chat.completion","model":%s,"choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],`+
			`"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`, q, q, q)
	case 5:
		fail(400, html.EscapeString(auth)+" "+url.QueryEscape(auth)+" "+fmt.Sprintf("%q %+q % x %v", auth, auth, auth, []byte(auth)))
	case 6: // where a message is cut
		fail(403, strings.Repeat("x", 300-len(auth)/2)+auth)
	case 7, 8: // no HTTP at all
		c, b, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		if n%10 == 7 {
			fmt.Fprintf(b, "HTTP/1.1 %s\r\n\r\n", key)
		} else {
			fmt.Fprintf(b, "HTTP/1.1 200 OK\r\n%s\r\nContent-Length: x%s\r\n\r\n%s", auth, key, auth)
		}
		_ = b.Flush()
		_ = c.Close()
	case 9:
		fmt.Fprint(w, auth)
	}
}

// Of 64 secrets in variables and files, used by runs against a provider that
// gives them back in every way, none is found in anything the program left or
// said.
func TestCanaries(t *testing.T) {
	t.Parallel()
	values := canaryValues()
	dir, seen := t.TempDir(), t.TempDir()
	hits := atomic.Int64{}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer other.Close()
	e := &echo{elsewhere: other.URL, hang: make(chan struct{})}
	srv := httptest.NewUnstartedServer(e)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of what it was made to say
	srv.Start()
	defer srv.Close()
	defer close(e.hang)

	k := &canaryKit{t: t, dir: dir, seen: seen, url: srv.URL, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TZ=UTC", "GOTRACEBACK=all",
		"AWS_SECRET_ACCESS_KEY=" + values[62], "OPENAI_API_KEY=" + values[63]}}
	keys := t.TempDir()
	for i, v := range values[:62] {
		if i%2 == 0 {
			k.env = append(k.env, fmt.Sprintf("CANARY_%d_API_KEY=%s", i, v))
		}
		if err := os.WriteFile(filepath.Join(keys, fmt.Sprint(i)), []byte(v+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	const lanes = 4
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < 62; i += lanes {
				k.run(lane, i, keys)
			}
			k.look(lane, values)
		})
	}
	wg.Go(func() { k.killed(e, values) })
	wg.Wait()
	k.stolen()
	if n := hits.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}

	s, err := secrettest.NewScanner(values)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, seen} {
		found, err := s.Tree(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found[:min(len(found), 20)] {
			t.Errorf("%s", f)
		}
	}
	if n := k.used.Load(); n < 60 {
		t.Errorf("the provider saw %d keys only", n)
	}
	t.Logf("%d files, %d MiB with what was packed in them (%d streams), %d commands, %d forms of %d secrets: none found",
		s.Files, s.Bytes>>20, s.Unpacked, k.commands.Load(), len(secrettest.Needles(values)), canaries)
	if s.Files < 200 || s.Unpacked < 20 || k.commands.Load() < 90 {
		t.Error("little was looked at")
	}
}

type canaryKit struct {
	t              *testing.T
	dir, seen, url string
	env            []string
	commands, used atomic.Int64
}

// do runs a command and keeps what it says.
func (k *canaryKit) do(lane int, args ...string) string {
	k.t.Helper()
	c := k.command(lane, args...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		k.t.Errorf("%v: %v", args, err)
		return ""
	}
	k.keep(fmt.Sprintf("%v exits with %d\n%s", args[0], c.ProcessState.ExitCode(), out))
	return string(out)
}

func (k *canaryKit) command(lane int, args ...string) *exec.Cmd {
	name, err := exec.LookPath("batchwright")
	if err != nil {
		k.t.Fatal(err)
	}
	c := exec.Command(name, args...)
	c.Dir, c.Env = k.lane(lane), k.env
	return c
}

func (k *canaryKit) lane(lane int) string {
	d := filepath.Join(k.dir, fmt.Sprint("lane", lane))
	if err := os.MkdirAll(d, 0o700); err != nil {
		k.t.Fatal(err)
	}
	return d
}

func (k *canaryKit) keep(text string) {
	if err := os.WriteFile(filepath.Join(k.seen, fmt.Sprint(k.commands.Add(1))), []byte(text), 0o600); err != nil {
		k.t.Error(err)
	}
}

func (k *canaryKit) write(lane int, name, text string) {
	if err := os.WriteFile(filepath.Join(k.lane(lane), name), []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k *canaryKit) spec(path, ref string) string {
	return fmt.Sprintf(`job: {id: canary, max_attempts: 2}
input: {uri: in.jsonl}
failure_threshold: 1
output: {uri: "out-{run_id}", format: %s}
task: {provider: openai_compatible, base_url: "%s%s", api_key: "%s", model: m, prompt: "{{ text }}"}
`, map[bool]string{true: "parquet", false: "jsonl"}[strings.HasPrefix(ref, "file:")], k.url, path, ref)
}

func (k *canaryKit) run(lane, i int, keys string) {
	k.write(lane, "in.jsonl", `{"id":"1","text":"a"}`+"\n"+`{"id":"2","text":"b"}`+"\n")
	ref := fmt.Sprintf("env:CANARY_%d_API_KEY", i)
	if i%2 == 1 {
		ref = fmt.Sprintf("file:%s/%d", keys, i)
	}
	if i%2 == 1 {
		k.config(lane, ref)
	}
	name := fmt.Sprintf("%d.yaml", i)
	k.write(lane, name, k.spec(fmt.Sprintf("/%d/v1", i), ref))
	out := k.do(lane, "run", "-v", "--new", name)
	if strings.Contains(out, "state=") {
		k.used.Add(1)
	}
}

func (k *canaryKit) config(lane int, ref string) {
	if err := os.MkdirAll(filepath.Join(k.lane(lane), ".batchwright"), 0o700); err != nil {
		k.t.Fatal(err)
	}
	k.write(lane, ".batchwright/config.yaml", fmt.Sprintf("keys:\n  %q: {hosts: [%q]}\n", ref, strings.TrimPrefix(k.url, "http://")))
}

// look asks for all that can be asked of the runs.
func (k *canaryKit) look(lane int, values []string) {
	runs := k.do(lane, "status", "--json")
	for _, c := range [][]string{{"status"}, {"verify"}, {"report", "--format", "json"}, {"report", "--format", "html"}, {"report"}, {"items"}, {"item", "latest", "1"},
		{"results"}, {"results", "--format", "csv"}, {"doctor"}, {"db", "check"}, {"status", values[0]}, {"cancel", values[2]}, {"validate", values[4]}, {"item", "latest", values[6]},
		{"nonsense", values[63]}, {"--progress", values[62], "status"}} {
		k.do(lane, c...)
	}
	if !strings.Contains(runs, "run_id") {
		k.t.Errorf("no run to look at: %s", runs)
	}
}

// killed asks a process that waits for an answer for all it shows of itself,
// and ends it with a trace of every goroutine.
func (k *canaryKit) killed(e *echo, values []string) {
	const lane = 90
	k.write(lane, "in.jsonl", `{"id":"1","text":"a"}`+"\n")
	k.write(lane, "hang.yaml", k.spec("/hang/v1", "env:CANARY_0_API_KEY"))
	c := k.command(lane, "run", "-v", "hang.yaml")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		k.t.Error(err)
		return
	}
	for end := time.Now().Add(60 * time.Second); e.hanging.Load() == 0; {
		if time.Now().After(end) {
			k.t.Error("the call never came")
			break
		}
		_ = k.command(lane, "version").Run()
	}
	proc := fmt.Sprintf("/proc/%d/", c.Process.Pid)
	for _, f := range []string{"cmdline", "limits", "comm", "status"} {
		b, err := os.ReadFile(proc + f)
		if err != nil {
			k.t.Error(err)
		}
		k.keep(string(b))
		if f == "limits" && !strings.Contains(strings.Join(strings.Fields(string(b)), " "), "Max core file size 0 0") {
			k.t.Errorf("a core file may be written: %s", b)
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.Process.Pid, c.Process.Pid))
	if err == nil && len(bytes.TrimSpace(children)) > 0 {
		k.t.Errorf("it has children: %s", children)
	}
	k.socket(lane, values)
	k.do(lane, "status")
	_ = c.Process.Signal(syscall.SIGQUIT)
	_ = c.Wait()
	k.keep(out.String())
	if !strings.Contains(out.String(), "goroutine") {
		k.t.Errorf("no trace: %s", out.String())
	}
}

// socket asks the working process by its API, with secrets in every place of a
// request that an answer could quote.
func (k *canaryKit) socket(lane int, values []string) {
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(k.lane(lane), ".batchwright", "sock"))
	}}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	v := values[0] // the key that the process works with
	for _, path := range []string{"/v1/ping", "/v1/runs", "/v1/runs/latest", "/v1/runs/" + v, "/" + v, "/v1/runs?limit=" + v, "/v1/runs?job=" + v} {
		for _, method := range []string{"GET", "POST"} {
			req, err := http.NewRequest(method, "http://sock"+path, strings.NewReader(`{"`+v+`":1}`))
			if err != nil {
				k.t.Error(err)
				continue
			}
			resp, err := client.Do(req)
			if err != nil {
				k.t.Error(err)
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			k.keep(fmt.Sprint(resp.Status, resp.Header, string(b)))
		}
	}
}

// stolen runs specs that would send a key somewhere else.
func (k *canaryKit) stolen() {
	const lane = 91
	var calls atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	k.write(lane, "in.jsonl", `{"id":"1","text":"a"}`+"\n")
	for i, p := range []string{"openai", "openai_compatible"} {
		for j, ref := range []string{"env:OPENAI_API_KEY", "env:AWS_SECRET_ACCESS_KEY", "file:/etc/hostname"} {
			name := fmt.Sprintf("evil%d%d.yaml", i, j)
			k.write(lane, name, strings.NewReplacer(k.url, "http://"+l.Addr().String(), "openai_compatible", p).Replace(k.spec("/v1", ref)))
			for _, verb := range []string{"validate", "plan", "run"} {
				if out := k.do(lane, verb, name); !strings.Contains(out, "config.yaml") {
					k.t.Errorf("%s %s: %s", verb, name, out)
				}
			}
		}
	}
	if n := calls.Load(); n != 0 {
		k.t.Errorf("%d connections to the attacker", n)
	}

}
