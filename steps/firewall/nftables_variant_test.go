package firewall

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// firewallHost is a host with these firewalls: the rules of nft as JSON, "" where nft
// is not installed, and what ufw says, "" where ufw is not.
func firewallHost(t *testing.T, rules, ufw string, files map[string]string) suite.Fake {
	t.Helper()
	return suite.Fake{Files: files, Answer: func(argv string) host.Result {
		switch {
		case strings.HasPrefix(argv, "nft -j") && rules == "", strings.HasPrefix(argv, "ufw status") && ufw == "":
			return host.Result{Code: 127}
		case strings.HasPrefix(argv, "nft -j") && strings.HasPrefix(rules, "Error"):
			return host.Result{Code: 1, Stderr: []byte(rules)}
		case strings.HasPrefix(argv, "nft -j"):
			return host.Result{Stdout: []byte(rules)}
		case strings.HasPrefix(argv, "ufw status"):
			return host.Result{Stdout: []byte(ufw)}
		case strings.HasPrefix(argv, "ufw show added"):
			return host.Result{}
		case strings.HasPrefix(argv, "systemctl show"):
			return host.Result{Stdout: []byte(nftUnit)}
		case strings.HasPrefix(argv, "command -v nft"):
			return host.Result{Stdout: []byte("/usr/sbin/nft\n")}
		case strings.HasPrefix(argv, "systemctl -q is-active firewalld"):
			return host.Result{Code: 3}
		case strings.HasPrefix(argv, "docker ps"):
			return host.Result{}
		}
		t.Errorf("unexpected query %s", argv)
		return host.Result{Code: 1}
	}}
}

// joinNFT is the ruleset with all that these have.
func joinNFT(rulesets ...string) string {
	var items []string
	for _, r := range rulesets {
		items = append(items, strings.TrimSuffix(strings.TrimPrefix(r, `{"nftables":[`), "]}"))
	}
	return `{"nftables":[` + strings.Join(items, ",") + `]}`
}

// ufwChains are ufw's own, as iptables-nft keeps them.
func ufwChains() string {
	const user = `{"chain":{"family":"ip","table":"filter","name":"ufw-user-input"}}`
	jump := `{"jump":{"target":"ufw-user-input"}}`
	return joinNFT(nftChainJSON("ip", "filter", "INPUT", "drop", jump), `{"nftables":[`+user+`]}`)
}

