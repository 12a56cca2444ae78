package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/httpapi"
	"github.com/batchwright/batchwright/internal/report"
)

// service is an API with two runs in it; it keeps what it was asked.
type service struct {
	runs  map[string]app.Status
	raise app.Raise
	fail  error
	// applied: config.yaml was to be read again
	applied bool
}

func newService() *service {
	at := time.Date(2026, 9, 1, 2, 0, 0, 123456000, time.UTC)
	tokens := int64(150_000)
	run := app.Status{RunID: "r_1", Job: "nightly", State: batch.RunRunning, Live: true, StartedAt: &at, Deadline: &at,
		Items: app.ItemCounts{Total: 10, OK: 4, Failed: 1, Pending: 5}, Tokens: app.TokenCounts{Input: 7, Total: 7},
		Cost:   app.CostCounts{Pico: 1 << 60, USD: "1152921.504606846976", Known: true},
		Budget: app.BudgetCounts{Tokens: &tokens, Spent: report.Amount{Tokens: 3, Pico: 4, Retries: 5}},
		Pacing: &app.Pacing{Limit: 3, Max: 4, InFlight: 2, Why: "rate_limited", Cooldown: &at}, Output: "/tmp/out"}
	old := app.Status{RunID: "r_0", Job: "other", State: batch.RunPartial}
	return &service{runs: map[string]app.Status{"r_1": run, "": run, "latest": run, "r_0": old}}
}

func (s *service) Status(_ context.Context, ref string) (app.Status, error) {
	if s.fail != nil {
		return app.Status{}, s.fail
	}
	st, ok := s.runs[ref]
	if !ok {
		return st, &batch.Error{Kind: batch.NotFound, Op: "find run", Ref: ref, Msg: "there is no such run", Hint: "batchwright status --all"}
	}
	return st, nil
}

func (s *service) List(_ context.Context, job string, limit int) ([]app.Status, error) {
	out := []app.Status{}
	for _, id := range []string{"r_1", "r_0"} {
		if r := s.runs[id]; (job == "" || r.Job == job) && (limit == 0 || len(out) < limit) {
			out = append(out, r)
		}
	}
	return out, s.fail
}

func (s *service) Pause(ctx context.Context, ref, reason string) (app.Status, error) {
	st, err := s.Status(ctx, ref)
	st.State, st.Reason = batch.RunPaused, reason
	return st, err
}

func (s *service) Cancel(ctx context.Context, ref string, now bool, reason string) (app.Status, error) {
	st, err := s.Status(ctx, ref)
	if st.State.Ended() {
		return app.Status{}, &batch.Error{Kind: batch.Conflict, Op: "change run", Ref: ref, Msg: "the run has ended"}
	}
	st.Target, st.Reason = batch.RunCancelled, reason
	if now {
		st.State = batch.RunCancelled
	}
	return st, err
}

func (s *service) Resume(ctx context.Context, ref string, up app.Raise) (app.Started, error) {
	s.raise = up
	st, err := s.Status(ctx, ref)
	return app.Started{Run: st.RunID, Resumed: true, Note: "going on", Items: st.Items.Total}, err
}

func (s *service) Budgets(_ context.Context, apply bool) ([]app.BudgetStatus, error) {
	s.applied = s.applied || apply
	return []app.BudgetStatus{{Name: "team", Period: batch.PeriodMonth, Label: "2026-11"}}, s.fail
}

