package providertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/secret"
)

// keyEverywhere: a provider that gives the key back, in whatever place and
// form, finds it in nothing that is kept of its answer.
func (s Subject) keyEverywhere(t *testing.T) {
	good := s.good(t).Bytes()
	p64 := func(pad string) string { return base64.StdEncoding.EncodeToString([]byte(pad + "Bearer " + Key + " ")) }
	forms := []string{Key, url.QueryEscape(Key), strings.ToUpper(Key), fmt.Sprintf("%x", Key), p64(""), p64("a"), p64("ab"),
		// A message is cut at some length: not inside of the key.
		strings.Repeat("x", provider.MessageCap-8) + Key, strings.Repeat("é", provider.MessageCap-len(Key)) + Key}
	var tries int
	for _, form := range forms {
		quoted, err := json.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{"X-Request-Id": form, "Retry-After": form, "X-Amzn-Errortype": form, "Location": "https://evil.invalid/?k=" + form}
		for _, status := range []int{200, 302, 400, 401, 403, 429, 500} {
			for _, body := range []string{`{"error":{"message":` + string(quoted) + `,"type":` + string(quoted) + `,"code":` + string(quoted) + `}}`, string(quoted), form,
				`{"detail":` + string(quoted) + `}`, strings.NewReplacer(jsonText(t, s.good(t).Text), string(quoted)).Replace(good)} {
				p := s.Open(t, "http://key.invalid", Reply(status, headers, body))
				r := p.Do(t.Context(), s.call(t, p), "bw-1")
				tries++
				if shown := fmt.Sprintf("%+v", r); strings.Contains(strings.ToLower(shown), strings.ToLower(Key[10:])) || strings.Contains(shown, "2d736563726574") ||
					strings.Contains(shown, base64.StdEncoding.EncodeToString([]byte(Key[3:18]))) || strings.Contains(shown, form) {
					t.Errorf("status %d, %s: %s", status, body, shown)
				}
			}
		}
	}
	t.Logf("%d answers that hold the key", tries)
}

func jsonText(t *testing.T, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// keyBound: a key that is bound to other hosts stays here, and so does the
// request.
func (s Subject) keyBound(t *testing.T) {
	calls := 0
	via := Wire(func(r *http.Request) (*http.Response, error) {
		calls++
		return Reply(200, nil, "{}")(r)
	})
	h, free := secret.Bindings{}.Of("env:OPENAI_API_KEY", false)
	if free {
		t.Fatal("the key is bound to no host")
	}
	bound := s
	bound.Config.Key = func() secret.Secret { return secret.New(Key).Bind(h) }
	p := bound.Open(t, "http://evil.invalid", via)
	if r := p.Do(t.Context(), s.call(t, p), ""); calls != 0 || r.Sent != provider.NotSent || r.Class != batch.ClassAuth {
		t.Errorf("%d calls, %+v", calls, r)
	}
	// A path that makes another host of the address.
	none := s
	p = none.Open(t, "http://good.invalid", via)
	for _, path := range []string{"@evil.invalid/", ".evil.invalid/", ":8080/", ":x@evil.invalid/"} {
		c := s.call(t, p)
		c.Path = path
		if s.Suffix != "" {
			break // then it is below the suffix, whatever it says
		}
		if r := p.Do(t.Context(), c, ""); calls != 0 || r.Sent != provider.NotSent {
			t.Errorf("%s: %d calls, %+v", path, calls, r)
		}
	}
}
