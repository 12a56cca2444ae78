//go:build browser

package cli_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// chromium is one headless browser, spoken to over a pipe.
type chromium struct {
	t     *testing.T
	to    *os.File
	dead  chan struct{} // closed when the browser's pipe ended
	mu    sync.Mutex
	last  int
	waits map[int]chan reply
	seen  func(method string, params json.RawMessage)
}

type reply struct {
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// patience is far above what any step takes; it ends a browser that hangs.
const patience = 60 * time.Second

func startChromium(t *testing.T, seen func(method string, params json.RawMessage)) *chromium {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("no chromium in PATH: apt-get install chromium")
	}
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	c.ExtraFiles = []*os.File{theirs, answers} // the pipe's ends have the numbers 3 and 4 there
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	answers.Close()
	b := &chromium{t: t, to: to, dead: make(chan struct{}), waits: map[int]chan reply{}, seen: seen}
	go b.listen(from)
	t.Cleanup(func() {
		b.call("", "Browser.close", nil)
		select {
		case <-b.dead:
		case <-time.After(patience):
			_ = c.Process.Kill()
		}
		_ = c.Wait()
		to.Close()
		from.Close()
	})
	return b
}

func (b *chromium) listen(from *os.File) {
	defer close(b.dead)
	in := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int             `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
			reply
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		if m.Method != "" {
			b.seen(m.Method, m.Params)
			continue
		}
		b.mu.Lock()
		w := b.waits[m.ID]
		delete(b.waits, m.ID)
		b.mu.Unlock()
		if w != nil {
			w <- m.reply
		}
	}
}

// send asks without waiting.
func (b *chromium) send(session, method string, params any) chan reply {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	got := make(chan reply, 1)
	b.waits[b.last] = got
	m := map[string]any{"id": b.last, "method": method}
	if params != nil {
		m["params"] = params
	}
	if session != "" {
		m["sessionId"] = session
	}
	line, err := json.Marshal(m)
	if err == nil {
		_, err = b.to.Write(append(line, 0))
	}
	if err != nil {
		b.t.Errorf("%s: %v", method, err)
	}
	return got
}

// call asks and waits for the result.
func (b *chromium) call(session, method string, params any) json.RawMessage {
	b.t.Helper()
	select {
	case r := <-b.send(session, method, params):
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	case <-b.dead:
		if method != "Browser.close" {
			b.t.Fatalf("%s: the browser ended", method)
		}
	case <-time.After(patience):
		b.t.Fatalf("%s: no answer in %v", method, patience)
	}
	return nil
}

// tab opens an empty page whose events are reported.
func (b *chromium) tab() string {
	var target struct{ TargetID, SessionID string }
	b.read(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	b.read(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &target)
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		b.call(target.SessionID, domain+".enable", nil)
	}
	b.call(target.SessionID, "Emulation.setDeviceMetricsOverride", map[string]any{"width": 1100, "height": 1400, "deviceScaleFactor": 1, "mobile": false})
	return target.SessionID
}

func (b *chromium) read(raw json.RawMessage, into any) {
	b.t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs an expression in the page, which may be a promise, and returns its text.
func (b *chromium) eval(session, expression string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value string }
		ExceptionDetails json.RawMessage
	}
	b.read(b.call(session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "allowUnsafeEvalBlockedByCSP": true}), &r)
	if len(r.ExceptionDetails) > 0 {
		b.t.Fatalf("in the page: %s", r.ExceptionDetails)
	}
	return r.Result.Value
}

// picture is a PNG of the page.
func (b *chromium) picture(session string, whole bool) []byte {
	b.t.Helper()
	var shot struct{ Data string }
	b.read(b.call(session, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}), &shot)
	png, err := base64.StdEncoding.DecodeString(strings.TrimSpace(shot.Data))
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}
