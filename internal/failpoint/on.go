//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const enabled = true

// order is what is to happen at one hit of a point.
type order struct {
	at   int
	end  string
	wait time.Duration
}

// board is the state of the points of this process: what was ordered, and how
// often each was hit.
type board struct {
	mu     sync.Mutex
	orders map[string]order
	hits   map[string]int
	log    *os.File
}

// posted reads the orders once. An order that cannot be read ends the process:
// a harness that asks for nothing would pass.
var posted = sync.OnceValue(func() *board {
	b := &board{orders: map[string]order{}, hits: map[string]int{}}
	for spec := range strings.SplitSeq(os.Getenv("BATCHWRIGHT_FAILPOINT"), ",") {
		if spec == "" {
			continue
		}
		name, o, err := parse(spec)
		if err != nil {
			refuse(err)
		}
		b.orders[name] = o
	}
	if path := os.Getenv("BATCHWRIGHT_FAILPOINT_LOG"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			refuse(err)
		}
		b.log = f
	}
	return b
})

func refuse(err error) {
	fmt.Fprintln(os.Stderr, "BATCHWRIGHT_FAILPOINT:", err)
	os.Exit(2)
}

// parse reads name[#hit][=end].
func parse(spec string) (string, order, error) {
	o := order{at: 1, end: "kill"}
	spec, end, ok := strings.Cut(spec, "=")
	if ok {
		o.end = end
	}
	name, at, ok := strings.Cut(spec, "#")
	if ok {
		n, err := strconv.Atoi(at)
		if err != nil || n < 1 {
			return "", o, fmt.Errorf("%q is no count of hits", at)
		}
		o.at = n
	}
	if wait, ok := strings.CutPrefix(o.end, "wait:"); ok {
		d, err := time.ParseDuration(wait)
		if err != nil {
			return "", o, err
		}
		o.end, o.wait = "wait", d
	}
	if !known(name) {
		return "", o, fmt.Errorf("there is no point %q", name)
	}
	if _, ok := signals[o.end]; !ok && o.end != "wait" {
		return "", o, fmt.Errorf("%q is no end: kill, stop, term, int, wait:500ms", o.end)
	}
	return name, o, nil
}

var signals = map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP, "term": syscall.SIGTERM, "int": syscall.SIGINT}

func known(name string) bool {
	for _, p := range Table {
		if p.Name == name {
			return true
		}
	}
	return false
}

// Hit tells that the place name was reached, and does what was ordered for it.
// After a kill it does not return.
func Hit(name string) {
	b := posted()
	if len(b.orders) == 0 && b.log == nil {
		return
	}
	b.mu.Lock()
	b.hits[name]++
	n := b.hits[name]
	if b.log != nil && (n <= 8 || n&(n-1) == 0) {
		if _, err := fmt.Fprintln(b.log, name, n); err != nil {
			refuse(err)
		}
	}
	o, ok := b.orders[name]
	b.mu.Unlock()
	if !ok || o.at != n {
		return
	}
	if o.end == "wait" {
		time.Sleep(o.wait)
		return
	}
	if err := syscall.Kill(os.Getpid(), signals[o.end]); err != nil {
		refuse(err)
	}
	if o.end == "kill" {
		select {} // the signal is on its way; nothing of this goroutine may come after it
	}
}
