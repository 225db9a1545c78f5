package sfu

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
)

// DefaultImage and auth.DefaultImage are what a site gets where the plan file names
// none: the pair that Element Server Suite 26.10.0 (element-hq/ess-helm CHANGELOG.md, 2026-10-09) shipped
// together.
const DefaultImage = "livekit/livekit-server:v1.13.9"

// Ports are the SFU's ports on its host.
type Ports struct {
	Signalling int    `hcl:"signalling,optional"` // HTTP and WebSocket behind the proxy; default 7880
	TCP        int    `hcl:"tcp,optional"`        // ICE over TCP, open to the world; default 7881
	UDP        string `hcl:"udp,optional"`        // media, "first-last", open to the world; default 50100-50200
}

// Config is the LiveKit server of a site.
type Config struct {
	Host         string          `hcl:"host,optional"`         // name of a host block
	Hosts        []string        `hcl:"hosts,optional"`        // host for several, of which there can be one so far
	URL          string          `hcl:"url"`                   // https://name[/prefix], no trailing slash
	Image        string          `hcl:"image,optional"`        // default DefaultImage
	Archive      steps.LocalPath `hcl:"archive,optional"`      // path on the laptop of a `docker save` or OCI archive
	Container    string          `hcl:"container,optional"`    // default livekit-sfu
	NodeIP       string          `hcl:"node_ip,optional"`      // address that clients are told, or "IPv4,IPv6"; default: the host's own
	ExternalIP   bool            `hcl:"external_ip,optional"`  // ask STUN servers for the public address instead
	Interfaces   []string        `hcl:"interfaces,optional"`   // network interfaces for media; default: the one that holds node_ip, else the default route's
	Bind         string          `hcl:"bind,optional"`         // address of the signalling port; default 127.0.0.1
	Participants int             `hcl:"participants,optional"` // at once on this host; default 40; checked against the UDP range
	UID          int             `hcl:"uid,optional"`          // numeric user and group in the container; default 10030
	Ports        *Ports          `hcl:"ports,block"`
}

// Variant is LiveKit in a container of its own.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "sfu", Required: true,
		Doc:     "LiveKit in a container with the host's network",
		Example: "sfu {\n  host = host.NAME\n  " + steps.SampleURL + "\n}",
		Config:  func() steps.Config { return newConfig() },
		Detect: steps.DetectContainer("livekit-server", func(on, name, image string) steps.Config {
			c := newConfig()
			c.Host, c.Container, c.Image = on, name, image
			return c
		}),
	}
}

func newConfig() *Config {
	return &Config{
		Image: DefaultImage, Container: "livekit-sfu", Bind: "127.0.0.1", Participants: 40, UID: 10030,
		Ports: &Ports{Signalling: 7880, TCP: 7881, UDP: "50100-50200"},
	}
}

// HostName implements Config.
func (c *Config) HostName() string {
	if c.Host == "" && len(c.Hosts) == 1 {
		return c.Hosts[0]
	}
	return c.Host
}

