package plans

import (
	"cmp"
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// hostile are values that mean something to a shell, to a configuration file or
// to a terminal, or that no program can be given.
var hostile = []string{
	"'",
	`"`,
	"a'b\"c",
	"a\nb",
	"a\r",
	"a\tb",
	"$(touch pwned)",
	"${HOME}",
	"$x",
	"`touch pwned`",
	"; touch pwned;",
	"| touch pwned",
	"&& touch pwned",
	"> pwned",
	"\n: >pwned\n",
	"a\x00b",
	"-rf",
	"--help",
	" ",
	"a b",
	"*",
	"?",
	"[a]",
	"{a,b}",
	"~",
	"~root",
	"#",
	"!",
	"%n%s",
	"{{.Id}}",
	`\`,
	`\n`,
	"..",
	"../../etc/passwd",
	"a;b",
	"a}b",
	"EC_STDIN",
	"<(id)",
	"ä€😀", "e\u0301", "\u202ea", "\u009b2J", "\x1b[2J", "\xff\xfe", strings.Repeat("x", 64<<10), strings.Repeat("é", 2000),
}

// attribute is one setting of a plan file, in a file that is right but for what
// stands there.
type attribute struct {
	name string // "site.sfu.image"
	file string // with VALUE for the value's expression
	list bool
	ok   string // a value that is right
}

// right are values by the names of attributes, where "x" is none; for those that
// need another one next to them, with that.
var right = map[string]string{
	"address":         "203.0.113.10",
	"port":            "22",
	"become":          "sudo",
	"connect_timeout": "15s",
	"jump":            "a@b",
	"ask":             "true",
	"url":             "https://matrix-rtc.x.test",
	"image":           "x/y:1.2.3",
	"node_ip":         "203.0.113.10",
	"external_ip":     "true",
	"participants":    "2",
	"uid":             "10",
	"bind":            "127.0.0.1",
	"signalling":      "7880",
	"tcp":             "7881",
	"udp":             "50100-50200",
	"ca_file":         "/etc/ca.pem",
	"unit":            "x.service",
	"start_timeout":   "10s",
	"max_event_delay": "24h",
	"certificate":     "/etc/c.pem\"\n    key = \"/etc/k.pem",
	"path":            "/var/www/client",
	"level":           "http",
	"strict":          "true",
	"probe_helper":    "true",
	"revert_after":    "10s",
	"full_access":     "x.test",
	"secret":          strings.Repeat("s", 40) + "\"\n    key = \"k", "container": "xy",
	".site.auth.port": "8080", ".site.proxy nginx.key": "/etc/k.pem", ".site.proxy caddy.key": "/etc/k.pem",
}

// unused are blocks and attributes of the reference that this test does not fill:
// what they refer to must be there.
var unused = map[string]bool{".site.sfu.host": true, ".site.sfu.hosts": true, ".site.auth.host": true, ".site.verify.host": true, ".site.verify.from": true}

// listAttributes are all that a plan file can set, found by the structs that it is
// read into: a new one is among them by itself.
func listAttributes(t *testing.T) []attribute {
	t.Helper()
	var out []attribute
	var walk func(at string, typ reflect.Type, put func(inside string) string)
	walk = func(at string, typ reflect.Type, put func(string) string) {
		for name, variants := range variantsIn(typ) {
			for _, v := range variants {
				walk(strings.TrimSpace(at+"."+name+" "+v.Label), reflect.TypeOf(v.Config()).Elem(), func(inside string) string { return put(block(name, v.Label, inside)) })
			}
		}
		for _, f := range fieldsOf(typ) {
			name := at + "." + f.name
			ft := typ.FieldByIndex(f.index).Type
			switch {
			case unused[name] || f.name == "host" && !f.block:
			case !f.block:
				a := attribute{name: name, list: ft.Kind() == reflect.Slice, ok: cmp.Or(right[name], right[f.name], "x")}
				a.file = put(f.name + " = VALUE")
				if f.name == "key" && strings.HasSuffix(at, "livekit_keys") {
					a.file = put("key = VALUE\n    secret = \"" + strings.Repeat("s", 40) + "\"")
				} else if f.name == "key" {
					a.file = put("key = VALUE\n    certificate = \"/etc/c.pem\"")
				}
				out = append(out, a)
			default:
				walk(name, blockType(ft, f.name), func(inside string) string { return put(block(f.name, "", inside)) })
			}
		}
	}
	walk("", reflect.TypeFor[fileBlock](), placeBlock)
	return out
}

// block writes a block with what it needs besides what is inside.
func block(kind, label, inside string) string {
	needed := map[string]string{
		"variable":         "default = \"x\"",
		"host":             "address = \"203.0.113.10\"",
		"sfu":              "host = host.x\n    url = \"https://sfu.x.test\"",
		"auth":             "host = host.x\n    url = \"https://jwt.x.test\"",
		"synapse debian":   "host = host.x",
		"synapse venv":     "host = host.x",
		"synapse external": "url = \"https://matrix.x.test\"",
		"proxy nginx":      "host = host.x",
		"proxy caddy":      "host = host.x",
		"well_known file":  "host = host.x\n    path = \"/var/www/client\"",
	}[strings.TrimSpace(kind+" "+label)]
	for line := range strings.Lines(needed) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(inside, name+" =") {
			inside += "\n    " + strings.TrimSpace(line)
		}
	}
	if label != "" {
		label = fmt.Sprintf(" %q", label)
	}
	return fmt.Sprintf("%s%s {\n    %s\n  }", kind, label, inside)
}

// placeBlock is a plan file in which a host or site block, or a part of the site, is as
// given.
func placeBlock(part string) string {
	kind, _, _ := strings.Cut(part, " ")
	if kind == "host" {
		return strings.Replace(rightFile, "host \"x\" {\n  address = \"203.0.113.10\"\n}", "host \"x\" {"+strings.TrimPrefix(part, "host {"), 1)
	}
	if kind != "site" {
		return strings.Replace(part, " {", " \"v\" {", 1) + "\n" + rightFile // a variable
	}
	inside := strings.TrimSuffix(strings.TrimPrefix(part, "site {\n"), "}")
	changed, _, _ := strings.Cut(strings.TrimSpace(inside), " ")
	text := "host \"x\" {\n  address = \"203.0.113.10\"\n}\nsite \"x.test\" {\n" + inside
	for _, b := range []string{"sfu", "auth", "synapse debian", "proxy nginx", "well_known file"} {
		if kind, label, _ := strings.Cut(b, " "); kind != changed {
			text += "  " + block(kind, label, "") + "\n"
		}
	}
	return text + "}\n"
}

// value writes a value as an expression.
func (a attribute) value(v string) string {
	if a.list {
		return "[" + v + "]"
	}
	return v
}

func (a attribute) line(text string) int {
	return strings.Count(text[:strings.Index(text, "VALUE")], "\n") + 1
}

func (a attribute) load(v string) (*File, Mistakes) {
	text := strings.Replace(a.file, "VALUE", a.value(`env("HOSTILE")`), 1)
	return load("hosts.hcl", []byte(text), LoadOptions{Environ: func(name string) (string, bool) { return v, name == "HOSTILE" || name == "HOME" }})
}

// Every text of a plan file is refused at its place, or arrives as it is, and no
// part of it is run on the way.
func TestHostileValues(t *testing.T) {
	all := listAttributes(t)
	if len(all) < 45 {
		t.Fatalf("only %d attributes were found", len(all))
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			// It is the value alone that makes the file wrong.
			good := fmt.Sprintf("%q", a.ok)
			if strings.Contains(a.ok, "\n") { // and what it needs next to it
				good = `"` + a.ok + `"`
			}
			text := strings.Replace(a.file, "VALUE", a.value(good), 1)
			if f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ}); f == nil && a.name != ".site.sfu.hosts" {
				t.Fatalf("teach this test how %s is written: %+v\n%s", a.name, m, text)
			}
			if before, extra, ok := strings.Cut(a.ok, "\"\n"); ok {
				a.file, a.ok = strings.Replace(a.file, "VALUE", "VALUE\n"+extra+`"`, 1), before
			}
			for _, h := range hostile {
				for _, v := range []string{h, "/" + h, a.ok + h, h + a.ok} {
					a.check(t, v)
				}
			}
		})
	}
}

