package plans

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// placed is a step in its stage on its host.
type placed struct {
	stage steps.Stage
	host  string
	step  steps.Step
	facts steps.Facts
}

// Make probes the hosts of site and decides what to do on them, with the
// credentials that choose names. The plan is not empty where something is to be
// done, and Blocked where a finding prevents it.
func Make(ctx context.Context, f *File, site Site, hosts map[string]host.Observer, choose Credentials) (SitePlan, error) {
	all, err := place(f, site)
	if err != nil {
		return SitePlan{}, err
	}
	return makePlan(ctx, f, site, all, hosts, choose)
}

// MakeRemoval plans to take a site away from its hosts again: all that stands there of
// it goes.
func MakeRemoval(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (SitePlan, error) {
	context := site.Context() // nothing is brought
	all := inOrder(f.around(context, site.Blocks), context)
	shared, ledgers, err := look(ctx, all, hosts)
	if err != nil {
		return SitePlan{}, err
	}
	found := credentials.Find(shared)
	shared.Secrets = credentials.Secrets(found.Keys)
	p := SitePlan{Site: site.ServerName, Destroys: true, HTTPS: shared.HTTPS}
	p.Secrets, p.Found = secretsOf(found.Keys), secretsOf(found.Keys)
	r := removal{file: f, site: site, context: context, hosts: hosts, ledgers: ledgers, secrets: shared.Secrets, whole: true}
	if err := r.plan(ctx, &p, wanted{}); err != nil || p.Empty() {
		return p, err
	}
	r.byHand(&p, shared)
	return p, r.stillAnnounced(ctx, &p)
}

// Look probes the hosts of site and tells what its steps share, such as the
// credentials in use. It decides nothing.
func Look(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (steps.Shared, error) {
	context := site.Context() // nothing is brought
	all := inOrder(f.around(context, site.Blocks), context)
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

// look asks all hosts at once, also for what stands there.
func look(ctx context.Context, all []placed, hosts map[string]host.Observer) (shared steps.Shared, ledgers map[string]steps.Ledger, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { shared, err = probe(ctx, all, hosts); return err })
	g.Go(func() (err error) { ledgers, err = readLedgers(ctx, hosts); return err })
	err = g.Wait()
	return shared, ledgers, err
}

// makePlan probes and decides.
func makePlan(ctx context.Context, f *File, site Site, all []placed, hosts map[string]host.Observer, choose Credentials) (SitePlan, error) {
	shared, ledgers, err := look(ctx, all, hosts)
	if err != nil {
		return SitePlan{}, err
	}
	found := credentials.Find(shared)
	keys, err := choose(found)
	if err != nil {
		return SitePlan{}, fmt.Errorf("%s: %w", site.ServerName, err)
	}
	shared.Secrets = credentials.Secrets(keys)
	p, want, err := decide(site, all, shared)
	if err != nil {
		return p, err
	}
	p.Secrets, p.Found, p.HTTPS = secretsOf(keys), secretsOf(found.Keys), shared.HTTPS
	r := removal{file: f, site: site, context: site.Context(), hosts: hosts, ledgers: ledgers, secrets: shared.Secrets}
	return p, r.plan(ctx, &p, want)
}

// wanted is what shall stand.
type wanted struct {
	stands map[string][]steps.Ref          // by host
	alone  map[string]map[steps.Stage]bool // by host: stages whose things are left alone
}

// aloneOn are the stages that are left alone on a host: what somebody else configures for
// the site counts on all hosts, what they do about a host on that one.
func (w wanted) aloneOn(name string) map[steps.Stage]bool {
	out := map[steps.Stage]bool{steps.StageHost: w.alone[name][steps.StageHost]}
	for _, stages := range w.alone {
		for stage, yes := range stages {
			if stage != steps.StageHost && yes {
				out[stage] = true
			}
		}
	}
	return out
}

// decide makes the plan of what the steps want, and tells what shall stand.
func decide(site Site, all []placed, shared steps.Shared) (SitePlan, wanted, error) {
	byHost := map[string][]StepPlan{}
	want := wanted{map[string][]steps.Ref{}, map[string]map[steps.Stage]bool{}}
	for _, p := range all {
		d, err := p.facts.Diff(shared)
		if err != nil {
			return SitePlan{}, want, fmt.Errorf("%s: %s: %w", p.host, p.step.Name(), err)
		}
		want.stands[p.host] = append(want.stands[p.host], d.Stands...)
		if d.LeavesAlone {
			if want.alone[p.host] == nil {
				want.alone[p.host] = map[steps.Stage]bool{}
			}
			want.alone[p.host][p.stage] = true
		}
		byHost[p.host] = append(byHost[p.host], StepPlan{
			Stage:    p.stage,
			Step:     p.step.Name(),
			Changes:  d.Changes,
			Checks:   checks(site, d.Checks),
			Findings: d.Findings,
		})
	}
	out := SitePlan{Site: site.ServerName}
	for _, name := range sortedKeys(byHost) {
		out.Hosts = append(out.Hosts, HostPlan{Host: name, Steps: byHost[name]})
	}
	return out, want, nil
}

func checks(site Site, c []steps.Check) []steps.Check {
	if site.Verify.Level == "none" {
		return nil
	}
	return c
}

// place lists the steps of a site in the order of the stages.
func place(f *File, site Site) ([]placed, error) {
	context, blocks, err := site.withArchives()
	if err != nil {
		return nil, err
	}
	return inOrder(f.around(context, blocks), context), nil
}

// around are the blocks of a site and of its hosts.
func (f *File) around(site *steps.Site, blocks []Declared) []Declared {
	all := slices.Clone(blocks)
	for _, h := range f.Hosts {
		if slices.Contains(site.Hosts(), h.Name) {
			all = append(all, h.Blocks...)
		}
	}
	return all
}

// inOrder are the steps of blocks by their stages.
func inOrder(blocks []Declared, site *steps.Site) []placed {
	stages := steps.Stages()
	var out, closing []placed
	for _, d := range blocks {
		for _, p := range d.Config.Steps(d.Decl, site) {
			one := placed{stage: p.Stage, host: p.Host, step: p.Step}
			if p.Closing {
				closing = append(closing, one)
				continue
			}
			out = append(out, one)
		}
	}
	out = append(out, closing...)
	slices.SortStableFunc(out, func(a, b placed) int { return slices.Index(stages, a.stage) - slices.Index(stages, b.stage) })
	return out
}

// withArchives is the site with the image archives that it brings, opened.
func (s Site) withArchives() (*steps.Site, []Declared, error) {
	site, blocks := &steps.Site{Name: s.ServerName}, slices.Clone(s.Blocks)
	for i := range blocks {
		parts := slices.Clone(blocks[i].Decl.Parts)
		for j, p := range parts {
			if p.Run == nil || p.Run.Archive == "" {
				continue
			}
			run := *p.Run
			var err error
			if run.File, err = steps.OpenArchive(run.Archive, run.Image); err != nil {
				return nil, nil, err
			}
			parts[j].Run = &run
		}
		blocks[i].Decl.Parts = parts
		site.Parts = append(site.Parts, parts...)
	}
	return site, blocks, nil
}
