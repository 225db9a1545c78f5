package plans

import (
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// recordedHost is a host of recorded answers: files by path, and what programs
// say by their names. What it does not know is not there.
type recordedHost struct{ files, says map[string]string }

func (recordedHost) Name() string { return "x" }

func (o recordedHost) Read(_ context.Context, paths ...string) ([]host.File, error) {
	var out []host.File
	for _, pattern := range paths {
		found := false
		for _, p := range sortedKeys(o.files) {
			if ok, _ := path.Match(pattern, p); ok {
				found = true
				f := host.File{Path: p, Real: p, Exists: true, Mode: 0o644, Data: []byte(o.files[p])}
				if p != pattern {
					f.Pattern = pattern
				}
				out = append(out, f)
			}
		}
		if !found {
			out = append(out, host.File{Path: pattern})
		}
	}
	return out, nil
}

func (o recordedHost) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		program := c.Argv[0]
		if program == "sh" && strings.Contains(c.Argv[2], "systemctl show") {
			program = "systemctl"
		}
		said, ok := o.says[program]
		if out = append(out, host.Result{Stdout: []byte(said)}); !ok {
			out[len(out)-1].Code = 127
		}
	}
	return out, nil
}

// canary is what must not be found in a saved plan; what follows it tells
// where it was.
const canary = "CanaryOf"

// makeSecretiveHost is a host whose files are full of secrets, besides all that changes.
func makeSecretiveHost() recordedHost {
	return recordedHost{
		says: map[string]string{
			"uname": "x86_64\n", "nginx": "nginx version: nginx/1.26\n", "sh": "", "test": "",
			"ip":        "2: eth0    inet 203.0.113.10/24 brd 203.0.113.255 scope global eth0\n",
			"systemctl": "LoadState=loaded\nActiveState=active\nUser=matrix-synapse\nExecStart={ path=/p ; argv[]=/usr/bin/python3 -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml ; }\n",
		},
		files: map[string]string{
			"/etc/matrix-synapse/homeserver.yaml": "server_name: x.test\nregistration_shared_secret: " + canary + "Registration\nrc_message:\n  per_second: 0.1\n  api_token: " + canary + "Token\n" +
				"experimental_features: {my_token: " + canary + "Flow, msc3266_enabled: true}\ndatabase: {args: {password: " + canary + "Database}}\n" +
				"listeners:\n  - port: 8008\n    tls: false\n    type: http\n    resources: [{names: [client]}] # password: " + canary + "Comment\n",
			"/etc/nginx/nginx.conf": "http {\n  server {\n    listen 443 ssl;\n    server_name sfu.x.test jwt.x.test;\n    ssl_certificate /c.pem;\n    ssl_certificate_key /k.pem;\n" +
				"    proxy_set_header Authorization \"Bearer " + canary + "Nginx\";\n  }\n}\n",
			"/etc/ecdeploy/x.test/sfu/keys.yaml":           canary + "OldKey: " + canary + "OldSecret0123456789012345678\n",
			"/etc/ecdeploy/x.test/sfu/livekit-config.yaml": "port: 1\nwebhook:\n  api_key: \"" + canary + "OldKey\"\n" + canary + "Line\n",
			"/etc/ecdeploy/x.test/auth/key":                canary + "OldKey\n",
			"/etc/ecdeploy/x.test/auth/secret":             canary + "OldSecret0123456789012345678",
			"/var/www/x.test/client":                       `{"m.homeserver": {"base_url": "https://x.test"}, "api_key": "` + canary + `WellKnown"}`,
		},
	}
}

