package all

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// listSteps are the steps of all variants.
func listSteps() map[string]steps.Step {
	out := map[string]steps.Step{}
	for _, v := range Variants() {
		for name, s := range suite.StepsOf(v) {
			out[v.Label+" "+name] = s
		}
	}
	return out
}

// FuzzHostileHost: whatever a host answers, a step ends soon, in a decision that
// can be shown, or in an error. What it shares with other hosts is an address
// or a credential, and nothing else.
func FuzzHostileHost(f *testing.F) {
	for _, s := range suite.HostileSeeds() {
		for i := range 4 {
			f.Add([]byte(s), uint8(i*8))
		}
	}
	for i, s := range suite.HostileSeeds() {
		f.Add([]byte(strings.Join(suite.HostileSeeds()[i:], "\n====\n")+s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		steps := listSteps()
		names := slices.Sorted(maps.Keys(steps))
		name := names[int(which)%len(names)]
		began := time.Now()
		suite.DecideHostile(t, steps[name], suite.NewHostile(text))
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	})
}
