package plans

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/emdecloud/ecdeploy/steps"
)

// claim is something on a host that only one service can have.
type claim struct {
	what  string // "the container name livekit-sfu"
	owner string // `the SFU of site "example.org"`
	at    hcl.Range
	mend  string
}

// socket is a TCP port on an address; the zero address means all.
type socket struct {
	claim
	addr netip.Addr
	port int
}

// udp is a range of UDP ports.
type udp struct {
	claim
	first, last int
}

// claims are what the services of one host want.
type claims struct {
	named   map[string]claim // containers, well-known files
	sockets []socket
	ranges  []udp
}

// checkTogether checks what shows only when hosts and sites are seen together.
func (l *loader) checkTogether(f *File, hosts, sites []*node) {
	l.checkUnused(f, hosts)
	names, urls := map[string]*node{}, map[string]claim{}
	all := map[string]*claims{}
	on := func(name string) *claims {
		if all[name] == nil {
			all[name] = &claims{named: map[string]claim{}}
		}
		return all[name]
	}
	for i, s := range f.Sites {
		n := sites[i]
		if first := names[s.ServerName]; first != nil {
			l.fail(n.name, fmt.Sprintf("site %q stands here a second time", s.ServerName), fmt.Sprintf("keep one; the first is in line %d", first.def.Start.Line))
			continue
		}
		names[s.ServerName] = n
		l.checkReach(n, s)
		l.checkProxies(n, s)
		l.claimURLs(n, s, urls)
		if c := n.child("sfu"); c != nil && s.SFU.Host != "" {
			l.claimSFU(c, s, on(s.SFU.Host))
		}
		if c := n.child("auth"); c != nil && s.Auth.Host != "" {
			l.claimAuth(c, s, on(s.Auth.Host))
		}
		if w, ok := s.WellKnown.Config.(*steps.WellKnownFile); ok && w.Host != "" && w.Path != "" {
			c := n.child("well_known")
			l.claimName(on(w.Host).named, w.Path, claim{"the file " + w.Path, fmt.Sprintf("the announcement of site %q", s.ServerName), c.at("path"), "give each server name a file of its own"})
		}
	}
}

func (l *loader) checkUnused(f *File, hosts []*node) {
	used := map[string]bool{}
	for _, s := range f.Sites {
		for _, name := range append(s.HostNames(), s.Verify.From...) {
			used[name] = true
		}
	}
	for _, n := range hosts {
		if n.label != "" && !used[n.label] && !l.undecided(f) {
			l.warn(n.name, fmt.Sprintf("host %q is used by no site", n.label), "remove it, or write host = host."+n.label+" where it belongs")
		}
	}
}

// undecided reports whether a host reference is a mistake or a placeholder, so
// that nobody can say which hosts are used.
func (l *loader) undecided(f *File) bool {
	if l.mistakes.HasErrors() && len(f.Sites) == 0 {
		return true
	}
	for _, s := range f.Sites {
		if s.SFU.Host == "" || s.Auth.Host == "" {
			return true
		}
	}
	return false
}

// checkReach wants each component where its proxy can reach it, and nobody else.
func (l *loader) checkReach(n *node, s Site) {
	if s.Auth.Host == "" || len(s.Proxies) == 0 {
		return
	}
	for i, c := range n.nodes["proxy"] {
		if !c.known("host") || s.Proxies[i].Config == nil {
			return // nobody can say what it serves
		}
	}
	for _, c := range []struct {
		node       *node
		what, on   string
		bind       string
		overTheNet bool
	}{
		{n.child("sfu"), "the SFU", s.SFU.Host, s.SFU.Bind, true},
		{n.child("auth"), "the JWT service", s.Auth.Host, s.Auth.Bind, false},
	} {
		if c.node == nil || c.on == "" || !c.node.known("bind", "host") {
			continue
		}
		front := s.front(c.on)
		proxy := s.proxyOn(front)
		addr, _ := netip.ParseAddr(c.bind) // checked where the component is
		addr = addr.Unmap()
		at := c.node.at("bind")
		own := fmt.Sprintf("add proxy %q { host = host.%s }", proxy.Label, c.on)
		reached := fmt.Sprintf("bind = the address that %s reaches; it is opened to %s alone", front, front)
		whose := "the proxy on " + front
		if proxy.somewhere() {
			reached = fmt.Sprintf("bind = the address of %s that your proxy reaches, and open it to that alone", c.on)
			whose = "a proxy elsewhere"
		}
		switch {
		case front == c.on && addr.IsUnspecified():
			l.fail(at, fmt.Sprintf("%s on %s listens on all addresses, without encryption", c.what, c.on), "remove the line for "+defaultBind+", or write the one address that the proxy reaches")
		case front == c.on:
		case !c.overTheNet:
			l.fail(at, fmt.Sprintf("no proxy is on %s, where %s listens", c.on, c.what), own)
		case addr.IsLoopback():
			l.fail(at, fmt.Sprintf("%s on %s listens on %s, where %s cannot reach it", c.what, c.on, c.bind, whose), own+", or "+reached)
		case addr.IsUnspecified():
			l.fail(at, fmt.Sprintf("%s on %s listens on all addresses, without encryption", c.what, c.on), "write "+reached)
		}
	}
}

