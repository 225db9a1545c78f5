package splice

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const caddyMain = "/etc/caddy/Caddyfile"

// caddySource is a configuration of the main file and others, given as path,
// text, path, text.
func caddySource(main string, others ...string) CaddySource {
	src := CaddySource{Main: caddyMain, Files: map[string][]byte{caddyMain: []byte(main)}, Matches: map[string][]string{}, Env: map[string]string{}}
	for i := 0; i < len(others); i += 2 {
		src.Files[others[i]] = []byte(others[i+1])
	}
	return src
}

func readCaddy(t *testing.T, src CaddySource) *CaddyConfig {
	t.Helper()
	c, err := ReadCaddy(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flatCaddy writes blocks as keys{directive arg|directive arg}, a line break
// within a directive as ;.
func flatCaddy(c *CaddyConfig) string {
	var b strings.Builder
	for _, bl := range c.Blocks {
		for i, k := range bl.Keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(k.Text)
		}
		b.WriteByte('{')
		for i, d := range bl.Directives {
			if i > 0 {
				b.WriteByte('|')
			}
			for j, t := range d.Tokens {
				switch {
				case j > 0 && t.New:
					b.WriteByte(';')
				case j > 0:
					b.WriteByte(' ')
				}
				b.WriteString(t.Text)
			}
		}
		b.WriteByte('}')
	}
	return b.String()
}

// readCaddyCases are the cases of TestReadCaddy.
var readCaddyCases = []struct{ text, want string }{
	{"", ""},
	{"# only a comment", ""},
	{"\ufeffa.test {\n\tlog\n}\n", "a.test{log}"},
	{"a.test\nrespond x\nlog\n", "a.test{respond x|log}"},
	{"a.test", "a.test{}"},
	{"{\n\temail x\n}\na.test {\n}\n", "{email x}a.test{}"},
	{"a.test, b.test\n{\n}", "a.test,b.test{}"},
	{"a.test,\nb.test c.test {\n\tlog\n}\n", "a.test,b.test,c.test{log}"},
	{"a.test {\r\n\trespond \"x y\" 200\r\n}\r\n", "a.test{respond x y 200}"},
	{"a.test {\n\trespond `a \"b\\`\n}", "a.test{respond a \"b\\}"},
	{"a.test {\n\trespond \"a\\\"b\\n\"\n}", `a.test{respond a"b\n}`},
	{"a.test {\n\tredir a#b # c\n}", "a.test{redir a#b}"},
	{"a.test {\n\thandle \\\n\t\t/x {\n\t\tlog\n\t}\n}", "a.test{handle /x {;log;}}"},
	{"a.test {\n\t# not the end \\\n\tlog\n}", "a.test{log}"},
	{"a.test {\n\trespond <<X\n\t\ta }\n\n\t\tb\n\t\tX 201\n}", "a.test{respond a }\n\nb 201}"},
	{"a.test {\n\trespond \\<<X\n}", "a.test{respond <<X}"},
	{"a.test {\n\trespond {path} \"{}\"\n}", "a.test{respond {path} {}}"},
	{"&(r) {\n\tlog\n}\na.test {\n\tinvoke r\n}", "r{r;log}a.test{invoke r}"},
	{"(s) {\n\tlog {args[0]}\n\tx {args[:]} {block}\n}\na.test {\n\timport s 1 2 {\n\t\tq w\n\t}\n}", "a.test{log 1|x 1 2|q w}"},
	{"(s) {\n}\na.test {\n\timport s\n\tlog\n}", "a.test{log}"},
	{"(s) {\n}\n(s) {\n}", "error: "},
	{"a.test {\n", "error: "},
	{"a.test {\n\thandle {\n\t}\n", "a.test{handle {;}}"}, // Caddy takes it
	{"a.test {\n\tlog }\n", "error: "},
	{"a.test {\n\thandle { log }\n}", "error: "},
	{"a.test{\n}", "error: "},
	{"a.test,b.test {\n}", "error: "},
	{"a.test {\n\trespond \"{\"\n}", "error: /etc/caddy/Caddyfile:2: a quoted brace"},
	{"a.test {\n\trespond <<X\n\ta\n}", "error: /etc/caddy/Caddyfile: line 2: the heredoc <<X does not end"},
	{"import nothing", "error: "},
	{"@m path /x", "error: "},
	{"{$A} {\n\trespond {$B:x y} {$C}z\n}", "a.env{respond x y z}"},
	{"a.test {\n\t{$OPEN}\n}\n}", "error: /etc/caddy/Caddyfile:2: a brace comes from"},
	{"(s) {\n\timport s\n}\na.test {\n\timport s\n}", "error: the configuration is too large"},
}

func TestReadCaddy(t *testing.T) {
	for _, test := range readCaddyCases {
		src := caddySource(test.text)
		src.Env = map[string]string{"A": "a.env", "OPEN": "handle {"}
		if strings.HasPrefix(test.text, "import nothing") {
			src.Matches["/etc/caddy/nothing"] = nil
		}
		c, err := ReadCaddy(src)
		got := ""
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = flatCaddy(c)
		}
		if got != test.want && !(strings.HasPrefix(test.want, "error: ") && strings.HasPrefix(got, test.want)) {
			t.Errorf("%q:\n got %q\nwant %q", test.text, got, test.want)
		}
	}
}

