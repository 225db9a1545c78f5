package firewall

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// As `ufw status verbose` of ufw 0.36 prints it, with what its manual page
// allows besides.
const ufwStatus = `Status: active
Logging: on (low)
Default: deny (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     LIMIT IN    Anywhere
80,443/tcp (Nginx Full)    ALLOW IN    Anywhere
50000:60000/udp            ALLOW IN    Anywhere                   # media of somebody
7880/tcp                   ALLOW IN    10.0.0.0/24
3000/tcp                   DENY IN     Anywhere
3001/tcp                   REJECT IN   Anywhere
3002/tcp                   DENY IN     192.0.2.0/24
4000,4002,4010:4020/tcp    ALLOW IN    Anywhere
5000                       ALLOW IN    Anywhere
5001/tcp                   ALLOW IN    Anywhere (log)
5002/tcp on eth1           ALLOW IN    Anywhere
203.0.113.5 5003/tcp       ALLOW IN    Anywhere
5004/tcp                   ALLOW FWD   Anywhere
25/tcp                     ALLOW OUT   Anywhere (out)
Anywhere                   ALLOW IN    10.9.9.9
Anywhere/tcp               ALLOW IN    10.8.8.8/tcp
22/tcp (v6)                ALLOW IN    Anywhere (v6)
7881/tcp (v6)              ALLOW IN    Anywhere (v6)
80,443/tcp (Nginx Full (v6)) ALLOW IN    Anywhere (v6)
`

func TestUFWEffect(t *testing.T) {
	var f ufwFacts
	f.parseStatus(ufwStatus)
	if !f.active || f.allowAll {
		t.Fatalf("active %v, allowAll %v; want true, false", f.active, f.allowAll)
	}
	for _, c := range []struct {
		open Opening
		want string
	}{
		{Opening{"udp", 50100, 50200, ""}, "open"}, // inside a wider rule of the admin's
		{Opening{"udp", 50100, 61000, ""}, ""},     // only partly inside
		{Opening{"tcp", 50100, 50200, ""}, ""},     // another protocol
		{Opening{"tcp", 7881, 7881, ""}, ""},       // open for IPv6 only
		{Opening{"tcp", 7880, 7880, "10.0.0.7"}, "open"},
		{Opening{"tcp", 7880, 7880, "10.0.1.7"}, ""},
		{Opening{"tcp", 7880, 7880, ""}, ""}, // open to a network is not open to the world
		{Opening{"tcp", 3000, 3000, ""}, "closed"},
		{Opening{"tcp", 3001, 3001, ""}, "closed"},
		{Opening{"tcp", 3002, 3002, ""}, ""}, // closed to somebody else only
		{Opening{"tcp", 3002, 3002, "192.0.2.9"}, "closed"},
		{Opening{"tcp", 22, 22, ""}, "limited"},
		{Opening{"tcp", 443, 443, ""}, "open"}, // an application profile
		{Opening{"tcp", 4002, 4002, ""}, "open"},
		{Opening{"tcp", 4015, 4015, ""}, "open"},
		{Opening{"tcp", 4001, 4001, ""}, ""},
		{Opening{"udp", 5000, 5000, ""}, "open"}, // a rule for both protocols
		{Opening{"tcp", 5001, 5001, ""}, "open"},
		{Opening{"tcp", 5002, 5002, ""}, ""}, // on one interface
		{Opening{"tcp", 5003, 5003, ""}, ""}, // on one address
		{Opening{"tcp", 5004, 5004, ""}, ""}, // what is forwarded does not come in
		{Opening{"tcp", 25, 25, ""}, ""},     // a rule for outgoing says nothing
		{Opening{"tcp", 9, 9, "10.9.9.9"}, "open"},
		{Opening{"tcp", 9, 9, "10.8.8.8"}, "open"},
		{Opening{"udp", 9, 9, "10.8.8.8"}, ""},
	} {
		if got, _ := f.effect(c.open); got != c.want {
			t.Errorf("effect(%s) = %q, want %q", c.open, got, c.want)
		}
	}
}

func TestUFWDefaultAllow(t *testing.T) {
	var f ufwFacts
	f.parseStatus("Status: active\nDefault: allow (incoming), allow (outgoing), disabled (routed)\n")
	if got, _ := f.effect(Opening{"tcp", 7881, 7881, ""}); got != "open" {
		t.Errorf("got %q, want open", got)
	}
}

