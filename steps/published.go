package steps

import (
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
)

// PublishedPort is a port of the host that Docker leads into a container.
type PublishedPort struct {
	Container string
	Addr      string // on which the host listens
	Proto     string
	First     int
	Last      int
}

func (p PublishedPort) String() string {
	return fmt.Sprintf("port %s/%s of container %s", FormatRanges([]PortRange{{p.First, p.Last}}), p.Proto, p.Container)
}

// World reports whether others than the host itself can reach it.
func (p PublishedPort) World() bool {
	return !netaddr.Loopback(p.Addr)
}

// ParsePublished reads lines of `docker ps --format '{{.Names}}\t{{.Ports}}'`:
// "web	0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, 9000/tcp". A port that is
// published for IPv4 and IPv6 counts once.
func ParsePublished(s string) []PublishedPort {
	var out []PublishedPort
	seen := map[string]bool{}
	for line := range strings.Lines(s) {
		name, ports, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for text := range strings.SplitSeq(ports, ", ") {
			at, to, ok := strings.Cut(text, "->")
			i := strings.LastIndexByte(at, ':')
			if !ok || i < 0 {
				continue
			}
			r := ParseRanges(at[i+1:])
			_, proto, _ := strings.Cut(to, "/")
			if len(r) != 1 {
				continue
			}
			p := PublishedPort{name, strings.Trim(at[:i], "[]"), proto, r[0].First, r[0].Last}
			if key := fmt.Sprint(p.String(), p.World()); !seen[key] {
				seen[key] = true
				out = append(out, p)
			}
		}
	}
	return out
}
