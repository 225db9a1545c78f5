package plans

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/auth"
	"github.com/emdecloud/ecdeploy/steps/homeserver/synapse"
	"github.com/emdecloud/ecdeploy/steps/machine"
	"github.com/emdecloud/ecdeploy/steps/proxy/nginx"
	"github.com/emdecloud/ecdeploy/steps/sfu"
	"github.com/emdecloud/ecdeploy/steps/wellknown"
)

// What the plan file does not say has its default.
func TestDefaults(t *testing.T) {
	f, mistakes := load("dir/hosts.hcl", []byte(rightFile), LoadOptions{Environ: environ})
	if f == nil || len(mistakes) > 0 {
		t.Fatalf("%+v", mistakes)
	}
	pos := func(line, column int) Pos { return Pos{"dir/hosts.hcl", line, column} }
	type block struct {
		Label  string
		Host   string
		At     Pos
		Config steps.Config
	}
	got := map[string]block{}
	for _, d := range f.Sites[0].Blocks {
		got[d.Block] = block{d.Label, d.Decl.Host, d.Pos, d.Config}
	}
	want := map[string]block{
		"machine": {"", "x", pos(4, 1), &machine.Config{}},
		"sfu": {"", "x", pos(5, 3), &sfu.Config{Host: "x", URL: "https://sfu.x.test", Image: sfu.DefaultImage, Container: "livekit-sfu", Bind: "127.0.0.1",
			Participants: 40, UID: 10030, Ports: &sfu.Ports{Signalling: 7880, TCP: 7881, UDP: "50100-50200"}}},
		"auth": {"", "x", pos(9, 3), &auth.Config{Host: "x", URL: "https://jwt.x.test", Image: auth.DefaultImage, Container: "element-call-jwt", Port: 8080,
			Bind: "127.0.0.1", FullAccess: []string{"x.test"}, UID: 10033}},
		"synapse": {"debian", "x", pos(13, 3), &synapse.Service{Host: "x",
			Unit: "matrix-synapse.service", StartTimeout: 120 * time.Second, MaxDelay: "24h", From: synapse.Package}},
		"proxy":      {"nginx", "x", pos(14, 3), &nginx.Config{Host: "x"}},
		"well_known": {"file", "x", pos(15, 3), &wellknown.File{Host: "x", Path: "/var/www/x.test/client"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s, h := f.Sites[0], f.Hosts[0]
	if len(h.Blocks) != 1 || h.Blocks[0].Block != "firewall" || h.Blocks[0].Label != "" || h.Blocks[0].Decl.Host != "x" {
		t.Errorf("blocks of the host %+v", h.Blocks)
	}
	s.Blocks, h.Blocks = nil, nil
	if d := cmp.Diff(Site{ServerName: "x.test", Verify: Verify{Level: "media"}, RevertAfter: 3 * time.Minute, Pos: pos(4, 1)}, s); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Host{Name: "x", Address: "203.0.113.10", Become: host.BecomeNone, ConnectTimeout: 15 * time.Second, Pos: pos(1, 1)}, h); d != "" {
		t.Error(d)
	}
}

// configOf is what a site says in its block of a variant.
func configOf[C steps.Config](t *testing.T, s Site) C {
	t.Helper()
	for _, d := range s.Blocks {
		if c, ok := d.Config.(C); ok {
			return c
		}
	}
	t.Fatalf("site %s has no %T", s.ServerName, *new(C))
	return *new(C)
}

// Paths on the laptop begin at the plan file or at the home folder.
func TestLocalPaths(t *testing.T) {
	text := spoilLines(t, rightFile,
		`  address = "203.0.113.10"`, "  address = \"a\"\n  user = \"admin\"\n  identity = \"~/.ssh/id\"\n  sudo_password { file = \"pw\" }",
		`url  = "https://sfu.x.test"`, "url = \"https://sfu.x.test\"\n    archive = \"images/a.tar\"",
		`url  = "https://jwt.x.test"`, "url = \"https://jwt.x.test\"\n    archive = \"/b.tar\"")
	f, mistakes := load("dir/hosts.hcl", []byte(text), LoadOptions{Environ: func(n string) (string, bool) { return "/home/me", n == "HOME" }})
	if f == nil {
		t.Fatalf("%+v", mistakes)
	}
	h := f.Hosts[0]
	got := []string{h.Identity, h.SudoPassword.File, string(configOf[*sfu.Config](t, f.Sites[0]).Archive), string(configOf[*auth.Config](t, f.Sites[0]).Archive), string(h.Become)}
	if d := cmp.Diff([]string{"/home/me/.ssh/id", "dir/pw", "dir/images/a.tar", "/b.tar", "sudo"}, got); d != "" {
		t.Error(d)
	}
}

// withVariables takes values from all the places there are.
var withVariables = `variable "name" { default = "x" }
variable "port" { default = 8081 }
variable "servers" { default = ["a.test"] }
variable "secret" {}
` + strings.NewReplacer(
	`url  = "https://sfu.x.test"`, `url = lower("HTTPS://${var.name}.X.test")`,
	`url  = "https://jwt.x.test"`, "url = \"https://jwt.x.test\"\n    port = var.port\n    full_access = concat(var.servers, [\"x.test\"])",
	"  synapse", "  livekit_keys {\n    key = env(\"KEY\")\n    secret = file(var.secret)\n  }\n  synapse",
).Replace(rightFile)

func TestVariables(t *testing.T) {
	dir := t.TempDir()
	secret := strings.Repeat("s", 40)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"ECDEPLOY_VAR_name": "env", "ECDEPLOY_VAR_port": "8090", "ECDEPLOY_VAR_servers": `["b.test"]`, "KEY": "k1"}
	f, mistakes := load(filepath.Join(dir, "hosts.hcl"), []byte(withVariables), LoadOptions{
		Vars:    map[string]string{"name": "flag", "secret": "secret"},
		Environ: func(n string) (string, bool) { v, ok := env[n]; return v, ok },
	})
	if f == nil || len(mistakes) > 0 {
		t.Fatalf("%+v", mistakes)
	}
	if d := cmp.Diff([]string{"name", "port", "secret", "servers"}, f.Vars); d != "" {
		t.Errorf("variables with a value from outside: %s", d)
	}
	s := f.Sites[0]
	got := []any{configOf[*sfu.Config](t, s).URL, configOf[*auth.Config](t, s).Port, configOf[*auth.Config](t, s).FullAccess, s.Keys.Key.Reveal(), s.Keys.Secret.Reveal()}
	if d := cmp.Diff([]any{"https://flag.x.test", 8090, []string{"b.test", "x.test"}, "k1", secret}, got); d != "" {
		t.Error(d)
	}
}

func TestVariableMistakes(t *testing.T) {
	env := map[string]string{"KEY": "k1", "ECDEPLOY_VAR_port": "many"}
	_, mistakes := load("hosts.hcl", []byte(withVariables), LoadOptions{
		Vars:    map[string]string{"nam": "flag"},
		Environ: func(n string) (string, bool) { v, ok := env[n]; return v, ok },
	})
	var got []string
	for _, m := range mistakes {
		got = append(got, fmt.Sprintf("%d:%d %s: %s", m.Line, m.Column, m.Summary, m.Detail))
	}
	want := []string{
		"0:0 --var nam: the plan file has no variable of that name: did you mean name?",
		`2:10 the value given for variable "port" must be a whole number, as its default is: correct --var or ECDEPLOY_VAR_port`,
		`4:10 variable "secret" has no value: give --var secret=VALUE, export ECDEPLOY_VAR_secret, or add a default`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Validate, and any file with a mistake, reads neither the environment that
// env() names nor the file that file() names.
func TestNothingReadBeforeRight(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "secret") // not there: reading it would be a mistake
	strict := func(n string) (string, bool) {
		if n == "KEY" {
			t.Error("env() was asked")
		}
		return "", false
	}
	vars := map[string]string{"secret": fifo}
	if f, m := load("hosts.hcl", []byte(withVariables), LoadOptions{Vars: vars, Environ: strict, Validate: true}); f == nil || len(m) > 0 {
		t.Errorf("%+v", m)
	}
	wrong := strings.Replace(withVariables, `proxy "nginx"`, `proxy "traefik"`, 1)
	if _, m := load("hosts.hcl", []byte(wrong), LoadOptions{Vars: vars, Environ: strict}); len(m) != 1 {
		t.Errorf("%+v", m)
	}
	_, m := load("hosts.hcl", []byte(withVariables), LoadOptions{Vars: vars, Environ: environ})
	if len(m) != 2 || !strings.Contains(m[0].Summary, "env(): the environment has no KEY") || !strings.Contains(m[1].Summary, "file(): ") {
		t.Errorf("%+v", m)
	}
}

// A secret that stands in the file, or comes from outside, is in no mistake,
// whatever is wrong with the file.
func TestMistakesHoldNoSecret(t *testing.T) {
	const secret = "cAnArY0123456789"
	for _, text := range []string{
		"livekit_keys {\n    key = \"devkey\"\n    secret = \"SECRET\"\n  }",
		"livekit_keys {\n    key = \"k\"\n    secret = [\"SECRET\"]\n  }",
		"livekit_keys {\n    key = \"k\"\n    secret = env(\"S\")\n  }",
		"livekit_keys {\n    key = \"k\"\n    secret = nope(\"SECRET\")\n  }",
		"livekit_keys {\n    key = \"k\"\n    secret = \"SECRET\n  }",
		"livekit_keys { key = \"API\", secret = \"SECRET\" }",
		"livekit_keys { key = \"API\" secret = \"SECRET\" }",
		"livekit_keys { Secret: \"SECRET\" }",
		"livekit_keys {\n    secret \"SECRET\"\n  }",
		"livekit_keys {\n    \"secret\": \"SECRET\"\n  }",
		"livekit_keys {\n    secret = \"a\"SECRET\"\n  }",
		"livekit_keys {\n    secret =\n      \"SECRET\"\n  }",
		"livekit_keys {\n    secret = <<E\nSECRET${\nE\n  }",
		"livekit_keys {\n    key = \"k\"\n    secret = SECRET\n  }",
		"livekit_keys {\n    key = \"k\"\n    scret = \"SECRET\"\n  }",
		"livekit_keys {\n    secret { value = \"SECRET\" }\n  }",
		"livekit_secret = \"SECRET\"",
		"livekit_secret = \"SECRET\", a = 1",
		"livekit { secret = \"SECRET\" }",
		"livekit_keys = { key = \"k\", secret = \"SECRET\" }",
	} {
		text = strings.Replace(rightFile, "  synapse", "  "+strings.ReplaceAll(text, "SECRET", secret)+"\n  synapse", 1)
		_, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: func(string) (string, bool) { return secret, true }})
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if len(m) == 0 || strings.Contains(string(b), secret) {
			t.Errorf("%s\n%s", text, b)
		}
	}
}

// node_ip is written as LiveKit writes it, and as the host shows it.
func TestNodeIP(t *testing.T) {
	for given, want := range map[string]string{
		"203.0.113.1":                 "203.0.113.1",
		"203.0.113.1,2001:db8::1":     "203.0.113.1,2001:db8::1",
		"2001:DB8:0::1 , 203.0.113.1": "203.0.113.1,2001:db8::1",
	} {
		f, m := load("hosts.hcl", []byte(spoilLines(t, rightFile, "    host = host.x\n", "    host = host.x\n    node_ip = \""+given+"\"\n")), LoadOptions{Environ: environ})
		if f == nil || len(m) > 0 || configOf[*sfu.Config](t, f.Sites[0]).NodeIP != want {
			t.Errorf("%q: %+v", given, m)
		}
	}
}

func TestLoadNoFile(t *testing.T) {
	f, m := Load(filepath.Join(t.TempDir(), "nope.hcl"), LoadOptions{})
	if f != nil || len(m) != 1 || !m.HasErrors() || m[0].Detail == "" {
		t.Errorf("%+v", m)
	}
}