// No secret gets into a saved plan, wherever it comes from.
func TestSavedHoldsNoSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(canary+"File01234567890123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, keys string }{
		{"found on the host", ""},
		{"to be made, next to files that are not understood", ""},
		{"literal", "key = \"" + canary + "Key\"\n secret = \"" + canary + "Literal01234567890123456789\""},
		{"from the environment and a file", "key = env(\"KEY\")\n secret = file(\"secret\")"},
		{"from a variable", "key = var.key\n secret = var.secret"},
		{"from a command", `command = ["printf", "%s: %s", env("KEY"), file("secret")]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := rightFile
			if c.keys != "" {
				text = "variable \"key\" { default = \"\" }\nvariable \"secret\" { default = \"\" }\n" +
					spoilLines(t, rightFile, "  synapse", "  livekit_keys {\n "+c.keys+"\n  }\n  synapse",
						`  address = "203.0.113.10"`, "  address = \"203.0.113.10\"\n  user = \"admin\"\n  sudo_password { command = [\"echo\", \""+canary+"Sudo\"] }")
			}
			file := filepath.Join(dir, "hosts.hcl")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			vars := map[string]string{}
			if c.keys != "" {
				vars = map[string]string{"key": canary + "VarKey", "secret": canary + "Variable0123456789012345678"}
			}
			f, mistakes := Load(file, LoadOptions{Vars: vars, Environ: func(n string) (string, bool) { return canary + "Environment", n == "KEY" }})
			if f == nil {
				t.Fatalf("%+v", mistakes)
			}
			on := makeSecretiveHost()
			toMake := strings.HasPrefix(c.name, "to be made")
			if toMake {
				on.files["/etc/ecdeploy/x.test/sfu/keys.yaml"] = "{a: " + canary + "1}\n"
				on.files["/etc/ecdeploy/x.test/auth/secret"] = canary + "2 3\n"
			}
			choose, err := f.Sites[0].KeepKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p, err := Make(t.Context(), f, f.Sites[0], map[string]host.Observer{"x": on}, choose)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(KeysOf(p.Secrets).Key.Reveal(), canary) == toMake {
				t.Error("the plan knows no canary for credentials")
			}
			s, err := NewSaved(f, Plan{Sites: []SitePlan{p}})
			if err != nil {
				t.Fatal(err)
			}
			s.Vars = sortedKeys(vars)
			b, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if i := strings.Index(string(b), canary); i >= 0 {
				t.Errorf("it holds %.200s", b[max(i-100, 0):])
			}
			// Nor a sum by which a short one could be guessed.
			plain := map[string]string{"the plan file": text}
			for name, content := range on.files {
				if strings.HasPrefix(name, "/etc/ecdeploy/") {
					plain[name], plain[name+", its line"] = content, strings.TrimSpace(content)
				}
			}
			for name, content := range plain {
				if strings.Contains(string(b), sumOf([]byte(content))) {
					t.Errorf("it holds the plain SHA-256 of %s", name)
				}
			}
			mark := `"hmac:`
			if toMake {
				mark = `"scrypt:`
			}
			// There was something to find: each of these edits a file of canaries.
			for _, want := range []string{livekit.RefKey, livekit.RefSecret, mark, "/etc/matrix-synapse/homeserver.yaml", "/etc/nginx/nginx.conf", "/var/www/x.test/client", "/sfu/livekit-config.yaml", "my_token: ***"} {
				if !strings.Contains(string(b), want) {
					t.Errorf("it has no %s:\n%s", want, b)
				}
			}
		})
	}
}

// savedPlan is somePlan, saved.
func savedPlan(t *testing.T) *Saved {
	t.Helper()
	s, err := NewSaved(&File{Path: "/d/hosts.hcl", Sum: "5a", Hosts: []Host{{Name: "h", Address: "203.0.113.10"}}, Sites: []Site{siteOnHost("h")}}, Plan{Sites: []SitePlan{makeSomePlan()}})
	if err != nil {
		t.Fatal(err)
	}
	s.Version, s.Made, s.By, s.Vars, s.Limit = "v1", time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC), "me@laptop", []string{"a"}, []string{"x.test"}
	return s
}

// A saved plan comes back whole, and begins so that everybody knows it.
func TestSavedRoundTrip(t *testing.T) {
	s := savedPlan(t)
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "{\n  \"ecdeploy_plan\": 1,") || !IsSaved(b) {
		t.Errorf("it begins with %.40s", b)
	}
	read, err := DecodeSaved(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.Encode()
	if err != nil {
		t.Fatal(err)
	}
	// The one byte that is no UTF-8 comes back as a character.
	if d := cmp.Diff(strings.ReplaceAll(string(b), `\ufffd`, "\ufffd"), strings.ReplaceAll(string(again), `\ufffd`, "\ufffd")); d != "" {
		t.Error(d)
	}
	if moved, err := read.Drift(&File{}, Plan{Sites: []SitePlan{makeSomePlan()}}); err != nil || len(moved) > 0 {
		t.Errorf("it differs from what was saved: %v, %v", moved, err)
	}
}

