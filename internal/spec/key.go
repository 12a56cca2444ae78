package spec

import (
	"encoding/json"
	"strings"
)

// kind is what a key's value may be. It decides how the value is read, what the
// JSON Schema says about it and how the key reference words it.
type kind int

const (
	kSection     kind = iota // a mapping whose keys stand in the table
	kList                    // a list of such mappings
	kText                    // text on one line
	kProse                   // text of any length, or file:PATH
	kInt                     // a whole number
	kBool                    // true or false
	kEnum                    // one of some words
	kEnums                   // one or a list of some words
	kTexts                   // one text or a list of texts
	kTextMap                 // names with texts
	kJSONMap                 // names with anything
	kSchema                  // a JSON Schema as a mapping, or file:PATH
	kUSD                     // an exact amount of US dollars
	kPrice                   // US dollars per million tokens
	kShare                   // 0 to 1, or a percentage
	kDeadline                // a duration or a clock time
	kConcurrency             // a whole number, or a section
	kInputURI                // where items are
	kOutputURI               // where results go
	kURL                     // http or https
	kName                    // a job's name
	kSchedule                // cron
	kTimezone                // a zone of the tz database
	kSecretRef               // env:NAME or file:PATH
	kDelimiter               // one character
)

// key is one key of the spec. Everything the program knows about a key stands
// here once: how to read it, its default, its documentation, its place in the
// JSON Schema, and whether it decides what is sent.
type key struct {
	path    string // "task.model"; an element of a list: "tests[].name"
	kind    kind
	doc     string
	def     string   // used when the key is left out; as written in a spec
	example string   // as written in a spec
	enum    []string // for kEnum and kEnums
	min     int64    // for kInt and kConcurrency
	max     int64
	need    bool     // its section is not complete without it
	floats  bool     // stands at top level or inside job
	work    bool     // decides requests and outcomes, so a run cannot go on when it changed
	long    bool     // shown by its digest, never in full
	same    string   // another spelling of the key with this path
	wrong   []string // what people write instead
	later   []string // values that are known but not available; "*" for every value
	set     func(*Spec, value)
	get     func(*Spec) any // nil when it is not set
}

// value is what a key's text was read into; which field is set follows from the
// key's kind.
type value struct {
	text  string
	n     int64
	yes   bool
	raw   json.RawMessage
	texts []string
	pairs map[string]string
	raws  map[string]json.RawMessage
	until Deadline
}

// name is the last part of the path.
func (k *key) name() string { return k.path[strings.LastIndexByte(k.path, '.')+1:] }

// section is the path without its last part: "" for a top-level key.
func (k *key) section() string {
	if i := strings.LastIndexByte(k.path, '.'); i >= 0 {
		return k.path[:i]
	}
	return ""
}

// keyIndex finds keys by section and name.
type keyIndex struct {
	all       []*key
	byPath    map[string]*key
	bySection map[string][]*key // in table order
}

func newKeyIndex(tables ...[]key) keyIndex {
	ix := keyIndex{byPath: map[string]*key{}, bySection: map[string][]*key{}}
	for _, t := range tables {
		for i := range t {
			k := &t[i]
			ix.all = append(ix.all, k)
			ix.byPath[k.path] = k
			ix.bySection[k.section()] = append(ix.bySection[k.section()], k)
		}
	}
	return ix
}

// in returns the keys that may stand in a section: its own, and in job also
// those that float.
func (ix keyIndex) in(section string) []*key {
	ks := ix.bySection[section]
	if section != "job" {
		return ks
	}
	both := append([]*key(nil), ks...)
	for _, k := range ix.bySection[""] {
		if k.floats {
			both = append(both, k)
		}
	}
	return both
}

func (ix keyIndex) find(section, name string) *key {
	path := name
	if section != "" {
		path = section + "." + name
	}
	if k := ix.byPath[path]; k != nil {
		return k
	}
	if section == "job" {
		if k := ix.byPath[name]; k != nil && k.floats {
			return k
		}
	}
	return nil
}

// keys is the table of all keys.
var keys = newKeyIndex(topKeys, jobKeys, inputKeys, taskKeys, outputKeys, limitKeys, restKeys)
