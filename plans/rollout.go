package plans

import "slices"

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
