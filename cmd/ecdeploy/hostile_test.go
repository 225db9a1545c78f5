package main

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// A host tells what it remembers of runs, and can say there what it likes.
func TestHostileHistory(t *testing.T) {
	const steers = "x\x1b]52;c;YQ==\x07\u009b2J\u202e\ny: ok\rz"
	past := func(state string) engine.Past {
		return engine.Past{
			Host:     steers,
			Site:     steers,
			Run:      steers,
			State:    state,
			By:       steers,
			Since:    time.Unix(1, 0).UTC(),
			Version:  steers,
			Hosts:    []string{steers},
			Watched:  steers,
			Conflict: true,
		}
	}
	other := past("reverted")
	other.Host = "other"
	var out strings.Builder
	for _, json := range []bool{false, true} {
		a := &app{screen: view.NewScreen(nil, &out, &out)}
		a.screen.JSON = json
		for _, state := range []string{steers, "armed", "reverting", "committed", "reverted", "locked"} {
			out.Reset()
			all := []engine.Past{past(state), other}
			if err := a.screen.Runs(all); err != nil {
				t.Fatal(err)
			}
			a.warnOfDoubt(all, nil)
			err := (&operation{app: a}).recoverInterrupted(t.Context(), nil, all, engine.CheckFinished(all))
			if err != nil {
				a.screen.Fail(err, exitError)
			}
			st := view.Status{Site: steers, Runs: all, Checks: []engine.Checked{{Host: steers, Name: steers, Err: steers}}}
			findings := []steps.Finding{{Severity: steps.Error, Summary: steers, Hint: steers}}
			p := plans.SitePlan{Site: steers, Hosts: []plans.HostPlan{{Host: steers, Steps: []plans.StepPlan{{Findings: findings}}}}}
			err = a.screen.Status(st, p)
			if err != nil {
				t.Fatal(err)
			}
			if i := strings.IndexFunc(out.String(), func(r rune) bool {
				return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
			}); i >= 0 {
				t.Errorf("json %t, %.10q: %.40q", json, state, out.String()[i:])
			}
			if !json && strings.Contains(out.String(), "\ny: ok  ") {
				t.Errorf("a row of the host's own making:\n%s", out.String())
			}
		}
	}
}
