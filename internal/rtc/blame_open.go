package rtc

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// open is the blame where the host lets all in: then it is LiveKit, or the way
// back. What the kernel answers where nobody listens (ICMP "port unreachable", of
// which Linux sends six at once and then one a second to one address) shows the
// way back without any helper.
func (b *udpBlame) open(ctx context.Context, all []seen) (Blame, error) {
	var refused int
	var sent, outDropped int64
	for _, s := range all {
		refused, sent, outDropped = refused+s.k.refused, sent+s.d.unreachable, outDropped+s.d.outDropped
	}
	b.say("the host's firewall lets UDP in")
	if signal := b.t.SFU.Signalling; len(b.around.at(false, signal)) == 0 && signal != 0 {
		b.say("nobody listens on LiveKit's port %d either: LiveKit does not run there", signal)
		return b.is("not-listening", HostSide)
	}
	switch {
	case refused > 0:
		b.say("and what it answers arrives here: %d ICMP refusals of ports where nobody listens, which is usual for ports without a call", refused)
		return b.echoed(ctx, Blame{"media", HostSide, nil})
	case outDropped*2 >= sent+outDropped && outDropped >= 3:
		b.say("its own netfilter drops what it answers: %d packets more than usual that it wanted to send (iptables -S OUTPUT, nft list ruleset)", outDropped)
		return b.echoed(ctx, Blame{"return-path", HostSide, nil})
	case sent >= 3:
		b.say("it sent %d ICMP refusals, and none arrived here; some firewalls drop only ICMP, so this is a hint and no proof", sent)
		return b.echoed(ctx, Blame{"return-path", WaySide, nil})
	}
	b.say("it does not say that nobody listens there, so the way back was not seen")
	return b.echoed(ctx, Blame{"media", HostSide, nil})
}

// echoed is blame as far as an echo on the host's ports does not know better.
func (b *udpBlame) echoed(ctx context.Context, blame Blame) (Blame, error) {
	if !b.t.Helper {
		b.say("an echo on the host's own ports would show the way back, too; a helper there was not allowed")
		return b.is(blame.Code, blame.Side)
	}
	ports, err := b.t.echoOn(ctx, b.network, b.addr)
	if err != nil {
		b.say("no echo on the host's own ports: %s", host.Said(err.Error(), 3))
	}
	var arrived, replied, back int
	for _, p := range ports {
		b.say("echo: %s", p)
		if !p.tcp {
			arrived, replied, back = arrived+p.arrived, replied+p.replied, back+p.back
		}
	}
	switch {
	case arrived == 0: // it knows nothing better
	case back*2 >= arrived:
		b.say("so the way is open in both directions")
		return b.is("media", HostSide)
	case replied*2 < arrived:
		b.say("so the host itself does not send the answers: its netfilter drops what goes out (iptables -S OUTPUT, nft list ruleset)")
		return b.is("return-path", HostSide)
	default:
		b.say("so the host's answers are dropped between there and here")
		return b.is("return-path", WaySide)
	}
	return b.is(blame.Code, blame.Side)
}
