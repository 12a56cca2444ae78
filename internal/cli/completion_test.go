package cli

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func grammarWords(t *testing.T) []completable {
	t.Helper()
	var g grammar
	k, err := newParser(&g, System{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	return words(k.Model)
}

// The contract's verbs exist, and no other.
func TestVerbs(t *testing.T) {
	t.Parallel()
	want := strings.Fields("init demo validate plan run status budgets watch wait resume retry pause cancel items item results report diff verify simulate doctor db completion version help")
	if got := grammarWords(t)[0].subs; !slices.Equal(got, want) {
		t.Errorf("verbs: %v\nwant:  %v", got, want)
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	cs := grammarWords(t)
	for _, x := range []struct {
		shell string
		write func(*bytes.Buffer) error
		want  []string
	}{
		{"bash", func(b *bytes.Buffer) error { return bashCompletion(b, cs) }, []string{`" db backup")`, "--run-key", `compgen -W "auto tty plain json none"`}},
		{"zsh", func(b *bytes.Buffer) error { return zshCompletion(b, cs) }, []string{`" db backup")`, "'--run-key:", "compadd auto tty plain json none"}},
		{"fish", func(b *bytes.Buffer) error { return fishCompletion(b, cs) }, []string{"-a backup", "-l run-key", "-a 'auto tty plain json none'"}},
	} {
		var b bytes.Buffer
		if err := x.write(&b); err != nil {
			t.Fatal(err)
		}
		for _, w := range x.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", x.shell, w, &b)
			}
		}
	}
}

// The bash script completes what a person types.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Logf("no bash here: %v", err)
		return
	}
	var script bytes.Buffer
	if err := bashCompletion(&script, grammarWords(t)); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"re": "resume retry results report", "run --run": "--run-key", "db ": "path backup check vacuum", "run --progress t": "tty",
		"help exit": "exit-codes", "completion z": "zsh", "--data": "--data-dir", "status --progress pl": "plain",
	} {
		c := exec.Command(bash, "-c", script.String()+`
COMP_WORDS=(batchwright $1); [ "${1% }" != "$1" ] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _batchwright; echo "${COMPREPLY[@]}"`, "bash", typed)
		out, err := c.CombinedOutput()
		got := strings.TrimSpace(string(out))
		if typed == "db " { // its flags follow its commands
			got, _, _ = strings.Cut(got, " --")
		}
		if err != nil || got != want {
			t.Errorf("%q completes to %q (%v), want %q", typed, got, err, want)
		}
	}
}
