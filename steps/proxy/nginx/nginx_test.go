package nginx

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// nginxHost is a Debian host whose sites-enabled holds symlinks.
func nginxHost(t *testing.T, sites map[string]string) suite.Fake {
	o := suite.Fake{Files: map[string]string{
		"/etc/nginx/nginx.conf": suite.NginxConf, "/etc/nginx/mime.types": "types { }\n",
		"/etc/letsencrypt/live/rtc/fullchain.pem": suite.PEM(t, 60, "*.example.org", "example.org"),
		"/etc/letsencrypt/live/rtc/privkey.pem":   "KEY",
	}, Links: map[string]string{}}
	for name, text := range sites {
		if strings.HasPrefix(name, "/") {
			o.Files[name] = text
			continue
		}
		o.Files["/etc/nginx/sites-available/"+name] = text
		o.Links["/etc/nginx/sites-enabled/"+name] = "/etc/nginx/sites-available/" + name
	}
	o.Answer = func(argv string) host.Result {
		if strings.HasPrefix(argv, "for k in") {
			return host.Result{Stdout: []byte("/etc/letsencrypt/live/rtc/privkey.pem\n")}
		}
		return host.Result{}
	}
	return o
}

func decideNginx(t *testing.T, site *steps.Site, c *Config, o host.Observer) steps.Decision {
	t.Helper()
	c.Host = "h"
	facts, err := c.serve(site).Probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(steps.Shared{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settle applies a decision and wants the second one to have nothing to do.
func settle(t *testing.T, o suite.Fake, site *steps.Site, d steps.Decision) {
	t.Helper()
	for _, f := range d.Findings {
		if f.Severity == steps.Error {
			t.Fatalf("got %s", suite.Summaries(d.Findings))
		}
	}
	o.Apply(t, d)
	// Our own files belong to root and are 0644, as the fake has all files.
	if again := decideNginx(t, site, &Config{}, o); len(again.Changes) != 0 {
		t.Fatalf("the second apply plans %v", suite.Verbs(again))
	}
}

func TestNginxTwoNamesOfOurOwn(t *testing.T) {
	o := nginxHost(t, map[string]string{"default": "server { listen 80 default_server; server_name _; root /var/www/html; }\n"})
	site := suite.OneHost()
	d := decideNginx(t, site, &Config{}, o)
	if diff := cmp.Diff([]string{"+ /etc/nginx/conf.d/ecdeploy-example.org.conf"}, suite.Verbs(d)); diff != "" {
		t.Fatal(diff)
	}
	settle(t, o, site, d)
	text := o.Files["/etc/nginx/conf.d/ecdeploy-example.org.conf"]
	parsed, err := splice.ParseNginx([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	servers := splice.ServerBlocks(parsed)
	if len(servers) != 2 || !servers[0].TLS || !servers[1].TLS {
		t.Fatalf("got %d servers in\n%s", len(servers), text)
	}
	// LiveKit's token stands in the query: its requests go into no access log.
	for i, want := range []bool{true, false} {
		loc, _ := splice.LocationFor(servers[i].Directive, "/rtc")
		if off := hasDirective(loc.Body, "access_log", "off"); off != want {
			t.Errorf("server %d: access_log off is %v, want %v", i, off, want)
		}
		if up := hasDirective(loc.Body, "proxy_set_header", "Upgrade", "$http_upgrade"); up != want {
			t.Errorf("server %d: upgrade is %v, want %v", i, up, want)
		}
	}
}

func hasDirective(dirs []*splice.Directive, name string, args ...string) bool {
	for _, d := range dirs {
		if d.Name == name && cmp.Equal(d.Args, args) {
			return true
		}
	}
	return false
}

func TestNginxOneNameInAForeignBlock(t *testing.T) {
	o := nginxHost(t, map[string]string{"matrix": suite.MatrixSite})
	site := suite.OneName("matrix.example.org")
	d := decideNginx(t, site, &Config{}, o)
	want := []string{"+ /etc/nginx/ecdeploy/example.org.matrix.example.org.conf", "~ /etc/nginx/sites-available/matrix"}
	if diff := cmp.Diff(want, suite.Verbs(d)); diff != "" {
		t.Fatal(diff)
	}
	settle(t, o, site, d)
	// One line, in the block for port 443: the ones on 80 and 8448 stay.
	wantText := strings.Replace(suite.MatrixSite, "location /_matrix { proxy_pass http://127.0.0.1:8008; }\n",
		"location /_matrix { proxy_pass http://127.0.0.1:8008; }\n    include /etc/nginx/ecdeploy/example.org.matrix.example.org.conf;\n", 1)
	if diff := cmp.Diff(wantText, o.Files["/etc/nginx/sites-available/matrix"]); diff != "" {
		t.Error(diff)
	}
	parsed, err := splice.ParseNginx([]byte(o.Files["/etc/nginx/ecdeploy/example.org.matrix.example.org.conf"]))
	if err != nil {
		t.Fatal(err)
	}
	server := &splice.Directive{Name: "server", Block: true, Body: parsed}
	for uri, upstream := range map[string]string{"/livekit/sfu/rtc": "http://127.0.0.1:7880/", "/livekit/jwt/sfu/get": "http://127.0.0.1:8080/"} {
		loc, ok := splice.LocationFor(server, uri)
		if !ok || !hasDirective(loc.Body, "proxy_pass", upstream) { // the slash at its end strips the prefix
			t.Errorf("%s does not go to %s", uri, upstream)
		}
	}
}

// What one public name needed is gone when the site gets another, and another
// site's files and lines stay, even where its name begins alike.
func TestNginxNameChanges(t *testing.T) {
	other := "# For matrix.example.org of example.org.uk, included by /etc/nginx/sites-available/matrix. Written by ecdeploy.\nlocation ^~ /x/ { }\n"
	sites := map[string]string{
		"matrix": strings.Replace(suite.MatrixSite,
			"    location /_matrix {",
			"    include /etc/nginx/ecdeploy/example.org.uk.matrix.example.org.conf;\n    location /_matrix {",
			1),
		"/etc/nginx/ecdeploy/example.org.uk.matrix.example.org.conf": other,
		"/etc/nginx/ecdeploy/mine.conf":                              "# by hand\n",
	}
	o := nginxHost(t, sites)
	before := o.Files["/etc/nginx/sites-available/matrix"]
	site := suite.OneName("matrix.example.org")
	settle(t, o, site, decideNginx(t, site, &Config{}, o))

	site = suite.OneHost()
	d := decideNginx(t, site, &Config{}, o)
	want := []string{
		"~ /etc/nginx/sites-available/matrix",
		"- /etc/nginx/ecdeploy/example.org.matrix.example.org.conf",
		"+ /etc/nginx/sites-enabled/zz-ecdeploy-example.org.conf",
	}
	if diff := cmp.Diff(want, suite.Verbs(d)); diff != "" {
		t.Fatal(diff)
	}
	settle(t, o, site, d)
	if diff := cmp.Diff(before, o.Files["/etc/nginx/sites-available/matrix"]); diff != "" {
		t.Error(diff)
	}

	site = suite.OneName("chat.example.org") // another name of the same block
	d = decideNginx(t, site, &Config{}, o)
	want = []string{
		"+ /etc/nginx/ecdeploy/example.org.chat.example.org.conf",
		"~ /etc/nginx/sites-available/matrix",
		"- /etc/nginx/sites-enabled/zz-ecdeploy-example.org.conf",
	}
	if diff := cmp.Diff(want, suite.Verbs(d)); diff != "" {
		t.Fatal(diff)
	}
	settle(t, o, site, d)
	for p, text := range map[string]string{"/etc/nginx/ecdeploy/example.org.uk.matrix.example.org.conf": other, "/etc/nginx/ecdeploy/mine.conf": "# by hand\n"} {
		if o.Files[p] != text {
			t.Errorf("%s became %q", p, o.Files[p])
		}
	}
}

// The listen lines and names of a block may stand in a snippet.
func TestNginxBlockMadeOfSnippets(t *testing.T) {
	o := nginxHost(t, map[string]string{
		"/etc/nginx/snippets/tls.conf":  "listen 443 ssl;\ninclude snippets/cert.conf;\n",
		"/etc/nginx/snippets/cert.conf": "ssl_certificate /srv/certs/site.pem;\n",
		"/srv/certs/site.pem":           suite.PEM(t, 60, "rtc.example.org"),
		"rtc":                           "server {\n\tserver_name rtc.example.org;\n\tinclude snippets/tls.conf;\n}\n",
	})
	reads := 0
	o.Reads = &reads
	site := suite.OneName("rtc.example.org")
	d := decideNginx(t, site, &Config{}, o)
	if diff := cmp.Diff([]string{"+ /etc/nginx/ecdeploy/example.org.rtc.example.org.conf", "~ /etc/nginx/sites-available/rtc"}, suite.Verbs(d)); diff != "" {
		t.Errorf("%s\n%s", diff, suite.Summaries(d.Findings))
	}
	if reads != 2 {
		t.Errorf("%d flights, want 2: the second for the certificate", reads)
	}
}

func TestNginxListensAsTheOthersDo(t *testing.T) {
	for _, c := range []struct {
		name, sites string
		want        []string
	}{
		{"a specific address", "server { listen 198.51.100.7:443 ssl http2; server_name a.test; }", []string{"198.51.100.7:443 ssl"}},
		{"behind an SNI proxy", "server { listen 127.0.0.1:8443 ssl proxy_protocol; server_name a.test; }", []string{"127.0.0.1:8443 ssl"}},
		{"federation alone", "server { listen 8448 ssl; server_name a.test; } server { listen 443 ssl; server_name b.test; }", []string{"443 ssl"}},
		{"nothing yet", "server { listen 80; }", []string{"443 ssl", "[::]:443 ssl"}},
		{
			name:  "one address, many spellings",
			sites: "server { listen *:443 ssl; listen [::]:443 ssl; } server { listen 443 ssl; listen [0:0::0]:443 ssl; } server { listen 0.0.0.0:443 ssl; }",
			want:  []string{"*:443 ssl", "[::]:443 ssl"},
		},
		{"ssl on", "server { listen 198.51.100.7:443; ssl on; }", []string{"198.51.100.7:443 ssl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := nginxHost(t, map[string]string{"x": c.sites + "\n"})
			o.Apply(t, decideNginx(t, suite.OneHost(), &Config{}, o))
			parsed, err := splice.ParseNginx([]byte(o.Files["/etc/nginx/conf.d/ecdeploy-example.org.conf"] +
				o.Files["/etc/nginx/sites-enabled/zz-ecdeploy-example.org.conf"]))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range splice.ServerBlocks(parsed)[0].Listens {
				got = append(got, strings.Join(l, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
