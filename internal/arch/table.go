package arch

import (
	"path"
	"strings"
)

// layer is a floor of the house. Imports point down only.
type layer string

const (
	ground  layer = "ground"  // words and money: standard library only
	port    layer = "port"    // what the outside must be able to do
	adapter layer = "adapter" // one outside, translated
	engine  layer = "engine"  // rules; no clock, no files, no environment
	floor   layer = "app"     // the application service and the reports
	door    layer = "door"    // how people and programs come in
	roof    layer = "wire"    // puts it all together
	shed    layer = "shed"    // stands apart: sees everything, seen by nobody
)

// below names the layers whose packages a package may import without a word.
// What goes sideways or jumps a floor is named, with its reason, in places.
var below = map[layer][]layer{
	ground:  {},
	port:    {ground},
	adapter: {ground},
	engine:  {ground, port},
	floor:   {ground, port, engine},
	door:    {ground, floor},
	roof:    {ground, port, adapter, engine, floor, door},
	shed:    {ground, port, adapter, engine, floor, door, roof},
}

// place is where one package stands.
type place struct {
	layer layer
	// also names packages it may import beyond the layers below, each with the
	// reason why.
	also map[string]string
}

const (
	ownPort    = "an adapter implements its own port"
	pureEngine = "a pure engine: no state, no outside; doors show what it says"
	anyBytes   = "bytes come from a blob store, whatever their form"
)

// places is the table. A package that is not in it, and whose family is not in
// families, fails the test: adding a line here is a decision about the house.
var places = map[string]place{
	"internal/money":  {layer: ground},
	"internal/secret": {layer: ground},
	"internal/batch":  {layer: ground, also: map[string]string{"internal/money": "outcomes carry tokens and prices"}},

	"internal/store":    {layer: port},
	"internal/provider": {layer: port},
	"internal/dispatch": {layer: port, also: map[string]string{"internal/store": "a bell is rung in the store's transaction"}},
	"internal/blob":     {layer: port},
	"internal/source":   {layer: port, also: map[string]string{"internal/blob": anyBytes}},
	"internal/format":   {layer: port},
	"internal/sink":     {layer: port, also: map[string]string{"internal/blob": anyBytes}},
	"internal/datadir":  {layer: port},

	"internal/spec":      {layer: engine},
	"internal/manifest":  {layer: engine},
	"internal/pacing":    {layer: engine},
	"internal/prompt":    {layer: engine},
	"internal/answer":    {layer: engine},
	"internal/tokens":    {layer: engine},
	"internal/prices":    {layer: engine},
	"internal/segment":   {layer: engine},
	"internal/budget":    {layer: engine},
	"internal/schedule":  {layer: engine},
	"internal/policy":    {layer: engine},
	"internal/alert":     {layer: engine},
	"internal/plan":      {layer: engine, also: map[string]string{"internal/spec": "a plan is made of a spec", "internal/tokens": "it counts", "internal/prices": "it prices", "internal/prompt": "it renders samples"}},
	"internal/lease":     {layer: engine, also: map[string]string{"internal/segment": "packs what is committed together"}},
	"internal/worker":    {layer: engine, also: map[string]string{"internal/lease": "it does what a lease's machine orders", "internal/pacing": "waits before every call", "internal/segment": "seals what it finished", "internal/budget": "asks before every call", "internal/policy": "asks before every call"}},
	"internal/simulator": {layer: adapter},

	"internal/app":    {layer: floor, also: map[string]string{"internal/report": "queries answer with reports"}},
	"internal/report": {layer: floor},

	"internal/cli": {layer: door, also: map[string]string{
		"internal/httpapi":   "commands reach a running process through its client",
		"internal/datadir":   "finds the data directory and the process that holds it",
		"internal/version":   "prints it",
		"internal/simulator": "the simulate command serves it",
		"internal/spec":      pureEngine, "internal/plan": pureEngine, "internal/prices": pureEngine,
		"internal/prompt": pureEngine, "internal/answer": pureEngine,
	}},
	"internal/httpapi": {layer: door, also: map[string]string{"internal/version": "tells it", "internal/spec": pureEngine}},
	"internal/web":     {layer: door, also: map[string]string{"internal/version": "shows it"}},

	"internal/wire":              {layer: roof, also: map[string]string{"internal/version": "hands it on"}},
	"cmd/batchwright":            {layer: roof, also: map[string]string{"internal/wire": "main is one call"}},
	"internal/version":           {layer: ground},
	"internal/failpoint":         {layer: ground},
	"internal/arch":              {layer: shed},
	"internal/secret/secrettest": {layer: shed},
	"bench":                      {layer: shed},
	"model":                      {layer: shed},
	"mutants":                    {layer: shed},
	"torture":                    {layer: shed},

	"internal/provider/sim": {layer: adapter, also: map[string]string{
		"internal/provider":        ownPort,
		"internal/provider/openai": "the simulator speaks that API; a second client would test nothing",
		"internal/simulator":       "it is the outside that this adapter translates",
	}},
}

// families are the ports that grow by one folder for each adapter. Their test
// suites and registrations stand in the same folder under a fixed name.
var families = []string{"store", "provider", "dispatch", "blob", "source", "format", "sink", "notify"}

// find is the place of the package at dir, a slash path below the module.
func find(dir string) (place, bool) {
	if p, ok := places[dir]; ok {
		return p, true
	}
	for _, family := range families {
		home := "internal/" + family
		if path.Dir(dir) != home {
			continue
		}
		also := map[string]string{home: ownPort}
		if path.Base(dir) == "all" {
			also[home+"/*"] = "the registration file names every adapter of its family"
		}
		return place{layer: adapter, also: also}, true
	}
	return place{}, false
}

// allows tells whether a package that stands at p may import the one at dir.
func (p place) allows(dir string) bool {
	if p.also[dir] != "" || p.also[path.Dir(dir)+"/*"] != "" {
		return true
	}
	other, ok := find(dir)
	if !ok {
		return false
	}
	if other.layer == roof && p.layer == roof {
		return false
	}
	for _, l := range below[p.layer] {
		if l == other.layer {
			return true
		}
	}
	return false
}

// isSuite tells whether the package is a contract suite, which tests import.
func isSuite(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

// bannedNames say nothing about what a thing is.
var bannedNames = map[string]bool{
	"base": true, "common": true, "data": true, "handler": true, "helper": true, "helpers": true, "info": true,
	"manager": true, "misc": true, "models": true, "process": true, "shared": true, "task": true, "types": true,
	"util": true, "utils": true,
}

// asks names what is ground or an engine and yet asks the outside, with why.
var asks = map[string]string{
	"internal/version":   "it tells of the binary it is in",
	"internal/failpoint": "its orders come from the environment, in a binary built to be killed",
}

// clocks are what engines are given and never take.
var clocks = map[string]map[string]bool{
	"time": {"Now": true, "Since": true, "Until": true},
	"os": {"Getenv": true, "LookupEnv": true, "Environ": true, "Open": true, "OpenFile": true, "Create": true, "ReadFile": true,
		"WriteFile": true, "Remove": true, "RemoveAll": true, "Rename": true, "Mkdir": true, "MkdirAll": true, "Stat": true,
		"Exit": true, "Getpid": true, "Hostname": true, "Getwd": true, "ReadDir": true},
	"math/rand":    {"*": true},
	"math/rand/v2": {"*": true},
	"crypto/rand":  {"*": true},
}
