package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

// countCalls says of these sites, all at once, whose calls their plans would cut.
func (a *app) countCalls(ctx context.Context, s *session, sites []plans.Site, p []plans.SitePlan) {
	emit := a.sink()
	var g errgroup.Group
	for i, site := range sites {
		g.Go(func() error {
			engine.CountCalls(ctx, s.hosts[site.SFU.Host], site, p[i], emit)
			return nil
		})
	}
	_ = g.Wait() // what is not known is an event, too
}
