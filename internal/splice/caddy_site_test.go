package splice

import (
	"os"
	"strings"
	"testing"
)

func TestSiteFor(t *testing.T) {
	const name = "rtc.example.org"
	for _, test := range []struct {
		sites string // addresses of each, separated by |; a site in [] binds an address
		want  string // the first address of the site, "none", or a part of the doubt
	}{
		{"a.test|rtc.example.org", name},
		{"a.test|RTC.example.org.|https://RTC.Example.org:443", "https://RTC.Example.org:443"},
		{"*.example.org|rtc.example.org", name},
		{"*.example.org|a.example.org", "*.example.org"},
		{"*.example.org|*.org", "*.example.org"},
		{"*.org", "none"},
		{"*.*.org|:443", "*.*.org"},
		{":443|a.test", ":443"},
		{"https://|a.test", "https://"},
		{"http://rtc.example.org|rtc.example.org:80|rtc.example.org:8443|http://", "none"},
		{":80|http://*.example.org", "none"},
		{"a.test, rtc.example.org, rtc.example.org:8448", "a.test"},
		{"rtc.example.org, *.a.test|*.example.org", name},
		{"*.example.org|x.test, rtc.example.org, *.b.test", "x.test"}, // wildcards both: the longer host
		{"rtc.example.org/other/*|rtc.example.org", name},
		{"rtc.example.org/livekit/*|rtc.example.org", "rtc.example.org/livekit/*"},
		{"rtc.example.org/livekit/sfu/rtc|rtc.example.org", "only for some paths"},
		{"{$SITE}|rtc.example.org", name},
		{"{$SITE}|*.example.org", "only known when"},
		{"{$SITE}", "only known when"},
		{"{env.SITE}|a.test", "only known when"},
		{"[rtc.example.org]|a.test", name},
		{"[rtc.example.org]|[*.example.org]", "on different addresses"},
		{"a.test:http", "rejects"},
		{"", "none"},
	} {
		var text strings.Builder
		for site := range strings.SplitSeq(test.sites, "|") {
			if site != "" {
				text.WriteString(strings.Trim(site, "[]") + " {\n" + strings.Repeat("\tbind 10.0.0.1\n", strings.Count(site, "[")) + "}\n")
			}
		}
		src := caddySource(text.String())
		src.Env = nil
		c := readCaddy(t, src)
		i, got := c.SiteFor(name, "/livekit/sfu")
		switch {
		case got == "" && i < 0:
			got = "none"
		case got == "":
			got = c.Blocks[i].Keys[0].Text
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s", test.sites, got)
		}
	}
}

func TestSiteForPorts(t *testing.T) {
	c := readCaddy(t, caddySource("{\n\thttps_port 8443\n}\nhttp://a.test {\n}\na.test:443 {\n}\na.test {\n}\n"))
	if i, doubt := c.SiteFor("a.test", ""); i != 3 || doubt != "" {
		t.Errorf("%d, %s", i, doubt)
	}
}

func TestSiteForUnread(t *testing.T) {
	c := readCaddy(t, caddySource("import sites/*\na.test {\n}\n"))
	if i, doubt := c.SiteFor("a.test", ""); i != -1 || !strings.Contains(doubt, "/etc/caddy/sites/* is imported") {
		t.Errorf("%d, %s", i, doubt)
	}
}

// obstacleCases are directives of a site, and what is in the way of
// rtc.example.org/livekit/sfu there.
func obstacleCases() []struct{ body, want string } {
	return []struct{ body, want string }{
		{"reverse_proxy 127.0.0.1:1\nfile_server\nrespond x\nabort\nroot * /x\nencode gzip\nlog\n", ""},
		{"redir https://x{uri}\n", "redir in front true"},
		{"redir / /new\nredir /old/* /new\n", ""},
		{"redir /livekit/* /new\n", "redir in front true"},
		{"redir /livekit/sfu/old /new\n", "redir in front false"},
		{"redir /LIVEKIT/sfu/* /new\n", "redir in front true"},
		{"@old path /a /livekit/sfu/*\nredir @old /x\n", "redir in front true"},
		{"@old {\n\tpath /a\n\tpath /livekit/*\n\tmethod GET\n}\nredir @old /x\n", "redir in front false"},
		{"@old not path /livekit/* /x\nredir @old /x\n", ""},
		{"@old {\n\tnot path /x\n}\nredir @old /x\n", "redir in front true"},
		{"@old {\n\tnot {\n\t\tpath /x\n\t}\n}\nredir @old /x\n", "redir in front false"},
		{"@www host www.example.org\nredir @www https://x\n", ""},
		{"@www host *.example.org\nredir @www https://x\n", "redir in front true"},
		{"@x `path('/x')`\nbasic_auth @x {\n}\n", "basic_auth in front false"},
		{"basicauth {\n\tx JDJhJDE0JFpvT0VvUjhXTlFqSm1ZLzdSUTJ5Qk92aHd1Wk9pM2c2b2JPaU5uVGNvcUZuZ2dPdEVrYWZp\n}\n", "basicauth in front true"},
		{"forward_auth 127.0.0.1:9091 {\n\turi /x\n}\n", "forward_auth in front true"},
		{"try_files {path} /index.html\nfile_server\n", "try_files in front true"},
		{"rewrite /index.html\n", "rewrite in front true"},
		{"rewrite /a /b\nuri /a/* strip_prefix /a\n", ""},
		{"uri strip_prefix /x\n", "uri in front true"},
		{"invoke r\n", "invoke in front false"},
		{"plugin x\n", "plugin in front false"},
		{"{$EXTRA}\n", "{$EXTRA} in front false"},
		{"tls a b {\n\tclient_auth {\n\t\tmode require\n\t}\n}\n", "tls in front false"},
		{"tls internal\n", ""},
		{"handle_path /livekit/sfu/* {\n\treverse_proxy 127.0.0.1:7880\n}\nhandle {\n\trespond x\n}\n", "handle_path replaced true"},
		{"handle /livekit/sfu/rtc* {\n}\n", "handle replaced false"},
		{"reverse_proxy /livekit/sfu/* 127.0.0.1:7880\n", "reverse_proxy replaced true"},
		{"route {\n\t@l path /livekit/*\n\thandle @l {\n\t\treverse_proxy 127.0.0.1:7880\n\t}\n}\n", "handle replaced true"},
		{"handle {\n\troute /a {\n\t}\n\trespond /livekit/sfu/x y\n}\n", "respond replaced false"},
		{"header X y\nheader /.well-known/* Access-Control-Allow-Origin *\n", ""},
		{"header Access-Control-Allow-Origin *\n", "header header true"},
		{"header {\n\tX y\n\taccess-control-allow-origin https://x\n}\n", "header header true"},
		{"header /livekit/* {\n\t-Server\n\tAccess-Control-Allow-Origin *\n}\n", "header header true"},
		{"header ?Access-Control-Allow-Origin *\n", ""},
		{"header >Access-Control-Allow-Origin *\n", ""},
		{"header -Access-Control-*\n", "header in front true"},
		{"header {\n\tAccess-Control-Allow-Origin https://x\n\tdefer\n}\n", "header in front true"},
	}
}

