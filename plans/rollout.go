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
			if !turns[i].Idle && !turns[j].Idle && shareHost(sites[i], sites[j], p.Sites[i], p.Sites[j]) {
				turns[i].After = append(turns[i].After, j)
			}
		}
	}
	return turns
}

// shareHost reports whether two sites, or their plans, have a host in common.
func shareHost(a, b Site, planA, planB SitePlan) bool {
	hosts := func(s Site, p SitePlan) []string {
		out := s.HostNames()
		for _, h := range p.Hosts {
			out = append(out, h.Host)
		}
		return out
	}
	ofB := hosts(b, planB)
	return slices.ContainsFunc(hosts(a, planA), func(h string) bool { return slices.Contains(ofB, h) })
}
