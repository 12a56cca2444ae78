// Package secret keeps keys from being told. A Secret shows itself nowhere: not
// to fmt, not to encoders, not to logs. What must call with it reveals it, at
// one place. A Redactor takes the values in use out of any text, whatever the
// encoding they stand in, at the places where text leaves the program.
package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
)

// Redacted stands where a secret stood.
const Redacted = "[redacted]"

// Secret is a value that is used and never shown. The zero value is none.
type Secret struct {
	// A pointer, since fmt does not ask the methods of a field that is not
	// exported and would print a string that stands there.
	value *string
	hosts *Hosts
}

// New keeps value, without the space around it that an editor or a shell leaves.
// An empty value is no secret.
func New(value string) Secret {
	value = strings.TrimSpace(value)
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Bind returns the secret for the hosts alone; see For.
func (s Secret) Bind(h Hosts) Secret {
	s.hosts = &h
	return s
}

// For reports whether the secret may be sent to u. One that was never bound may
// be sent anywhere.
func (s Secret) For(u *url.URL) bool { return s.hosts == nil || s.hosts.Allow(u) }

// Reveal returns the value. It is called where a request's header is written,
// and nowhere else: a test of the house holds the list of callers.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// Same reports whether both are the same value, however bound.
func (s Secret) Same(t Secret) bool { return s.Reveal() == t.Reveal() }

// Sendable reports whether a header can carry the secret: printable ASCII alone.
func (s Secret) Sendable() bool {
	return !strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r < ' ' || r >= 0x7f })
}

// Fingerprint tells one secret from another, in memory: 8 bytes of its SHA-256
// in hex. It is not for logs, where a short value could be guessed from it.
func (s Secret) Fingerprint() string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// String is [redacted], or empty when there is no secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Redacted
}

// GoString is what %#v shows.
func (s Secret) GoString() string { return "secret.Secret(" + s.String() + ")" }

// Format shows the same under every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // fmt's own buffer
}

// MarshalJSON writes the string [redacted].
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalText writes [redacted].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is what a log line shows.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
