package nginx

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

func TestNginxFindings(t *testing.T) {
	const p = "/etc/letsencrypt/live/rtc/fullchain.pem"
	block := func(inside string) string {
		return "server {\n listen 443 ssl;\n server_name rtc.example.org;\n" + inside + "\n}\n"
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		drop  []string
		cfg   *Config
		says  map[string]string // answers of queries, by how they begin
		code  map[string]int
		want  string
		hint  string
	}{
		{name: "not installed", code: map[string]int{"nginx -v": 127}, want: "error: nginx is not installed on h", hint: "apt install nginx"},
		{name: "in a container", code: map[string]int{"nginx -v": 127}, says: map[string]string{"[ ! -d /matrix": "container\tweb\tnginxproxy/nginx-proxy:1.6\t0.0.0.0:80->80/tcp, 0.0.0.0:443->443/tcp\n"},
			want: "error: the proxy on h is container web (nginxproxy/nginx-proxy:1.6)", hint: `proxy "external"`},
		{name: "traefik of the host's network", code: map[string]int{"nginx -v": 127}, says: map[string]string{"[ ! -d /matrix": "container\tt\ttraefik:v3\t\n"}, want: "error: the proxy on h is container t", hint: `proxy "external"`},
		{name: "not running", code: map[string]int{"if [ -d /run/systemd/system ]": 3}, want: "error: nginx does not run on h", hint: "systemctl status"},
		{name: "mdad", says: map[string]string{"[ ! -d /matrix": "manager\tmatrix-docker-ansible-deploy (/matrix/synapse)\n"}, want: "warning: matrix-docker-ansible-deploy (/matrix/synapse) is on h", hint: `proxy "external"`},
		{name: "a web application behind the host's nginx", says: map[string]string{"[ ! -d /matrix": "container\tapp\tnginx:1.27\t127.0.0.1:8081->80/tcp\n"}, want: ""},
		{name: "unreadable", files: map[string]string{"bad": "server {\n"}, want: "error: nginx's configuration cannot be read: /etc/nginx/sites-enabled/bad", hint: "nginx -t"},
		{name: "no certificate", drop: []string{p}, want: "error: no certificate for rtc.example.org on h", hint: "certbot certonly --nginx -d rtc.example.org"},
		{name: "expired", files: map[string]string{p: suite.PEM(t, -1, "rtc.example.org")}, want: "error: certificate " + p + " for rtc.example.org expired on", hint: "certbot certonly --nginx -d rtc.example.org"},
		{name: "about to expire", files: map[string]string{p: suite.PEM(t, 3, "rtc.example.org")}, want: "warning: certificate " + p + " for rtc.example.org ends on", hint: "certbot renew"},
		{name: "another name", files: map[string]string{p: suite.PEM(t, 60, "www.example.org")}, want: "error: no certificate for rtc.example.org", hint: "certbot"},
		{name: "a wildcard of one level only", files: map[string]string{p: suite.PEM(t, 60, "*.org")}, want: "error: no certificate for rtc.example.org", hint: "certbot"},
		{name: "named and not covering", cfg: &Config{Certificate: "/c.pem", Key: "/k"}, files: map[string]string{"/c.pem": suite.PEM(t, 60, "www.example.org")},
			want: "error: certificate /c.pem does not cover rtc.example.org (it covers www.example.org)", hint: "certbot"},
		{name: "named and missing", cfg: &Config{Certificate: "/c.pem", Key: "/k"}, want: "error: certificate /c.pem is not on h", hint: "certbot"},
		{name: "named and no certificate", cfg: &Config{Certificate: "/c.pem", Key: "/k"}, files: map[string]string{"/c.pem": "-----BEGIN CERTIFICATE-----\nnonsense\n"}, want: "error: certificate /c.pem: it holds no PEM certificate", hint: "certbot"},
		{name: "its key missing", cfg: &Config{Certificate: "/c.pem", Key: "/k"}, files: map[string]string{"/c.pem": suite.PEM(t, 60, "rtc.example.org")}, want: "error: key /k is not on h", hint: "correct key"},
		{name: "the block's certificate expired", files: map[string]string{"s": block("ssl_certificate /srv/c.pem;"), "/srv/c.pem": suite.PEM(t, -1, "rtc.example.org")}, want: "error: certificate /srv/c.pem for rtc.example.org expired", hint: "certbot"},
		{name: "the block has that location", files: map[string]string{"s": block("location /livekit/jwt/ { proxy_pass http://127.0.0.1:8081; }")}, want: "error: the server block for rtc.example.org (/etc/nginx/sites-available/s:1) has a location of its own at /livekit/jwt/", hint: "remove that location"},
		{name: "the block answers all", files: map[string]string{"s": block("return 404;")}, want: "error: the server block for rtc.example.org (/etc/nginx/sites-available/s:1) answers everything", hint: "location"},
		{name: "the block adds CORS", files: map[string]string{"s": block("add_header access-control-allow-origin *;")}, want: "error: the server block for rtc.example.org (/etc/nginx/sites-available/s:1) adds a CORS header", hint: "move add_header"},
		{name: "Lua", files: map[string]string{"s": block("content_by_lua_block { ngx.say('}') }")}, want: "error: nginx's configuration cannot be read", hint: "nginx -t"},
		{name: "port 443 of somebody else", says: map[string]string{"ss -H": "LISTEN 0 4096 *:443 *:* users:((\"caddy\",pid=7,fd=3))\n"}, want: "error: port 443 on h is taken by caddy", hint: `proxy "external"`},
		{name: "nginx next to another address's", says: map[string]string{"ss -H": "LISTEN 0 1 100.64.0.1:443 *:* users:((\"tailscaled\",pid=7,fd=3))\nLISTEN 0 1 198.51.100.7:443 *:* users:((\"nginx\",pid=8,fd=3))\n"}, want: ""},
		{name: "no folder for our file", files: map[string]string{"/etc/nginx/nginx.conf": "http { include /etc/nginx/*/site.conf; }\n"}, want: "error: nginx.conf includes no folder of server blocks", hint: "conf.d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := nginxHost(t, c.files)
			for _, p := range c.drop {
				delete(o.Files, p)
			}
			usual := o.Answer
			o.Answer = func(argv string) host.Result {
				r := usual(argv)
				for begin, text := range c.says {
					if strings.HasPrefix(argv, begin) {
						r.Stdout = []byte(text)
					}
				}
				for begin, code := range c.code {
					if strings.HasPrefix(argv, begin) {
						r.Code = code
					}
				}
				return r
			}
			if c.cfg == nil {
				c.cfg = new(Config)
			}
			got := decideNginx(t, suite.OneName("rtc.example.org"), c.cfg, o)
			if c.want == "" {
				if len(got.Findings) != 0 || len(got.Changes) != 1 {
					t.Fatalf("got %s and %d changes", suite.Summaries(got.Findings), len(got.Changes))
				}
				return
			}
			// Both routes of one name may meet the same obstacle.
			if len(got.Findings) == 0 || !strings.HasPrefix(suite.Summaries(got.Findings), c.want) || !strings.Contains(got.Findings[0].Hint, c.hint) {
				t.Fatalf("got %v\nwant %s", got.Findings, c.want)
			}
			if strings.HasPrefix(c.want, "error") && len(got.Changes) != 0 {
				t.Errorf("plans %v all the same", suite.Verbs(got))
			}
		})
	}
}

