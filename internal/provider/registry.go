package provider

import (
	"fmt"
	"slices"

	"github.com/batchwright/batchwright/internal/batch"
)

// Factory builds one adapter. Doc is one line for people.
type Factory struct {
	Name string
	Doc  string
	// NeedsKey says that a spec without api_key is refused for it.
	NeedsKey bool
	New      func(Config) (Provider, error)
}

// Registry is the set of adapters of one program; a value, not a global.
type Registry struct{ byName map[string]Factory }

// Register adds f. It panics on a second factory of the same name: that is a
// mistake of the program, not of its user.
func (r *Registry) Register(f Factory) {
	if r.byName == nil {
		r.byName = map[string]Factory{}
	}
	if _, dup := r.byName[f.Name]; dup {
		panic("provider: registered twice: " + f.Name)
	}
	r.byName[f.Name] = f
}

// Lookup returns the factory of that name, or an error that lists the names.
func (r *Registry) Lookup(name string) (Factory, error) {
	f, ok := r.byName[name]
	if !ok {
		return Factory{}, &batch.Error{Kind: batch.Invalid, Op: "provider", Msg: fmt.Sprintf("unknown provider %q", name),
			Hint: fmt.Sprintf("use one of %v", r.Names())}
	}
	return f, nil
}

// Names lists the registered names in order.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.byName))
	for n := range r.byName {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
