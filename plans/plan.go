package plans

import (
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// What plans are made of lies in steps, so that who carries plans out knows no plan
// files.
type (
	Plan     = steps.Plan
	SitePlan = steps.SitePlan
	HostPlan = steps.HostPlan
	StepPlan = steps.StepPlan
	Changes  = steps.Changes
	Finding  = steps.Finding
	Stage    = steps.Stage
	Turn     = steps.Turn
	Keys     = livekit.Keys
	Pair     = livekit.Pair
)

// KeysOf are a site's credentials among its secrets.
func KeysOf(s steps.Secrets) Keys { return livekit.KeysByRef(s.Values) }

// NewSecrets makes a site's credentials.
func NewSecrets() (steps.Secrets, error) {
	keys, err := livekit.NewKeys()
	return secretsOf(keys), err
}

// secretsOf undoes KeysOf.
func secretsOf(k Keys) steps.Secrets { return credentials.Secrets(k) }
