//go:build browser

package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode"
)

// mark is what every payload does when it comes to run: it can be seen in the
// title and as a dialog; one only, since a closed dialog gives the focus back.
const mark = `document.title='OWNED',self.d||(d=1,alert(1))`

// payloads are the hostile texts, pointed at a canary.
func payloads(t *testing.T, canary string) []string {
	t.Helper()
	file, err := os.ReadFile("../report/testdata/payloads.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(file)) {
		s, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, strings.NewReplacer("RUN", mark, "CANARY", canary, "HOST", strings.TrimPrefix(canary, "http://")).Replace(s))
	}
	return out
}

// watched counts what a page did.
type watched struct {
	dialogs, requests, refusals atomic.Int64
	mu                          sync.Mutex
	self                        string // the page itself, which may be asked for
	urls                        []string
}

func (w *watched) requested(url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if url != w.self {
		w.requests.Add(1)
		w.urls = append(w.urls, url)
	}
}

func (w *watched) reset(page string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.self = "file://" + page
	w.dialogs.Store(0)
	w.requests.Store(0)
	w.refusals.Store(0)
	w.urls = nil
}

// TestReportInABrowser runs jobs whose ids, labels, model, answers and provider
// errors are hostile, and opens their reports in a real browser: no script
// runs, no dialog opens, nothing is asked of anybody.
func TestReportInABrowser(t *testing.T) {
	var hits atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hits.Add(1) }))
	defer canary.Close()
	all := payloads(t, canary.URL)
	if len(all) < 150 {
		t.Fatalf("only %d payloads", len(all))
	}
	var w watched
	var b *chromium
	session := ""
	b = startChromium(t, func(method string, params json.RawMessage) {
		switch method {
		case "Page.javascriptDialogOpening":
			w.dialogs.Add(1)
			b.send(session, "Page.handleJavaScriptDialog", map[string]any{"accept": true})
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if json.Unmarshal(params, &p) == nil {
				w.requested(p.Request.URL)
			}
		case "Log.entryAdded":
			if bytes.Contains(params, []byte("Content Security Policy")) {
				w.refusals.Add(1)
			}
		}
	})
	session = b.tab()
	open := func(file string, touch bool) (title, text string) {
		b.call(session, "Page.navigate", map[string]any{"url": "file://" + file})
		b.eval(session, `new Promise(r => document.readyState === 'complete' ? r('') : addEventListener('load', () => r('')))`)
		text = b.eval(session, `document.documentElement.textContent`)
		// A person reads it: everything is hovered, focused, opened and clicked.
		b.eval(session, `(async () => {
			for (const e of `+map[bool]string{true: "document.querySelectorAll('*')", false: "[]"}[touch]+`) {
				if (e.tagName === 'DETAILS') e.open = true;
				for (const t of ['pointerover', 'mouseover', 'mousemove', 'focus', 'click'])
					e.dispatchEvent(new MouseEvent(t, {bubbles: true, cancelable: true}));
				if (e.focus) e.focus();
				if (e.click) e.click();
			}
			await new Promise(r => setTimeout(r, 30));
			return '';
		})()`)
		return b.eval(session, `document.title`), text
	}
	pages := hostileRuns(t, all)
	shown, elements := 0, 0
	for i, page := range pages {
		w.reset(page.file)
		title, text := open(page.file, true)
		if strings.Contains(title, "OWNED") || w.dialogs.Load() != 0 || w.requests.Load() != 0 || hits.Load() != 0 {
			t.Errorf("page %d: title %.100q, %d dialogs, %d requests %q, %d hits on the canary", i, title, w.dialogs.Load(), w.requests.Load(), w.urls, hits.Load())
		}
		if n := w.refusals.Load(); n != 0 {
			t.Errorf("page %d: the policy had to refuse %d times: something became markup", i, n)
		}
		for _, p := range page.payloads {
			if strings.Contains(letters(text), first(letters(p), 60)) {
				shown++
			} else {
				t.Errorf("page %d does not show %.80q", i, p)
			}
		}
		elements += len(b.eval(session, `[...document.querySelectorAll('script,iframe,object,embed,img,form,a,base,link,video,audio')].map(e => e.tagName).join()`))
		// The page is as wide as the window, whatever stands in it.
		if over := b.eval(session, `String(document.documentElement.scrollWidth - innerWidth)`); over != "0" && !strings.HasPrefix(over, "-") {
			t.Errorf("page %d is %s px too wide", i, over)
		}
		if dir := os.Getenv("BATCHWRIGHT_PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("report-%02d.png", i)), b.picture(session, true), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if elements != 0 {
		t.Error("a report holds elements that load or run")
	}
	t.Logf("%d payloads in %d reports, each as id, model, label, answer or error: %d shown as text, %d hits on the canary", len(all), len(pages), shown, hits.Load())
	theAlarmWorks(t, &w, &hits, all, open, pages[0].file)
}

