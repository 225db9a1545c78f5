package steps

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
)

type removeSynapseFacts struct {
	foreignFacts
	synapse synapseFacts
}

// remove takes a site's settings out of a packaged Synapse.
func (c *SynapseDebian) remove(site *Site) Step {
	probe := func(ctx context.Context, o host.Observer) (removeSynapseFacts, error) {
		now, err := c.probe(ctx, o)
		if err != nil {
			return removeSynapseFacts{}, err
		}
		res, err := o.Query(ctx, queryOrigins(site))
		if err != nil {
			return removeSynapseFacts{}, err
		}
		f, err := readForeign(ctx, o, res[0], titleSynapse)
		return removeSynapseFacts{f, now}, err
	}
	return Define("remove-synapse", probe, nil, func(f removeSynapseFacts, _ Shared) (Decision, error) { return f.decide(site, c) })
}

func (f removeSynapseFacts) decide(site *Site, c *SynapseDebian) (Decision, error) {
	edits, texts, findings, err := f.takeBack()
	d := Decision{Findings: findings}
	if err != nil {
		return d, err
	}
	after := synapseFacts{files: slices.Clone(f.synapse.files)}
	for i, file := range after.files {
		if text, ok := texts[file.Path]; ok {
			after.files[i].Data = text
		}
	}
	if v, _ := after.effective("matrix_rtc", "transports"); namesService(v, site) {
		d.Findings = append(d.Findings, Error.Finding("Synapse would still announce "+site.ServiceURL()+" to clients", "take it out of matrix_rtc.transports by hand (and, where no transport is left, matrix_rtc and experimental_features.msc4143_enabled), restart Synapse, then run ecdeploy again"))
	}
	if len(edits) == 0 {
		return d, nil
	}
	change := Files{Title: titleSynapse, Edits: edits, Timeout: c.StartTimeout, Overlay: overlayTops(synapseDir, edits)}
	if f.synapse.unit.Found && len(f.synapse.unit.Configs) > 0 {
		change.Check = f.synapse.checker()
	}
	if f.synapse.unit.Active {
		change.Unit, change.Action, change.Interrupt = c.Unit, "restart", interruptSynapse
		if base := f.synapse.localURL(); base != "" {
			d.Checks = []Check{{Name: "Synapse answers", HTTP: &HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200}, Timeout: c.StartTimeout, Logs: "unit:" + c.Unit, Hint: "journalctl -u " + c.Unit}}
		}
	}
	d.Changes = []Change{&change}
	return d, nil
}
