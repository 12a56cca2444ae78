package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody is the largest request body; beyond it the answer is 413.
const maxBody = 64 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// putBuffer keeps a buffer for the next call, unless a rare large one grew it.
func putBuffer(b *[]byte) {
	if cap(*b) <= 1<<20 {
		buffers.Put(b)
	}
}

// ServeHTTP answers the dialects, GET /v1/models, /health and the control paths
// /__bill, /__mark, /__sync, /__reset, /__config and /__faults.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if dialectAt(r.URL.Path) == nil {
		s.control(w, r)
		return
	}
	in, out := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer putBuffer(in)
	defer putBuffer(out)
	body, err := readBody(r, (*in)[:0])
	*in = body[:0]
	if err != nil {
		// The client went away in the middle, or sent too much: nothing ran.
		http.Error(w, `{"error":{"message":"The request body could not be read or is too large.","type":"invalid_request_error","param":null,"code":"request_too_large"}}`,
			http.StatusRequestEntityTooLarge)
		return
	}
	p, _ := s.Do(r.Context(), &Request{Method: r.Method, Path: r.URL.Path, Header: r.Header, Body: body}, (*out)[:0])
	if p.Body != nil {
		*out = p.Body[:0]
	}
	s.send(w, r, &p)
}

func readBody(r *http.Request, b []byte) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > maxBody {
			return b, errors.New("too large")
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

func (s *Simulator) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /health", "GET /healthz":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	case "GET /v1/models":
		writeJSON(w, http.StatusOK, s.models())
	case "GET /__bill":
		s.writeBill(w, r)
	case "POST /__mark":
		s.Mark()
		writeJSON(w, http.StatusOK, s.Totals())
	case "POST /__sync":
		if err := s.Sync(); err != nil {
			writeJSON(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "POST /__reset":
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	case "GET /__config":
		writeJSON(w, http.StatusOK, s.config())
	case "POST /__faults":
		s.changeFaults(w, r)
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{
			"message": "Invalid URL (" + r.Method + " " + r.URL.Path + ")", "type": "invalid_request_error", "param": nil, "code": nil}})
	}
}

func (s *Simulator) models() any {
	names := s.cfg.Models
	if len(names) == 0 {
		names = []string{"sim-1"}
	}
	list := make([]map[string]any, len(names))
	for i, n := range names {
		list[i] = map[string]any{"id": n, "object": "model", "created": created, "owned_by": "simulator"}
	}
	return map[string]any{"object": "list", "data": list}
}

func (s *Simulator) config() map[string]string { return map[string]string{"knobs": s.Knobs().String()} }

// writeBill answers /__bill: the totals; with detail=1 a line per request; with
// since=TIME (RFC 3339, or unix seconds) how many calls came after it. With
// calls=1 it answers JSON lines instead, one for each billed call from since on.
func (s *Simulator) writeBill(w http.ResponseWriter, r *http.Request) {
	out := struct {
		Totals
		CallsAfter *int64 `json:"calls_after,omitempty"`
		Requests   []Line `json:"requests,omitempty"`
	}{Totals: s.Totals()}
	var at time.Time
	if v := r.URL.Query().Get("since"); v != "" {
		var err error
		if at, err = parseTime(v); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": "since is neither RFC 3339 nor unix seconds"})
			return
		}
		n := s.CallsAfter(at)
		out.CallsAfter = &n
	}
	if r.URL.Query().Get("calls") == "1" {
		if !s.cfg.KeepCalls {
			writeJSON(w, http.StatusNotFound, map[string]string{"error": "this simulator keeps no calls apart"})
			return
		}
		w.Header().Set("Content-Type", "application/jsonl")
		_ = s.Calls(w, at) // the client is gone when this fails
		return
	}
	if r.URL.Query().Get("detail") == "1" {
		out.Requests = s.Lines()
	}
	writeJSON(w, http.StatusOK, out)
}

func parseTime(v string) (time.Time, error) {
	if sec, err := strconv.ParseFloat(v, 64); err == nil {
		return time.UnixMicro(int64(sec * 1e6)), nil
	}
	return time.Parse(time.RFC3339Nano, v)
}

// changeFaults sets the knobs to the knob string in the body, on top of the
// defaults; with ?add=1 on top of the present ones.
func (s *Simulator) changeFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	base := DefaultKnobs()
	base.Seed = s.Knobs().Seed
	if r.URL.Query().Get("add") == "1" {
		base = s.Knobs()
	}
	var k Knobs
	if err == nil {
		k, err = ParseKnobs(base, strings.TrimSpace(string(body)))
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.SetKnobs(k)
	writeJSON(w, http.StatusOK, s.config())
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone when this fails
}

// OpenBill opens a file that a bill is added to, for Config.Bill.
func OpenBill(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}