// certbot's folders may hold several certificates for a name: the one that
// lasts longest is taken.
func TestNginxTakesTheLongestCertificate(t *testing.T) {
	o := nginxHost(t, map[string]string{
		"/etc/letsencrypt/live/a/fullchain.pem": suite.PEM(t, -5, "rtc.example.org"),
		"/etc/letsencrypt/live/b/fullchain.pem": suite.PEM(t, 80, "rtc.example.org"),
	})
	o.Answer = func(argv string) host.Result {
		return host.Result{Stdout: []byte("/etc/letsencrypt/live/a/privkey.pem\n/etc/letsencrypt/live/b/privkey.pem\n/etc/letsencrypt/live/rtc/privkey.pem\n")}
	}
	d := decideNginx(t, suite.OneName("rtc.example.org"), &Config{}, o)
	if len(d.Findings) != 0 || len(d.Changes) != 1 || !strings.Contains(d.Changes[0].Summary().Diff, "ssl_certificate_key /etc/letsencrypt/live/b/privkey.pem;") {
		t.Errorf("got %s %v", suite.Summaries(d.Findings), d.Changes)
	}
}

// Private keys, password files and backups lie in nginx's folders too; they are
// not read.
func TestNginxReadsNoSecrets(t *testing.T) {
	tree := nginxTree{asked: nginxRead}
	for _, p := range []string{"/etc/nginx/ssl/site.key", "/etc/nginx/.htpasswd", "/etc/nginx/cert.key", "/etc/nginx/dhparam.pem", "/etc/nginx/private/x", "/etc/nginx/conf.d/.x.conf", "/etc/nginx/conf.d/geo.mmdb", "/etc/nginx/conf.d/*", "/etc/nginx/snippets/old.tar"} {
		if tree.covered(p) {
			t.Errorf("%s is read", p)
		}
	}
	for _, p := range []string{"/etc/nginx/nginx.conf", "/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*", "/etc/nginx/sites-enabled/*.conf", "/etc/nginx/proxy_params", "/etc/nginx/snippets/ssl.conf"} {
		if !tree.covered(p) {
			t.Errorf("%s costs a second flight", p)
		}
	}
}