// Parts implements Config.
func (c *Config) Parts(d steps.Decl) []steps.Part {
	c.NodeIP, c.Ports.UDP = normalIPs(c.NodeIP), strings.ReplaceAll(c.Ports.UDP, " ", "")
	first, last := c.Ports.UDPRange()
	ports := func(attr, fix string) steps.Claim { return steps.Claim{Path: []string{"ports"}, Attr: attr, Fix: fix} }
	route := steps.Route{Purpose: steps.Signalling, URL: c.URL, Upstream: net.JoinHostPort(c.Bind, strconv.Itoa(c.Ports.Signalling)), WebSocket: true, Quiet: true}
	route.Checks = signallingChecks(route)
	p := steps.Part{
		Name: "sfu", Title: "the SFU", Host: d.Host, Participants: c.Participants,
		Run: &steps.Run{Container: c.Container, Image: c.Image, Archive: string(c.Archive), UID: c.UID, Other: "livekit-" + steps.FirstLabel(d.Site)},
		Listens: []steps.Listen{
			{Proto: "tcp", Bind: c.Bind, First: c.Ports.Signalling, Last: c.Ports.Signalling, For: steps.ForProxies,
				Claim: ports("signalling", "give this one another port in ports { signalling = ... }")},
			{Proto: "tcp", First: c.Ports.TCP, Last: c.Ports.TCP, For: steps.ForWorld,
				Claim: ports("tcp", "give this one another port in ports { tcp = ... }")},
			{Proto: "udp", First: first, Last: last, For: steps.ForWorld,
				Claim: ports("udp", "give this one a range of its own in ports { udp = ... }")},
		},
		Routes: []steps.Route{route},
	}
	dir := (&steps.Site{Name: d.Site}).Dir() + "/sfu"
	p.Own = []string{dir + "/livekit-config.yaml", dir + "/keys.yaml"}
	if c.NodeIP != "" {
		p.Addresses = strings.Split(c.NodeIP, ",")
	}
	return []steps.Part{p}
}

func signallingChecks(r steps.Route) []steps.Check {
	upgrade := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "ZWNkZXBsb3kgcHJvYmUhIQ=="}
	return []steps.Check{
		{Name: "LiveKit answers at " + r.URL, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: r.URL + "/", Status: 200, Body: "OK"},
			Hint: "404: the proxy does not strip the prefix; 502: it does not reach " + r.Upstream},
		{Name: "WebSockets reach LiveKit at " + r.URL, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: r.URL + "/rtc", Header: upgrade, Status: 401},
			Hint: "404: the proxy does not pass Upgrade and Connection"},
	}
}

// UDPRange is the first and last UDP port for media; zero where it is not one.
func (p Ports) UDPRange() (first, last int) {
	first, last, _ = udpRange(p.UDP)
	return first, last
}

var portsPattern = regexp.MustCompile(`^([0-9]{1,5})-([0-9]{1,5})$`)

// udpRange reads "first-last".
func udpRange(s string) (first, last int, ok bool) {
	m := portsPattern.FindStringSubmatch(strings.ReplaceAll(s, " ", ""))
	if m == nil {
		return 0, 0, false
	}
	first, _ = strconv.Atoi(m[1]) // digits, as matched
	last, _ = strconv.Atoi(m[2])
	return first, last, first >= 1024 && first <= 65535 && last >= 1024 && last <= 65535
}

// Check implements Config.
func (c *Config) Check(b steps.Block, d steps.Decl, s *steps.Site) {
	c.checkHosts(b)
	proxy, _ := s.ProxyOn(s.Front(d.Host))
	steps.CheckPublicURL(b, c.URL, "/livekit/sfu", proxy)
	steps.CheckImage(b, c.Image, string(c.Archive), DefaultImage)
	steps.CheckContainer(b, c.Container)
	steps.CheckUID(b, c.UID)
	steps.CheckIP(b, "bind", c.Bind)
	c.checkNodeIP(b)
	if c.NodeIP != "" && c.ExternalIP {
		b.Wrong("external_ip", "node_ip and external_ip are both set", "keep node_ip for an address that you know, external_ip to ask STUN servers for it")
	}
	c.checkInterfaces(b)
	if b.Given("participants") && b.Known("participants") && c.Participants < 1 {
		b.Wrong("participants", "participants must be at least 1", "write how many people call at once on this host")
	}
	ports := b.At("ports")
	steps.CheckPort(ports, "signalling", c.Ports.Signalling, 1024)
	steps.CheckPort(ports, "tcp", c.Ports.TCP, 1024)
	if ports.Known("signalling", "tcp") && c.Ports.Signalling == c.Ports.TCP {
		ports.Wrong("tcp", fmt.Sprintf("signalling and tcp are both port %d", c.Ports.TCP), "give one of them another port")
	}
	c.checkUDP(b, ports)
}

