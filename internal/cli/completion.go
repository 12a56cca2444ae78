package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c *completionCommand) Help() string {
	return "bash: source <(batchwright completion bash). zsh: batchwright completion zsh > a folder of fpath/_batchwright. fish: batchwright completion fish | source."
}

func (c *completionCommand) Run(inv *invocation) error {
	cs := words(inv.kong.Model)
	write := map[string]func(io.Writer, []completable) error{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	return write(inv.p.out, cs)
}

// completable is a command by its path ("", "run", "db backup") with what can
// follow it.
type completable struct {
	path  string
	help  string
	subs  []string
	flags []completableFlag
	files bool // takes files
}

type completableFlag struct {
	name, short, help string
	values            []string
	takes             bool // takes a value
}

// words lists every command of the grammar.
func words(app *kong.Application) []completable {
	var out []completable
	var walk func(n *kong.Node, path string, inherited []completableFlag)
	walk = func(n *kong.Node, path string, inherited []completableFlag) {
		c := completable{path: path, help: n.Help, flags: slices.Clone(inherited)}
		for _, f := range n.Flags {
			if !f.Hidden {
				c.flags = append(c.flags, flagOf(f))
			}
		}
		for _, p := range n.Positional {
			c.files = c.files || p.Name == "file" || p.Name == "to"
		}
		for _, ch := range n.Children {
			if !ch.Hidden {
				c.subs = append(c.subs, ch.Name)
			}
		}
		if path == "help" {
			c.subs = append(c.subs, "exit-codes", "environment", "formatting")
			for _, ch := range app.Children {
				c.subs = append(c.subs, ch.Name)
			}
		}
		if path == "completion" {
			c.subs = []string{"bash", "zsh", "fish"}
		}
		out = append(out, c)
		for _, ch := range n.Children {
			if !ch.Hidden {
				walk(ch, strings.TrimSpace(path+" "+ch.Name), c.flags)
			}
		}
	}
	walk(app.Node, "", nil)
	return out
}

func flagOf(f *kong.Flag) completableFlag {
	c := completableFlag{name: f.Name, help: f.Help, takes: !f.IsBool()}
	if f.Short != 0 {
		c.short = string(f.Short)
	}
	for _, v := range f.EnumSlice() {
		if v != "" {
			c.values = append(c.values, v)
		}
	}
	return c
}

func (c completable) candidates() []string {
	out := slices.Clone(c.subs)
	for _, f := range c.flags {
		out = append(out, "--"+f.name)
	}
	return out
}

func bashCompletion(w io.Writer, cs []completable) error {
	var b strings.Builder
	b.WriteString("# bash completion for batchwright\n_batchwright() {\n  local cur prev path i\n  cur=\"${COMP_WORDS[COMP_CWORD]}\"\n" +
		"  prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n  path=\"\"\n  for ((i=1; i<COMP_CWORD; i++)); do\n    case \"$path ${COMP_WORDS[i]}\" in\n")
	var paths []string
	for _, c := range cs {
		if c.path != "" {
			paths = append(paths, "\" "+c.path+"\"")
		}
	}
	fmt.Fprintf(&b, "      %s) path=\"$path ${COMP_WORDS[i]}\" ;;\n    esac\n  done\n", strings.Join(paths, "|"))
	b.WriteString("  case \"$prev\" in\n")
	for _, f := range valued(cs) {
		fmt.Fprintf(&b, "    --%s) COMPREPLY=($(compgen -W %q -- \"$cur\")); return ;;\n", f.name, strings.Join(f.values, " "))
	}
	b.WriteString("  esac\n  case \"$path\" in\n")
	for _, c := range cs {
		head := ""
		if c.path != "" {
			head = " " + c.path
		}
		extra := ""
		if c.files {
			extra = " $(compgen -f -- \"$cur\")"
		}
		fmt.Fprintf(&b, "    %q) COMPREPLY=($(compgen -W %q -- \"$cur\")%s) ;;\n", head, strings.Join(c.candidates(), " "), extra)
	}
	b.WriteString("  esac\n}\ncomplete -o filenames -o bashdefault -F _batchwright batchwright\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// valued are the flags with a closed set of values, each once.
func valued(cs []completable) []completableFlag {
	var out []completableFlag
	seen := map[string]bool{}
	for _, c := range cs {
		for _, f := range c.flags {
			if len(f.values) > 0 && !seen[f.name] {
				seen[f.name] = true
				out = append(out, f)
			}
		}
	}
	return out
}

func zshCompletion(w io.Writer, cs []completable) error {
	var b strings.Builder
	b.WriteString("#compdef batchwright\n_batchwright() {\n  local path=\"\" i\n  local -a names\n  for ((i=2; i<CURRENT; i++)); do\n    case \"$path ${words[i]}\" in\n")
	var paths []string
	for _, c := range cs {
		if c.path != "" {
			paths = append(paths, "\" "+c.path+"\"")
		}
	}
	fmt.Fprintf(&b, "      %s) path=\"$path ${words[i]}\" ;;\n    esac\n  done\n  case \"${words[CURRENT-1]}\" in\n", strings.Join(paths, "|"))
	for _, f := range valued(cs) {
		fmt.Fprintf(&b, "    --%s) compadd %s; return ;;\n", f.name, strings.Join(f.values, " "))
	}
	b.WriteString("  esac\n  case \"$path\" in\n")
	for _, c := range cs {
		head := ""
		if c.path != "" {
			head = " " + c.path
		}
		fmt.Fprintf(&b, "    %q)\n      names=(", head)
		for _, s := range c.subs {
			fmt.Fprintf(&b, "%s ", zshQuote(s+":"+helpOf(cs, strings.TrimSpace(c.path+" "+s))))
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, "%s ", zshQuote("--"+f.name+":"+f.help))
		}
		b.WriteString(")\n      _describe batchwright names\n")
		if c.files {
			b.WriteString("      _files\n")
		}
		b.WriteString("      ;;\n")
	}
	b.WriteString("  esac\n}\nif [ \"$funcstack[1]\" = _batchwright ]; then _batchwright \"$@\"; else compdef _batchwright batchwright; fi\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func helpOf(cs []completable, path string) string {
	for _, c := range cs {
		if c.path == path {
			return c.help
		}
	}
	return ""
}

func fishCompletion(w io.Writer, cs []completable) error {
	var b strings.Builder
	b.WriteString("# fish completion for batchwright\n")
	var top []string
	for _, c := range cs {
		if c.path != "" && !strings.Contains(c.path, " ") {
			top = append(top, c.path)
		}
	}
	none := "not __fish_seen_subcommand_from " + strings.Join(top, " ")
	for _, c := range cs {
		when := none
		if c.path != "" {
			var seen []string
			for _, word := range strings.Fields(c.path) {
				seen = append(seen, "__fish_seen_subcommand_from "+word)
			}
			when = strings.Join(seen, "; and ")
		}
		for _, s := range c.subs {
			fmt.Fprintf(&b, "complete -c batchwright -f -n %s -a %s -d %s\n", fishQuote(when), s, fishQuote(helpOf(cs, strings.TrimSpace(c.path+" "+s))))
		}
		own := c.flags
		if c.path != "" {
			own = own[len(cs[0].flags):]
			when = "__fish_seen_subcommand_from " + strings.Fields(c.path)[0]
		} else {
			when = ""
		}
		for _, f := range own {
			fmt.Fprintf(&b, "complete -c batchwright")
			if when != "" {
				fmt.Fprintf(&b, " -n %s", fishQuote(when))
			}
			fmt.Fprintf(&b, " -l %s", f.name)
			if f.short != "" {
				fmt.Fprintf(&b, " -s %s", f.short)
			}
			if f.takes {
				b.WriteString(" -r")
			}
			if len(f.values) > 0 {
				fmt.Fprintf(&b, " -f -a %s", fishQuote(strings.Join(f.values, " ")))
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuote(f.help))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
