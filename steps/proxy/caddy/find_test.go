package caddy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// What keeps a route from working is an error with its place where that is sure,
// and a warning where it is not or where something else stops working.
func TestObstacles(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"nothing", "\treverse_proxy 127.0.0.1:8008\n", ""},
		{"a redirect of all", "\tredir https://x.test{uri}\n", "error: redir at /etc/caddy/Caddyfile:2 comes before the routes for https://matrix.example.org/livekit/sfu, which"},
		{"a password", "\tbasic_auth {\n\t\tbob $2a$14$x\n\t}\n", "error: basic_auth at /etc/caddy/Caddyfile:2 comes before"},
		{"a redirect of some", "\t@m method GET\n\tredir @m https://x.test\n", "warning: redir at /etc/caddy/Caddyfile:3 may come before"},
		{"a redirect elsewhere", "\tredir / https://x.test\n", ""},
		{"the same by hand", "\thandle_path /livekit/sfu/* {\n\t\treverse_proxy 127.0.0.1:7880\n\t}\n", "warning: handle_path at /etc/caddy/Caddyfile:2 serves https://matrix.example.org/livekit/sfu, or a part of it, until now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost("matrix.example.org {\n"+c.body+"}\n", nil, asked{})
			step := serve(suite.OneName("matrix.example.org"), Config{})
			d := suite.Decide(t, step, o)
			got := suite.Summaries(d.Findings)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || (len(d.Changes) == 0) != strings.HasPrefix(c.want, "error") {
				t.Fatalf("it finds %s and changes %v", got, suite.Verbs(d))
			}
			if len(d.Changes) == 0 {
				return
			}
			settle(t, o, step, d)
			if again := suite.Summaries(suite.Decide(t, step, o).Findings); strings.Contains(again, "until now") {
				t.Errorf("said again: %s", again)
			}
		})
	}
}

// Where the site sets a CORS header for everything, our routes set their one.
func TestOneCORSHeader(t *testing.T) {
	o := caddyHost("matrix.example.org {\n\theader Access-Control-Allow-Origin https://x.test\n}\n", nil, asked{})
	step := serve(suite.OneName("matrix.example.org"), Config{})
	settle(t, o, step, suite.Decide(t, step, o))
	if got := strings.Count(o.Files[intoFile], "\t\tAccess-Control-Allow-Origin \"*\"\n\t\tdefer\n"); got != 2 {
		t.Errorf("%d routes set it:\n%s", got, o.Files[intoFile])
	}
}

// The client well-known is served as JSON with its CORS header, unless the site has
// something for it already.
func TestStaticFile(t *testing.T) {
	const ownFile = "/etc/caddy/ecdeploy/example.org.example.org.caddy"
	for _, c := range []struct {
		name, text string
		writes     bool
		want       string
	}{
		{"plain", "example.org {\n\troot * /var/www\n\tfile_server\n}\n", true, ""},
		{"headers for it", "example.org {\n\theader /.well-known/matrix/* {\n\t\tContent-Type application/json\n\t\tAccess-Control-Allow-Origin *\n\t}\n\tfile_server\n}\n", false, ""},
		{"answered by itself", "example.org {\n\trespond /.well-known/matrix/client `{}`\n}\n", false, ""},
		{"a redirect", "example.org {\n\tredir https://www.example.org{uri}\n}\n", true, "warning: redir at /etc/caddy/Caddyfile:2 may keep /var/www/client from being served"},
		{"nobody", "www.example.org {\n}\n", false, "warning: Caddy on h has no site for example.org, so /var/www/client may be served by nobody"},
		{"unknown", "{$SITE} {\n}\nwww.example.org {\n}\n", false, "warning: it is unknown which site of Caddy serves https://example.org/.well-known/matrix/client"},
	} {
		t.Run(c.name, func(t *testing.T) {
			site := suite.WithWellKnown(suite.OneHost(), "/var/www/client")
			site.Parts[0].Routes, site.Parts[1].Routes = nil, nil
			o := caddyHost(c.text, nil, asked{})
			step := serve(site, Config{})
			d := suite.Decide(t, step, o)
			if got := suite.Summaries(d.Findings); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Error(got)
			}
			settle(t, o, step, d)
			text := o.Files[ownFile]
			if (text != "") != c.writes {
				t.Fatalf("it writes %q", text)
			}
			for _, want := range []string{"path /.well-known/matrix/client\n", `Content-Type "application/json"`, `Access-Control-Allow-Origin "*"`, "root * /var/www\n", "rewrite * /client\n"} {
				if c.writes && !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
		})
	}
}

