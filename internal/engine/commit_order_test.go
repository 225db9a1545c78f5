package engine

import (
	"slices"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// named is a host of which only its name is asked.
type named struct {
	host.Host
	name string
}

func (n named) Name() string { return n.name }

// What is announced is committed last, and LiveKit before the JWT service where
// that decides which tokens are valid after an interruption.
func TestCommitOrder(t *testing.T) {
	keys := func(k string) livekit.Keys { return livekit.Keys{Key: host.NewSecret(k), Secret: host.NewSecret(k)} }
	sfu := []steps.Stage{steps.StageHost, steps.StageSFU}
	auth := []steps.Stage{steps.StageAuth}
	announcing := func(s []steps.Stage) []steps.Stage { return append(slices.Clone(s), steps.StageWellKnown) }
	for _, c := range []struct {
		name        string
		stages      map[string][]steps.Stage // by host
		found, keys livekit.Keys
		destroys    bool
		want        []string
	}{
		{"the last stage last", map[string][]steps.Stage{"a": auth, "w": {steps.StageWellKnown}, "z": sfu}, keys("k"), keys("k"), false, []string{"z", "a", "w"}},
		{"the SFU's host announces", map[string][]steps.Stage{"a": auth, "z": announcing(sfu)}, keys("k"), keys("k"), false, []string{"a", "z"}},
		{"both end alike", map[string][]steps.Stage{"a": announcing(auth), "z": announcing(sfu)}, keys("k"), keys("k"), false, []string{"z", "a"}},
		{"other credentials", map[string][]steps.Stage{"a": auth, "z": announcing(sfu)}, keys("k"), keys("new"), false, []string{"z", "a"}},
		{"a first deploy", map[string][]steps.Stage{"a": auth, "z": announcing(sfu)}, livekit.Keys{}, keys("new"), false, []string{"a", "z"}},
		{"a host without a change", map[string][]steps.Stage{"a": auth, "b": nil}, keys("k"), keys("k"), false, []string{"b", "a"}},
		{"taken away", map[string][]steps.Stage{"a": sfu, "z": announcing(auth)}, keys("k"), keys("k"), true, []string{"z", "a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &siteRun{plan: steps.SitePlan{Found: refSecrets(c.found), Secrets: refSecrets(c.keys), Destroys: c.destroys}}
			for _, name := range []string{"a", "b", "w", "z"} {
				if stages, ok := c.stages[name]; ok {
					h := &hostRun{Host: named{name: name}}
					for _, stage := range stages {
						h.actions = append(h.actions, action{stage: stage})
					}
					s.hosts = append(s.hosts, h)
				}
			}
			var got []string
			for _, h := range s.commitOrder() {
				got = append(got, h.Name())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// refSecrets are credentials as changes refer to them.
func refSecrets(k livekit.Keys) steps.Secrets {
	return steps.Secrets{Values: k.ByRef(), Seal: livekit.RefSecret}
}
