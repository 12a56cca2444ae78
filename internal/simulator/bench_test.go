package simulator

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func chatRequest(i int) string {
	return `{"model":"m","messages":[{"role":"system","content":"You label tickets."},{"role":"user","content":"Ticket ` +
		strconv.Itoa(i) + `: my card was charged twice."}],"max_completion_tokens":64}`
}

// BenchmarkDo is a call without a network: what the simulator itself costs.
func BenchmarkDo(b *testing.B) {
	s := New(Config{Knobs: DefaultKnobs(), Now: time.Now})
	header := http.Header{"Content-Type": {"application/json"}}
	bodies := make([][]byte, 1024)
	for i := range bodies {
		bodies[i] = []byte(chatRequest(i))
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	var n int
	for b.Loop() {
		n++
		r := Request{Method: "POST", Path: "/v1/chat/completions", Header: header, Body: bodies[n%len(bodies)]}
		if p, _ := s.Do(context.Background(), &r, buf); p.Status != 200 {
			b.Fatal(p.Status, string(p.Body))
		}
	}
}

// BenchmarkServer is a call over loopback HTTP, client and server on the same
// cores.
func BenchmarkServer(b *testing.B) {
	for _, clients := range []int{1, 64, 256} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) {
			s := New(Config{Knobs: DefaultKnobs(), Now: time.Now})
			srv := httptest.NewServer(s)
			defer srv.Close()
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(b.N) {
							return
						}
						p, err := c.Post(srv.URL+"/v1/chat/completions", "application/json", strings.NewReader(chatRequest(int(i))))
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, p.Body)
						p.Body.Close()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
			if got := s.Totals().BilledCalls; got != int64(b.N) {
				b.Errorf("billed %d of %d", got, b.N)
			}
		})
	}
}