func (c *Config) checkHosts(b steps.Block) {
	switch {
	case !b.Given("host") && !b.Given("hosts"):
		b.Wrong("", "sfu {} needs host", "add host = host.NAME")
	case !b.Given("hosts"):
	case b.Given("host"):
		b.Wrong("hosts", "host and hosts are both there", "keep host")
	case b.Known("hosts") && len(c.Hosts) != 1:
		b.Wrong("hosts", "an SFU on several hosts is not built yet", "name one host")
	}
}

var interfaceName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,15}$`)

func (c *Config) checkInterfaces(b steps.Block) {
	if !b.Known("interfaces") {
		return
	}
	for _, name := range c.Interfaces {
		if !interfaceName.MatchString(name) {
			b.Wrong("interfaces", fmt.Sprintf("%q is no name of a network interface", name), `write names as "ip link" shows them, like ["eth0"]`)
		}
	}
}

func (c *Config) checkUDP(b, ports steps.Block) {
	if !ports.Known("udp") {
		return
	}
	at, attr := b, "participants"
	if ports.Given("udp") {
		at, attr = ports, "udp"
	}
	first, last, ok := udpRange(c.Ports.UDP)
	switch {
	case !ok:
		at.Wrong(attr, "udp is no range of ports", `write the first and the last, like udp = "50100-50200", each from 1024 to 65535`)
	case first > last:
		at.Wrong(attr, "udp ends before it begins", fmt.Sprintf("write udp = \"%d-%d\"", last, first))
	case b.Known("participants") && c.Participants > 0 && last-first+1 < 2*c.Participants:
		at.Wrong(attr, fmt.Sprintf("%d UDP ports are too few for %d participants, who need 2 each", last-first+1, c.Participants), widerRange(first, c.Participants))
	}
}

// widerRange is a hint: a range from first on that is wide enough.
func widerRange(first, participants int) string {
	need := 2 * participants
	if first+need-1 <= 65535 {
		return fmt.Sprintf("write udp = \"%d-%d\", or lower participants", first, first+need-1)
	}
	return fmt.Sprintf("begin the range lower so that it has %d ports, or lower participants", need)
}

func (c *Config) checkNodeIP(b steps.Block) {
	if !b.Given("node_ip") || !b.Known("node_ip") {
		return
	}
	ips, ok := nodeIPs(c.NodeIP)
	if !ok {
		b.Wrong("node_ip",
			"node_ip is no IP address",
			"write an address like 203.0.113.10, not a name, or one of IPv4 and one of IPv6, like 203.0.113.10,2001:db8::10")
	}
	for _, ip := range ips {
		switch {
		case ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast():
			b.Wrong("node_ip", fmt.Sprintf("clients cannot reach node_ip %s", ip), "write the host's public address, or remove the line for the one the host has")
		case netaddr.Private(ip):
			b.Doubtful("node_ip",
				fmt.Sprintf("node_ip %s is private: only clients of that network can take part", ip),
				"write the host's public address, or external_ip = true instead to ask STUN servers for it")
		}
	}
}

// normalIPs are the addresses of node_ip as LiveKit's configuration has them; what is
// not understood stays as it is.
func normalIPs(text string) string {
	ips, ok := nodeIPs(text)
	if !ok {
		return text
	}
	var texts []string
	for _, ip := range ips {
		texts = append(texts, ip.String())
	}
	return strings.Join(texts, ",")
}

// nodeIPs reads node_ip as LiveKit does: an address, or one of IPv4 and one of
// IPv6 with a comma. That of IPv4 comes first.
func nodeIPs(text string) ([]netip.Addr, bool) {
	var ips []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || ip.Zone() != "" {
			return nil, false
		}
		ips = append(ips, ip.Unmap())
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	if len(ips) > 2 || len(ips) == 2 && ips[0].Is4() == ips[1].Is4() {
		return nil, false
	}
	return ips, true
}
