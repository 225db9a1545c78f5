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

// planner makes the plan of one site from what a round of questions sees.
type planner func(ctx context.Context, f *plans.File, site plans.Site, round map[string]host.Observer) (plans.SitePlan, error)

// keepKeys plans what the plan file says, with the credentials that the site has.
func keepKeys(ctx context.Context, f *plans.File, site plans.Site, round map[string]host.Observer) (plans.SitePlan, error) {
	choose, err := site.KeepKeys(ctx)
	if err != nil {
		return plans.SitePlan{}, err
	}
	return plans.Make(ctx, f, site, round, choose)
}

// withKeys plans what the plan file says, with these credentials by server name.
func withKeys(chosen map[string]plans.Credentials) planner {
	return func(ctx context.Context, f *plans.File, site plans.Site, round map[string]host.Observer) (plans.SitePlan, error) {
		return plans.Make(ctx, f, site, round, chosen[site.ServerName])
	}
}

// planNow makes the plan of one site from what its hosts are now.
func (s *session) planNow(ctx context.Context, plan planner, site plans.Site) (plans.SitePlan, error) {
	return plan(ctx, s.file, site, s.round())
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
			out[i].plan, out[i].err = keepKeys(ctx, s.file, site, round)
			return nil
		})
	}
	_ = g.Wait() // the errors are in out
	return out
}

// planAll makes the plans of all chosen sites at once, in one round, and tells
// what the hosts remember. A host that an earlier run left half-way is an error:
// nothing that it shows can be trusted.
func (s *session) planAll(ctx context.Context, plan planner) (plans.Plan, []engine.Past, error) {
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
			out.Sites[i], err = plan(gctx, s.file, site, round)
			return err
		})
	}
	err := g.Wait()
	if pastErr != nil { // it may be why planning failed
		err = pastErr
	}
	return out, past, err
}
