// Command model checks the models of the protocol in this folder with Spin:
// every correct one must hold, and every planted bug must be found, by the
// assertion that is there to find it. Anything else is an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// subject is one model at one size, or with one bug planted.
type subject struct {
	file    string
	bug     string   // planted; "" none
	defines []string // sizes, without -D
	live    bool     // checked for liveness under weak fairness, too
	expect  []string // the assertions that may find the bug, or "cycle"
}

func (s subject) String() string {
	words := []string{s.file}
	if s.bug != "" {
		words = append(words, s.bug)
	}
	return strings.Join(append(words, s.defines...), " ")
}

// verdict is what the checker said.
type verdict struct {
	states  int64
	seconds float64
	found   string // "" none, the assertion, or "cycle"
	err     error
}

func main() {
	deep := flag.Bool("deep", false, "check the large sizes")
	only := flag.String("only", "", "check what has this in its name")
	jobs := flag.Int("j", 2, "how many at once")
	memory := flag.Int("mem", 1800, "MB that one of them may use")
	keep := flag.String("trail", "", "print the steps to the error of this subject")
	flag.Parse()
	if err := run(*deep, *only, *jobs, *memory, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func run(deep bool, only string, jobs, memory int, trail string) error {
	for _, tool := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is needed: apt-get install spin gcc", tool)
		}
	}
	folder, err := sources()
	if err != nil {
		return err
	}
	if err := complete(folder); err != nil {
		return err
	}
	todo := slices.DeleteFunc(subjects(deep), func(s subject) bool { return !strings.Contains(s.String(), only) })
	if len(todo) == 0 {
		return fmt.Errorf("nothing is called %q", only)
	}
	begun := time.Now()
	results := make([]verdict, len(todo))
	var wait sync.WaitGroup
	places := make(chan struct{}, jobs)
	for i, s := range todo {
		wait.Add(1)
		places <- struct{}{}
		go func() {
			defer func() { <-places; wait.Done() }()
			results[i] = check(folder, s, memory, trail != "" && strings.Contains(s.String(), trail))
		}()
	}
	wait.Wait()
	return tell(todo, results, time.Since(begun))
}

func tell(todo []subject, results []verdict, took time.Duration) error {
	var wrong, bugs, found int
	var states int64
	for i, s := range todo {
		v := results[i]
		says := "holds"
		switch {
		case v.err != nil:
			says = "ERROR: " + v.err.Error()
		case s.bug != "" && v.found == "":
			says = "NOT FOUND"
		case s.bug != "" && !slices.Contains(s.expect, v.found):
			says = fmt.Sprintf("found by %s, expected %s", v.found, strings.Join(s.expect, " or "))
		case s.bug != "":
			says = "found by " + v.found
		case v.found != "":
			says = "BROKEN: " + v.found
		}
		ok := v.err == nil && ((s.bug == "" && v.found == "") || (s.bug != "" && slices.Contains(s.expect, v.found)))
		if s.bug != "" {
			bugs++
			if ok {
				found++
			}
		} else {
			states += v.states
		}
		mark := "ok  "
		if !ok {
			mark = "RED "
			wrong++
		}
		fmt.Printf("%s %-52s %11d states %6.1f s  %s\n", mark, s, v.states, v.seconds, says)
	}
	fmt.Printf("%d states of correct models, %d/%d planted bugs found, %.0f s\n", states, found, bugs, took.Seconds())
	if wrong > 0 {
		return fmt.Errorf("%d of %d are not as they must be", wrong, len(todo))
	}
	return nil
}

// sources is the folder of the models: this one, or model/ below.
func sources() (string, error) {
	for _, f := range []string{".", "model"} {
		if _, err := os.Stat(filepath.Join(f, "money.pml")); err == nil {
			return filepath.Abs(f)
		}
	}
	return "", errors.New("run it at the root of the repository")
}

var bugName = regexp.MustCompile(`\bBUG_[A-Z_]+\b`)

