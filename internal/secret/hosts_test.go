package secret_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/secret"
)

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		return &url.URL{}
	}
	return u
}

func TestWellKnownKeysGoToTheirVendor(t *testing.T) {
	t.Parallel()
	var b secret.Bindings
	h, free := b.Of("env:OPENAI_API_KEY", false)
	if free {
		t.Fatal("the key is free")
	}
	s := secret.New("sk-x").Bind(h)
	for _, good := range []string{"https://api.openai.com/v1", "https://API.OpenAI.com/v1", "https://api.openai.com:443/", "https://eu.api.openai.com/v1"} {
		if !s.For(parse(t, good)) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{
		"http://api.openai.com/v1", "https://api.openai.com:8443/", "https://api.openai.com./", "https://api.openai.com.evil.example/",
		"https://evil.example/api.openai.com", "https://evil.example/?api.openai.com", "https://evil.example/#api.openai.com", "https://api.openai.com@evil.example/",
		"https://user:pass@api.openai.com/", "https://user@api.openai.com/", "https://evilapi.openai.com/", "https://xapi.openai.com", "https://openai.com/",
		"https://.api.openai.com/", "https://api.openai.com%2eevil.example/", "https://api.openai.com\\@evil.example/", "https://api-openai.com",
		"https://аpi.openai.com/", "https://api.openai.com\u3002evil.example/", "https://xn--pi-7ka.openai.com/", "https://api。openai.com/", "https://apiｏpenai.com",
		"https://127.0.0.1/", "http://127.0.0.1:8080/", "http://localhost/", "http://localhost:4000/v1", "https://[::1]/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/",
		"http://169.254.169.254/", "https://api.anthropic.com/", "https://api.openai.com\n.evil.example", "//api.openai.com/v1", "ftp://api.openai.com/", "HTTPS:api.openai.com",
		"https:///v1", "", "https://api.openai.com:443:443/", "https://api.openai.com:0443/", "https://api.openai.com:/x", "https://api.openai.com :443/", "javascript://api.openai.com/",
	} {
		if u := parse(t, bad); s.For(u) && !(u.Host == "api.openai.com:" && u.Scheme == "https") {
			t.Errorf("%q is allowed", bad)
		}
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	b, err := secret.NewBindings([]secret.Rule{
		{Ref: "env:OPENAI_API_KEY", Hosts: []string{"localhost:4000", "http://proxy.lan:8080"}},
		{Ref: "env:TEAM_KEY", Hosts: []string{"*.models.example"}},
		{Ref: "env:GITHUB_TOKEN", Hosts: []string{"models.github.ai"}},
		{Ref: "file:/run/secrets/vllm", Hosts: []string{"https://gpu.lan:8443"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ref  string
		near bool
		to   string
		want bool
	}{
		{"env:OPENAI_API_KEY", false, "https://api.openai.com/v1", true}, // a rule adds, it does not take away
		{"env:OPENAI_API_KEY", false, "http://localhost:4000/v1", true},
		{"env:OPENAI_API_KEY", false, "https://localhost:4000/v1", true},
		{"env:OPENAI_API_KEY", false, "http://localhost:4001/v1", false},
		{"env:OPENAI_API_KEY", false, "http://proxy.lan:8080/", true},
		{"env:OPENAI_API_KEY", false, "https://proxy.lan:8080/", false},
		{"env:openai_api_key", false, "https://evil.example/", false}, // a system may not tell the cases apart
		{"env:TEAM_KEY", false, "https://a.models.example/", true},
		{"env:TEAM_KEY", false, "https://models.example/", false},
		{"env:TEAM_KEY", false, "https://evil.example/", false},
		{"env:MY_VLLM_KEY", false, "http://10.0.0.7:8000/v1", true},
		{"env:GITHUB_TOKEN", false, "https://models.github.ai/inference", true},
		{"env:GITHUB_TOKEN", false, "https://evil.example/", false},
		{"env:AWS_SECRET_ACCESS_KEY", false, "https://api.openai.com/", false},
		{"env:DATABASE_URL", false, "https://evil.example/", false},
		{"env:PGPASSWORD", false, "https://evil.example/", false},
		{"file:/home/u/job/key", true, "https://anywhere.example/", true},
		{"file:/home/u/.ssh/id", false, "https://anywhere.example/", false},
		{"file:/run/secrets/openai", false, "https://api.openai.com/v1", true},
		{"file:/run/secrets/azure", false, "https://x.openai.azure.com/", true},
		{"file:/run/secrets/vllm", false, "https://gpu.lan:8443/v1", true},
		{"file:/run/secrets/vllm", true, "https://api.openai.com/v1", false}, // what is bound is bound
	} {
		h, free := b.Of(c.ref, c.near)
		if got := free || h.Allow(parse(t, c.to)); got != c.want {
			t.Errorf("%s to %s: %v, want %v (%s)", c.ref, c.to, got, c.want, h.String())
		}
	}
	for _, bad := range []secret.Rule{{Ref: "OPENAI_API_KEY", Hosts: []string{"a.b"}}, {Ref: "env:", Hosts: []string{"a.b"}}, {Ref: "file:key", Hosts: []string{"a.b"}}, {Ref: "env:A"},
		{Ref: "env:A", Hosts: []string{""}}, {Ref: "env:A", Hosts: []string{"*"}}, {Ref: "env:A", Hosts: []string{"*.com"}}, {Ref: "env:A", Hosts: []string{"a.*.b"}},
		{Ref: "env:A", Hosts: []string{"ftp://a.b"}}, {Ref: "env:A", Hosts: []string{"a.b/v1"}}, {Ref: "env:A", Hosts: []string{"u@a.b"}}, {Ref: "env:A", Hosts: []string{"a.b:"}},
		{Ref: "env:A", Hosts: []string{"a.b."}}, {Ref: "env:A", Hosts: []string{"a.b?x"}}} {
		if _, err := secret.NewBindings([]secret.Rule{bad}); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	var unbound secret.Secret
	if !unbound.For(parse(t, "https://anywhere.example")) || secret.New("x").Bind(secret.Hosts{}).For(parse(t, "https://anywhere.example")) {
		t.Error("the empty list allows something, or no list does not")
	}
}

func TestHostsAreWrittenAsTheyWereRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"api.example.com", "http://gpu-1:8000", "https://*.openai.azure.com", "http://[::1]:8080"} {
		h, err := secret.ParseHost(text)
		if err != nil || h.String() != text {
			t.Errorf("%q is %q, %v", text, h.String(), err)
		}
	}
	if !secret.Telling("MY_API_KEY") || secret.Telling("HOME") || !secret.Telling("ANTHROPIC_AUTH_TOKEN") || strings.Contains(secret.Redacted, "KEY") {
		t.Error("names")
	}
}
