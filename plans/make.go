package plans

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// placed is a step in its stage on its host.
type placed struct {
	stage Stage
	host  string
	step  steps.Step
	facts steps.Facts
}

// Make probes the hosts of site and decides what to do on them, with the
// credentials that choose names. The plan is not empty where something is to be
// done, and Blocked where a finding forbids it.
func Make(ctx context.Context, f *File, site Site, hosts map[string]host.Observer, choose Credentials) (SitePlan, error) {
	all, err := place(f, site)
	if err != nil {
		return SitePlan{}, err
	}
	return makePlan(ctx, site, all, hosts, choose)
}

// Look probes the hosts of site and tells what its steps share, such as the
// credentials in use. It decides nothing.
func Look(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (steps.Shared, error) {
	site.SFU.Archive, site.Auth.Archive = "", "" // nothing is brought
	all, err := place(f, site)
	if err != nil {
		return steps.Shared{}, err
	}
	return probe(ctx, all, hosts)
}

// probe asks all hosts at once.
func probe(ctx context.Context, all []placed, hosts map[string]host.Observer) (steps.Shared, error) {
	g, gctx := errgroup.WithContext(ctx)
	for i := range all {
		g.Go(func() error {
			p := &all[i]
			facts, err := p.step.Probe(gctx, hosts[p.host])
			if err != nil {
				return fmt.Errorf("%s: %s: %w", p.host, p.step.Name(), err)
			}
			p.facts = facts
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return steps.Shared{}, err
	}
	shared := steps.Shared{Sources: map[string]string{}, HTTPS: map[string]string{}}
	for _, p := range all {
		p.facts.Share(&shared)
	}
	return shared, nil
}

// makePlan probes and decides.
func makePlan(ctx context.Context, site Site, all []placed, hosts map[string]host.Observer, choose Credentials) (SitePlan, error) {
	shared, err := probe(ctx, all, hosts)
	if err != nil {
		return SitePlan{}, err
	}
	found := steps.FindKeys(shared)
	keys, err := choose(found)
	if err != nil {
		return SitePlan{}, fmt.Errorf("%s: %w", site.ServerName, err)
	}
	shared.Secrets = steps.KeySecrets(keys)
	p, err := decide(site, all, shared)
	p.Keys, p.Found, p.HTTPS = keys, found.Keys, shared.HTTPS
	return p, err
}

func decide(site Site, all []placed, shared steps.Shared) (SitePlan, error) {
	byHost := map[string][]StepPlan{}
	for _, p := range all {
		d, err := p.facts.Diff(shared)
		if err != nil {
			return SitePlan{}, fmt.Errorf("%s: %s: %w", p.host, p.step.Name(), err)
		}
		byHost[p.host] = append(byHost[p.host], StepPlan{Stage: p.stage, Step: p.step.Name(), Changes: d.Changes, Checks: checks(site, d.Checks), Findings: d.Findings})
	}
	out := SitePlan{Site: site.ServerName}
	for _, name := range sortedKeys(byHost) {
		out.Hosts = append(out.Hosts, HostPlan{Host: name, Steps: byHost[name]})
	}
	return out, nil
}

func checks(site Site, c []steps.Check) []steps.Check {
	if site.Verify.Level == "none" {
		return nil
	}
	return c
}

// place lists the steps of a site in the order of the stages.
func place(f *File, site Site) ([]placed, error) {
	s, err := siteContext(site)
	if err != nil {
		return nil, err
	}
	var all []placed
	for _, name := range site.HostNames() {
		all = append(all, placed{stage: StagePreflight, host: name, step: steps.Preflight(s)})
	}
	all = append(all,
		placed{stage: StageHost, host: site.SFU.Host, step: steps.ReservedPorts(s)},
		placed{stage: StageHost, host: site.SFU.Host, step: steps.Firewall(s, f.firewall(site.SFU.Host))})
	for _, name := range s.Reaches[site.SFU.Host] {
		all = append(all, placed{stage: StageHost, host: name, step: steps.SourceAddress(s)})
	}
	all = append(all,
		placed{stage: StageSFU, host: site.SFU.Host, step: steps.LiveKit(s)},
		placed{stage: StageAuth, host: site.Auth.Host, step: steps.JWTService(s)})
	for _, p := range site.Proxies {
		if all, err = add(all, StageProxy, p, steps.Proxies(), s, orDefault(p.Host, site.Auth.Host)); err != nil {
			return nil, err
		}
	}
	if all, err = add(all, StageSynapse, site.Synapse, steps.Synapses(), s, orDefault(site.Synapse.Host, site.Auth.Host)); err != nil {
		return nil, err
	}
	all = append(all, placed{stage: StageSynapse, host: site.Auth.Host, step: steps.Ways(s)})
	return add(all, StageWellKnown, site.WellKnown, steps.WellKnowns(), s, orDefault(site.WellKnown.Host, site.Auth.Host))
}

func add(all []placed, stage Stage, v Variant, kinds map[string]steps.Kind, s steps.Site, on string) ([]placed, error) {
	k, ok := kinds[v.Label]
	if !ok {
		return nil, fmt.Errorf("%s: unknown variant %q", stage, v.Label)
	}
	step, err := k.Build(v.Config, s)
	if err != nil {
		return nil, err
	}
	return append(all, placed{stage: stage, host: on, step: step}), nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func (f *File) firewall(name string) string {
	for _, h := range f.Hosts {
		if h.Name == name {
			return h.Firewall.Label
		}
	}
	return ""
}

// Context is what is known of a site without its hosts.
func (s Site) Context() (steps.Site, error) {
	s.SFU.Archive, s.Auth.Archive = "", "" // nothing is brought
	return siteContext(s)
}

// siteContext is what the steps of a site may know.
func siteContext(site Site) (steps.Site, error) {
	s := steps.Site{
		Name: site.ServerName, SFU: site.SFU, Auth: site.Auth,
		Fronts: map[string][]steps.Route{}, WellKnown: map[string]string{}, Reaches: map[string][]string{},
	}
	var err error
	if site.SFU.Archive != "" {
		if s.SFUFile, err = steps.OpenArchive(site.SFU.Archive, site.SFU.Image); err != nil {
			return s, err
		}
	}
	if site.Auth.Archive != "" {
		if s.AuthFile, err = steps.OpenArchive(site.Auth.Archive, site.Auth.Image); err != nil {
			return s, err
		}
	}
	if c, ok := site.WellKnown.Config.(*steps.WellKnownFile); ok {
		s.WellKnown[c.Host] = c.Path
	}
	front := func(component, on, url, bind string, port int) {
		proxy := site.front(on)
		if proxy != on && component == "sfu" && !site.proxyOn(proxy).somewhere() {
			s.Reaches[on] = append(s.Reaches[on], proxy)
		}
		s.Fronts[proxy] = append(s.Fronts[proxy], steps.Route{Component: component, URL: url, Upstream: net.JoinHostPort(bind, strconv.Itoa(port))})
	}
	front("sfu", site.SFU.Host, site.SFU.URL, site.SFU.Bind, site.SFU.Ports.Signalling)
	front("auth", site.Auth.Host, site.Auth.URL, site.Auth.Bind, site.Auth.Port)
	return s, nil
}

// front is the host whose proxy serves a component on the host on: that host's
// own, else the one on the JWT service's host, else the first.
func (s Site) front(on string) string {
	var hosts []string
	for _, p := range s.Proxies {
		hosts = append(hosts, orDefault(p.Host, s.Auth.Host))
	}
	switch {
	case slices.Contains(hosts, on), len(hosts) == 0:
		return on
	case slices.Contains(hosts, s.Auth.Host):
		return s.Auth.Host
	}
	return hosts[0]
}

// proxyOn is the site's proxy on a host, as front names it; zero for none.
func (s Site) proxyOn(name string) Variant {
	for _, p := range s.Proxies {
		if orDefault(p.Host, s.Auth.Host) == name {
			return p
		}
	}
	return Variant{}
}

// somewhere reports whether a proxy is an external one of which the plan file
// does not say where it is: it serves what stands on the JWT service's host,
// and nobody can open a port to it.
func (v Variant) somewhere() bool { return v.Label == "external" && v.Host == "" }
