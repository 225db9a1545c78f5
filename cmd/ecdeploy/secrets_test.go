package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// A site in a rotation is left out of another one, and one without is left out of
// --finish; the others go on.
func TestLeaveOutKept(t *testing.T) {
	a, b := livekit.Pair{Key: host.NewSecret("a"), Secret: host.NewSecret("A")}, livekit.Pair{Key: host.NewSecret("b"), Secret: host.NewSecret("B")}
	pair := func(p, old livekit.Pair) steps.Secrets {
		return steps.Secrets{Values: livekit.Keys{Key: p.Key, Secret: p.Secret, Old: old}.ByRef(), Seal: livekit.RefSecret}
	}
	for _, c := range []struct {
		name   string
		sites  []plans.SitePlan
		left   []string
		says   string
		silent bool
	}{
		{"rotate, one is in a rotation",
			[]plans.SitePlan{
				{Site: "x", Found: pair(a, livekit.Pair{}), Secrets: pair(b, a)},
				{Site: "y", Found: pair(b, a), Secrets: pair(b, a)},
				{Site: "z", Found: pair(a, livekit.Pair{}), Secrets: pair(b, a)},
			},
			[]string{"x", "z"}, "y: it is left out: LiveKit accepts its old LIVEKIT_KEY still", false},
		{"finish, one is in no rotation",
			[]plans.SitePlan{
				{Site: "x", Found: pair(a, livekit.Pair{}), Secrets: pair(a, livekit.Pair{})},
				{Site: "y", Found: pair(b, a), Secrets: pair(b, livekit.Pair{})},
			},
			[]string{"y"}, "x: there is nothing to finish", false},
		{"all go on", []plans.SitePlan{{Site: "x", Found: pair(b, a), Secrets: pair(b, livekit.Pair{})}}, []string{"x"}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, says strings.Builder
			o, f, p := operation{app: &app{screen: view.NewScreen(nil, &out, &says)}}, &plans.File{}, plans.Plan{Sites: c.sites}
			for _, s := range c.sites {
				f.Sites = append(f.Sites, plans.Site{ServerName: s.Site})
			}
			o.leaveOutKept(f, &p)
			var planned, sites []string
			for i := range p.Sites {
				planned = append(planned, p.Sites[i].Site)
			}
			for _, s := range f.Sites {
				sites = append(sites, s.ServerName)
			}
			if !slices.Equal(planned, c.left) || !slices.Equal(sites, c.left) {
				t.Errorf("left are %q of the plan and %q of the file, want %q", planned, sites, c.left)
			}
			if !strings.Contains(says.String(), c.says) || c.silent && says.Len() > 0 {
				t.Errorf("it says %q", &says)
			}
		})
	}
}

// Where all sites are left out, --finish is done, with a plan for readers of
// JSON, and a rotation is an error.
func TestNothingToRotate(t *testing.T) {
	run := func(json bool, old livekit.Pair, idle error) (string, error) {
		var out strings.Builder
		kept := steps.Secrets{Values: livekit.Keys{Key: host.NewSecret("a"), Secret: host.NewSecret("A"), Old: old}.ByRef()}
		a := &app{screen: view.NewScreen(nil, &out, io.Discard)}
		a.screen.JSON = json
		s := &session{file: &plans.File{Sites: []plans.Site{{ServerName: "x"}}}}
		o := operation{app: a, flags: applyFlags{yes: true}}
		err := o.applyRotation(t.Context(), s, plans.Plan{Sites: []plans.SitePlan{{Site: "x", Found: kept, Secrets: kept}}}, idle)
		return out.String(), err
	}
	if out, err := run(false, livekit.Pair{}, nil); out != "" || err != nil {
		t.Errorf("finish: %q, %v", out, err)
	}
	if out, err := run(true, livekit.Pair{}, nil); !strings.Contains(out, `"sites":[]`) || strings.Count(out, "\n") != 1 || err != nil {
		t.Errorf("finish, in JSON: %q, %v", out, err)
	}
	old := livekit.Pair{Key: host.NewSecret("o"), Secret: host.NewSecret("O")}
	if out, err := run(true, old, errRotated); out != "" || !errors.Is(err, errRotated) || !strings.Contains(err.Error(), "secrets rotate --finish") {
		t.Errorf("rotate: %q, %v", out, err)
	}
}
