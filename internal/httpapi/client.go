package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/batch"
)

// Client speaks to the process behind a socket. Its errors are those of the
// service on the other side; one that cannot be reached is Unavailable, and
// the caller may try again.
type Client struct {
	http   *http.Client
	socket string
}

// Dial returns a client of the unix socket at path. Nothing is sent yet.
func Dial(path string) *Client {
	var d net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		Proxy:       nil, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	return &Client{http: &http.Client{Transport: t}, socket: path}
}

// Close drops idle connections.
func (c *Client) Close() error { c.http.CloseIdleConnections(); return nil }

// Ping reports whether a batchwright process answers.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var p pong
	if err := c.do(ctx, http.MethodGet, "/v1/ping", nil, &p); err != nil {
		return err
	}
	if p.Service != service {
		return c.unavailable("what answers is not batchwright", nil)
	}
	return nil
}

// Status returns where a run stands; "" is the newest.
func (c *Client) Status(ctx context.Context, ref string) (app.Status, error) {
	var s app.Status
	err := c.do(ctx, http.MethodGet, runPath(ref, ""), nil, &s)
	return s, err
}

// List returns the newest runs, of one job where it is named.
func (c *Client) List(ctx context.Context, job string, limit int) ([]app.Status, error) {
	q := url.Values{}
	if job != "" {
		q.Set("job", job)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var l listReply
	err := c.do(ctx, http.MethodGet, "/v1/runs?"+q.Encode(), nil, &l)
	return l.Runs, err
}

// Pause stops starting calls of a run.
func (c *Client) Pause(ctx context.Context, ref, reason string) (app.Status, error) {
	var s app.Status
	err := c.do(ctx, http.MethodPost, runPath(ref, "/pause"), stopRequest{Reason: reason}, &s)
	return s, err
}

// Cancel ends a run for good.
func (c *Client) Cancel(ctx context.Context, ref string, now bool, reason string) (app.Status, error) {
	var s app.Status
	err := c.do(ctx, http.MethodPost, runPath(ref, "/cancel"), stopRequest{Reason: reason, Now: now}, &s)
	return s, err
}

// Resume goes on with a run, or raises the limits of one that goes on.
func (c *Client) Resume(ctx context.Context, ref string, up app.Raise) (app.Started, error) {
	var s startedReply
	q := resumeRequest{Tokens: up.Tokens, Pico: up.Pico, Retries: up.Retries, DeadlineMS: up.Deadline.Milliseconds()}
	err := c.do(ctx, http.MethodPost, runPath(ref, "/resume"), q, &s)
	return app.Started{Run: s.RunID, Resumed: s.Resumed, Ended: s.Ended, Note: s.Note, Items: s.Items}, err
}

// Budgets lists the budgets that runs share, and puts config.yaml in force
// first where apply says so.
func (c *Client) Budgets(ctx context.Context, apply bool) ([]app.BudgetStatus, error) {
	var b budgetsReply
	method, path := http.MethodGet, "/v1/budgets"
	if apply {
		method, path = http.MethodPost, path+"/apply"
	}
	err := c.do(ctx, method, path, nil, &b)
	return b.Budgets, err
}

func runPath(ref, verb string) string {
	if ref == "" {
		ref = "latest"
	}
	return "/v1/runs/" + url.PathEscape(ref) + verb
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://batchwright"+path, body)
	if err != nil {
		return &batch.Error{Kind: batch.Usage, Op: "ask", Ref: path, Err: err}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil && method == http.MethodPost {
			return ctx.Err()
		}
		return c.unavailable("", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return c.unavailable("the answer broke off", err)
	}
	if resp.StatusCode != http.StatusOK {
		var e errorReply
		if json.Unmarshal(text, &e) != nil || e.Error.Kind == "" {
			return c.unavailable("it answered "+resp.Status, nil)
		}
		return e.Error.error()
	}
	if err := json.Unmarshal(text, out); err != nil {
		return c.unavailable("its answer cannot be read", err)
	}
	return nil
}

func (c *Client) unavailable(msg string, err error) error {
	return &batch.Error{Kind: batch.Unavailable, Op: "ask the process that works here", Ref: c.socket, Msg: msg, Err: err}
}
