package spec

import (
	"embed"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

//go:embed starter/*.yaml
var starters embed.FS

// TemplateKinds are the kinds of starter spec, in the order to offer them.
func TemplateKinds() []string { return []string{"summarize", "label", "backfill", "eval"} }

// Template is the annotated starter spec of a kind. It parses without findings,
// reads items.jsonl beside it and runs with the built-in provider, so it needs
// no key. An unknown kind is an error of Kind Usage.
func Template(kind string) ([]byte, error) {
	b, err := starters.ReadFile("starter/" + kind + ".yaml")
	if err != nil || strings.ContainsAny(kind, "/.") {
		return nil, &batch.Error{Kind: batch.Usage, Op: "init", Msg: fmt.Sprintf("there is no starter spec %q", kind),
			Hint: "use " + orList(TemplateKinds())}
	}
	return b, nil
}
