package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// Money is spent, and files are written, only after a yes where there is
// somebody to say it.
func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		answer string
		tty    bool
		yes    bool
		want   batch.Kind
	}{
		{"y\n", true, false, ""}, {"YES\n", true, false, ""}, {"n\n", true, false, batch.Cancelled}, {"\n", true, false, batch.Cancelled},
		{"", true, false, batch.Cancelled}, {"y", true, false, batch.Cancelled}, {"y\n", false, false, batch.Usage}, {"", false, true, ""},
	} {
		var out bytes.Buffer
		inv := invoke(&out, Globals{Yes: x.yes}, func(s *System) {
			s.Stdin, s.StdinTTY, s.StderrTTY = strings.NewReader(x.answer), x.tty, x.tty
		})
		err := inv.confirm("try 3 items again, about $0.10")
		if (err == nil) != (x.want == "") || err != nil && batch.KindOf(err) != x.want {
			t.Errorf("%+v: %v", x, err)
		}
		if !strings.Contains(out.String()+errorText(err), "3 items again, about $0.10") && x.want != batch.Usage {
			t.Errorf("%+v does not say what: %s", x, &out)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInitAsks(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		answer, job string
		code        int
	}{{"\n", "nightly-summaries", 0}, {"Label\n", "label-tickets", 0}, {"poem\n", "", 64}, {"", "", 9}} {
		dir := t.TempDir()
		var out bytes.Buffer
		got := Main(context.Background(), System{Args: []string{"init", dir}, Stdin: strings.NewReader(x.answer), Stdout: &out, Stderr: &out,
			StdinTTY: true, StderrTTY: true, Getenv: func(string) string { return "" }, Now: time.Now})
		text, err := os.ReadFile(filepath.Join(dir, "job.yaml"))
		if got != x.code || (err == nil) != (x.code == 0) || !strings.Contains(string(text), x.job) {
			t.Errorf("%q: code %d, %v\n%s", x.answer, got, err, &out)
		}
		if !strings.Contains(out.String(), "summarize, label, backfill, eval") {
			t.Errorf("%q was not asked: %s", x.answer, &out)
		}
	}
}

// The flags of simulate become one knob string, and the base URL is data.
func TestSimulateFlags(t *testing.T) {
	t.Parallel()
	var got SimulateOptions
	var out, errs bytes.Buffer
	sys := System{Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Now: time.Now,
		Signals: func(...os.Signal) (<-chan os.Signal, func()) { return nil, func() {} },
		Simulate: func(_ context.Context, o SimulateOptions) error {
			got = o
			o.Ready("127.0.0.1:4711")
			return nil
		}}
	sys.Args = strings.Fields("simulate --listen :0 --faults 429:0.1,context=100 --latency 5ms --rpm 60 --tpm 1000 --concurrency 3 --words 9 --seed 4 --key k --model a --model b --bill f")
	if code := Main(context.Background(), sys); code != 0 {
		t.Fatalf("code %d: %s", code, &errs)
	}
	want := "429:0.1,context=100,latency=5ms,rpm=60,tpm=1000,concurrency=3,words=9,seed=4"
	if got.Knobs != want || got.Listen != ":0" || got.Key != "k" || strings.Join(got.Models, " ") != "a b" || got.Bill != "f" {
		t.Errorf("%+v", got)
	}
	if out.String() != "http://127.0.0.1:4711/v1\n" {
		t.Errorf("stdout %q", &out)
	}
	out.Reset()
	sys.Args = []string{"simulate", "--json", "--dialect", "anthropic"}
	if code := Main(context.Background(), sys); code != 0 || !strings.Contains(out.String(), `"base_url": "http://127.0.0.1:4711"`) {
		t.Errorf("code %d: %s%s", code, &out, &errs)
	}
}

// A terminal without UTF-8 gets the same words in ASCII.
func TestPlainSigns(t *testing.T) {
	t.Parallel()
	for _, lang := range []string{"C", "POSIX", "de_DE.ISO-8859-1", ""} {
		inv := invoke(&bytes.Buffer{}, Globals{}, func(s *System) {
			s.Getenv = func(name string) string { return map[string]string{"LANG": lang}[name] }
		})
		tty := &ttyProgress{p: inv.p}
		f := (&meter{}).frame(time.Unix(0, 0), status(batch.RunPaused, 3, 7))
		text := inv.p.sign("✓") + inv.p.sign("✗") + inv.p.sign("→") + strings.Join(tty.lines(f, 79), "\n")
		for _, r := range text {
			if r > 126 {
				t.Errorf("LANG=%s: %q in %s", lang, r, text)
			}
		}
		if !strings.Contains(text, "[#") {
			t.Errorf("LANG=%s: no bar in %s", lang, text)
		}
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"a/b-c_d.e": "a/b-c_d.e", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'", "a;b": "'a;b'", "ü": "'ü'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
