// Command mutants plants bugs into batchwright, one at a time, and runs the
// tests that must notice. A mutant whose tests pass is a survivor: a hole in
// the tests. So is one that cannot be planted any more, or does not compile.
// Nothing in the checkout is touched: the changed files are laid over it by
// the compiler.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// edit replaces old, which must stand in the file exactly once.
type edit struct {
	file, old, new string
}

// tests are what must notice: a package, a -run pattern, more arguments.
type tests struct {
	pkg, run string
	args     []string
}

func (t tests) String() string { return strings.Join(append([]string{t.pkg, t.run}, t.args...), " ") }

// mutant is one planted bug.
type mutant struct {
	name  string
	edits []edit
	kill  tests
}

// result is how a mutant ended.
type result struct {
	killed  bool
	how     string // what noticed it
	err     error
	seconds float64
}

func main() {
	only := flag.String("only", "", "plant those with this in their name")
	jobs := flag.Int("j", 2, "how many at once")
	every := flag.Int("every", 1, "plant every nth: a sample")
	show := flag.Bool("v", false, "print what the tests said")
	flag.Parse()
	if err := run(*only, *jobs, *every, *show); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only string, jobs, every int, show bool) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return errors.New("run it at the root of the repository")
	}
	var todo []mutant
	for i, m := range all() {
		if strings.Contains(m.name, only) && i%every == 0 {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return fmt.Errorf("no mutant is called %q", only)
	}
	begun := time.Now()
	unsound := sound(root, todo, jobs, show)
	fmt.Printf("     the tests ran without mutants, %.0f s\n", time.Since(begun).Seconds())
	killed, wrong := 0, 0
	results := parallel(len(todo), jobs, func(i int) result {
		r := result{err: unsound[todo[i].kill.String()]}
		if r.err == nil {
			r = plant(root, todo[i], show)
		}
		mark, says := "ok  ", "killed by "+r.how
		switch {
		case r.err != nil:
			mark, says = "RED ", "ERROR: "+r.err.Error()
		case !r.killed:
			mark, says = "RED ", "SURVIVES "+todo[i].kill.String()
		}
		fmt.Printf("%s %-64s %6.1f s  %s\n", mark, todo[i].name, r.seconds, says)
		return r
	})
	for _, r := range results {
		if r.killed && r.err == nil {
			killed++
		} else {
			wrong++
		}
	}
	fmt.Printf("%d/%d mutants killed, %.0f s\n", killed, len(todo), time.Since(begun).Seconds())
	if wrong > 0 {
		return fmt.Errorf("%d of %d are not killed", wrong, len(todo))
	}
	return nil
}

// parallel calls f for 0..n-1, some at a time, and keeps the order.
func parallel(n, jobs int, f func(int) result) []result {
	out := make([]result, n)
	places := make(chan struct{}, max(jobs, 1))
	var wait sync.WaitGroup
	for i := range n {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			out[i] = f(i)
		})
	}
	wait.Wait()
	return out
}

// sound runs every test that is to kill once without a mutant, and says of
// each that fails, or does not exist, that it proves nothing.
func sound(root string, ms []mutant, jobs int, show bool) map[string]error {
	var ts []tests
	for _, m := range ms {
		if !slices.ContainsFunc(ts, func(t tests) bool { return t.String() == m.kill.String() }) {
			ts = append(ts, m.kill)
		}
	}
	rs := parallel(len(ts), jobs, func(i int) result {
		out, err := goTest(root, "", ts[i])
		if err == nil && strings.Contains(out, "no tests to run") {
			err = errors.New("there is no such test")
		}
		if err != nil && show {
			fmt.Println(out)
		}
		if err != nil {
			err = fmt.Errorf("without a mutant, %s: %w: %s", ts[i], err, last(out))
		}
		return result{err: err}
	})
	unsound := map[string]error{}
	for i, r := range rs {
		unsound[ts[i].String()] = r.err
	}
	return unsound
}

// plant builds one mutant and runs its tests.
func plant(root string, m mutant, show bool) (r result) {
	begun := time.Now()
	defer func() { r.seconds = time.Since(begun).Seconds() }()
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return result{err: err}
	}
	defer os.RemoveAll(dir)
	overlay, err := lay(root, dir, m)
	if err != nil {
		return result{err: err}
	}
	out, err := goTest(root, overlay, m.kill)
	if show {
		fmt.Println(out)
	}
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		return result{err: fmt.Errorf("it does not compile: %s", last(out))}
	}
	return result{killed: err != nil, how: killer(out)}
}

// lay writes the changed files into dir and says so to the compiler.
func lay(root, dir string, m mutant) (overlay string, err error) {
	text, replace := map[string]string{}, map[string]string{}
	for _, e := range m.edits {
		file := filepath.Join(root, e.file)
		if _, ok := text[file]; !ok {
			src, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			text[file] = string(src)
		}
		if n := strings.Count(text[file], e.old); n != 1 {
			return "", fmt.Errorf("%s holds %d times, not once: %s", e.file, n, e.old)
		}
		text[file] = strings.Replace(text[file], e.old, e.new, 1)
	}
	for file, src := range text {
		to := filepath.Join(dir, fmt.Sprintf("%d_%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(to, []byte(src), 0o600); err != nil {
			return "", err
		}
		replace[file] = to
	}
	body, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, body, 0o600)
}

// limit is how long the tests of one mutant may take; one that hangs is killed
// by that.
const limit = 90 * time.Second

func goTest(root, overlay string, t tests) (string, error) {
	args := []string{"test", "-tags", "disable_grpc_modules", "-vet=off", "-count=1", "-failfast", "-timeout", limit.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	args = append(append(args, "-run", t.run, "./"+t.pkg), t.args...)
	ctx, cancel := context.WithTimeout(context.Background(), 4*limit)
	defer cancel()
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	return string(out), err
}

// killer names the test that failed, the innermost.
func killer(out string) string {
	name := "a panic"
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "---" && f[1] == "FAIL:" {
			name = f[2]
		}
	}
	if strings.Contains(out, "panic: test timed out") {
		name += " (it hung)"
	}
	return name
}

func last(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
}
