package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// stepOf is the one step of a config that stands on h.
func stepOf(c Config, s *Site) Step { return c.Steps(Decl{Site: s.Name, Host: "h"}, s)[0].Step }

// said is the one finding of an external step, without its first line.
func said(t *testing.T, s Step) (string, Decision) {
	t.Helper()
	facts, err := s.Probe(t.Context(), fakeObserver{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(Shared{})
	if err != nil || len(d.Changes) != 0 || len(d.Findings) != 1 || d.Findings[0].Severity != Note {
		t.Fatalf("%v: %d changes, %v", err, len(d.Changes), d.Findings)
	}
	_, text, _ := strings.Cut(d.Findings[0].Summary, "\n")
	return text, d
}

func TestExternalProxyPrintsTheBlock(t *testing.T) {
	for _, c := range []struct {
		name    string
		site    *Site
		servers []string
		caddy   string
	}{
		{"two names", testSite(), []string{"matrix-rtc-sfu.example.org", "matrix-rtc-jwt.example.org"},
			"matrix-rtc-sfu.example.org {\n    handle {\n        reverse_proxy 127.0.0.1:7880\n    }\n}\nmatrix-rtc-jwt.example.org {\n    handle {\n        reverse_proxy 127.0.0.1:8080\n    }\n}\n"},
		{"one name", oneName("rtc.example.org"), []string{"rtc.example.org"},
			"rtc.example.org {\n    handle_path /livekit/sfu/* {\n        reverse_proxy 127.0.0.1:7880\n    }\n    handle_path /livekit/jwt/* {\n        reverse_proxy 127.0.0.1:8080\n    }\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, d := said(t, stepOf(&ProxyExternal{Host: "h"}, c.site))
			nginx, caddy, ok := strings.Cut(text, "or in a Caddyfile:\n")
			if !ok || caddy != c.caddy {
				t.Errorf("for Caddy: %s", cmp.Diff(c.caddy, caddy))
			}
			parsed, err := splice.ParseNginx([]byte(nginx))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range splice.ServerBlocks(parsed) {
				names = append(names, strings.Join(s.Names, " "))
			}
			if diff := cmp.Diff(c.servers, names); diff != "" {
				t.Error(diff)
			}
			if len(d.Checks) != 4 || d.Checks[0].HTTP.Dial != "" {
				t.Errorf("%d checks, the first dials %q", len(d.Checks), d.Checks[0].HTTP.Dial)
			}
		})
	}
}

// What is printed for a foreign Synapse is exactly what is done to ours.
func TestExternalSynapsePrintsWhatIsNeeded(t *testing.T) {
	text, d := said(t, stepOf(&SynapseExternal{URL: "https://matrix.example.org/"}, testSite()))
	f := synapseFound("homeserver.yaml", text+"\n"+hsListen)
	if again := f.decide(testSite(), debianConfig()); len(again.Changes) != 0 {
		t.Errorf("with it there is still to do:\n%s", again.Changes[0].Summary().Diff)
	}
	if err := yaml.Unmarshal([]byte(text), new(any)); err != nil {
		t.Error(err)
	}
	for _, c := range d.Checks {
		if !strings.HasPrefix(c.HTTP.URL, "https://matrix.example.org/_matrix/") {
			t.Errorf("asks %s", c.HTTP.URL)
		}
	}
}

func TestExternalWellKnownPrintsTheKey(t *testing.T) {
	text, d := said(t, stepOf(&WellKnownExternal{}, testSite()))
	key, _, _ := strings.Cut(text, "\nand")
	edits, err := splice.RTCFoci([]byte("{"+key+"}"), testAuth().URL)
	if err != nil || len(edits) != 0 {
		t.Errorf("%q is not what is needed: %v", key, err)
	}
	if len(d.Checks) != 1 || d.Checks[0].HTTP.LiveKitURL != testAuth().URL || d.Checks[0].HTTP.OneHeader != "Access-Control-Allow-Origin" {
		t.Errorf("checks %+v", d.Checks)
	}
}

func TestWellKnownOnDisk(t *testing.T) {
	const path = "/var/www/client"
	for _, c := range []struct {
		name, before, after, says string
		missing                   bool
		at                        string
	}{
		{name: "merged, in its order", before: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n  \"io.element.e2ee\": {\"default\": true}\n}\n",
			after: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n  \"io.element.e2ee\": {\"default\": true},\n  \"org.matrix.msc4143.rtc_foci\": [\n    {\n      \"type\": \"livekit\",\n      \"livekit_service_url\": \"https://matrix-rtc-jwt.example.org\"\n    }\n  ]\n}\n"},
		{name: "there", before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}]}`},
		{name: "an older URL", before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://old/"}],"a":1}`, after: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}],"a":1}`},
		{name: "no JSON", before: "{ nonsense", says: "error: /var/www/client cannot be edited safely"},
		{name: "not there", missing: true, says: "error: /var/www/client is not there"},
		{name: "mdad's", before: "{}", at: "/matrix/static-files/public/.well-known/matrix/client", says: "error: /matrix/static-files/public/.well-known/matrix/client belongs to matrix-docker-ansible-deploy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := orSelf(c.at, path)
			o := fakeObserver{files: map[string]string{}}
			if !c.missing {
				o.files[at] = c.before
			}
			facts, err := (&WellKnownFile{Path: at}).merge(testSite()).Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := facts.Diff(Shared{})
			if err != nil {
				t.Fatal(err)
			}
			if got := summaries(d.Findings); !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("says %q, want %q", got, c.says)
			}
			if c.after == "" {
				c.after = c.before
			}
			o.apply(t, d)
			if diff := cmp.Diff(c.after, o.files[at]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNeighbours(t *testing.T) {
	n := parseNeighbours(host.Result{Stdout: []byte("manager\ta Kubernetes cluster as for ess-helm (/etc/kubernetes/manifests)\n" +
		"container\tapp\tghcr.io/element-hq/element-call:v0.28.1\t127.0.0.1:8090->8080/tcp\ncontainer\tgw\tcaddy:2\t0.0.0.0:80->80/tcp, [::]:443->443/tcp\ncontainer\ths\tmatrixdotorg/synapse:latest\t\n")})
	if len(n.managers) != 1 || len(n.containers) != 3 {
		t.Fatalf("got %+v", n)
	}
	for image, want := range map[string][2]bool{ // a proxy, a Synapse; with the host's network
		"nginx": {true, false}, "docker.io/library/nginx:1.27": {true, false}, "nginxproxy/nginx-proxy": {true, false}, "jc21/nginx-proxy-manager:2": {true, false}, "traefik:v3": {true, false},
		"lscr.io/linuxserver/swag@sha256:0": {true, false}, "caddy:2-alpine": {true, false}, "ghcr.io/element-hq/synapse:v1.160.0": {false, true}, "matrixdotorg/synapse": {false, true},
		"ghcr.io/me/my-synapse-admin:1": {false, false}, "redis:7": {false, false}, "livekit/livekit-server:v1": {false, false},
	} {
		one := neighbours{containers: []runningContainer{{"c", image, ""}}}
		_, proxy := one.proxy()
		_, synapse := one.synapse()
		if proxy != want[0] || synapse != want[1] {
			t.Errorf("%s: proxy %v, Synapse %v", image, proxy, synapse)
		}
	}
	if who, ok := n.proxy(); !ok || who != "container gw (caddy:2)" {
		t.Errorf("the proxy is %q", who)
	}
}
