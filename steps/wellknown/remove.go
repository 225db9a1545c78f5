package wellknown

import (
	"bytes"
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// remove takes the announcement out of a static client well-known.
func (c *File) remove(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (removeWellKnownFacts, error) {
		_, all, res, err := steps.Look(ctx, o, []string{c.Path}, steps.QueryOrigins(site))
		if err != nil {
			return removeWellKnownFacts{}, err
		}
		f, err := steps.ReadForeign(ctx, o, res[0], title)
		return removeWellKnownFacts{f, all[0]}, err
	}
	return steps.Define("remove-well-known", probe, nil, func(f removeWellKnownFacts, _ steps.Shared) (steps.Decision, error) { return f.decide(site) })
}

type removeWellKnownFacts struct {
	steps.ForeignFacts
	now host.File
}

func (f removeWellKnownFacts) decide(site *steps.Site) (steps.Decision, error) {
	edits, texts, findings, err := f.Undo()
	d := steps.Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	text, known := texts[f.now.Real]
	if !known {
		text = f.now.Data
	}
	if announces(text, site) {
		d.Findings = append(d.Findings, steps.Error.Finding(f.now.Path+" would still announce "+site.ServiceURL()+" to clients",
			"take that element of "+rtcFociName+" out by hand, then run ecdeploy again"))
	}
	if len(edits) > 0 {
		d.Changes = []steps.Change{&steps.Files{Title: title, Edits: edits}}
	}
	return d, nil
}

// announces reports whether a client well-known names the site's JWT service.
func announces(text []byte, site *steps.Site) bool {
	v, _, err := splice.JSONGet(text, splice.Path{rtcFociName})
	if err != nil {
		return bytes.Contains(text, []byte(site.ServiceURL()))
	}
	return steps.NamesService(v, site)
}

// rtcFociName is the key of the client well-known that announces back ends.
const rtcFociName = "org.matrix.msc4143.rtc_foci"
