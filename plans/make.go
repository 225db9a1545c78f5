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
	return makePlan(ctx, site, all, hosts, choose)
}

// Look probes the hosts of site and tells what its steps share, such as the
// credentials in use. It decides nothing.
func Look(ctx context.Context, f *File, site Site, hosts map[string]host.Observer) (steps.Shared, error) {
	context := site.Context() // nothing is brought
	all := inOrder(f.around(context, site.Blocks), steps.Config.Steps, context, steps.Stages())
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
	found := credentials.Find(shared)
	keys, err := choose(found)
	if err != nil {
		return SitePlan{}, fmt.Errorf("%s: %w", site.ServerName, err)
	}
	shared.Secrets = credentials.Secrets(keys)
	p, err := decide(site, all, shared)
	p.Secrets, p.Found, p.HTTPS = secretsOf(keys), secretsOf(found.Keys), shared.HTTPS
	return p, err
}

func decide(site Site, all []placed, shared steps.Shared) (SitePlan, error) {
	byHost := map[string][]StepPlan{}
	for _, p := range all {
		d, err := p.facts.Diff(shared)
		if err != nil {
			return SitePlan{}, fmt.Errorf("%s: %s: %w", p.host, p.step.Name(), err)
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
	context, blocks, err := site.withArchives()
	if err != nil {
		return nil, err
	}
	return inOrder(f.around(context, blocks), steps.Config.Steps, context, steps.Stages()), nil
}

// placeRemoval lists the steps that take a site away, in the opposite order. Its
// archives need not be there any more.
func placeRemoval(f *File, site Site) []placed {
	context := site.Context()
	blocks := f.around(context, site.Blocks)
	slices.Reverse(blocks)
	stages := steps.Stages()
	slices.Reverse(stages)
	return inOrder(blocks, steps.Config.Removal, context, stages)
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
func inOrder(blocks []Declared, of func(steps.Config, steps.Decl, *steps.Site) []steps.Placed, site *steps.Site, stages []steps.Stage) []placed {
	var out, closing []placed
	for _, d := range blocks {
		for _, p := range of(d.Config, d.Decl, site) {
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