// contract is what every API does with the runs of newService.
func contract(t *testing.T, api httpapi.API, behind *service) {
	ctx := t.Context()
	for _, ref := range []string{"", "latest", "r_1", "r_0"} {
		got, err := api.Status(ctx, ref)
		if diff := cmp.Diff(behind.runs[ref], got); err != nil || diff != "" {
			t.Errorf("status %q: %v\n%s", ref, err, diff)
		}
	}
	for _, apply := range []bool{false, true} {
		bs, err := api.Budgets(ctx, apply)
		if err != nil || len(bs) != 1 || bs[0].Name != "team" || behind.applied != apply {
			t.Errorf("budgets, apply %v: %+v, %v", apply, bs, err)
		}
	}
	for _, ref := range []string{"r_2", "a/b", "a b", "r_1/pause", "?x", "ü"} {
		_, err := api.Status(ctx, ref)
		e, ok := errors.AsType[*batch.Error](err)
		if !ok || e.Kind != batch.NotFound || e.Ref != ref || batch.HintOf(err) != "batchwright status --all" ||
			err.Error() != ref+": find run: there is no such run" {
			t.Errorf("status %q: %#v", ref, err)
		}
	}
	for _, x := range []struct {
		job   string
		limit int
		want  int
	}{{"", 0, 2}, {"", 1, 1}, {"other", 0, 1}, {"none & more", 0, 0}} {
		if got, err := api.List(ctx, x.job, x.limit); err != nil || len(got) != x.want {
			t.Errorf("list %q %d: %d runs, %v", x.job, x.limit, len(got), err)
		}
	}
	if st, err := api.Pause(ctx, "r_1", "lunch"); err != nil || st.State != batch.RunPaused || st.Reason != "lunch" {
		t.Errorf("pause: %+v %v", st, err)
	}
	if st, err := api.Cancel(ctx, "", false, "wrong input"); err != nil || st.State != batch.RunRunning || st.Target != batch.RunCancelled || st.Reason != "wrong input" {
		t.Errorf("cancel: %+v %v", st, err)
	}
	if st, err := api.Cancel(ctx, "r_1", true, ""); err != nil || st.State != batch.RunCancelled {
		t.Errorf("cancel now: %+v %v", st, err)
	}
	if _, err := api.Cancel(ctx, "r_0", false, ""); batch.KindOf(err) != batch.Conflict {
		t.Errorf("cancel of an ended run: %v", err)
	}
	up := app.Raise{Tokens: 5, Pico: 1 << 60, Retries: 7, Deadline: 90 * time.Minute}
	if st, err := api.Resume(ctx, "r_1", up); err != nil || st.Run != "r_1" || !st.Resumed || st.Note != "going on" || st.Items != 10 || behind.raise != up {
		t.Errorf("resume: %+v %v, asked %+v", st, err, behind.raise)
	}
	if _, err := api.Resume(ctx, "r_9", app.Raise{}); batch.KindOf(err) != batch.NotFound {
		t.Errorf("resume of no run: %v", err)
	}
}

// serve serves s on a socket for the length of the test.
func serve(t *testing.T, s httpapi.API) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sock")
	l, err := httpapi.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, httpapi.New(s)) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("service", func(t *testing.T) {
		t.Parallel()
		s := newService()
		contract(t, s, s)
	})
	t.Run("client and server", func(t *testing.T) {
		t.Parallel()
		s := newService()
		c := httpapi.Dial(serve(t, s))
		defer c.Close() //nolint:errcheck // idle connections only
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		contract(t, c, s)
	})
	t.Run("client of a client", func(t *testing.T) {
		t.Parallel()
		s := newService()
		c := httpapi.Dial(serve(t, httpapi.Dial(serve(t, s))))
		defer c.Close() //nolint:errcheck // idle connections only
		contract(t, c, s)
	})
}

// Every kind of error comes through as itself; one that is none of ours is
// internal and keeps its words.
func TestErrorsSurviveTheWire(t *testing.T) {
	t.Parallel()
	s := newService()
	c := httpapi.Dial(serve(t, s))
	defer c.Close() //nolint:errcheck // idle connections only
	for _, k := range []batch.Kind{batch.Internal, batch.Usage, batch.Invalid, batch.Config, batch.NotFound, batch.Conflict, batch.Credentials,
		batch.Account, batch.BudgetExceeded, batch.Deadline, batch.Approval, batch.Cancelled, batch.StillRunning, batch.Unavailable,
		batch.Drained, batch.Interrupted, batch.Unfinished} {
		was := &batch.Error{Kind: k, Op: "op", Ref: "job.yaml:3:4", Msg: "what \"happened\" <b>", Err: &batch.Error{Kind: batch.Internal, Msg: "inner", Hint: "do this"}}
		s.fail = was
		_, err := c.Status(t.Context(), "r_1")
		if batch.KindOf(err) != k || err.Error() != was.Error() || batch.HintOf(err) != "do this" {
			t.Errorf("%s: %v (%s), hint %q", k, err, batch.KindOf(err), batch.HintOf(err))
		}
	}
	s.fail = errors.New("plain")
	if _, err := c.Status(t.Context(), "r_1"); batch.KindOf(err) != batch.Internal || err.Error() != "plain" {
		t.Errorf("plain: %v", err)
	}
}

func TestSocketIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	path := serve(t, newService())
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 || st.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

// A socket that a killed process left is no obstacle.
func TestListenReplacesADeadSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := httpapi.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := httpapi.Listen(filepath.Join(dir, "no", "s")); batch.KindOf(err) != batch.Config {
		t.Errorf("no folder: %v", err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	for name, ask := range map[string]func(*httpapi.Client) error{
		"ping":   func(c *httpapi.Client) error { return c.Ping(t.Context()) },
		"status": func(c *httpapi.Client) error { _, err := c.Status(t.Context(), ""); return err },
		"cancel": func(c *httpapi.Client) error { _, err := c.Cancel(t.Context(), "", false, ""); return err },
	} {
		if err := ask(httpapi.Dial(path)); batch.KindOf(err) != batch.Unavailable || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What answers and is not batchwright is unavailable, whatever it says.
func TestStrangersAnswer(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "hello", `{"error":{}}`, `{"error":"x"}`, `[]`, `{"service":"nginx"}`} {
		for _, code := range []int{200, 404, 500} {
			dir, err := os.MkdirTemp("", "bw")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir) //nolint:errcheck // temporary
			l, err := httpapi.Listen(filepath.Join(dir, "s"))
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
			})}
			go srv.Serve(l) //nolint:errcheck // ends with Close
			if err := httpapi.Dial(filepath.Join(dir, "s")).Ping(t.Context()); batch.KindOf(err) != batch.Unavailable {
				t.Errorf("%d %q: %v", code, body, err)
			}
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Requests that no client of ours sends.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	h := httpapi.New(newService())
	for _, x := range []struct {
		method, path, body string
		code               int
		kind               batch.Kind
	}{
		{"GET", "/", "", 404, batch.NotFound}, {"GET", "/v1/runs/r_1/pause", "", 404, batch.NotFound}, {"DELETE", "/v1/runs/r_1", "", 404, batch.NotFound},
		{"POST", "/v1/runs/r_1/explode", "{}", 404, batch.NotFound},
		{"GET", "/v1/runs?limit=x", "", 400, batch.Usage}, {"GET", "/v1/runs?limit=-1", "", 400, batch.Usage},
		{"POST", "/v1/runs/r_1/pause", "{", 400, batch.Usage}, {"POST", "/v1/runs/r_1/pause", `{"now":"yes"}`, 400, batch.Usage},
		{"POST", "/v1/runs/r_1/resume", `{"tokens":1.5}`, 400, batch.Usage}, {"POST", "/v1/runs/r_1/resume", `{"token":1}`, 400, batch.Usage},
		{"POST", "/v1/runs/r_1/cancel", `{"reason":"` + strings.Repeat("x", 100_000) + `"}`, 400, batch.Usage},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(x.method, x.path, strings.NewReader(x.body)))
		var got struct{ Error struct{ Kind batch.Kind } }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != x.code || got.Error.Kind != x.kind {
			t.Errorf("%s %s: %d %s (%v)", x.method, x.path, w.Code, w.Body, err)
		}
	}
	// An empty body is an empty request.
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/runs/r_1/pause", nil))
	if w.Code != 200 {
		t.Errorf("empty body: %d %s", w.Code, w.Body)
	}
}
