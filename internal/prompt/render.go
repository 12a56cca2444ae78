package prompt

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// Render puts one item, a JSON object, into the template. Errors are
// *batch.Error of Kind Invalid, name the place in the template and never quote
// the item. Nobody retries them: the same item fails again.
func (t *Template) Render(item json.RawMessage) (out string, err error) {
	if !json.Valid(item) {
		return "", t.badItem("item is not valid JSON")
	}
	if item = bytes.TrimSpace(item); item[0] != '{' {
		return "", t.badItem("item is not a JSON object")
	}
	if t.direct != nil {
		return t.renderDirect(item)
	}
	v, _ := decode(item)
	return t.renderItem(v.(*dict))
}

func (t *Template) badItem(msg string) error {
	return &batch.Error{Kind: batch.Invalid, Ref: t.src.name, Msg: msg, Hint: "an item must be a JSON object with named fields"}
}

func (t *Template) renderItem(item *dict) (out string, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*batch.Error)
			if !ok {
				panic(r)
			}
			out, err = "", e
		}
	}()
	var b strings.Builder
	s := &state{src: &t.src, item: item, out: &b}
	s.run(t.body)
	return b.String(), nil
}
