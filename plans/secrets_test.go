package plans

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// threeHosts has its SFU, its JWT service with Synapse, and its announcement on
// hosts of their own.
const threeHosts = `
host "sfu" { address = "203.0.113.1" }
host "auth" { address = "203.0.113.2" }
host "web" { address = "203.0.113.3" }
site "x.test" {
  sfu {
    host    = host.sfu
    url     = "https://sfu.x.test"
    node_ip = "203.0.113.10"
  }
  auth {
    host = host.auth
    url  = "https://jwt.x.test"
  }
  synapse "debian" { host = host.auth }
  proxy "external" { host = host.sfu }
  proxy "external" { host = host.auth }
  well_known "file" {
    host = host.web
    path = "/var/www/client"
  }
}
`

// A host gets the files of what runs on it, secrets stand in files alone, and a
// host on which nothing needs one gets none.
func TestHostsGetTheirOwnSecretsAlone(t *testing.T) {
	f, m := load("hosts.hcl", []byte(threeHosts), LoadOptions{Environ: environ})
	if f == nil {
		t.Fatalf("%+v", m)
	}
	keys := livekit.Keys{Key: host.NewSecret("TheKeyOfThisSite"), Secret: host.NewSecret(strings.Repeat("s", 48))}
	holds := func(text string) bool {
		return strings.Contains(text, keys.Key.Reveal()) || strings.Contains(text, keys.Secret.Reveal())
	}
	observers := map[string]host.Observer{}
	for _, name := range []string{"sfu", "auth", "web"} {
		observers[name] = &sandbox{t: t, file: f, name: name}
	}
	p, err := Make(t.Context(), f, f.Sites[0], observers, func(credentials.Found) (livekit.Keys, error) { return keys, nil })
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(p); err != nil || holds(string(b)) {
		t.Errorf("a plan holds a secret (%v)", err)
	}
	secret, all := map[string][]string{}, map[string][]string{}
	for _, h := range p.Hosts {
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				r, err := c.Resolve(t.Context(), steps.Env{Host: observers[h.Host], Run: "R", Secrets: credentials.Secrets(keys)})
				if err != nil {
					t.Fatal(err)
				}
				for what, text := range map[string]string{
					"save": r.Save, "do": r.Do, "activate": r.Activate, "check": r.Check, "undo": r.Undo,
					"title": c.Summary().Title,
				} {
					if holds(text) {
						t.Errorf("%s of %s on %s holds a secret", what, c.Summary().Title, h.Host)
					}
				}
				for i, e := range editsOf(c) {
					all[h.Host] = append(all[h.Host], e.Path)
					if holds(string(r.Stage[i].Data)) {
						secret[h.Host] = append(secret[h.Host], e.Path)
						if r.Stage[i].Mode != 0o600 || e.Mode.Perm()&0o007 != 0 {
							t.Errorf("%s is staged as %v and placed as %v", e.Path, r.Stage[i].Mode, e.Mode)
						}
					}
				}
			}
		}
	}
	want := map[string][]string{
		"sfu":  {"/etc/ecdeploy/x.test/sfu/livekit-config.yaml", "/etc/ecdeploy/x.test/sfu/keys.yaml"},
		"auth": {"/etc/ecdeploy/x.test/auth/key", "/etc/ecdeploy/x.test/auth/secret"},
	}
	if d := cmp.Diff(want, secret); d != "" {
		t.Errorf("secrets lie in %s", d)
	}
	for h, paths := range all {
		for _, p := range paths {
			if h != "sfu" && strings.Contains(p, "/sfu/") || h != "auth" && strings.Contains(p, "/auth/") {
				t.Errorf("%s is on %s", p, h)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, []string{"auth", "sfu", "web"}) {
		t.Errorf("changes are on %v", got)
	}
}

func editsOf(c steps.Change) []steps.FileEdit {
	switch c := c.(type) {
	case *steps.Files:
		return c.Edits
	case *steps.Container:
		return c.Edits
	}
	return nil
}

// What one host calls its credentials or its address goes to another one only if
// it is no more than that.
func TestHostsTellEachOtherNoMore(t *testing.T) {
	f, m := load("hosts.hcl",
		[]byte(strings.ReplaceAll(strings.Replace(threeHosts, `proxy "external" { host = host.sfu }`, "", 1), "    node_ip", "    bind = \"10.0.0.2\"\n    node_ip")),
		LoadOptions{Environ: environ})
	if f == nil {
		t.Fatalf("%+v", m)
	}
	for _, evil := range []string{"x\"\nwebhook:\n  urls: [http://evil]\n#", "k: v", "a b", "'", "\x1b[2J", "", "any"} {
		liar := &sandbox{
			t:     t,
			file:  f,
			name:  "auth",
			files: map[string]string{"/etc/ecdeploy/x.test/auth/key": evil, "/etc/ecdeploy/x.test/auth/secret": strings.Repeat("s", 40)},
			route: "10.0.0.2 dev eth0 src " + evil + "\n",
		}
		if evil == "any" {
			liar.files["/etc/ecdeploy/x.test/auth/key"] = "\n"
		}
		p, err := Make(t.Context(),
			f, f.Sites[0],
			map[string]host.Observer{"sfu": &sandbox{t: t, file: f, name: "sfu"}, "auth": liar, "web": &sandbox{t: t, file: f, name: "web"}},
			func(s credentials.Found) (livekit.Keys, error) { return s.Keys, nil })
		if err != nil {
			t.Fatal(err)
		}
		if !KeysOf(p.Secrets).IsZero() {
			t.Errorf("%q is taken for a credential", evil)
		}
		for _, h := range p.Hosts {
			for _, st := range h.Steps {
				for _, c := range st.Changes {
					if title := c.Summary().Title; h.Host == "sfu" && strings.HasPrefix(title, "ufw allow 7880") {
						t.Errorf("%q opens a port: %s", evil, title)
					}
				}
			}
		}
	}
}
