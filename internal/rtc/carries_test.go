package rtc

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// What LiveKit tells clients decides whether media can ever come: a wrong verdict
// rolls back what works, or announces what does not.
func TestCandidates(t *testing.T) {
	const udp, tcp = "1 1 udp 2130706431 ADDR 50123 typ host ufrag x", "2 1 tcp 1671430143 ADDR 7881 typ host tcptype passive"
	at := func(addr string) []string {
		return []string{strings.Replace(udp, "ADDR", addr, 1), strings.Replace(tcp, "ADDR", addr, 1)}
	}
	for _, c := range []struct {
		name   string
		lines  []string
		nodeIP string
		dns    string
		code   Code
	}{
		{"the host's own", at("203.0.113.10"), "", "203.0.113.10", ""},
		{"1:1 NAT, by node_ip", at("198.51.100.1"), "198.51.100.1", "203.0.113.9", ""},
		{"1:1 NAT, by the name", at("198.51.100.1"), "", "198.51.100.1", ""},
		{"nobody's", at("198.51.100.7"), "203.0.113.10", "203.0.113.10", "wrong-address"},
		{"docker's", at("172.17.0.1"), "", "203.0.113.10", "bridge-candidate"},
		{"a network's of docker", at("172.18.0.1"), "", "203.0.113.10", "bridge-candidate"},
		{"private", at("10.0.0.5"), "", "203.0.113.10", "private-address"},
		{"private, as planned", at("10.0.0.5"), "10.0.0.5", "203.0.113.10", ""},
		{"private, and the name says so", at("10.0.0.5"), "", "10.0.0.5", ""},
		{"both families", append(at("203.0.113.10"), at("2001:db8::10")...), "203.0.113.10,2001:db8::10", "203.0.113.10", ""},
		{"another port", []string{strings.Replace(strings.Replace(udp, "ADDR", "203.0.113.10", 1), "50123", "60000", 1)}, "", "203.0.113.10", "port-outside"},
		{"another TCP port", []string{strings.Replace(strings.Replace(tcp, "ADDR", "203.0.113.10", 1), "7881", "7882", 1)}, "", "203.0.113.10", "port-outside"},
		{"none", nil, "", "203.0.113.10", "no-candidates"},
		{
			name: "words",
			lines: []string{
				"",
				"a b c",
				"1 1 udp 1 matrix.local 50100 typ host",
				"1 1 udp 1 203.0.113.10 99999 typ host",
				"1 1 udp 1 2001:db8::1%$(touch$IFS/x) 50100 typ host",
			},
			nodeIP: "",
			dns:    "203.0.113.10",
			code:   "no-candidates",
		},
		{"a relay somewhere else", append(at("203.0.113.10"), "3 1 udp 1 198.51.100.50 3478 typ relay"), "", "203.0.113.10", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sfu := Service{Host: "h", URL: "https://sfu.x.test", TCP: 7881, UDP: [2]int{50100, 50200}}
			if c.nodeIP != "" {
				sfu.Addresses = strings.Split(c.nodeIP, ",")
			}
			k := &verifier{Target: Target{Site: new(steps.Site), SFU: sfu}, links: map[string]Link{}, seen: map[string]*machine{"h": {addrs: []steps.HostAddr{
				{Dev: "eth0", IP: "203.0.113.10"},
				{Dev: "eth0", IP: "2001:db8::10"},
				{Dev: "eth1", IP: "10.0.0.5"},
				{Dev: "docker0", IP: "172.17.0.1"},
				{Dev: "br-1a2b", IP: "172.18.0.1"}}}}}
			k.names = []*name{{id: "sfu", host: "sfu.x.test", addrs: []netip.Addr{netip.MustParseAddr(c.dns)}}}
			got := k.candidates(c.lines)
			if got.code != c.code || (got.status == Failed) != (c.code != "") || c.code != "" && got.side != HostSide {
				t.Errorf("%+v, want %q", got, c.code)
			}
		})
	}
}

// Nothing that admits anybody is told, whoever said it.
func TestRedact(t *testing.T) {
	secret := func(s string) host.Secret { return host.NewSecret(s) }
	tgt := Target{
		Keys:   livekit.Pair{Key: secret("the-key"), Secret: secret("the-secret")},
		Issues: livekit.Pair{Key: secret("other-key"), Secret: secret("other-secret")},
	}
	jwt := tgt.Issues.Token("x", livekit.Grant{RoomJoin: true}, time.Now())
	for _, line := range []string{"invalid API key: the-key",
		"secret other-secret.",
		"GET /rtc?access_token=" + jwt + "&x=1",
		"invalid token: " + jwt,
		"cut: " + jwt[:60],
		`look up err="https://hs/_matrix/federation/v1/openid/userinfo?access_token=syt_abc": EOF`} {
		got := tgt.redact([]string{line})[0]
		for _, s := range []string{"the-key", "the-secret", "other-key", "other-secret", "eyJ", "syt_abc"} {
			if strings.Contains(got, s) {
				t.Errorf("%q tells %q", got, s)
			}
		}
	}
	if got := tgt.redact([]string{"HTTP 401 M_UNKNOWN_TOKEN at https://x.test/sfu/get"})[0]; got != "HTTP 401 M_UNKNOWN_TOKEN at https://x.test/sfu/get" {
		t.Errorf("%q", got)
	}
}

// Media that stops in the middle is lost, not missing from the count.
func TestFlowCountsWhatWasSent(t *testing.T) {
	const mark = 5
	ours := uint64(mark)<<32 | 7
	sent := &track{nonce: ours, next: 100}
	a := &arrival{kind: "audio", mark: mark, seen: map[uint64]bool{}}
	a.count(0xfffe000000000000, 0) // silence of the SFU's own, before the first audio
	for n := uint64(10); n < 40; n++ {
		a.count(ours, n)
		a.count(ours, n)   // a packet that came twice
		a.count(ours+1, n) // somebody else's
	}
	f, _ := a.flow(map[uint64]*track{ours: sent})
	if f.Sent != 90 || f.Packets != 30 || f.Lost != 60 {
		t.Errorf("%+v", f)
	}
	if r := flowing(Outcome{Flows: []Flow{f}}); r.status != Failed || r.code != "media-lost" {
		t.Errorf("%+v", r)
	}
	if f, _ := a.flow(map[uint64]*track{9: sent}); f.Packets != 0 {
		t.Errorf("a track that is not ours: %+v", f)
	}
}

func TestNoWebSocket(t *testing.T) {
	k := &verifier{names: []*name{{id: "sfu"}}}
	for status, want := range map[int]Code{404: "no-upgrade", 426: "no-upgrade", 401: "key-unknown", 502: "no-upgrade"} {
		if r := k.noWebSocket(t.Context(), &joinError{status: status, err: errors.New("x")}, ""); r.code != want || r.side != HostSide {
			t.Errorf("%d: %+v", status, r)
		}
	}
}
