package engine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// proveCases are the cases of TestProve.
var proveCases = []struct {
	name  string
	fails int // which of the proofs; 0 for none
	want  []string
}{
	{
		name:  "all is well",
		fails: 0,
		want:  []string{"phase sfu", "phase proxy", "phase verify", "proved before", "phase synapse", "phase well-known", "phase verify", "proved after"},
	},
	{"no media", 1, []string{"phase sfu", "phase proxy", "phase verify", "proved before"}},
	{
		name:  "not announced",
		fails: 2,
		want:  []string{"phase sfu", "phase proxy", "phase verify", "proved before", "phase synapse", "phase well-known", "phase verify", "proved after"},
	},
}

// A call is proved after all that it needs and before anything announces it, once
// more afterwards, with the run's credentials; what prevents going on ends the run.
func TestProve(t *testing.T) {
	stop := errors.New("no media")
	for _, c := range proveCases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			keys, err := livekit.NewKeys()
			if err != nil {
				t.Fatal(err)
			}
			s := &siteRun{plan: steps.SitePlan{Site: "x.test", Secrets: refSecrets(keys)}}
			for _, stage := range []steps.Stage{steps.StageSFU, steps.StageProxy, steps.StageHomeserver, steps.StageWellKnown} {
				s.plan.Hosts = append(s.plan.Hosts, steps.HostPlan{Host: "h", Steps: []steps.StepPlan{{Stage: stage, Changes: steps.Changes{&steps.Files{}}}}})
			}
			s.Emit = func(e Event) {
				if p, ok := e.(PhaseStarted); ok {
					got = append(got, "phase "+p.Phase)
				}
			}
			n := 0
			s.Prove = func(_ context.Context, announced bool, with livekit.Keys) error {
				if n++; with != keys {
					t.Error("proved with other credentials")
				}
				got = append(got, map[bool]string{false: "proved before", true: "proved after"}[announced])
				if n == c.fails {
					return stop
				}
				return nil
			}
			err = s.carryOut(t.Context())
			if (c.fails > 0) != errors.Is(err, stop) || !slices.Equal(got, c.want) {
				t.Errorf("%v: %q", err, got)
			}
		})
	}
}
