// Package sim is the provider that needs no key, no money and no network: the
// simulator, called as OpenAI's API is. Without a base_url it runs in this
// process, with one it is a simulator served elsewhere.
package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/provider"
	"github.com/batchwright/batchwright/internal/provider/openai"
	"github.com/batchwright/batchwright/internal/simulator"
)

// Factory registers the simulator.
func Factory() provider.Factory {
	return provider.Factory{Name: "sim", Doc: "a simulated provider: no key, no cost, faults on request", NeedsKey: false, New: open}
}

// address is where the in-process simulator seems to be. The name can never be
// one on a network.
const address = "http://simulator.invalid/v1"

// Adapter is the OpenAI adapter with a simulator behind it.
type Adapter struct {
	provider.Provider
	sim *simulator.Simulator
}

// Simulator is the one in this process, or nil when base_url names another.
func (a *Adapter) Simulator() *simulator.Simulator { return a.sim }

// Decode classes an answer that came by another way than Do.
func (a *Adapter) Decode(path string, ans provider.Answer) provider.Result {
	return a.Provider.(provider.Decoder).Decode(path, ans)
}

// Encode refuses parameters that are settings of the simulator: in a request
// body they would be sent, and change nothing.
func (a *Adapter) Encode(r provider.Request) (provider.Call, error) {
	for _, name := range knobNames {
		if name == "seed" { // also a parameter of the API
			continue
		}
		if _, ok := r.Params[name]; ok {
			return provider.Call{}, &batch.Error{Kind: batch.Invalid, Op: "encode request", Ref: "task.params." + name,
				Msg: "this is a setting of the simulator and no parameter of a request", Hint: "move it to task.options." + name}
		}
	}
	return a.Provider.Encode(r)
}

// knobNames are the options that set the in-process simulator.
var knobNames = []string{"latency_ms", "latency", "faults", "seed", "rpm", "tpm", "concurrency", "words", "cached"}

func open(c provider.Config) (provider.Provider, error) {
	knobs, rest := split(c.Options)
	c.Options = rest
	if c.BaseURL != "" {
		if len(knobs) > 0 {
			return nil, refused(slices.Sorted(maps.Keys(knobs))[0], "the simulator at task.base_url has its own settings",
				"start it with them, or remove task.base_url")
		}
		return speak(c, nil)
	}
	k, err := read(knobs)
	if err != nil {
		return nil, err
	}
	s := simulator.New(simulator.Config{Knobs: k, Now: time.Now})
	c.BaseURL = address
	inside := &http.Client{Transport: wire{s}}
	if c.Client != nil {
		inside.Timeout = c.Client.Timeout
	}
	c.Client = inside
	c.Key = nil // nobody asks for it here, and so it goes nowhere
	return speak(c, s)
}

func speak(c provider.Config, s *simulator.Simulator) (provider.Provider, error) {
	p, err := openai.CompatibleFactory().New(c)
	if err != nil {
		return nil, err
	}
	return &Adapter{Provider: p, sim: s}, nil
}

func split(options map[string]json.RawMessage) (knobs, rest map[string]json.RawMessage) {
	knobs, rest = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for name, v := range options {
		if slices.Contains(knobNames, name) {
			knobs[name] = v
		} else {
			rest[name] = v
		}
	}
	return knobs, rest
}

// read turns options into knobs, by the simulator's own parser: one place says
// what is valid.
func read(options map[string]json.RawMessage) (simulator.Knobs, error) {
	k := simulator.DefaultKnobs()
	// faults first, so that an option of its own name has the last word.
	for _, name := range append([]string{"faults"}, knobNames...) {
		raw, ok := options[name]
		if !ok {
			continue
		}
		delete(options, name)
		text, err := scalar(raw)
		switch {
		case err != nil:
		case name == "faults":
		case strings.ContainsAny(text, ",="):
			err = fmt.Errorf("%q is not one value", text)
		case name == "latency_ms":
			text = "latency=" + text + "ms"
		default:
			text = name + "=" + text
		}
		if err == nil {
			k, err = simulator.ParseKnobs(k, text)
		}
		if err != nil {
			return k, refused(name, err.Error(), hint(err))
		}
	}
	return k, nil
}

func hint(err error) string {
	if h := batch.HintOf(err); h != "" {
		return h
	}
	return "give a number or a text"
}

// scalar is a JSON number as it is written, or the text of a string.
func scalar(raw json.RawMessage) (string, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", fmt.Errorf("the option cannot be read")
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case float64:
		return strings.TrimSpace(string(raw)), nil
	}
	return "", fmt.Errorf("the option has the wrong type")
}

func refused(name, msg, hint string) error {
	return &batch.Error{Kind: batch.Invalid, Op: "provider", Ref: "task.options." + name, Msg: msg, Hint: hint}
}
