package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/batchwright/batchwright/internal/batch"
)

// printer writes for one command: data to out, everything else to err.
type printer struct {
	out    io.Writer
	err    io.Writer
	asJSON bool
	quiet  bool
	flag   string // that finds the data directory again, for commands in hints
	colour bool
	utf8   bool

	mu   sync.Mutex
	live func() // takes the lines that are redrawn off the terminal; nil when there are none
}

func newPrinter(sys System, g Globals) *printer {
	p := &printer{out: sys.Stdout, asJSON: g.JSON, quiet: g.Quiet, flag: dataFlag(sys, g), utf8: speaksUTF8(sys.Getenv)}
	p.colour = sys.StderrTTY && !g.NoColor && sys.Getenv("NO_COLOR") == "" && sys.Getenv("TERM") != "dumb"
	p.err = &cleared{p, sys.Stderr}
	return p
}

// speaksUTF8 reports whether the terminal shows signs outside of ASCII.
func speaksUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(getenv(name)); v != "" {
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return false
}

// cleared takes redrawn lines away before anything else is written to stderr.
type cleared struct {
	p *printer
	w io.Writer
}

func (c *cleared) Write(b []byte) (int, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.p.live != nil {
		c.p.live()
	}
	return c.w.Write(b)
}

// json prints one document, indented.
func (p *printer) json(v any) error {
	w := bufio.NewWriter(p.out)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	return w.Flush()
}

// row prints an aligned label and value as data.
func (p *printer) row(label, format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	fmt.Fprintf(p.out, "  %-9s %s\n", label, format)
}

// note tells a person something that no script needs.
func (p *printer) note(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.err, format+"\n", args...)
	}
}

// warn is a note that -q does not silence.
func (p *printer) warn(format string, args ...any) {
	fmt.Fprintf(p.err, p.paint(yellow, "warning:")+" "+format+"\n", args...)
}

// problem is an error as a machine reads it.
type problem struct {
	Kind    batch.Kind `json:"kind"`
	Message string     `json:"message"`
	Ref     string     `json:"ref,omitempty"`
	Hint    string     `json:"hint,omitempty"`
	Code    Code       `json:"exit_code"`
}

// fail says what went wrong and returns the exit code.
func (p *printer) fail(err error) Code {
	code := ErrorCode(err)
	if _, silent := errors.AsType[exit](err); silent || err == nil {
		return code
	}
	text, hint := clean(err.Error()), p.command(clean(batch.HintOf(err)))
	if p.asJSON {
		pr := problem{Kind: batch.KindOf(err), Message: text, Hint: hint, Code: code}
		if e, ok := errors.AsType[*batch.Error](err); ok {
			pr.Ref = e.Ref
		}
		line, jerr := json.Marshal(map[string]problem{"error": pr})
		if jerr == nil {
			fmt.Fprintf(p.err, "%s\n", line)
			return code
		}
	}
	fmt.Fprintf(p.err, "%s %s\n", p.paint(red, "error:"), text)
	if hint != "" {
		fmt.Fprintf(p.err, "%s %s\n", p.paint(cyan, "hint:"), hint)
	}
	return code
}

// command adds the data directory to a hint that is a command about a run.
func (p *printer) command(hint string) string {
	rest, ok := strings.CutPrefix(hint, "batchwright ")
	if !ok || p.flag == "" || strings.HasPrefix(rest, "--data-dir") {
		return hint
	}
	verb, _, _ := strings.Cut(rest, " ")
	switch verb {
	case "help", "--help", "init", "validate", "demo", "simulate", "version":
		return hint
	}
	return "batchwright" + p.flag + " " + rest
}

// The colours; a word always says the same.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	dim    = "2"
)

func (p *printer) paint(colour, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// sign is ✓ ✗ or !, or a word where the terminal has no such signs.
func (p *printer) sign(s string) string {
	words := map[string]string{"✓": "ok", "✗": "no", "!": "!", "·": "-", "→": "->"}
	colours := map[string]string{"✓": green, "✗": red, "!": yellow}
	shown := s
	if !p.utf8 {
		shown = words[s]
	}
	if c := colours[s]; c != "" {
		return p.paint(c, shown)
	}
	return shown
}

// plain rewrites text with signs for a terminal without them.
func (p *printer) plain(s string) string {
	if p.utf8 {
		return s
	}
	return strings.NewReplacer("✓", "ok", "✗", "x", "·", "|", "→", "->", "×", "x", "≤", "<=", "⊘", "-", "○", "-", "–", "-", "…", "...", "▲", ">").Replace(s)
}

// clean takes from a text what a terminal would act on: a provider's message
// must not move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', unicode.Is(unicode.Bidi_Control, r):
			return '\ufffd'
		}
		return r
	}, s)
}

// oneLine is clean in one line of at most n characters.
func oneLine(s string, n int) string {
	rs := []rune(strings.Join(strings.Fields(clean(s)), " "))
	if len(rs) > n {
		return string(rs[:max(n-3, 0)]) + "..."
	}
	return string(rs)
}