// Files are read in the place of their import, and what is not known is named.
func TestReadCaddyImports(t *testing.T) {
	src := caddySource("import snippets/*\nimport /srv/sites/*.caddy\na.test {\n\timport local common\n}\n",
		"/etc/caddy/snippets/a", "(common) {\n\tlog {args[0]}\n}\n", "/srv/sites/.hidden.caddy", "hidden {\n}\n",
		"/srv/sites/b.caddy", "b.test {\n\timport common x\n}\n", "/etc/caddy/local", "import {args[0]} y\n")
	c := readCaddy(t, src)
	// A name that is a snippet of a file not read yet looks like a path.
	if want := "[/etc/caddy/common /etc/caddy/snippets/* /srv/sites/*.caddy]"; fmt.Sprint(c.Unread) != want {
		t.Fatalf("unread: %q", c.Unread)
	}
	src.Matches["/etc/caddy/snippets/*"] = []string{"/etc/caddy/snippets/a", "/etc/caddy/snippets/b"}
	src.Matches["/srv/sites/*.caddy"] = []string{"/srv/sites/.hidden.caddy", "/srv/sites/b.caddy"}
	if c = readCaddy(t, src); fmt.Sprint(c.Unread) != "[/etc/caddy/snippets/b]" {
		t.Fatalf("unread: %q", c.Unread)
	}
	src.Files["/etc/caddy/snippets/b"] = []byte("\n# empty\n")
	c = readCaddy(t, src)
	if got := flatCaddy(c); got != "b.test{log x}a.test{log y}" || c.Unread != nil {
		t.Fatalf("%s, unread %q", got, c.Unread)
	}
	if got := c.Blocks[0].Keys[0].Place(); got != "/srv/sites/b.caddy:1" {
		t.Error(got)
	}
	if got := fmt.Sprint(c.TopGlobs()); got != "[/etc/caddy/snippets/* /srv/sites/*.caddy]" {
		t.Error(got)
	}
}

// Without an environment, variables stay, and are named.
func TestReadCaddyUnknownEnvironment(t *testing.T) {
	src := caddySource("{$NAME:a b} {\n\trespond {$X}\n}\n")
	src.Env = nil
	c := readCaddy(t, src)
	if got := flatCaddy(c); got != "{$NAME}{respond {$X}}" || fmt.Sprint(c.Unset) != "[NAME X]" {
		t.Fatalf("%s, %q", got, c.Unset)
	}
}

// Each token's bytes are where it says, also behind variables.
func TestReadCaddyRanges(t *testing.T) {
	text, err := os.ReadFile("testdata/caddy-matrix.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	src := caddySource(strings.Replace(string(text), "admin@", "{$SHORT}@{$LONG:admin}", 1))
	src.Env["SHORT"], src.Env["LONG"] = "", strings.Repeat("long", 10)
	c := readCaddy(t, src)
	checked := 0
	for _, b := range c.Blocks {
		for _, d := range b.Directives {
			for _, tok := range append([]CaddyToken{b.Open, b.Close}, d.Tokens...) {
				raw := string(src.Files[tok.File][tok.Off:tok.End])
				line := 1 + strings.Count(string(src.Files[tok.File][:tok.Off]), "\n")
				if tok.env || strings.Contains(raw, "{args") {
					continue
				}
				if tok.quote != '<' && strings.Trim(raw, "`\"") != tok.Text || tok.Line != line {
					t.Errorf("%q at %d (line %d, not %d) is %q", tok.Text, tok.Off, line, tok.Line, raw)
				}
				checked++
			}
		}
	}
	if checked < 150 {
		t.Errorf("%d tokens", checked)
	}
}
