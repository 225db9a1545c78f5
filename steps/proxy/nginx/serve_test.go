package nginx

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

const (
	usualPlace = "+ /etc/nginx/conf.d/ecdeploy-example.org.conf"
	lastPlace  = "+ /etc/nginx/sites-enabled/zz-ecdeploy-example.org.conf"
)

// A server block of our own never becomes an address's default server, which
// nginx makes the first one where none says default_server.
func TestNginxOwnBlockIsNoDefault(t *testing.T) {
	const synapse = "server { listen 443 ssl; server_name _; location / { proxy_pass http://127.0.0.1:8008; } }\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
		error string
	}{
		{"no TLS yet", map[string]string{"x": "server { listen 80; }\n"}, []string{usualPlace}, ""},
		{"an implicit default", map[string]string{"x": synapse}, []string{lastPlace}, ""},
		{"a default that says so", map[string]string{"x": strings.Replace(synapse, "ssl;", "ssl default_server;", 1)}, []string{usualPlace}, ""},
		{
			name:  "a default of another address alone",
			files: map[string]string{"x": strings.Replace(synapse, "ssl;", "ssl; listen [::]:443 ssl default_server;", 1)},
			want:  []string{lastPlace},
			error: "",
		},
		{"spelled otherwise", map[string]string{"x": synapse, "y": "server { listen *:443 ssl default_server; server_name a.test; }\n"}, []string{usualPlace}, ""},
		{"of UDP alone", map[string]string{"x": strings.Replace(synapse, "listen", "listen 443 quic default_server; listen", 1)}, []string{lastPlace}, ""},
		{"one in conf.d before ours", map[string]string{"/etc/nginx/conf.d/a.conf": synapse, "x": synapse}, []string{usualPlace}, ""},
		{"one in conf.d behind ours", map[string]string{"/etc/nginx/conf.d/synapse.conf": synapse}, []string{"+ /etc/nginx/conf.d/zz-ecdeploy-example.org.conf"}, ""},
		{"the earlier run's file",
			map[string]string{
				"x": synapse,
				"/etc/nginx/conf.d/ecdeploy-example.org.conf": "# The MatrixRTC backend of example.org. Written by ecdeploy: " +
					"change the plan file, not this file.\n\nserver { listen 443 ssl; server_name rtc.example.org; }\n",
			},
			[]string{"- /etc/nginx/conf.d/ecdeploy-example.org.conf", lastPlace}, ""},
		{
			name:  "nothing is read late enough",
			files: map[string]string{"zzz": synapse},
			want:  nil,
			error: "would become the default server of 443, and the one at /etc/nginx/sites-available/zzz:1 lose",
		},
		{
			name:  "servers behind the includes",
			files: map[string]string{"/etc/nginx/nginx.conf": "http {\ninclude conf.d/*.conf;\n" + synapse + "}\n"},
			want:  nil,
			error: "the one at /etc/nginx/nginx.conf:3 lose",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := nginxHost(t, c.files)
			d := decideNginx(t, suite.OneHost(), &Config{}, o)
			if c.error != "" {
				if !strings.Contains(suite.Summaries(d.Findings), c.error) || len(d.Changes) != 0 {
					t.Fatalf("got %s and %v", suite.Summaries(d.Findings), suite.Verbs(d))
				}
				return
			}
			if diff := cmp.Diff(c.want, suite.Verbs(d)); diff != "" {
				t.Fatalf("%s\n%s", diff, suite.Summaries(d.Findings))
			}
			settle(t, o, suite.OneHost(), d)
		})
	}
}

