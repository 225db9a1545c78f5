package suite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// Keyed are credentials whose values are told apart by what begins them.
func Keyed(key, old string) livekit.Keys {
	k := livekit.Keys{Key: host.NewSecret(key + strings.Repeat("K", 47)), Secret: host.NewSecret(key + strings.Repeat("S", 47))}
	if old != "" {
		k.Old = Keyed(old, "").Pair()
	}
	return k
}

// Rotation is what becomes of credentials: those that a host holds, and those that
// a plan is made for.
type Rotation struct {
	Name       string
	Held, Keys livekit.Keys
	SFU, Auth  bool   // whether they restart
	Why        string // what their change says
	Says       string // what the SFU's step finds
}

// Rotations are a rotation from its first step to its last, and what else can
// happen to credentials.
func Rotations() []Rotation {
	return []Rotation{
		{"rotate", Keyed("a", ""), Keyed("b", "a"), true, true, "LIVEKIT_SECRET change", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"apply in between", Keyed("b", "a"), Keyed("b", "a"), false, false, "", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"finish", Keyed("b", "a"), Keyed("b", ""), true, false, "the old LIVEKIT_KEY goes", "warning: tokens made with the old LIVEKIT_KEY are refused"},
		{"apply after it", Keyed("b", ""), Keyed("b", ""), false, false, "", ""},
		{"others at once", Keyed("a", ""), Keyed("b", ""), true, true, "LIVEKIT_SECRET change", "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once"},
		{
			Name: "others at once, in between",
			Held: Keyed("b", "a"),
			Keys: Keyed("c", ""),
			SFU:  true,
			Auth: true,
			Why:  "LIVEKIT_SECRET change",
			Says: "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once",
		},
		{"back to the old ones, in between", Keyed("b", "a"), Keyed("a", "b"), true, true, "LIVEKIT_SECRET change", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{
			Name: "back to the old ones at once",
			Held: Keyed("b", "a"),
			Keys: Keyed("a", ""),
			SFU:  true,
			Auth: true,
			Why:  "LIVEKIT_SECRET change",
			Says: "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once",
		},
	}
}

// CheckRotated wants that c resolves on the host that it was made on, makes files
// of these credentials and shows none of them.
func CheckRotated(t *testing.T, c *steps.Container, files map[string]host.File, held, keys livekit.Keys, why string) {
	t.Helper()
	if !strings.Contains(strings.Join(c.Why, "\n"), why) {
		t.Errorf("%s changes because of %q", c.Spec.Name, c.Why)
	}
	for _, e := range c.Edits {
		if files[e.Path].Exists && !strings.HasPrefix(e.Before, "hmac:") {
			t.Errorf("%s, with secrets in it, is known by %s", e.Path, e.Before)
		}
	}
	r, err := c.Resolve(t.Context(), steps.Env{Host: OnFiles(files), Run: "r", Secrets: credentials.Secrets(keys)})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s: %s\n", keys.Key.Reveal(), keys.Secret.Reveal())
	if !keys.Old.IsZero() {
		want += fmt.Sprintf("%s: %s\n", keys.Old.Key.Reveal(), keys.Old.Secret.Reveal())
	}
	if c.Spec.Name == "element-call-jwt" {
		want = keys.Secret.Reveal() + "\n"
	}
	if got := string(r.Stage[len(r.Stage)-1].Data); got != want {
		t.Errorf("%s: %q, want %q", c.Edits[len(c.Edits)-1].Path, got, want)
	}
	if c.Spec.Name == "livekit-sfu" && held.Key != keys.Key && !strings.Contains(string(r.Stage[0].Data), `api_key: "`+keys.Key.Reveal()+`"`) {
		t.Errorf("LiveKit signs its webhooks with another key:\n%s", r.Stage[0].Data)
	}

	spoiled := map[string]host.File{}
	for p, f := range files {
		f.Data = append([]byte("# "+held.Secret.Reveal()+"\n"), f.Data...)
		spoiled[p] = f
	}
	_, drift := c.Resolve(t.Context(), steps.Env{Host: OnFiles(spoiled), Run: "r", Secrets: credentials.Secrets(keys)})
	if !errors.Is(drift, steps.ErrDrift) {
		t.Fatalf("on other files: %v", drift)
	}
	b, err := steps.MarshalChange(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%s\n%+v\n%v\n%+v", b, c.Summary(), drift, keys)
	for _, k := range []livekit.Keys{held, keys} {
		for ref, v := range k.ByRef() {
			if !v.IsZero() && strings.Contains(shown, v.Reveal()) {
				t.Errorf("%s shows in\n%s", ref, shown)
			}
		}
	}
}

// OnFiles is a host with these files.
func OnFiles(files map[string]host.File) host.Observer {
	text := map[string]string{}
	for p, f := range files {
		text[p] = string(f.Data)
	}
	return Fake{Files: text}
}

// Made is what a host has when a container is as c wants it: its files, and what
// Docker says of it.
func Made(t *testing.T, c *steps.Container, keys livekit.Keys) (map[string]host.File, steps.ContainerFacts) {
	t.Helper()
	files := map[string]host.File{}
	for _, d := range c.Dirs {
		files[d.Path] = host.File{Path: d.Path, Exists: true}
	}
	for _, e := range c.Edits {
		data, err := e.Text.Fill(credentials.Secrets(keys))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Path] = host.File{Path: e.Path, Real: e.Path, Exists: true, Mode: e.Mode, GID: e.GID, Data: data}
	}
	sum, err := steps.SpecDigest(c.Spec, c.Config, credentials.Secrets(keys))
	if err != nil {
		t.Fatal(err)
	}
	return files, steps.ContainerFacts{
		Found: true, ID: "c1", Image: "sha256:i", Running: true, Restart: "always", Labels: map[string]string{steps.LabelSpec: sum},
	}
}