// Several sites of others get a file each, at once.
func TestSeveralFiles(t *testing.T) {
	o := caddyHost("example.org {\n\tfile_server\n}\nmatrix.example.org {\n}\n", nil, asked{})
	step := serve(suite.WithWellKnown(suite.OneName("matrix.example.org"), "/var/www/client"), Config{})
	d := suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "+ /etc/caddy/ecdeploy/example.org.example.org.caddy", "+ "+intoFile)
	settle(t, o, step, d)
	if got := strings.Count(o.Files[usualMain], "\timport "); got != 2 {
		t.Errorf("%d imports in\n%s", got, o.Files[usualMain])
	}
}

// What ecdeploy cannot work with is said with a way out, and nothing is changed.
func TestUnsupported(t *testing.T) {
	const text = "www.example.org {\n}\n"
	for _, c := range []struct {
		name string
		text string
		a    asked
		want string
		hint string
	}{
		{"nothing", text, asked{run: "none"}, "Caddy is not installed on h", "apt install caddy"},
		{"in a container", text, asked{run: "none", containers: "container\tweb\tcaddy:2\t0.0.0.0:443->443/tcp\n"}, "the proxy on h is container web (caddy:2)", "external"},
		{"by its API", text, asked{run: "none", api: "\nId=caddy-api.service\nLoadState=loaded\nActiveState=active\n"}, "configured through its API", "external"},
		{"resumed", text, asked{run: "/usr/bin/caddy run --environ --resume"}, "runs Caddy with --resume", "external"},
		{"no file", text, asked{run: "/usr/bin/caddy run"}, "names no --config", "external"},
		{"JSON", text, asked{run: "/usr/bin/caddy run --config /etc/caddy/caddy.json"}, "is no Caddyfile", "external"},
		{"an adapter", text, asked{run: runLine + " --adapter=nginx"}, "is no Caddyfile", "external"},
		{"something else", text, asked{run: "/usr/bin/docker run caddy"}, "does not start `caddy run`", "external"},
		{"relative", text, asked{run: "/usr/bin/caddy run -c Caddyfile"}, "not an absolute path", "external"},
		{"too old", text, asked{version: "v2.4.6 h1:x"}, "Caddy 2.4.6 on h is too old", "upgrade"},
		{"port taken", text, asked{port443: "LISTEN 0 511 *:443 *:* users:((\"nginx\",pid=1,fd=3))\n"}, "port 443 on h is taken by nginx", "external"},
		{"broken", "www.example.org {\n", asked{}, "cannot be understood: /etc/caddy/Caddyfile:1", "caddy validate"},
		{"refused", text, asked{running: "refused adapting config using caddyfile: /etc/caddy/Caddyfile:2: unrecognized directive: x\n"}, "does not take its configuration as it is: adapting", "correct it"},
		{"a missing import", "import x.caddy\n", asked{}, "an imported file does not exist", "caddy validate"},
		{"unknown sites", "{$SITE} {\n}\n", asked{}, "it is unknown which site of Caddy serves https://matrix-rtc-sfu.example.org", "external"},
		{"no certificates", "{\n\tauto_https off\n}\n", asked{}, "gets no certificates (auto_https off)", "certificate and key"},
		{"one address", "www.example.org {\n\tbind 198.51.100.7\n}\n", asked{}, "the site at /etc/caddy/Caddyfile:1 is only for 198.51.100.7 (bind)", "with its bind"},
		{"no braces", "www.example.org\nrespond x\n", asked{}, "/etc/caddy/Caddyfile cannot be edited safely: the file has a single site without braces", "import /etc/caddy/ecdeploy/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := suite.Decide(t, serve(suite.OneHost(), Config{}), caddyHost(c.text, nil, c.a))
			if len(d.Changes) > 0 || len(d.Findings) == 0 || d.Findings[0].Severity != steps.Error ||
				!strings.Contains(suite.Summaries(d.Findings), c.want) || !strings.Contains(d.Findings[0].Hint, c.hint) {
				t.Errorf("it changes %v and finds %+v", suite.Verbs(d), d.Findings)
			}
		})
	}
}