// A host that stands elsewhere, or is reached in another way, is another host.
func TestElsewhere(t *testing.T) {
	s := savedPlan(t)
	for _, c := range []struct {
		name string
		host Host
		want []string
	}{
		{"the same", Host{Name: "h", Address: "203.0.113.10", User: "admin"}, nil},
		{"address", Host{Name: "h", Address: "203.0.113.11"}, []string{"h"}},
		{"port", Host{Name: "h", Address: "203.0.113.10", Port: 2222}, []string{"h"}},
		{"jump", Host{Name: "h", Address: "203.0.113.10", Jump: "j"}, []string{"h"}},
		{"name", Host{Name: "i", Address: "203.0.113.10"}, []string{"h"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, s.Elsewhere(&File{Hosts: []Host{c.host}, Sites: []Site{siteOnHost(c.host.Name)}})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDamaged(t *testing.T) {
	good, err := savedPlan(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, wrong string }{
		{"cut", "", "", "unexpected end of JSON input"},
		{"more behind it", "\n}\n", "\n}}\n", "invalid character"},
		{"newer", `"ecdeploy_plan": 1`, `"ecdeploy_plan": 2`, `has format 2, of ecdeploy "v1"; this ecdeploy knows format 1`},
		{"no version", `"ecdeploy_plan": 1`, `"ecdeploy_plan": 0`, "there is no format 0"},
		{"no number", `"ecdeploy_plan": 1`, `"ecdeploy_plan": "1"`, "cannot unmarshal string"},
		{"no plan file", `"/d/hosts.hcl"`, `""`, "of which plan file"},
		{"a relative plan file", `"/d/hosts.hcl"`, `"hosts.hcl"`, "of which plan file"},
		{"no salt", `"plan_file_salt"`, `"salt"`, "of which plan file"},
		{"a variable that is a command", `"a"`, `"a; reboot #"`, "no name of a variable"},
		{"a plan file with a line end", `"/d/hosts.hcl"`, `"/d/hosts.hcl\nhint: ecdeploy"`, "characters that no name or path needs"},
		{"a maker who steers terminals", `"me@laptop"`, `"me\u001b[2J"`, "characters that no name or path needs"},
		{"a limit with a line end", `"x.test"
  ]`, `"x.test\n"
  ]`, "characters that no name or path needs"},
		{"no sites", `"sites"`, `"places"`, "it has no site"},
		{"another change", `"livekit:1"`, `"livekit:2"`, "the changes of x.test are not what they were"},
		{"a kind of change that is not known", `"kind": "files"`, `"kind": "magic"`, `unknown kind "magic"`},
		{"another host", `"host": "h"`, `"host": "i"`, "the changes of x.test are not"},
		{"a host without a place", `"hosts": {`, `"hoists": {`, "where host h is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := string(good[:len(good)/2])
			if c.old != "" {
				bad = spoilLines(t, string(good), c.old, c.new)
			}
			_, err := DecodeSaved([]byte(bad))
			if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), "\nhint: ") || !IsSaved([]byte(bad)) {
				t.Errorf("error %v, expected %q and a hint", err, c.wrong)
			}
		})
	}
}

// The plan file of a saved plan is known by its sum, and nothing else is read
// for it: whoever made the plan chose its path.
func TestMadeOf(t *testing.T) {
	s := savedPlan(t)
	if !s.MadeOf("5a") || s.MadeOf("5b") || s.Sum == savedPlan(t).Sum {
		t.Error("the sum does not know its plan file, or has no salt")
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if sum, err := Sum(big); err != nil || sum != sumOf(nil) {
		t.Errorf("%s, %v", sum, err)
	}
	if err := os.Truncate(big, maxPlanFile+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", filepath.Dir(big), big} {
		if _, err := Sum(path); err == nil || !strings.Contains(err.Error(), "is not a file of at most 4 MiB") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Plan files and other JSON are no saved plans.
func TestIsSaved(t *testing.T) {
	for text, want := range map[string]bool{
		`{"ecdeploy_plan": 1}`: true, "\n { \"ecdeploy_plan\" : 7": true,
		rightFile: false, "": false, "{}": false, `{"plan": {"ecdeploy_plan": 1}}`: false, "# {\"ecdeploy_plan\": 1}": false,
	} {
		if IsSaved([]byte(text)) != want {
			t.Errorf("%.40s: %v", text, !want)
		}
	}
}

// What a saved plan says; a field that goes is another format.
func TestSavedFields(t *testing.T) {
	b, err := savedPlan(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	want := []string{"by", "ecdeploy_plan", "hosts", "limit", "made", "plan_file", "plan_file_salt", "plan_file_scrypt", "sites", "vars", "version"}
	if d := cmp.Diff(want, sortedKeys(fields)); d != "" {
		t.Error(d)
	}
	if !slices.Contains(strings.Fields(string(b)), `"2026-11-24T01:02:03Z",`) {
		t.Error("it does not say when it was made")
	}
}
