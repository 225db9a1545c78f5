package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

// nftPackets are the first packets of connections that somebody else opens to
// the host: what has to be let in.
type nftPackets struct {
	IPv6  bool
	Proto string       // "tcp" or "udp"
	From  netip.Prefix // zero for the whole world
}

// nftTruth says whether packets match a condition. What is not understood is
// maybe, never yes.
type nftTruth int

const (
	nftNo nftTruth = iota
	nftMaybe
	nftYes
)

func nftIf(b bool) nftTruth {
	if b {
		return nftYes
	}
	return nftNo
}

// nftMatch is to which ports a condition applies. Both have no port in common.
type nftMatch struct {
	Sure  []steps.PortRange
	Maybe []steps.PortRange
	// What the condition looks at.
	ByPort   bool // and not simply at all of them
	ByFamily bool
	BySource bool
}

func (m nftMatch) any() []steps.PortRange { return steps.MergeRanges(slices.Concat(m.Sure, m.Maybe)) }

// and is the match of both conditions.
func (m nftMatch) and(o nftMatch) nftMatch {
	sure := intersectRanges(m.Sure, o.Sure)
	return nftMatch{
		Sure:     sure,
		Maybe:    steps.SubtractRanges(intersectRanges(m.any(), o.any()), sure),
		ByPort:   m.ByPort || o.ByPort,
		ByFamily: m.ByFamily || o.ByFamily,
		BySource: m.BySource || o.BySource,
	}
}

func allPorts() []steps.PortRange { return []steps.PortRange{{First: 0, Last: 65535}} }

func nftAlways() nftMatch { return nftMatch{Sure: allPorts()} }

func nftDoubtful() nftMatch { return nftMatch{Maybe: allPorts()} }

func intersectRanges(a, b []steps.PortRange) []steps.PortRange {
	var out []steps.PortRange
	for _, x := range a {
		for _, y := range b {
			if r := (steps.PortRange{First: max(x.First, y.First), Last: min(x.Last, y.Last)}); r.First <= r.Last {
				out = append(out, r)
			}
		}
	}
	return steps.MergeRanges(out)
}

// key says what the left side of a match looks at: "port", "source", "proto",
// "family", "interface", "state", "flags", "kind", or "" for all else. absent
// means that the packets have no such field: nft then looks at the protocol first,
// so that neither == nor != matches.
func (p nftPackets) key(left any) (kind string, absent bool) {
	name, body := nftOnly(left)
	o := nftObject(body)
	switch name {
	case "payload":
		return p.payload(nftText(o["protocol"]), nftText(o["field"]))
	case "meta":
		return map[string]string{"l4proto": "proto", "nfproto": "family", "protocol": "family", "iif": "interface", "iifname": "interface",
			"pkttype": "kind"}[nftText(o["key"])], false
	case "ct":
		if nftText(o["key"]) == "state" {
			return "state", false
		}
	case "&":
		if pair := nftList(body); len(pair) == 2 {
			if kind, absent := p.key(pair[0]); kind == "flags" || absent {
				return kind, absent
			}
		}
	}
	return "", false
}

func (p nftPackets) payload(protocol, field string) (kind string, absent bool) {
	switch protocol {
	case "ip", "ip6":
		if (protocol == "ip6") != p.IPv6 {
			return "", true
		}
		return map[string]string{"saddr": "source", "protocol": "proto", "nexthdr": "proto"}[field], false
	case "tcp", "udp", "th":
		if protocol != "th" && protocol != p.Proto {
			return "", true
		}
		return map[string]string{"dport": "port", "flags": "flags"}[field], false
	case "", "ether", "vlan":
		return "", false
	}
	return "", true // icmp, arp, sctp, ...
}

// is says whether what key looks at has the value v.
func (p nftPackets) is(kind string, v any) nftTruth {
	word := nftText(v)
	switch kind {
	case "family":
		switch word {
		case "ipv4", "ip":
			return nftIf(!p.IPv6)
		case "ipv6", "ip6":
			return nftIf(p.IPv6)
		}
	case "proto":
		if word != "" {
			return nftIf(word == p.Proto)
		}
		if n, ok := v.(float64); ok {
			return nftIf(n == map[string]float64{"tcp": 6, "udp": 17}[p.Proto])
		}
	case "interface":
		if word == "lo" {
			return nftNo // the packets of others come in elsewhere
		}
	case "state":
		if slices.Contains([]string{"new", "established", "related", "invalid", "untracked"}, word) {
			return nftIf(word == "new")
		}
	case "kind":
		if slices.Contains([]string{"host", "unicast", "broadcast", "multicast", "other"}, word) {
			return nftIf(word == "host" || word == "unicast")
		}
	case "source":
		return p.comesFrom(v)
	}
	return nftMaybe
}

// comesFrom compares the packets' source with an address, a prefix or a range.
func (p nftPackets) comesFrom(v any) nftTruth {
	first, last, ok := nftAddresses(v)
	if !ok {
		return nftMaybe
	}
	if !p.From.IsValid() {
		if first.IsUnspecified() && last == lastAddr(netip.PrefixFrom(first, 0)) {
			return nftYes
		}
		return nftMaybe
	}
	from, to := p.From.Masked().Addr(), lastAddr(p.From)
	switch {
	case to.Less(first) || last.Less(from):
		return nftNo
	case !from.Less(first) && !last.Less(to):
		return nftYes
	}
	return nftMaybe
}

// nftAddresses reads "10.0.0.1", {"prefix": {"addr", "len"}} or {"range": [a, b]}.
func nftAddresses(v any) (first, last netip.Addr, ok bool) {
	if word := nftText(v); word != "" {
		a, err := netip.ParseAddr(word)
		return a, a, err == nil
	}
	switch kind, body := nftOnly(v); kind {
	case "prefix":
		o := nftObject(body)
		a, err := netip.ParseAddr(nftText(o["addr"]))
		bits, isNumber := o["len"].(float64)
		p := netip.PrefixFrom(a, int(bits))
		if err != nil || !isNumber || !p.IsValid() {
			return first, last, false
		}
		return p.Masked().Addr(), lastAddr(p), true
	case "range":
		if pair := nftList(body); len(pair) == 2 {
			a, err := netip.ParseAddr(nftText(pair[0]))
			b, err2 := netip.ParseAddr(nftText(pair[1]))
			return a, b, err == nil && err2 == nil
		}
	}
	return first, last, false
}

// lastAddr is the highest address of a network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// nftPorts reads 22 or {"range": [1, 3]}.
func nftPorts(v any) ([]steps.PortRange, bool) {
	first, last := v, v
	if kind, body := nftOnly(v); kind == "range" {
		pair := nftList(body)
		if len(pair) != 2 {
			return nil, false
		}
		first, last = pair[0], pair[1]
	}
	a, ok := first.(float64)
	b, ok2 := last.(float64)
	if !ok || !ok2 || a < 0 || b < a || b > 65535 {
		return nil, false
	}
	return []steps.PortRange{{First: int(a), Last: int(b)}}, true
}

// nftTCPFlags is the value of flags, as one word, a list, or words joined by "|".
func nftTCPFlags(v any) (bits int, ok bool) {
	if kind, body := nftOnly(v); kind == "|" {
		v = body
	}
	for _, one := range nftList(v) {
		if kind, _ := nftOnly(one); kind == "|" {
			return 0, false // nested deeper than nft writes it
		}
		i := slices.Index(strings.Fields("fin syn rst psh ack urg ecn cwr"), nftText(one))
		if i < 0 {
			return 0, false
		}
		bits |= 1 << i
	}
	return bits, true
}
