package plans

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/steps"
)

var (
	// serverName is a Matrix server name: a name or an IP address, and
	// perhaps a port (spec.matrix.org, appendices, "Server name").
	serverName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
	// containerName is what Docker's engine takes.
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	interfaceName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,15}$`)
	unitName      = regexp.MustCompile(`^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*\.service$`)
	// synapseTime is a duration of Synapse's with its unit.
	synapseTime = regexp.MustCompile(`^[1-9][0-9]{0,8}[smhdwy]$`)
)

func (l *loader) checkServerName(n *node) {
	switch {
	case n.label == "": // said already, or an empty label
		if n.name != n.def {
			l.fail(n.name, "the server name is empty", `write site "example.org" {`)
		}
	case strings.Contains(n.label, "://"):
		l.fail(n.name, "the site's label is a URL", "write the Matrix server name alone, what stands behind the colon in @user:example.org")
	case !serverName.MatchString(n.label) || len(n.label) > maxName:
		l.fail(n.name, fmt.Sprintf("%q is no Matrix server name", n.label), "write what stands behind the colon in @user:example.org")
	}
}

// checkSite checks what can be said of one site alone.
func (l *loader) checkSite(n *node, s Site) {
	if c := n.child("sfu"); c != nil {
		l.checkSFU(c, s)
	}
	if c := n.child("auth"); c != nil {
		l.checkAuth(c, s)
	}
	if c := n.child("livekit_keys"); c != nil {
		l.checkKeys(c, *s.Keys)
	}
	if c := n.child("synapse"); c != nil {
		l.checkSynapse(c, s.Synapse)
	}
	if c := n.child("well_known"); c != nil {
		l.checkWellKnown(c, s.WellKnown)
	}
	for i, c := range n.nodes["proxy"] {
		l.checkProxy(c, s.Proxies[i], s)
	}
	if c := n.child("verify"); c != nil {
		l.checkVerify(c, s.Verify)
	}
}

func (l *loader) checkVerify(n *node, v steps.Verify) {
	if n.has("level") && n.known("level") && !slices.Contains([]string{"media", "http", "none"}, v.Level) {
		l.fail(n.at("level"), fmt.Sprintf("there is no level %q", v.Level), `write level = "media", "http" or "none"`)
	}
	if n.has("strict") && n.known("strict", "level") && v.Strict && v.Level != "media" {
		l.fail(n.at("strict"), fmt.Sprintf("strict is about media, and level is %q", v.Level), `write level = "media", or remove the line`)
	}
	if n.has("from") && n.known("from") {
		for _, name := range v.From {
			if !l.knownHost(name, n.at("from")) {
				break
			}
		}
	}
	t := n.child("access_token")
	if t != nil && (len(t.given) != 1 || t.has("command") && t.known("command") && len(v.AccessToken.Command) == 0) {
		l.fail(t.def, "access_token {} wants one source", `write one of env = "NAME", file = "...", command = ["...", "..."]`)
	}
}

func (l *loader) checkSFU(n *node, s Site) {
	c, ports := s.SFU, n.child("ports")
	l.checkURL(n, c.URL, s)
	l.checkImage(n, c.Image, c.Archive)
	l.checkContainer(n, c.Container)
	l.checkUser(n, c.UID)
	l.checkIP(n, "bind", c.Bind)
	l.checkNodeIP(n, c.NodeIP)
	if c.NodeIP != "" && c.ExternalIP {
		l.fail(n.at("external_ip"), "node_ip and external_ip are both set", "keep node_ip for an address that you know, external_ip to ask STUN servers for it")
	}
	if n.known("interfaces") {
		for _, name := range c.Interfaces {
			if !interfaceName.MatchString(name) {
				l.fail(n.at("interfaces"), fmt.Sprintf("%q is no name of a network interface", name), `write names as "ip link" shows them, like ["eth0"]`)
			}
		}
	}
	if n.has("participants") && n.known("participants") && c.Participants < 1 {
		l.fail(n.at("participants"), "participants must be at least 1", "write how many people call at once on this host")
	}
	if ports != nil {
		l.checkPort(ports, "signalling", c.Ports.Signalling, 1024)
		l.checkPort(ports, "tcp", c.Ports.TCP, 1024)
		if ports.known("signalling", "tcp") && c.Ports.Signalling == c.Ports.TCP {
			l.fail(ports.at("tcp"), fmt.Sprintf("signalling and tcp are both port %d", c.Ports.TCP), "give one of them another port")
		}
	}
	l.checkUDP(n, ports, c)
}

func (l *loader) checkUDP(n, ports *node, c steps.SFU) {
	if ports != nil && !ports.known("udp") {
		return
	}
	at := n.at("participants")
	if ports.has("udp") {
		at = ports.at("udp")
	}
	first, last, ok := udpRange(c.Ports.UDP)
	switch {
	case !ok:
		l.fail(at, "udp is no range of ports", `write the first and the last, like udp = "50100-50200", each from 1024 to 65535`)
	case first > last:
		l.fail(at, "udp ends before it begins", fmt.Sprintf("write udp = \"%d-%d\"", last, first))
	case n.known("participants") && c.Participants > 0 && last-first+1 < 2*c.Participants:
		l.fail(at, fmt.Sprintf("%d UDP ports are too few for %d participants, who need 2 each", last-first+1, c.Participants), widerRange(first, c.Participants))
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

func (l *loader) checkAuth(n *node, s Site) {
	c := s.Auth
	l.checkURL(n, c.URL, s)
	l.checkImage(n, c.Image, c.Archive)
	l.checkContainer(n, c.Container)
	l.checkUser(n, c.UID)
	l.checkIP(n, "bind", c.Bind)
	l.checkPort(n, "port", c.Port, 1024)
	l.checkHostPath(n, "ca_file", c.CAFile)
	if n.known("full_access") {
		l.checkFullAccess(n, c.FullAccess)
	}
}

func (l *loader) checkFullAccess(n *node, servers []string) {
	if len(servers) == 0 {
		l.fail(n.at("full_access"), "full_access is empty: nobody could start a call", "remove the line for the site's own users, or name server names")
	}
	for _, name := range servers {
		switch {
		case name == "*" && len(servers) == 1:
			l.warn(n.at("full_access"), "users of every homeserver may start calls here", "name the server names whose users may")
		case name == "*":
			l.fail(n.at("full_access"), `"*" counts only where it stands alone`, "name the server names whose users may start calls")
		case (!serverName.MatchString(name) || len(name) > maxName) && n.has("full_access"):
			l.fail(n.at("full_access"), fmt.Sprintf("%q is no Matrix server name", name), "write what stands behind the colon in @user:example.org")
		}
	}
}

func (l *loader) checkContainer(n *node, name string) {
	if n.has("container") && n.known("container") && (!containerName.MatchString(name) || len(name) > maxName) {
		l.fail(n.at("container"), fmt.Sprintf("%q is no name for a container", name), "use letters, digits, dots, - and _")
	}
}

func (l *loader) checkUser(n *node, uid int) {
	if !n.has("uid") || !n.known("uid") {
		return
	}
	switch {
	case uid == 0:
		l.fail(n.at("uid"), "uid 0 is root", "write a number that no user of the host has, or remove the line")
	case uid < 0 || uid > 1<<31-2:
		l.fail(n.at("uid"), fmt.Sprintf("%d is no user number", uid), "write a number from 1 to 2147483646, or remove the line")
	}
}

func (l *loader) checkIP(n *node, attr, value string) {
	if !n.has(attr) || !n.known(attr) {
		return
	}
	if a, err := netip.ParseAddr(value); err != nil || a.Zone() != "" {
		l.fail(n.at(attr), attr+" is no IP address", "write an address like 203.0.113.10, not a name")
	}
}

func (l *loader) checkNodeIP(n *node, text string) {
	if !n.has("node_ip") || !n.known("node_ip") {
		return
	}
	at := n.at("node_ip")
	ips, ok := nodeIPs(text)
	if !ok {
		l.fail(at, "node_ip is no IP address", "write an address like 203.0.113.10, not a name, or one of IPv4 and one of IPv6, like 203.0.113.10,2001:db8::10")
	}
	for _, ip := range ips {
		switch {
		case ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast():
			l.fail(at, fmt.Sprintf("clients cannot reach node_ip %s", ip), "write the host's public address, or remove the line for the one the host has")
		case netaddr.Private(ip):
			l.warn(at, fmt.Sprintf("node_ip %s is private: only clients of that network can take part", ip), "write the host's public address, or external_ip = true instead to ask STUN servers for it")
		}
	}
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

func joined(ips []netip.Addr) string {
	var texts []string
	for _, ip := range ips {
		texts = append(texts, ip.String())
	}
	return strings.Join(texts, ",")
}

func (l *loader) checkSynapse(n *node, v Variant) {
	switch c := v.Config.(type) {
	case *steps.SynapseDebian:
		if n.known("unit") && (!unitName.MatchString(c.Unit) || len(c.Unit) > maxName) {
			l.fail(n.at("unit"), fmt.Sprintf("%q is no systemd service", c.Unit), `write its whole name, like "matrix-synapse.service"`)
		}
		if n.known("max_event_delay") && !synapseTime.MatchString(c.MaxDelay) {
			l.fail(n.at("max_event_delay"), "max_event_delay is no duration of Synapse's", `write a number and one of s, m, h, d, w, y, like "24h"`)
		}
	case *steps.SynapseExternal:
		if n.has("url") && n.known("url") {
			l.checkBaseURL(n.at("url"), c.URL)
		}
	}
}

func (l *loader) checkWellKnown(n *node, v Variant) {
	c, ok := v.Config.(*steps.WellKnownFile)
	if !ok {
		return
	}
	l.checkHostPath(n, "path", c.Path)
	if n.has("path") && n.known("path") && strings.HasSuffix(c.Path, "/") {
		l.fail(n.at("path"), "path is a folder", `write the path of the file, ending in "/matrix/client"`)
	}
}

func (l *loader) checkProxy(n *node, v Variant, s Site) {
	c, ok := v.Config.(*steps.ProxyNginx)
	if !ok {
		return
	}
	l.checkHostPath(n, "certificate", c.Certificate)
	l.checkHostPath(n, "key", c.Key)
	if n.has("certificate") != n.has("key") {
		have, lack := "certificate", "key"
		if n.has("key") {
			have, lack = lack, have
		}
		l.fail(n.at(have), have+" is there and "+lack+" is not", "give both, or none for certbot's")
	}
	if c.Host != "" && n.known("host") && s.SFU.Host != "" && s.Auth.Host != "" && s.front(s.SFU.Host) != c.Host && s.front(s.Auth.Host) != c.Host {
		l.warn(n.at("host"), fmt.Sprintf("the proxy on %s has nothing to serve for this site", c.Host), "remove the block")
	}
}

// checkHostPath wants an absolute path on a host that nginx and YAML can hold.
func (l *loader) checkHostPath(n *node, attr, path string) {
	if !n.has(attr) || !n.known(attr) {
		return
	}
	switch {
	case !strings.HasPrefix(path, "/"):
		l.fail(n.at(attr), attr+" is not an absolute path on the host", "write it from the root on, like /etc/ssl/...")
	case strings.Contains(path, "$"):
		l.fail(n.at(attr), attr+" holds a $, which nginx would take for a variable", "move the file to a path without one")
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		l.fail(n.at(attr), attr+" holds a line end or another control character", "move the file to a path without one")
	case strings.ContainsAny(path, "\"'\\;{}*?[]"):
		l.fail(n.at(attr), attr+" holds a character that nginx or a shell would take for its own", "move the file to a path of letters, digits, dots, - and _")
	}
}
