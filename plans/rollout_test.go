package plans

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/steps"
)

func TestRollout(t *testing.T) {
	for _, c := range []struct {
		name  string
		sites []string // the hosts of each; "-" before them where there is nothing to do, "/" before those that it was on
		want  []Turn
	}{
		{"no site", nil, []Turn{}},
		{"one site", []string{"a b"}, []Turn{{}}},
		{"no host in common", []string{"a", "b", "c d"}, []Turn{{}, {}, {}}},
		{"one host in common", []string{"a b", "b c"}, []Turn{{}, {After: []int{0}}}},
		{"all on one host", []string{"a", "a", "a"}, []Turn{{}, {After: []int{0}}, {After: []int{0, 1}}}},
		{"one host that a site goes from", []string{"a/b", "b", "c"}, []Turn{{}, {After: []int{0}}, {}}},
		{"a chain", []string{"a b", "b c", "c d"}, []Turn{{}, {After: []int{0}}, {After: []int{1}}}},
		{"two that wait for one", []string{"a b", "a", "b"}, []Turn{{}, {After: []int{0}}, {After: []int{0}}}},
		{"one that waits for two", []string{"a", "b", "a b"}, []Turn{{}, {}, {After: []int{0, 1}}}},
		{"nobody waits for a site without changes", []string{"-a", "a", "a"}, []Turn{{Idle: true}, {}, {After: []int{1}}}},
		{"a site without changes waits for nobody", []string{"a", "-a"}, []Turn{{}, {Idle: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sites []Site
			var p Plan
			for _, text := range c.sites {
				hosts, idle := strings.CutPrefix(text, "-")
				hosts, left, _ := strings.Cut(hosts, "/")
				var site Site
				var d Declared
				for _, h := range strings.Fields(hosts) {
					d.Decl.Parts = append(d.Decl.Parts, steps.Part{Host: h})
				}
				site.Blocks = []Declared{d}
				plan := SitePlan{Hosts: []HostPlan{{Host: strings.Fields(hosts)[0], Steps: []StepPlan{{Changes: Changes{&steps.Exec{}}}}}}}
				for _, h := range strings.Fields(left) { // nothing of the site is on it any more, but for what goes
					plan.Hosts = append(plan.Hosts, HostPlan{Host: h})
				}
				if idle {
					plan.Hosts = nil
				}
				sites, p.Sites = append(sites, site), append(p.Sites, plan)
			}
			if d := cmp.Diff(c.want, Rollout(sites, p)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}
