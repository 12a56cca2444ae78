package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/batchwright/batchwright/internal/secret"
)

const shownValue = "sk-live-0123456789abcdef"

type open struct {
	Key secret.Secret `json:"key"`
}

type closed struct {
	key  secret.Secret
	more *secret.Secret
}

// Whatever is done to a secret by mistake, it is not shown.
func TestSecretShowsItselfNowhere(t *testing.T) {
	t.Parallel()
	s := secret.New(shownValue)
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "%10s", "%-5.2s", "%w"} {
		for name, v := range map[string]any{"value": s, "pointer": &s, "field": open{s}, "hidden field": closed{s, &s}, "hidden, by pointer": &closed{s, &s},
			"list": []secret.Secret{s}, "map": map[string]secret.Secret{"k": s}, "map key": map[secret.Secret]int{s: 1}, "any": any(s), "bound": s.Bind(secret.Hosts{})} {
			shown[verb+" of "+name] = fmt.Sprintf(verb, v)
		}
	}
	shown["error"] = fmt.Errorf("key %v: %w", s, errors.New("refused")).Error()
	shown["Print"] = fmt.Sprint(s, &s, closed{key: s})
	j, err := json.Marshal([]any{s, &s, open{s}, closed{key: s}, map[secret.Secret]int{s: 1}})
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(j)
	x, err := xml.Marshal(open{s})
	if err != nil {
		t.Fatal(err)
	}
	shown["xml"] = string(x)
	var log bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
		l.Info("m", "key", s, "pointer", &s, "struct", open{s}, "hidden", closed{key: s}, slog.Group("g", "key", s), "list", []any{s})
	}
	shown["slog"] = log.String()
	for how, text := range shown {
		if l := left(text, shownValue); len(l) > 0 {
			t.Errorf("%s: %q shows it as %v", how, text, l)
		}
	}
	if got := fmt.Sprintf("%v %s %q", s, s, open{s}); got != "[redacted] [redacted] {[redacted]}" {
		t.Errorf("it says %q", got)
	}
	if s.Reveal() != shownValue || s.IsZero() || s.Fingerprint() == "" || strings.Contains(shownValue, s.Fingerprint()) {
		t.Error("it is not what it was made of")
	}
	var none secret.Secret
	if !none.IsZero() || none.Reveal() != "" || none.String() != "" || secret.New("") != none || none.Fingerprint() == s.Fingerprint() {
		t.Error("no secret is a secret")
	}
}
