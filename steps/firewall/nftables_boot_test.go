package firewall

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// nftBooted decides on a host with files of ours, where our rules are as given.
func nftBooted(t *testing.T, files map[string]string, unit, rules string, open ...Opening) steps.Decision {
	t.Helper()
	o := suite.Fake{Files: files, Answer: func(argv string) host.Result {
		switch {
		case strings.HasPrefix(argv, "nft -j"):
			return host.Result{Stdout: []byte(rules)}
		case strings.HasPrefix(argv, "systemctl show"):
			return host.Result{Stdout: []byte(unit)}
		}
		return host.Result{Stdout: []byte("/usr/sbin/nft\n")}
	}}
	f, err := probeNFT(t.Context(), o, &steps.Site{Name: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return f.decide(&steps.Site{Name: "example.org"}, open)
}

// written is what the files of a change say, and "" for one that goes.
func written(t *testing.T, c steps.Change) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range c.(*steps.Files).Edits {
		out[e.Path] = e.Text.Masked()
	}
	return out
}

func TestNFTBootFiles(t *testing.T) {
	const dropIn = "/etc/systemd/system/nftables.service.d/ecdeploy-example.org.conf"
	const file = "/etc/ecdeploy/example.org/nftables/inet.filter.input.nft"
	closed := nftChainJSON("inet", "filter", "input", "drop")
	media := []Opening{{"udp", 50100, 50200, ""}, {"tcp", 7881, 7881, ""}}
	d := nftBooted(t, nil, nftUnit, closed, media...)
	if len(d.Changes) != 2 {
		t.Fatalf("%d changes, want the rules and the files; it says %s", len(d.Changes), suite.Summaries(d.Findings))
	}
	files := written(t, d.Changes[1])
	want := map[string]string{
		file: "# What ecdeploy opens for example.org. Written by ecdeploy; loaded by\n# " + dropIn + "\n" +
			"insert rule inet filter input tcp dport 7881 accept comment \"ecdeploy example.org\"\n" +
			"insert rule inet filter input udp dport 50100-50200 accept comment \"ecdeploy example.org\"\n",
		dropIn: "# What ecdeploy opens for example.org, after the host's own rules. Written by ecdeploy.\n" +
			"# The - means: where this fails, the host's own rules stay loaded.\n[Service]\n" +
			"ExecStartPost=-/usr/sbin/nft -f " + file + "\nExecReload=-/usr/sbin/nft -f " + file + "\n",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Fatal(diff)
	}

	ours := nftChainJSON("inet", "filter", "input", "drop", nftAcceptJSON("udp", `{"range":[50100,50200]}`), nftAcceptJSON("tcp", "7881"))
	ours = strings.ReplaceAll(ours, `"handle":7`, `"handle":7,"comment":"ecdeploy example.org"`)
	if d := nftBooted(t, files, nftUnit, ours, media...); len(d.Changes) != 0 {
		t.Errorf("a second apply plans %s", d.Changes[0].Summary().Title)
	}
	if d := nftBooted(t, nil, nftUnit, ours, media...); len(d.Changes) != 1 || len(written(t, d.Changes[0])) != 2 {
		t.Errorf("files that are gone are not planned again: %d changes", len(d.Changes))
	}
	if d := nftBooted(t, files, nftUnit, closed, media...); len(d.Changes) != 1 || d.Changes[0].Summary().Title != "nftables accept 50100-50200/udp, 7881/tcp" {
		t.Errorf("rules that are gone are not planned again: %d changes", len(d.Changes))
	}
	d = nftBooted(t, files, nftUnit, ours)
	if len(d.Changes) != 2 || d.Changes[0].Summary().Verb != "-" || d.Changes[1].Summary().Verb != "-" {
		t.Fatalf("a removal plans %d changes", len(d.Changes))
	}
	if got := slices.Sorted(maps.Keys(written(t, d.Changes[1]))); !slices.Equal(got, []string{file, dropIn}) {
		t.Errorf("a removal removes %s", got)
	}
	if d := nftBooted(t, nil, nftUnit, closed); len(d.Changes)+len(d.Findings) != 0 {
		t.Errorf("a second removal plans %d changes and says %s", len(d.Changes), suite.Summaries(d.Findings))
	}
}

// A unit that cannot reload does not seem to because of us.
func TestNFTBootWithoutReload(t *testing.T) {
	d := nftBooted(t, nil, "UnitFileState=enabled\nExecReload=\n", nftChainJSON("ip", "filter", "input", "drop"), Opening{"tcp", 7881, 7881, ""})
	for p, text := range written(t, d.Changes[1]) {
		if strings.Contains(text, "ExecReload") {
			t.Errorf("%s has a reload:\n%s", p, text)
		}
	}
}

// nftAcceptJSON are the statements of a rule that accepts these ports.
func nftAcceptJSON(proto, ports string) string {
	return nftMatchJSON(proto, "dport", ports) + `,{"accept":null}`
}

func nftMatchJSON(protocol, field, right string) string {
	return `{"match":{"op":"==","left":{"payload":{"protocol":"` + protocol + `","field":"` + field + `"}},"right":` + right + `}}`
}

// Chains that jump to each other without end, which no kernel has, end in a finding.
func TestNFTEndsSoon(t *testing.T) {
	loop := `,{"chain":{"family":"ip","table":"t","name":"x"}},{"rule":{"family":"ip","table":"t","chain":"input","expr":[{"jump":{"target":"x"}}]}}` +
		strings.Repeat(`,{"rule":{"family":"ip","table":"t","chain":"x","expr":[{"jump":{"target":"x"}}]}}`, 20)
	rules := strings.TrimSuffix(nftChainJSON("ip", "t", "input", "drop"), "]}") + loop + "]}"
	d := nftBooted(t, nil, nftUnit, rules, Opening{"tcp", 7881, 7881, ""})
	want := "error: cannot determine whether chain ip t input of nftables on h lets in 7881/tcp: the ways through its rules are too many\n"
	if diff := cmp.Diff(want, suite.Summaries(d.Findings)); diff != "" || len(d.Changes) != 0 {
		t.Errorf("%d changes; %s", len(d.Changes), diff)
	}
}

// FuzzNFT: whatever a host says its rules are, a decision comes soon, and no text of
// the host's gets into a command.
func FuzzNFT(f *testing.F) {
	recorded, err := os.ReadFile("testdata/nftables.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(recorded))
	for _, s := range []string{
		"", "{}", "null", `{"nftables":null}`, `{"nftables":[{}]}`, `{"nftables":[{"rule":null}]}`,
		nftChainJSON("inet", "a'b", "input\n$(id)", "drop"),
		nftChainJSON("inet", "f", "input", "drop", `{"match":{"left":{"&":[]},"op":"==","right":{"set":7}}}`,
			`{"vmap":{"key":{"concat":[]},"data":{"set":[[1]]}}}`, `{"match":{"left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}}]},"right":[]}}`),
		nftChainJSON("inet", "f", "input", "drop", nftAcceptJSON("tcp", `{"range":[9,-1e300]}`), nftAcceptJSON("tcp", `{"range":[]}`),
			strings.Replace(nftMatchJSON("tcp", "dport", "1e300"), "==", ">", 1)),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rules string) {
		d := nftBooted(t, nil, nftUnit, rules, Opening{"tcp", 7881, 7881, ""}, Opening{"tcp", 7880, 7880, "10.0.0.7"})
		for _, c := range d.Changes {
			if e, ok := c.(*steps.Exec); ok {
				for line := range strings.Lines(e.DoText) {
					if strings.Trim(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/ '\"\n") != "" {
						t.Errorf("unexpected text in %q", line)
					}
				}
			}
		}
		for _, finding := range d.Findings {
			if strings.ContainsAny(finding.Summary, "\n\x1b") || len(finding.Summary) > 1500 {
				t.Errorf("a finding of %d bytes: %q", len(finding.Summary), finding.Summary)
			}
		}
	})
}
