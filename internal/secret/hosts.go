package secret

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// Host is a place that a key may be sent to: a scheme, a name and a port. The
// name may begin with "*.", for everything below it.
type Host struct{ scheme, name, port string }

// ParseHost reads [scheme://]name[:port], as it stands in a base URL. Without a
// scheme it is https; on this machine itself, http too. Without a port it is the
// scheme's own.
func ParseHost(text string) (Host, error) {
	h := Host{}
	rest := text
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		h.scheme, rest = strings.ToLower(scheme), after
		if h.scheme != "https" && h.scheme != "http" {
			return h, fmt.Errorf("%q is no scheme of an API; write https or http", scheme)
		}
	}
	u, err := url.Parse("https://" + rest)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(rest, "?#/@\\"):
		return h, fmt.Errorf("%q is no host; write it as in base_url, without a path: api.example.com or http://gpu-1:8000", text)
	case strings.HasSuffix(u.Host, ":"):
		return h, fmt.Errorf("%q has no port behind the colon", text)
	}
	h.name, h.port = strings.ToLower(u.Hostname()), u.Port()
	if star := strings.TrimPrefix(h.name, "*."); strings.Contains(star, "*") || star != h.name && !strings.Contains(star, ".") {
		return h, fmt.Errorf("%q is too wide; a star stands for the first part of a name, like *.openai.azure.com", text)
	}
	if strings.HasSuffix(h.name, ".") || h.name == "" {
		return h, fmt.Errorf("%q ends with a dot", text)
	}
	return h, nil
}

// String is the host as it is written.
func (h Host) String() string {
	s := h.name
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if h.port != "" {
		s += ":" + h.port
	}
	if h.scheme != "" {
		s = h.scheme + "://" + s
	}
	return s
}

// Allow reports whether u lies there. Names are compared as they are written:
// none is looked up, and one that looks like another is another.
func (h Host) Allow(u *url.URL) bool {
	if u == nil || u.User != nil {
		return false
	}
	name := strings.ToLower(u.Hostname())
	below, star := strings.CutPrefix(h.name, "*")
	if star && (!strings.HasSuffix(name, below) || len(name) == len(below)) || !star && name != h.name || name == "" {
		return false
	}
	want := h.scheme
	if want == "" {
		want = "https"
		if u.Scheme == "http" && Loopback(name) {
			want = "http"
		}
	}
	return u.Scheme == want && portOf(u.Scheme, u.Port()) == portOf(want, h.port)
}

func portOf(scheme, port string) string {
	if port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[scheme]
}

// Loopback reports whether name means this machine.
func Loopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// Hosts is a list of hosts. The empty list allows none.
type Hosts struct{ list []Host }

// Allow reports whether u lies at one of the hosts.
func (h *Hosts) Allow(u *url.URL) bool {
	return slices.ContainsFunc(h.list, func(x Host) bool { return x.Allow(u) })
}

// String lists the hosts.
func (h *Hosts) String() string {
	names := make([]string, len(h.list))
	for i, x := range h.list {
		names[i] = x.String()
	}
	return strings.Join(names, ", ")
}

// Len is how many hosts there are.
func (h *Hosts) Len() int { return len(h.list) }

func hosts(names ...string) Hosts {
	var h Hosts
	for _, n := range names {
		x, err := ParseHost(n)
		if err != nil {
			panic(err) // of the table below
		}
		h.list = append(h.list, x)
	}
	return h
}