// A site without TLS is none that clients reach, unless something is in front of it.
func TestSiteWithoutTLS(t *testing.T) {
	o := caddyHost("http://matrix-rtc-sfu.example.org {\n\trespond x\n}\n", nil, asked{})
	step := serve(suite.OneHost(), Config{})
	d := suite.Decide(t, step, o)
	const want = "warning: the site at /etc/caddy/Caddyfile:1 serves matrix-rtc-sfu.example.org, but not over HTTPS: ecdeploy adds a site that does\n"
	if got := suite.Summaries(d.Findings); got != want {
		t.Error(got)
	}
	settle(t, o, step, d)
	if again := suite.Decide(t, step, o); len(again.Findings) > 0 {
		t.Errorf("said again: %s", suite.Summaries(again.Findings))
	}
}

// What a reload of Caddy ends is said.
func TestReloads(t *testing.T) {
	for _, c := range []struct {
		name, text string
		a          asked
		action     string
		interrupt  string
		want       string
	}{
		{"usual", "", asked{}, "reload", "", ""},
		{"before 2.7", "", asked{version: "2.6.2\n"}, "reload", "ends its WebSockets", "warning: Caddy 2.6.2 on h ends WebSockets each time it reloads"},
		{"without its API", "{\n\tadmin off\n}\n", asked{}, "restart", "Caddy restarts", ""},
		{"not loaded yet", "", asked{running: "other\n"}, "reload", "", "warning: Caddy on h runs another configuration than /etc/caddy/Caddyfile says"},
		{"not kept", "{\n\tpersist_config off\n}\n", asked{running: "other\n"}, "reload", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost(c.text, nil, c.a)
			step := serve(suite.OneHost(), Config{})
			d := suite.Decide(t, step, o)
			got := suite.Summaries(d.Findings)
			change := suite.Only(t, d.Changes).(*steps.Files)
			if change.Action != c.action || c.interrupt == "" && change.Interrupt != "" || !strings.Contains(change.Interrupt, c.interrupt) {
				t.Errorf("%s, %s", change.Action, change.Interrupt)
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Error(got)
			}
			settle(t, o, step, d)
			if lingers := strings.Contains(o.Files[sitesFile], "stream_close_delay"); lingers == (c.name == "before 2.7") {
				t.Errorf("stream_close_delay is there: %v", lingers)
			}
			if again := suite.Decide(t, step, o); len(again.Findings) > 0 {
				t.Errorf("said where nothing is done: %s", suite.Summaries(again.Findings))
			}
		})
	}
}

// Files are read as they are imported, however far away they are, with the
// environment of Caddy's process, and a usual configuration in one flight.
func TestImportsAreRead(t *testing.T) {
	const far = "/srv/caddy/site.conf"
	for _, c := range []struct {
		name    string
		a       asked
		text    string
		more    map[string]string
		changes string
		reads   int
	}{
		{"one folder", asked{}, "import conf.d/*\n", map[string]string{"/etc/caddy/conf.d/a": "matrix.example.org {\n}\n"}, "/etc/caddy/conf.d/a", 1},
		{"a part of it", asked{}, "import conf.d/*.caddy\n", map[string]string{"/etc/caddy/conf.d/a.caddy": "matrix.example.org {\n}\n", "/etc/caddy/conf.d/b": "matrix.example.org {\n}\n"}, "/etc/caddy/conf.d/a.caddy", 1},
		{"elsewhere", asked{}, "import /srv/caddy/*\n", map[string]string{far: "matrix.example.org {\n}\n"}, far, 2},
		{"from there", asked{}, "import /opt/a\n", map[string]string{"/opt/a": "import /srv/caddy/site.conf\n", far: "matrix.example.org {\n}\n"}, far, 3},
		{"by variables", asked{environ: "DIR=/srv/caddy\x00NAME=matrix.example.org\x00"}, "import {$DIR}/*\n", map[string]string{far: "{$NAME} {\n}\n"}, far, 2},
		{"the unit's file", asked{run: "/usr/bin/caddy run -c /srv/Caddyfile"}, "broken {\n", map[string]string{"/srv/Caddyfile": "matrix.example.org {\n}\n"}, "/srv/Caddyfile", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost(c.text, c.more, c.a)
			reads := 0
			o.Reads = &reads
			step := serve(suite.OneName("matrix.example.org"), Config{})
			d := suite.Decide(t, step, o)
			wantVerbs(t, d, "~ "+c.changes, "+ "+intoFile)
			if reads != c.reads {
				t.Errorf("%d flights, want %d", reads, c.reads)
			}
			settle(t, o, step, d)
		})
	}
}