// theAlarmWorks proves that the page's silence means something: the same texts
// as markup run, and as markup under the report's policy they do not.
func theAlarmWorks(t *testing.T, w *watched, hits *atomic.Int64, all []string, open func(string, bool) (string, string), report string) {
	t.Helper()
	page, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(page), "<style>")
	if !ok {
		t.Fatal("the report has no style")
	}
	_, policy, ok := strings.Cut(head, `<meta http-equiv="Content-Security-Policy"`)
	if !ok {
		t.Fatal("the report has no policy")
	}
	policy, _, _ = strings.Cut(policy, ">")
	dir := t.TempDir()
	ran, reached := 0, int64(0)
	for i, p := range all {
		if strings.Contains(strings.ToLower(p), "refresh") {
			continue // it would take the browser elsewhere; a policy cannot forbid that
		}
		for _, armed := range []bool{false, true} {
			text := "<!DOCTYPE html><meta charset=utf-8><title>calm</title>"
			if armed {
				text = "<!DOCTYPE html><meta charset=utf-8><meta http-equiv=\"Content-Security-Policy\"" + policy + "><title>calm</title>"
			}
			file := filepath.Join(dir, fmt.Sprintf("%d-%t.html", i, armed))
			if err := os.WriteFile(file, []byte(text+p), 0o600); err != nil {
				t.Fatal(err)
			}
			w.reset(file)
			before := hits.Load()
			title, _ := open(file, false)
			did := w.dialogs.Load() > 0 || title == "OWNED"
			if armed && did {
				t.Errorf("under the policy %.80q ran", p)
			}
			if !armed && did {
				ran++
			}
			if !armed {
				reached += hits.Load() - before
			}
		}
	}
	t.Logf("as markup %d of them ran and the canary was asked %d times; under the policy none ran", ran, reached)
	if ran < 40 || reached < 15 {
		t.Errorf("the alarm is deaf: only %d payloads ran as markup, %d reached the canary", ran, reached)
	}
}

// letters are the characters of a text that a report shows as they are.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
}

func first(s string, n int) string {
	rs := []rune(s)
	return string(rs[:min(n, len(rs))])
}

// hostilePage is the report of one run and what must be read in it.
type hostilePage struct {
	file     string
	payloads []string
}

// perRun is how many groups of errors a report shows, but for one.
const perRun = 9

// hostileRuns runs the real program against a provider that answers and fails
// with the payloads.
func hostileRuns(t *testing.T, all []string) []hostilePage {
	t.Helper()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Messages []struct{ Content string } }
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &q) != nil || len(q.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		what, number, _ := strings.Cut(q.Messages[len(q.Messages)-1].Content, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(all) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-Id", strings.Map(printable, first(all[n], 60)))
		var answer any = map[string]any{"id": all[n], "object": "chat.completion", "model": all[n], "usage": map[string]int{"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
			"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": all[n]}}}}
		if what == "fail" {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"error": map[string]any{"message": all[n], "type": "invalid_request_error", "code": all[n]}}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(provider.Close)
	var pages []hostilePage
	for from := 0; from < len(all); from += perRun {
		pages = append(pages, hostileRun(t, provider.URL, all, from, min(from+perRun, len(all))))
	}
	return pages
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

func hostileRun(t *testing.T, provider string, all []string, from, to int) hostilePage {
	t.Helper()
	dir := t.TempDir()
	page := hostilePage{file: filepath.Join(dir, "out", "report.html")}
	var input bytes.Buffer
	e := json.NewEncoder(&input)
	for n := from; n < to; n++ {
		id := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1 // an id with one is refused before the run
			}
			return r
		}, first(all[n], 90))
		page.payloads = append(page.payloads, id, all[n])
		for _, row := range []map[string]any{
			{"id": id, "text": fmt.Sprintf("fail %d", n), "label": "x"},
			{"id": fmt.Sprintf("%d", n), "text": fmt.Sprintf("answer %d", n), "label": all[to-1-(n-from)]},
		} {
			if err := e.Encode(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	model := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, first(all[from], 60))
	spec, err := json.Marshal(map[string]any{
		"job": map[string]any{"id": "hostile", "max_attempts": 1}, "input": map[string]any{"uri": "items.jsonl", "id": "id"},
		"task":     map[string]any{"provider": "openai_compatible", "base_url": provider + "/v1", "model": model, "prompt": "{{ text }}", "max_output_tokens": 20000},
		"output":   map[string]any{"uri": "out"},
		"evaluate": map[string]any{"expected": "label"}, "labels": map[string]any{"team": model},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"items.jsonl": input.Bytes(), "job.json": spec} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("batchwright", "run", "job.json")
	c.Dir, c.Env = dir, append(os.Environ(), "NO_COLOR=1")
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("the run ended with %v, want exit code 3:\n%s", err, out)
	}
	return page
}