// ufwDecision is what the firewall step decides on the given outputs.
func ufwDecision(t *testing.T, site *steps.Site, label, status string, installed bool, docker string, firewalld bool) steps.Decision {
	t.Helper()
	code := func(ok bool, bad int) int {
		if ok {
			return 0
		}
		return bad
	}
	o := suite.Fake{Answer: func(argv string) host.Result {
		switch {
		case strings.HasPrefix(status, "ERROR") && strings.HasPrefix(argv, "ufw"):
			return host.Result{Code: 1, Stderr: []byte(status)}
		case strings.HasPrefix(argv, "ufw status verbose"):
			return host.Result{Code: code(installed, 127), Stdout: []byte(status)}
		case strings.HasPrefix(argv, "ufw show added"):
			return host.Result{}
		case strings.Contains(argv, "firewalld"):
			return host.Result{Code: code(firewalld, 3)}
		case strings.HasPrefix(argv, "docker ps"):
			return host.Result{Stdout: []byte(docker)}
		}
		t.Errorf("unexpected query %s", argv)
		return host.Result{Code: 1}
	}}
	config := map[string]steps.Config{"ufw": &UFW{}, "none": &None{}, "": FoundVariant(UFWVariant()).Config()}[label]
	facts, err := suite.StepOf(config, site).Probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(steps.Shared{Sources: map[string]string{"proxy": "10.0.0.7"}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFirewallSays(t *testing.T) {
	for _, c := range []struct {
		name, label, status  string
		installed, firewalld bool
		want                 string
	}{
		{"inactive", "ufw", "Status: inactive\n", true, false, "note: ufw is not active on h"},
		{"not installed, found by itself", "", "", false, false, "note: no firewall that ecdeploy knows is on h"},
		{"not installed, asked for", "ufw", "", false, false, "error: ufw is not installed on h"},
		{
			name:      "broken",
			label:     "",
			status:    "ERROR: problem running iptables: no permission\n",
			installed: true,
			firewalld: false,
			want:      "error: ufw on h: cannot read its status: ERROR: problem running iptables: no permission",
		},
		{"broken, and left alone", "none", "ERROR: problem running iptables\n", true, false, "note: the firewall of h is left alone"},
		{"firewalld", "", "", false, true, "warning: firewalld runs on h"},
		{"none", "none", ufwStatus, true, false, "note: the firewall of h is left alone"},
		{
			name:      "closed by the admin",
			label:     "",
			status:    "Status: active\nDefault: deny (incoming)\n7881/tcp DENY IN Anywhere\n50100:50200/udp ALLOW IN Anywhere\n",
			installed: true,
			firewalld: false,
			want:      "error: a rule of ufw on h closes 7881/tcp: 7881/tcp DENY from anywhere",
		},
		{
			name:      "limited by the admin",
			label:     "",
			status:    "Status: active\nDefault: deny (incoming)\n7881/tcp LIMIT IN Anywhere\n50100:50200/udp ALLOW IN Anywhere\n",
			installed: true,
			firewalld: false,
			want:      "warning: a rule of ufw on h limits 7881/tcp",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := ufwDecision(t, suite.OneHost(), c.label, c.status, c.installed, "", c.firewalld)
			if len(d.Changes) != 0 || len(d.Findings) != 1 || !strings.HasPrefix(suite.Summaries(d.Findings), c.want) {
				t.Errorf("got %d changes and %s, want none and %s", len(d.Changes), suite.Summaries(d.Findings), c.want)
			}
		})
	}
}

// A rule for one interface or address closes less, and still closes.
func TestFirewallNamesPartlyClosed(t *testing.T) {
	for _, line := range []string{
		"7881/tcp on eth0 DENY IN Anywhere",
		"Anywhere on eth1 REJECT IN Anywhere",
		"203.0.113.10 7881/tcp DENY IN Anywhere",
		"203.0.113.10 DENY IN Anywhere",
	} {
		d := ufwDecision(t, suite.OneHost(), "", "Status: active\nDefault: deny (incoming)\n"+line+"\n", true, "", false)
		if len(d.Changes) != 2 || !strings.Contains(suite.Summaries(d.Findings), "warning: a rule of ufw on h closes 7881/tcp") {
			t.Errorf("%s: %d changes and %s", line, len(d.Changes), suite.Summaries(d.Findings))
		}
	}
	d := ufwDecision(t, suite.OneHost(), "", "Status: active\nDefault: deny (incoming)\n7881/tcp on eth0 ALLOW IN Anywhere\n", true, "", false)
	if len(d.Changes) != 2 || len(d.Findings) != 0 {
		t.Errorf("a rule that opens one interface: %d changes and %s", len(d.Changes), suite.Summaries(d.Findings))
	}
}

// A private bind opens the signalling port to the proxy's address alone, and
// to nobody where that address is not known.
func TestFirewallOpensSignallingToTheProxyAlone(t *testing.T) {
	site := suite.OneHost()
	site.Parts[1].Host, site.Parts[2].Host = "proxy", "proxy"
	d := ufwDecision(t, site, "", "Status: active\nDefault: deny (incoming)\n", true, "", false)
	var do []string
	for _, c := range d.Changes {
		do = append(do, c.(*steps.Exec).DoText)
	}
	want := []string{
		"ufw allow 7881/tcp comment 'ecdeploy example.org' >/dev/null && ec_keep_ufw",
		"ufw allow 50100:50200/udp comment 'ecdeploy example.org' >/dev/null && ec_keep_ufw",
		"ufw allow proto tcp from 10.0.0.7 to any port 7880 comment 'ecdeploy example.org' >/dev/null && ec_keep_ufw",
	}
	if diff := cmp.Diff(want, do); diff != "" {
		t.Error(diff)
	}
}

// Rules of ours for this site that nothing needs go; those of other sites and
// of the admin stay, and a second run has nothing to do.
func TestFirewallRemovesItsOwnStaleRules(t *testing.T) {
	const rules = "Status: active\nDefault: deny (incoming)\n7881/tcp ALLOW IN Anywhere # ecdeploy example.org\n" +
		"50100:50200/udp ALLOW IN Anywhere # ecdeploy example.org\n7881/tcp (v6) ALLOW IN Anywhere (v6) # ecdeploy example.org\n" +
		"40000:40100/udp ALLOW IN Anywhere # ecdeploy example.org.uk\n40200:40300/udp ALLOW IN Anywhere\n"
	if d := ufwDecision(t, suite.OneHost(), "", rules, true, "", false); len(d.Changes) != 0 {
		t.Fatalf("got %d changes, want none", len(d.Changes))
	}
	d := ufwDecision(t,
		suite.OneHost(), "",
		rules+"50300:50400/udp ALLOW IN Anywhere # ecdeploy example.org\n7880/tcp ALLOW IN 10.0.0.9 # ecdeploy example.org\n",
		true, "", false)
	var got []string
	for _, c := range d.Changes {
		got = append(got, c.Summary().Verb+" "+c.Summary().Title)
	}
	if diff := cmp.Diff([]string{"- ufw allow 50300-50400/udp", "- ufw allow 7880/tcp from 10.0.0.9"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFirewallSaysWhatHasNoEffect(t *testing.T) {
	const docker = "web\t0.0.0.0:3000->80/tcp, [::]:3000->80/tcp\nadmin\t0.0.0.0:9000->9000/tcp\ndb\t127.0.0.1:5432->5432/tcp\ndns\t0.0.0.0:3000->53/udp\n"
	d := ufwDecision(t,
		suite.OneHost(), "",
		"Status: active\nDefault: deny (incoming)\n7881/tcp ALLOW IN Anywhere\n50100:50200/udp ALLOW IN Anywhere\n"+
			"3000/tcp DENY IN Anywhere\n5432/tcp DENY IN Anywhere\n",
		true, docker, false)
	want := "note: the rule 3000/tcp DENY from anywhere of ufw on h has no effect: Docker publishes port 3000/tcp of container web past ufw\n" +
		"note: ufw on h does not govern what Docker publishes past it: port 9000/tcp of container admin, port 3000/udp of container dns\n"
	if diff := cmp.Diff(want, suite.Summaries(d.Findings)); diff != "" {
		t.Error(diff)
	}
}

func TestUFWDecide(t *testing.T) {
	f := ufwFacts{name: "h", installed: true, active: true}
	f.parseStatus(ufwStatus)
	site := suite.OneHost()
	d := f.decide(site, Openings(site, "h", steps.Shared{}))
	var titles []string
	for _, c := range d.Changes {
		titles = append(titles, c.Summary().Title)
	}
	// The media range is covered by the admin's wider rule: no change.
	if diff := cmp.Diff([]string{"ufw allow 7881/tcp"}, titles); diff != "" {
		t.Error(diff)
	}
}

// Where ufw is not active the site's rules are those that are stored, and nobody else's
// go.
func TestUFWStored(t *testing.T) {
	const stored = "Added user rules (see 'ufw status' for running firewall):\nufw allow 22/tcp\nufw allow 7881/tcp comment 'ecdeploy example.org'\n" +
		"ufw allow 50100:50200/udp comment 'ecdeploy example.org'\nufw allow from 10.0.0.7 to any port 7880 proto tcp comment 'ecdeploy example.org'\n" +
		"ufw allow 7882/tcp comment 'ecdeploy example.org.uk'\nufw deny 7883/tcp comment 'ecdeploy example.org'\n"
	for _, c := range []struct{ name, status, stored, want string }{
		{"not active", "Status: inactive\n", stored, "- ufw allow 7881/tcp\n- ufw allow 50100-50200/udp\n- ufw allow 7880/tcp from 10.0.0.7"},
		{"not active, with none", "Status: inactive\n", "Added user rules (see 'ufw status' for running firewall):\n(None)\n", ""},
		{"active: what it enforces counts", "Status: active\n7881/tcp ALLOW IN Anywhere # ecdeploy example.org\n", stored, "- ufw allow 7881/tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := suite.Decide(t, openUFW(&steps.Site{Name: "example.org"}), suite.Fake{Answer: func(argv string) host.Result {
				switch {
				case strings.HasPrefix(argv, "ufw status"):
					return host.Result{Stdout: []byte(c.status)}
				case strings.HasPrefix(argv, "ufw show added"):
					return host.Result{Stdout: []byte(c.stored)}
				}
				return host.Result{}
			}})
			if diff := cmp.Diff(c.want, suite.Words(d)); diff != "" || len(d.Stands) != 1 {
				t.Errorf("%s, stands %v", diff, d.Stands)
			}
		})
	}
}