// The plan file's certificate is used where it is good and Caddy can read it.
func TestCertificate(t *testing.T) {
	c := Config{Certificate: "/etc/ssl/c.pem", Key: "/etc/ssl/k.pem"}
	for _, test := range []struct{ name, pem, closed, want string }{
		{"good", suite.PEM(t, 60, "*.example.org"), "", ""},
		{"about to end", suite.PEM(t, 3, "*.example.org"), "", "warning: certificate /etc/ssl/c.pem for matrix-rtc-sfu.example.org ends on"},
		{"of another name", suite.PEM(t, 60, "x.test"), "", "error: certificate /etc/ssl/c.pem does not cover"},
		{"missing", "", "missing\t/etc/ssl/c.pem\n", "error: /etc/ssl/c.pem is not on h"},
		{"closed", suite.PEM(t, 60, "*.example.org"), "closed\t/etc/ssl/k.pem\n", "error: Caddy on h may not read /etc/ssl/k.pem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := caddyHost("{\n\tauto_https off\n}\n", map[string]string{c.Certificate: test.pem}, asked{closed: test.closed})
			step := serve(suite.OneHost(), c)
			d := suite.Decide(t, step, o)
			if got := suite.Summaries(d.Findings); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Fatal(got)
			}
			if strings.HasPrefix(test.want, "error") {
				return
			}
			if d.Checks[0].Timeout != steps.RouteTimeout {
				t.Errorf("it waits %s", d.Checks[0].Timeout)
			}
			settle(t, o, step, d)
			if strings.Count(o.Files[sitesFile], "\ttls /etc/ssl/c.pem /etc/ssl/k.pem\n") != 2 {
				t.Error(o.Files[sitesFile])
			}
		})
	}
}

// Where the public names are asked for is where Caddy listens.
func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "127.0.0.1:443",
		"{\n\thttps_port 8443\n}\n":           "127.0.0.1:8443",
		"{\n\tdefault_bind 198.51.100.7\n}\n": "198.51.100.7:443",
		"matrix-rtc-sfu.example.org {\n\tbind 198.51.100.8\n}\nmatrix-rtc-jwt.example.org {\n\tbind 198.51.100.8\n}\n": "198.51.100.8:443",
		"matrix-rtc-sfu.example.org, matrix-rtc-jwt.example.org {\n\tbind unix//run/x\n}\n":                            "127.0.0.1:443",
		"broken {": "127.0.0.1:443",
	} {
		facts, err := serve(suite.OneHost(), Config{}).Probe(t.Context(), caddyHost(text, nil, asked{}))
		if err != nil {
			t.Fatal(err)
		}
		shared := steps.Shared{HTTPS: map[string]string{}}
		facts.Share(&shared)
		if diff := cmp.Diff(map[string]string{"h": want}, shared.HTTPS); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestDetect(t *testing.T) {
	for run, want := range map[string]bool{"": true, "none": false} {
		found, err := Variant().Detect(t.Context(), caddyHost("", nil, asked{run: run}))
		if err != nil || (len(found) == 1) != want {
			t.Fatalf("%s: %v, %v", run, found, err)
		}
		if want && (!found[0].Sure || found[0].Config.HostName() != "h") {
			t.Errorf("%+v", found[0])
		}
	}
}

// The name of a matcher is another one for each site.
func TestMatcherNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a-b.test", "a.b.test", "a--b.test", "a.test:8448", "a.test.8448", "[::1]:8448"} {
		got := (&writer{site: &steps.Site{Name: name}}).matcher(steps.Tokens)
		if seen[got] != "" || strings.Trim(strings.ToLower(got), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("%s is called %s, as %s", name, got, seen[got])
		}
		seen[got] = name
	}
}
