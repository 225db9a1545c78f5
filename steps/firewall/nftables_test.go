package firewall

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// recordedNFT is what a real nft said of testdata/nftables.nft.
func recordedNFT(t *testing.T) nftRuleset {
	t.Helper()
	b, err := os.ReadFile("testdata/nftables.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseNFT(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// name is an effect in one word, and the rule that it is due to.
func (e nftEffect) name() string {
	switch {
	case e.lost:
		return "lost"
	case e.closed != nil:
		return "closed by " + e.closed.String()
	case e.limited != nil && e.open():
		return "open but for " + e.limited.String()
	case e.limited != nil:
		return "limited by " + e.limited.String()
	case e.queued != nil:
		return "unknown: " + e.queued.String()
	case e.open():
		return "open"
	case len(e.dropped) == 0:
		return "unknown: " + e.unknown.String()
	}
	return "dropped"
}

// nftEffectCase is what a table's chain does with packets.
type nftEffectCase struct {
	table string // with "6" in front for packets over IPv6
	open  Opening
	want  string
}

func nftEffectCases() []nftEffectCase {
	return []nftEffectCase{
		{"policy_drop", Opening{"tcp", 22, 22, ""}, "open"},
		{"policy_drop", Opening{"tcp", 7881, 7881, ""}, "dropped"},
		{"policy_drop", Opening{"udp", 443, 443, ""}, "dropped"},
		{"policy_accept", Opening{"tcp", 7881, 7881, ""}, "open"},
		{"policy_accept", Opening{"tcp", 25, 25, ""}, `closed by "tcp dport 25 drop" (handle 3)`},
		{"final_drop", Opening{"tcp", 22, 22, ""}, "open"},
		{"final_drop", Opening{"tcp", 7881, 7881, ""}, "dropped"}, // what is left over, not a choice about this port
		{"6final_reject", Opening{"udp", 7881, 7881, ""}, "dropped"},

		{"ranges", Opening{"udp", 50100, 50200, ""}, "open"}, // by two rules together
		{"ranges", Opening{"udp", 50100, 50301, ""}, "dropped"},
		{"ranges", Opening{"tcp", 50100, 50200, ""}, "dropped"},
		{"6ranges", Opening{"tcp", 53, 53, ""}, "open"},
		{"ranges", Opening{"tcp", 60001, 60100, ""}, "open"},
		{"ranges", Opening{"tcp", 60000, 60100, ""}, "dropped"},
		{"ranges", Opening{"udp", 60001, 60001, ""}, "dropped"},

		{"named", Opening{"tcp", 7881, 7881, ""}, "open"},
		{"named", Opening{"tcp", 8100, 8200, ""}, "open"},
		{"named", Opening{"udp", 7881, 7881, ""}, "dropped"},
		{"named", Opening{"tcp", 7000, 7010, ""}, "open"}, // protocol and port together
		{"named", Opening{"udp", 7000, 7010, ""}, "dropped"},
		{"named", Opening{"udp", 5000, 5000, ""}, "open"},
		{"named", Opening{"tcp", 9999, 9999, ""}, "dropped"}, // in a set that packets fill
		{"named", Opening{"tcp", 100, 100, ""}, "open"},
		{"named", Opening{"tcp", 101, 101, ""}, `closed by "tcp dport vmap @verdicts" (handle 10)`},

		{"closed", Opening{"tcp", 7881, 7881, ""}, `closed by "tcp dport 7881 drop" (handle 2)`},
		{"closed", Opening{"tcp", 7880, 7880, ""}, "open"},
		{"closed", Opening{"udp", 50100, 50200, ""}, `closed by "udp dport { 50100-50120, 60000 } counter reject" (handle 4)`},
		{"closed", Opening{"udp", 50130, 50200, ""}, "open"},

		{"jumps", Opening{"tcp", 11, 11, ""}, `closed by "drop" (handle 17)`},
		{"jumps", Opening{"tcp", 12, 12, ""}, "open"}, // came back before the drop
		{"jumps", Opening{"tcp", 13, 13, ""}, "open"},
		{"jumps", Opening{"tcp", 14, 14, ""}, "dropped"}, // goto does not come back
		{"jumps", Opening{"tcp", 15, 16, ""}, "open"},
		{"jumps", Opening{"tcp", 17, 17, ""}, "open"},
		{"jumps", Opening{"udp", 17, 17, ""}, "dropped"},

		{"restricted", Opening{"tcp", 1, 1, ""}, "dropped"},
		{"restricted", Opening{"tcp", 2, 2, ""}, "dropped"},
		{"restricted", Opening{"tcp", 2, 2, "10.0.0.7"}, "open"},
		{"restricted", Opening{"tcp", 2, 2, "192.0.2.7"}, "dropped"},
		{"restricted", Opening{"tcp", 2, 2, "10.9.0.0/16"}, "open"},
		{"restricted", Opening{"tcp", 2, 2, "8.0.0.0/6"}, "dropped"}, // only partly in it
		{"restricted", Opening{"tcp", 3, 3, ""}, "dropped"},
		{"restricted", Opening{"tcp", 4, 4, ""}, "dropped"},
		{"restricted", Opening{"tcp", 5, 5, ""}, "dropped"},
		{"restricted", Opening{"tcp", 6, 6, ""}, "dropped"},
		{"restricted", Opening{"tcp", 7, 7, ""}, "open"},
		{"restricted", Opening{"tcp", 8, 8, ""}, "dropped"},
		{"restricted", Opening{"tcp", 9, 9, ""}, "open"}, // others never come in by lo
		{"restricted", Opening{"tcp", 10, 10, ""}, "open"},
		{"6restricted", Opening{"tcp", 10, 10, ""}, "dropped"},
		{"restricted", Opening{"tcp", 11, 11, ""}, "open"},
		{"6restricted", Opening{"tcp", 11, 11, ""}, "dropped"},
		{"6restricted", Opening{"tcp", 12, 12, ""}, "open"},
		{"restricted", Opening{"tcp", 12, 12, ""}, "dropped"},
		{"restricted", Opening{"tcp", 14, 14, ""}, "open"},
		{"restricted", Opening{"tcp", 15, 15, ""}, "dropped"},

		{"conditional", Opening{"tcp", 7881, 7881, ""}, "open"}, // but for who is banned
		{"conditional", Opening{"tcp", 22, 22, ""}, `open but for "tcp dport 22 ct count drop" (handle 6)`},
		{"conditional", Opening{"tcp", 23, 23, ""}, `open but for "ip saddr 192.0.2.0/24 tcp dport 23 drop" (handle 7)`},
		{"conditional", Opening{"tcp", 23, 23, "192.0.2.9"}, `closed by "ip saddr 192.0.2.0/24 tcp dport 23 drop" (handle 7)`},
		{"conditional", Opening{"tcp", 23, 23, "198.51.100.9"}, "open"},
		{"conditional", Opening{"tcp", 24, 24, ""}, `open but for "tcp dport 24 queue" (handle 8)`},
		{"by_interface", Opening{"tcp", 22, 22, ""}, "open"},
		{"by_interface", Opening{"tcp", 23, 23, ""}, `unknown: "drop" (handle 6)`},
		{"queued", Opening{"tcp", 22, 22, ""}, "open"},
		{"queued", Opening{"tcp", 23, 23, ""}, `unknown: "queue" (handle 3)`},
		{"no_ipv6", Opening{"tcp", 22, 22, ""}, "open"},
		{"6no_ipv6", Opening{"tcp", 22, 22, ""}, `closed by "meta nfproto ipv6 drop" (handle 2)`},
		{"6only6", Opening{"tcp", 23, 23, ""}, "dropped"},
		{"gone_to", Opening{"tcp", 7880, 7880, "10.0.0.7"}, "open"},
		{"gone_to", Opening{"tcp", 7880, 7880, "10.1.2.3"}, "open"},
		{"gone_to", Opening{"tcp", 7880, 7880, "10.2.0.5"}, "open"},
		{"gone_to", Opening{"tcp", 7880, 7880, "10.2.0.10"}, "dropped"},
		{"gone_to", Opening{"tcp", 7880, 7880, "192.0.2.1"}, `closed by "ip saddr != 10.0.0.0/8 tcp dport 7880 drop" (handle 2)`},
		{"early", Opening{"tcp", 7881, 7881, ""}, `closed by "tcp dport 7881 drop" (handle 2)`},
	}
}

func TestNFTEffect(t *testing.T) {
	r := recordedNFT(t)
	for _, c := range nftEffectCases() {
		table, v6 := strings.CutPrefix(c.table, "6")
		from, err := parseFrom(c.open.From)
		if err != nil {
			t.Fatal(err)
		}
		work := nftWork
		var got string
		for _, chain := range r.filters() {
			if chain.Table == table {
				got = r.effectOf(chain, nftPackets{IPv6: v6, Proto: c.open.Proto, From: from}, []steps.PortRange{{First: c.open.First, Last: c.open.Last}}, &work).name()
			}
		}
		if got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.table, c.open, got, c.want)
		}
	}
}

