package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/secret"
)

// configSections are what config.yaml may hold.
var configSections = []string{"budgets", "keys"}

// Config is config.yaml, read strictly: an unknown section or key is an error,
// and so is one that stands there twice. Each section is decoded by whom it
// belongs to.
type Config struct {
	File     string
	sections map[string]*yaml.Node
}

// ConfigFile is the path of config.yaml, which may be missing.
func (d *Dir) ConfigFile() string { return d.path("config.yaml") }

// Config reads config.yaml. A missing file is an empty one. Errors are of Kind
// Config and name file, line and column.
func (d *Dir) Config() (*Config, error) {
	c := &Config{File: d.ConfigFile(), sections: map[string]*yaml.Node{}}
	text, err := os.ReadFile(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, &batch.Error{Kind: batch.Config, Op: "read configuration", Ref: c.File, Err: err}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &batch.Error{Kind: batch.Config, Op: "read configuration", Ref: c.File, Msg: "is no YAML: " + oneLine(err.Error())}
	}
	if len(doc.Content) == 0 {
		return c, nil
	}
	err = c.Each(doc.Content[0], func(key string, at, v *yaml.Node) error {
		if !slices.Contains(configSections, key) {
			return c.Wrong(at, "the sections are "+strings.Join(configSections, ", "), "unknown section %q", key)
		}
		c.sections[key] = v
		return nil
	})
	return c, err
}

// Section is a section's value, nil when the file has none.
func (c *Config) Section(name string) *yaml.Node { return c.sections[name] }

// Each calls f for every key of a mapping, in order.
func (c *Config) Each(n *yaml.Node, f func(key string, at, value *yaml.Node) error) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return c.Wrong(n, "write it as `key: value` lines", "a mapping belongs here")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge":
			return c.Wrong(k, "", "a key must be a word")
		case k.Kind == yaml.AliasNode || v.Kind == yaml.AliasNode || v.Anchor != "" || k.Anchor != "":
			return c.Wrong(k, "write the value out", "aliases are not read here")
		case seen[k.Value]:
			return c.Wrong(k, "delete one of the two", "%q is there twice", k.Value)
		}
		seen[k.Value] = true
		if err := f(k.Value, k, v); err != nil {
			return err
		}
	}
	return nil
}

// Wrong is the error about a node.
func (c *Config) Wrong(n *yaml.Node, hint, format string, args ...any) error {
	return &batch.Error{Kind: batch.Config, Op: "read configuration", Ref: fmt.Sprintf("%s:%d:%d", c.File, n.Line, n.Column),
		Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// Keys is the section that says which hosts a key may be sent to, beside those
// that are known to be its own:
//
//	keys:
//	  env:OPENAI_API_KEY: {hosts: ["localhost:4000"]}
//	  file:/run/secrets/gateway: {hosts: [llm.example.com]}
func (c *Config) Keys() (secret.Bindings, error) {
	var rules []secret.Rule
	n := c.Section("keys")
	if n == nil {
		return secret.Bindings{}, nil
	}
	err := c.Each(n, func(ref string, k, v *yaml.Node) error {
		r := secret.Rule{Ref: ref}
		if path, ok := strings.CutPrefix(ref, "file:"); ok {
			r.Ref = "file:" + filepath.Clean(path)
		}
		if err := c.Each(v, func(name string, nk, list *yaml.Node) error {
			if name != "hosts" {
				return c.Wrong(nk, "it is `hosts`", "unknown key %q", name)
			}
			return list.Decode(&r.Hosts)
		}); err != nil {
			return c.asConfig(v, err)
		}
		if _, err := secret.NewBindings([]secret.Rule{r}); err != nil {
			return c.Wrong(k, "like  env:OPENAI_API_KEY: {hosts: [\"localhost:4000\"]}", "%s", err)
		}
		rules = append(rules, r)
		return nil
	})
	if err != nil {
		return secret.Bindings{}, err
	}
	return secret.NewBindings(rules)
}

func (c *Config) asConfig(n *yaml.Node, err error) error {
	if batch.KindOf(err) == batch.Config {
		return err
	}
	return c.Wrong(n, "hosts is a list, like [api.example.com]", "%s", oneLine(err.Error()))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
