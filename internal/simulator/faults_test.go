package simulator_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/simulator"
)

// post makes a call by hand and reads what comes of it.
func post(t *testing.T, url, text string) (status int, body []byte, err error) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", url+chatPath, strings.NewReader(chatBody(text)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// TestCutsAreWhereTheyWereAskedFor, by rule, by marker, by knob and by seed.
func TestCutsAreWhereTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	_, url := serve(t, simulator.Config{Knobs: knobs(t, "nth:1=cut@120,nth:2=cut@0,nth:4=cut,cut=33")})
	for i, want := range []int{120, 0, 7, 33} {
		text := "one"
		if i == 2 {
			text = "two @@sim:cut@7."
		}
		status, body, err := post(t, url, text)
		if !errors.Is(err, io.ErrUnexpectedEOF) || status != 200 || len(body) != want {
			t.Errorf("cut %d: status %d, %d bytes, %v; want %d bytes", i, status, len(body), err, want)
		}
	}
	seen := map[int]bool{}
	for _, seed := range []string{"seed=1,cut:1", "seed=2,cut:1", "seed=1,cut:1"} {
		_, url := serve(t, simulator.Config{Knobs: knobs(t, seed)})
		_, body, _ := post(t, url, "x")
		seen[len(body)] = true
	}
	if len(seen) != 2 {
		t.Errorf("two seeds cut at %v", seen)
	}
	_, url = serve(t, simulator.Config{Knobs: knobs(t, "nth:1=rst@0")})
	if _, body, err := post(t, url, "x"); !errors.Is(err, syscall.ECONNRESET) || len(body) != 0 {
		t.Errorf("a reset gives %q, %v", body, err)
	}
}

// TestALaneCanBreakInTheMiddle: a key, a quota and a model go after N calls and
// come back when the knobs change.
func TestALaneCanBreakInTheMiddle(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"nth:3-=auth": 401, "nth:3-=quota": 429, "nth:3-=gone": 404, "rpd=2": 429} {
		s := inProcess(t, script)
		for i := range 6 {
			p := send(t, s, chatPath, chatBody(fmt.Sprint(i)))
			if ok := i < 2; ok && p.Status != 200 || !ok && p.Status != want {
				t.Errorf("%s: call %d gives %d", script, i+1, p.Status)
			}
		}
		s.SetKnobs(knobs(t, ""))
		if p := send(t, s, chatPath, chatBody("x")); p.Status != 200 {
			t.Errorf("%s: after it was taken back %d", script, p.Status)
		}
	}
	for _, code := range []string{"credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded", ""} {
		p := send(t, inProcess(t, "quota:1,quota="+code), chatPath, chatBody("x"))
		if r := provider.Classify(provider.Answer{Status: p.Status, Body: p.Body}); r.Class != batch.ClassQuotaMoney || !strings.Contains(string(p.Body), `"code":"`+code) {
			t.Errorf("%q: %s in %s", code, r.Class, p.Body)
		}
	}
	s, url := serve(t, simulator.Config{Knobs: knobs(t, ""), Key: "old"})
	p := client{factory: openai.Factory(), path: "/v1"}.open(t, url, "new")
	if _, r := ask(t, p, "x", ""); r.Class != batch.ClassAuth {
		t.Errorf("%+v", r)
	}
	s.SetKnobs(knobs(t, "key=new"))
	if _, r := ask(t, p, "x", ""); r.Class != batch.ClassOK {
		t.Errorf("%+v", r)
	}
}

// TestHintsOfEveryForm: what a refusal says of the wait, as the client reads it.
// A form that says nothing gives no wait, and none gives a wait that is shorter.
func TestHintsOfEveryForm(t *testing.T) {
	t.Parallel()
	const told = 1500 * time.Millisecond
	silent := map[string]bool{"none": true, "past": true, "minus1": true, "garbage": true, "negative": true, "forever": true}
	for _, name := range simulator.HintNames() {
		_, url := serve(t, simulator.Config{Knobs: knobs(t, "429:1,retry_after=1500ms,hint="+name)})
		for _, c := range clients {
			if name == "vendor" && c.name == "anthropic" {
				continue // whole seconds: see TestRateHeadersAndHints
			}
			_, r := ask(t, c.open(t, url, "k"), "x", "")
			class := batch.ClassRateLimited
			if name == "day" {
				class = batch.ClassQuotaMoney
			}
			if r.Class != class {
				t.Errorf("%s to %s: %s (%s)", name, c.name, r.Class, r.Message)
			}
			switch {
			case silent[name] && r.RetryAfter != 0:
				t.Errorf("%s to %s: a wait of %v", name, c.name, r.RetryAfter)
			case !silent[name] && (r.RetryAfter < told || r.RetryAfter > told+2*time.Second) && name != "day":
				t.Errorf("%s to %s: a wait of %v, told were %v", name, c.name, r.RetryAfter, told)
			}
		}
	}
}

