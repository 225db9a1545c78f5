package splice

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

const caddyOurs = "/etc/caddy/ecdeploy/x.caddy"

func TestCaddyImport(t *testing.T) {
	const line = "import " + caddyOurs
	for _, test := range []struct{ name, before, after string }{
		{"tabs", "a.test {\n\tlog\n}\n", "a.test {\n\t" + line + "\n\tlog\n}\n"},
		{"spaces", "a.test {\n  # x\n\n  log\n}\n", "a.test {\n  " + line + "\n  # x\n\n  log\n}\n"},
		{"comment behind the brace", "a.test { # { }\n\tlog\n}", "a.test { # { }\n\t" + line + "\n\tlog\n}"},
		{"empty", "  a.test {\n  }\n", "  a.test {\n  \t" + line + "\n  }\n"},
		{"brace on a line of its own", "a.test,\nb.test\n{\n\tlog\n}\n", "a.test,\nb.test\n{\n\t" + line + "\n\tlog\n}\n"},
		{"CRLF", "a.test {\r\n\tlog\r\n}\r\n", "a.test {\r\n\t" + line + "\r\n\tlog\r\n}\r\n"},
		{"begins with an import", "(s) {\n\tlog\n}\na.test {\n\timport s\n}\n", "(s) {\n\tlog\n}\na.test {\n\t" + line + "\n\timport s\n}\n"},
		{"addresses from a variable", "{$A} {\n\tlog\n}\n", "{$A} {\n\t" + line + "\n\tlog\n}\n"},
		{"behind variables", "{\n\temail {$LONG} {$SHORT}\n}\na.test {\n\tlog\n}\n",
			"{\n\temail {$LONG} {$SHORT}\n}\na.test {\n\t" + line + "\n\tlog\n}\n"},
		{"there already", "a.test {\n\tlog\n\t\"import\" `" + caddyOurs + "`\n}\n", "a.test {\n\tlog\n\t\"import\" `" + caddyOurs + "`\n}\n"},
		{"there, in a comment", "a.test {\n\t# " + line + "\n}\n", "a.test {\n\t" + line + "\n\t# " + line + "\n}\n"},
		{"there, but deeper", "a.test {\n\thandle {\n\t\t" + line + "\n\t}\n}\n", "a.test {\n\t" + line + "\n\thandle {\n\t\t" + line + "\n\t}\n}\n"},
		{"of several", "b.test {\n\tlog\n}\n*.test {\n\tlog\n}\nc.test {\n\tlog\n}\n",
			"b.test {\n\tlog\n}\n*.test {\n\t" + line + "\n\tlog\n}\nc.test {\n\tlog\n}\n"},
		{"begins with a heredoc", "a.test {\n\trespond <<X\n\t\t} x\n\t\tX\n}\n", "a.test {\n\t" + line + "\n\trespond <<X\n\t\t} x\n\t\tX\n}\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := caddySource(test.before)
			src.Env = map[string]string{"A": "a.test", "LONG": strings.Repeat("x", 90)}
			file, edits, err := CaddyImport(src, "a.test", "/x", caddyOurs)
			if err != nil || file != caddyMain {
				t.Fatal(file, err)
			}
			checkEdits(t, test.before, edits, test.after)
			src.Files[caddyMain] = []byte(test.after)
			if _, again, err := CaddyImport(src, "a.test", "/x", caddyOurs); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
			if edits == nil || strings.Contains(test.before, line+"\n\t}") {
				return
			}
			edits, err = CaddyRemoveImport(src, caddyMain, caddyOurs)
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.after, edits, test.before)
		})
	}
}

