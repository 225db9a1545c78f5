package auth

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// What the JWT service's secret holds after a rotation.
func TestAuthRotation(t *testing.T) {
	for _, c := range suite.Rotations() {
		t.Run(c.Name, func(t *testing.T) {
			f := authFound(t, c.Held)
			var shared steps.Shared
			f.share("/etc/ecdeploy/example.org/auth", &shared)
			held := livekit.Keys{Key: c.Held.Key, Secret: c.Held.Secret}
			if (credentials.Find(shared) != credentials.Found{Keys: held, Issues: c.Held.Pair()}) {
				t.Error("the credentials on the host were not found")
			}
			changes := decideAuth(t, f, c.Keys)
			if len(changes) > 0 != c.Auth {
				t.Fatalf("%d changes", len(changes))
			}
			if c.Auth {
				suite.CheckRotated(t, suite.Only(t, changes).(*steps.Container), f.files, c.Held, c.Keys, c.Why)
			}
		})
	}
}

// authFound are the facts of a host on which the JWT service is as it should be
// with these credentials.
func authFound(t *testing.T, keys livekit.Keys) facts {
	t.Helper()
	f := facts{arch: "amd64", image: steps.ImageFacts{Found: true, ID: "sha256:i"}}
	c := suite.Only(t, decideAuth(t, f, keys)).(*steps.Container)
	f.files, f.container = suite.Made(t, c, keys)
	return f
}

func decideAuth(t *testing.T, f facts, keys livekit.Keys) []steps.Change {
	t.Helper()
	d, err := testAuth().decide(suite.Declared(testAuth()), suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(keys)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Changes
}
