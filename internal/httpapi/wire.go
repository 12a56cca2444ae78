// Package httpapi is the API of a process that holds a data directory, server
// and client of one contract side by side.
//
//	GET  /v1/ping
//	GET  /v1/runs?job=J&limit=N      {"runs":[status]}
//	GET  /v1/runs/{id}               status; the id "latest" is the newest run
//	POST /v1/runs/{id}/pause         {"reason"} → status
//	POST /v1/runs/{id}/cancel        {"reason","now"} → status
//	POST /v1/runs/{id}/resume        {"tokens","pico_usd","retries","deadline_ms"} → started
//	GET  /v1/budgets                 {"budgets":[budget]}: those that runs share
//	POST /v1/budgets/apply           reads config.yaml again → {"budgets":[budget]}
//
// A status is app.Status. An error is {"error":{"kind","op","ref","message",
// "hint","cause"}} with a status code by its kind; the client makes the same
// *batch.Error of it. Numbers are integers. No prompt, input or output passes
// here.
package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// API is what the server serves; *app.App is one, and so is *Client.
type API interface {
	Status(ctx context.Context, ref string) (app.Status, error)
	List(ctx context.Context, job string, limit int) ([]app.Status, error)
	Pause(ctx context.Context, ref, reason string) (app.Status, error)
	Cancel(ctx context.Context, ref string, now bool, reason string) (app.Status, error)
	Resume(ctx context.Context, ref string, up app.Raise) (app.Started, error)
	// Budgets lists the budgets that runs share; with apply, config.yaml is read
	// again and put in force first.
	Budgets(ctx context.Context, apply bool) ([]app.BudgetStatus, error)
}

var (
	_ API = (*app.App)(nil)
	_ API = (*Client)(nil)
)

type pong struct {
	Service string `json:"service"`
}

const service = "batchwright"

type listReply struct {
	Runs []app.Status `json:"runs"`
}

type budgetsReply struct {
	Budgets []app.BudgetStatus `json:"budgets"`
}

type stopRequest struct {
	Reason string `json:"reason,omitempty"`
	Now    bool   `json:"now,omitempty"`
}

type resumeRequest struct {
	Tokens     int64         `json:"tokens,omitempty"`
	Pico       money.PicoUSD `json:"pico_usd,omitempty"`
	Retries    int64         `json:"retries,omitempty"`
	DeadlineMS int64         `json:"deadline_ms,omitempty"`
}

func (r resumeRequest) raise() app.Raise {
	return app.Raise{Tokens: r.Tokens, Pico: r.Pico, Retries: r.Retries, Deadline: time.Duration(r.DeadlineMS) * time.Millisecond}
}

type startedReply struct {
	RunID   batch.RunID `json:"run_id"`
	Resumed bool        `json:"resumed"`
	Ended   bool        `json:"ended"`
	Note    string      `json:"note,omitempty"`
	Items   int64       `json:"items"`
}

type errorReply struct {
	Error wireError `json:"error"`
}

// wireError is a *batch.Error on its way.
type wireError struct {
	Kind  batch.Kind `json:"kind"`
	Op    string     `json:"op,omitempty"`
	Ref   string     `json:"ref,omitempty"`
	Msg   string     `json:"message,omitempty"`
	Hint  string     `json:"hint,omitempty"`
	Cause string     `json:"cause,omitempty"`
}

// statuses maps kinds to status codes; the kind in the body is what counts.
var statuses = map[batch.Kind]int{
	batch.Usage: http.StatusBadRequest, batch.Invalid: http.StatusUnprocessableEntity, batch.Config: http.StatusInternalServerError,
	batch.NotFound: http.StatusNotFound, batch.Conflict: http.StatusConflict, batch.Credentials: http.StatusUnprocessableEntity,
	batch.Account: http.StatusUnprocessableEntity, batch.BudgetExceeded: http.StatusUnprocessableEntity,
	batch.Deadline: http.StatusUnprocessableEntity, batch.Approval: http.StatusForbidden, batch.Cancelled: http.StatusConflict,
	batch.StillRunning: http.StatusConflict, batch.Unavailable: http.StatusServiceUnavailable, batch.Drained: http.StatusServiceUnavailable,
	batch.Interrupted: http.StatusServiceUnavailable, batch.Unfinished: http.StatusConflict, batch.Internal: http.StatusInternalServerError,
}

// toWire is the error as it travels. An error that is none of ours keeps its
// text as the cause of an internal one.
func toWire(err error) (wireError, int) {
	e, ok := errors.AsType[*batch.Error](err)
	if !ok {
		return wireError{Kind: batch.Internal, Cause: err.Error()}, http.StatusInternalServerError
	}
	w := wireError{Kind: e.Kind, Op: e.Op, Ref: e.Ref, Msg: e.Msg, Hint: batch.HintOf(e)}
	if e.Err != nil {
		w.Cause = e.Err.Error()
	}
	code, ok := statuses[e.Kind]
	if !ok {
		code = http.StatusInternalServerError
	}
	return w, code
}

func (w wireError) error() error {
	e := &batch.Error{Kind: w.Kind, Op: w.Op, Ref: w.Ref, Msg: w.Msg, Hint: w.Hint}
	if w.Cause != "" {
		e.Err = errors.New(w.Cause)
	}
	return e
}
