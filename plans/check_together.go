package plans

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/emdecloud/ecdeploy/steps"
)

// claim is something on a host that only one service can have.
type claim struct {
	what  string // "the container name livekit-sfu"
	owner string // `the SFU of site "example.org"`
	at    hcl.Range
	fix   string
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

// claims are what the parts on one host want.
type claims struct {
	named   map[string]claim // containers, files
	sockets []socket
	ranges  []udp
}

// checkTogether checks what shows only when hosts and sites are seen together.
func (l *loader) checkTogether(f *File, hosts, sites []*node) {
	l.checkUnused(f, hosts)
	names, urls := map[string]*node{}, map[string]claim{}
	all := map[string]*claims{}
	for i, s := range f.Sites {
		n := sites[i]
		if first := names[s.ServerName]; first != nil {
			l.fail(n.name, fmt.Sprintf("site %q: duplicate block", s.ServerName), fmt.Sprintf("keep one; the first is in line %d", first.def.Start.Line))
			continue
		}
		names[s.ServerName] = n
		l.checkReach(n, s)
		l.checkProxies(n, s)
		for _, d := range s.Blocks {
			c := l.nodeOf(n, d)
			if c == nil {
				continue
			}
			for _, p := range d.Decl.Parts {
				l.claimURLs(c, s, p, urls)
				if p.Host == "" {
					continue
				}
				if all[p.Host] == nil {
					all[p.Host] = &claims{named: map[string]claim{}}
				}
				l.claimPart(c, s, p, all[p.Host])
			}
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
	for i := range f.Hosts {
		f.Hosts[i].Unused = !used[f.Hosts[i].Name]
	}
	for _, n := range hosts {
		if n.label != "" && !used[n.label] && !l.undecided(f) {
			l.warn(n.name, fmt.Sprintf("host %q is used by no site", n.label),
				"what sites had there is taken away by the next run that reaches it; then remove the block, or write host = host."+n.label+" where it belongs")
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
		for _, p := range s.Context().Parts {
			if p.Host == "" && len(p.Routes) > 0 {
				return true
			}
		}
	}
	return false
}

// checkReach wants each part where its proxy can reach it, and nobody else.
func (l *loader) checkReach(n *node, s Site) {
	context := s.Context()
	proxies := 0
	for _, d := range s.Blocks {
		for _, p := range d.Decl.Parts {
			if p.Proxy == nil {
				continue
			}
			if c := l.nodeOf(n, d); c != nil && !c.known("host") {
				return // nobody can say what it serves
			}
			proxies++
		}
	}
	if context.Home() == "" || proxies == 0 || proxies < len(n.nodes["proxy"]) {
		return
	}
	for _, d := range s.Blocks {
		for _, p := range d.Decl.Parts {
			for _, listen := range p.Listens {
				c := l.nodeOf(n, d)
				if listen.For != steps.ForWorld && c != nil && p.Host != "" && c.known("bind", "host") {
					l.checkListen(c, context, p, listen)
				}
			}
		}
	}
}

func (l *loader) checkListen(c *node, s *steps.Site, p steps.Part, listen steps.Listen) {
	front := s.Front(p.Host)
	proxy, _ := s.ProxyOn(front)
	addr, _ := netip.ParseAddr(listen.Bind) // checked where the part is
	addr = addr.Unmap()
	at := c.at("bind")
	own := fmt.Sprintf("add proxy %q { host = host.%s }", proxy.Name, p.Host)
	reached := fmt.Sprintf("bind = the address that %s reaches; it is opened to %s alone", front, front)
	whose := "the proxy on " + front
	if proxy.Proxy != nil && proxy.Proxy.Somewhere {
		reached = fmt.Sprintf("bind = the address of %s that your proxy reaches, and open it to that alone", p.Host)
		whose = "a proxy elsewhere"
	}
	switch {
	case front == p.Host && addr.IsUnspecified():
		l.fail(at,
			fmt.Sprintf("%s on %s listens on all addresses, without encryption", p.Title, p.Host),
			"remove the line for 127.0.0.1, or write the one address that the proxy reaches")
	case front == p.Host:
	case listen.For == steps.ForHost:
		l.fail(at, fmt.Sprintf("no proxy is on %s, where %s listens", p.Host, p.Title), own)
	case addr.IsLoopback():
		l.fail(at, fmt.Sprintf("%s on %s listens on %s, where %s cannot reach it", p.Title, p.Host, listen.Bind, whose), own+", or "+reached)
	case addr.IsUnspecified():
		l.fail(at, fmt.Sprintf("%s on %s listens on all addresses, without encryption", p.Title, p.Host), "write "+reached)
	}
}

func (l *loader) checkProxies(n *node, s Site) {
	seen := map[string]*node{}
	for _, d := range s.Blocks {
		for _, p := range d.Decl.Parts {
			if p.Proxy == nil {
				continue
			}
			c := l.nodeOf(n, d)
			if first := seen[p.Host]; first != nil && p.Host != "" {
				l.fail(c.at("host"), fmt.Sprintf("host %q has two proxies for this site", p.Host), fmt.Sprintf("keep one; the first is in line %d", first.def.Start.Line))
				continue
			}
			seen[p.Host] = c
		}
	}
}

// owner is a part in a sentence about several sites.
func owner(s Site, p steps.Part) string { return fmt.Sprintf("%s of site %q", p.Title, s.ServerName) }

func (l *loader) claimURLs(n *node, s Site, p steps.Part, urls map[string]claim) {
	for _, r := range p.Routes {
		if r.Upstream == "" || r.URL == "" {
			continue
		}
		key := strings.ToLower(strings.TrimRight(r.URL, "/"))
		if _, taken := urls[key]; !taken {
			l.claimPublicName(urls, s, p, r, n.at("url"))
		}
		l.claimName(urls, key, claim{"this URL", owner(s, p), n.at("url"), "give each service a name or a path of its own, like /livekit/sfu and /livekit/jwt"})
	}
}

// claimPublicName keeps two sites from one server block of ours: each writes a
// file of its own, and of two blocks for a name a proxy reads only the first.
func (l *loader) claimPublicName(names map[string]claim, s Site, p steps.Part, r steps.Route, at hcl.Range) {
	context := s.Context()
	front := context.Front(p.Host)
	if proxy, ok := context.ProxyOn(front); r.Name() == "" || !ok || proxy.Proxy.Foreign {
		return
	}
	key := "name " + strings.ToLower(r.Name()) + " on " + front
	owner := fmt.Sprintf("site %q", s.ServerName)
	if names[key].owner != owner {
		l.claimName(names, key, claim{"the name " + r.Name(), owner, at, "give each site names of its own"})
	}
}

// claimPart claims what only one part on a host can have.
func (l *loader) claimPart(n *node, s Site, p steps.Part, c *claims) {
	if p.Run != nil && n.known("container") {
		fix := fmt.Sprintf("give this one another, like container = %q", p.Run.Other)
		l.claimName(c.named, "container "+p.Run.Container, claim{"the container name " + p.Run.Container, owner(s, p), n.at("container"), fix})
	}
	for _, listen := range p.Listens {
		in := nodeBlock{l, n}.within(listen.Claim.Path)
		if listen.First == 0 || !in.known(listen.Claim.Attr) {
			continue
		}
		mine := claim{owner: owner(s, p), at: in.at(listen.Claim.Attr), fix: listen.Claim.Fix}
		if listen.Proto == "udp" {
			l.claimRange(c, udp{mine, listen.First, listen.Last})
			continue
		}
		l.claimSocket(c, listen, n.known("bind"), mine)
	}
	for _, f := range p.Files {
		if in := (nodeBlock{l, n}).within(f.Path); f.What != "" && in.known(f.Attr) {
			l.claimName(c.named, f.What, claim{"the file " + f.What, owner(s, p), in.at(f.Attr), f.Fix})
		}
	}
}

func (l *loader) claimName(named map[string]claim, key string, mine claim) {
	if other, ok := named[key]; ok {
		l.fail(mine.at, fmt.Sprintf("%s belongs to %s already (line %d)", mine.what, other.owner, other.at.Start.Line), mine.fix)
		return
	}
	named[key] = mine
}

func (l *loader) claimRange(c *claims, mine udp) {
	if mine.first > mine.last {
		return // said where the part is checked
	}
	for _, r := range c.ranges {
		if mine.first <= r.last && r.first <= mine.last {
			l.fail(mine.at,
				fmt.Sprintf("the UDP range %d-%d overlaps with %d-%d, which %s has (line %d)", mine.first, mine.last, r.first, r.last, r.owner, r.at.Start.Line),
				fmt.Sprintf("%s, say from %d on", mine.fix, r.last+1))
		}
	}
	c.ranges = append(c.ranges, mine)
}

// claimSocket takes a TCP port; bound says whether its address is known.
func (l *loader) claimSocket(c *claims, listen steps.Listen, bound bool, mine claim) {
	s := socket{claim: mine, port: listen.First}
	if a, err := netip.ParseAddr(listen.Bind); bound && err == nil && !a.IsUnspecified() {
		s.addr = a
	}
	for _, o := range c.sockets {
		if o.owner == s.owner {
			continue // said where the ports of one part are checked
		}
		if o.port == s.port && (!o.addr.IsValid() || !s.addr.IsValid() || o.addr == s.addr) {
			l.fail(mine.at, fmt.Sprintf("port %d belongs to %s already (line %d)", s.port, o.owner, o.at.Start.Line), mine.fix)
			break
		}
	}
	c.sockets = append(c.sockets, s)
}
