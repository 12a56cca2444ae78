package app

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/secret"
	"github.com/batchwright/batchwright/internal/spec"
)

// Keyring says which keys may be sent where, and how a person changes that.
type Keyring struct {
	secret.Bindings
	File string // where the user's own rules stand
}

// CheckKey reports whether a spec's key may be sent to where its calls go. It
// reads no key. Whoever writes a spec chooses both the key and the address; so
// keys that are known by name, or that lie outside of the spec's folder, go only
// to hosts that are known to be theirs or that the user of this machine named.
func (k Keyring) CheckKey(sp *spec.Spec) error {
	u, err := url.Parse(sp.Address())
	if sp.Task.APIKey == "" || err != nil || u.Host == "" {
		return nil //nolint:nilerr // no key, a simulator in this process, or an address that is refused anyway
	}
	ref, near := keyRef(sp)
	hosts, free := k.Of(ref, near)
	if free || hosts.Allow(u) {
		return nil
	}
	to := u.Host
	if u.Scheme == "http" && !secret.Loopback(u.Hostname()) {
		to = "http://" + to
	}
	kind, name, _ := strings.Cut(ref, ":")
	may := "is bound to no host"
	switch {
	case kind == "file" && hosts.Len() > 1:
		may = "lies outside of the spec's folder, and goes to known providers only"
	case hosts.Len() > 0:
		may = "may be sent to " + hosts.String() + " only"
	}
	hint := fmt.Sprintf("if %s may have this key, write into %s:  keys: {%q: {hosts: [%q]}}", to, cmp.Or(k.File, "config.yaml of the data directory"), ref, to)
	if kind == "env" {
		hint += "; or keep that server's own key in a variable of another name"
	}
	return &batch.Error{Kind: batch.Credentials, Op: "task.api_key", Ref: sp.File,
		Msg: fmt.Sprintf("%s %s, and the calls go to %s", name, may, to), Hint: hint}
}

// keyRef is task.api_key with an absolute path, and whether that lies in the
// spec's folder, links followed.
func keyRef(sp *spec.Spec) (ref string, near bool) {
	kind, name, _ := strings.Cut(sp.Task.APIKey, ":")
	if kind != "file" {
		return sp.Task.APIKey, false
	}
	root, rel, err := besideSpec(sp, name)
	if err == nil {
		_, err = root.Stat(rel)
		near = err == nil
		_ = root.Close()
	}
	return "file:" + keyPath(sp, name), near
}

func keyPath(sp *spec.Spec, name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(sp.Dir, name)
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	return filepath.Clean(name)
}

// besideSpec opens the spec's folder and says what name is called in it.
func besideSpec(sp *spec.Spec, name string) (*os.Root, string, error) {
	dir, err := filepath.Abs(cmp.Or(sp.Dir, "."))
	if err != nil {
		return nil, "", err
	}
	rel, err := filepath.Rel(dir, keyPath(sp, name))
	if err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(dir)
	return root, rel, err
}

// key reads the key of a spec, binds it to the hosts that it may be sent to and
// makes it known to the redactor.
func (a *App) key(sp *spec.Spec) (secret.Secret, error) {
	if err := a.cfg.Keys.CheckKey(sp); err != nil {
		return secret.Secret{}, err
	}
	s, near, err := a.readKey(sp)
	if err != nil || s.IsZero() {
		return secret.Secret{}, err
	}
	if a.cfg.Secrets != nil {
		a.cfg.Secrets.Add(s)
	}
	kind, name, _ := strings.Cut(sp.Task.APIKey, ":")
	if kind == "file" {
		name = keyPath(sp, name)
	}
	if hosts, free := a.cfg.Keys.Of(kind+":"+name, near); !free {
		s = s.Bind(hosts)
	}
	return s, nil
}

// readKey resolves the reference. near says that what was read, and not what
// has the name by now, lies in the spec's folder.
func (a *App) readKey(sp *spec.Spec) (s secret.Secret, near bool, err error) {
	ref := sp.Task.APIKey
	kind, name, _ := strings.Cut(ref, ":")
	fail := func(msg, hint string) (secret.Secret, bool, error) {
		return secret.Secret{}, false, &batch.Error{Kind: batch.Credentials, Op: "read task.api_key", Ref: ref, Msg: msg, Hint: hint}
	}
	switch kind {
	case "":
		return secret.Secret{}, false, nil
	case "env":
		if s = secret.New(a.cfg.Getenv(name)); s.IsZero() {
			return fail("the environment variable is not set", "export "+name+"=...")
		}
		return s, false, nil
	case "file":
		path := keyPath(sp, name)
		b, near, err := a.keyFile(sp, name)
		if err != nil {
			return fail("the file cannot be read", "put the key alone into "+path)
		}
		if s = secret.New(string(b)); s.IsZero() {
			return fail("the file is empty", "put the key alone into "+path)
		}
		return s, near, nil
	}
	return fail("is not a reference", "write env:NAME or file:PATH")
}

func (a *App) keyFile(sp *spec.Spec, name string) (b []byte, near bool, err error) {
	if root, rel, err := besideSpec(sp, name); err == nil {
		b, err := root.ReadFile(rel)
		_ = root.Close()
		if err == nil {
			return b, true, nil
		}
	}
	b, err = a.cfg.ReadFile(keyPath(sp, name))
	return b, false, err
}