func TestNFTDetect(t *testing.T) {
	own := nftChainJSON("inet", "filter", "input", "drop")
	const ours = `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":7881}},{"accept":null}`
	marked := strings.ReplaceAll(nftChainJSON("inet", "filter", "input", "accept", ours), `"handle":7`, `"handle":7,"comment":"ecdeploy example.org"`)
	left := map[string]string{"/etc/ecdeploy/example.org/nftables/inet.filter.input.nft": "x"}
	for _, c := range []struct {
		name, rules string
		files       map[string]string
		want        string // how sure, and why; "" for nothing
	}{
		{"not installed", "", nil, ""},
		{"no rules", `{"nftables":[]}`, nil, ""},
		{"a chain of the admin's", own, nil, "sure: chain inet filter input of nftables on h filters what comes in"},
		{"a rule that drops", nftChainJSON("ip", "a", "b", "accept", `{"drop":null}`), nil, "sure: chain ip a b of nftables on h filters what comes in"},
		{"a chain that only counts", nftChainJSON("inet", "filter", "input", "accept", `{"counter":{}}`), nil, ""},
		{"a chain before input", strings.ReplaceAll(own, `"hook":"input"`, `"hook":"prerouting"`), nil, ""},
		{"ufw's", ufwChains(), nil, ""},
		{"iptables'", nftChainJSON("ip", "filter", "INPUT", "drop"), nil, ""},
		{"firewalld's", nftChainJSON("inet", "firewalld", "filter_INPUT", "drop"), nil, ""},
		{"the admin's and ufw's", joinNFT(ufwChains(), own), nil, "sure: chain inet filter input of nftables on h filters what comes in"},
		{"only our rules are left", marked, nil, "perhaps: nftables on h has rules of ecdeploy"},
		{"only our files are left", `{"nftables":[]}`, left, "perhaps: nftables on h has rules of ecdeploy"},
		{"a kernel without it", "Error: cache initialization failed", nil, ""},
		{"a kernel without it any more", "Error: cache initialization failed", left, "perhaps: nftables on h has rules of ecdeploy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := NFTablesVariant().Detect(t.Context(), firewallHost(t, c.rules, "", c.files))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range found {
				got += map[bool]string{true: "sure: ", false: "perhaps: "}[f.Sure] + f.Why
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A host without a block has each of its active firewalls opened.
func TestFirewallsFound(t *testing.T) {
	const inactive, active = "Status: inactive\n", "Status: active\nDefault: deny (incoming)\n"
	own := nftChainJSON("inet", "filter", "input", "drop")
	const ufw, nft = "+ ufw allow 7881/tcp\n+ ufw allow 50100-50200/udp\n", "+ nftables accept 7881/tcp, 50100-50200/udp\n"
	for _, c := range []struct {
		name, rules, ufw, want string
	}{
		{"ufw alone", ufwChains(), active, ufw},
		{"nftables alone", own, "", nft},
		{"both", joinNFT(ufwChains(), own), active, ufw + nft}, // with no warning of ufw's chain
		{"ufw is not active", own, inactive, nft},
		{"neither", "", "", "note: no firewall that ecdeploy knows is on h, so nothing is opened there: 7881/tcp, 50100-50200/udp must be open in whatever else filters\n"},
		{"a kernel without nftables", "Error: no", inactive, "note: ufw is not active on h, so nothing is opened there: 7881/tcp, 50100-50200/udp must be open in whatever else filters\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := FoundVariant(UFWVariant(), NFTablesVariant(), NoneVariant()).Config()
			d := suite.Decide(t, suite.StepOf(config, suite.OneHost()), firewallHost(t, c.rules, c.ufw, nil))
			got := ""
			for _, change := range d.Changes {
				if s := change.Summary(); s.Title != "nftables at boot" {
					got += s.Verb + " " + s.Title + "\n"
				}
			}
			if diff := cmp.Diff(c.want, got+suite.Summaries(d.Findings)); diff != "" {
				t.Error(diff)
			}
		})
	}
	explicit := suite.Decide(t, suite.StepOf(new(NFTables), suite.OneHost()), firewallHost(t, joinNFT(ufwChains(), own), active, nil))
	if got := suite.Summaries(explicit.Findings); !strings.Contains(got, "warning: chain ip filter INPUT of nftables on h belongs to ufw and may drop 7881/tcp\n") {
		t.Errorf("a plan file that names nftables alone does not warn of ufw:\n%s", got)
	}
}

// What a site opened goes from where it is, whichever firewall is active by then.
func TestFirewallsFoundAreLeft(t *testing.T) {
	const active = "Status: active\nDefault: deny (incoming)\n7881/tcp ALLOW IN Anywhere # ecdeploy example.org\n"
	const ours = `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":7881}},{"accept":null}`
	marked := strings.ReplaceAll(nftChainJSON("inet", "filter", "input", "accept", ours), `"handle":7`, `"handle":7,"comment":"ecdeploy example.org"`)
	file, dropIn := "/etc/ecdeploy/example.org/nftables/inet.filter.input.nft", "/etc/systemd/system/nftables.service.d/ecdeploy-example.org.conf"
	o := firewallHost(t, marked, active, map[string]string{file: "x", dropIn: "y"})
	want := "- ufw allow 7881/tcp\n- nftables accept 7881/tcp\n- nftables at boot\n- " + file + "\n- " + dropIn
	var got []string
	for _, v := range []steps.Variant{UFWVariant(), NFTablesVariant()} {
		d := suite.Decide(t, v.Effects.Step(&steps.Site{Name: "example.org"}), o)
		got = append(got, suite.Words(d))
		if !slices.Contains(d.Stands, steps.Ref{Kind: steps.EntryEffect, Name: v.Effects.Word}) {
			t.Errorf("%s does not say that it knows all of its rules: %v", v.Label, d.Stands)
		}
		for _, change := range d.Changes {
			if f, ok := change.(*steps.Files); ok && f.Action != steps.DaemonReload {
				t.Errorf("systemd is not told of %s", f.Title)
			}
		}
	}
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

// Each rule is in the ledger under one name, when it comes and when it goes.
func TestEffectNames(t *testing.T) {
	effects := func(d steps.Decision) (makes, ends []string) {
		for _, change := range d.Changes {
			if c, ok := change.(*steps.Exec); ok {
				makes, ends = append(makes, c.Makes...), append(ends, c.Ends...)
			}
		}
		return makes, ends
	}
	const active = "Status: active\nDefault: deny (incoming)\n"
	ufw, nft := []string{"ufw 7881/tcp", "ufw 50100-50200/udp"}, []string{"nftables inet filter input 7881/tcp", "nftables inet filter input 50100-50200/udp"}
	empty := firewallHost(t, nftChainJSON("inet", "filter", "input", "drop"), active, nil)
	comment := func(ports string) string {
		return strings.ReplaceAll(nftChainJSON("inet", "filter", "input", "drop", ports), `"handle":7`, `"handle":7,"comment":"ecdeploy example.org"`)
	}
	const opened = `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":7881}},{"accept":null}`
	full := firewallHost(t, comment(opened),
		active+"7881/tcp ALLOW IN Anywhere # ecdeploy example.org\n50100:50200/udp ALLOW IN Anywhere # ecdeploy example.org\n", nil)
	for _, c := range []struct {
		variant     steps.Variant
		makes, ends []string
	}{{UFWVariant(), ufw, ufw}, {NFTablesVariant(), nft, nft[:1]}} {
		makes, ends := effects(suite.Decide(t, c.variant.Effects.Step(suite.OneHost()), empty))
		if diff := cmp.Diff(c.makes, makes); diff != "" || len(ends) > 0 {
			t.Errorf("%s: %s, and ends %v", c.variant.Label, diff, ends)
		}
		makes, ends = effects(suite.Decide(t, c.variant.Effects.Step(&steps.Site{Name: "example.org"}), full))
		if diff := cmp.Diff(c.ends, ends); diff != "" || len(makes) > 0 {
			t.Errorf("%s: %s, and makes %v", c.variant.Label, diff, makes)
		}
	}
}

// sfuApart is a site whose SFU is alone on the host h, and all else on another one.
func sfuApart(on string) *steps.Site {
	s := suite.OneHost()
	s.Parts[0].Listens[0].Bind = "198.51.100.7"
	for i := range s.Parts[1:] {
		s.Parts[i+1].Host = on
	}
	return s
}

// A firewall that is left alone is said to need the proxy's address, too.
func TestNoneNamesTheProxy(t *testing.T) {
	s := sfuApart("front")
	facts, err := suite.StepOf(new(None), s).Probe(t.Context(), suite.Fake{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(steps.Shared{Sources: map[string]string{"front": "10.0.0.7"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := suite.Summaries(d.Findings); !strings.Contains(got, "7880/tcp from 10.0.0.7 must be open") {
		t.Errorf("it says %s", got)
	}
}

// A firewall that cannot be read stops a run where the site needs something open, and
// is only warned of where it does not: then nobody says that nothing of it is left.
func TestRemovalFromUnreadable(t *testing.T) {
	o := suite.Fake{Answer: func(string) host.Result { return host.Result{Code: 1, Stderr: []byte("no\n")} }}
	for _, c := range []struct {
		site *steps.Site
		want string
	}{{suite.OneHost(), "error: "}, {&steps.Site{Name: "example.org"}, "warning: "}} {
		for _, v := range []steps.Variant{NFTablesVariant(), UFWVariant()} {
			d := suite.Decide(t, v.Effects.Step(c.site), o)
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.want) || len(d.Stands)+len(d.Changes) > 0 {
				t.Errorf("%s says %q, want %q; %v", v.Label, got, c.want, d.Stands)
			}
		}
	}
}

// Of two hosts only the SFU's has a step; the proxy alone may reach its signalling.
func TestNFTOnTheHostOfTheSFU(t *testing.T) {
	s := sfuApart("front")
	c := new(NFTables)
	if placed := c.Steps(steps.Decl{Site: s.Name, Host: "front"}, s); len(placed) != 0 {
		t.Errorf("%d steps on a host that nobody has to reach", len(placed))
	}
	placed := c.Steps(steps.Decl{Site: s.Name, Host: "h"}, s)
	if len(placed) != 1 || placed[0].Host != "h" || placed[0].Stage != steps.StageHost {
		t.Fatalf("%+v, want one step on h", placed)
	}
	facts, err := placed[0].Step.Probe(t.Context(), firewallHost(t, nftChainJSON("inet", "filter", "input", "drop"), "", nil))
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(steps.Shared{Sources: map[string]string{"front": "10.0.0.7"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := d.Changes[0].Summary().Title, "nftables accept 7881/tcp, 50100-50200/udp, 7880/tcp from 10.0.0.7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
