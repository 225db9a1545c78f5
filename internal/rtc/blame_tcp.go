package rtc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// blameTCP tells why media over TCP ("tcp4" or "tcp6") does not come to LiveKit's
// port at addr.
func (t Target) blameTCP(ctx context.Context, network string, addr netip.Addr) Blame {
	if t.SFU.TCP == 0 {
		return cannotLook(errors.New("the site says nothing of ports"))
	}
	return t.blamePort(ctx, t.SFU.Host, network, netip.AddrPortFrom(addr, uint16(t.SFU.TCP)))
}

// blamePort tells why connections do not come to a port of the host on.
func (t Target) blamePort(ctx context.Context, on, network string, to netip.AddrPort) Blame {
	ctx, cancel := context.WithTimeout(ctx, blameTime)
	defer cancel()
	b := &tcpBlame{t: t, h: t.Hosts[on], network: network, addr: to.Addr(), port: int(to.Port())}
	if b.h == nil {
		return Blame{"media", HostSide, []string{"there is no connection to its host, so nobody can look there"}}
	}
	blame, err := b.find(ctx)
	if err != nil {
		return cannotLook(err)
	}
	return blame
}

// tcpBlame is one search for what keeps TCP away.
type tcpBlame struct {
	t       Target
	h       host.Host
	network string
	addr    netip.Addr
	port    int
	around  surroundings
	halves  int // connections of which the host waits for the third packet
	said    []string
}

func (b *tcpBlame) say(format string, args ...any) {
	b.said = append(b.said, fmt.Sprintf(format, args...))
}

func (b *tcpBlame) is(c Code, s Side) (Blame, error) { return Blame{c, s, b.said}, nil }

func (b *tcpBlame) knock(ctx context.Context) knocked {
	return knockTCP(ctx, b.network, netip.AddrPortFrom(b.addr, uint16(b.port)))
}

func (b *tcpBlame) find(ctx context.Context) (Blame, error) {
	var err error
	if b.around, err = lookAround(ctx, b.h); err != nil {
		return Blame{}, err
	}
	w, err := newWatch(ctx, b.h, isV6(b.network), connectTime)
	if err != nil {
		return Blame{}, err
	}
	s, err := w.during(ctx, b.port, func() knocked { return b.knock(ctx) })
	if err != nil {
		return Blame{}, err
	}
	if b.halves, err = b.halfOpen(ctx); err != nil {
		return Blame{}, err
	}
	b.say("%s %d: of %d connections %d came about, %d were refused and %d got no answer; more than usual, the host dropped %d packets and sent %d resets",
		b.network, b.port, s.k.sent, s.k.open, s.k.refused, s.k.sent-s.k.open-s.k.refused-s.k.forbidden, max(0, s.d.dropped()), max(0, s.d.resets))
	if s.k.forbidden > 0 {
		b.say("%d times it came back that this is prohibited", s.k.forbidden)
	}
	return b.judge(ctx, s)
}

// halfOpen counts connections to the port that the host answered, and whose third
// packet it waits for. It does so for a minute.
func (b *tcpBlame) halfOpen(ctx context.Context) (int, error) {
	res, err := b.h.Query(ctx, host.Cmd{Argv: []string{"ss", "-Htn", "state", "syn-recv", "sport", "=", fmt.Sprintf(":%d", b.port)}, Timeout: requestTime})
	if err != nil {
		return 0, fmt.Errorf("look at connections of %s: %w", b.h.Name(), err)
	}
	return strings.Count(string(res[0].Stdout), "\n"), nil
}

// judge is the blame for what was seen. A SYN that gets no answer is sent again
// after a second, so that more may be dropped than there were attempts.
func (b *tcpBlame) judge(ctx context.Context, s seen) (Blame, error) {
	half := max(1, int64(s.k.sent)/2)
	listens := b.around.hears(false, b.addr, b.port)
	switch {
	case s.k.local != nil:
		b.say("this machine does not connect to %s: %s", b.addr, why(s.k.local))
		return b.is("laptop-network", LaptopSide)
	case s.k.open*2 >= s.k.sent:
		b.say("so the port is open from here")
		return b.is("media", HostSide)
	case s.d.dropped() >= half && s.usual.dropped() <= half:
		b.saysWhoListens(listens)
		b.said = append(b.said, rules(ctx, b.h, isV6(b.network), "tcp", b.port, func() int { return b.knock(ctx).sent })...)
		return b.is("firewall-tcp", HostSide)
	case b.halves*2 >= s.k.sent:
		b.say("the host answers, and waits for %d connections to go on: its answers do not get here", b.halves)
		// The kernel counts nowhere that netfilter dropped a SYN's answer, but a rule's counter does.
		if met, _, err := metRules(ctx, b.h, isV6(b.network), func() int { return b.knock(ctx).sent }); err == nil && len(met) > 0 {
			b.said = append(append(b.said, "its own netfilter drops them"), met...)
			return b.is("return-path", HostSide)
		}
		return b.is("return-path", WaySide)
	case s.d.resets >= half && !listens:
		b.saysWhoListens(listens)
		if s.k.refused == 0 {
			b.say("and what the host answers does not get here")
		}
		return b.is("not-listening", HostSide)
	case s.usual.dropped() > half:
		b.say("so much else is dropped on the host that its counters tell nothing here")
		return b.is("media", HostSide)
	}
	b.saysWhoListens(listens)
	return b.blocked(ctx, s)
}

// saysWhoListens tells who waits for connections at the port.
func (b *tcpBlame) saysWhoListens(hears bool) {
	all := b.around.at(false, b.port)
	switch {
	case hears:
		b.say("the host listens at %s", all[0])
	case len(all) > 0:
		b.say("the host listens at %s, not at %s", all[0], b.addr)
	default:
		b.say("nobody listens at port %d on the host", b.port)
	}
}

// blocked tells whether another host of the plan gets a connection where this
// machine gets none.
func (b *tcpBlame) blocked(ctx context.Context, s seen) (Blame, error) {
	if s.k.refused > 0 {
		b.say("what refuses connections is not the host, but something in front of it")
	} else {
		b.say("nothing of it was received by the host")
	}
	b.said = append(b.said, b.around.elsewhere(b.addr)...)
	for name, other := range b.t.Hosts {
		if other == nil || name == b.h.Name() {
			continue
		}
		short, cancel := context.WithTimeout(ctx, dialTime)
		c, err := other.DialContext(short, b.network, netip.AddrPortFrom(b.addr, uint16(b.port)).String())
		cancel()
		if err == nil {
			_ = c.Close() // nothing was said
			b.say("%s does get a connection: what blocks it is the network here, or a firewall in front of the host that lets in only that one", name)
			return b.is("blocked-tcp", WaySide)
		}
		b.say("%s gets no connection either", name)
		return b.is("blocked-tcp", WaySide)
	}
	b.say("from one place it is unknown whether the network here or a firewall in front of the host blocks it")
	return b.is("blocked-tcp", WaySide)
}