func TestNFTIgnoresWhatIsSwitchedOff(t *testing.T) {
	for _, c := range recordedNFT(t).filters() {
		if c.Table == "switched_off" {
			t.Error("a dormant table filters nothing")
		}
	}
}

func TestLastAddr(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.255.255.255", "192.0.2.7/32": "192.0.2.7", "0.0.0.0/0": "255.255.255.255", "2001:db8::/127": "2001:db8::1",
	} {
		if got := lastAddr(netip.MustParsePrefix(in)).String(); got != want {
			t.Errorf("the last address of %s is %s, want %s", in, got, want)
		}
	}
}

// A rule of ours is known again from what nft says of it, and somebody's change to
// it makes it theirs.
func TestNFTOwnRule(t *testing.T) {
	chain := &nftChain{Family: "inet", Table: "filter", Name: "input"}
	port := nftMatchJSON("tcp", "dport", "7881")
	one := nftMatchJSON("tcp", "dport", "1")
	const accept = `,{"accept":null}`
	for _, c := range []struct{ expr, want string }{
		{port + accept, `tcp dport 7881 accept comment "c"`},
		{nftAcceptJSON("udp", `{"range":[1,2]}`), `udp dport 1-2 accept comment "c"`},
		{`{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv4"}},` + one + accept, `meta nfproto ipv4 tcp dport 1 accept comment "c"`},
		{nftMatchJSON("ip", "saddr", `"10.0.0.7"`) + "," + one + accept, `ip saddr 10.0.0.7 tcp dport 1 accept comment "c"`},
		{nftMatchJSON("ip6", "saddr", `{"prefix":{"addr":"fd00::","len":8}}`) + "," + one + accept, `ip6 saddr fd00::/8 tcp dport 1 accept comment "c"`},
		{port + `,{"drop":null}`, ""},
		{strings.Replace(port, "==", "!=", 1) + accept, ""},
		{`{"counter":{}},` + port + accept, ""},
		{`{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}},` + port + accept, ""},
		{`{"accept":null}`, ""},
		{``, ""},
	} {
		r, err := parseNFT([]byte(nftChainJSON("inet", "filter", "input", "drop", c.expr)))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if own, ok := parseOwn(chain, r.chains[0].Rules[0]); ok {
			got = strings.TrimPrefix(own.line("c"), "inet filter input ")
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.expr, got, c.want)
		}
	}
}

