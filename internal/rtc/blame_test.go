package rtc

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// moment is of a Debian 13 host, Linux 6.18, shortened.
const moment = `Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards
Ip: 1 64 1032 0 3 4 0 0 900 33 5
Icmp: InMsgs InErrors OutMsgs OutDestUnreachs
Icmp: 0 0 9 7
Tcp: RtoAlgorithm RtoMin OutRsts
Tcp: 1 200 12
Udp: InDatagrams NoPorts InErrors OutDatagrams
Udp: 10 600 0 0
TcpExt: SyncookiesSent IPReversePathFilter
TcpExt: 0 2

Ip6InReceives                   	130
Ip6InAddrErrors                 	1
Ip6OutForwDatagrams             	2
Ip6InDelivers                   	100
Ip6OutDiscards                  	3
Icmp6OutDestUnreachs            	4
Udp6NoPorts                     	55
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    7080     100    0    0    0     0          0         0     7080     100    0    0    0     0       0          0
  eth0: 9999999    4321    0    0    0     0          0         0     7080     100    0    0    0     0       0          0
veth12: 9999999    8888    0    0    0     0          0         0     7080     100    0    0    0     0       0          0
`

func TestParseCounters(t *testing.T) {
	for v6, want := range map[bool]netCounters{
		false: {received: 1032, delivered: 900, forwarded: 4, noRoute: 3, reversePath: 2, noPorts: 600, unreachable: 7, outDropped: 5, resets: 12, link: 4321},
		true:  {received: 130, delivered: 100, forwarded: 2, noRoute: 1, noPorts: 55, unreachable: 4, outDropped: 3, resets: 12, link: 4321},
	} {
		got, err := parseCounters(moment, v6)
		if err != nil {
			t.Fatal(err)
		}
		want.at = got.at
		if got != want {
			t.Errorf("IPv6 %t: %+v, want %+v", v6, got, want)
		}
	}
	for _, bad := range []string{"", "sh: cat: not found", "Ip: InReceives\n", "Ip: A B\nIp: 1\n", ":\n: :\n"} {
		if c, err := parseCounters(bad, false); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
}

func TestFate(t *testing.T) {
	sixty := knocked{sent: 60}
	for name, tt := range map[string]struct {
		s    seen
		want fate
	}{
		"dropped":                    {seen{k: sixty, d: netCounters{received: 61, delivered: 1}}, fateDropped},
		"let in":                     {seen{k: sixty, d: netCounters{received: 61, delivered: 61, noPorts: 60}}, fateLetIn},
		"half are lost on the way":   {seen{k: sixty, d: netCounters{received: 30, delivered: 30, noPorts: 30}}, fateLetIn},
		"never there":                {seen{k: sixty, d: netCounters{received: 3, delivered: 3}}, fateLost},
		"never there, next to calls": {seen{k: sixty, d: netCounters{received: 900, delivered: 900}, usual: netCounters{received: 8000, delivered: 8000}}, fateLost},
		"dropped, next to calls":     {seen{k: sixty, d: netCounters{received: 900, delivered: 841}, usual: netCounters{received: 8000, delivered: 7998}}, fateDropped},
		"a flood is dropped":         {seen{k: sixty, d: netCounters{received: 60}, usual: netCounters{received: 500}}, fateUnclear},
		"let in, next to a flood":    {seen{k: sixty, d: netCounters{noPorts: 60}, usual: netCounters{received: 500}}, fateLetIn},
		"to a container":             {seen{k: sixty, d: netCounters{received: 60, forwarded: 60}}, fateForwarded},
		"address of nobody":          {seen{k: sixty, d: netCounters{received: 60, noRoute: 60}}, fateForeign},
		"reverse path":               {seen{k: sixty, d: netCounters{received: 60, reversePath: 60}}, fateMisrouted},
		"not sent":                   {seen{}, fateUnsent},
	} {
		if got := tt.s.fate(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestSurroundings(t *testing.T) {
	s := surroundings{listens: parseListeners(`udp   UNCONN 0      0            0.0.0.0:50100      0.0.0.0:*
udp   UNCONN 0      0      127.0.0.53%lo:53          0.0.0.0:*
tcp   LISTEN 0      128        10.0.0.2:7881       0.0.0.0:*
tcp   LISTEN 0      128               *:80               *:*
tcp   LISTEN 0      128            [::]:22            [::]:*
nonsense
tcp LISTEN 0 1 nonsense x
`)}
	addr := netip.MustParseAddr("10.0.0.2")
	for _, tt := range []struct {
		udp  bool
		addr string
		port int
		want bool
	}{
		{true, "10.0.0.2", 50100, true}, {true, "::1", 50100, false}, {true, "10.0.0.2", 53, false}, {false, "10.0.0.2", 50100, false},
		{false, "10.0.0.2", 7881, true}, {false, "10.0.0.3", 7881, false}, {false, "10.0.0.2", 80, true}, {false, "fd00::1", 80, true}, {false, "fd00::1", 22, true},
	} {
		if got := s.hears(tt.udp, netip.MustParseAddr(tt.addr), tt.port); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	if diff := cmp.Diff([]int{50101, 50125, 50150, 50175, 50200}, s.freePorts(50100, 50200, 5)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{50101, 50102}, s.freePorts(50100, 50102, 5)); diff != "" {
		t.Error(diff)
	}
	if got := s.freePorts(50100, 50100, 5); len(got) != 0 {
		t.Error(got)
	}
	s.own = []netip.Addr{addr}
	if s.elsewhere(addr) != nil || s.elsewhere(netip.MustParseAddr("10.0.0.9")) == nil {
		t.Error("whose address it is")
	}
}

const bookBefore = `== ufw
Status: active
Default: deny (incoming), allow (outgoing), disabled (routed)
22/tcp                     ALLOW IN    Anywhere
50000:50110/udp            DENY IN     Anywhere                   # no media
7881 on eth0               LIMIT IN    Anywhere
== firewalld
inactive
== iptables
*filter
:INPUT DROP [0:0]
:FORWARD DROP [7:7]
[1:60] -A ufw-user-input -p udp -m multiport --dports 50000:50110 -j DROP

== nft
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
		udp dport 50000-50110 counter packets 1 bytes 60 drop
table inet mine {
	chain early {
		type filter hook prerouting priority raw; policy accept;
		udp dport { 443, 50100-50200 } drop
		tcp dport 50100-50200 drop
		meta mark 7 drop
	chain out {
		type filter hook output priority filter; policy drop;
		ip daddr 1.2.3.4 drop
`

func TestRules(t *testing.T) {
	book := func(text string) ruleBook { return parseRules(text, "iptables") }
	before := book(bookBefore)
	guilty := func(text, proto string, port int) string {
		return strings.Join(book(text).guilty(book(text).met(before, 60), proto, port), "\n")
	}
	for name, tt := range map[string]struct {
		after, proto string
		port         int
		want         []string
		not          []string
	}{
		"policy": {strings.Replace(bookBefore, "INPUT DROP [0:0]", "INPUT DROP [60:99]", 1), "udp", 50150,
			[]string{"iptables: the default policy of INPUT is DROP (60 of 60 packets met this rule)", "none of its rules is for 50150/udp", "deny (incoming)"}, []string{"nft"}},
		"rule": {strings.Replace(strings.Replace(bookBefore, "[1:60]", "[61:999]", 1), "packets 1 bytes", "packets 61 bytes", 1), "udp", 50100,
			[]string{"iptables: ufw-user-input -p udp -m multiport --dports 50000:50110 -j DROP (60 of 60", "its rule 50000:50110/udp DENY IN Anywhere # no media"}, []string{"nft", "INPUT"}},
		"no counter": {bookBefore, "udp", 50150, []string{"nft: inet mine early: udp dport { 443, 50100-50200 } drop (it has no counter", "nft: inet mine early: meta mark 7 drop"}, []string{"tcp dport", "policy", "1.2.3.4"}},
		"tcp":        {bookBefore, "tcp", 7881, []string{"its rule 7881 on eth0 LIMIT IN"}, []string{"dport"}},
	} {
		got := guilty(tt.after, tt.proto, tt.port)
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", name, w, got)
			}
		}
		for _, w := range tt.not {
			if strings.Contains(got, w) {
				t.Errorf("%s: %q in\n%s", name, w, got)
			}
		}
	}
	nothing := parseRules("== ufw\n== firewalld\nactive\n== iptables\n\n== nft\n", "iptables")
	if got := nothing.guilty(nil, "udp", 1); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "firewalld runs") }) {
		t.Error(got)
	}
}
