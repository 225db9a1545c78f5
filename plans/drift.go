package plans

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/emdecloud/ecdeploy/steps"
)

// Drift is one thing that is not as it was when a plan was made.
type Drift struct {
	Site string `json:"site"`
	Host string `json:"host,omitempty"` // "" where it is the whole site's
	Step string `json:"step,omitempty"`
	What string `json:"what"`
}

// Drift lists all that makes now, a plan of f, another one than the saved one, or
// watched over by less; nothing means that it would do just the same.
func (s *Saved) Drift(f *File, now Plan) ([]Drift, error) {
	var out []Drift
	for _, saved := range s.Sites {
		i := slices.IndexFunc(now.Sites, func(n SitePlan) bool { return n.Site == saved.Plan.Site })
		if i < 0 {
			out = append(out, Drift{Site: saved.Plan.Site, What: "the plan file has no such site any more"})
			continue
		}
		guards, err := f.guards(saved.Plan.Site)
		if err != nil {
			return nil, err
		}
		out = append(out, saved.moved(saved.Plan.Site, guards)...)
		d, err := saved.drift(now.Sites[i])
		if err != nil {
			return nil, err
		}
		out = append(out, d...)
	}
	for _, n := range now.Sites {
		if !slices.ContainsFunc(s.Sites, func(saved SavedSite) bool { return saved.Plan.Site == n.Site }) {
			out = append(out, Drift{Site: n.Site, What: "the saved plan does not have this site"})
		}
	}
	return out, nil
}

func (g Guards) moved(site string, now Guards) []Drift {
	var out []Drift
	if g.RevertAfter != now.RevertAfter {
		out = append(out, Drift{Site: site, What: fmt.Sprintf("revert_after is %s now; it was %s", now.RevertAfter, g.RevertAfter)})
	}
	if g.CA != now.CA {
		out = append(out, Drift{Site: site, What: "verify.ca_file is another one, or holds something else now"})
	}
	if g.Level != now.Level || g.Strict != now.Strict || g.Helper != now.Helper || !slices.Equal(g.From, now.From) {
		out = append(out, Drift{Site: site, What: "verify {} says something else now"})
	}
	return out
}

func (s SavedSite) drift(now SitePlan) ([]Drift, error) {
	var out []Drift
	add := func(host, step, what string) { out = append(out, Drift{now.Site, host, step, what}) }
	keys := KeysOf(now.Secrets).Fingerprint()
	switch {
	case keys == s.Credentials:
	case s.Credentials == "":
		add("", "", "there are credentials (LIVEKIT_KEY and LIVEKIT_SECRET) now, which were to be made")
	case keys == "":
		add("", "", "the credentials (LIVEKIT_KEY and LIVEKIT_SECRET) are gone: new ones would be made")
	default:
		add("", "", "there are other credentials (LIVEKIT_KEY and LIVEKIT_SECRET) now")
	}
	before, err := bySteps(s.Plan)
	if err != nil {
		return nil, err
	}
	after, err := bySteps(now)
	if err != nil {
		return nil, err
	}
	c := comparison{otherKeys: keys != s.Credentials}
	for _, k := range bothKeys(before, after) {
		errs := errorsOf(after[k].Findings)
		for _, f := range errs {
			add(k.host, k.step, "it cannot be applied any more: "+f.Summary)
		}
		if len(errs) > 0 && len(after[k].Changes) == 0 {
			continue // what is missing from the plan is a consequence
		}
		for _, what := range c.changes(before[k].Changes, after[k].Changes) {
			add(k.host, k.step, what)
		}
		what, err := checksMoved(before[k].Checks, after[k].Checks)
		if err != nil {
			return nil, err
		}
		if what != "" {
			add(k.host, k.step, what)
		}
	}
	if same, err := s.Plan.SameChanges(now); err != nil || same || len(out) > 0 {
		return out, err
	}
	add("", "", "the same would be done in another order")
	return out, nil
}

// checksMoved says what became of the checks of a step; nothing where they are
// the same.
func checksMoved(before, now []steps.Check) (string, error) {
	a, err := json.Marshal(before)
	if err != nil {
		return "", fmt.Errorf("encode checks: %w", err)
	}
	b, err := json.Marshal(now)
	switch {
	case err != nil:
		return "", fmt.Errorf("encode checks: %w", err)
	case bytes.Equal(a, b):
		return "", nil
	case len(now) == 0:
		return "it would not be checked any more whether it works", nil
	}
	return "it would be checked in another way whether it works", nil
}

// stepKey names a step of a plan. A host may have two of one name in a stage;
// they count as one.
type stepKey struct {
	host  string
	stage Stage
	step  string
}

// bySteps is a plan by its steps. It goes once through JSON, so that one just
// made compares with one that was saved.
func bySteps(s SitePlan) (map[stepKey]StepPlan, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	var again SitePlan
	if err := json.Unmarshal(b, &again); err != nil {
		return nil, fmt.Errorf("decode plan: %w", err)
	}
	out := map[stepKey]StepPlan{}
	for _, h := range again.Hosts {
		for _, st := range h.Steps {
			k := stepKey{h.Host, st.Stage, st.Step}
			st.Changes = append(out[k].Changes, st.Changes...)
			st.Findings = append(out[k].Findings, st.Findings...)
			st.Checks = append(out[k].Checks, st.Checks...)
			out[k] = st
		}
	}
	return out, nil
}

func errorsOf(findings []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool { return f.Severity != steps.Error })
}

// bothKeys are the steps of both plans, by host and stage.
func bothKeys(before, after map[stepKey]StepPlan) []stepKey {
	all := maps.Clone(before)
	maps.Copy(all, after)
	return slices.SortedFunc(maps.Keys(all), func(a, b stepKey) int {
		stages := steps.Stages()
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(slices.Index(stages, a.stage), slices.Index(stages, b.stage)), cmp.Compare(a.step, b.step))
	})
}
