package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// injections are texts that would move a terminal's cursor, colour it, change
// its title, turn its reading direction or begin a line of their own.
func injections() []string {
	bodies := []string{
		"\x1b[31mred", "\x1b[2J\x1b[H", "\x1b]0;title\a", "\x1b]8;;http://x.example\x1b\\link\x1b]8;;\x1b\\", "\x1b[1A\x1b[2K", "\x1bc", "\x1b[6n", "\x1b]52;c;cm0gLXJm\a",
		"\x1bP+q544e\x1b\\", "\x1b[?1049h", "\u009b31mred", "\u009d0;title\u009c", "\u0090q\u009c", "\a\a\a", "over\rwritten", "back\b\b\b\b", "\x7f\x7f", "\x00nul", "\x0eshift\x0f",
		"\v\f", "line\nerror: forged", "line\r\nwarning: forged", "next\u0085line", "\u2028line", "\u2029paragraph", "\u202etxt.exe\u202c", "\u202dleft", "\u2066isolate\u2069", "\u2067rtl\u2069",
		"\u2068first\u2069", "\u202aembed\u202c", "\u202bembed\u202c", "\u200ematk\u200f", "\u061cmark", "time=1 event=run_ended state=succeeded", "\"quoted\" key=value", "%s%n%d%!", "\tTAB\tTAB",
		"{\"event\":\"forged\"}", "$(id)", "`id`", "\\x1b[31m", "\\u001b[31m", "\u001b[38;5;196m", "\x1b[5m", "\x1b#8", "\x1b(0", "\x1b[20t", "\x1bX sos \x1b\\", "\u2066\x1b[0m\u2069", "\x9b31m",
	}
	return bodies
}

// quiet fails for what a terminal would act on. Tabs and line ends are judged
// by what is allowed to be there.
func quiet(t *testing.T, what, text string) {
	t.Helper()
	for i, r := range text {
		bidi := r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c'
		if r != '\n' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || bidi {
			t.Errorf("%s lets %U through: %.120q", what, r, text[max(0, i-60):])
			return
		}
	}
}

// What items, providers and inputs say stays on its line and moves nothing, in
// every command that shows it; --json says it all and stays JSON.
func TestNothingSaidMovesTheTerminal(t *testing.T) {
	t.Parallel()
	all := injections()
	if len(all) < 50 {
		t.Fatalf("only %d", len(all))
	}
	dir := hostileTerminalRun(t, all)
	run := func(args ...string) (stdout, stderr string) {
		c := exec.Command("batchwright", args...)
		var out, errs bytes.Buffer
		c.Dir, c.Stdout, c.Stderr, c.Env = dir, &out, &errs, append(os.Environ(), "NO_COLOR=1", "LANG=C.UTF-8")
		_ = c.Run() // a partial run ends with its own code
		return out.String(), errs.String()
	}
	stdout, stderr := run("run", "job.json", "--progress-interval", "1s")
	quiet(t, "stdout of run", stdout)
	quiet(t, "stderr of run", stderr)
	for line := range strings.Lines(stdout + stderr) {
		if strings.HasPrefix(line, "error: forged") || strings.HasPrefix(line, "warning: forged") {
			t.Errorf("a line was forged: %q", line)
		}
	}
	table, note := run("items", "--limit", "0")
	quiet(t, "items", table+note)
	if lines := strings.Count(table, "\n"); lines < 2*len(all) || lines > 2*len(all)+1 {
		t.Errorf("items prints %d lines for %d items", lines, 2*len(all))
	}
	for _, args := range [][]string{{"status"}, {"report"}, {"verify"}, {"plan", "job.json"}, {"validate", "job.json"}, {"items", "--state", "failed"}, {"diff", "latest", "latest"}, {"item", "latest", "\x1b[31mnobody"},
		{"status", "\x1b[31m"}, {"validate", "\x1b[31m.yaml"}, {"run", "bad.json"}, {"run", "badrow.json"}, {"status", "--\x1b[31m"}, {"\x1b[2J"}} {
		out, errs := run(args...)
		quiet(t, fmt.Sprintf("stdout of %q", args), out)
		quiet(t, fmt.Sprintf("stderr of %q", args), errs)
	}
	for i := range all {
		out, errs := run("item", "latest", strconv.Itoa(i))
		quiet(t, "item", out+errs)
		if i == 7 {
			break // one process each: the rest goes the same way
		}
	}
	for _, args := range [][]string{{"items", "--json", "--limit", "0"}, {"results", "--only", "failed"}, {"results"}} {
		out, _ := run(args...)
		if strings.Contains(out, "\x1b") || strings.Count(out, "\n") < len(all) {
			t.Errorf("%q: an escape byte, or only %d lines", args, strings.Count(out, "\n"))
		}
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%q prints a line that is not JSON: %.120q", args, line)
			}
		}
	}
	for _, args := range [][]string{{"status", "--json"}, {"report", "--json"}, {"diff", "--json", "latest", "latest"}, {"item", "--json", "latest", "0"}} {
		if out, _ := run(args...); !json.Valid([]byte(out)) || strings.Contains(out, "\x1b") {
			t.Errorf("%q is not JSON: %.200q", args, out)
		}
	}
}

// hostileTerminalRun makes a job whose provider answers and fails with the texts.
func hostileTerminalRun(t *testing.T, all []string) string {
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
		var answer any = map[string]any{"id": all[n], "model": all[n], "usage": map[string]int{"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
			"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": all[n]}}}}
		w.Header().Set("Content-Type", "application/json")
		if what == "fail" {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]any{"error": map[string]any{"message": all[n], "type": all[n], "code": all[n]}}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(provider.Close)
	var input bytes.Buffer
	e := json.NewEncoder(&input)
	for n, s := range all {
		id := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1 // an id with one is refused before the run
			}
			return r
		}, s)
		for _, row := range []map[string]any{{"id": fmt.Sprintf("%d %s", n, id), "text": fmt.Sprintf("fail %d", n)}, {"id": strconv.Itoa(n), "text": fmt.Sprintf("answer %d", n)}} {
			if err := e.Encode(row); err != nil {
				t.Fatal(err)
			}
		}
	}
	spec := func(uri string, more map[string]any) []byte {
		m := map[string]any{"job": map[string]any{"id": "hostile", "max_attempts": 1}, "input": map[string]any{"uri": uri, "id": "id"},
			"task": map[string]any{"provider": "openai_compatible", "base_url": provider.URL + "/v1", "model": "m", "prompt": "{{ text }}"}, "output": map[string]any{"uri": "out"}}
		for k, v := range more {
			m[k] = v
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"items.jsonl": input.Bytes(), "job.json": spec("items.jsonl", nil),
		"bad.json": spec("items.jsonl", map[string]any{"\x1b[31m\u202ekey": "\x1b]0;x\a"}), "badrow.json": spec("rows\u009b31m.jsonl", nil),
		"rows\u009b31m.jsonl": []byte("{\"id\":\"\\u001b[31m\",\"text\":\"a\"}\n{\"id\":\"\u202e\u009b\",\"te\x1bxt\":1}\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