// A name with paths of ours goes into the block that answers for it today,
// whatever that block calls itself.
func TestNginxFindsWhoAnswersToday(t *testing.T) {
	const name = "rtc.example.org"
	block := func(names, more string) string {
		return "server { listen 443 ssl; server_name " + names + "; ssl_certificate /etc/letsencrypt/live/rtc/fullchain.pem; " + more + " }\n"
	}
	into := func(file string) []string {
		return []string{"+ /etc/nginx/ecdeploy/example.org." + name + ".conf", "~ /etc/nginx/sites-available/" + file}
	}
	other := map[string]string{"/srv/other.pem": suite.PEM(t, 60, "www.example.net")}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
		says  string
	}{
		{"exact before a wildcard", map[string]string{"a": block("*.example.org", ""), "b": block(name, "")}, into("b"), ""},
		{"wildcard", map[string]string{"a": block("www.example.org", ""), "b": block("*.example.org", "")}, into("b"), ""},
		{"leading dot", map[string]string{"a": block("www.example.org", ""), "b": block(".example.org", "")}, into("b"), ""},
		{"regex", map[string]string{"a": block("www.example.org", ""), "b": block(`"~^(rtc|matrix)\.example\.org$"`, "")}, into("b"), ""},
		{"the first is the default", map[string]string{"a": block("www.example.org", ""), "b": block("_", "")}, into("a"), ""},
		{
			name:  "default_server",
			files: map[string]string{"a": block("www.example.org", ""), "b": strings.Replace(block("_", ""), "ssl;", "ssl default_server;", 1)},
			want:  into("b"),
			says:  "",
		},
		{"a default that turns all away", map[string]string{"a": block("_", "return 444;")}, []string{lastPlace}, ""},
		{
			name:  "a default with another's certificate",
			files: map[string]string{"a": strings.Replace(block("www.example.net", ""), "/etc/letsencrypt/live/rtc/fullchain.pem", "/srv/other.pem", 1)},
			want:  []string{lastPlace},
			says:  "",
		},
		{"a regex that only nginx reads", map[string]string{"a": block(`~^(?!www)`, "")}, nil, "is for nginx's kind of regular expression to say"},
		{"one per address", map[string]string{"a": block(name, ""), "b": strings.Replace(block(name, ""), "443", "[::]:443", 1)},
			[]string{into("a")[0], into("a")[1], into("b")[1]}, ""},
		{"an earlier run's own block",
			map[string]string{
				"a": block("_", ""),
				"/etc/nginx/conf.d/ecdeploy-example.org.conf": "# The MatrixRTC backend of example.org. Written by ecdeploy: " +
					"change the plan file, not this file.\n\nserver { listen 443 ssl; server_name rtc.example.org; }\n",
			},
			append(into("a"), "- /etc/nginx/conf.d/ecdeploy-example.org.conf"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := nginxHost(t, c.files)
			for p, text := range other {
				o.Files[p] = text
			}
			d := decideNginx(t, suite.OneName(name), &Config{}, o)
			if diff := cmp.Diff(c.want, suite.Verbs(d)); diff != "" || !strings.Contains(suite.Summaries(d.Findings), c.says) {
				t.Fatalf("%s\n%s", diff, suite.Summaries(d.Findings))
			}
			if c.says == "" {
				settle(t, o, suite.OneName(name), d)
			}
		})
	}
	// A name that is all ours gets its own block, and a note once.
	o := nginxHost(t, map[string]string{"a": block("*.example.org", "")})
	d := decideNginx(t, suite.OneHost(), &Config{}, o)
	if !cmp.Equal(suite.Verbs(d), []string{lastPlace}) || !strings.Contains(suite.Summaries(d.Findings),
		"go to server_name *.example.org (/etc/nginx/sites-available/a:1) now") || d.Findings[0].Severity != steps.Note {
		t.Fatalf("got %v, %s", suite.Verbs(d), suite.Summaries(d.Findings))
	}
	settle(t, o, suite.OneHost(), d)
	if again := decideNginx(t, suite.OneHost(), &Config{}, o); len(again.Findings) != 0 {
		t.Errorf("noted again: %s", suite.Summaries(again.Findings))
	}
}