// check loads the file with one value, and follows it where it is taken.
func (a attribute) check(t *testing.T, v string) {
	t.Helper()
	f, mistakes := a.load(v)
	if f == nil {
		at := a.line(a.file)
		for _, m := range mistakes {
			if m.Severity == SeverityError && (m.Line < at || m.Line > at) && !a.elsewhere(m) {
				t.Errorf("%.60q is refused at line %d instead of %d: %+v", v, m.Line, at, m)
			}
		}
		return
	}
	seen := &sandbox{t: t, file: f}
	if a.laptop() {
		if !containsText(reflect.ValueOf(f), v) && a.name != ".variable.default" && a.name != ".variable.description" {
			t.Errorf("%.60q was taken, and became another text: %+v", v, f)
		}
		return
	}
	seen.run(v)
	if !seen.arrived(v) {
		t.Errorf("%.60q was taken, and arrives nowhere as it is", v)
	}
}

// elsewhere is a mistake that stands where the block begins by its nature.
func (a attribute) elsewhere(m Mistake) bool {
	return strings.HasSuffix(m.Summary, "needs exactly one source") || strings.Contains(m.Summary, "livekit_keys {} wants")
}

// laptop reports whether the attribute is for this side alone.
func (a attribute) laptop() bool {
	for _, p := range []string{
		".variable.", ".host.", ".site.sfu.archive", ".site.auth.archive", ".site.livekit_keys.command",
		".site.verify.", ".site.revert_after", ".site.synapse debian.start_timeout",
		".site.synapse venv.start_timeout",
	} {
		if strings.HasPrefix(a.name, p) {
			return true
		}
	}
	return false
}

// containsText looks for a text in all that a value holds, as a path's end too.
func containsText(v reflect.Value, text string) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && containsText(v.Elem(), text)
	case reflect.String:
		return v.String() == text || strings.HasSuffix(v.String(), "/"+path.Clean(text)) || v.String() == filepath.Clean(text) ||
			strings.HasPrefix(text, "~") && strings.HasSuffix(v.String(), path.Clean(text[1:]))
	case reflect.Struct:
		for i := range v.NumField() {
			if containsText(v.Field(i), text) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if containsText(v.Index(i), text) {
				return true
			}
		}
	}
	return false
}
