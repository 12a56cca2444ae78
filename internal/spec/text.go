package spec

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones must load on machines without a zone database
	"unicode/utf8"

	"github.com/batchwright/batchwright/internal/batch"
)

// textCheck judges text for one kind of key; why is empty when it is right.
type textCheck func(k *key, s string, p *parser) (code Code, why, hint string)

var textChecks = map[kind]textCheck{
	kEnum: oneOf, kInputURI: inputURI, kOutputURI: outputURI, kURL: httpURL, kName: jobName,
	kSchedule: schedule, kTimezone: timezone, kDelimiter: delimiter,
}

func oneOf(k *key, s string, p *parser) (Code, string, string) {
	allowed := k.enum
	if k.path == "task.provider" {
		allowed = append(slices.Clone(k.enum), p.opts.Providers...)
	}
	if slices.Contains(allowed, s) {
		return "", "", ""
	}
	hint := "use " + orList(allowed)
	if k.path == "input.format" && slices.Contains([]string{"ndjson", "jsonlines", "json_lines", "jsonl.gz"}, s) {
		return codeNotOneOf, p.show(s) + " is not known here", "write jsonl: one JSON object per line; compression is seen by itself"
	}
	if k.path == "task.messages[].role" && (s == "system" || s == "developer") {
		return codeNotOneOf, p.show(s) + " is not a turn", "write the system prompt as task.system"
	}
	if near := nearest(s, allowed); near != "" {
		hint = fmt.Sprintf("did you mean %s? %s", near, "Use "+orList(allowed))
	}
	return codeNotOneOf, p.show(s) + " is not known here", hint
}

func jobName(_ *key, s string, p *parser) (Code, string, string) {
	if batch.ValidName(s) {
		return "", "", ""
	}
	hint := "use 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or a digit"
	if fixed := strings.Trim(badNameChars.ReplaceAllString(s, "-"), "-._"); batch.ValidName(fixed) {
		hint += "; for example " + fixed
	}
	return codeName, p.show(s) + " cannot name a job", hint
}

var badNameChars = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func timezone(_ *key, s string, p *parser) (Code, string, string) {
	hint := "use a name of the tz database, such as UTC, Europe/Berlin or America/New_York"
	if s == "Local" {
		return codeTimezone, "Local means another zone on every machine", hint
	}
	if _, err := time.LoadLocation(s); err != nil {
		return codeTimezone, p.show(s) + " is not a known zone", hint
	}
	return "", "", ""
}

func delimiter(_ *key, s string, _ *parser) (Code, string, string) {
	r, size := utf8.DecodeRuneInString(s)
	if size > 0 && size == len(s) && !strings.ContainsRune("\"'\r\n", r) {
		return "", "", ""
	}
	return codeText, "must be one character, and neither a quote nor a line break", `write "," or ";" or "\t"`
}

func httpURL(_ *key, s string, p *parser) (Code, string, string) {
	hint := "write the whole address: http://localhost:8000/v1"
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return codeURL, p.show(s) + " is not a URL", hint
	case u.Scheme != "http" && u.Scheme != "https":
		return codeURL, p.show(s) + " must begin with http:// or https://", hint
	case u.Hostname() == "":
		return codeURL, p.show(s) + " names no host", hint
	case u.Fragment != "":
		return codeURL, p.show(s) + " has a fragment, which is never sent", "delete it from # on"
	}
	return "", "", ""
}

var (
	uriScheme  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]{0,19})://(.*)$`)
	uriPlace   = regexp.MustCompile(`\{[^{}]*\}`)
	uriSchemes = []string{"file", "s3", "gs", "azblob"}
)

func inputURI(k *key, s string, p *parser) (Code, string, string) {
	if s == "-" {
		return "", "", ""
	}
	return blobURI(k, s, p)
}

func outputURI(k *key, s string, p *parser) (Code, string, string) {
	rest := strings.NewReplacer("{run_id}", "", "{job}", "").Replace(s)
	if ph := uriPlace.FindString(rest); ph != "" {
		return codeURI, p.show(ph) + " is not a placeholder", "use {run_id} and {job}"
	}
	if strings.ContainsAny(rest, "{}") {
		return codeURI, "has a brace that belongs to no placeholder", "use {run_id} and {job}"
	}
	if s == "-" {
		return codeURI, "results are several files; they cannot go to standard output", "name a folder; `batchwright results` prints results"
	}
	return blobURI(k, s, p)
}

func blobURI(k *key, s string, _ *parser) (Code, string, string) {
	m := uriScheme.FindStringSubmatch(s)
	if m == nil {
		return "", "", ""
	}
	if !slices.Contains(uriSchemes, m[1]) {
		return codeURI, m[1] + ":// cannot be used here", "use a path, or file://, s3://, gs:// or azblob://"
	}
	host, path, _ := strings.Cut(m[2], "/")
	path, _, _ = strings.Cut(path, "?")
	switch {
	case m[1] == "file" && !strings.HasPrefix(m[2], "/"):
		return codeURI, "a file:// URI needs an absolute path", "write file:///data/items.jsonl, or a plain relative path"
	case m[1] != "file" && host == "":
		return codeURI, "names no bucket", "write " + m[1] + "://bucket/path"
	case m[1] != "file" && path == "" && k.kind == kInputURI:
		return codeURI, "names a bucket and nothing in it", "write " + m[1] + "://bucket/path, where path may be a glob or a folder"
	}
	return "", "", ""
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func validHeader(name, val string) bool {
	return headerName.MatchString(name) && !strings.ContainsFunc(val, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func classNames() []string {
	var out []string
	for _, c := range batch.Classes() {
		out = append(out, string(c))
	}
	return out
}
