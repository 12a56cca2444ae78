package datadir

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	d := opened(t, t.TempDir())
	read := func(text string) error {
		if err := os.WriteFile(d.ConfigFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := d.Config()
		if err == nil {
			_, err = c.Keys()
		}
		return err
	}
	if c, err := d.Config(); err != nil || c.Section("keys") != nil {
		t.Errorf("without a file: %v", err)
	}
	for _, text := range []string{"", "# nothing\n", "keys:\n", "budgets: {}\n", "keys: {}\nbudgets:\n  team: {usd: 1}\n"} {
		if err := read(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"keyz: {}":                                      "config.yaml:1:1: read configuration: unknown section \"keyz\"",
		"- a":                                           "config.yaml:1:1: read configuration: a mapping",
		"keys: {}\nkeys: {}":                            "there twice",
		"keys:\n  OPENAI: {hosts: [a.b]}":               "config.yaml:2:3: read configuration: \"OPENAI\" names no key",
		"keys:\n  env:A: {host: [a.b]}":                 "config.yaml:2:11: read configuration: unknown key \"host\"",
		"keys:\n  env:A: {hosts: a.b}":                  "config.yaml:2:10",
		"keys:\n  env:A: {hosts: [\"*\"]}":              "too wide",
		"keys:\n  env:A: {hosts: []}":                   "no hosts",
		"keys:\n  env:A:":                               "no hosts",
		"keys:\n  file:rel: {hosts: [a.b]}":             "names no key",
		"keys: &x {}\nbudgets: *x":                      "aliases",
		"keys: [":                                       "is no YAML",
		"keys:\n  env:A: {hosts: [https://a.b/v1/key]}": "no host",
	} {
		err := read(text)
		if batch.KindOf(err) != batch.Config || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := read("keys:\n  env:OPENAI_API_KEY: {hosts: [\"localhost:4000\"]}\n"); err != nil {
		t.Fatal(err)
	}
	c, err := d.Config()
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Keys()
	if err != nil {
		t.Fatal(err)
	}
	if h, free := b.Of("env:OPENAI_API_KEY", false); free || !h.Allow(&url.URL{Scheme: "http", Host: "localhost:4000"}) || h.Allow(&url.URL{Scheme: "http", Host: "localhost:4001"}) {
		t.Errorf("bound to %s, free %v", h.String(), free)
	}
}
