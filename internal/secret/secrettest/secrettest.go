// Package secrettest looks for secrets in texts and files, by means that the
// redactor does not use: it writes a value down in each encoding, with the
// standard library's own encoders, and searches for the bytes.
package secrettest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Encoding is one way in which a value can be written down.
type Encoding struct {
	Name string
	// Whole writes a text that holds the value.
	Whole func(before, value, after string) string
	// Core is what the value alone decides of it, wherever it stands.
	Core func(value string) []string
}

// inline is an encoding that treats every character for itself.
func inline(name string, f func(string) string) Encoding {
	return Encoding{name, func(b, v, a string) string { return b + f(v) + a }, func(v string) []string { return []string{f(v)} }}
}

// Encodings are all that are looked for.
func Encodings() []Encoding {
	es := []Encoding{
		inline("raw", func(v string) string { return v }),
		inline("json", func(v string) string { return quoted(v, true) }),
		inline("json without html", func(v string) string { return quoted(v, false) }),
		inline("json in json", func(v string) string { return quoted(quoted(v, true), true) }),
		inline("json, all escaped", func(v string) string {
			return each(v, func(r rune) string {
				var u string
				for _, c := range utf16.Encode([]rune{r}) {
					u += fmt.Sprintf(`\u%04x`, c)
				}
				return u
			})
		}),
		inline("url query", url.QueryEscape),
		inline("url path", url.PathEscape),
		inline("url, all escaped", func(v string) string { return eachByte(v, func(b byte) string { return fmt.Sprintf("%%%02x", b) }) }),
		inline("url twice", func(v string) string {
			return url.QueryEscape(eachByte(v, func(b byte) string { return fmt.Sprintf("%%%02X", b) }))
		}),
		inline("html", html.EscapeString),
		inline("html, all escaped", func(v string) string { return each(v, func(r rune) string { return fmt.Sprintf("&#%d;", r) }) }),
		inline("html, in hex", func(v string) string { return each(v, func(r rune) string { return fmt.Sprintf("&#x%X;", r) }) }),
		inline("go %q", func(v string) string { return inner(strconv.Quote(v)) }),
		inline("go %+q", func(v string) string { return inner(strconv.QuoteToASCII(v)) }),
		inline("go, all escaped", func(v string) string { return eachByte(v, func(b byte) string { return fmt.Sprintf(`\x%02x`, b) }) }),
		inline("octal", func(v string) string { return eachByte(v, func(b byte) string { return fmt.Sprintf(`\%03o`, b) }) }),
		inline("hex", func(v string) string { return hex.EncodeToString([]byte(v)) }),
		inline("hex, capital", func(v string) string { return strings.ToUpper(hex.EncodeToString([]byte(v))) }),
		inline("hex, spaced", func(v string) string { return fmt.Sprintf("% x", v) }),
		inline("hex, with colons", func(v string) string { return strings.ReplaceAll(fmt.Sprintf("% x", v), " ", ":") }),
		inline("go bytes", func(v string) string { return inner(fmt.Sprint([]byte(v))) }), //nolint:staticcheck // the numbers are what is wanted
		inline("go syntax bytes", func(v string) string {
			return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(v)), "[]byte{"), "}")
		}),
		inline("json bytes", func(v string) string { return strings.ReplaceAll(inner(fmt.Sprint([]byte(v))), " ", ",") }), //nolint:staticcheck // as above
		inline("capital", strings.ToUpper),
		inline("small", strings.ToLower),
	}
	for _, a := range []struct {
		name string
		enc  *base64.Encoding
	}{{"base64", base64.StdEncoding}, {"base64 url", base64.URLEncoding}, {"base64 raw", base64.RawStdEncoding}, {"base64 raw url", base64.RawURLEncoding}} {
		es = append(es, Encoding{a.name, func(b, v, after string) string { return a.enc.EncodeToString([]byte(b + v + after)) },
			func(v string) []string { return cores(a.enc, v) }})
	}
	return es
}

func inner(s string) string { return s[1 : len(s)-1] }

func quoted(v string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(v); err != nil {
		panic(err) // a string
	}
	s := strings.TrimSuffix(b.String(), "\n")
	return inner(s)
}

func each(v string, f func(rune) string) string {
	var b strings.Builder
	for _, r := range v {
		b.WriteString(f(r))
	}
	return b.String()
}

func eachByte(v string, f func(byte) string) string {
	var b strings.Builder
	for i := range len(v) {
		b.WriteString(f(v[i]))
	}
	return b.String()
}

// cores are the base64 characters that v decides alone at each alignment: those
// that stay the same whatever stands before and behind it.
func cores(enc *base64.Encoding, v string) []string {
	var out []string
	for align := range 3 {
		a := enc.EncodeToString([]byte(strings.Repeat("\x00", align) + v + "\x00\x00\x00"))
		b := enc.EncodeToString([]byte(strings.Repeat("\xff", align) + v + "\xff\xff\xff"))
		from, to := -1, 0
		for i := range len(a) {
			switch {
			case a[i] == b[i] && from < 0:
				from, to = i, i+1
			case a[i] == b[i] && to == i:
				to = i + 1
			}
		}
		out = append(out, a[from:to])
	}
	return out
}

// Needle is a value as one encoding writes it.
type Needle struct {
	Value    int // index into the values
	Encoding string
	Bytes    []byte
}

// Needles are all values in all encodings, without twins.
func Needles(values []string) []Needle {
	var out []Needle
	for i, v := range values {
		seen := map[string]bool{}
		for _, e := range Encodings() {
			for _, core := range e.Core(v) {
				if !seen[core] {
					seen[core] = true
					out = append(out, Needle{i, e.Name, []byte(core)})
				}
			}
		}
	}
	return out
}
