package plans

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/auth"
	"github.com/emdecloud/ecdeploy/steps/credentials"
	"github.com/emdecloud/ecdeploy/steps/wellknown"
)

// hostile are values that mean something to a shell, to a configuration file or
// to a terminal, or that no program can be given.
var hostile = []string{
	"'", `"`, "a'b\"c", "a\nb", "a\r", "a\tb", "$(touch pwned)", "${HOME}", "$x", "`touch pwned`", "; touch pwned;", "| touch pwned", "&& touch pwned", "> pwned", "\n: >pwned\n",
	"a\x00b", "-rf", "--help", " ", "a b", "*", "?", "[a]", "{a,b}", "~", "~root", "#", "!", "%n%s", "{{.Id}}", `\`, `\n`, "..", "../../etc/passwd", "a;b", "a}b", "EC_STDIN", "<(id)",
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
	"address": "203.0.113.10", "port": "22", "become": "sudo", "connect_timeout": "15s", "jump": "a@b", "ask": "true", "url": "https://matrix-rtc.x.test", "image": "x/y:1.2.3", "node_ip": "203.0.113.10",
	"external_ip": "true", "participants": "2", "uid": "10", "bind": "127.0.0.1", "signalling": "7880", "tcp": "7881", "udp": "50100-50200", "ca_file": "/etc/ca.pem", "unit": "x.service",
	"start_timeout": "10s", "max_event_delay": "24h", "certificate": "/etc/c.pem\"\n    key = \"/etc/k.pem", "path": "/var/www/client", "level": "http", "strict": "true", "probe_helper": "true", "revert_after": "10s", "full_access": "x.test",
	"secret": strings.Repeat("s", 40) + "\"\n    key = \"k", "container": "xy",
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
		"variable": "default = \"x\"", "host": "address = \"203.0.113.10\"", "sfu": "host = host.x\n    url = \"https://sfu.x.test\"", "auth": "host = host.x\n    url = \"https://jwt.x.test\"",
		"synapse debian": "host = host.x", "synapse venv": "host = host.x", "synapse external": "url = \"https://matrix.x.test\"", "proxy nginx": "host = host.x", "proxy caddy": "host = host.x", "well_known file": "host = host.x\n    path = \"/var/www/client\"",
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
			if before, beside, ok := strings.Cut(a.ok, "\"\n"); ok {
				a.file, a.ok = strings.Replace(a.file, "VALUE", "VALUE\n"+beside+`"`, 1), before
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
	for _, p := range []string{".variable.", ".host.", ".site.sfu.archive", ".site.auth.archive", ".site.livekit_keys.command", ".site.verify.", ".site.revert_after", ".site.synapse debian.start_timeout", ".site.synapse venv.start_timeout"} {
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
		return v.String() == text || strings.HasSuffix(v.String(), "/"+path.Clean(text)) || v.String() == filepath.Clean(text) || strings.HasPrefix(text, "~") && strings.HasSuffix(v.String(), path.Clean(text[1:]))
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

// sandbox is a host that answers as one that needs everything, and keeps what it
// is asked and given.
type sandbox struct {
	t     *testing.T
	file  *File
	name  string
	files map[string]string // besides those that any such host has
	route string            // what it says of its way to another

	mu    sync.Mutex
	words []string // of argument lists, paths, contents of files
	texts []string // sh
}

func (s *sandbox) Name() string { return cmp.Or(s.name, "x") }

func (s *sandbox) Read(_ context.Context, paths ...string) ([]host.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.File
	for _, p := range paths {
		s.words = append(s.words, p)
		f := host.File{Path: p, Real: p}
		switch text := s.content(p); {
		case text != "":
			f.Exists, f.Mode, f.Data = true, 0o644, []byte(text)
		case strings.HasSuffix(p, "/*") && strings.HasPrefix(p, "/etc/nginx/sites-enabled"):
			f.Path, f.Pattern, f.Real = "/etc/nginx/sites-enabled/x", p, "/etc/nginx/sites-enabled/x"
			f.Exists, f.Mode, f.Data = true, 0o644, []byte("server {\n listen 443 ssl;\n server_name x.test;\n}\n")
		}
		out = append(out, f)
	}
	return out, nil
}

func (s *sandbox) content(p string) string {
	if text := s.files[p]; text != "" {
		return text
	}
	for _, d := range s.file.Sites[0].Blocks {
		switch c := d.Config.(type) {
		case *wellknown.File:
			if p == c.Path {
				return "{}"
			}
		case *auth.Config:
			if p == c.CAFile {
				return "-----"
			}
		}
	}
	switch p {
	case "/etc/nginx/nginx.conf":
		return "events {}\nhttp {\n include /etc/nginx/conf.d/*.conf;\n include /etc/nginx/sites-enabled/*;\n}\n"
	case "/etc/matrix-synapse/homeserver.yaml":
		return "server_name: " + s.file.Sites[0].ServerName + "\nlisteners:\n  - port: 8008\n    resources:\n      - names: [client]\n"
	}
	return ""
}

func (s *sandbox) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]host.Result, len(cmds))
	for i, c := range cmds {
		s.words = append(s.words, c.Argv...)
		if c.Argv[0] == "sh" {
			s.texts = append(s.texts, c.Argv[2])
		}
		switch argv := strings.Join(c.Argv, " "); {
		case strings.HasPrefix(argv, "docker"), strings.Contains(argv, "is-active firewalld"):
			out[i].Code = 1
		case strings.HasPrefix(argv, "ufw status"):
			out[i].Stdout = []byte("Status: active\n")
		case strings.HasPrefix(argv, "nft -j"):
			out[i].Stdout = []byte(nftClosed)
		case strings.HasPrefix(argv, "systemctl show nftables"):
			out[i].Stdout = []byte("UnitFileState=enabled\n")
		case strings.Contains(argv, "systemctl show"):
			out[i].Stdout = []byte("LoadState=loaded\nActiveState=active\nUser=u\nExecStart={ argv[]=/p -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml ; }\n")
		case strings.HasPrefix(argv, "ip -o route"):
			out[i].Stdout = []byte(cmp.Or(s.route, "1 dev eth0 src 203.0.113.10\n"))
		case strings.HasPrefix(argv, "ip -o addr"):
			out[i].Stdout = []byte("2: eth0 inet 203.0.113.10/24\n")
		}
	}
	return out, nil
}

