package splice

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestParseNginx(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"# only a comment", ""},
		{"user www-data;", "user[www-data]"},
		{"a 'b c' \"d\\\"e\" f\\ g;", `a[b c|d"e|f\ g]`},
		{"log_format x '$a '\n  '\"$b\"';", `log_format[x|$a |"$b"]`},
		{"root /var/${name}/x; # {", "root[/var/${name}/x]"},
		{"a b#c;", "a[b#c]"},
		{"a 'b;{}#';", "a[b;{}#]"},
		{"a b\\;c;", "a[b\\;c]"},
		{"a \"x\\ty\";", "a[x\ty]"},
		{"if ($a = \"b\") { return 1; }", "if[($a|=|b|)]{return[1]}"},
		{"location ~ \"^/x{2}$\" { }", "location[~|^/x{2}$]{}"},
		{"a{b;}c;", "a[]{b[]}c[]"},
		{"map $a $b {\r\n  default 0;\r\n  ~^x 1;\r\n}\r\n", "map[$a|$b]{default[0]~^x[1]}"},
	} {
		dirs, err := ParseNginx([]byte(test.text))
		if got := flatten(dirs); err != nil || got != test.want {
			t.Errorf("%q: got %q, %v", test.text, got, err)
		}
	}
}

func flatten(dirs []*Directive) string {
	var b strings.Builder
	for _, d := range dirs {
		fmt.Fprintf(&b, "%s[%s]", d.Name, strings.Join(d.Args, "|"))
		if d.Block {
			b.WriteString("{" + flatten(d.Body) + "}")
		}
	}
	return b.String()
}

func TestParseNginxErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"a;\nb", "line 2: unexpected end of file"},
		{"a {\n b;\n", "line 3: unexpected end of file"},
		{"a;\n}", "line 2: unexpected '}'"},
		{";", "line 1: unexpected ';'"},
		{"{}", "line 1: unexpected '{'"},
		{"a }", "line 1: unexpected '}'"},
		{"a 'b'c;", "line 1: unexpected 'c'"},
		{"a 'b", "line 1: unexpected end of file"},
		{"\ncontent_by_lua_block { local a = \"}\" }", "line 2: a block of Lua"},
		{strings.Repeat("a {", 1000), "too deeply"},
	} {
		if _, err := ParseNginx([]byte(test.text)); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"}"`, "'}'"), test.want) {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}

func TestParseNginxRanges(t *testing.T) {
	text := "http {\n  # x\n  server { listen 80; }\n}\n"
	dirs, err := ParseNginx([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s := dirs[0].Body[0]
	if got := text[s.Off:s.End]; got != "server { listen 80; }" || text[s.BodyOff:s.BodyEnd] != " listen 80; " || s.Line != 3 {
		t.Fatalf("%q, %+v", got, s)
	}
}

func TestServerBlocks(t *testing.T) {
	dirs, err := ParseNginx([]byte(`
http { server { listen 443 ssl http2; listen [::]:443 quic; server_name a.example b.example; server_name c.example; } }
stream { server { listen 1; } }
server { listen 80; server_name d.example; }
server { ssl on; }
server { listen 5; proxy_pass x; }
server unix:/x;
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range ServerBlocks(dirs) {
		got = append(got, fmt.Sprint(s.Listens, s.Names, s.TLS))
	}
	want := []string{"[[443 ssl http2] [[::]:443 quic]] [a.example b.example c.example] true", "[[80]] [d.example] false", "[] [] true"}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestMatchServerName(t *testing.T) {
	for _, test := range []struct {
		pattern, host string
		want          bool
	}{
		{"example.com", "EXAMPLE.com.", true},
		{"example.com", "www.example.com", false},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{".example.com", "example.com", true},
		{".example.com", "a.example.com", true},
		{".example.com", "aexample.com", false},
		{"mail.*", "mail.example.com", true},
		{"mail.*", "mail.", false},
		{`~^m(atrix)?\.example\.com$`, "Matrix.example.com", true},
		{`~^(?<name>x)\1$`, "xx", false},
		{"_", "example.com", false},
		{"", "", true},
		{"", "example.com", false},
	} {
		if got := MatchServerName(test.pattern, test.host); got != test.want {
			t.Errorf("%s, %s: %v", test.pattern, test.host, got)
		}
	}
}

func TestServerFor(t *testing.T) {
	for _, test := range []struct {
		names string // blocks are parted by |
		want  int
		known bool
	}{
		{"*.example.com|a.b.example.com", 1, true},
		{"*.example.com|*.b.example.com", 1, true},
		{".b.example.com|*.b.example.com", 0, true},
		{"~^a|a.*|*.com", 2, true},
		{"~^a|a.*", 1, true},
		{"a.*|a.b.*", 1, true},
		{"~^x|~b|~^a", 1, true},
		{"_|x.example.com", -1, true},
		{"", -1, true},
		{`x|~^(?!x)`, 1, false},
		{`~^(?!x)|*.com`, 1, true},
		{`~^a|~^(?!x)`, 0, true},
		{"A.B.Example.Com|a.b.example.com", 0, true},
	} {
		var names [][]string
		for _, block := range strings.Split(test.names, "|") {
			names = append(names, strings.Fields(block))
		}
		if got, known := ServerFor(names, "a.b.example.com"); got != test.want || known != test.known {
			t.Errorf("%s: %d, %v", test.names, got, known)
		}
	}
}

func TestLocationFor(t *testing.T) {
	dirs, err := ParseNginx([]byte(`server {
	location / { }
	location = /exact { }
	location /deep/ { location /deep/er/ { } location ~ \.in$ { } }
	location ^~ /static/ { }
	location ~ \.php$ { }
	location ~* \.(JPG|png)$ { }
	location @name { }
	location =/joined { }
	location ~ ^/look(?=x) { }
}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		uri, want string
		ok        bool
	}{
		{"/exact", "= /exact", true},
		{"/static/a.php", "^~ /static/", true},
		{"/a.php", `~ \.php$`, true},
		{"/deep/er/a.php", `~ \.php$`, true},
		{"/deep/x.in", `~ \.in$`, true},
		{"/a.jpg", `~* \.(JPG|png)$`, true},
		{"/joined", "=/joined", true},
		{"/deep/er/x", "~ ^/look(?=x)", false},
		{"/x", "~ ^/look(?=x)", false},
	} {
		loc, ok := LocationFor(dirs[0], test.uri)
		if loc == nil || ok != test.ok || strings.Join(loc.Args, " ") != test.want {
			t.Errorf("%s: %v, %v", test.uri, loc, ok)
		}
	}
	dirs[0].Body = dirs[0].Body[2:3]
	if loc, ok := LocationFor(dirs[0], "/deep/er/x"); !ok || loc.Args[0] != "/deep/er/" {
		t.Errorf("nested: %v, %v", loc, ok)
	}
	if loc, ok := LocationFor(dirs[0], "/x"); loc != nil || ok {
		t.Errorf("none: %v, %v", loc, ok)
	}
}

func TestNginxInclude(t *testing.T) {
	tests := []struct{ name, before, after string }{
		{"tabs", "server {\n\tlisten 80;\n}\n", "server {\n\tlisten 80;\n\tinclude e/x.conf;\n}\n"},
		{"nested", "http {\n  server {\n    listen 80;\n\n    location / {\n      root /x;\n    }\n  }\n}\n", "http {\n  server {\n    listen 80;\n\n    location / {\n      root /x;\n    }\n    include e/x.conf;\n  }\n}\n"},
		{"comment last", "server {\n    listen 80;\n    # the end }\n}\n", "server {\n    listen 80;\n    # the end }\n    include e/x.conf;\n}\n"},
		{"empty", "server {\n}\n", "server {\n    include e/x.conf;\n}\n"},
		{"empty on one line", "server {}\n", "server { include e/x.conf;}\n"},
		{"one line", "server { listen 80; }\n", "server { listen 80; include e/x.conf; }\n"},
		{"brace behind the last", "server {\n  listen 80; }\n", "server {\n  listen 80; include e/x.conf; }\n"},
		{"CRLF", "server {\r\n  listen 80;\r\n}\r\n", "server {\r\n  listen 80;\r\n  include e/x.conf;\r\n}\r\n"},
		{"brace on a line of its own", "server\n{\n  listen 80;\n}", "server\n{\n  listen 80;\n  include e/x.conf;\n}"},
		{"there already", "server {\n  include 'e/x.conf';\n}\n", "server {\n  include 'e/x.conf';\n}\n"},
		{"there, but deeper", "server {\n  location / { include e/x.conf; }\n}\n", "server {\n  location / { include e/x.conf; }\n  include e/x.conf;\n}\n"},
		{"in a comment", "server {\n  # include e/x.conf;\n}\n", "server {\n  # include e/x.conf;\n    include e/x.conf;\n}\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edits, err := NginxInclude([]byte(test.before), firstServer(t, test.before), "e/x.conf")
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.before, edits, test.after)
			after := firstServer(t, test.after)
			if again, err := NginxInclude([]byte(test.after), after, "e/x.conf"); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
			if edits == nil {
				return
			}
			edits, err = NginxRemoveInclude([]byte(test.after), after, "e/x.conf")
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.after, edits, test.before)
		})
	}
}

func firstServer(t *testing.T, text string) *Directive {
	t.Helper()
	dirs, err := ParseNginx([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return ServerBlocks(dirs)[0].Directive
}

func TestNginxIncludeRefused(t *testing.T) {
	text := "server { listen 80; }"
	s := firstServer(t, text)
	if _, err := NginxInclude([]byte(" "+text), s, "x"); !isRefused(err) {
		t.Errorf("moved: %v", err)
	}
	if _, err := NginxInclude([]byte("server {"), s, "x"); !isRefused(err) {
		t.Errorf("broken: %v", err)
	}
	for _, path := range []string{"", "a b", "a;", "a$b", "a\n"} {
		if _, err := NginxInclude([]byte(text), s, path); err == nil {
			t.Errorf("path %q is written", path)
		}
	}
}

func TestNginxRemoveInclude(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"server {\n\tinclude x;\n\tlisten 80;\n\tinclude \"x\" ; \n}\n", "server {\n\tlisten 80;\n}\n"},
		{"server {\n\tinclude x; # ours\n}\n", "server {\n # ours\n}\n"},
		{"server { include x; include x; }", "server { }"},
		{"server { location / { include x; } }", "server { location / { include x; } }"},
	} {
		edits, err := NginxRemoveInclude([]byte(test.before), firstServer(t, test.before), "x")
		if err != nil {
			t.Fatal(err)
		}
		checkEdits(t, test.before, edits, test.after)
	}
}

// A site with three server blocks: only the one that was asked for changes.
func TestNginxSite(t *testing.T) {
	before, err := os.ReadFile("testdata/nginx-site.conf")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := ParseNginx(before)
	if err != nil {
		t.Fatal(err)
	}
	servers := ServerBlocks(dirs)
	if len(servers) != 3 || servers[0].TLS || !servers[1].TLS || !servers[2].TLS {
		t.Fatalf("%+v", servers)
	}
	if loc, ok := LocationFor(servers[2].Directive, "/_matrix/client/versions"); !ok || loc.Args[0] != "~" {
		t.Errorf("%v, %v", loc, ok)
	}
	edits, err := NginxInclude(before, servers[1].Directive, "/etc/nginx/ecdeploy/x.conf")
	if err != nil {
		t.Fatal(err)
	}
	const end = "# not any more }\n"
	checkEdits(t, string(before), edits, strings.Replace(string(before), end, end+"\tinclude /etc/nginx/ecdeploy/x.conf;\n", 1))
}
