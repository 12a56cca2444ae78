package spec

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	masked      = "***"
	longestName = 100 // of a key whose name is looked at
	shortest    = 7   // text that can hold a secret by its form
)

// keyForms are what keys of well-known services look like.
var keyForms = regexp.MustCompile(`(?:^|[^A-Za-z0-9_-])(?:` + strings.Join([]string{
	`(sk-[A-Za-z0-9_-]{16,})`, `(AIza[A-Za-z0-9_-]{16,})`, `(gsk_[A-Za-z0-9]{12,})`, `(xai-[A-Za-z0-9]{16,})`,
	`(gh[pousr]_[A-Za-z0-9]{20,})`, `(xox[abprs]-[A-Za-z0-9-]{10,})`, `(hf_[A-Za-z0-9]{20,})`, `(AKIA[A-Z0-9]{16})`,
	`([Bb]earer +[A-Za-z0-9._~+/=-]{12,})`, `(https://hooks\.slack\.com/services/[A-Za-z0-9/]{16,})`, `(-----BEGIN [A-Z ]*PRIVATE KEY-----)`,
}, `|`) + `)`)

var (
	userInURL   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:([^\s/@?#]+)@`)
	signedQuery = regexp.MustCompile(`(?i)[?&](?:sig|signature|x-amz-signature|x-goog-signature|token|access_token|api_?key|key|code|secret)=([A-Za-z0-9%._~+/=-]{16,})`)
	secretName  = regexp.MustCompile(`(?i)(api[_-]?key|access[_-]?key|subscription[_-]?key|private[_-]?key|secret|token|password|passwd|passphrase|credential|authorization|bearer|cookie|(^|[_-])key$|(^|[_-])auth$)`)
	bareKey     = regexp.MustCompile(`(?i)[.-](partition|idempotency|cache|sort|routing|correlation|request)-key$`)
	harmless    = regexp.MustCompile(`(?i)(tokens|budget|max_|primary_key|id_key|cache_key)`)
	reference   = regexp.MustCompile(`^(env|file):`)
	secretLine  = regexp.MustCompile(`(?i)^\s*(?:- )?["']?[a-z0-9_-]*(?:key|secret|token|password|authorization|bearer)["']?\s*:\s*(.+)$`)
)

// secrets are the values of a spec that look like keys. Their text never
// leaves this type.
type secrets struct {
	nodes  map[*yaml.Node]bool
	values []string
	known  *strings.Replacer // of values; nil before they are all found
	block  map[int]bool      // lines inside a secret value of several lines
}

func newSecrets() secrets { return secrets{nodes: map[*yaml.Node]bool{}, block: map[int]bool{}} }

func (s *secrets) keep(n *yaml.Node) {
	s.nodes[n] = true
	for line := range strings.SplitSeq(n.Value, "\n") {
		if line = strings.TrimSpace(line); len(line) >= 4 {
			s.values = append(s.values, line)
		}
	}
	for i := range strings.Count(n.Value, "\n") + 1 {
		if i > 0 || strings.Contains(n.Value, "\n") {
			s.block[n.Line+i] = true
		}
	}
}

// seal is called when all values are found.
func (s *secrets) seal() {
	if len(s.values) == 0 {
		return
	}
	slices.SortFunc(s.values, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(s.values))
	for _, v := range s.values {
		pairs = append(pairs, v, masked)
	}
	s.known = strings.NewReplacer(pairs...)
}

// mask replaces every known and every likely secret in s.
func (s *secrets) mask(text string) string {
	if s.known == nil && len(text) < shortest {
		return text
	}
	if s.known != nil {
		text = s.known.Replace(text)
	}
	for _, form := range []*regexp.Regexp{keyForms, userInURL, signedQuery} {
		text = maskGroups(form, text)
	}
	return text
}

// maskLine is mask for a source line, which may hold a value that was never
// read as YAML.
func (s *secrets) maskLine(no int, text string) string {
	if s.block[no] {
		return masked
	}
	if m := secretLine.FindStringSubmatchIndex(text); m != nil {
		v := strings.Trim(text[m[2]:m[3]], `"' `)
		if len(v) >= 8 && !reference.MatchString(v) && strings.ContainsFunc(v, func(r rune) bool { return r < '0' || r > '9' }) {
			text = text[:m[2]] + masked
		}
	}
	return s.mask(text)
}

func maskGroups(form *regexp.Regexp, text string) string {
	all := form.FindAllStringSubmatchIndex(text, -1)
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		for g := 2; g+1 < len(m); g += 2 {
			if m[g] >= 0 {
				text = text[:m[g]] + masked + text[m[g+1]:]
				break
			}
		}
	}
	return text
}

// findSecrets walks all scalars, keys too, before anything else looks at them.
// telling says that the node's key is named as keys of secrets are.
func (p *parser) findSecrets(n *yaml.Node, path string, telling bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			kn := n.Content[i]
			p.findSecrets(kn, path, false)
			p.findSecrets(n.Content[i+1], below(path, kn), tellingName(kn.Value))
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			p.findSecrets(c, path, telling)
		}
	case yaml.ScalarNode:
		if why := secretWhy(floated(path), telling, n); why != "" {
			p.secrets.keep(n)
			path = floated(path)
			p.add(n, codeSecret, path, fmt.Sprintf("%s: %s; a spec holds no secrets", cmp.Or(path, "a key"), why), secretHint(path))
		}
	}
}

