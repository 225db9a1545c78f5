package view

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/plans"
)

// held is a host with these files, and no programs.
type held map[string]string

func (held) Name() string { return "h" }

func (o held) Read(_ context.Context, paths ...string) ([]host.File, error) {
	var out []host.File
	for _, p := range paths {
		text, ok := o[p]
		out = append(out, host.File{Path: p, Real: p, Exists: ok, Mode: 0o640, Data: []byte(text)})
	}
	return out, nil
}

func (held) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	out := make([]host.Result, len(cmds))
	for i := range out {
		out[i].Code = 127
	}
	return out, nil
}

// planFile is one of a site on one host, with a block more.
func planFile(t *testing.T, block string) *plans.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts.hcl")
	text := `host "h" { address = "192.0.2.1" }
site "x.test" {
  sfu {
    host    = host.h
    url     = "https://sfu.x.test"
    node_ip = "198.51.100.7"
  }
  auth {
    host = host.h
    url  = "https://jwt.x.test"
  }
  synapse "external" { url = "https://matrix.x.test" }
  proxy "external" {}
  well_known "external" {}
  ` + block + "\n}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, mistakes := plans.Load(path, plans.LoadOptions{Environ: os.LookupEnv})
	if f == nil {
		t.Fatalf("%+v", mistakes)
	}
	return f
}

// Each step of a rotation, shown in every form: none of them holds credentials,
// new or old.
func TestRotationShowsNoSecrets(t *testing.T) {
	const sfu, auth = "/etc/ecdeploy/x.test/sfu/", "/etc/ecdeploy/x.test/auth/"
	pair := func(c string) string { return strings.Repeat(c, 40) + "KEY: " + strings.Repeat(c, 40) + "SECRET\n" }
	files := func(c, old string) held {
		h := held{sfu + "keys.yaml": pair(c), sfu + "livekit-config.yaml": "port: 7880\nwebhook:\n  api_key: \"" + strings.Repeat(c, 40) + "KEY\"\n",
			auth + "key": strings.Repeat(c, 40) + "KEY\n", auth + "secret": strings.Repeat(c, 40) + "SECRET\n"}
		if old != "" {
			h[sfu+"keys.yaml"] += pair(old)
		}
		return h
	}
	given := "livekit_keys {\n    key = \"" + strings.Repeat("c", 40) + "KEY\"\n    secret = \"" + strings.Repeat("c", 40) + "SECRET\"\n  }"
	for _, c := range []struct {
		name   string
		choose func(plans.Site, context.Context) (plans.Credentials, error)
		host   held
		block  string
		want   string // in the text
	}{
		{"rotate", plans.Site.RotateKeys, files("a", ""), "", "+***: ***\n"},
		{"rotate to what is given", plans.Site.RotateKeys, files("a", ""), given, "+***: ***\n"},
		{"in between", plans.Site.KeepKeys, files("b", "a"), "", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"finish", plans.Site.DropOldKeys, files("b", "a"), "", "-*** (a line that may hold a secret)\n"},
		{"other credentials at once", plans.Site.KeepKeys, files("b", "a"), given, "change at once"},
		{"a key file edited by hand", plans.Site.KeepKeys, held{sfu + "keys.yaml": "# x\nkeys: {" + pair("a") + "}\n", auth + "key": files("b", "")[auth+"key"], auth + "secret": files("b", "")[auth+"secret"]}, "", "keys.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := planFile(t, c.block)
			choose, err := c.choose(f.Sites[0], t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p, err := plans.Make(t.Context(), f, f.Sites[0], map[string]host.Observer{"h": c.host}, choose)
			if err != nil {
				t.Fatal(err)
			}
			plan := plans.Plan{Sites: []plans.SitePlan{p}}
			var text, lines strings.Builder
			newText(&text, false).Plan(plan)
			if err := newJSON(&lines).Plan(plan); err != nil {
				t.Fatal(err)
			}
			whole, err := json.Marshal(plan)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), c.want) {
				t.Errorf("it does not show %q:\n%s", c.want, &text)
			}
			for form, shown := range map[string]string{"text": text.String(), "JSON": lines.String(), "the whole plan": string(whole)} {
				for _, secret := range []string{strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40), plans.KeysOf(p.Secrets).Key.Reveal(), plans.KeysOf(p.Secrets).Secret.Reveal()} {
					if strings.Contains(shown, secret) {
						t.Errorf("credentials in %s:\n%s", form, shown)
					}
				}
			}
		})
	}
}

func TestCalls(t *testing.T) {
	for want, e := range map[string]engine.Calls{
		"x.test: LiveKit restarts, which interrupts 1 call now, with 2 participants\n":               {Site: "x.test", Rooms: 1, People: 2},
		"x.test: LiveKit restarts, and nobody is on a call now\n":                                    {Site: "x.test"},
		"x.test: LiveKit restarts, and how many calls that interrupts now is not known:\n    abcd\n": {Site: "x.test", Err: hostile},
	} {
		var out strings.Builder
		newText(&out, false).Event(e)
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
	var out strings.Builder
	newJSON(&out).Event(engine.Calls{Site: "x.test", Host: "h", Rooms: 1, People: 2})
	if want := `{"calls":{"site":"x.test","host":"h","rooms":1,"people":2},"type":"calls","version":1}` + "\n"; out.String() != want {
		t.Errorf("%s", &out)
	}
}
