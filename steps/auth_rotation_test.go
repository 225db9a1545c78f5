package steps

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// What the JWT service's secret holds after a rotation.
func TestAuthRotation(t *testing.T) {
	for _, c := range Rotations() {
		t.Run(c.Name, func(t *testing.T) {
			f := authFound(t, c.Held)
			var shared Shared
			f.share("/etc/ecdeploy/example.org/auth", &shared)
			held := livekit.Keys{Key: c.Held.Key, Secret: c.Held.Secret}
			if (FindKeys(shared) != KeysFound{Keys: held, Issues: c.Held.Pair()}) {
				t.Error("the credentials on the host were not found")
			}
			changes := decideAuth(t, f, c.Keys)
			if len(changes) > 0 != c.Auth {
				t.Fatalf("%d changes", len(changes))
			}
			if c.Auth {
				CheckRotated(t, Only(t, changes).(*Container), f.files, c.Held, c.Keys, c.Why)
			}
		})
	}
}

// authFound are the facts of a host on which the JWT service is as it should be
// with these credentials.
func authFound(t *testing.T, keys livekit.Keys) authFacts {
	t.Helper()
	f := authFacts{arch: "amd64", image: imageFacts{Found: true, ID: "sha256:i"}, files: map[string]host.File{}}
	c := Only(t, decideAuth(t, f, keys)).(*Container)
	for _, d := range c.Dirs {
		f.files[d.Path] = host.File{Path: d.Path, Exists: true}
	}
	for _, e := range c.Edits {
		data, err := e.Text.Fill(KeySecrets(keys))
		if err != nil {
			t.Fatal(err)
		}
		f.files[e.Path] = host.File{Path: e.Path, Real: e.Path, Exists: true, Mode: e.Mode, GID: e.GID, Data: data}
	}
	sum, err := specDigest(c.Spec, c.Config, KeySecrets(keys))
	if err != nil {
		t.Fatal(err)
	}
	f.container = containerFacts{Found: true, ID: "c2", Image: "sha256:i", Running: true, Restart: "always", Labels: map[string]string{LabelSpec: sum}}
	return f
}

func decideAuth(t *testing.T, f authFacts, keys livekit.Keys) []Change {
	t.Helper()
	d, err := testAuth().decide(Declared(testAuth()), OneHost(), f, Shared{Secrets: KeySecrets(keys)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Changes
}