// floated is the path without job where the section also stands at top level.
func floated(path string) string {
	rest, inJob := strings.CutPrefix(path, "job.")
	section, _, _ := strings.Cut(rest, ".")
	if k := keys.byPath[section]; inJob && k != nil && k.floats {
		return rest
	}
	return path
}

func secretHint(path string) string {
	if strings.Contains(path, "base_url") || strings.Contains(path, "uri") {
		return "take it out of the address; the program uses the environment's credentials, or api_key: env:NAME"
	}
	return "withdraw the key if the file was shared, put it into the environment and write api_key: env:NAME, or api_key: file:PATH"
}

// tellingName reports whether values under a key of this name are secrets.
func tellingName(name string) bool {
	name = name[:min(len(name), longestName)]
	return secretName.MatchString(name) && !harmless.MatchString(name)
}

// secretWhy says why a scalar looks like a secret, or "".
func secretWhy(path string, telling bool, n *yaml.Node) string {
	v := strings.TrimSpace(n.Value)
	switch {
	case v == "" || n.Tag == "!!null":
	case keyForms.MatchString(v):
		return "the value looks like a key"
	case userInURL.MatchString(v):
		return "the address holds a password"
	case signedQuery.MatchString(v):
		return "the address holds a signature or a token"
	case path == "task.api_key":
		if !reference.MatchString(v) {
			return "the value is not a reference, so it may be the key itself"
		}
	case !telling || reference.MatchString(v):
	case strings.HasPrefix(path, "task.headers.") && !bareKey.MatchString(path):
		return "a header that carries a secret"
	case looksRandom(v):
		return "the value looks like a key"
	}
	return ""
}

// looksRandom reports whether v is long and mixed as keys are and names are
// not: 20 characters or more, and in it 20 without a separator, or 12 that mix
// letters and digits.
func looksRandom(v string) bool {
	if len(v) < 20 || strings.ContainsAny(v, " \n\t{") || entropy(v) < 3 {
		return false
	}
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune("-_./:", r) }) {
		if len(part) >= 20 || len(part) >= 12 && strings.ContainsAny(part, "0123456789") && strings.Trim(part, "0123456789") != "" {
			return true
		}
	}
	return false
}

// entropy is the Shannon entropy of s in bits per byte.
func entropy(s string) float64 {
	var n [256]int
	for i := range len(s) {
		n[s[i]]++
	}
	h := 0.0
	for _, c := range n {
		if c > 0 {
			f := float64(c) / float64(len(s))
			h -= f * math.Log2(f)
		}
	}
	return h
}