// complete reports a bug that stands in a model and in no table, or the other
// way round: it would never be planted.
func complete(folder string) error {
	listed := map[string]bool{}
	for _, s := range subjects(false) {
		if s.bug != "" {
			listed[s.file+" "+s.bug] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.pml"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		for _, b := range slices.Compact(slices.Sorted(slices.Values(bugName.FindAllString(string(text), -1)))) {
			name := filepath.Base(f) + " " + b
			if !listed[name] {
				return fmt.Errorf("%s is in no table", name)
			}
			delete(listed, name)
		}
	}
	for name := range listed {
		return fmt.Errorf("%s is in the table, and in no model", name)
	}
	return nil
}

var (
	statesLine   = regexp.MustCompile(`(?m)^\s*([0-9.e+]+) states, stored`)
	elapsedLine  = regexp.MustCompile(`elapsed time ([0-9.e+]+)`)
	violatedLine = regexp.MustCompile(`assertion violated \(*([A-Za-z0-9_]+)`)
	errorsLine   = regexp.MustCompile(`errors: (\d+)`)
)

// check generates, compiles and runs the verifier of one subject.
func check(folder string, s subject, memory int, trail bool) (v verdict) {
	dir, err := os.MkdirTemp("", "model-")
	if err != nil {
		return verdict{err: err}
	}
	defer os.RemoveAll(dir)
	gen := []string{"-a"}
	if s.bug != "" {
		gen = append(gen, "-D"+s.bug)
	}
	for _, d := range s.defines {
		gen = append(gen, "-D"+d)
	}
	if out, err := command(dir, "spin", append(gen, filepath.Join(folder, s.file))...); err != nil || strings.Contains(out, "rror:") {
		return verdict{err: errors.Join(err, fmt.Errorf("spin: %s", out))}
	}
	cc := []string{"-O1", "-w", "-DCOLLAPSE", "-DMEMLIM=" + strconv.Itoa(memory), "-o", "pan", "pan.c"}
	pan := []string{"-E", "-m400000", "-w23"}
	if s.live {
		cc, pan = append(cc, "-DNFAIR=3"), append(pan, "-a", "-f")
	} else {
		cc = append(cc, "-DSAFETY")
	}
	if s.bug == "" { // these run long enough to pay for it
		cc[0] = "-O2"
	}
	if out, err := command(dir, "gcc", cc...); err != nil {
		return verdict{err: fmt.Errorf("gcc: %w %s", err, out)}
	}
	out, err := command(dir, "./pan", pan...)
	v = read(out, err)
	if trail && v.found != "" {
		steps, _ := command(dir, "spin", append(append(gen[1:], "-t", "-p", "-g", "-l", "-k", s.file+".trail"), filepath.Join(folder, s.file))...)
		fmt.Println(steps)
	}
	return v
}

// read takes the verdict from what the verifier printed. A search that did not
// look at everything, and found nothing, is an error.
func read(out string, err error) (v verdict) {
	number := func(re *regexp.Regexp) float64 {
		if m := re.FindStringSubmatch(out); m != nil {
			f, _ := strconv.ParseFloat(m[1], 64)
			return f
		}
		return 0
	}
	v.states, v.seconds = int64(number(statesLine)), number(elapsedLine)
	m := errorsLine.FindStringSubmatch(out)
	switch {
	case m == nil:
		v.err = errors.Join(err, fmt.Errorf("the verifier ended early: %s", out))
	case m[1] == "0":
		if strings.Contains(out, "out of memory") || strings.Contains(out, "max search depth too small") {
			v.err = errors.New("the search was cut short: more memory, or a smaller size")
		}
	case violatedLine.MatchString(out):
		v.found = violatedLine.FindStringSubmatch(out)[1]
	case strings.Contains(out, "acceptance cycle"):
		v.found = "cycle"
	default:
		v.err = fmt.Errorf("an error of another kind: %s", out)
	}
	return v
}

func command(dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	return string(out), err
}
