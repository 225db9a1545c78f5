package rtc

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Blame is who keeps packets from arriving.
type Blame struct {
	Code     Code
	Side     Side
	Evidence []string
}

// blameTime bounds all of one blame. It is some twenty round trips, a third of a
// second of knocking at each of up to twenty ports, and the helper.
const blameTime = 45 * time.Second

// fate is what became of the packets to one port.
type fate string

const (
	fateLetIn     fate = "let in"  // by the host's firewall; nobody listens there
	fateDropped   fate = "dropped" // by the host
	fateMisrouted fate = "dropped as they came on an interface that answers would not leave by (rp_filter)"
	fateForeign   fate = "dropped as the address is not one of the host's"
	fateForwarded fate = "sent on to elsewhere by the host" // a container, or another machine
	fateLost      fate = "never received"
	fateUnsent    fate = "not sent"
	fateUnclear   fate = "not told apart from other traffic"
)

// seen is what became of knocking at one port, from here and by the host's counters.
type seen struct {
	port  int
	k     knocked
	d     netCounters // what was counted, without what is counted anyway
	usual netCounters // what is counted anyway in as long a time
}

// fate wants half of what was sent in a counter that hardly moves otherwise. A
// counter that moves by a quarter of it anyway tells nothing.
func (s seen) fate() fate {
	half := max(1, int64(s.k.sent)/2)
	quiet := func(n int64) bool { return n <= half/2 }
	switch {
	case s.k.local != nil || s.k.sent == 0:
		return fateUnsent
	case s.d.noPorts >= half && quiet(s.usual.noPorts):
		return fateLetIn
	case s.d.noRoute >= half && quiet(s.usual.noRoute):
		return fateForeign
	case s.d.reversePath >= half && quiet(s.usual.reversePath):
		return fateMisrouted
	case s.d.forwarded >= half && quiet(s.usual.forwarded):
		return fateForwarded
	case !quiet(s.usual.dropped()) || !quiet(s.usual.noPorts):
		return fateUnclear
	case s.d.dropped() >= half:
		return fateDropped
	}
	return fateLost
}

// arrived reports whether the packets came as far as the host. Where somebody
// listens, only the sum of all that came in shows it, on a host without calls.
func (s seen) arrived() bool {
	switch s.fate() {
	case fateUnsent, fateUnclear:
		return false
	case fateLost:
		return s.d.received*10 >= int64(s.k.sent)*7 && s.usual.received <= int64(s.k.sent)
	}
	return true
}

// watch looks at a host's counters between one knock and the next.
type watch struct {
	h     host.Observer
	v6    bool
	usual netCounters // of a time without knocks
	took  time.Duration
	last  netCounters
}

// quietUDP is as long as a knock over UDP takes.
const quietUDP = knocks*knockEvery + knockWait

// newWatch sees what is counted while nobody knocks, for as long as a knock takes: a
// host on the internet drops something every second.
func newWatch(ctx context.Context, h host.Observer, v6 bool, quiet time.Duration) (*watch, error) {
	first, err := counters(ctx, h, v6)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(quiet):
	}
	w := &watch{h: h, v6: v6}
	if w.last, err = counters(ctx, h, v6); err != nil {
		return nil, err
	}
	w.usual, w.took = w.last.since(first), w.last.at.Sub(first.at)
	return w, nil
}

// during is what is counted while do knocks at a port.
func (w *watch) during(ctx context.Context, port int, do func() knocked) (seen, error) {
	before := w.last
	k := do()
	var err error
	if w.last, err = counters(ctx, w.h, w.v6); err != nil {
		return seen{}, err
	}
	usual := w.usual.scaled(float64(w.last.at.Sub(before.at)) / float64(w.took))
	return seen{port, k, w.last.since(before).since(usual), usual}, nil
}

// byFate are the ports of each fate.
func byFate(all []seen) map[fate][]seen {
	out := map[fate][]seen{}
	for _, s := range all {
		out[s.fate()] = append(out[s.fate()], s)
	}
	return out
}

// tell is one line on ports that had the same fate.
func tell(network string, of []seen) string {
	var ports []string
	var d netCounters
	var k knocked
	for _, s := range of {
		ports = append(ports, strconv.Itoa(s.port))
		d = d.since(netCounters{}.since(s.d))
		k.sent, k.refused, k.forbidden, k.open = k.sent+s.k.sent, k.refused+s.k.refused, k.forbidden+s.k.forbidden, k.open+s.k.open
	}
	text := fmt.Sprintf("%s %s: %d packets sent to there, %s: more than usual, the host received %d, dropped %d and let in %d for ports where nobody listens",
		network, strings.Join(ports, ", "), k.sent, of[0].fate(), max(0, d.received), max(0, d.dropped()), max(0, d.noPorts))
	if k.refused > 0 {
		text += fmt.Sprintf("; %d refusals came back", k.refused)
	}
	if k.forbidden > 0 {
		text += fmt.Sprintf("; %d times it came back that this is prohibited", k.forbidden)
	}
	return text
}

// cannotLook is the blame where the host could not be asked.
func cannotLook(err error) Blame {
	return Blame{"media", HostSide, []string{"what is blocking it could not be looked for: " + host.Said(err.Error(), 3)}}
}

// isV6 reports whether a network is one of IPv6.
func isV6(network string) bool { return strings.HasSuffix(network, "6") }

// blameUDP tells why media over UDP ("udp4" or "udp6") does not come to the SFU at
// addr. It sends datagrams to ports of the range where nobody listens, and looks
// which of the host's counters they move.
func (t Target) blameUDP(ctx context.Context, network string, addr netip.Addr) Blame {
	ctx, cancel := context.WithTimeout(ctx, blameTime)
	defer cancel()
	b := &udpBlame{t: t, h: t.Hosts[t.SFU.Host], network: network, addr: addr}
	if b.h == nil {
		return Blame{"media", HostSide, []string{"there is no connection to the SFU's host, so nobody can look there"}}
	}
	blame, err := b.find(ctx)
	if err != nil {
		return cannotLook(err)
	}
	return blame
}
