package nginx

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

type removeNginxFacts struct {
	steps.ForeignFacts
	nginx facts
}

// remove takes a site's routes out of the nginx on a host.
func (c *Config) remove(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (removeNginxFacts, error) {
		now, err := c.probe(ctx, o, site)
		if err != nil {
			return removeNginxFacts{}, err
		}
		res, err := o.Query(ctx, steps.QueryOrigins(site))
		if err != nil {
			return removeNginxFacts{}, err
		}
		f, err := steps.ReadForeign(ctx, o, res[0], Title)
		return removeNginxFacts{f, now}, err
	}
	return steps.Define("remove-nginx", probe, nil, func(f removeNginxFacts, _ steps.Shared) (steps.Decision, error) { return f.decide(site) })
}

func (f removeNginxFacts) decide(site *steps.Site) (steps.Decision, error) {
	edits, _, findings, err := f.Undo()
	d := steps.Decision{Findings: findings}
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
	change := steps.Files{Title: Title, Edits: edits, Rmdirs: []string{configDir + "/ecdeploy"}}
	if f.nginx.installed {
		change.Overlay, change.Check = steps.OverlayTops(configDir, edits), checkText
	}
	if f.nginx.running {
		change.Unit, change.Action = unit, "reload"
	}
	d.Changes = []steps.Change{&change}
	return d, nil
}
