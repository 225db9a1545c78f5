package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/plans"
)

// round are the hosts as one round of planning asks them: as they are from now
// on. Whoever plans after something changed needs a new one.
func (s *session) round() map[string]host.Observer {
	out := map[string]host.Observer{}
	for name, h := range s.hosts {
		out[name] = host.NewRound(h)
	}
	return out
}

// plan makes the plan of one site from what its hosts are now.
func (s *session) plan(ctx context.Context, site plans.Site) (plans.SitePlan, error) {
	return s.planIn(ctx, site, s.round())
}

// planIn makes the plan of one site from what round has seen, and asks its hosts
// for the rest.
func (s *session) planIn(ctx context.Context, site plans.Site, round map[string]host.Observer) (plans.SitePlan, error) {
	if s.destroys {
		return plans.MakeRemoval(ctx, s.file, site, round)
	}
	choose := s.choose[site.ServerName]
	if choose == nil {
		var err error
		if choose, err = site.KeepKeys(ctx); err != nil {
			return plans.SitePlan{}, err
		}
	}
	return plans.Make(ctx, s.file, site, round, choose)
}

// planned is what came of planning one site.
type planned struct {
	site plans.Site
	plan plans.SitePlan
	err  error
}

// planEach plans all chosen sites at once, in one round, in their order. A site
// that cannot be planned stops no other.
func (s *session) planEach(ctx context.Context) []planned {
	out := make([]planned, len(s.file.Sites))
	round := s.round()
	var g errgroup.Group
	for i, site := range s.file.Sites {
		g.Go(func() error {
			out[i].site = site
			out[i].plan, out[i].err = s.planIn(ctx, site, round)
			return nil
		})
	}
	_ = g.Wait() // the errors are in out
	return out
}

// planAll makes the plans of all chosen sites at once, in one round, and tells
// what the hosts remember. A host that an earlier run left half-way is an error:
// nothing that it shows can be trusted.
func (s *session) planAll(ctx context.Context) (plans.Plan, []engine.Past, error) {
	out := plans.Plan{Sites: make([]plans.SitePlan, len(s.file.Sites))}
	var past []engine.Past
	var pastErr error
	round := s.round()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if past, pastErr = s.histories(ctx); pastErr == nil {
			pastErr = engine.CheckFinished(past)
		}
		return nil
	})
	for i, site := range s.file.Sites {
		g.Go(func() (err error) {
			out.Sites[i], err = s.planIn(gctx, site, round)
			return err
		})
	}
	err := g.Wait()
	if pastErr != nil { // it may be why planning failed
		err = pastErr
	}
	return out, past, err
}
