package plans

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// MakeRemoval plans to take a site away from its hosts again.
func MakeRemoval(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (SitePlan, error) {
	all, err := placeRemoval(f, site)
	if err != nil {
		return SitePlan{}, err
	}
	p, err := makePlan(ctx, site, all, hosts, func(found steps.KeysFound) (livekit.Keys, error) { return found.Keys, nil })
	p.Destroys = true
	return p, err
}

// placeRemoval lists the steps that take a site away, in their order: the
// opposite of place's.
func placeRemoval(f *File, site Site) ([]placed, error) {
	site.SFU.Archive, site.Auth.Archive = "", "" // they need not be there any more
	s, err := siteContext(site)
	if err != nil {
		return nil, err
	}
	var all []placed
	on := func(stage Stage, host string, step steps.Step) {
		all = append(all, placed{stage: stage, host: orDefault(host, site.Auth.Host), step: step})
	}
	switch c := site.WellKnown.Config.(type) {
	case *steps.WellKnownFile:
		on(StageWellKnown, c.Host, steps.RemoveWellKnown(s, *c))
	default:
		on(StageWellKnown, "", steps.LeftToOthers("the client well-known", "take org.matrix.msc4143.rtc_foci out of it first"))
	}
	switch c := site.Synapse.Config.(type) {
	case *steps.SynapseDebian:
		on(StageSynapse, c.Host, steps.RemoveSynapse(s, *c))
	default:
		on(StageSynapse, "", steps.LeftToOthers("Synapse", "take matrix_rtc.transports out of its configuration first, then restart it"))
	}
	for _, p := range site.Proxies {
		switch c := p.Config.(type) {
		case *steps.ProxyNginx:
			on(StageProxy, c.Host, steps.RemoveNginx(s, *c))
		default:
			on(StageProxy, p.Host, steps.LeftToOthers("the proxy", "take the routes to the SFU and the JWT service out of it"))
		}
	}
	on(StageAuth, site.Auth.Host, steps.RemoveAuth(s))
	on(StageSFU, site.SFU.Host, steps.RemoveSFU(s))
	on(StageHost, site.SFU.Host, steps.RemoveFirewall(s, f.firewall(site.SFU.Host)))
	on(StageHost, site.SFU.Host, steps.RemoveReservedPorts(s))
	return all, nil
}
