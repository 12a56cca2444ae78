package wire

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/batchwright/batchwright/internal/cli"
	"github.com/batchwright/batchwright/internal/secret"
)

// discreet answers as h does, without the secrets of this process. Every answer
// of h is one write.
type discreet struct {
	h   http.Handler
	red *secret.Redactor
}

func (d discreet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.h.ServeHTTP(discreetWriter{w, d.red}, r)
}

type discreetWriter struct {
	http.ResponseWriter
	red *secret.Redactor
}

func (w discreetWriter) Write(b []byte) (int, error) {
	if _, err := w.ResponseWriter.Write(w.red.Bytes(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// learn makes the values known that the names of environment variables call
// secret. Paths and addresses are none.
func learn(red *secret.Redactor, environ []string) {
	var found []secret.Secret
	for _, kv := range environ {
		name, v, _ := strings.Cut(kv, "=")
		if len(v) >= secret.ShortestPayload && secret.Telling(name) && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, ".") && !strings.Contains(v, "://") {
			found = append(found, secret.New(v))
		}
	}
	red.Add(found...)
}

// noCore keeps the memory of this process, where keys are, out of core files.
// A system that does not know the limit writes none of the kind it limits.
func noCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

// caught tells of a panic on stderr, from which secrets are taken, instead of
// letting the runtime print it. It is deferred.
func caught(stderr io.Writer, code *int) {
	if r := recover(); r != nil {
		fmt.Fprintf(stderr, "error: a fault of batchwright itself: %v\n\n%s", r, debug.Stack())
		*code = int(cli.CodeInternal)
	}
}
