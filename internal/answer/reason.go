package answer

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// reasonOf words a finding from what the schema wants, never from what the
// answer has. final reports that the causes below it say less than itself.
func reasonOf(k jsonschema.ErrorKind) (reason string, final bool) {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("is %s, want %s", k.Got, strings.Join(k.Want, " or ")), true
	case *kind.Required:
		return "lacks " + quoteAll(k.Missing), true
	case *kind.Enum:
		return fmt.Sprintf("is none of the %d allowed values", len(k.Want)), true
	case *kind.Const:
		return "is not the one allowed value", true
	case *kind.AdditionalProperties:
		return fmt.Sprintf("has %d properties that the schema does not allow", len(k.Properties)), true
	case *kind.AdditionalItems:
		return fmt.Sprintf("has %d elements that the schema does not allow", k.Count), true
	case *kind.AnyOf:
		return "matches none of the alternatives", true
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "matches more than one of the alternatives", true
		}
		return "matches none of the alternatives", true
	case *kind.Not:
		return "is what the schema forbids", true
	case *kind.FalseSchema:
		return "must not be there", true
	case *kind.Format:
		return "is not a valid " + k.Want, true
	case *kind.Pattern:
		return "does not match pattern " + k.Want, true
	case *kind.PropertyNames:
		return "has a property name that the schema does not allow", true
	case *kind.UniqueItems:
		return fmt.Sprintf("has equal elements at %d and %d", k.Duplicates[0], k.Duplicates[1]), true
	case *kind.DependentRequired:
		return "lacks " + quoteAll(k.Missing), true
	case *kind.Dependency:
		return "lacks " + quoteAll(k.Missing), true
	}
	if s, ok := boundReason(k); ok {
		return s, true
	}
	return "does not match the schema", false
}

// boundReason words the findings about sizes.
func boundReason(k jsonschema.ErrorKind) (string, bool) {
	switch k := k.(type) {
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters, want at least %d", k.Got, k.Want), true
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters, want at most %d", k.Got, k.Want), true
	case *kind.MinItems:
		return fmt.Sprintf("has %d elements, want at least %d", k.Got, k.Want), true
	case *kind.MaxItems:
		return fmt.Sprintf("has %d elements, want at most %d", k.Got, k.Want), true
	case *kind.MinProperties:
		return fmt.Sprintf("has %d properties, want at least %d", k.Got, k.Want), true
	case *kind.MaxProperties:
		return fmt.Sprintf("has %d properties, want at most %d", k.Got, k.Want), true
	case *kind.Minimum:
		return "is less than " + rat(k.Want), true
	case *kind.Maximum:
		return "is more than " + rat(k.Want), true
	case *kind.ExclusiveMinimum:
		return "is not more than " + rat(k.Want), true
	case *kind.ExclusiveMaximum:
		return "is not less than " + rat(k.Want), true
	case *kind.MultipleOf:
		return "is not a multiple of " + rat(k.Want), true
	case *kind.Contains, *kind.MinContains:
		return "lacks an element that the schema wants", true
	case *kind.MaxContains:
		return "has too many elements of a kind", true
	}
	return "", false
}

func rat(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

func quoteAll(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}

// pointer writes a JSON pointer. Keys that the schema does not name are the
// model's text and stand as "*".
func pointer(path []string, known map[string]bool) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		switch {
		case known[p]:
			b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
		case p != "" && len(p) < 10 && strings.Trim(p, "0123456789") == "":
			b.WriteString(p)
		default:
			b.WriteByte('*')
		}
	}
	return b.String()
}
