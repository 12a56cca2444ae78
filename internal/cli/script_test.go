package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/batchwright/batchwright/internal/simulator"
	"github.com/batchwright/batchwright/internal/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"batchwright": func() { os.Exit(wire.Main()) }})
}

// The scripts run the real program. Beside testscript's own commands they have:
//
//	code N batchwright ARGS…       the command exits with N
//	provider NAME KNOBS            a simulator over HTTP; $NAME is its base URL, $NAME_HOST its host and port
//	until PATTERN batchwright ARGS…  runs the command again until stdout matches
//	envsubst FROM TO NAME          copies a file with URL replaced by $NAME
//	damage GLOB                    flips a byte in the middle of each file
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(4 * time.Minute),
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": code, "provider": startProvider, "until": until, "damage": damage, "envsubst": substitute,
		},
	})
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg {
		ts.Fatalf("usage: code N command args…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%v exited with %d, want %d", args[1:], got, want)
	}
}

func startProvider(ts *testscript.TestScript, _ bool, args []string) {
	knobs, err := simulator.ParseKnobs(simulator.DefaultKnobs(), strings.Join(args[1:], ","))
	ts.Check(err)
	s := httptest.NewServer(simulator.New(simulator.Config{Knobs: knobs, Now: time.Now}))
	ts.Defer(func() { s.CloseClientConnections(); s.Close() })
	ts.Setenv(args[0], s.URL+"/v1")
	ts.Setenv(args[0]+"_HOST", strings.TrimPrefix(s.URL, "http://"))
}

func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out, errs bytes.Buffer
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		out.Reset()
		errs.Reset()
		c := exec.Command(args[1], args[2:]...)
		c.Path, err = lookIn(ts.Getenv("PATH"), args[1])
		ts.Check(err)
		c.Dir, c.Stdout, c.Stderr = ts.MkAbs("."), &out, &errs
		c.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "LANG=C.UTF-8", "TZ=UTC", "NO_COLOR=1"}
		_ = c.Run() // before the run exists it fails
		if want.Match(out.Bytes()) {
			return
		}
	}
	ts.Fatalf("%v never printed %q; last:\n%s%s", args[1:], args[0], out.String(), errs.String())
}

func lookIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", name, path)
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		ts.Check(err)
		b[len(b)/2] ^= 0xff
		ts.Check(os.WriteFile(f, b, 0o600))
	}
}

func substitute(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "URL", ts.Getenv(args[2]))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