// nftClosed is a ruleset of an admin's that lets nothing in.
const nftClosed = `{"nftables":[{"table":{"family":"inet","name":"filter"}},{"chain":{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","policy":"drop"}}]}`

// run probes, decides, resolves, and runs all sh that came of it, with programs
// that only write down what they are given.
func (s *sandbox) run(v string) {
	s.t.Helper()
	site := s.file.Sites[0]
	keys := livekit.Keys{Key: host.NewSecret("TheKey"), Secret: host.NewSecret(strings.Repeat("s", 40))}
	if site.Keys != nil && !site.Keys.Key.IsZero() {
		keys = livekit.Keys{Key: site.Keys.Key, Secret: site.Keys.Secret}
	}
	p, err := Make(s.t.Context(), s.file, site, map[string]host.Observer{"x": s}, func(credentials.Found) (livekit.Keys, error) { return keys, nil })
	if err != nil {
		s.t.Fatalf("%.60q: %v", v, err)
	}
	for _, st := range p.Hosts[0].Steps {
		b, err := json.Marshal(st.Checks)
		if err != nil {
			s.t.Fatal(err)
		}
		s.strings(b)
		for _, c := range st.Changes {
			s.change(c, keys)
		}
	}
	s.execute(v)
}

func (s *sandbox) change(c steps.Change, keys livekit.Keys) {
	s.t.Helper()
	b, err := steps.MarshalChange(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.strings(b)
	if i, ok := c.(*steps.Image); ok {
		s.words = append(s.words, i.Ref)
		return
	}
	r, err := c.Resolve(s.t.Context(), steps.Env{Host: s, Run: "R", Secrets: credentials.Secrets(keys)})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range r.Stage {
		s.words = append(s.words, string(f.Data))
	}
	s.texts = append(s.texts, r.Save, r.Do, r.Activate, r.Check, r.Undo)
}

// strings keeps all texts of a JSON value.
func (s *sandbox) strings(b []byte) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		s.t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			s.words = append(s.words, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
}

// execute runs the texts in a folder of their own, each in a shell of its own.
func (s *sandbox) execute(v string) {
	s.t.Helper()
	dir := s.t.TempDir()
	var all strings.Builder
	all.WriteString("D=$PWD J=$PWD/none R=$PWD/none RUN=R\nPATH=\nw() { for a; do printf '%s\\n' \"$a\" >>\"$D/words\"; done; }\n")
	for _, f := range strings.Fields("ec_save ec_mkdir ec_place ec_remove ec_unchanged ec_sync ec_undo_files ec_save_container ec_undo_container_ours ec_undo_container_old ec_undo_dirs ec_keep_ufw ec_undo_ufw ec_save_ufw ec_save_nft ec_nft ec_nft_insert ec_undo_nft " +
		"ec_set_aside ec_save_unit ec_unit ec_undo_unit ec_took_effect ec_overlay_put ec_note ufw nft docker setpriv cp chown chmod rm id mount unshare sh nginx systemctl getent ss pgrep ps grep sort awk df cat stat tail sed") {
		all.WriteString(f + "() { w " + f + " \"$@\"; }\n")
	}
	for _, text := range s.texts {
		if text != "" {
			all.WriteString("(\n" + strings.ReplaceAll(text, "/proc/sys/net", "/nowhere") + "\n) >/dev/null 2>&1 </dev/null\n")
		}
	}
	cmd := exec.Command("/bin/sh", "-c", all.String())
	cmd.Dir = dir
	_ = cmd.Run() // nothing that it calls answers
	b, err := os.ReadFile(dir + "/words")
	if err != nil {
		s.t.Fatal(err)
	}
	s.words = append(s.words, string(b))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		s.t.Errorf("%.60q was run: it made %v (%v)", v, left, err)
	}
}

// arrived reports whether v stands somewhere as it is. Spaces around numbers are
// none of it, and a URL may have another scheme.
func (s *sandbox) arrived(v string) bool {
	if strings.Trim(v, "0123456789.- ") == "" {
		v = strings.TrimSpace(v)
	}
	for _, w := range s.words {
		if strings.Contains(w, v) || strings.Contains(w, strings.TrimPrefix(v, "https://")) {
			return true
		}
	}
	return false
}
