//go:build linux

package firewall

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

var nftMedia = []Opening{{"tcp", 7881, 7881, ""}, {"udp", 50100, 50102, ""}}

// spaceRulesets are ways in which admins close a host.
func spaceRulesets() map[string]string {
	const usual = "ct state established,related accept\niif lo accept\nmeta l4proto { icmp, ipv6-icmp } accept\n"
	return map[string]string{
		"policy drop": "table inet filter {\n chain input {\n type filter hook input priority filter; policy drop;\n" + usual + "tcp dport 22 accept\n }\n}\n",
		"a final reject": "table inet filter {\n chain input {\n type filter hook input priority filter; policy accept;\n" + usual +
			"tcp dport { 22, 443 } accept\ncounter reject with icmpx admin-prohibited\n }\n}\n",
		"a chain for the outside": "table inet filter {\n chain outside {\n meta l4proto { icmp, ipv6-icmp } accept\n tcp dport 22 accept\n drop\n }\n" +
			" chain input {\n type filter hook input priority filter; policy accept;\n" +
			"ct state vmap { established : accept, related : accept, invalid : drop }\niifname vmap { \"lo\" : accept, \"e\" : jump outside }\n }\n}\n",
		"a chain for each version": "table ip filter {\n chain in {\n type filter hook input priority filter; policy drop;\n" +
			"ct state established,related accept\n }\n}\n" +
			"table ip6 filter {\n chain in {\n type filter hook input priority filter; policy drop;\n" + usual + " }\n}\n",
		"two chains in a row": "table inet a {\n chain input {\n type filter hook input priority filter; policy drop;\n" + usual + " }\n}\n" +
			"table inet b-2 {\n chain in_put {\n type filter hook input priority 10; policy accept;\n" + usual + "tcp dport 22 accept\ndrop\n }\n}\n",
	}
}

func TestNFTOpensForPackets(t *testing.T) {
	for name, ruleset := range spaceRulesets() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newNetSpace(t)
			s.listen(7881, 7882, 50100, 50102, 50103)
			s.wantOpen(true, nftMedia...) // without any rules
			s.load(ruleset)
			before := s.ruleset()
			s.wantOpen(false, nftMedia...)

			d := s.decide(nftMedia...)
			if len(d.Changes) != 1 {
				t.Fatalf("%d changes, want one; it says %s", len(d.Changes), suite.Summaries(d.Findings))
			}
			r := s.run(d.Changes[0])
			r.do(r.resolved.Check)
			if got := s.ruleset(); got != before {
				t.Errorf("the check changed something:\n%s", got)
			}
			r.do(r.resolved.Save, r.resolved.Do)
			s.wantOpen(true, nftMedia...)
			s.wantOpen(false, Opening{"tcp", 7882, 7882, ""}, Opening{"udp", 7881, 7881, ""}, Opening{"udp", 50103, 50103, ""}, Opening{"tcp", 50100, 50100, ""})
			once := s.ruleset()
			r.do(r.resolved.Save, r.resolved.Do)
			if diff := cmp.Diff(once, s.ruleset()); diff != "" {
				t.Errorf("done twice is not as done once:\n%s", diff)
			}
			if d := s.decide(nftMedia...); len(d.Changes) != 0 {
				t.Errorf("a second apply plans %s", d.Changes[0].Summary().Title)
			}

			r.do(r.resolved.Undo)
			s.wantOpen(false, nftMedia...)
			r.do(r.resolved.Undo)
			if diff := cmp.Diff(before, s.ruleset()); diff != "" {
				t.Errorf("undone, it is not as before:\n%s", diff)
			}
		})
	}
}

// What counts as open lets packets in, and what counts as closed does not.
func TestNFTEffectIsTrue(t *testing.T) {
	text, err := os.ReadFile("testdata/nftables.nft")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range strings.Split(string(text), "\ntable ")[1:] {
		name := strings.Fields(table)[1]
		open, closed := map[string][]Opening{}, map[string][]Opening{}
		for _, c := range nftEffectCases() {
			from := spaceClient4
			if strings.HasPrefix(c.table, "6") {
				from = spaceClient6
			}
			switch {
			case strings.TrimPrefix(c.table, "6") != name || c.open.From != "":
			case c.want == "open":
				open[from] = append(open[from], c.open)
			case strings.HasPrefix(c.want, "closed"): // its first port is
				closed[from] = append(closed[from], Opening{Proto: c.open.Proto, First: c.open.First, Last: c.open.First})
			}
		}
		if len(open)+len(closed) == 0 || strings.Contains(table, "device") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newNetSpace(t)
			s.listenOn(slices.Concat(open[spaceClient4], open[spaceClient6], closed[spaceClient4], closed[spaceClient6]))
			// Without IPv6's neighbour discovery nothing comes in.
			s.load(strings.NewReplacer("policy drop;", "policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept", "queue num 0", "drop").
				Replace("table " + table))
			for _, from := range []string{spaceClient4, spaceClient6} {
				s.want(true, from, open[from]...)
				s.want(false, from, closed[from]...)
			}
		})
	}
}

