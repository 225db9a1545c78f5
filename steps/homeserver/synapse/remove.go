package synapse

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

type removeSynapseFacts struct {
	steps.ForeignFacts
	synapse facts
}

// remove takes a site's settings out of Synapse's files.
func (c *Service) remove(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (removeSynapseFacts, error) {
		now, err := c.probe(ctx, o)
		if err != nil {
			return removeSynapseFacts{}, err
		}
		res, err := o.Query(ctx, steps.QueryOrigins(site))
		if err != nil {
			return removeSynapseFacts{}, err
		}
		f, err := steps.ReadForeign(ctx, o, res[0], title)
		return removeSynapseFacts{f, now}, err
	}
	return steps.Define("remove-synapse", probe, nil, func(f removeSynapseFacts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c) })
}

func (f removeSynapseFacts) decide(site *steps.Site, c *Service) (steps.Decision, error) {
	edits, texts, findings, err := f.Undo()
	d := steps.Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	after := facts{files: slices.Clone(f.synapse.files)}
	for i, file := range after.files {
		if text, ok := texts[file.Path]; ok {
			after.files[i].Data = text
		}
	}
	if v, _ := after.effective("matrix_rtc", "transports"); steps.NamesService(v, site) {
		d.Findings = append(d.Findings, steps.Error.Finding("Synapse would still announce "+site.ServiceURL()+" to clients",
			"take it out of matrix_rtc.transports by hand (and, where no transport is left, "+
				"matrix_rtc and experimental_features.msc4143_enabled), restart Synapse, then run ecdeploy again"))
	}
	if len(edits) == 0 {
		return d, nil
	}
	change := steps.Files{Title: title, Edits: edits, Timeout: c.StartTimeout, Overlay: overlay(edits)}
	if f.synapse.unit.Found && len(f.synapse.unit.Configs) > 0 {
		change.Check = f.synapse.checker()
	}
	if f.synapse.unit.Active {
		change.Unit, change.Action, change.Interrupt = c.Unit, "restart", interruptSynapse
		if base := f.synapse.localURL(); base != "" {
			d.Checks = []steps.Check{{
				Name:    "Synapse answers",
				HTTP:    &steps.HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200},
				Timeout: c.StartTimeout,
				Logs:    "unit:" + c.Unit,
				Hint:    "journalctl -u " + c.Unit,
			}}
		}
	}
	d.Changes = []steps.Change{&change}
	return d, nil
}
