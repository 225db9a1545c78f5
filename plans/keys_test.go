package plans

import (
	"context"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// What a command prints is checked like what stands in the file, and no error
// holds it.
func TestKeysOfCommand(t *testing.T) {
	good := strings.Repeat("sEcReT", 6)
	for _, c := range []struct{ name, printed, wrong string }{
		{"right", "API: " + good, ""},
		{"right, with a line end", "API: " + good + "\r\n", ""},
		{"base64", "API: " + good + "+/a==", ""},
		{"no pair", good, "one line `KEY: SECRET`"},
		{"nothing", "", "one line `KEY: SECRET`"},
		{"two lines", "API: " + good + "\nmore", "one line `KEY: SECRET`"},
		{"development", "devkey: " + good, "devkey is the key of LiveKit's development mode"},
		{"no key", ": " + good, "key is empty"},
		{"spaces for a key", "  : " + good, "key is empty"},
		{"short", "API: " + good[:31], "secret is shorter than 32 characters"},
		{"no secret", "API: ", "secret is shorter than 32 characters"},
		{"YAML in the secret", "API: {" + good, "secret must begin with"},
		{"YAML in the key", "*API: " + good, "key must begin with"},
		{"a pair in a pair", "API: " + good + ": x", "secret must begin with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Site{Keys: &LiveKitKeys{Command: []string{"printf", "%s", c.printed}}}.GivenKeys(t.Context())
			switch {
			case c.wrong == "" && (err != nil || k.IsZero()):
				t.Errorf("keys %v, %v", k, err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), good[:31])):
				t.Errorf("error %v, expected %q", err, c.wrong)
			}
		})
	}
}

// makeKeys are credentials whose values are told apart by what begins them.
func makeKeys(key, old string) livekit.Keys {
	value := func(s, end string) host.Secret { return host.NewSecret(s + strings.Repeat(end, 40)) }
	k := livekit.Keys{Key: value(key, "K"), Secret: value(key, "S")}
	if old != "" {
		k.Old = livekit.Pair{Key: value(old, "K"), Secret: value(old, "S")}
	}
	return k
}

// Which credentials a plan is made for, by what the plan file gives and what
// the hosts hold. No refusal holds one of them.
func TestCredentials(t *testing.T) {
	giving := func(k livekit.Keys) Site {
		return Site{ServerName: "x.test", Keys: &LiveKitKeys{Key: k.Key, Secret: k.Secret}}
	}
	none, made := livekit.Keys{}, Site{ServerName: "x.test"}
	sameKey := makeKeys("a", "")
	sameKey.Secret = makeKeys("b", "").Secret
	for _, c := range []struct {
		name    string
		choose  func(Site, context.Context) (Credentials, error)
		site    Site
		found   livekit.Keys
		want    livekit.Keys
		refused string
	}{
		{"keep: a first deploy", Site.KeepKeys, made, none, none, ""},
		{"keep: found", Site.KeepKeys, made, makeKeys("a", ""), makeKeys("a", ""), ""},
		{"keep: in a rotation", Site.KeepKeys, made, makeKeys("b", "a"), makeKeys("b", "a"), ""},
		{"keep: given, a first deploy", Site.KeepKeys, giving(makeKeys("a", "")), none, makeKeys("a", ""), ""},
		{"keep: given, in a rotation", Site.KeepKeys, giving(makeKeys("b", "")), makeKeys("b", "a"), makeKeys("b", "a"), ""},
		{"keep: given new ones", Site.KeepKeys, giving(makeKeys("b", "")), makeKeys("a", ""), makeKeys("b", ""), ""},
		{"keep: given new ones, in a rotation", Site.KeepKeys, giving(makeKeys("c", "")), makeKeys("b", "a"), makeKeys("c", ""), ""},
		{"keep: the old ones given", Site.KeepKeys, giving(makeKeys("a", "")), makeKeys("b", "a"), makeKeys("a", "b"), ""},

		{"rotate: given new ones", Site.RotateKeys, giving(makeKeys("b", "")), makeKeys("a", ""), makeKeys("b", "a"), ""},
		{"rotate: nothing there", Site.RotateKeys, made, none, none, "hint: ecdeploy apply makes them"},
		{"rotate: in a rotation", Site.RotateKeys, made, makeKeys("b", "a"), makeKeys("b", "a"), ""},
		{"rotate: given, in a rotation", Site.RotateKeys, giving(makeKeys("c", "")), makeKeys("b", "a"), makeKeys("b", "a"), ""},
		{"rotate: given as before", Site.RotateKeys, giving(makeKeys("a", "")), makeKeys("a", ""), none, "first change them where livekit_keys takes them from"},
		{"rotate: only a new secret given", Site.RotateKeys, giving(sameKey), makeKeys("a", ""), none, "change the key, too"},

		{"finish", Site.DropOldKeys, made, makeKeys("b", "a"), makeKeys("b", ""), ""},
		{"finish: given", Site.DropOldKeys, giving(makeKeys("b", "")), makeKeys("b", "a"), makeKeys("b", ""), ""},
		{"finish: nothing there", Site.DropOldKeys, made, none, none, ""},
		{"finish: no rotation", Site.DropOldKeys, made, makeKeys("b", ""), makeKeys("b", ""), ""},
		{"finish: no rotation, given new ones", Site.DropOldKeys, giving(makeKeys("c", "")), makeKeys("b", ""), makeKeys("b", ""), ""},
		{"finish: given new ones", Site.DropOldKeys, giving(makeKeys("c", "")), makeKeys("b", "a"), none, "other credentials than those in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			choose, err := c.choose(c.site, t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := choose(credentials.Found{Keys: c.found, Issues: c.found.Pair()})
			switch {
			case c.refused == "" && (err != nil || got != c.want):
				t.Errorf("%v; other credentials than wanted", err)
			case c.refused == "":
			case err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "\nhint: "):
				t.Errorf("%v", err)
			case strings.Contains(err.Error(), "KKK") || strings.Contains(err.Error(), "SSS"):
				t.Errorf("credentials in %v", err)
			}
		})
	}
	for _, choose := range []func(Site, context.Context) (Credentials, error){Site.KeepKeys, Site.RotateKeys, Site.DropOldKeys} {
		if _, err := choose(Site{Keys: &LiveKitKeys{Command: []string{"false"}}}, t.Context()); err == nil || !strings.Contains(err.Error(), "run false") {
			t.Errorf("a command that fails: %v", err)
		}
	}
}

