package steps

import (
	"context"
	"net/netip"
	"regexp"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// HostAddr is an address of a host and the interface that holds it.
type HostAddr struct {
	Dev string
	IP  string
}

// The host's addresses, its address towards the internet (TEST-NET-1 stands
// for it; nothing is sent) and its architecture in Docker's words.
var (
	QueryAddrs = host.Cmd{Argv: []string{"ip", "-o", "addr", "show", "up"}}
	QueryRoute = host.Cmd{Argv: []string{"ip", "-o", "route", "get", "192.0.2.1"}}
	QueryArch  = host.Cmd{Argv: []string{"uname", "-m"}}
)

// ProcName finds the name and the number of a process in what ss -p prints.
var ProcName = regexp.MustCompile(`\("([^"]*)",pid=(\d+)`)

// ParseAddrs reads "2: eth0    inet 10.0.0.2/24 brd ...".
func ParseAddrs(r host.Result) []HostAddr {
	var out []HostAddr
	for line := range strings.Lines(string(r.Stdout)) {
		f := strings.Fields(line)
		if len(f) < 4 || f[2] != "inet" && f[2] != "inet6" {
			continue
		}
		p, err := netip.ParsePrefix(f[3])
		if err != nil {
			continue
		}
		dev, _, _ := strings.Cut(f[1], "@")
		out = append(out, HostAddr{dev, p.Addr().String()})
	}
	return out
}

// ParseRoute reads "192.0.2.1 via 10.0.0.1 dev eth0 src 10.0.0.2 uid 0".
func ParseRoute(r host.Result) HostAddr {
	if !r.OK() {
		return HostAddr{}
	}
	var a HostAddr
	f := strings.Fields(string(r.Stdout))
	for i := 0; i+1 < len(f); i++ {
		switch f[i] {
		case "dev":
			a.Dev = f[i+1]
		case "src":
			// It may go into the firewall of another host: an address, and no
			// word like "any".
			if ip, err := netip.ParseAddr(f[i+1]); err == nil && !ip.IsUnspecified() && ip.Zone() == "" {
				a.IP = ip.String()
			}
		}
	}
	return a
}

// ParseArch is the architecture in Docker's words ("amd64") of what `uname -m` said.
func ParseArch(r host.Result) string {
	switch m := strings.TrimSpace(string(r.Stdout)); m {
	case "x86_64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "armv7l":
		return "arm"
	default:
		return m
	}
}

// Addresses are all addresses of a host that are up, loopback among them.
func Addresses(ctx context.Context, o host.Observer) ([]HostAddr, error) {
	res, err := o.Query(ctx, QueryAddrs)
	if err != nil {
		return nil, err
	}
	return ParseAddrs(res[0]), nil
}
