package steps

import (
	"bytes"
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// remove takes the announcement out of a static client well-known.
func (c *WellKnownFile) remove(site *Site) Step {
	probe := func(ctx context.Context, o host.Observer) (removeWellKnownFacts, error) {
		_, all, res, err := look(ctx, o, []string{c.Path}, queryOrigins(site))
		if err != nil {
			return removeWellKnownFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleWellKnown)
		return removeWellKnownFacts{f, all[0]}, err
	}
	return Define("remove-well-known", probe, nil, func(f removeWellKnownFacts, _ Shared) (Decision, error) { return f.decide(site) })
}

type removeWellKnownFacts struct {
	foreignFacts
	now host.File
}

func (f removeWellKnownFacts) decide(site *Site) (Decision, error) {
	edits, texts, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	text, known := texts[f.now.Real]
	if !known {
		text = f.now.Data
	}
	if announces(text, site) {
		d.Findings = append(d.Findings, Error.Finding(f.now.Path+" would still announce "+site.ServiceURL()+" to clients", "take that element of "+rtcFociName+" out by hand, then run ecdeploy again"))
	}
	if len(edits) > 0 {
		d.Changes = []Change{&Files{Title: titleWellKnown, Edits: edits}}
	}
	return d, nil
}

// announces reports whether a client well-known names the site's JWT service.
func announces(text []byte, site *Site) bool {
	v, _, err := splice.JSONGet(text, splice.Path{rtcFociName})
	if err != nil {
		return bytes.Contains(text, []byte(site.ServiceURL()))
	}
	return namesService(v, site)
}

// rtcFociName is the key of the client well-known that announces back ends.
const rtcFociName = "org.matrix.msc4143.rtc_foci"
