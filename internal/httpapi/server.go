package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/failpoint"
)

// maxBody bounds a request's body; the largest one there is has a few numbers.
const maxBody = 64 << 10

// Listen makes the unix socket at path, for its owner alone. Only the process
// that holds the data directory's lock may call it: a socket that a dead one
// left is removed.
func Listen(path string) (net.Listener, error) {
	fail := func(err error) error {
		return &batch.Error{Kind: batch.Config, Op: "listen", Ref: path, Err: err}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fail(err)
	}
	failpoint.Hit("socket.cleared")
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fail(err)
	}
	failpoint.Hit("socket.made")
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fail(err), l.Close())
	}
	return l, nil
}

// Serve answers on l with h until ctx ends; then it waits a little for answers that
// are being written. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := s.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if serr := <-ended; err == nil && !errors.Is(serr, http.ErrServerClosed) {
		err = serr
	}
	return err
}

// New serves api.
func New(api API) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/ping", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, pong{service}) })
	m.HandleFunc("GET /v1/runs", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		limit, err := strconv.Atoi(q.Get("limit"))
		if (err != nil || limit < 0) && q.Get("limit") != "" {
			refuse(w, &batch.Error{Kind: batch.Usage, Op: "list runs", Msg: "limit is not a whole number"})
			return
		}
		runs, err := api.List(r.Context(), q.Get("job"), limit)
		answer(w, listReply{runs}, err)
	})
	m.HandleFunc("GET /v1/runs/{id}", func(w http.ResponseWriter, r *http.Request) {
		st, err := api.Status(r.Context(), r.PathValue("id"))
		answer(w, st, err)
	})
	m.HandleFunc("POST /v1/runs/{id}/pause", func(w http.ResponseWriter, r *http.Request) {
		var q stopRequest
		if !read(w, r, &q) {
			return
		}
		st, err := api.Pause(r.Context(), r.PathValue("id"), q.Reason)
		answer(w, st, err)
	})
	m.HandleFunc("POST /v1/runs/{id}/cancel", func(w http.ResponseWriter, r *http.Request) {
		var q stopRequest
		if !read(w, r, &q) {
			return
		}
		st, err := api.Cancel(r.Context(), r.PathValue("id"), q.Now, q.Reason)
		answer(w, st, err)
	})
	m.HandleFunc("POST /v1/runs/{id}/resume", func(w http.ResponseWriter, r *http.Request) {
		var q resumeRequest
		if !read(w, r, &q) {
			return
		}
		s, err := api.Resume(r.Context(), r.PathValue("id"), q.raise())
		answer(w, startedReply{RunID: s.Run, Resumed: s.Resumed, Ended: s.Ended, Note: s.Note, Items: s.Items}, err)
	})
	for pattern, apply := range map[string]bool{"GET /v1/budgets": false, "POST /v1/budgets/apply": true} {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			bs, err := api.Budgets(r.Context(), apply)
			answer(w, budgetsReply{bs}, err)
		})
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &batch.Error{Kind: batch.NotFound, Op: "route", Ref: r.Method + " " + r.URL.Path, Msg: "there is no such route"})
	})
	return m
}

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, &batch.Error{Kind: batch.Usage, Op: "read request", Msg: "the body is not the JSON of this route", Err: err})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	reply(w, http.StatusOK, v)
}

func refuse(w http.ResponseWriter, err error) {
	e, code := toWire(err)
	reply(w, code, errorReply{e})
}

func reply(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, `{"error":{"kind":"internal","message":"the answer cannot be written as JSON"}}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	failpoint.Hit("socket.reply")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client is gone when this fails
}
