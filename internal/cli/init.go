package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/spec"
)

type initCommand struct {
	Dir      string `arg:"" optional:"" default:"." help:"Folder to write to."`
	Template string `help:"Kind of job: summarize, label, backfill or eval." placeholder:"KIND"`
	NoInput  bool   `help:"Do not ask."`
	Force    bool   `help:"Write over what is there."`
}

func (c *initCommand) Help() string {
	return "Writes job.yaml, 20 sample items and a .gitignore. The spec runs as it is, on the built-in provider, without a key."
}

func (c *initCommand) Run(inv *invocation) error {
	kind, err := c.kind(inv)
	if err != nil {
		return err
	}
	text, err := spec.Template(kind)
	if err != nil {
		return err
	}
	files := []struct {
		name    string
		body    []byte
		keep    bool // one that is there stays
		written bool
	}{{name: "job.yaml", body: text}, {name: "items.jsonl", body: sampleItems()}, {name: ".gitignore", body: []byte(".batchwright/\nout/\n"), keep: true}}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return &batch.Error{Kind: batch.Unavailable, Op: "init", Ref: c.Dir, Err: err}
	}
	for _, f := range files {
		path := filepath.Join(c.Dir, f.name)
		if _, err := os.Lstat(path); err == nil && !c.Force && !f.keep {
			return &batch.Error{Kind: batch.Conflict, Op: "init", Ref: path, Msg: "is there already; nothing was written", Hint: "choose another folder, or --force writes over it"}
		}
	}
	var names []string
	for _, f := range files {
		path := filepath.Join(c.Dir, f.name)
		if _, err := os.Lstat(path); err == nil && f.keep {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &batch.Error{Kind: batch.Unavailable, Op: "init", Ref: path, Err: err}
		}
		if err := os.WriteFile(path, f.body, 0o644); err != nil {
			return &batch.Error{Kind: batch.Unavailable, Op: "init", Ref: path, Err: err}
		}
		names = append(names, path)
	}
	if inv.g.JSON {
		return inv.p.json(map[string]any{"template": kind, "files": names})
	}
	for _, n := range names {
		fmt.Fprintln(inv.p.out, n)
	}
	job := shellWord(filepath.Join(c.Dir, "job.yaml"))
	inv.p.note("try it, without a key:   batchwright run %s", job)
	inv.p.note("what it would take:      batchwright plan %s", job)
	inv.p.note("then set task.provider, task.model and task.api_key to your own")
	return nil
}

// kind is the template that was named, or asked for.
func (c *initCommand) kind(inv *invocation) (string, error) {
	kinds := spec.TemplateKinds()
	if c.Template != "" {
		if !slices.Contains(kinds, c.Template) {
			return "", &batch.Error{Kind: batch.Usage, Op: "--template", Ref: c.Template, Msg: "is no kind of job", Hint: "one of " + strings.Join(kinds, ", ")}
		}
		return c.Template, nil
	}
	if c.NoInput || inv.g.Yes || !inv.sys.StdinTTY || !inv.sys.StderrTTY {
		return kinds[0], nil
	}
	fmt.Fprintf(inv.p.err, "what will it do? %s [%s] ", strings.Join(kinds, ", "), kinds[0])
	line, err := bufio.NewReader(inv.sys.Stdin).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	switch {
	case err != nil:
		return "", &batch.Error{Kind: batch.Cancelled, Msg: "nothing was written"}
	case answer == "":
		return kinds[0], nil
	case slices.Contains(kinds, answer):
		return answer, nil
	}
	return "", &batch.Error{Kind: batch.Usage, Ref: answer, Msg: "is no kind of job", Hint: "one of " + strings.Join(kinds, ", ")}
}

// sampleItems are 20 support tickets with labels, which fit every template.
func sampleItems() []byte {
	type item struct {
		ID    string `json:"id"`
		Text  string `json:"text"`
		Label string `json:"label"`
	}
	var out []byte
	for i, t := range [...]struct{ label, text string }{
		{"billing", "I was charged twice for the March invoice and would like one of them back."},
		{"billing", "My card expired last week; where do I enter the new one before the renewal on Friday?"},
		{"billing", "The invoice shows the old company name. Can you issue a corrected one?"},
		{"billing", "We moved from monthly to yearly billing and the discount is missing."},
		{"bug", "Exporting more than 5,000 rows ends with an empty file and no message."},
		{"bug", "Since the update on Tuesday the search box forgets what I typed when I switch tabs."},
		{"bug", "The mobile app closes itself when I open a ticket that has an attachment."},
		{"bug", "Two colleagues see different totals on the same dashboard."},
		{"bug", "The webhook sends every event twice, a few seconds apart."},
		{"other", "I no longer have the phone that gets the login codes. How do I get back in?"},
		{"other", "Please move my colleague's projects to me, she leaves at the end of the month."},
		{"other", "Our SSO certificate is renewed tomorrow; what do you need from us?"},
		{"other", "I signed up with a typo in my address and cannot confirm it."},
		{"question", "Is there a way to receive the weekly report on Monday instead of Sunday?"},
		{"question", "What happens to old tickets when a plan is downgraded?"},
		{"question", "Which regions can our data be stored in?"},
		{"question", "How many API calls a minute does the team plan allow?"},
		{"other", "The new editor saves me half an hour every day, thank you!"},
		{"other", "Support solved my problem in ten minutes on a Sunday. Impressive."},
		{"other", "We compared four tools and stayed with yours because of the audit log."},
	} {
		line, err := json.Marshal(item{fmt.Sprintf("t-%03d", i+1), t.text, t.label})
		if err != nil { // three strings
			panic(err)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}
