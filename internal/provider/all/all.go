// Package all gathers the adapters of this program. A new one is one folder
// and one line here.
package all

import (
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/anthropic"
	"github.com/batchwright/batchwright/internal/provider/gemini"
	"github.com/batchwright/batchwright/internal/provider/httpjson"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/provider/sim"
)

// Registry returns every adapter.
func Registry() *provider.Registry {
	r := new(provider.Registry)
	r.Register(openai.Factory())
	r.Register(openai.CompatibleFactory())
	r.Register(anthropic.Factory())
	r.Register(gemini.Factory())
	r.Register(httpjson.Factory())
	r.Register(sim.Factory())
	return r
}
