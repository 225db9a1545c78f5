package plans

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/steps"
)

// makeApartPlan is rightFile with its SFU on a host s of its own, and these proxies.
func makeApartPlan(t *testing.T, bind string, proxies ...string) string {
	t.Helper()
	return "host \"s\" {\n  address = \"203.0.113.20\"\n}\n" + spoilLines(t, rightFile,
		"sfu {\n    host = host.x\n", "sfu {\n    host = host.s\n"+bind,
		`proxy "nginx" { host = host.x }`, strings.Join(proxies, "\n  "))
}

// Where a proxy comes over the network, the SFU's port is opened to it alone;
// to one of which nobody knows where it is, it is not opened at all.
func TestReachOfProxies(t *testing.T) {
	const bind = "    bind = \"10.0.0.2\"\n"
	external, onX, onS := `proxy "external" {}`, `proxy "external" { host = host.x }`, `proxy "external" { host = host.s }`
	for _, c := range []struct {
		name, bind string
		proxies    []string
		wrong      string // the only mistake and how to fix it, or:
		reaches    map[string][]string
		sfu        string // on which front, and where it is sent
		source     bool   // a step looks for the proxy's address
	}{
		{
			name:    "nginx over the network",
			bind:    bind,
			proxies: []string{`proxy "nginx" { host = host.x }`},
			reaches: map[string][]string{"s": {"x"}},
			sfu:     "x 10.0.0.2:7880",
			source:  true,
		},
		{name: "external over the network", bind: bind, proxies: []string{onX}, reaches: map[string][]string{"s": {"x"}}, sfu: "x 10.0.0.2:7880", source: true},
		{name: "a proxy of unknown place", bind: bind, proxies: []string{external}, reaches: map[string][]string{}, sfu: "x 10.0.0.2:7880"},
		{name: "one on each", proxies: []string{external, onS}, reaches: map[string][]string{}, sfu: "s 127.0.0.1:7880"},
		{name: "a proxy of unknown place, on loopback", proxies: []string{external},
			wrong: `the SFU on s listens on 127.0.0.1, where a proxy elsewhere cannot reach it: add proxy "external" { host = host.s }, or bind = the address of s that your proxy reaches, and open it to that alone`},
		{name: "a proxy of unknown place, on all addresses", bind: "    bind = \"0.0.0.0\"\n", proxies: []string{external},
			wrong: "the SFU on s listens on all addresses, without encryption: write bind = the address of s that your proxy reaches, and open it to that alone"},
		{name: "on loopback", proxies: []string{onX},
			wrong: `the SFU on s listens on 127.0.0.1, where the proxy on x cannot reach it: add proxy "external" { host = host.s }, or bind = the address that x reaches; it is opened to x alone`},
		{name: "only at the SFU", proxies: []string{onS},
			wrong: `no proxy is on x, where the JWT service listens: add proxy "external" { host = host.x }`},
		{name: "not supported", proxies: []string{`proxy "traefik" { host = host.s }`}, wrong: `proxy "traefik" is not supported`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, m := load("hosts.hcl", []byte(makeApartPlan(t, c.bind, c.proxies...)), LoadOptions{Environ: environ})
			if c.wrong != "" {
				if len(m) != 1 || !strings.HasPrefix(m[0].Summary+": "+m[0].Detail, c.wrong) {
					t.Errorf("%+v", m)
				}
				return
			}
			if len(m) > 0 {
				t.Fatalf("%+v", m)
			}
			s := f.Sites[0].Context()
			reaches := map[string][]string{}
			for _, p := range s.Parts {
				if from := s.Reaches(p); from != nil {
					reaches[p.Host] = from
				}
			}
			if d := cmp.Diff(c.reaches, reaches); d != "" {
				t.Error(d)
			}
			front, to, _ := strings.Cut(c.sfu, " ")
			if r := s.Served(front)[0]; r.Purpose != steps.Signalling || r.URL != "https://sfu.x.test" || r.Upstream != to {
				t.Errorf("the proxy on %s serves %+v", front, r)
			}
			all, err := place(f, f.Sites[0])
			if err != nil {
				t.Fatal(err)
			}
			source := false
			for _, p := range all {
				source = source || p.step.Name() == "source-address"
			}
			if source != c.source {
				t.Errorf("the step source-address is there: %v", source)
			}
		})
	}
}

// A block is on the host that it names, whatever its variant: that host counts as
// used, and public names are claimed there.
func TestProxyOnItsOwnHost(t *testing.T) {
	const b = "host \"b\" {\n  address = \"203.0.113.30\"\n}\n"
	const block = `proxy "caddy" { host = host.b }`
	first := spoilLines(t, rightFile, `proxy "nginx" { host = host.x }`, block,
		"sfu {\n    host = host.x\n", "sfu {\n    host = host.x\n    bind = \"10.0.0.3\"\n", "auth {\n    host = host.x", "auth {\n    host = host.b")
	f, m := load("hosts.hcl", []byte(b+first), LoadOptions{Environ: environ})
	if f == nil || len(m) > 0 {
		t.Fatalf("%+v", m)
	}
	site := f.Sites[0]
	all, err := place(f, site)
	if err != nil {
		t.Fatal(err)
	}
	var on []string
	for _, p := range all {
		if p.step.Name() == "caddy" {
			on = append(on, p.host)
		}
	}
	if d := cmp.Diff([]string{"b"}, on); d != "" {
		t.Errorf("Caddy is on other hosts: %s", d)
	}

	// The proxy alone is on b: there it has nothing to serve, but b is used.
	_, m = load("hosts.hcl", []byte(b+spoilLines(t, rightFile, `  proxy "nginx"`, "  "+block+"\n  proxy \"nginx\"")), LoadOptions{Environ: environ})
	if len(m) != 1 || m[0].Summary != "the proxy on b has nothing to serve for this site" {
		t.Errorf("%+v", m)
	}

	// Another site, of whose services one has the same public name on b.
	second := strings.NewReplacer(`site "x.test"`, `site "y.test"`, "https://jwt.x.test", "https://sfu.x.test/jwt", "https://sfu.x.test\"", "https://sfu.y.test\"",
		"host.x", "host.y", `host "x"`, `host "y"`, "203.0.113.10", "203.0.113.40", "/var/www/x.test", "/var/www/y.test").Replace(first)
	second = strings.Replace(second, "/jwt\"", "/jwt\"\n    port = 8081\n    container = \"jwt-y\"", 1)
	_, m = load("hosts.hcl", []byte(b+first+second), LoadOptions{Environ: environ})
	if len(m) != 1 || !strings.HasPrefix(m[0].Summary, `the name sfu.x.test belongs to site "x.test" already`) {
		t.Errorf("%+v", m)
	}
}

// Whose proxy it is shows only when a variable has its value.
func TestReachOfUnknownProxy(t *testing.T) {
	text := "variable \"front\" {}\n" + makeApartPlan(t, "", `proxy "external" { host = var.front }`)
	if f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ, Validate: true}); f == nil {
		t.Errorf("%+v", m)
	}
}
