package rtc

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// listener is a socket of a host that waits for packets or connections.
type listener struct {
	udp  bool
	addr netip.Addr // unspecified for all of the host's addresses
	any  bool       // of both IP versions
	port int
}

// at reports whether who sends to addr and port meets the listener.
func (l listener) at(addr netip.Addr, port int) bool {
	return l.port == port && (l.any || l.addr == addr || l.addr.IsUnspecified() && l.addr.Is4() == addr.Is4())
}

func (l listener) String() string {
	if l.any {
		return "*:" + strconv.Itoa(l.port)
	}
	return netip.AddrPortFrom(l.addr, uint16(l.port)).String()
}

// surroundings are a host's addresses and who listens there.
type surroundings struct {
	own     []netip.Addr
	listens []listener
}

// lookAround asks iproute2, which every Debian has.
func lookAround(ctx context.Context, h host.Observer) (surroundings, error) {
	var s surroundings
	addrs, err := steps.Addresses(ctx, h)
	if err != nil {
		return s, fmt.Errorf("look at addresses of %s: %w", h.Name(), err)
	}
	for _, a := range addrs {
		if ip, err := netip.ParseAddr(a.IP); err == nil {
			s.own = append(s.own, ip)
		}
	}
	res, err := h.Query(ctx, host.Cmd{Argv: []string{"ss", "-Hlntu"}, Timeout: requestTime})
	if err != nil {
		return s, fmt.Errorf("look who listens on %s: %w", h.Name(), err)
	}
	s.listens = parseListeners(string(res[0].Stdout))
	return s, nil
}

// parseListeners reads `ss -Hlntu`: PROTOCOL STATE N N ADDRESS:PORT PEER.
func parseListeners(text string) []listener {
	var out []listener
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		at := strings.LastIndexByte(f[4], ':')
		port, err := strconv.ParseUint(f[4][at+1:], 10, 16)
		if at < 0 || err != nil {
			continue
		}
		l := listener{udp: f[0] == "udp", port: int(port)}
		ip, _, _ := strings.Cut(strings.NewReplacer("[", "", "]", "").Replace(f[4][:at]), "%")
		if l.addr, err = netip.ParseAddr(ip); err != nil {
			l.any = true // "*"
		}
		out = append(out, l)
	}
	return out
}

// at are the listeners of a port, at whichever address.
func (s surroundings) at(udp bool, port int) []listener {
	var out []listener
	for _, l := range s.listens {
		if l.udp == udp && l.port == port {
			out = append(out, l)
		}
	}
	return out
}

// hears reports whether somebody listens at addr and port.
func (s surroundings) hears(udp bool, addr netip.Addr, port int) bool {
	return slices.ContainsFunc(s.at(udp, port), func(l listener) bool { return l.at(addr, port) })
}

// elsewhere are words where addr is not one of the host's own.
func (s surroundings) elsewhere(addr netip.Addr) []string {
	if len(s.own) == 0 || slices.Contains(s.own, addr) {
		return nil
	}
	return []string{fmt.Sprintf("%s is not one of the host's own addresses: either there is address translation (NAT) in "+
		"front of it, which then has to pass these ports on to the host, or the address is wrong",
		addr)}
}

// freePorts are up to want ports, spread over first to last, where nobody listens.
func (s surroundings) freePorts(first, last, want int) []int {
	var out []int
	for i := range want {
		p := first
		if want > 1 {
			p += (last - first) * i / (want - 1)
		}
		step := 1
		if p == last {
			step = -1
		}
		for p >= first && p <= last && (len(s.at(true, p)) > 0 || slices.Contains(out, p)) {
			p += step
		}
		if p >= first && p <= last {
			out = append(out, p)
		}
	}
	return out
}
