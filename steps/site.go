package steps

import (
	"slices"
	"strings"
)

// Site is what every step of a site may know: the plan file's word on it, and
// what follows from that.
type Site struct {
	Name  string // the Matrix server name
	Parts []Part // in the order of the plan file's blocks: SFU, auth, homeserver, proxies, well-known
}

// Hosts are the hosts that the site's parts are on, sorted, each once.
func (s *Site) Hosts() []string {
	var out []string
	for _, p := range s.Parts {
		if p.Host != "" {
			out = append(out, p.Host)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// On are the parts on a host.
func (s *Site) On(host string) []Part {
	return slices.DeleteFunc(slices.Clone(s.Parts), func(p Part) bool { return p.Host != host })
}

// ContainersOn are the parts on a host that are containers.
func (s *Site) ContainersOn(host string) []Part {
	return slices.DeleteFunc(s.On(host), func(p Part) bool { return p.Run == nil })
}

// With are the parts that have a route for a purpose.
func (s *Site) With(purpose Purpose) []Part {
	return slices.DeleteFunc(slices.Clone(s.Parts), func(p Part) bool { return !p.hasPurpose(purpose) })
}

func (p Part) hasPurpose(purpose Purpose) bool {
	return slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Purpose == purpose })
}

// Route is the first route of the site for a purpose, and the part that it leads
// to; zero where there is none.
func (s *Site) Route(purpose Purpose) (Route, Part) {
	for _, p := range s.Parts {
		for _, r := range p.Routes {
			if r.Purpose == purpose {
				return r, p
			}
		}
	}
	return Route{}, Part{}
}

// ServiceURL is what clients are to be told of the backend: the public URL of the
// authorization service (livekit_service_url, MSC4143).
func (s *Site) ServiceURL() string {
	r, _ := s.Route(Tokens)
	return r.URL
}

// Needs are what the site's parts need of the homeserver.
func (s *Site) Needs() []Need {
	var out []Need
	for _, p := range s.Parts {
		out = append(out, p.Needs...)
	}
	return out
}

// Home is the host for whatever names none: that of the authorization service.
func (s *Site) Home() string {
	_, p := s.Route(Tokens)
	return p.Host
}

// Front is the host whose proxy serves what is on a host: that host's own, else
// the one on the site's home, else the first.
func (s *Site) Front(on string) string {
	var hosts []string
	for _, p := range s.Parts {
		if p.Proxy != nil {
			hosts = append(hosts, p.Host)
		}
	}
	switch home := s.Home(); {
	case slices.Contains(hosts, on), len(hosts) == 0:
		return on
	case slices.Contains(hosts, home):
		return home
	}
	return hosts[0]
}

// ProxyOn is the site's proxy on a host; false for none.
func (s *Site) ProxyOn(host string) (Part, bool) {
	i := slices.IndexFunc(s.Parts, func(p Part) bool { return p.Proxy != nil && p.Host == host })
	if i < 0 {
		return Part{}, false
	}
	return s.Parts[i], true
}

// Served are the routes that the proxy on a host sends on, in the order of the
// parts.
func (s *Site) Served(host string) []Route {
	var out []Route
	for _, p := range s.Parts {
		if s.Front(p.Host) != host {
			continue
		}
		for _, r := range p.Routes {
			if r.Upstream != "" {
				out = append(out, r)
			}
		}
	}
	return out
}

// Static are the routes for static files on a host.
func (s *Site) Static(host string) []Route {
	var out []Route
	for _, p := range s.On(host) {
		for _, r := range p.Routes {
			if r.File != "" {
				out = append(out, r)
			}
		}
	}
	return out
}

// Reaches are the hosts whose proxy reaches a part over the network.
func (s *Site) Reaches(p Part) []string {
	front := s.Front(p.Host)
	if front == p.Host || !slices.ContainsFunc(p.Listens, func(l Listen) bool { return l.For == ForProxies }) {
		return nil
	}
	if proxy, ok := s.ProxyOn(front); ok && proxy.Proxy.Somewhere {
		return nil
	}
	return []string{front}
}

// Dir is the folder on a host with all files of the site.
func (s *Site) Dir() string { return "/etc/ecdeploy/" + s.Slug() }

// Slug is the server name as a file name.
func (s *Site) Slug() string { return Slug(s.Name) }

// Slug is a server name as a file name. Hosts remember what is a site's under it, so
// it stays as it is.
func Slug(server string) string { return strings.NewReplacer(":", "_", "/", "_").Replace(server) }

// Domain is the server name without a port.
func (s *Site) Domain() string { return Domain(s.Name) }

// Domain is a server name without its port.
func Domain(server string) string {
	if host, port, ok := strings.Cut(server, ":"); ok && !strings.Contains(port, ":") {
		return host
	}
	return server
}

// FirstLabel is the first label of a server name.
func FirstLabel(server string) string {
	name, _, _ := strings.Cut(server, ".")
	return name
}
