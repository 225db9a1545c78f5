package rtc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// netCounters are the kernel's own counters of one IP version on a host, at one
// moment. They need no helper there and no rule: the kernel counts a packet as
// received before netfilter sees it, as delivered after its INPUT let it in, and
// as one for no port where nobody listens (Linux net/ipv4/ip_input.c,
// net/ipv4/udp.c; Documentation/networking/snmp_counter.rst).
type netCounters struct {
	received    int64 // InReceives
	delivered   int64 // InDelivers
	forwarded   int64 // ForwDatagrams: sent on to another machine or a container
	noRoute     int64 // InAddrErrors: the address is not one of the host's
	reversePath int64 // IPReversePathFilter: dropped because answers would go another way (IPv4 only)
	noPorts     int64 // UDP that was let in where nobody listens
	unreachable int64 // ICMP "destination unreachable" that the host sent
	outDropped  int64 // OutDiscards: what the host wanted to send and its own netfilter dropped, among it
	resets      int64 // TCP resets that the host sent
	link        int64 // packets that came in on network cards, before any filter
	at          time.Time
}

// countersScript prints the files that parseCounters reads, at one moment.
const countersScript = `cat /proc/net/snmp /proc/net/netstat; echo; cat /proc/net/snmp6 2>/dev/null; cat /proc/net/dev`

// counters looks at the host's counters of one IP version.
func counters(ctx context.Context, h host.Observer, v6 bool) (netCounters, error) {
	res, err := h.Query(ctx, host.Cmd{Argv: []string{"sh", "-c", countersScript}, Timeout: requestTime})
	if err != nil {
		return netCounters{}, fmt.Errorf("read counters of %s: %w", h.Name(), err)
	}
	return parseCounters(string(res[0].Stdout), v6)
}

// parseCounters reads /proc/net/snmp and /proc/net/netstat, where a line of names
// comes before one of values, /proc/net/snmp6, with one name and value in a line,
// and /proc/net/dev.
func parseCounters(text string, v6 bool) (netCounters, error) {
	all := map[string]int64{}
	var names []string
	c := netCounters{at: time.Now()}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && !strings.HasSuffix(f[0], ":"):
			all[f[0]] = number(f[1])
		case len(f) < 2 || !strings.HasSuffix(f[0], ":"):
		case len(names) == len(f) && names[0] == f[0]:
			for i, name := range names[1:] {
				all[f[0]+name] = number(f[i+1])
			}
			names = nil
		case len(f) == 17 && number(f[1]) >= 0: // NAME: 8 numbers received, 8 sent
			if card(strings.TrimSuffix(f[0], ":")) {
				c.link += number(f[2])
			}
		default:
			names = f
		}
	}
	from := [...]string{"Ip:InReceives", "Ip:InDelivers", "Ip:ForwDatagrams", "Ip:InAddrErrors", "Udp:NoPorts", "Icmp:OutDestUnreachs", "Ip:OutDiscards"}
	if v6 {
		from = [...]string{"Ip6InReceives", "Ip6InDelivers", "Ip6OutForwDatagrams", "Ip6InAddrErrors", "Udp6NoPorts", "Icmp6OutDestUnreachs", "Ip6OutDiscards"}
	} else {
		c.reversePath = all["TcpExt:IPReversePathFilter"]
	}
	for i, to := range []*int64{&c.received, &c.delivered, &c.forwarded, &c.noRoute, &c.noPorts, &c.unreachable, &c.outDropped} {
		*to = all[from[i]]
	}
	c.resets = all["Tcp:OutRsts"] // of both IP versions
	if _, ok := all[from[0]]; !ok {
		return c, errors.New("read counters: the host's kernel does not tell them in /proc/net")
	}
	return c, nil
}

// number is a counter; -1 where it is not one.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// card reports whether an interface brings packets from outside. Those of
// containers would count a packet twice.
func card(name string) bool {
	for _, inner := range []string{"lo", "veth", "docker", "br-", "virbr", "cni", "tun", "wg"} {
		if strings.HasPrefix(name, inner) {
			return false
		}
	}
	return true
}

// dropped is how much came in and went nowhere: what netfilter dropped, nearly
// always. Calls that go on meanwhile raise what came in and what was delivered
// alike, and this not at all, so it also tells on a busy host.
func (c netCounters) dropped() int64 { return c.received - c.delivered - c.forwarded }

// since is what was counted after before.
func (c netCounters) since(before netCounters) netCounters {
	return netCounters{
		received: c.received - before.received, delivered: c.delivered - before.delivered, forwarded: c.forwarded - before.forwarded,
		noRoute: c.noRoute - before.noRoute, reversePath: c.reversePath - before.reversePath, noPorts: c.noPorts - before.noPorts,
		unreachable: c.unreachable - before.unreachable, outDropped: c.outDropped - before.outDropped, resets: c.resets - before.resets,
		link: c.link - before.link, at: c.at,
	}
}

// scaled is c as it would be in a time that is by times as long.
func (c netCounters) scaled(by float64) netCounters {
	m := func(n int64) int64 { return int64(float64(n)*by + 0.5) }
	return netCounters{
		received: m(c.received), delivered: m(c.delivered), forwarded: m(c.forwarded), noRoute: m(c.noRoute), reversePath: m(c.reversePath),
		noPorts: m(c.noPorts), unreachable: m(c.unreachable), outDropped: m(c.outDropped), resets: m(c.resets), link: m(c.link), at: c.at,
	}
}
