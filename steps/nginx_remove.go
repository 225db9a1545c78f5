package steps

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
)

type removeNginxFacts struct {
	foreignFacts
	nginx nginxFacts
}

// remove takes a site's routes out of the nginx on a host.
func (c *ProxyNginx) remove(site *Site) Step {
	probe := func(ctx context.Context, o host.Observer) (removeNginxFacts, error) {
		now, err := c.probe(ctx, o, site)
		if err != nil {
			return removeNginxFacts{}, err
		}
		res, err := o.Query(ctx, queryOrigins(site))
		if err != nil {
			return removeNginxFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleNginx)
		return removeNginxFacts{f, now}, err
	}
	return Define("remove-nginx", probe, nil, func(f removeNginxFacts, _ Shared) (Decision, error) { return f.decide(site) })
}

func (f removeNginxFacts) decide(site *Site) (Decision, error) {
	edits, _, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	w := nginxWriter{facts: f.nginx, site: site}
	for _, p := range slices.Concat(w.stale(nil), w.ownFiles()) {
		w.remove(p)
	}
	edits = append(edits, w.edits...)
	if len(edits) == 0 {
		return d, nil
	}
	change := Files{Title: titleNginx, Edits: edits, Rmdirs: []string{nginxDir + "/ecdeploy"}}
	if f.nginx.installed {
		change.Overlay, change.Check = overlayTops(nginxDir, edits), nginxCheck
	}
	if f.nginx.running {
		change.Unit, change.Action = nginxUnit, "reload"
	}
	d.Changes = []Change{&change}
	return d, nil
}
