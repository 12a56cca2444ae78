package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteMarkdown writes the report for a pull request or a CI summary, in the
// GitHub dialect. Text that came from outside is escaped: it can neither format,
// link, embed nor mention.
func WriteMarkdown(w io.Writer, r Run) error {
	b := bufio.NewWriter(w)
	v := VerdictOf(r)
	fmt.Fprintf(b, "## %s %s: %s\n\n%s\n\n", v.Symbol, md(capital(v.Word)), md(oneLine(r.Job, 200)), md(v.Sentence))
	fmt.Fprintf(b, "| | |\n|---|---|\n| run | %s |\n", mdCode(string(r.ID)))
	for _, f := range textFacts(r) {
		fmt.Fprintf(b, "| %s | %s |\n", f.Name, md(f.Value))
	}
	if len(r.Errors) > 0 {
		b.WriteString("\n### Why items failed\n\n| count | class | message | for example |\n|---:|---|---|---|\n")
		for _, g := range r.Errors {
			ids := make([]string, 0, len(g.Examples))
			for _, e := range g.Examples {
				ids = append(ids, mdCode(e.ID))
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", Count(g.Count), md(className(g.Class)), md(oneLine(g.Message, maxMessage)), strings.Join(ids, " "))
		}
	}
	if len(r.Plan) > 0 {
		b.WriteString("\n### Plan and actual\n\n| | planned | actual | variance |\n|---|---:|---:|---:|\n")
		for _, p := range r.Plan {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", md(oneLine(p.Key, 60)), md(quantity(p.Planned, p.Unit)), md(quantity(p.Actual, p.Unit)), md(Variance(p.Planned, p.Actual)))
		}
	}
	if e := evaluationOf(r.Evaluation); e != nil && len(e.Confusions) > 0 {
		fmt.Fprintf(b, "\n### Evaluation\n\n%s\n\n| expected | answered | times |\n|---|---|---:|\n", md(e.Sentence))
		for _, c := range e.Confusions {
			fmt.Fprintf(b, "| %s | %s | %s |\n", md(c.Expected), md(c.Got), c.Count)
		}
	}
	if len(r.Outputs) > 0 {
		b.WriteString("\n### Outputs\n\n| file | rows | size | sha256 |\n|---|---:|---:|---|\n")
		for _, o := range r.Outputs {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", mdCode(o.Name), Count(o.Rows), Bytes(o.Bytes), mdCode(o.SHA256))
		}
	}
	if next := NextCommands(r); len(next) > 0 {
		b.WriteString("\n### Next\n\n| | |\n|---|---|\n")
		for _, c := range next {
			fmt.Fprintf(b, "| %s | %s |\n", md(oneLine(c.Why, 200)), mdCode(c.Command))
		}
	}
	return b.Flush()
}

// md makes text stand for itself in Markdown. What could be markup becomes a
// character reference, which no renderer reads as markup. Underscores inside a
// word and a dollar before a digit are none, and stay readable in plain logs.
func md(s string) string {
	var b strings.Builder
	all := []rune(s)
	at := func(i int) rune {
		if i < 0 || i >= len(all) {
			return 0
		}
		return all[i]
	}
	for i, r := range all {
		markup := false
		switch r {
		case '_':
			markup = !wordRune(at(i-1)) || !wordRune(at(i+1))
		case '$':
			markup = !unicode.IsDigit(at(i + 1))
		case ':':
			markup = at(i+1) == '/' && at(i+2) == '/' || at(i-1) == 'o' // mailto:
		case '.':
			markup = i >= 3 && strings.EqualFold(string(all[i-3:i]), "www")
		default:
			markup = strings.ContainsRune("\\`*{}[]<>#|~&@!", r)
		}
		if markup {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// mdCode writes a code span where every character is a plain one; anything else
// becomes text, so that no fence can be broken out of.
func mdCode(s string) string {
	s = oneLine(s, 200)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !wordRune(r) && !strings.ContainsRune(" -_./:=,+%{}", r) }) {
		return md(s)
	}
	return "`" + s + "`"
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