func TestNginxWellKnownLocation(t *testing.T) {
	site := suite.OneHost()
	suite.WithWellKnown(site, "/var/www/well-known/client")
	apex := "server {\n    listen 443 ssl;\n    server_name example.org;\n    root /var/www/html;\n}\n"
	o := nginxHost(t, map[string]string{"apex": apex})
	settle(t, o, site, decideNginx(t, site, &Config{}, o))
	text := o.Files["/etc/nginx/ecdeploy/example.org.example.org.conf"]
	if !strings.Contains(text, "location = /.well-known/matrix/client {") || strings.Count(text, "Access-Control-Allow-Origin") != 1 {
		t.Errorf("got %q", text)
	}
	// A location of the admin's is left to the admin.
	o = nginxHost(t, map[string]string{"apex": strings.Replace(apex, "    root", "    location /.well-known/matrix/ { add_header Access-Control-Allow-Origin *; }\n    root", 1)})
	if got := suite.Verbs(decideNginx(t, site, &Config{}, o)); !cmp.Equal(got, []string{"+ /etc/nginx/sites-enabled/zz-ecdeploy-example.org.conf"}) {
		t.Errorf("got %v", got)
	}
	o = nginxHost(t, nil)
	if d := decideNginx(t, site, &Config{}, o); !strings.Contains(suite.Summaries(d.Findings), "warning: nginx on h has no TLS server block for example.org") {
		t.Errorf("got %s", suite.Summaries(d.Findings))
	}
}

// Paths that are hostile to nginx's syntax come back byte for byte.
func TestNginxQuote(t *testing.T) {
	for _, p := range []string{"/a b", `/a"b`, `/a'b`, `/a\b`, `/a\"b`, "/a;b", "/a{b}", "/a#b", "/a\nb", "/a\tb", `/a\nb`, "/plain-path_1.pem", "/ü"} {
		parsed, err := splice.ParseNginx([]byte("x " + proxy.NginxQuote(p) + ";\ny;\n"))
		if err != nil || len(parsed) != 2 || !cmp.Equal(parsed[0].Args, []string{p}) {
			t.Errorf("%q as %s: %v", p, proxy.NginxQuote(p), err)
		}
	}
}