func TestObstacles(t *testing.T) {
	for _, test := range obstacleCases() {
		src := caddySource("a.test {\n" + test.body + "}\n")
		src.Env = nil
		c := readCaddy(t, src)
		var got []string
		for _, o := range c.Obstacles(0, "rtc.example.org", "/livekit/sfu") {
			sure := " false"
			if o.Sure {
				sure = " true"
			}
			got = append(got, o.Token.Text+" "+string(o.Effect)+sure)
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%q: %s", test.body, got)
		}
	}
}

// A route for a file meets what matches its one path.
func TestFileObstacles(t *testing.T) {
	for pattern, meets := range map[string]bool{
		"/.well-known/matrix/client": true, "/.Well-Known/*": true, "*/client": true, "*/matrix/*": true, "/.well-known/*/client": true,
		"/.well-known/matrix/server": false, "/.well-known/matrix/client/*": false, "*.css": false, "*/x/*": false, "/.well-known/*/server": false,
	} {
		for _, body := range []string{"respond " + pattern + " x\n", "@m path " + pattern + "\nhandle @m {\n\trespond x\n}\n"} {
			if strings.HasPrefix(body, "respond *") {
				continue // all of it would be the matcher *
			}
			c := readCaddy(t, caddySource("a.test {\n"+body+"}\n"))
			if got := c.FileObstacles(0, "a.test", "/.well-known/matrix/client"); (len(got) == 1) != meets {
				t.Errorf("%q: %v", body, got)
			}
		}
	}
}

// The global option order puts before us what else comes behind.
func TestObstaclesOrder(t *testing.T) {
	for order, want := range map[string]int{
		"respond before handle": 1, "respond first": 1, "respond after reverse_proxy": 0, "handle last": 1, "redir last": 0, "rate_limit before basic_auth": 0,
	} {
		c := readCaddy(t, caddySource("{\n\torder "+order+"\n}\na.test {\n\trespond x\n}\n"))
		if got := c.Obstacles(1, "a.test", ""); len(got) != want {
			t.Errorf("%s: %v", order, got)
		}
	}
}

// What is in the way of a published set-up, and which site serves what there.
func TestCaddyMatrixSite(t *testing.T) {
	text, err := os.ReadFile("testdata/caddy-matrix.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	c := readCaddy(t, caddySource(string(text)))
	for _, test := range []struct{ host, site, obstacles string }{
		{"matrix.example.org", "matrix.example.org", "handle_path replaced /etc/caddy/Caddyfile:56"},
		{"www.example.org", "example.org", "try_files in front /etc/caddy/Caddyfile:43"},
		{"rtc.example.org", "rtc.example.org", ""},
		{"chat.example.org", "chat.example.org", ""},
		{"rtc.apps.example.org", "*.apps.example.org", ""},
		{"plain.example.org", "none", ""},
	} {
		i, doubt := c.SiteFor(test.host, "/livekit/jwt")
		site, found := "none", []string{}
		if i >= 0 {
			site = c.Blocks[i].Keys[0].Text
			for _, o := range c.Obstacles(i, test.host, "/livekit/jwt") {
				found = append(found, o.Token.Text+" "+string(o.Effect)+" "+o.Token.Place())
			}
		}
		if doubt != "" || site != test.site || strings.Join(found, ", ") != test.obstacles {
			t.Errorf("%s: %s, %q, %s", test.host, site, found, doubt)
		}
	}
}