func TestNFTCommentFits(t *testing.T) {
	short := nftComment(&steps.Site{Name: "example.org"})
	long := nftComment(&steps.Site{Name: strings.Repeat("a", 250)})
	other := nftComment(&steps.Site{Name: strings.Repeat("a", 251)})
	if short != "ecdeploy example.org" || len(long) > 127 || long == other {
		t.Errorf("got %q, %q and %q", short, long, other)
	}
	if got := nftComment(&steps.Site{Name: "a\"; flush ruleset\n\\"}); strings.ContainsAny(got, "\"\n\\") {
		t.Errorf("got %q", got)
	}
}

// nftAsked is what a host with these rules decides, with media open to the world.
func nftAsked(t *testing.T, rules, unit string, open ...Opening) steps.Decision {
	t.Helper()
	o := suite.Fake{Answer: func(argv string) host.Result {
		switch {
		case strings.HasPrefix(argv, "nft -j") && rules == "":
			return host.Result{Code: 127}
		case strings.HasPrefix(argv, "nft -j"):
			return host.Result{Stdout: []byte(rules)}
		case strings.HasPrefix(argv, "command -v nft"):
			return host.Result{Stdout: []byte("/usr/sbin/nft\n")}
		case strings.HasPrefix(argv, "systemctl show"):
			return host.Result{Stdout: []byte(unit)}
		}
		t.Errorf("unexpected query %s", argv)
		return host.Result{Code: 1}
	}}
	f, err := probeNFT(t.Context(), o, &steps.Site{Name: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return f.decide(suite.OneHost(), open)
}

const nftUnit = "UnitFileState=enabled\nExecReload={ path=/usr/sbin/nft ; argv[]=/usr/sbin/nft -f /etc/nftables.conf }\n"

// nftChainJSON is a ruleset with one base chain.
func nftChainJSON(family, table, name, policy string, rules ...string) string {
	items := []string{`{"table":{"family":"` + family + `","name":"` + table + `"}}`,
		`{"chain":{"family":"` + family + `","table":"` + table + `","name":"` + name + `","type":"filter","hook":"input","prio":0,"policy":"` + policy + `"}}`}
	for _, r := range rules {
		items = append(items, `{"rule":{"family":"`+family+`","table":"`+table+`","chain":"`+name+`","handle":7,"expr":[`+r+`]}}`)
	}
	return `{"nftables":[` + strings.Join(items, ",") + `]}`
}

func TestNFTSays(t *testing.T) {
	const nothing = "note: nftables on h drops nothing that comes in, so nothing is opened there: 7881/tcp must be open in whatever else filters\n"
	port := nftMatchJSON("tcp", "dport", "7881")
	banned := nftMatchJSON("ip", "saddr", `"192.0.2.66"`) + `,{"drop":null}`
	limited := port + `,{"limit":{"rate":1,"per":"second","inv":true}},{"drop":null}`
	for _, c := range []struct {
		name, rules, unit string
		changes           int
		want              string // the findings
	}{
		{"no nft", "", "", 0, "note: nftables is not installed on h, so nothing is opened there: 7881/tcp must be open in whatever else filters\n"},
		{"no rules", `{"nftables":[]}`, nftUnit, 0, nothing},
		{"policy accept", nftChainJSON("inet", "filter", "input", "accept"), nftUnit, 0, nothing},
		{"no JSON", "Error: JSON support not compiled-in", nftUnit, 0,
			"error: cannot read the rules of nftables on h: read the output of nft -j list ruleset: invalid character 'E' looking for beginning of value\n"},
		{"open already", nftChainJSON("inet", "filter", "input", "drop", port+`,{"accept":null}`), nftUnit, 0, ""},
		{"to be opened", nftChainJSON("inet", "filter", "input", "drop"), nftUnit, 2, ""},
		{"not loaded at boot", nftChainJSON("inet", "filter", "input", "drop"), "UnitFileState=disabled\n", 1,
			"warning: nftables.service is not enabled on h: what ecdeploy opens there is closed again after a reboot, " +
				"unless something else saves the rules\n"},
		{"closed", nftChainJSON("inet", "filter", "input", "accept", port+`,{"drop":null}`), nftUnit, 0,
			"error: a rule of chain inet filter input of nftables on h closes 7881/tcp: \"tcp dport 7881 drop\" (handle 7)\n" +
				"warning: a rule of chain inet filter input of nftables on h closes 7881/tcp over IPv6: \"tcp dport 7881 drop\" (handle 7)\n"},
		{"limited, and else not open", nftChainJSON("ip", "filter", "input", "drop", limited), nftUnit, 0,
			"error: a rule of chain ip filter input of nftables on h closes 7881/tcp to some, " +
				"and a rule of ecdeploy would come before it: \"tcp dport 7881 limit drop\" (handle 7)\n"},
		{"banned addresses", nftChainJSON("inet", "filter", "input", "drop", banned), nftUnit, 2,
			"note: the rule for 7881/tcp comes first in chain inet filter input of nftables on h, " +
				"so this one no longer applies to it: \"ip saddr 192.0.2.66 drop\" (handle 7)\n"},
		{"only IPv6 closed", nftChainJSON("ip6", "filter", "input", "drop", port+`,{"drop":null}`), nftUnit, 0,
			"warning: a rule of chain ip6 filter input of nftables on h closes 7881/tcp over IPv6: \"tcp dport 7881 drop\" (handle 7)\n"},
		{"iptables", nftChainJSON("ip", "filter", "INPUT", "drop", `{"xt":null}`), nftUnit, 0,
			"warning: chain ip filter INPUT of nftables on h belongs to iptables and may drop 7881/tcp\n"},
		{"Docker next to it", nftChainJSON("ip", "filter", "INPUT", "accept"), nftUnit, 0, nothing},
		{"firewalld", nftChainJSON("inet", "firewalld", "filter_INPUT", "drop"), nftUnit, 0,
			"warning: chain inet firewalld filter_INPUT of nftables on h belongs to firewalld and may drop 7881/tcp\n" +
				"warning: chain inet firewalld filter_INPUT of nftables on h belongs to firewalld and may drop 7881/tcp over IPv6\n"},
		{"an odd name", nftChainJSON("ip", "filter", "in;flush ruleset", "drop"), nftUnit, 0,
			"error: the name of chain ip filter in;flush ruleset of nftables on h is one that ecdeploy does not write into commands: 7881/tcp is not opened there\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := nftAsked(t, c.rules, c.unit, Opening{"tcp", 7881, 7881, ""})
			if diff := cmp.Diff(c.want, suite.Summaries(d.Findings)); diff != "" || len(d.Changes) != c.changes {
				t.Errorf("%d changes, want %d; findings (-want +got):\n%s", len(d.Changes), c.changes, diff)
			}
		})
	}
}
