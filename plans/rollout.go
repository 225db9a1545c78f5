package plans

import "slices"

// Turn says when one site of a plan is applied.
type Turn struct {
	// Idle says that there is nothing to do.
	Idle bool
	// After are the places in the plan, in ascending order, of the sites that must be
	// done before: earlier ones that change something and share a host with this one.
	// It is empty for a site that is idle.
	After []int
}

// Rollout is the order in which the sites of a plan are applied: a turn for each, in
// the order of the plan file. sites are those that p was made for. Sites that wait
// for none of the others may be applied at the same time.
func Rollout(sites []Site, p Plan) []Turn {
	turns := make([]Turn, len(sites))
	for i := range sites {
		turns[i].Idle = p.Sites[i].Empty()
		for j := range i {
			if !turns[i].Idle && !turns[j].Idle && shareHost(sites[i], sites[j]) {
				turns[i].After = append(turns[i].After, j)
			}
		}
	}
	return turns
}

// shareHost reports whether two sites have a host in common.
func shareHost(a, b Site) bool {
	return slices.ContainsFunc(a.HostNames(), func(h string) bool { return slices.Contains(b.HostNames(), h) })
}