// Rotations go on only where it is known which tokens they would make worthless:
// a run interrupted between the commits of two hosts leaves them with two pairs, and a
// key file in somebody else's hand may hold any.
func TestRotationOfUnknown(t *testing.T) {
	a, b := makeKeys("a", "").Pair(), makeKeys("b", "").Pair()
	for _, c := range []struct {
		name    string
		found   credentials.Found
		refused string
	}{
		{"a rotation, interrupted after the SFU's host", credentials.Found{Keys: makeKeys("b", "a"), Issues: a}, "hint: ecdeploy apply goes forward"},
		{"a rotation, interrupted after the JWT service's host", credentials.Found{Keys: makeKeys("a", ""), Issues: b}, "hint: ecdeploy apply goes forward"},
		{"no JWT service", credentials.Found{Keys: makeKeys("b", "a")}, "hint: ecdeploy apply goes forward"},
		{"a key file that is not understood", credentials.Found{Keys: makeKeys("a", ""), Issues: a, Unread: "/k.yaml"}, "what /k.yaml holds is not understood"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, choose := range []func(Site, context.Context) (Credentials, error){Site.RotateKeys, Site.DropOldKeys} {
				choice, err := choose(Site{}, t.Context())
				if err != nil {
					t.Fatal(err)
				}
				_, err = choice(c.found)
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "\nhint: ") || strings.Contains(err.Error(), "KKK") {
					t.Errorf("%v", err)
				}
			}
			keep, err := Site{}.KeepKeys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := keep(c.found); err != nil || got != c.found.Keys {
				t.Errorf("apply does not go forward: %v", err)
			}
		})
	}
}

// New credentials are made once: the plan after the lock must be the same.
func TestRotateMakesOnePair(t *testing.T) {
	choose, err := Site{}.RotateKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := choose(credentials.Found{Keys: makeKeys("a", ""), Issues: makeKeys("a", "").Pair()})
	if err != nil || first.IsZero() || first.Old != makeKeys("a", "").Pair() || len(first.Secret.Reveal()) < 43 {
		t.Fatalf("%v", err)
	}
	if second, err := choose(credentials.Found{Keys: makeKeys("a", ""), Issues: makeKeys("a", "").Pair()}); err != nil || second != first {
		t.Errorf("a second plan has other credentials, %v", err)
	}
}

// A rotation of a split site that was interrupted after the first commit: the JWT
// service's host went back by itself. Only apply goes on, and then --finish does.
func TestCutRotation(t *testing.T) {
	f, m := load("hosts.hcl", []byte(makeApartPlan(t, "", `proxy "external" {}`, `proxy "external" { host = host.s }`)), LoadOptions{Environ: environ})
	if f == nil {
		t.Fatalf("%+v", m)
	}
	site := f.Sites[0]
	line := func(k livekit.Pair) string { return k.Key.Reveal() + ": " + k.Secret.Reveal() + "\n" }
	rotated, old := makeKeys("b", "a"), makeKeys("a", "").Pair()
	on := func(issues livekit.Pair) map[string]host.Observer {
		sfu, auth := makeSecretiveHost(), makeSecretiveHost()
		sfu.files = map[string]string{"/etc/ecdeploy/x.test/sfu/keys.yaml": line(rotated.Pair()) + line(old)}
		auth.files["/etc/ecdeploy/x.test/auth/key"] = issues.Key.Reveal() + "\n"
		auth.files["/etc/ecdeploy/x.test/auth/secret"] = issues.Secret.Reveal() + "\n"
		return map[string]host.Observer{"s": sfu, "x": auth}
	}
	plan := func(choose func(Site, context.Context) (Credentials, error), hosts map[string]host.Observer) (SitePlan, error) {
		t.Helper()
		c, err := choose(site, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return Make(t.Context(), f, site, hosts, c)
	}
	for name, choose := range map[string]func(Site, context.Context) (Credentials, error){"rotate": Site.RotateKeys, "finish": Site.DropOldKeys} {
		if _, err := plan(choose, on(old)); err == nil || !strings.Contains(err.Error(), "x.test: the JWT service does not make tokens with") || !strings.Contains(err.Error(), "hint: ecdeploy apply goes forward") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := plan(Site.KeepKeys, on(old))
	if err != nil || KeysOf(p.Secrets) != rotated || KeysOf(p.Found) != rotated {
		t.Errorf("apply does not go forward: %v", err)
	}
	jwt := ""
	for _, h := range p.Hosts {
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				if st.Stage == steps.StageAuth && h.Host == "x" && strings.Contains(c.Summary().Title, "jwt") {
					jwt = strings.Join(c.Summary().Details, "\n")
				}
			}
		}
	}
	if !strings.Contains(jwt, "LIVEKIT_SECRET change") {
		t.Errorf("the JWT service keeps the old credentials: %q", jwt)
	}
	if p, err := plan(Site.DropOldKeys, on(rotated.Pair())); err != nil || KeysOf(p.Secrets) != makeKeys("b", "") {
		t.Errorf("finish after that: %v", err)
	}
}