// An undo finds our rules wherever they are by then, and nothing else.
func TestNFTUndo(t *testing.T) {
	ruleset := "flush ruleset\n" + spaceRulesets()["policy drop"] +
		`insert rule inet filter input tcp dport 7881 counter accept comment "ecdeploy example.org"` + "\n" +
		`insert rule inet filter input tcp dport 443 accept comment "ecdeploy example.org.uk"` + "\n"
	for _, c := range []struct {
		name string
		then func(s *netSpace, r spaceRun)
	}{
		{"nothing was done", func(*netSpace, spaceRun) {}},
		{"not even saved", func(s *netSpace, r spaceRun) { s.must("rm -f " + s.dir + "/run1/change/*") }},
		{"done", func(_ *netSpace, r spaceRun) { r.do(r.resolved.Do) }},
		{"reloaded since", func(s *netSpace, r spaceRun) { r.do(r.resolved.Do); s.load(ruleset) }},
		{"reloaded with ours, which have other handles now", func(s *netSpace, r spaceRun) {
			r.do(r.resolved.Do)
			s.load(ruleset + "add rule inet filter input tcp dport 1 accept\n")
			r.do(r.resolved.Do)
			r.do(`nft delete rule inet filter input handle "$(nft -a list chain inet filter input | sed -n 's/.*tcp dport 1 accept # handle //p')"`)
		}},
		{"there twice", func(s *netSpace, r spaceRun) {
			r.do(r.resolved.Do)
			s.must("ip netns exec " + s.host + ` nft add rule inet filter input tcp dport 7882 accept comment '"ecdeploy example.org"'`)
		}},
		{"the chain is gone", func(s *netSpace, r spaceRun) {
			r.do(r.resolved.Do)
			s.load("flush ruleset\ntable inet other\n")
			r.do(r.resolved.Undo)
			if got := s.ruleset(); got != "table inet other {\n}\n" {
				s.t.Errorf("got %s", got)
			}
			s.load(ruleset)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newNetSpace(t)
			s.load(ruleset)
			before := s.ruleset()
			r := s.run(s.decide(Opening{"tcp", 7882, 7882, ""}, Opening{"udp", 7882, 7882, spaceClient4}).Changes[0])
			r.do(r.resolved.Save)
			c.then(s, r)
			r.do(r.resolved.Undo)
			if diff := cmp.Diff(before, s.ruleset()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A rule of ours that nothing needs any more goes in the transaction that brings its
// successor, and an undo brings it back. A removal leaves nothing.
func TestNFTMovesAndLeaves(t *testing.T) {
	for _, shell := range []string{"dash", "bash", "busybox sh", "mksh"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			s := newNetSpace(t)
			s.shell = strings.Fields(shell)
			if _, err := exec.LookPath(s.shell[0]); err != nil {
				t.Skipf("no %s here: scripts/lab tools installs it", s.shell[0])
			}
			movesAndLeaves(t, s)
		})
	}
}

func movesAndLeaves(t *testing.T, s *netSpace) {
	t.Helper()
	s.listen(7881, 7882)
	s.load(spaceRulesets()["policy drop"])
	clean := s.ruleset()
	old, next := Opening{"tcp", 7881, 7881, ""}, Opening{"tcp", 7882, 7882, spaceClient4}
	first := s.run(s.decide(old).Changes[0])
	first.do(first.resolved.Save, first.resolved.Do)
	before := s.ruleset()

	d := s.decide(next)
	if got := d.Changes[0].Summary(); got.Verb != "~" || got.Title != "nftables accept 7882/tcp from 192.0.2.2, no longer 7881/tcp" {
		t.Errorf("got %s %s", got.Verb, got.Title)
	}
	r := s.run(d.Changes[0])
	r.do(r.resolved.Check, r.resolved.Save, r.resolved.Do)
	s.wantOpen(false, old)
	s.wantOpen(true, next)
	s.wantOpen(false, Opening{"tcp", 7882, 7882, spaceOther4})
	r.do(r.resolved.Undo)
	if diff := cmp.Diff(before, s.ruleset()); diff != "" {
		t.Errorf("undone, it is not as before:\n%s", diff)
	}

	r.do(r.resolved.Do)
	gone := s.decide()
	if got := gone.Changes[0].Summary(); len(gone.Changes) != 1 || got.Verb != "-" || got.Title != "nftables accept 7882/tcp from 192.0.2.2" {
		t.Errorf("%d changes, the first is %s %s", len(gone.Changes), got.Verb, got.Title)
	}
	last := s.run(gone.Changes[0])
	last.do(last.resolved.Save, last.resolved.Do)
	if diff := cmp.Diff(clean, s.ruleset()); diff != "" {
		t.Errorf("something is left:\n%s", diff)
	}
}

// Sites on one host have rules of their own, and each takes only its own away.
func TestNFTOfTwoSites(t *testing.T) {
	t.Parallel()
	s := newNetSpace(t)
	one, two := []Opening{{"tcp", 7881, 7881, ""}, {"udp", 50100, 50101, ""}}, []Opening{{"tcp", 7891, 7891, ""}, {"udp", 50102, 50103, ""}}
	s.listenOn(slices.Concat(one, two))
	s.load(spaceRulesets()["policy drop"])
	before := s.ruleset()
	apply := func(site string, open ...Opening) {
		t.Helper()
		r := s.run(suite.Only(t, s.decideFor(site, open...).Changes))
		r.do(r.resolved.Save, r.resolved.Do)
		if d := s.decideFor(site, open...); len(d.Changes) != 0 {
			t.Errorf("a second apply of %s plans %s", site, d.Changes[0].Summary().Title)
		}
	}
	apply("one.org", one...)
	s.wantOpen(false, two...)
	apply("two.org", two...)
	s.wantOpen(true, slices.Concat(one, two)...)
	if d := s.decideFor("one.org", one...); len(d.Changes) != 0 {
		t.Errorf("the second site makes the first one plan %s", d.Changes[0].Summary().Title)
	}
	apply("one.org")
	s.wantOpen(false, one...)
	s.wantOpen(true, two...)
	apply("two.org")
	if diff := cmp.Diff(before, s.ruleset()); diff != "" {
		t.Errorf("without both sites it is not as before:\n%s", diff)
	}
}

// What nft refuses is known before anything changes, and then nothing has changed.
func TestNFTCheckRefuses(t *testing.T) {
	s := newNetSpace(t)
	s.load(spaceRulesets()["policy drop"])
	r := s.run(s.decide(nftMedia...).Changes[0])
	s.load("flush ruleset\n" + strings.ReplaceAll(spaceRulesets()["policy drop"], "chain input", "chain renamed"))
	before := s.ruleset()
	for _, text := range []string{r.resolved.Check, r.resolved.Save + "\n" + r.resolved.Do} {
		if out, err := s.sh(r.frame + text); err == nil || !strings.Contains(out, "No such file or directory") {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
	}
	if diff := cmp.Diff(before, s.ruleset()); diff != "" {
		t.Error(diff)
	}
}

// At boot the host's own rules are loaded, then our file: what it opens is open. On
// the day on which the admin has renamed a chain, our file changes nothing.
func TestNFTAtBoot(t *testing.T) {
	s := newNetSpace(t)
	s.unit = nftUnit
	s.listen(7881, 50100, 50102)
	ruleset := "flush ruleset\n" + spaceRulesets()["a final reject"]
	s.load(ruleset)
	files := s.decide(nftMedia...).Changes[1].(*steps.Files)
	ours := filepath.Join(s.dir, "ours.nft")
	if err := os.WriteFile(ours, []byte(files.Edits[0].Text.Masked()), 0o600); err != nil {
		t.Fatal(err)
	}
	boot := func(ruleset string) error {
		s.load(ruleset)
		_, err := s.sh("nft -f " + ours)
		return err
	}
	if err := boot(ruleset); err != nil {
		t.Fatal(err)
	}
	s.wantOpen(true, nftMedia...)
	if d := s.decide(nftMedia...); len(d.Changes) != 1 { // the files, which this host does not show
		t.Errorf("after a boot %d changes are planned", len(d.Changes))
	}
	renamed := strings.ReplaceAll(ruleset, "chain input", "chain renamed")
	s.load(renamed)
	before := s.ruleset()
	if err := boot(renamed); err == nil {
		t.Error("our file was loaded into a chain that is not there")
	}
	if diff := cmp.Diff(before, s.ruleset()); diff != "" {
		t.Error(diff)
	}
	s.wantOpen(false, nftMedia...)
}
