package splice

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// CaddyAddress is one address of a site.
type CaddyAddress struct {
	Scheme, Host string // lower case; "" where it has none
	Port, Path   string
}

// ParseCaddyAddress reads an address as httpcaddyfile/addresses.go of Caddy
// does.
func ParseCaddyAddress(text string) (CaddyAddress, error) {
	var a CaddyAddress
	rest := strings.TrimSpace(text)
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		a.Scheme, rest = strings.ToLower(scheme), after
	}
	hostport, path, ok := strings.Cut(rest, "/")
	if ok {
		a.Path = "/" + path
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		if host, port, err = net.SplitHostPort(hostport + ":"); err != nil {
			host = hostport
		}
	}
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return a, fmt.Errorf("address %q: invalid port", text)
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() && !ip.Is4In6() {
		host = ip.String()
	}
	a.Host, a.Port = strings.ToLower(host), port
	return a, nil
}

// variable reports whether the address is only known when Caddy runs.
func (a CaddyAddress) variable() bool { return strings.Contains(a.Host+a.Path+a.Port, "{") }

// matchHost reports whether the address stands for host: a * is one label.
func (a CaddyAddress) matchHost(host string) bool {
	if !strings.Contains(a.Host, "*") {
		return strings.EqualFold(a.Host, host)
	}
	pattern, labels := strings.Split(a.Host, "."), strings.Split(host, ".")
	return slices.EqualFunc(pattern, labels, func(p, l string) bool { return p == "*" || strings.EqualFold(p, l) })
}

// caddySite is a site with its addresses on the HTTPS port.
type caddySite struct {
	block     int
	addresses []CaddyAddress
	host      int  // the specificity of its most specific host, and path
	path      int  // see specificity in httpcaddyfile/httptype.go
	wildcard  bool // some host of it is a wildcard or missing
	variable  bool
	binds     bool
}

// SiteFor finds the site that serves https://HOST/PREFIX/ and everything below it
// on the HTTPS port. prefix is "" or starts with a slash and ends without one.
// Results:
//   - i, "": Blocks[i] serves it;
//   - -1, "": no site does;
//   - i or -1, doubt: unknown; doubt gives the reason in one line.
func (c *CaddyConfig) SiteFor(host, prefix string) (i int, doubt string) {
	if len(c.Unread) > 0 {
		return -1, c.Unread[0] + " is imported and was not read"
	}
	sites, doubt := c.sites()
	if doubt != "" {
		return -1, doubt
	}
	picked, exact := -1, false
	var serves []caddySite
	for _, s := range sites {
		rel := s.serves(host, prefix)
		if rel == caddyNever {
			continue
		}
		if serves = append(serves, s); picked >= 0 || s.variable {
			continue
		}
		if rel == caddyMaybe {
			return s.block, "the site at " + c.Blocks[s.block].Keys[0].Place() + " is only for some paths"
		}
		picked, exact = s.block, !s.wildcard
	}
	for _, s := range serves {
		if s.variable && !exact { // two sites for one name would be an error in Caddy
			return s.block, "the address at " + c.Blocks[s.block].Keys[0].Place() + " is only known when Caddy runs"
		}
	}
	bound := slices.ContainsFunc(serves, func(s caddySite) bool { return s.binds })
	if len(serves) > 1 && bound {
		return picked, "several sites serve the name on different addresses (bind)"
	}
	return picked, ""
}

// sites are the sites on the HTTPS port, in the order in which Caddy tries them.
func (c *CaddyConfig) sites() ([]caddySite, string) {
	httpPort, httpsPort := c.globalOption("http_port", "80"), c.globalOption("https_port", "443")
	var out []caddySite
	for i, b := range c.Blocks {
		if !b.Site() {
			continue
		}
		s := caddySite{block: i}
		for _, d := range b.Directives {
			s.binds = s.binds || d.Name() == "bind"
		}
		for _, k := range b.Keys {
			if strings.Contains(k.Text, "{$") {
				s.variable = true
				continue
			}
			a, err := ParseCaddyAddress(k.Text)
			if err != nil {
				return nil, fmt.Sprintf("%s: an address that Caddy rejects", k.Place())
			}
			port := a.Port
			switch {
			case port == "" && a.Scheme == "http":
				port = httpPort
			case port == "":
				port = httpsPort
			}
			if port == httpsPort {
				s.add(a)
			}
		}
		if len(s.addresses) > 0 || s.variable {
			out = append(out, s)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].before(out[j]) })
	return out, ""
}

func (s *caddySite) add(a CaddyAddress) {
	s.addresses = append(s.addresses, a)
	s.wildcard = s.wildcard || a.Host == "" || strings.Contains(a.Host, "*")
	s.host = max(s.host, caddySpecificity(a.Host))
	s.path = max(s.path, caddySpecificity(a.Path))
	s.variable = s.variable || a.variable()
}

// before is the order of sites in serversFromPairings of
// httpcaddyfile/httptype.go: longest host first, then longest path; wildcards
// after that, and sites without a host last.
func (s caddySite) before(o caddySite) bool {
	switch {
	case s.host == 0:
		return false
	case o.host == 0:
		return true
	case s.wildcard != o.wildcard:
		return o.wildcard
	case s.host == o.host:
		return s.path > o.path
	}
	return s.host > o.host
}

// caddySpecificity is the length of a host or path without its wildcards and
// placeholders.
func caddySpecificity(s string) int {
	n := len(s) - strings.Count(s, "*")
	for {
		_, after, ok := strings.Cut(s, "{")
		if !ok {
			return n
		}
		in, rest, ok := strings.Cut(after, "}")
		if !ok {
			return n
		}
		n -= len(in) + 2
		s = rest
	}
}

// serves says which requests for host below prefix the site serves.
func (s caddySite) serves(host, prefix string) caddyRelation {
	rel := caddyNever
	if s.variable {
		rel = caddyMaybe
	}
	all := false // after a key without a host, Caddy ignores the hosts of the rest
	for _, a := range s.addresses {
		if all = all || a.Host == ""; a.variable() || !all && !a.matchHost(host) {
			continue
		}
		below := caddyAlways
		if a.Path != "" {
			below = caddyScope{path: prefix}.matched(a.Path)
		}
		rel = max(rel, below)
	}
	return rel
}

// globalOption is the first argument of a global option.
func (c *CaddyConfig) globalOption(name, fallback string) string {
	for _, d := range c.globals() {
		if args := d.Args(); d.Name() == name && len(args) > 0 {
			fallback = args[0]
		}
	}
	return fallback
}

// globals are the global options.
func (c *CaddyConfig) globals() []CaddyDirective {
	if len(c.Blocks) == 0 || !c.Blocks[0].Global() {
		return nil
	}
	return c.Blocks[0].Directives
}
