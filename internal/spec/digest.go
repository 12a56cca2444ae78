package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// Canonical is the spec in its own form as one line of JSON: every key that is
// set and every default, in the order of the table, names of mappings sorted,
// files that were read in place of their references. It is a valid spec, and
// parsing it gives an equal Spec with the same digests.
func (s *Spec) Canonical() []byte { return s.canonical(func(*key) bool { return true }) }

// Digest is the SHA-256 of Canonical in hex: two specs with the same digest say
// the same.
func (s *Spec) Digest() string { return digest(s.Canonical()) }

// WorkDigest is the SHA-256 in hex of what decides requests and outcomes: the
// job's id, where and how items are read, the task without its key reference
// and price, batch_size and dedupe. Budget, pacing, time-outs, attempts,
// deadline, schedule, output, labels and alerts may change while a run is
// resumed.
func (s *Spec) WorkDigest() string { return digest(s.canonical(func(k *key) bool { return k.work })) }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonical writes the keys that pick takes, section by section.
func (s *Spec) canonical(pick func(*key) bool) []byte {
	return escapeControls(s.writeSection("", pick))
}

// escapeControls writes the characters that JSON allows in text and a YAML file
// of ours does not in their escaped form.
func escapeControls(b []byte) []byte {
	var out bytes.Buffer
	for _, r := range string(b) {
		if refused(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

func (s *Spec) writeSection(section string, pick func(*key) bool) []byte {
	var b bytes.Buffer
	for _, k := range keys.bySection[section] {
		var text []byte
		switch {
		case k.same != "" || strings.HasSuffix(section, "[]"):
			continue
		case k.kind == kSection || k.kind == kConcurrency:
			text = s.writeSection(k.path, pick)
		case k.kind == kList:
			text = s.writeList(k, pick)
		case pick(k):
			text = marshal(k.get(s))
		}
		if len(text) == 0 {
			continue
		}
		b.WriteByte(",{"[btoi(b.Len() == 0)])
		writeText(&b, k.name())
		b.WriteByte(':')
		b.Write(text)
	}
	if b.Len() == 0 {
		return nil
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (s *Spec) writeList(k *key, pick func(*key) bool) []byte {
	switch {
	case !pick(k):
		return nil
	case k.path == "tests":
		return marshal(listOrNil(s.Tests))
	}
	return marshal(listOrNil(s.Task.Messages))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// marshal is JSON without escapes for HTML; nil gives nothing. All values come
// from parsed text, so that a failure is a mistake of ours.
func marshal(v any) []byte {
	if v == nil {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("spec: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Change is one key that two specs differ in, each side as it would stand in a
// spec; "" is not set. Prompts, schemas and cases are shown by digest and
// length, so that a change can be printed and logged.
type Change struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
	// Work says that the change makes other requests or outcomes, so that a run
	// cannot simply go on with it.
	Work bool `json:"work"`
}

// Diff lists the keys in which b differs from a, in the order of the table.
func Diff(a, b *Spec) []Change {
	var out []Change
	for _, k := range keys.all {
		if k.same != "" || strings.Contains(k.path, "[]") {
			continue
		}
		old, now := a.shown(k), b.shown(k)
		if old.full != now.full {
			out = append(out, Change{k.path, old.text, now.text, k.work})
		}
	}
	return out
}

type shownValue struct{ full, text string }

func (s *Spec) shown(k *key) shownValue {
	var raw []byte
	switch {
	case k.kind == kList:
		raw = s.writeList(k, func(*key) bool { return true })
	case k.get != nil:
		raw = marshal(k.get(s))
	}
	full := string(raw)
	if k.long && full != "" {
		return shownValue{full, fmt.Sprintf("sha256:%s (%d bytes)", digest(raw)[:12], len(raw))}
	}
	return shownValue{full, full}
}
