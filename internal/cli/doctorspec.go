package cli

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchwright/batchwright/internal/app"
	"github.com/batchwright/batchwright/internal/report"
	"github.com/batchwright/batchwright/internal/spec"
)

// spec checks what a run of a job needs from this machine.
func (x *examination) spec(file string, offline bool) {
	sp, ds := x.inv.loadSpec(file)
	if sp == nil || ds.Errors() > 0 {
		x.add("spec", broken, ds.Err().Error(), "batchwright validate "+shellWord(file))
		return
	}
	if cs := compile(sp); cs.Errors() > 0 {
		x.add("spec", broken, cs.Err().Error(), "batchwright validate "+shellWord(file))
		return
	}
	x.add("spec", fine, fmt.Sprintf("%s: %s/%s", sp.Job, sp.Task.Provider, sp.Task.Model), "")
	if ds := x.inv.keyAllowed(sp); len(ds) > 0 {
		x.add("key", broken, ds[0].Message, ds[0].Hint)
	} else {
		x.key(sp)
	}
	x.input(sp)
	if !x.inv.priced(sp) && sp.Task.Price == nil {
		x.add("price", careful, "none is known for "+sp.Task.Provider+"/"+sp.Task.Model, "costs are not counted; give task.price, or add the model to prices.yaml")
	} else {
		x.add("price", fine, "known", "")
	}
	if !offline {
		x.reach(sp)
	}
}

func (x *examination) key(sp *spec.Spec) {
	kind, name, _ := strings.Cut(sp.Task.APIKey, ":")
	switch {
	case kind == "":
		x.add("key", fine, "none is needed", "")
	case kind == "env" && strings.TrimSpace(x.inv.sys.Getenv(name)) == "":
		x.add("key", broken, name+" is not set", "export "+name+"=...")
	case kind == "file":
		if !filepath.IsAbs(name) {
			name = filepath.Join(sp.Dir, name)
		}
		if b, err := x.inv.sys.ReadFile(name); err != nil || len(strings.TrimSpace(string(b))) == 0 {
			x.add("key", broken, name+" cannot be read or is empty", "put the key alone into it")
			return
		}
		x.add("key", fine, sp.Task.APIKey+" is there", "")
	default:
		x.add("key", fine, sp.Task.APIKey+" is set", "")
	}
}

func (x *examination) input(sp *spec.Spec) {
	p, local := app.LocalInput(sp)
	if !local || strings.ContainsAny(p, "*?[") {
		return
	}
	st, err := os.Stat(p)
	switch {
	case err != nil:
		x.add("input", broken, err.Error(), "")
	case st.IsDir():
		x.add("input", fine, p, "")
	default:
		x.add("input", fine, fmt.Sprintf("%s, %s", p, report.Bytes(st.Size())), "")
	}
}

// reach opens a connection to the provider and says nothing on it.
func (x *examination) reach(sp *spec.Spec) {
	base := sp.Task.BaseURL
	if base == "" {
		base = map[string]string{"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com",
			"gemini": "https://generativelanguage.googleapis.com"}[sp.Task.Provider]
	}
	u, err := url.Parse(base)
	if base == "" || err != nil || u.Host == "" {
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	addr := net.JoinHostPort(u.Hostname(), port)
	ctx, cancel := context.WithTimeout(x.inv.ctx, 3*time.Second)
	defer cancel()
	began := time.Now()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		v := broken
		if x.inv.sys.Getenv("HTTPS_PROXY") != "" || x.inv.sys.Getenv("HTTP_PROXY") != "" {
			v = careful // calls go by the proxy
		}
		x.add("provider", v, addr+" cannot be reached: "+err.Error(), "check base_url, the network and its proxies")
		return
	}
	_ = c.Close() // nothing was said on it
	x.add("provider", fine, fmt.Sprintf("%s answers in %s", addr, report.Duration(time.Since(began))), "")
}
