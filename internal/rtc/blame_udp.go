package rtc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// rangePorts is how many ports of the range are knocked at: its ends, and three
// between, where a firewall that opens only a part of it shows.
const rangePorts = 5

// udpBlame is one search for what keeps UDP away.
type udpBlame struct {
	t       Target
	h       host.Host // the SFU's
	network string
	addr    netip.Addr
	around  surroundings
	w       *watch
	said    []string // evidence so far
}

func (b *udpBlame) say(format string, args ...any) {
	b.said = append(b.said, fmt.Sprintf(format, args...))
}

func (b *udpBlame) is(c Code, s Side) (Blame, error) { return Blame{c, s, b.said}, nil }

// port knocks at one port from here.
func (b *udpBlame) port(ctx context.Context, port int) (seen, error) {
	return b.w.during(ctx, port, func() knocked { return knockUDP(ctx, b.network, netip.AddrPortFrom(b.addr, uint16(port))) })
}

func (b *udpBlame) ports(ctx context.Context, ports []int) ([]seen, error) {
	var all []seen
	for _, p := range ports {
		s, err := b.port(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (b *udpBlame) find(ctx context.Context) (Blame, error) {
	var err error
	if b.around, err = lookAround(ctx, b.h); err != nil {
		return Blame{}, err
	}
	if b.t.SFU.TCP == 0 {
		return Blame{}, errors.New("the site says nothing of ports")
	}
	first, last := b.t.SFU.UDPRange()
	ports := b.around.freePorts(first, last, rangePorts)
	if len(ports) == 0 {
		b.say("all UDP ports from %d to %d are in use on the host", first, last)
		return b.is("media", HostSide)
	}
	if b.w, err = newWatch(ctx, b.h, isV6(b.network), quietUDP); err != nil {
		return Blame{}, err
	}
	all, err := b.ports(ctx, ports)
	if err != nil {
		return Blame{}, err
	}
	return b.judge(ctx, all)
}

// judge is the blame where these are the fates of ports of the range.
func (b *udpBlame) judge(ctx context.Context, all []seen) (Blame, error) {
	fates := byFate(all)
	for _, f := range []fate{fateDropped, fateMisrouted, fateForeign, fateForwarded, fateUnclear, fateLost, fateLetIn} {
		if of := fates[f]; len(of) > 0 {
			b.say("%s", tell(b.network, of))
		}
	}
	switch {
	case len(fates[fateUnsent]) > 0:
		b.say("this machine does not send to %s: %s", b.addr, why(fates[fateUnsent][0].k.local))
		return b.is("laptop-network", LaptopSide)
	case len(fates[fateDropped]) > 0:
		port := fates[fateDropped][0].port
		b.said = append(b.said, rules(ctx, b.h, isV6(b.network), "udp", port, func() int {
			return knockUDP(ctx, b.network, netip.AddrPortFrom(b.addr, uint16(port))).sent
		})...)
		return b.is("firewall-udp", HostSide)
	case len(fates[fateMisrouted]) > 0:
		b.say("the kernel's reverse path filter drops them: net.ipv4.conf.*.rp_filter is 1, " +
			"and the way back to here leaves by another interface (sysctl net.ipv4.conf.all.rp_filter=2 is the loose mode)")
		return b.is("firewall-udp", HostSide)
	case len(fates[fateForeign]) > 0:
		b.said = append(b.said, b.around.elsewhere(b.addr)...)
		return b.is("wrong-address", HostSide)
	case len(fates[fateForwarded]) > 0:
		b.say("a rule of the host's own address translation (iptables -t nat -S, nft list ruleset) takes them, often of a container that publishes these ports")
		return b.is("media", HostSide)
	case len(fates[fateUnclear]) > 0:
		b.say("so much else is dropped on the host, or comes for ports where nobody listens, that its counters tell nothing here")
		return b.echoed(ctx, Blame{"media", HostSide, nil})
	case len(fates[fateLost]) > 0 && len(fates[fateLetIn]) > 0:
		b.say("a part of the range arrives and another does not: something in front of the host filters by port")
		return b.is("blocked-udp", WaySide)
	case len(fates[fateLost]) > 0:
		return b.notArrived(ctx, all)
	}
	return b.open(ctx, all)
}

// why is what the kernel of this machine says of a packet that it does not send.
func why(err error) string {
	if err == nil {
		return "no packet was sent in time"
	}
	return host.Said(err.Error(), 1)
}

// notArrived tells what is in front of the host from the network here, as far as
// that can be seen.
func (b *udpBlame) notArrived(ctx context.Context, all []seen) (Blame, error) {
	var link, usual, sent int64
	for _, s := range all {
		link, usual, sent = link+s.d.link, usual+s.usual.link, sent+int64(s.k.sent)
	}
	if link*10 >= sent*7 && usual <= sent {
		b.say("the host's network card did receive %d packets more than usual: they are dropped before IP sees them, "+
			"by XDP, tc or an nft chain of the hook ingress on the host",
			link)
		b.said = append(b.said, rules(ctx, b.h, isV6(b.network), "udp", all[0].port, func() int {
			return knockUDP(ctx, b.network, netip.AddrPortFrom(b.addr, uint16(all[0].port))).sent
		})...)
		return b.is("firewall-udp", HostSide)
	}
	b.said = append(b.said, b.around.elsewhere(b.addr)...)
	others, err := b.ports(ctx, b.outside())
	if err != nil {
		return Blame{}, err
	}
	var here, not []string
	for _, s := range others {
		if s.arrived() {
			here = append(here, strconv.Itoa(s.port))
		} else {
			not = append(not, strconv.Itoa(s.port))
		}
	}
	if len(here) > 0 {
		b.say("UDP from here to port %s does arrive at the host: something in front of it filters the range", strings.Join(here, ", "))
		return b.is("blocked-udp", WaySide)
	}
	b.say("nor does UDP from here to port %s arrive", strings.Join(not, ", "))
	return b.fromOthers(ctx, all[0].port)
}

// outside are ports that are not of the range: HTTP/3's, TURN's, and one that
// nobody opens.
func (b *udpBlame) outside() []int {
	first, last := b.t.SFU.UDPRange()
	return slices.DeleteFunc([]int{443, 3478, 40007}, func(p int) bool { return p >= first && p <= last })
}

// fromOthers looks from another host of the plan, and whether UDP from here
// arrives there: only so is the network here told from a firewall in front of the
// SFU's host.
func (b *udpBlame) fromOthers(ctx context.Context, port int) (Blame, error) {
	var names []string
	for name, h := range b.t.Hosts {
		if h != nil && name != b.t.SFU.Host {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	comes, there, asked := false, false, false
	for _, name := range names[:min(len(names), 2)] { // each costs some seconds
		other := b.t.Hosts[name]
		s, err := b.w.during(ctx, port, func() knocked { return knockFrom(ctx, other, b.addr, port) })
		if err != nil {
			return Blame{}, err
		}
		asked = asked || s.k.local == nil
		if s.arrived() {
			comes = true
			b.say("UDP from %s to port %d of the host does arrive", name, port)
		} else if s.k.local == nil {
			b.say("UDP from %s to port %d of the host does not arrive either", name, port)
		}
		there = b.reaches(ctx, other, port) || there
	}
	switch {
	case comes && !there:
		b.say("so it is the network here that lets no UDP out, unless what is in front of the host lets in only these hosts")
		return b.is("laptop-udp", LaptopSide)
	case there:
		b.say("UDP from here does arrive at another host of the plan, so this network lets it out")
	case !asked:
		b.say("from one place it is unknown whether the network here lets no UDP out or a firewall in front of the host " +
			"(a cloud's security group, a router) lets none in; try another network")
	default:
		b.say("a firewall in front of the host (a cloud's security group, a router) is likely, and that the network here lets no UDP out is not ruled out")
	}
	return b.is("blocked-udp", WaySide)
}

// reaches reports whether UDP from here arrives at another host of the plan.
func (b *udpBlame) reaches(ctx context.Context, other host.Host, port int) bool {
	around, err := lookAround(ctx, other)
	if err != nil {
		return false
	}
	w, err := newWatch(ctx, other, isV6(b.network), quietUDP)
	if err != nil {
		return false
	}
	for _, a := range around.own {
		// One that the internet does not route leads to it only where the SFU's is such, too.
		if a.Is4() != b.addr.Is4() || !a.IsGlobalUnicast() || a.IsPrivate() != b.addr.IsPrivate() || strings.HasPrefix(a.String(), "172.17.") {
			continue
		}
		s, err := w.during(ctx, port, func() knocked { return knockUDP(ctx, b.network, netip.AddrPortFrom(a, uint16(port))) })
		if err == nil && s.arrived() {
			b.say("UDP from here to %s of %s does arrive", a, other.Name())
			return true
		}
		if err == nil {
			b.say("UDP from here to %s of %s does not arrive", a, other.Name())
		}
		return false // one address is enough
	}
	return false
}

// fromText sends datagrams as knockUDP does; it is bash alone that sends UDP.
const fromText = `exec 3<>"/dev/udp/$1/$2" || exit 9
i=0
while [ $i -lt $3 ]; do printf %s 'ecdeploy looks who is there' >&3; i=$((i+1)); sleep 0.002; done 2>/dev/null
exit 0`

// knockFrom sends datagrams from another host.
func knockFrom(ctx context.Context, from host.Observer, addr netip.Addr, port int) knocked {
	res, err := from.Query(ctx,
		host.Cmd{Argv: []string{"bash", "-c", fromText, "bash", addr.String(), strconv.Itoa(port), strconv.Itoa(knocks)}, Timeout: requestTime})
	switch {
	case err != nil:
		return knocked{local: err}
	case !res[0].OK():
		return knocked{local: errors.New("this host does not send UDP to there")}
	}
	return knocked{sent: knocks}
}