// TestTheBillKeepsCalls: one line each, with the id the client gave, in the file
// and over HTTP alike; and the mark counts what came after it.
func TestTheBillKeepsCalls(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	s, url := serve(t, simulator.Config{Knobs: knobs(t, "nth:2=500,nth:3=drop,nth:4=unbilled,cached=0.5"), KeepCalls: true, Bill: &file})
	p := client{factory: openai.CompatibleFactory(), path: "/v1"}.open(t, url, "")
	for i := range 6 {
		if i == 5 {
			s.Mark()
		}
		c, err := p.Encode(provider.Request{Model: "m", MaxOutputTokens: 9, Messages: []provider.Message{{Role: "user", Content: json.RawMessage(`"hello there"`)}}})
		if err != nil {
			t.Fatal(err)
		}
		p.Do(t.Context(), c, fmt.Sprintf("bw-r-%d", i))
	}
	tot := s.Totals()
	if tot.CallsAfterMark != 1 || tot.MarkedAt.IsZero() || tot.BilledCalls != 4 || tot.TotalCalls != 6 || tot.BilledCachedTokens == 0 {
		t.Errorf("%+v", tot)
	}
	resp, err := http.Get(url + "/__bill?calls=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(resp.Body)
	if err != nil || string(raw) != file.String() {
		t.Fatalf("%v\n%s\nthe file has\n%s", err, raw, file.String())
	}
	var ids []string
	var in, out, cached int64
	sc := bufio.NewScanner(strings.NewReader(file.String()))
	for sc.Scan() {
		var l struct {
			ID        string `json:"client_id"`
			Digest    string
			In        int64 `json:"input_tokens"`
			Out       int64 `json:"output_tokens"`
			Cached    int64 `json:"cached_tokens"`
			Delivered bool
			Fault     string
		}
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil || len(l.Digest) != 32 || l.Delivered == (l.Fault == "drop") {
			t.Errorf("%s: %v", sc.Text(), err)
		}
		ids = append(ids, l.ID)
		in, out, cached = in+l.In, out+l.Out, cached+l.Cached
	}
	if got := strings.Join(ids, " "); got != "bw-r-0 bw-r-2 bw-r-4 bw-r-5" || in != tot.BilledInputTokens || out != tot.BilledOutputTokens || cached != tot.BilledCachedTokens {
		t.Errorf("%s, %d and %d and %d tokens: %+v", got, in, out, cached, tot)
	}
	for path, want := range map[string]int{"/__mark": 200, "/__sync": 204} {
		resp, err := http.Post(url+path, "", nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v %v", path, resp, err)
		}
		_ = resp.Body.Close()
	}
}

// TestChaosIsOneLine: the knobs that one share makes are printed, read back and
// give the same faults to the same requests.
func TestChaosIsOneLine(t *testing.T) {
	t.Parallel()
	k := knobs(t, "seed=11,chaos=0.5")
	again := knobs(t, k.String())
	kinds := map[string]int64{}
	for i := range 400 {
		for _, k := range []simulator.Knobs{k, again} {
			s := simulator.New(simulator.Config{Knobs: k, Now: time.Now})
			k.Hang = time.Millisecond
			s.SetKnobs(k)
			send(t, s, chatPath, chatBody(fmt.Sprint("item ", i)))
			for f, n := range s.Totals().ByFault {
				kinds[f] += n
			}
		}
	}
	for f, n := range kinds {
		if n%2 != 0 {
			t.Errorf("%s came %d times in two runs of one line", f, n)
		}
	}
	if len(kinds) < 40 || kinds["auth"]+kinds["quota"]+kinds["gone"]+kinds["hugeusage"] > 0 {
		t.Errorf("%d kinds: %v", len(kinds), kinds)
	}
}

// TestCertificates: a client that checks them calls nobody with a bad one, and
// HTTP/2 is spoken with a good one.
func TestCertificates(t *testing.T) {
	t.Parallel()
	for _, kind := range simulator.TLSKinds() {
		cert, ca, err := simulator.Certificate(kind, []string{"127.0.0.1"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var http2 atomic.Int64
		s := simulator.New(simulator.Config{Knobs: knobs(t, "nth:1=goaway"), Now: time.Now})
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http2.Add(int64(r.ProtoMajor / 2))
			s.ServeHTTP(w, r)
		}))
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		srv.EnableHTTP2 = true
		srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it reports the refusals
		srv.StartTLS()
		t.Cleanup(srv.Close)
		tr := provider.NewTransport(2)
		t.Cleanup(tr.CloseIdleConnections)
		tr.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		tr.TLSClientConfig.RootCAs.AddCert(ca)
		p, err := openai.Factory().New(provider.Config{Provider: "openai", BaseURL: srv.URL + "/v1", Model: "m", Key: func() secret.Secret { return secret.New("k") },
			Client: &http.Client{Transport: tr}})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, r := ask(t, p, "x", "")
			if want := map[bool]batch.Class{true: batch.ClassOK, false: batch.ClassUnsent}[kind == "good"]; r.Class != want {
				t.Errorf("%s: %+v", kind, r)
			}
		}
		if n := s.Totals().TotalCalls; (kind == "good") != (n == 3) || n != http2.Load() {
			t.Errorf("%s: %d calls, %d of them HTTP/2", kind, n, http2.Load())
		}
	}
	if _, _, err := simulator.Certificate("what", nil, time.Now()); err == nil {
		t.Error("a kind that is none")
	}
}

// TestABodyCanHaveNoEnd: what goes out is bounded by the client's patience, not
// by the memory of either.
func TestABodyCanHaveNoEnd(t *testing.T) {
	t.Parallel()
	_, url := serve(t, simulator.Config{Knobs: knobs(t, "huge=8589934592,drip=1ms")})
	for _, fault := range []string{"huge", "gzipbomb", "headerflood", "drip"} {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		body := chatBody("@@sim:" + fault)
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(body), body)
		want := int64(4 << 20)
		if fault == "drip" {
			want = 300
		}
		if n, err := io.CopyN(io.Discard, c, want); err != nil {
			t.Errorf("%s: %d bytes came, %v", fault, n, err)
		}
		_ = c.Close()
	}
}