func TestCaddyImportRefused(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no braces", "a.test\nrespond x\n", "without braces: put { after"},
		{"one line", "a.test { log\n}\n", "there is text after the site's opening brace"},
		{"nobody", "b.test {\n}\n", "no site serves the name"},
		{"a comment that ends in a backslash", "a.test { # x \\\n\tlog\n}\n", "there is text after"},
		{"a site of a snippet", "(s) {\n\ta.test {\n\t\tlog\n\t}\n}\nimport s\n", "is written in a snippet"},
		{"a file that is a template", "import site a.test\nimport site b.test\n", "the edit would change other directives too"},
		{"unread", "import sites/*\na.test {\n}\n", "/etc/caddy/sites/* is imported and was not read"},
		{"broken", "a.test {\n", "unexpected end"},
		{"unknown", "{$X} {\n}\n", "only known when Caddy runs"},
		{"ours at the top", "import " + caddyOurs + "\na.test {\n}\n", "imported already, but at another level"},
	} {
		src := caddySource(test.text, "/etc/caddy/site", "{args[0]} {\n\tlog\n}\n")
		src.Env = nil
		_, edits, err := CaddyImport(src, "a.test", "", caddyOurs)
		r, ok := errors.AsType[*RefusedError](err)
		if !ok || edits != nil || !strings.Contains(r.Reason, test.want) || r.Lines != "import "+caddyOurs+"\n" {
			t.Errorf("%s: %v, %v", test.name, edits, err)
		}
	}
	for _, path := range []string{"", "x", "/a b", "/a{$X}", "/a\n", "/*"} {
		if _, _, err := CaddyImport(caddySource("a.test {\n}\n"), "a.test", "", path); err == nil || isRefused(err) {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

// The site is in a file that the main file imports.
func TestCaddyImportElsewhere(t *testing.T) {
	src := caddySource("import sites/*\n", "/etc/caddy/sites/a", "a.test {\n\tlog\n}\n", "/etc/caddy/sites/b", "b.test\nlog\n")
	src.Matches["/etc/caddy/sites/*"] = []string{"/etc/caddy/sites/a", "/etc/caddy/sites/b"}
	file, edits, err := CaddyImport(src, "a.test", "", caddyOurs)
	if err != nil || file != "/etc/caddy/sites/a" {
		t.Fatal(file, err)
	}
	checkEdits(t, string(src.Files[file]), edits, "a.test {\n\timport "+caddyOurs+"\n\tlog\n}\n")
}

func TestCaddyTopImport(t *testing.T) {
	const line = "import " + caddyOurs
	for _, test := range []struct{ before, after, refused string }{
		{"", line + "\n", ""},
		{"a.test {\n}\n", "a.test {\n}\n" + line + "\n", ""},
		{"a.test {\n}", "a.test {\n}\n" + line, ""},
		{"a.test {\r\n}\r\n# x\r\n", "a.test {\r\n}\r\n# x\r\n" + line + "\r\n", ""},
		{"{\n\tdebug\n}\n", "{\n\tdebug\n}\n" + line + "\n", ""},
		{line + "\na.test {\n}\n", line + "\na.test {\n}\n", ""},
		{"a.test\nrespond x\n", "", "single site without braces"},
		{"a.test {\n\thandle {\n\t}\n", "", "other directives"},
		{"a.test {\n} # \\", "", "other directives"},
		{"a.test {\n\t" + line + "\n}\n", "", "another level"},
	} {
		src := caddySource(test.before)
		edits, err := CaddyTopImport(src, caddyOurs)
		if test.refused != "" {
			if !isRefused(err) || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%q: %v, %v", test.before, edits, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.before, err)
			continue
		}
		checkEdits(t, test.before, edits, test.after)
		src.Files[caddyMain] = []byte(test.after)
		if again, err := CaddyTopImport(src, caddyOurs); err != nil || again != nil {
			t.Errorf("%q again: %v, %v", test.before, again, err)
		}
		if edits, err = CaddyRemoveImport(src, caddyMain, caddyOurs); err != nil {
			t.Errorf("%q: %v", test.before, err)
		} else if test.before != test.after {
			checkEdits(t, test.after, edits, test.before)
		}
	}
}

// A published set-up gets one line more, in the site that was asked for.
func TestCaddyMatrixImport(t *testing.T) {
	before, err := os.ReadFile("testdata/caddy-matrix.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for host, head := range map[string]string{
		"matrix.example.org": "matrix.example.org, matrix.example.org:8448 {\n\t",
		"rtc.example.org":    "rtc.example.org {\n    ",
		"example.org":        "example.org, www.example.org {\n\t",
		"x.apps.example.org": "*.apps.example.org {\n\t",
		"chat.example.org":   "{$CHAT_DOMAIN:chat.example.org} {\n\t",
	} {
		_, edits, err := CaddyImport(caddySource(string(before)), host, "/livekit/sfu", caddyOurs)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		indent := head[strings.LastIndexByte(head, '\n')+1:]
		checkEdits(t, string(before), edits, strings.Replace(string(before), "\n"+head, "\n"+head+"import "+caddyOurs+"\n"+indent, 1))
	}
}

func FuzzCaddyImport(f *testing.F) {
	site, err := os.ReadFile("testdata/caddy-matrix.caddyfile")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(site, []byte("x"), "matrix.example.org")
	for _, text := range []string{
		"a.test {\n}", "a.test {\r\n\tlog\r\n}", "import o\na.test {\n\timport o 1\n}\n", "a.test {\n\trespond <<X\n}\nX\n}\n", "{$A} {\n # \\\n\tlog\n}\n",
		"(s) {\n{block}\n}\na.test {\n\timport s {\n\t\timport o\n\t}\n}\n", "a.test { # x\n\n  handle {\n  }\n",
		":443 {\n\tlog\n} # x\n", "a.test\nlog\nimport o\n",
	} {
		f.Add([]byte(text), []byte("log {args[0]}\n"), "a.test")
		f.Add([]byte(text), []byte("a.test {\n\tlog\n}\n"), "a.test")
	}
	f.Fuzz(func(t *testing.T, text, other []byte, host string) {
		src := caddySource(string(text), "/etc/caddy/o", string(other))
		src.Env = map[string]string{"A": "a.test", "B": "x {\ny", "C": "\\"}
		if c, err := ReadCaddy(src); err == nil {
			c.SiteFor(host, "/x")
			for i := range c.Blocks {
				c.Obstacles(i, host, "/x")
			}
		}
		file := ""
		edit := func(change func(CaddySource) ([]Edit, error)) func(text []byte) ([]Edit, error) {
			return func(text []byte) ([]Edit, error) {
				src := withText(src, caddyMain, text)
				return change(src)
			}
		}
		for _, change := range []func(CaddySource) ([]Edit, error){
			func(src CaddySource) (edits []Edit, err error) {
				file, edits, err = CaddyImport(src, host, "/x", caddyOurs)
				if file == "/etc/caddy/o" {
					return nil, err
				}
				return edits, err
			},
			func(src CaddySource) ([]Edit, error) { return CaddyTopImport(src, caddyOurs) },
		} {
			after, ok := checkEditOrRefusal(t, text, edit(change))
			if !ok || bytes.Equal(text, after) {
				continue
			}
			checkCaddyEdit(t, src, after)
			edits, err := CaddyRemoveImport(withText(src, caddyMain, after), caddyMain, caddyOurs)
			if err != nil {
				t.Fatalf("%q: %v", after, err)
			}
			back, _ := Apply(after, edits)
			if !bytes.Equal(back, text) && !bytes.Contains(text, []byte("import")) {
				t.Fatalf("\n%q\n%q\n%q", text, after, back)
			}
		}
	})
}

// checkCaddyEdit reads the text again by other means than the edit did: while
// our file is empty, all is as before.
func checkCaddyEdit(t *testing.T, src CaddySource, after []byte) {
	t.Helper()
	before, err := ReadCaddy(withText(src, caddyOurs, nil))
	if err != nil {
		t.Fatal(err)
	}
	now, err := ReadCaddy(withText(withText(src, caddyOurs, nil), caddyMain, after))
	if err != nil {
		t.Fatal(err)
	}
	if flatCaddy(before) != flatCaddy(now) {
		t.Fatalf("\n%s\n%s", flatCaddy(before), flatCaddy(now))
	}
}