// What nginx includes and ecdeploy did not read may hold anything, so nothing
// is decided.
func TestNginxUnreadConfiguration(t *testing.T) {
	usual := map[string]string{"x": "server { listen 80; }\n"}
	for _, c := range []struct {
		name  string
		files map[string]string
		errs  map[string]string
		want  string
	}{
		{"a third level", map[string]string{"x": "include /srv/a.conf;\n", "/srv/a.conf": "include /opt/b.conf;\n", "/opt/b.conf": ""}, nil, "/opt/b.conf"},
		{"a second level", map[string]string{"x": "include /srv/a.conf;\n", "/srv/a.conf": "include /etc/nginx/conf.d/*.conf;\n"}, nil, ""},
		{
			name: "a glob half read",
			files: map[string]string{
				"x":                          "include /srv/a.conf;\n",
				"/srv/a.conf":                "include /etc/nginx/snippets/*;\n",
				"/etc/nginx/snippets/a.conf": "",
				"/etc/nginx/snippets/b":      "",
			},
			errs: nil,
			want: "/etc/nginx/snippets/*",
		},
		{
			name: "a glob read by halves",
			files: map[string]string{
				"x":                          "include /etc/nginx/snippets/*;\n",
				"/etc/nginx/snippets/a.conf": "",
				"/etc/nginx/snippets/b":      "server { listen 443 ssl; server_name rtc.example.org; return 404; }\n",
			},
			errs: nil,
			want: "answers everything",
		},
		{"too large", usual, map[string]string{"/etc/nginx/sites-enabled/x": "it is too large"}, "/etc/nginx/sites-enabled/x: it is too large"},
		{
			name:  "too large and unrelated",
			files: map[string]string{"x": "server { listen 80; }\n", "/etc/nginx/snippets/y.conf": ""},
			errs:  map[string]string{"/etc/nginx/snippets/y.conf": "it is too large"},
			want:  "",
		},
		{
			name: "a dot file",
			files: map[string]string{
				"x":                  "include /etc/nginx/.x.conf;\n",
				"/etc/nginx/.x.conf": "server { listen 443 ssl; server_name rtc.example.org; return 404; }\n",
			},
			errs: nil,
			want: "answers everything",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := nginxHost(t, c.files)
			reads := 0
			o.Reads, o.Errs = &reads, c.errs
			d := decideNginx(t, suite.OneName("rtc.example.org"), &Config{}, o)
			if got := suite.Summaries(d.Findings); c.want == "" && got != "" || !strings.Contains(got, c.want) || (len(d.Changes) == 0) == (c.want == "") {
				t.Errorf("got %q and %v", got, suite.Verbs(d))
			}
			if reads > 2 {
				t.Errorf("%d flights", reads)
			}
		})
	}
}

// A renewed certificate elsewhere is no reason to change ours, unless ours
// nears its end or is gone.
func TestNginxKeepsItsCertificate(t *testing.T) {
	const a, b = "/etc/letsencrypt/live/a/fullchain.pem", "/etc/letsencrypt/live/b/fullchain.pem"
	o := nginxHost(t, map[string]string{a: suite.PEM(t, 80, "rtc.example.org"), b: suite.PEM(t, 60, "rtc.example.org")})
	o.Answer = func(string) host.Result {
		return host.Result{Stdout: []byte("/etc/letsencrypt/live/a/privkey.pem\n/etc/letsencrypt/live/b/privkey.pem\n")}
	}
	settle(t, o, suite.OneName("rtc.example.org"), decideNginx(t, suite.OneName("rtc.example.org"), &Config{}, o))
	changes := func() int { return len(decideNginx(t, suite.OneName("rtc.example.org"), &Config{}, o).Changes) }
	o.Files[b] = suite.PEM(t, 90, "rtc.example.org")
	if changes() != 0 {
		t.Error("it takes the other one after that is renewed")
	}
	for name, text := range map[string]string{"about to end": suite.PEM(t, 3, "rtc.example.org"), "of another name": suite.PEM(t, 80, "x.test")} {
		if o.Files[a] = text; changes() != 1 {
			t.Errorf("it keeps one %s", name)
		}
	}
}
