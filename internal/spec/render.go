package spec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"
)

// WriteText writes the findings for people: what, where, the source line with a
// caret, and what to do.
func (ds Diagnostics) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, d := range ds {
		label := ""
		if d.Severity == Warning {
			label = "warning: "
		}
		fmt.Fprintf(b, "%s %s%s (%s)\n", d.Code, label, shown(d.Message), shown(d.Ref()))
		d.writeFrame(b)
		if d.Hint != "" {
			fmt.Fprintf(b, "      %s\n", shown(d.Hint))
		}
		fmt.Fprintln(b)
	}
	if len(ds) > 0 {
		fmt.Fprintln(b, ds.count())
	}
	return b.Flush()
}

// shown puts a mark in the place of every character that a terminal acts on,
// one by one, so that a caret below still points at its place: a file's name or
// a key must not move the cursor, and a finding keeps its lines.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return '\ufffd'
		}
		return r
	}, s)
}

func (ds Diagnostics) count() string {
	n := ds.Errors()
	return plural(n, "error") + ", " + plural(len(ds)-n, "warning")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

const (
	frameWidth = 110
	frameLead  = 40 // characters shown left of the caret when a line is cut
)

func (d Diagnostic) writeFrame(w io.Writer) {
	line, caret := []rune(shown(d.excerpt)), d.caret
	if len(line) == 0 {
		return
	}
	cut := ""
	if len(line) > frameWidth && caret > frameLead {
		line, caret, cut = line[caret-frameLead:], frameLead, "…"
	}
	end := ""
	if len(line) > frameWidth {
		line, end = line[:frameWidth], "…"
	}
	pad := make([]rune, 0, caret+1)
	for _, r := range []rune(cut + string(line))[:caret+len([]rune(cut))] {
		if r != '\t' {
			r = ' '
		}
		pad = append(pad, r)
	}
	fmt.Fprintf(w, "%5d | %s%s%s\n      | %s^\n", d.Line, cut, string(line), end, string(pad))
}

// WriteJSON writes one object with the findings and their counts.
func (ds Diagnostics) WriteJSON(w io.Writer) error {
	n := ds.Errors()
	list := ds
	if list == nil {
		list = Diagnostics{}
	}
	return encode(w, struct {
		Errors      int         `json:"errors"`
		Warnings    int         `json:"warnings"`
		Diagnostics Diagnostics `json:"diagnostics"`
	}{n, len(ds) - n, list})
}

func encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// WriteGitHub writes one workflow command per finding, which GitHub Actions
// shows beside the line.
func (ds Diagnostics) WriteGitHub(w io.Writer) error {
	b := bufio.NewWriter(w)
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	prop := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, d := range ds {
		msg := d.Message
		if d.Hint != "" {
			msg += "\n" + d.Hint
		}
		fmt.Fprintf(b, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", d.Severity, shown(prop.Replace(filepath.ToSlash(d.File))), d.Line, d.Col,
			prop.Replace(string(d.Code)+" "+d.Code.Name()), shown(text.Replace(msg)))
	}
	return b.Flush()
}