func (l *loader) checkProxies(n *node, s Site) {
	seen := map[string]*node{}
	for i, c := range n.nodes["proxy"] {
		on := orDefault(s.Proxies[i].Host, s.Auth.Host)
		if first := seen[on]; first != nil && on != "" {
			l.fail(c.at("host"), fmt.Sprintf("host %q has two proxies for this site", on), fmt.Sprintf("keep one; the first is in line %d", first.def.Start.Line))
			continue
		}
		seen[on] = c
	}
}

func (l *loader) claimURLs(n *node, s Site, urls map[string]claim) {
	for _, c := range []struct {
		node      *node
		what, url string
	}{{n.child("sfu"), "the SFU", s.SFU.URL}, {n.child("auth"), "the JWT service", s.Auth.URL}} {
		if c.node == nil || c.url == "" {
			continue
		}
		key := strings.ToLower(strings.TrimRight(c.url, "/"))
		if _, taken := urls[key]; !taken {
			l.claimPublicName(urls, s, c.what, c.url, c.node.at("url"))
		}
		l.claimName(urls, key, claim{"this URL", fmt.Sprintf("%s of site %q", c.what, s.ServerName), c.node.at("url"), "give each service a name or a path of its own, like /livekit/sfu and /livekit/jwt"})
	}
}

// claimPublicName keeps two sites from one server block of ours: each writes a
// file of its own, and of two blocks for a name nginx reads only the first.
func (l *loader) claimPublicName(names map[string]claim, s Site, what, link string, at hcl.Range) {
	u, err := url.Parse(link)
	if err != nil {
		return
	}
	on := s.SFU.Host
	if what != "the SFU" {
		on = s.Auth.Host
	}
	front := s.front(on)
	if s.proxyOn(front).Label != "nginx" {
		return
	}
	key := "name " + strings.ToLower(u.Hostname()) + " on " + front
	owner := fmt.Sprintf("site %q", s.ServerName)
	if names[key].owner != owner {
		l.claimName(names, key, claim{"the name " + u.Hostname(), owner, at, "give each site names of its own"})
	}
}

func (l *loader) claimSFU(n *node, s Site, c *claims) {
	owner := fmt.Sprintf("the SFU of site %q", s.ServerName)
	l.claimContainer(n, c, s.SFU.Container, owner, "livekit-"+slugOf(s.ServerName))
	ports := n.child("ports")
	at := func(attr string) hcl.Range {
		if ports != nil {
			return ports.at(attr)
		}
		return n.def
	}
	if ports == nil || ports.known("signalling") {
		l.claimSocket(n, c, s.SFU.Bind, s.SFU.Ports.Signalling, claim{owner: owner, at: at("signalling"), mend: "give this one another port in ports { signalling = ... }"})
	}
	if ports == nil || ports.known("tcp") {
		l.claimSocket(nil, c, "", s.SFU.Ports.TCP, claim{owner: owner, at: at("tcp"), mend: "give this one another port in ports { tcp = ... }"})
	}
	first, last, ok := udpRange(s.SFU.Ports.UDP)
	if !ok || first > last || ports != nil && !ports.known("udp") {
		return
	}
	mine := udp{claim{owner: owner, at: at("udp")}, first, last}
	for _, r := range c.ranges {
		if first <= r.last && r.first <= last {
			l.fail(mine.at, fmt.Sprintf("the UDP range %d-%d overlaps with %d-%d, which %s has (line %d)", first, last, r.first, r.last, r.owner, r.at.Start.Line), fmt.Sprintf("give this one a range of its own in ports { udp = ... }, say from %d on", r.last+1))
		}
	}
	c.ranges = append(c.ranges, mine)
}

func (l *loader) claimAuth(n *node, s Site, c *claims) {
	owner := fmt.Sprintf("the JWT service of site %q", s.ServerName)
	l.claimContainer(n, c, s.Auth.Container, owner, "jwt-"+slugOf(s.ServerName))
	if n.known("port") {
		l.claimSocket(n, c, s.Auth.Bind, s.Auth.Port, claim{owner: owner, at: n.at("port"), mend: "give this one another port with port = ..."})
	}
}

func (l *loader) claimContainer(n *node, c *claims, name, owner, other string) {
	if n.known("container") {
		l.claimName(c.named, "container "+name, claim{fmt.Sprintf("the container name %s", name), owner, n.at("container"), fmt.Sprintf("give this one another, like container = %q", other)})
	}
}

func (l *loader) claimName(named map[string]claim, key string, mine claim) {
	if other, ok := named[key]; ok {
		l.fail(mine.at, fmt.Sprintf("%s belongs to %s already (line %d)", mine.what, other.owner, other.at.Start.Line), mine.mend)
		return
	}
	named[key] = mine
}

// claimSocket takes a TCP port; n is the block whose bind says where, nil for
// all addresses.
func (l *loader) claimSocket(n *node, c *claims, bind string, port int, mine claim) {
	s := socket{claim: mine, port: port}
	if n != nil && n.known("bind") {
		if a, err := netip.ParseAddr(bind); err == nil && !a.IsUnspecified() {
			s.addr = a
		}
	}
	for _, o := range c.sockets {
		if o.owner == s.owner {
			continue // said where the ports of one service are checked
		}
		if o.port == port && (!o.addr.IsValid() || !s.addr.IsValid() || o.addr == s.addr) {
			l.fail(mine.at, fmt.Sprintf("port %d belongs to %s already (line %d)", port, o.owner, o.at.Start.Line), mine.mend)
			break
		}
	}
	c.sockets = append(c.sockets, s)
}

// slugOf is the first label of a server name.
func slugOf(server string) string {
	name, _, _ := strings.Cut(server, ".")
	return name
}
