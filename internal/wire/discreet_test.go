package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/batchwright/batchwright/internal/secret"
)

const canary = "canary-0123456789-abcdefghij"

func TestPanicsAreToldWithoutSecrets(t *testing.T) {
	t.Parallel()
	for _, v := range []any{canary, errors.New("refused: " + canary), fmt.Sprintf("%q", canary), fmt.Errorf("x: %x", canary), []byte(canary)} {
		var red secret.Redactor
		red.Add(secret.New(canary))
		var out bytes.Buffer
		code := 0
		func() {
			defer caught(red.Writer(&out), &code)
			panic(v)
		}()
		if code != 1 || !strings.Contains(out.String(), "a fault of batchwright") || !strings.Contains(out.String(), secret.Redacted) || strings.Contains(out.String(), canary) {
			t.Errorf("%T: code %d, %s", v, code, out.String())
		}
	}
}

func TestAnswersHoldNoSecrets(t *testing.T) {
	t.Parallel()
	red := new(secret.Redactor)
	learn(red, []string{"TEAM_TOKEN=" + canary, "HOME=/home/somebody-with-a-long-name", "SSL_KEY=/etc/ssl/private/some.key", "MODEL=gpt-4o-mini-2024-07-18", "SHORT_KEY=abc"})
	w := httptest.NewRecorder()
	discreet{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"error":"no run %s; gpt-4o-mini-2024-07-18 /etc/ssl/private/some.key /home/somebody-with-a-long-name abc"}`, r.URL.Path)
	}), red}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+canary, nil))
	if got := w.Body.String(); got != `{"error":"no run /[redacted]; gpt-4o-mini-2024-07-18 /etc/ssl/private/some.key /home/somebody-with-a-long-name abc"}` {
		t.Errorf("%s", got)
	}
}

func TestNoCore(t *testing.T) {
	noCore()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil || l.Cur != 0 || l.Max != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}
