package spec

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("spec.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("spec.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance reads YAML as an editor does; false when it cannot.
func instance(src []byte) (any, bool) {
	loader, err := yaml.NewLoader(bytes.NewReader(jsonEscapes(src)), yaml.WithV4Defaults())
	if err != nil {
		return nil, false
	}
	var doc, second yaml.Node
	if loader.Load(&doc) != nil || !errors.Is(loader.Load(&second), io.EOF) {
		return nil, false
	}
	var keyed map[string]any // refuses keys given twice
	if doc.Content[0].Kind == yaml.MappingNode && doc.Load(&keyed) != nil {
		return nil, false
	}
	p := &parser{secrets: newSecrets(), at: map[string]place{}}
	raw := p.json(doc.Content[0], "")
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	return v, err == nil && len(p.found) == 0
}

func TestGoodSpecsSatisfyTheSchema(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	for name, src := range goodCorpus(t) {
		v, ok := instance(src)
		if !ok {
			t.Errorf("%s: cannot be read", name)
		} else if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, src)
		}
		s, _ := Parse("job.yaml", src, corpusOptions())
		if v, ok := instance(s.Canonical()); !ok || schema.Validate(v) != nil {
			t.Errorf("%s: the canonical form does not satisfy the schema: %v\n%s", name, schema.Validate(v), s.Canonical())
		}
	}
}

// What only the reader knows: exact numbers, the tz database, files, secrets,
// what stands in two sections.
func TestMostBadSpecsDoNotSatisfyTheSchema(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	refused, all := 0, 0
	var passed []string
	for _, b := range badCorpus(t) {
		if strings.Contains(b.name, "/warning-") {
			continue
		}
		all++
		if v, ok := instance(b.src); !ok || schema.Validate(v) != nil {
			refused++
		} else {
			passed = append(passed, b.name)
		}
	}
	if refused*100 < all*75 {
		t.Errorf("the schema refuses %d of %d bad specs; it lets pass %s", refused, all, strings.Join(passed, " "))
	}
	t.Logf("the schema refuses %d of %d bad specs", refused, all)
}

func TestExamplesOfTheTableAreRight(t *testing.T) {
	t.Parallel()
	for _, k := range keys.all {
		if k.doc == "" || !strings.HasSuffix(k.doc, ".") {
			t.Errorf("%s: its documentation is no sentence: %q", k.path, k.doc)
		}
		if k.kind == kSection || k.kind == kList {
			continue
		}
		if k.example == "" || k.set == nil {
			t.Errorf("%s: has no example or no way to be set", k.path)
			continue
		}
		var doc yaml.Node
		if err := yaml.Load([]byte(k.example), &doc); err != nil {
			t.Errorf("%s: %v", k.path, err)
			continue
		}
		p := &parser{secrets: newSecrets(), spec: &Spec{}, at: map[string]place{}, opts: Options{ReadFile: corpusFiles}}
		if _, ok := p.decode(k, k.path, doc.Content[0]); !ok {
			t.Errorf("%s: its example %q is refused: %s", k.path, k.example, dump(p.found))
		}
		if k.same != "" && keys.byPath[k.same] == nil {
			t.Errorf("%s: is another spelling of %s, which does not exist", k.path, k.same)
		}
		for _, w := range k.wrong {
			if keys.find(k.section(), w) != nil {
				t.Errorf("%s: the wrong name %s is a right name of another key", k.path, w)
			}
		}
	}
}
