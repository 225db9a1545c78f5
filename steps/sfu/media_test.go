package sfu

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/steps"
)

// Each address of node_ip has its interface among those that media uses: the
// one that holds it, else the default route's.
func TestMediaInterfaces(t *testing.T) {
	f := facts{
		addrs: []steps.HostAddr{{Dev: "eth0", IP: "10.0.0.5"}, {Dev: "eth1", IP: "2001:db8::7"}, {Dev: "docker0", IP: "172.17.0.1"}},
		route: steps.HostAddr{Dev: "eth0", IP: "10.0.0.5"},
	}
	for _, c := range []struct {
		name string
		sfu  Config
		want []string
	}{
		{"IPv4 behind 1:1 NAT, IPv6 without", Config{NodeIP: "198.51.100.7,2001:db8::7"}, []string{"eth0", "eth1"}},
		{"both behind NAT", Config{NodeIP: "198.51.100.7,2001:db8::8"}, []string{"eth0"}},
		{"IPv6 alone", Config{NodeIP: "2001:db8::7"}, []string{"eth1"}},
		{"asked from STUN servers", Config{ExternalIP: true}, []string{"eth0"}},
		{"named", Config{NodeIP: "198.51.100.7,2001:db8::7", Interfaces: []string{"wg0"}}, []string{"wg0"}},
	} {
		_, got, findings := c.sfu.media(f)
		if d := cmp.Diff(c.want, got); d != "" || len(findings) > 0 {
			t.Errorf("%s: %s %v", c.name, d, findings)
		}
	}
}
