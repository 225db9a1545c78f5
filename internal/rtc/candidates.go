package rtc

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
)

// told is an address that LiveKit tells clients.
type told struct {
	protocol string // "udp" or "tcp"
	addr     netip.Addr
	port     uint16
	kind     string // "host", "srflx", "relay"
}

// parseCandidates reads "FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ
// KIND ..." (RFC 8839 section 5.1); what is no address is left out.
func parseCandidates(lines []string) []told {
	var out []told
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 8 || f[6] != "typ" {
			continue
		}
		addr, err := netip.ParseAddr(f[4])
		port, err2 := strconv.ParseUint(f[5], 10, 16)
		if err != nil || err2 != nil || addr.Zone() != "" { // a zone is any text
			continue
		}
		t := told{strings.ToLower(f[2]), addr.Unmap(), uint16(port), f[7]}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// ofKind are the addresses of a network, without relays: these are others' own.
func ofKind(all []told, n network) []told {
	var out []told
	for _, t := range all {
		if t.kind != "relay" && t.protocol == n.protocol && t.addr.Is4() == strings.HasSuffix(n.network, "4") {
			out = append(out, t)
		}
	}
	return out
}

// candidates checks that what LiveKit tells clients can work at all.
func (k *verifier) candidates(lines []string) result {
	all := parseCandidates(lines)
	m := k.seen[k.SFU.Host]
	if m == nil || m.err != nil {
		return unseen("the addresses of " + k.SFU.Host + " are not known")
	}
	if len(all) == 0 {
		return bad("no-candidates", HostSide, "LiveKit names no address")
	}
	first, last := k.SFU.UDPRange()
	var said []string
	for _, t := range all {
		said = append(said, fmt.Sprintf("%s %s (%s)", t.protocol, netip.AddrPortFrom(t.addr, t.port), t.kind))
	}
	slices.Sort(said)
	for _, t := range all {
		if t.kind == "relay" {
			continue
		}
		dev, own := m.holds(t.addr)
		text := netip.AddrPortFrom(t.addr, t.port).String()
		switch {
		case own && (dev == "docker0" || strings.HasPrefix(dev, "br-") || strings.HasPrefix(dev, "veth")):
			return bad("bridge-candidate", HostSide, append([]string{text + " is on " + dev + " of " + k.SFU.Host}, said...)...)
		case !own && !k.announced(t.addr):
			return bad("wrong-address",
				HostSide,
				append([]string{t.addr.String() + " is no address of " + k.SFU.Host + ", and neither node_ip nor the name " + k.named("sfu").host + " has it"}, said...)...)
		case t.protocol == "udp" && (int(t.port) < first || int(t.port) > last):
			return bad("port-outside", HostSide, fmt.Sprintf("%s is outside of %d-%d/udp", text, first, last))
		case t.protocol == "tcp" && int(t.port) != k.SFU.TCP:
			return bad("port-outside", HostSide, fmt.Sprintf("%s is not port %d/tcp", text, k.SFU.TCP))
		case netaddr.Private(t.addr) && !k.named("sfu").leadsTo(t.addr) && !k.planned(t.addr):
			return bad("private-address", HostSide, append([]string{text + " is private"}, said...)...)
		}
	}
	return good(said...)
}

// announced reports whether an address that the host does not hold can be its
// public one: behind 1:1 NAT the plan file says it, or the public name leads there.
func (k *verifier) announced(a netip.Addr) bool {
	return k.planned(a) || k.named("sfu").leadsTo(a)
}

func (k *verifier) planned(a netip.Addr) bool {
	for _, text := range k.SFU.Addresses {
		if ip, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil && ip.Unmap() == a {
			return true
		}
	}
	return false
}

func (n *name) leadsTo(a netip.Addr) bool { return slices.Contains(n.addrs, a) }
